//! On which host a game is placed, when it is placed anew, and which containers have to go.

use startjobs::start::game_id::GameId;
use startjobs::start::record::{Abandoned, Action, AttemptResult, Begun, Here, Reap, Seen};

use super::{FIRST, OTHER, REC, Store, asked, dead, failure, given_up, here, runs, success, went};

#[tokio::test]
async fn condemned_containers_and_attempts_pass_from_one_attempt_to_the_next() {
    let store = Store::new().await;
    let (records, job, next) = (store.of("a"), asked("5-1", FIRST), asked("6-1", FIRST));
    let token = job.go(&records).await;
    assert!(records.condemn(&job.game, &token.fence, "c").await.expect("asked"));
    let there = Here::new("there", []);
    let placed = || Ok(Begun::Elsewhere("here".to_owned()));
    assert_eq!(records.begin(&job.job(), &there, &Seen::default()).await, placed(), "it has begun here");
    let again = job.go(&records).await;
    assert_eq!((again.host.as_str(), again.condemned.as_deref(), again.attempt), ("here", Some("c"), 2));
    let ended = AttemptResult { answer: failure(), still_condemned: Some("c".to_owned()), ..failure().into() };
    assert!(records.commit(&job.job(), &again, &ended).await.expect("asked"));
    assert_eq!(store.record().await["condemned"], "c");
    // What has failed binds its game to a host only while a container has to be removed there.
    assert_eq!(records.begin(&next.job(), &there, &Seen::default()).await, placed());
    let third = next.go(&records).await;
    assert_eq!((third.condemned.as_deref(), third.attempt), (Some("c"), 3));
    assert!(next.commit(&records, &third, &failure()).await.expect("asked"));
    assert_eq!(store.record().await.get("condemned"), None);
    let last = asked("7-1", FIRST);
    let fourth = went(records.begin(&last.job(), &there, &Seen::default()).await);
    assert_eq!((fourth.host.as_str(), fourth.condemned.as_deref(), fourth.attempt), ("there", None, 4));
    assert!(last.commit(&records, &fourth, &success("d")).await.expect("asked"));
    // One that ran and is dead goes first.
    let job = asked("8-1", OTHER);
    assert_eq!(job.begin(&records).await, Ok(Begun::Elsewhere("there".to_owned())));
    let fifth = went(records.begin(&job.job(), &there, &dead("d")).await);
    assert_eq!((fifth.condemned.as_deref(), fifth.attempt), (Some("d"), 5));
}

#[tokio::test]
async fn a_game_of_a_dead_host_is_placed_anew() {
    let store = Store::new().await;
    let (records, job) = (store.of("a"), asked("5-1", FIRST));
    let token = job.go(&records).await;
    let there = Here::new("there", []);
    let told = Seen { dead_host: Some("here".to_owned()), ..Seen::default() };
    assert!(matches!(job.begin(&store.of("b")).await, Ok(Begun::Busy(_))), "a lease is waited for");
    records.release(&job.game, &token.fence).await.expect("asked");
    let taken = went(records.begin(&job.job(), &there, &told).await);
    assert_eq!((taken.fence.as_str(), taken.host.as_str(), taken.condemned), ("2", "there", None));
    assert!(!records.holds_fence(&job.game, &token.fence).await.expect("asked"));
    assert!(job.commit(&records, &token, &success("c")).await.is_ok_and(|is_done| !is_done), "the first one is fenced");
    // One that runs stays in its record until the next job asks for it.
    let token = job.go_on(&records, &there).await;
    assert!(job.commit(&records, &token, &success("d")).await.expect("asked"));
    let next = asked("6-1", FIRST);
    assert_eq!(next.begin(&records).await, Ok(Begun::Elsewhere("there".to_owned())));
    let told = Seen { dead_host: Some("there".to_owned()), ..Seen::default() };
    let taken = went(records.begin(&next.job(), &here(), &told).await);
    assert_eq!((taken.host.as_str(), taken.condemned), ("here", None));
    assert_eq!(store.record().await.get("container_id"), None);
    // Its own job is told that it has been answered, and where the container is.
    let elsewhere = Begun::Stored(success("d").into(), None);
    assert_eq!(records.begin(&job.job(), &here(), &told).await, Ok(elsewhere));
}

