//! Who is noted and who is declared dead because its subscription has ended: each condition, one look at a time.

use std::time::Duration;

use startjobs::stream::claim::{Aim, Sweep, SweepTerms, Swept, Watch};
use startjobs::stream::renew::Hearing;

use super::listeners::{CLAIM_IDLE, Fleet, GRACE, INTERVAL, Record, SECOND, dead, record, terms};
use super::{GROUP, JOBS, REPLICAS, SWEEP, Stream, ids, on_every_server};

on_every_server! {
    each_condition_of_the_rule_keeps_a_replica_from_being_declared_dead
    a_dead_replica_is_noted_first_and_declared_dead_after_the_grace
    a_look_says_when_the_next_is_due
    watching_takes_nothing_and_leaves_the_sweep_its_turn
    entries_of_the_dead_are_found_however_deep_they_lie
    suspects_of_the_dead_are_for_a_replica_alone
    each_claimed_entry_says_from_which_dead_owner_it_came
    without_a_grace_nothing_is_asked
    a_record_that_is_no_json_is_replaced
}

/// The other replica, the judge, and the notes before a look. Without a change the look declares the other dead.
struct Case {
    other: Record,
    is_subscribed: bool,
    holds: bool,
    /// Seconds since the last look, and since the other was noted.
    looked: i64,
    noted: Option<i64>,
    judge: Record,
    is_judge_subscribed: bool,
    generation: Option<u64>,
}

/// What a look makes of the other.
#[derive(Debug, PartialEq, Eq)]
enum Made {
    Dead,
    /// It is noted from now on.
    Noted,
    /// It stays noted as it was.
    Waits,
    Forgotten,
    /// The look was that of a replica that cannot judge: notes, and when the next look is due, are as they were.
    Nothing,
}
use Made::{Dead, Forgotten, Noted, Nothing, Waits};

fn case(change: impl FnOnce(&mut Case)) -> Case {
    let mut case = Case {
        other: record(400),
        is_subscribed: false,
        holds: true,
        looked: 180,
        noted: Some(310),
        judge: record(0),
        is_judge_subscribed: true,
        generation: Some(1),
    };
    change(&mut case);
    case
}

async fn made_of(fleet: &Fleet, case: Case) -> Made {
    fleet.stream.redis(&["XGROUP", "DESTROY", JOBS, GROUP]).await;
    fleet.stream.redis(&["DEL", REPLICAS, JOBS, SWEEP]).await;
    fleet.stream.redis(&["XGROUP", "CREATE", JOBS, GROUP, "0", "MKSTREAM"]).await;
    if case.holds {
        fleet.holds("other", 1).await;
    }
    // The judge's own entries are no reason to judge it.
    fleet.holds("me", 1).await;
    fleet.is("other", case.other).await;
    fleet.is("me", case.judge).await;
    if case.is_subscribed {
        fleet.subscribe("other");
    }
    if !case.is_judge_subscribed {
        fleet.unsubscribe("me").await;
    }
    fleet.noted(case.looked, &case.noted.map(|ago| ("other", ago)).into_iter().collect::<Vec<_>>()).await;
    let (notes, before, began) = (fleet.notes().await, fleet.noted_at("other").await, fleet.stream.now().await);
    let reply = fleet.call("me", Aim::Watch, terms(case.generation)).await;
    let ended = fleet.stream.now().await;
    if case.is_subscribed {
        fleet.unsubscribe("other").await;
    }
    if !case.is_judge_subscribed {
        fleet.subscribe("me");
    }
    let (presence, was_dead) = (fleet.presence("other").await, case.other.died.is_some());
    assert_eq!(presence.contains(" dead "), was_dead || reply.deaths.declared == ["other"], "{presence}: {reply:?}");
    if reply.deaths.declared == ["other"] {
        return Dead;
    }
    assert_eq!(reply.deaths.declared.len(), 0);
    if fleet.stream.redis(&["HEXISTS", SWEEP, "watch_due"]).await.as_i64() == Some(0) {
        assert_eq!(fleet.notes().await, notes);
        return Nothing;
    }
    match fleet.noted_at("other").await {
        None => Forgotten,
        Some(at) if at >= began && at <= ended => Noted,
        at => {
            assert_eq!(at, before);
            Waits
        }
    }
}

