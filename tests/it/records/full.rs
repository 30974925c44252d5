//! A host has as many games as its policy allows, whoever asks at the same time.

use futures_util::future::join_all;

use startjobs::contract::image_ref::ImageRef;
use startjobs::start::game_id::GameId;
use startjobs::start::record::{AttemptResult, Begun, Here, Seen};

use super::{Asked, FIRST, PLACED, Store, asked, failure, here, success, went};
use crate::declared_keys::Watch;

fn job_of(game: &str) -> Asked {
    Asked {
        game: GameId::parse(game).expect("an id"),
        image: ImageRef::parse(FIRST).expect("an image"),
        source: "5-1".to_owned(),
    }
}

fn at_most(games: u32) -> Seen {
    Seen { games_max: Some(games), ..Seen::default() }
}

#[tokio::test]
async fn a_full_host_begins_nothing_and_another_host_does() {
    let store = Store::new().await;
    let (records, there) = (store.of("a"), Here::new("there", []));
    let [first, second, third] = ["game", "two", "three"].map(job_of);
    let begin = async |job: &Asked, host: &Here| records.begin(&job.job(), host, &at_most(2)).await;
    let token = went(begin(&first, &here()).await);
    let other = went(begin(&second, &here()).await);
    assert_eq!(begin(&third, &here()).await, Ok(Begun::Full(2)));
    assert_eq!(
        store.redis(&["EXISTS", "rtm:{three}:rec"]).await.convert::<u64>().expect("a number"),
        0,
        "no trace of it"
    );
    let elsewhere = went(begin(&third, &there).await);
    // Its own games are begun again, and answered, however full it is.
    let token = {
        drop(token);
        went(begin(&first, &here()).await)
    };
    assert!(first.commit(&records, &token, &success("c")).await.expect("asked"));
    assert!(matches!(begin(&first, &here()).await, Ok(Begun::Stored(..))));
    assert_eq!(begin(&asked("6-1", FIRST), &here()).await, Ok(Begun::Running("c".to_owned())));
    // One that has failed and left nothing makes room at once, one that runs or has begun does not.
    assert!(!records.unlist(&first.game, &here()).await.expect("asked"));
    assert!(!records.unlist(&second.game, &here()).await.expect("asked"));
    let leaves = AttemptResult { still_condemned: Some("d".to_owned()), ..failure().into() };
    assert!(records.commit(&second.job(), &other, &leaves).await.expect("asked"));
    assert!(!records.unlist(&second.game, &here()).await.expect("asked"), "its container is still there");
    let again = went(begin(&Asked { source: "6-1".to_owned(), ..job_of("two") }, &here()).await);
    assert!(second.commit(&records, &again, &failure()).await.expect("asked"));
    assert!(records.unlist(&second.game, &here()).await.expect("asked"));
    // A game that another host has left may come, and fills it again.
    records.leave(&third.game, &elsewhere.fence).await.expect("asked");
    assert!(records.unlist(&third.game, &there).await.expect("asked"));
    went(begin(&third, &here()).await);
    assert_eq!(begin(&job_of("four"), &here()).await, Ok(Begun::Full(2)));
    assert_eq!(begin(&job_of("four"), &there).await.map(|begun| matches!(begun, Begun::Go(_))), Ok(true));
}

#[tokio::test]
async fn calls_at_the_same_time_share_the_room_that_there_is() {
    let store = Store::new().await;
    let replicas = [store.of("a"), store.of("b")];
    let known = [job_of("game0"), job_of("game1")];
    for job in &known {
        went(replicas[0].begin(&job.job(), &here(), &Seen::default()).await);
    }
    let jobs: Vec<_> = (0..60).map(|number| job_of(&format!("game{number}"))).collect();
    let seen = at_most(20);
    let host = here();
    let calls = jobs
        .iter()
        .zip(replicas.iter().cycle())
        .map(async |(job, records)| records.begin(&job.job(), &host, &seen).await.expect("asked"));
    let begun = join_all(calls).await;
    let full = begun.iter().filter(|begun| matches!(begun, Begun::Full(_))).count();
    // One of the known games is asked for by its own replica, and one by the other, which waits for its lease.
    assert_eq!((full, begun.iter().filter(|begun| matches!(begun, Begun::Busy(_))).count()), (40, 1), "{begun:?}");
    assert_eq!(store.redis(&["ZCARD", PLACED]).await.convert::<u64>().expect("a number"), 20);
}

#[tokio::test]
async fn a_host_without_a_limit_is_not_counted() {
    let store = Store::new().await;
    let records = store.of("a");
    let counting = async |seen: Seen, game: &str| {
        let watch = Watch::begin(store.port());
        went(records.begin(&job_of(game).job(), &here(), &seen).await);
        let seen = watch.end(&store.connection).await;
        assert_eq!(seen.undeclared.len(), 0, "{seen:?}");
        let counts = |words: &&Vec<String>| ["ZCARD", "ZSCORE"].contains(&words[0].to_ascii_uppercase().as_str());
        seen.commands.iter().filter(counts).count()
    };
    assert_eq!(counting(Seen::default(), "one").await, 0);
    assert_eq!(counting(at_most(9), "two").await, 1);
}

#[tokio::test]
async fn what_is_no_list_of_games_is_named() {
    let store = Store::new().await;
    store.redis(&["SET", PLACED, "x"]).await;
    let error = store.of("a").begin(&job_of("game").job(), &here(), &at_most(1)).await.expect_err("it is no list");
    assert!(error.text.contains(PLACED), "{error:?}");
}
