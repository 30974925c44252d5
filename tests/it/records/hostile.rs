//! Records that are damaged, of another type, or written by hand.

use serde_json::json;
use startjobs::redis::Kind;
use startjobs::redis::server_clock::ServerClock;
use startjobs::start::record::{Action, FenceToken, Records};

use super::{FIRST, OTHER, PLACED, REC, RES, Store, asked, failure, here, runs, stored, success};

/// Every verb, each of which is to answer the same error.
async fn all_fail(records: &Records, says: &str) {
    let job = asked("6-1", OTHER);
    let token = FenceToken {
        fence: "3".to_owned(),
        attempt: 3,
        host: "here".to_owned(),
        condemned: None,
        checked_at: tokio::time::Instant::now(),
        clock: ServerClock::hear(5),
    };
    let game = &job.game;
    let errors = [
        ("begin", job.begin(records).await.map(drop)),
        ("fence", records.holds_fence(game, "3").await.map(drop)),
        ("renew", records.renew(game, "3").await.map(drop)),
        ("release", records.release(game, "3").await),
        ("condemn", records.condemn(game, "3", "c").await.map(drop)),
        ("disown", records.disown(game, "c").await.map(drop)),
        ("commit", job.commit(records, &token, &failure()).await.map(drop)),
        ("abandon", job.abandon(records, None).await.map(drop)),
        ("reap", records.reap(game, "c", ("3", "a"), &here(), Action::Condemn).await.map(drop)),
    ];
    for (verb, error) in errors {
        let error = error.expect_err(verb);
        assert_eq!(error.kind, Kind::WrongType, "{verb}: {error}");
        assert!(error.text.contains(says), "{verb}: {error}");
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_named_and_left_alone() {
    let store = Store::new().await;
    let (records, job) = (store.of("a"), asked("5-1", FIRST));
    job.go(&records).await;
    let whole = store.text().await;
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let damaged = [
        ("", "not a JSON object"),
        ("x", "not a JSON object"),
        ("{", "not a JSON object"),
        ("7", "not a JSON object"),
        ("null", "not a JSON object"),
        ("[]", "state is no text"),
        ("{}", "state is no text"),
        (r#"{"fence":1"#, "not a JSON object"),
        (&whole[..whole.len() / 2], "not a JSON object"),
        (&whole.replace("\"starting\"", "5"), "state is no text"),
        (&whole.replace("\"starting\"", &deep), "not a JSON object"),
        (&whole.replace("\"starting\"", "\"\\ud800\""), "not a JSON object"),
        (&whole.replace(",\"owner\":\"a\"", ""), "owner is no text"),
        (&whole.replace(",\"owner\":\"a\"", ",\"owner\":null"), "owner is no text"),
        (&whole.replace('}', ",\"condemned\":{}}"), "condemned is no text"),
        (&whole.replace('}', ",\"answer\":1}"), "answer is no object"),
        (&whole.replace('}', ",\"answer\":{\"error_code\":1}}"), "error_code is no text"),
        (&whole.replace("\"attempt\":1", "\"attempt\":1.5"), "attempt is no whole number"),
        (&whole.replace("\"attempt\":1,", ""), "attempt is no whole number"),
        (&whole.replace("\"fence\":1", "\"fence\":-1"), "fence is no whole number"),
        (&whole.replace("\"fence\":1", "\"fence\":nan"), "fence is no whole number"),
        (&whole.replace("\"fence\":1", "\"fence\":inf"), "fence is no whole number"),
        (&whole.replace("\"fence\":1", "\"fence\":1e300"), "fence is no whole number"),
        (&whole.replace("\"fence\":1", "\"fence\":\"1\""), "fence is no whole number"),
        (&whole.replace("\"fence\":1", "\"fence\":9007199254740992"), "fence is no whole number"),
    ];
    for (text, says) in damaged {
        store.redis(&["SET", REC, text]).await;
        all_fail(&records, &format!("the key {REC} holds no record of a game: {says}")).await;
        assert_eq!(store.text().await, text);
    }
    for spoil in [&["RPUSH", REC, "x"], &["SADD", REC, "x"]] {
        store.redis(&["DEL", REC]).await;
        store.redis(spoil).await;
        let before = store.redis(&["DUMP", REC]).await;
        all_fail(&records, &format!("the key {REC} holds a ")).await;
        assert_eq!(store.redis(&["DUMP", REC]).await, before);
    }
    assert_eq!(store.keys().await, [PLACED, REC]);
}

#[tokio::test]
async fn a_fence_rises_as_far_as_numbers_do() {
    let store = Store::new().await;
    let (records, job) = (store.of("a"), asked("5-1", FIRST));
    job.go(&records).await;
    let text = store.text().await.replace("\"fence\":1", "\"fence\":9007199254740990");
    store.redis(&["SET", REC, &text]).await;
    let token = job.go(&records).await;
    assert_eq!(token.fence, "9007199254740991");
    assert!(records.renew(&job.game, &token.fence).await.expect("asked"));
    for error in [job.begin(&records).await.map(drop), job.abandon(&records, None).await.map(drop)] {
        assert!(error.expect_err("it ends").text.contains("its fence can rise no further"));
    }
    assert!(job.commit(&records, &token, &success("c")).await.expect("asked"));
    assert_eq!(job.begin(&records).await, Ok(runs(success("c"))));
}

#[tokio::test]
async fn a_record_that_somebody_has_written_by_hand_is_understood() {
    let store = Store::new().await;
    let (records, job) = (store.of("a"), asked("5-1", FIRST));
    let token = job.go(&records).await;
    let mut record = store.record().await;
    record["note"] = json!({"by": ["hand"]});
    let text = serde_json::to_string_pretty(&record).expect("JSON");
    store.redis(&["SET", REC, &text]).await;
    assert!(records.holds_fence(&job.game, "1").await.expect("asked"));
    assert!(!records.holds_fence(&job.game, "2").await.expect("asked"));
    assert!(records.condemn(&job.game, "1", "c").await.expect("asked"));
    assert!(store.text().await.starts_with("{\"fence\":1,\"owner\":\"a\",\"lease_until_ms\":"));
    store.redis(&["SET", REC, &text]).await;
    assert!(job.commit(&records, &token, &success("c")).await.expect("asked"));
    assert_eq!(store.record().await["state"], "running");
}

#[tokio::test]
async fn answers_of_a_wrong_type_stop_what_would_need_them_and_nothing_else() {
    let store = Store::new().await;
    let (records, job, next) = (store.of("a"), asked("5-1", FIRST), asked("6-1", FIRST));
    store.redis(&["RPUSH", RES, "x"]).await;
    let token = job.go(&records).await;
    assert!(job.commit(&records, &token, &failure()).await.expect("asked"));
    assert_eq!(job.begin(&records).await, Ok(stored(failure())));
    let before = store.text().await;
    for error in [next.begin(&records).await.map(drop), next.abandon(&records, None).await.map(drop)] {
        let error = error.expect_err("they are asked");
        assert_eq!(error.kind, Kind::WrongType, "{error}");
    }
    assert_eq!((store.text().await, store.redis(&["TYPE", RES]).await.as_string()), (before, Some("list".to_owned())));
}