async fn each_condition_of_the_rule_keeps_a_replica_from_being_declared_dead(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    // A judge that lost its first subscription was heard again so many seconds ago.
    let again = |heard| Record { heard: Some(heard), generation: 2, ..record(0) };
    let ahead = |seconds: i64| -seconds;
    let cases = [
        ("noted for the grace, in looks that follow closely", case(|_| {}), Dead),
        ("it drains", case(|it| it.other.state = "draining"), Dead),
        ("it is not noted yet", case(|it| it.noted = None), Noted),
        ("it has not been noted for the grace", case(|it| it.noted = Some(290)), Waits),
        ("the last look was too long ago", case(|it| it.looked = 220), Noted),
        ("the last look was in the future", case(|it| it.looked = ahead(50)), Noted),
        ("the note was made in the future", case(|it| it.noted = Some(ahead(50))), Noted),
        ("it has renewed since it was noted", case(|it| it.other.seen = 300), Noted),
        ("its subscription is there", case(|it| it.is_subscribed = true), Forgotten),
        ("it holds nothing", case(|it| it.holds = false), Forgotten),
        ("it has left", case(|it| it.other.state = "left"), Forgotten),
        ("its last renewal did not hear it", case(|it| it.other.heard = None), Forgotten),
        ("it was heard by an earlier run of the server", case(|it| it.other.is_of_this_run = false), Forgotten),
        (
            "it has been silent for claim idle, and the judge has just subscribed",
            case(|it| (it.other.seen, it.judge) = (1_010, Record { heard: Some(1), born: 1, ..record(0) })),
            Forgotten,
        ),
        (
            "it has been silent for claim idle, and the judge was subscribed for longer than others need to come back",
            case(|it| (it.other.seen, it.judge) = (1_010, Record { heard: Some(5), born: 5, ..record(0) })),
            Dead,
        ),
        ("it was seen far in the future", case(|it| it.other.seen = ahead(1_100)), Forgotten),
        ("it is dead already", case(|it| it.other = dead(350)), Forgotten),
        ("the judge is not subscribed", case(|it| it.is_judge_subscribed = false), Nothing),
        ("the judge has lost its subscription", case(|it| it.generation = None), Nothing),
        ("the judge has a new subscription and has not renewed", case(|it| it.generation = Some(2)), Nothing),
        ("the judge was not heard", case(|it| it.judge.heard = None), Nothing),
        (
            "it has renewed since the judge was heard again",
            case(|it| (it.judge, it.generation) = (again(410), Some(2))),
            Dead,
        ),
        (
            "it has not renewed since the judge was heard again",
            case(|it| (it.judge, it.generation) = (again(390), Some(2))),
            Forgotten,
        ),
        (
            "the judge has come later, and never lost a subscription",
            case(|it| it.judge = Record { heard: Some(5), born: 5, ..record(0) }),
            Dead,
        ),
    ];
    for (what, case, expected) in cases {
        assert_eq!(made_of(&fleet, case).await, expected, "{what}");
    }
}

