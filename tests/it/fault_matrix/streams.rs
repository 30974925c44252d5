//! The streams and the group are trimmed, flushed, deleted and moved back while the fleet works.

use std::collections::HashSet;
use std::time::Duration;

use startjobs::lobby::accounting::Sent;

use super::{ATTEMPTS, GROUP, JOBS, SLOW, ends_well, group_field, in_hand, said_once, send, sum, under_load, watched};
use crate::support::world::World;

#[tokio::test]
async fn a_group_that_is_set_back_again_and_again_answers_nothing_twice() {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 200).await;
    for time in 0..4 {
        world.watch_mirror().await;
        world.redis(&["XGROUP", "SETID", JOBS, GROUP, "0"]).await;
        send(&mut world, &format!("after-{time}"), 20).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    ends_well(&mut world, &replicas).await;
    let lowered = sum(&replicas, "startjobs_mirror_lowered_total");
    let again = sum(&replicas, "startjobs_entries_settled_total{result=\"duplicate\"}");
    assert!(lowered >= 1.0, "the mirror never went back");
    assert!(again >= 1.0, "nothing was delivered again");
    let said: usize =
        replicas.iter().map(|replica| world.log(replica.number).count("offset mirror went back with its group")).sum();
    assert!(said >= 1);
    said_once(&mut world, &replicas, &[]).await;
}

#[tokio::test]
async fn a_stream_that_begins_anew_with_lower_ids_is_answered() {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 30).await;
    ends_well(&mut world, &replicas).await;
    let before = world.lobby.mirror().await.expect("Redis answers");
    let words = ["game_id", "low", "image_ref", "galaxy/engine:1", "requested_at_ms", "17"];
    // In one step: a stream that is made by the first XADD of another sender would have higher ids.
    let script = "redis.call('DEL', KEYS[1])
        for seq = 1, 3 do redis.call('XADD', KEYS[1], '7-' .. seq, ARGV[1], ARGV[2] .. seq, unpack(ARGV, 3)) end";
    world.redis(&[&["EVAL", script, "1", JOBS], words.as_slice()].concat()).await;
    for seq in 1..=3 {
        world.sent.insert(format!("7-{seq}"), Sent::Job);
    }
    world.settled().await;
    let mirror = async |world: &World| world.lobby.mirror().await.ok().flatten();
    world
        .eventually("the mirror went back with it", async |world: &World| mirror(world).await.as_deref() == Some("7-3"))
        .await;
    assert_ne!(before.as_deref(), Some("7-3"));
    assert!(in_hand(&world).await.is_empty());
    assert!(sum(&replicas, "startjobs_adoptions_total{state=\"created\"}") >= 1.0);
    said_once(&mut world, &replicas, &["group"]).await;
}

#[tokio::test]
async fn after_flushall_under_load_what_is_sent_then_is_answered_and_nothing_twice() {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 200).await;
    world.redis(&["FLUSHALL"]).await;
    let before = std::mem::take(&mut world.sent);
    send(&mut world, "after", 40).await;
    world.eventually("all of them are answered", async |world: &World| world.account().await.lost.is_empty()).await;
    world
        .eventually("nothing is pending", async |world: &World| {
            world.lobby.pending().await.is_ok_and(|all| all.is_empty())
        })
        .await;
    let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
    let sources: Vec<String> = outcomes.into_iter().filter_map(|outcome| outcome.source_ref).collect();
    let unique: HashSet<&String> = sources.iter().collect();
    assert_eq!(unique.len(), sources.len(), "answered twice");
    // Whoever held a job when its entry went still answers it; nobody answers what never was.
    assert!(sources.iter().all(|source| world.sent.contains_key(source) || before.contains_key(source)));
    assert!(world.lobby.all_dead().await.expect("dead letters").is_empty());
    assert!(sum(&replicas, "startjobs_adoptions_total{state=\"created\"}") >= 1.0);
    said_once(&mut world, &replicas, &["group"]).await;
}

#[tokio::test]
async fn a_trim_past_unread_and_unfinished_entries_takes_only_what_nobody_had_read() {
    let mut world = World::with(SLOW).await;
    let replicas = under_load(&mut world, 200).await;
    // It outlives several renewals. More wait behind it, unread.
    let in_hand = world.under_way("trim", None).await;
    send(&mut world, "second", 100).await;
    // Seen and trimmed in one moment: what has been delivered is owed an answer, what has not never was ours.
    let script = "
        local delivered = '0-0'
        for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
          for i = 1, #group, 2 do if group[i] == 'last-delivered-id' then delivered = group[i + 1] end end
        end
        local pending = #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000)
        redis.call('XTRIM', KEYS[1], 'MAXLEN', 5)
        return { delivered, pending, redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1] }";
    let seen: (String, u64, String) = world.redis(&["EVAL", script, "1", JOBS, GROUP]).await.convert().expect("three");
    let id = |text: &str| crate::support::world::numbers(text);
    let (delivered, first) = (id(&seen.0), id(&seen.2));
    assert!(seen.1 > 0 && delivered < first, "nothing in flight or nothing unread was trimmed: {seen:?}");
    let unread = world.sent.len();
    world.sent.retain(|sent, _| id(sent) <= delivered || id(sent) >= first);
    println!("{} in flight and {} unread entries were trimmed", seen.1, unread - world.sent.len());
    send(&mut world, "later", 20).await;
    ends_well(&mut world, &replicas).await;
    world.was_under_way(in_hand).await;
    let trimmed = sum(&replicas, "startjobs_renewals_total{result=\"trimmed\"}");
    assert!(trimmed >= 1.0, "what was in hand for two seconds was not renewed without its payload");
    assert_eq!(group_field(&world, "pending").await.as_deref(), Some("0"));
    assert!(said_once(&mut world, &replicas, &[]).await.is_empty());
}