#[tokio::test]
async fn a_success_on_a_dead_host_is_no_answer_any_more() {
    let store = Store::new().await;
    let (records, job) = (store.of("a"), asked("5-1", FIRST));
    let token = job.go(&records).await;
    assert!(job.commit(&records, &token, &success("c")).await.expect("asked"));
    // It was not published before its host died, and a replica of another host takes its job.
    let (records, there) = (store.of("b"), Here::new("there", []));
    assert_eq!(records.begin(&job.job(), &there, &Seen::default()).await, Ok(runs(success("c"))));
    let told = Seen { dead_host: Some("here".to_owned()), ..Seen::default() };
    let anew = went(records.begin(&job.job(), &there, &told).await);
    assert_eq!((anew.fence.as_str(), anew.host.as_str(), anew.condemned.as_deref()), ("2", "there", None));
    // A replica that dies now leaves the job to one that asks about the first container.
    store.redis(&["SET", REC, &store.text().await.replace("\"owner\":\"b\"", "\"owner\":\"gone\"")]).await;
    let seen = Seen { dead_owner: Some("gone".into()), ..dead("c") };
    assert_eq!(records.begin(&job.job(), &there, &Seen::default()).await, Ok(Begun::Stored(success("c").into(), None)));
    let anew = went(records.begin(&job.job(), &there, &seen).await);
    assert!(job.commit(&records, &anew, &success("d")).await.expect("asked"));
    let there = Some("there".to_owned());
    assert_eq!(job.begin(&records).await, Ok(Begun::Stored(success("d").into(), there)));
}

#[tokio::test]
async fn a_success_whose_container_is_gone_is_no_answer_any_more() {
    let store = Store::new().await;
    let (records, job) = (store.of("a"), asked("5-1", FIRST));
    let token = job.go(&records).await;
    assert!(job.commit(&records, &token, &success("c")).await.expect("asked"));
    assert_eq!(job.begin(&records).await, Ok(runs(success("c"))));
    let again = went(records.begin(&job.job(), &here(), &dead("c")).await);
    assert_eq!((again.fence.as_str(), again.condemned.as_deref()), ("2", Some("c")));
    assert!(job.commit(&records, &again, &success("d")).await.expect("asked"));
    assert_eq!(job.begin(&records).await, Ok(runs(success("d"))));
    // A failure is one, whatever was seen.
    let failed = asked("6-1", OTHER);
    assert_eq!(failed.abandon(&records, None).await, Ok(Abandoned::Kept));
    assert_eq!(records.begin(&failed.job(), &here(), &dead("c")).await, Ok(Begun::Stored(given_up(), None)));
}

#[tokio::test]
async fn a_container_is_reaped_where_the_record_says_that_it_is_not_the_games() {
    let store = Store::new().await;
    let (records, job) = (store.of("a"), asked("5-1", FIRST));
    let game = || GameId::parse("game").expect("an id");
    let reap = async |container, fence, action| {
        records.reap(&game(), container, (fence, "a"), &here(), action).await.expect("asked")
    };
    assert_eq!(reap("c", "1", Action::Condemn).await, Reap::No, "no record says anything");
    assert_eq!(store.keys().await, [""; 0]);
    let token = job.go(&records).await;
    assert_eq!(reap("c", "1", Action::Condemn).await, Reap::No, "an attempt is under way");
    assert!(job.commit(&records, &token, &success("c")).await.expect("asked"));
    assert_eq!(reap("c", "1", Action::Condemn).await, Reap::No, "it is the game's");
    assert_eq!(reap("d", "2", Action::Condemn).await, Reap::No, "the record is older than the container");
    let before = store.text().await;
    assert_eq!(reap("d", "1", Action::Ask).await, Reap::WhenOld);
    assert_eq!(store.text().await, before);
    assert_eq!(reap("d", "1", Action::Condemn).await, Reap::WhenOld);
    assert_eq!(store.record().await["condemned"], "d");
    assert_eq!(reap("d", "9", Action::Ask).await, Reap::Now, "it is condemned");
    assert_eq!(reap("e", "0", Action::Ask).await, Reap::WhenOld);
    // What another host has started since.
    let there = Here::new("there", []);
    let moved = asked("6-1", FIRST);
    let told = Seen { dead_host: Some("here".to_owned()), ..Seen::default() };
    let token = went(records.begin(&moved.job(), &there, &told).await);
    assert_eq!(reap("c", "1", Action::Ask).await, Reap::Now, "it starts there");
    assert!(moved.commit(&records, &token, &success("f")).await.expect("asked"));
    assert_eq!(reap("c", "1", Action::Condemn).await, Reap::Now, "it runs there");
    assert_eq!(store.record().await.get("condemned"), None, "that is for a container of the record's own host");
    // A game without a record, of which a fenced attempt asks.
    store.redis(&["DEL", REC]).await;
    assert!(records.disown(&job.game, "c").await.expect("asked"));
    let token = asked("9-1", FIRST).go(&records).await;
    assert_eq!((token.fence.as_str(), token.condemned.as_deref()), ("1", Some("c")));
}