async fn a_dead_replica_is_noted_first_and_declared_dead_after_the_grace(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    fleet.subscribe("other");
    let held = fleet.holds("other", 2).await;
    assert_eq!(fleet.renews("other", Some(1)).await, Hearing::Heard);
    let renewed = fleet.presence("other").await;
    let terms = SweepTerms {
        watch: terms(Some(1)).watch.map(|watch| Watch { grace: Duration::from_secs(1), ..watch }),
        ..terms(Some(1))
    };
    let reply = fleet.call("me", Aim::Watch, terms).await;
    assert_eq!((reply.swept, reply.next_in), (Swept::Done(Sweep::default()), Duration::from_secs(1)));
    fleet.unsubscribe("other").await;
    // The clock is the server's: what comes sooner than the grace declares nothing.
    let (began, mut looks) = (std::time::Instant::now(), 0);
    loop {
        fleet.stream.redis(&["HDEL", SWEEP, "watch_due"]).await;
        let reply = fleet.call("me", Aim::Watch, terms).await;
        if reply.deaths.declared == ["other"] {
            assert_eq!(reply.swept, Swept::Found);
            break;
        }
        assert_eq!(reply.swept, Swept::Done(Sweep::default()));
        looks += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(looks > 1 && began.elapsed() >= Duration::from_secs(1), "{looks} looks in {:?}", began.elapsed());
    // What its last renewal wrote is still there.
    let died = fleet.stream.presence_member("other", "died_ms").await;
    let expected = renewed.replacen("running {", &format!("dead {{\"died_ms\":{died},"), 1);
    assert_eq!(fleet.presence("other").await, expected);
    assert!(fleet.stream.now().await >= died);
    let (sweep, deaths) = fleet.claims("me", Aim::Take).await;
    assert_eq!((ids(&sweep), sweep.crashed, sweep.from), (held, 2, vec![("other".to_owned(), 2)]));
    assert_eq!((deaths.declared.len(), deaths.silent, deaths.withdrawn), (0, 0, 0));
}

async fn a_look_says_when_the_next_is_due(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    let next = async |what: &str, expected: Duration| {
        let reply = fleet.watch_as("me").await;
        assert_eq!((reply.swept, reply.next_in), (Swept::Done(Sweep::default()), expected), "{what}");
        // Until then a look is not due, and says how long.
        let reply = fleet.call("me", Aim::Watch, terms(Some(1))).await;
        assert_eq!(reply.swept, Swept::NotDue, "{what}");
        assert!(reply.next_in <= expected && reply.next_in + Duration::from_secs(60) > expected, "{what}: {reply:?}");
    };
    next("no one holds anything", INTERVAL).await;
    fleet.holds("third", 1).await;
    fleet.is("third", Record { heard: None, ..record(0) }).await;
    next("what one holds that was not heard", INTERVAL).await;
    fleet.holds("me", 1).await;
    next("the others hold nothing, and may look for this one", GRACE).await;
    fleet.is("other", record(400)).await;
    fleet.holds("other", 1).await;
    next("another is noted", GRACE / 3).await;
    fleet.noted(10, &[("other", 250)]).await;
    let reply = fleet.watch_as("me").await;
    assert!(reply.next_in <= Duration::from_secs(50) && reply.next_in > Duration::from_secs(10), "{reply:?}");
    // A look with an interval that is shorter than the grace.
    fleet.stream.redis(&["HDEL", SWEEP, "watch_due", "noted"]).await;
    let short = SweepTerms { interval: Duration::from_secs(60), ..terms(Some(1)) };
    assert_eq!(fleet.call("me", Aim::Watch, short).await.next_in, Duration::from_secs(60));
    // A sweep looks too where it is due, and what is due sooner counts.
    fleet.stream.due().await;
    let reply = fleet.call("me", Aim::Take, terms(Some(1))).await;
    assert_eq!((reply.swept, reply.next_in), (Swept::Done(Sweep::default()), GRACE / 3));
    let reply = fleet.call("other", Aim::Look, terms(None)).await;
    assert_eq!(reply.swept, Swept::NotDue);
    assert!(reply.next_in <= GRACE / 3 && reply.next_in + Duration::from_secs(60) > GRACE / 3, "{reply:?}");
    // A time that lies too far ahead was written before the clock went back.
    let ahead = (fleet.stream.now().await + 2_000 * SECOND).to_string();
    fleet.stream.redis(&["HSET", SWEEP, "watch_due", &ahead]).await;
    assert_ne!(fleet.call("me", Aim::Watch, terms(Some(1))).await.swept, Swept::NotDue);
}

async fn watching_takes_nothing_and_leaves_the_sweep_its_turn(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    fleet.is("other", record(400)).await;
    let held = fleet.holds("other", 1).await;
    let due = (fleet.stream.now().await + 500 * SECOND).to_string();
    fleet.stream.redis(&["HSET", SWEEP, "due", &due, "by", "third"]).await;
    let due_now = async || fleet.stream.redis(&["HGET", SWEEP, "due"]).await.as_string().expect("a time");
    assert_eq!(fleet.watch_as("me").await.swept, Swept::Done(Sweep::default()));
    assert_eq!(due_now().await, due);
    // Where one is declared dead a sweep is due for all.
    fleet.noted(10, &[("other", 310)]).await;
    let reply = fleet.watch_as("me").await;
    assert_eq!((reply.swept, reply.deaths.declared), (Swept::Found, vec!["other".to_owned()]));
    assert!(due_now().await < due);
    assert_eq!(fleet.owner(&held[0]).await, "other");
    fleet.stream.redis(&["HSET", SWEEP, "due", &due]).await;
    assert_eq!(fleet.watch_as("me").await.swept, Swept::Done(Sweep::default()), "others were told, and have looked");
    assert_eq!(due_now().await, due);
    fleet.stream.due().await;
    assert_eq!(fleet.watch_as("me").await.swept, Swept::Found, "no one has looked for what it still holds");
    fleet.stream.due().await;
    assert_eq!(fleet.call("me", Aim::Look, terms(Some(1))).await.swept, Swept::Found);
    assert_eq!(ids(&fleet.claims("me", Aim::Take).await.0), held);
    assert_eq!(fleet.watch_as("me").await.swept, Swept::Done(Sweep::default()));
}

/// Makes as many entries of one consumer as it is told.
const MANY: &str = "
for i = 1, ARGV[3] do
  local id = redis.call('XADD', KEYS[1], '*', 'game_id', 'g', 'image_ref', 'i')
  redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], '>')