#[tokio::test]
async fn a_trimmed_entry_is_answered_by_its_living_owner_however_long_that_takes() {
    let mut world = World::with(&[("sweep-interval", "50ms")]).await;
    let owner = watched(&mut world, &[]).await;
    let job = world.send("slow", "sim/slow:3s").await;
    world.eventually("it runs", async |world: &World| world.sim_log().await.existing() == 1).await;
    let other = watched(&mut world, &[]).await;
    world.redis(&["XTRIM", JOBS, "MAXLEN", "0"]).await;
    // Five claim idles: nobody renews an entry whose payload is gone, and nobody takes it from an owner that lives.
    world.settled().await;
    let outcome = world.outcome(job).await;
    assert_eq!((outcome.get("outcome"), outcome.get("attempt")), ("success", "1"));
    assert!(world.lobby.all_dead().await.expect("dead letters").is_empty());
    assert!(owner.metric("startjobs_renewals_total{result=\"trimmed\"}") >= 1.0);
    assert!(sum(&[owner, other], "startjobs_entries_lost_total") < 0.5);
    world
        .eventually("nothing is pending", async |world: &World| {
            world.lobby.pending().await.is_ok_and(|all| all.is_empty())
        })
        .await;
}

#[tokio::test]
async fn a_trimmed_entry_whose_owner_died_is_dead_lettered_without_an_outcome() {
    let mut world = World::with(&[("simulated-latency", "5ms")]).await;
    let victim = watched(&mut world, &[("simulated-latency", "60s")]).await;
    let mut lost = Vec::new();
    for number in 0..5 {
        lost.push(
            world.lobby.append(&format!("g{number}"), "galaxy/engine:1", 17).await.expect("appended").to_string(),
        );
    }
    world.eventually("all are held", async |world: &World| in_hand(world).await.len() == 5).await;
    world.fleet.replica(victim.number).process().kill();
    world.redis(&["XTRIM", JOBS, "MAXLEN", "0"]).await;
    let other = watched(&mut world, &[]).await;
    world
        .eventually("dead letters", async |world: &World| {
            world.lobby.all_dead().await.is_ok_and(|dead| dead.len() == 5)
        })
        .await;
    for letter in world.lobby.all_dead().await.expect("dead letters") {
        assert_eq!((letter.reason.as_str(), letter.outcome_id.as_str()), ("entry_lost", ""), "{letter:?}");
        assert!(lost.contains(&letter.source_ref), "{letter:?}");
    }
    assert!((other.metric("startjobs_entries_lost_total") - 5.0).abs() < 0.5);
    assert_eq!(world.log(other.number).with("pending entries had been deleted from the stream").count(), 1);
    send(&mut world, "later", 5).await;
    world
        .eventually("later ones are answered", async |world: &World| {
            world.lobby.answers().await.is_ok_and(|(outcomes, _)| outcomes == 5)
        })
        .await;
    world.at_rest().await;
    let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
    assert!(outcomes.iter().all(|outcome| !lost.contains(outcome.source_ref.as_ref().expect("extended fields"))));
    assert_eq!(world.redis(&["EXISTS", ATTEMPTS]).await.as_i64(), Some(0));
}

#[tokio::test]
async fn what_fell_out_of_the_group_with_its_consumer_is_put_back_and_counted() {
    // With a living replica, by its renewal; with a dead one, by the janitor.
    for (lives, interval) in [(true, "1h"), (false, "200ms")] {
        let mut world = World::with(&[("janitor-interval", interval)]).await;
        let latency = if lives { "1500ms" } else { "60s" };
        let owner = watched(&mut world, &[("simulated-latency", latency)]).await;
        send(&mut world, "g", 5).await;
        world.eventually("all are held", async |world: &World| in_hand(world).await.len() == 5).await;
        let consumer = in_hand(&world).await[0].consumer.clone();
        if !lives {
            world.fleet.replica(owner.number).process().kill();
        }
        let dropped = world.redis(&["XGROUP", "DELCONSUMER", JOBS, GROUP, &consumer]).await;
        assert_eq!(dropped.as_i64(), Some(5));
        let (by, counter) = if lives {
            (owner, "startjobs_renewals_total{result=\"restored\"}")
        } else {
            (watched(&mut world, &[]).await, "startjobs_orphans_total")
        };
        world.settled().await;
        world.at_rest().await;
        assert!(by.metric(counter) >= 5.0, "{counter}");
        assert!(said_once(&mut world, &[by], &[]).await.is_empty());
    }
}
