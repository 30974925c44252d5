//! Every kind of answer that another kind of job can get: greeted, malformed, tried again, given up, too late.

use startjobs::lobby::accounting::Sent;

use super::greeter::UNREADABLE;
use super::hall::Hall;
use crate::support::servers;

/// A failure that counts even once ends the job: what is answered all the same was not counted.
const ONE_FAILURE: (&str, &str) = ("retry-attempts", "1");

#[tokio::test]
async fn every_job_gets_one_outcome_with_the_fields_of_its_handler_on_every_version() {
    for redis in servers::all() {
        let mut hall = Hall::on(redis, &[]).await;
        hall.working_replica().await;
        let ada = hall.send("Ada", "hello").await;
        // More than one batch.
        hall.send_many("guest", 200, "hello").await;
        hall.at_rest().await;
        assert_eq!(hall.said(ada).await, ["Ada", "greeted", "Hello Ada, 1", ""]);
        assert_eq!(hall.all_dead().await, 0);
        hall.stop(0).await;
    }
}

#[tokio::test]
async fn what_is_no_job_of_this_kind_becomes_a_dead_letter() {
    let mut hall = Hall::new(&[]).await;
    hall.working_replica().await;
    hall.send_many("before", 5, "hello").await;
    let cases: [(&[(&str, &str)], &str); 5] = [
        (&[("wish", "hello")], "no name"),
        (&[("name", "Ada"), ("wish", "gold")], "unknown wish \"gold\""),
        (&[("name", "Ada"), ("wish", "hello"), ("requested_at_ms", "soon")], "requested_at_ms is no number"),
        (&[("name", "Ada"), ("wish", UNREADABLE)], "the handler panicked while it decoded the entry"),
        // A job of the kind that the worker was made for.
        (&[("game_id", "g"), ("image_ref", "galaxy/engine:1"), ("requested_at_ms", "17")], "no name"),
    ];
    let mut malformed = Vec::new();
    for (fields, detail) in cases {
        malformed.push((hall.world.send_fields(fields, Sent::Malformed).await, fields, detail));
    }
    hall.send_many("after", 5, "hello").await;
    hall.at_rest().await;
    for (id, fields, detail) in malformed {
        let letter = hall.dead(id).await;
        assert_eq!((letter.get("reason"), letter.get("detail"), letter.get("outcome_id")), ("malformed", detail, ""));
        let original: Vec<(&str, &str)> =
            letter.pairs[letter.pairs.len() - fields.len()..].iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(original, fields);
    }
    assert_eq!(hall.all_dead().await, 5);
}

#[tokio::test]
async fn a_failure_that_passes_is_tried_again_and_answered_once() {
    let mut hall = Hall::new(&[]).await;
    hall.working_replica().await;
    let ada = hall.send("Ada", "fail 2").await;
    hall.at_rest().await;
    assert_eq!(hall.said(ada).await, ["Ada", "greeted", "Hello Ada, 1", ""]);
    assert_eq!((hall.calls(ada).await, hall.all_dead().await), (3, 0));
    hall.logged(0, "both failures", |log| log.count("start service failed") == 2).await;
}

#[tokio::test]
async fn a_spent_budget_gives_a_failure_and_a_dead_letter() {
    let mut hall = Hall::new(&[("retry-attempts", "3")]).await;
    hall.working_replica().await;
    let ada = hall.send("Ada", "fail 99").await;
    hall.send_many("guest", 20, "hello").await;
    hall.at_rest().await;
    let error = "internal_error: hoarse, call 3";
    assert_eq!(hall.said(ada).await, ["Ada", "refused", "", error]);
    let (letter, outcome) = (hall.dead(ada).await, hall.world.outcome(ada).await);
    let said = ["reason", "failures", "crashes", "detail", "outcome_id"].map(|field| letter.get(field));
    assert_eq!(said, ["retries_exhausted", "3", "0", error, &outcome.id]);
    assert_eq!(hall.all_dead().await, 1);
}

#[tokio::test]
async fn a_panic_of_the_handler_counts_as_a_failure_and_the_replica_works_on() {
    let mut hall = Hall::new(&[("retry-attempts", "2")]).await;
    hall.working_replica().await;
    let (once, always) = (hall.send("Ada", "panic 1").await, hall.send("Blaise", "panic 99").await);
    hall.send_many("guest", 20, "hello").await;
    hall.at_rest().await;
    assert_eq!(hall.said(once).await, ["Ada", "greeted", "Hello Ada, 1", ""]);
    let [_, result, greeting, error] = hall.said(always).await;
    assert!(result == "refused" && greeting.is_empty() && error.starts_with("internal_error: "), "{error}");
    let letter = hall.dead(always).await;
    assert_eq!((letter.get("reason"), letter.get("failures")), ("retries_exhausted", "2"));
    assert_eq!((hall.calls(once).await, hall.calls(always).await), (2, 2));
    hall.stop(0).await;
}

#[tokio::test]
async fn a_request_that_is_too_old_is_answered_and_not_handled() {
    let mut hall = Hall::new(&[("start-deadline", "10m")]).await;
    hall.working_replica().await;
    let now = hall.world.now_ms().await;
    let late = hall.send_requested_at("Ada", "hello", now - 3_600_000).await;
    let fresh = hall.send_requested_at("Blaise", "hello", now).await;
    let silent = hall.send("Carl", "hello").await;
    hall.at_rest().await;
    let [_, result, greeting, error] = hall.said(late).await;
    assert!(result == "refused" && greeting.is_empty() && error.starts_with("start_deadline_exceeded: "), "{error}");
    assert_eq!((hall.calls(late).await, hall.calls(fresh).await, hall.calls(silent).await), (0, 1, 1));
    assert_eq!(hall.all_dead().await, 0);
}

#[tokio::test]
async fn an_attempt_that_finds_another_under_way_waits_and_does_not_count() {
    let mut hall = Hall::new(&[ONE_FAILURE]).await;
    hall.working_replica().await;
    let ada = hall.send("Ada", "busy 3").await;
    hall.at_rest().await;
    assert_eq!(hall.said(ada).await, ["Ada", "greeted", "Hello Ada, 1", ""]);
    assert_eq!((hall.calls(ada).await, hall.all_dead().await), (4, 0));
    assert_eq!(hall.log(0).warnings(), 0, "{}", hall.logs());
}

#[tokio::test]
async fn jobs_of_one_lane_are_handled_one_at_a_time_and_in_their_order() {
    let mut hall = Hall::new(&[("slots", "32")]).await;
    hall.working_replica().await;
    let mut jobs = Vec::new();
    for round in 1..=10 {
        for name in ["Ada", "Blaise", "Carl"] {
            jobs.push((hall.send(name, "wait 15").await, name, round));
        }
    }
    hall.at_rest().await;
    for (job, name, round) in jobs {
        assert_eq!(hall.said(job).await, [name, "greeted", &format!("Hello {name}, {round}"), ""]);
    }
}