end
";

async fn entries_of_the_dead_are_found_however_deep_they_lie(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    fleet.stream.redis(&["EVAL", MANY, "1", JOBS, GROUP, "living", "6000"]).await;
    let deep = fleet.holds("other", 3).await;
    fleet.lives("living", record(1)).await;
    fleet.is("other", record(400)).await;
    fleet.is("third", Record { heard: None, ..record(1) }).await;
    fleet.noted(10, &[("other", 310)]).await;
    let due = (fleet.stream.now().await + 500 * SECOND).to_string();
    fleet.stream.redis(&["HSET", SWEEP, "due", &due, "by", "third"]).await;
    // One call declares it dead and takes what it held, although no sweep is due.
    let reply = fleet.call("me", Aim::Take, terms(Some(1))).await;
    let Swept::Done(sweep) = reply.swept else { panic!("{reply:?}") };
    assert_eq!((reply.deaths.declared, ids(&sweep), sweep.crashed), (vec!["other".to_owned()], deep, 3));
}

async fn suspects_of_the_dead_are_for_a_replica_alone(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    fleet.stream.redis(&["EVAL", MANY, "1", JOBS, GROUP, "living", "6000"]).await;
    fleet.is("living", record(1)).await;
    fleet.is("third", record(1)).await;
    let suspects = fleet.holds("other", 2).await;
    fleet.is("other", record(400)).await;
    for id in &suspects {
        fleet.stream.redis(&["HSET", super::ATTEMPTS, id, "2 0 0"]).await;
    }
    assert_eq!(ids(&fleet.claims("me", Aim::Alone).await.0).len(), 0, "it is not dead");
    fleet.dies(&["other"]).await;
    for aim in [Aim::Look, Aim::Take] {
        fleet.stream.due().await;
        assert_eq!(fleet.call("me", aim, terms(Some(1))).await.swept, Swept::Suspects, "{aim:?}");
    }
    assert_eq!(ids(&fleet.claims("me", Aim::Alone).await.0), suspects[..1]);
    // `living` is the first by name of those that go on serving.
    assert_eq!(ids(&fleet.claims("me", Aim::Another).await.0), suspects[1..]);
    assert_eq!((fleet.crashes(&suspects[0]).await, fleet.crashes(&suspects[1]).await), (2, 2), "it did not run alone");
}

