//! A failed attempt of which nothing is left on its host leaves the host, so that another one can start the game.

use startjobs::start::record::{Begun, Here, Seen};

use super::{FIRST, Store, asked, here, success, went};

#[tokio::test]
async fn after_an_attempt_that_left_nothing_any_host_may_start_the_game() {
    let store = Store::new().await;
    let (a, b, job, there) = (store.of("a"), store.of("b"), asked("5-1", FIRST), Here::new("there", []));
    let token = job.go(&a).await;
    // Only the attempt itself says so.
    b.leave(&job.game, &token.fence).await.expect("asked");
    a.leave(&job.game, "7").await.expect("asked");
    assert!(matches!(b.begin(&job.job(), &there, &Seen::default()).await, Ok(Begun::Busy(_))));
    a.release(&job.game, &token.fence).await.expect("asked");
    let elsewhere = Ok(Begun::Elsewhere("here".to_owned()));
    assert_eq!(b.begin(&job.job(), &there, &Seen::default()).await, elsewhere, "its container may be there");
    a.leave(&job.game, &token.fence).await.expect("asked");
    let taken = went(b.begin(&job.job(), &there, &Seen::default()).await);
    assert_eq!((taken.host.as_str(), taken.fence.as_str(), taken.attempt), ("there", "2", 2));
    // A container that must go keeps the game where it is, and so does a game that runs.
    assert!(b.condemn(&job.game, &taken.fence, "c").await.expect("asked"));
    b.leave(&job.game, &taken.fence).await.expect("asked");
    assert_eq!(a.begin(&job.job(), &here(), &Seen::default()).await, Ok(Begun::Elsewhere("there".to_owned())));
    let token = went(b.begin(&job.job(), &there, &Seen::default()).await);
    assert!(job.commit(&b, &token, &success("d")).await.expect("asked"));
    b.leave(&job.game, &token.fence).await.expect("asked");
    assert_eq!(store.record().await["host"], "there");
}

#[tokio::test]
async fn a_container_that_was_condemned_and_removed_keeps_no_game_on_its_host() {
    let store = Store::new().await;
    let (a, b, job, there) = (store.of("a"), store.of("b"), asked("5-1", FIRST), Here::new("there", []));
    let token = job.go(&a).await;
    assert!(a.condemn(&job.game, &token.fence, "c").await.expect("asked"));
    // Another container is condemned: that one is still to be removed.
    a.leave_after(&job.game, &token.fence, "d").await.expect("asked");
    assert_eq!(store.record().await["condemned"], "c");
    b.leave_after(&job.game, &token.fence, "c").await.expect("asked");
    let elsewhere = Ok(Begun::Elsewhere("here".to_owned()));
    assert_eq!(b.begin(&job.job(), &there, &Seen::default()).await, elsewhere, "only the attempt itself says so");
    a.leave_after(&job.game, &token.fence, "c").await.expect("asked");
    let taken = went(b.begin(&job.job(), &there, &Seen::default()).await);
    assert_eq!((taken.host.as_str(), taken.condemned), ("there", None));
}