async fn each_claimed_entry_says_from_which_dead_owner_it_came(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    for (name, record) in [
        ("declared", dead(5)),
        ("silent", record(1_010)),
        ("left", Record { state: "left", ..record(5) }),
        ("gives", record(1)),
        ("neglects", record(1)),
        ("declared and silent", dead(1_010)),
    ] {
        fleet.is(name, record).await;
    }
    let mut expected = Vec::new();
    for (name, idle, dead) in [
        ("declared", 0, true),
        ("silent", 1_020 * SECOND, true),
        ("left", 0, false),
        ("gives", super::HOUR_MS, false),
        ("neglects", 1_020 * SECOND, false),
        ("declared and silent", 0, true),
        // Without a presence.
        ("unknown", 1_020 * SECOND, true),
    ] {
        expected.push((fleet.stream.held(name, idle).await, dead.then(|| name.to_owned())));
    }
    let mut claimed = Vec::new();
    // First what the dead held, then the rest.
    for _ in 0..2 {
        let (sweep, _) = fleet.claims("me", Aim::Take).await;
        claimed.extend(
            sweep.claimed.iter().map(|one| (one.id.to_string(), one.dead_owner.as_ref().map(ToString::to_string))),
        );
    }
    claimed.sort();
    assert_eq!(claimed, expected);
}

async fn without_a_grace_nothing_is_asked(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    fleet.is("other", record(400)).await;
    fleet.holds("other", 1).await;
    fleet.noted(10, &[("other", 310)]).await;
    let notes = fleet.notes().await;
    fleet.stream.redis(&["CONFIG", "RESETSTAT"]).await;
    let silence = SweepTerms { watch: None, ..terms(Some(1)) };
    for aim in [Aim::Watch, Aim::Look, Aim::Take, Aim::Alone, Aim::Another] {
        fleet.stream.due().await;
        let reply = fleet.call("me", aim, silence).await;
        assert_eq!((reply.next_in, reply.deaths.declared.len()), (INTERVAL, 0), "{aim:?}");
    }
    let calls = fleet.stream.redis(&["INFO", "commandstats"]).await.as_string().expect("text");
    for command in ["pubsub", "xinfo|consumers"] {
        assert!(!calls.contains(&format!("cmdstat_{command}")), "{command} was called");
    }
    assert_eq!(fleet.notes().await, notes);
    // What others have declared dead is claimed all the same.
    fleet.is("other", dead(5)).await;
    fleet.stream.due().await;
    let Swept::Done(sweep) = fleet.call("me", Aim::Take, silence).await.swept else { panic!("not swept") };
    assert_eq!(sweep.claimed.len(), 1);
    assert!(CLAIM_IDLE > INTERVAL);
}

async fn a_record_that_is_no_json_is_replaced(stream: Stream) {
    let fleet = Fleet::new(stream).await;
    let held = fleet.holds("other", 1).await;
    fleet.is("other", record(400)).await;
    let said = fleet.presence("other").await.replace(['{', '}'], "");
    fleet.stream.redis(&["HSET", REPLICAS, "other", &said]).await;
    fleet.noted(10, &[("other", 310)]).await;
    assert_eq!(fleet.watch_as("me").await.deaths.declared, ["other"]);
    let died = fleet.stream.presence_member("other", "died_ms").await;
    assert!(fleet.presence("other").await.ends_with(&format!(" dead {{\"died_ms\":{died}}}")));
    assert_eq!(ids(&fleet.claims("me", Aim::Take).await.0), held);
}
