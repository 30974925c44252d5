//! Answers that are wrong in their form, at every call: each call ends with the right code, in time, and with little memory.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use startjobs::contract::error_code::ErrorCode;
use startjobs::engine::EngineError;
use startjobs::engine::docker::DockerEngine;

use super::{CALLS, GROWTH_MAX, IN_BETWEEN, LONG, MIB, SHORT, client, code, failure, memory_peak};
use crate::support::faulty_engine::{Answer, FaultyEngine};

use ErrorCode::{EngineUnavailable, ImagePullFailed, InternalError};

/// The calls of which the answer is nothing but a status.
const BARE: [&str; 4] = ["start", "stop", "remove", "unpause"];

fn every_call() -> impl Iterator<Item = &'static str> {
    CALLS.into_iter().chain(BARE.into_iter().filter(|call| *call != "unpause"))
}

fn chunked(begins: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{begins}")
}

#[tokio::test]
async fn a_connection_that_is_closed_early_is_an_engine_that_does_not_answer_at_every_call() {
    for answer in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Len", "\r\n\r\n"] {
        let engine = FaultyEngine::start(move |_| Answer::Says(answer.to_owned()));
        let client = client(&engine, LONG);
        for call in every_call() {
            let error = failure(&client, call).await;
            assert_eq!(code(error.as_ref()), Some(EngineUnavailable), "{answer:?} {call}: {error:?}");
        }
        engine.all_closed().await;
    }
    // What has no body is over with its head, and what has one is not.
    for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", &chunked("5\r\n{\"a")] {
        let given = answer.to_owned();
        let engine = FaultyEngine::start(move |_| Answer::Says(given.clone()));
        let client = client(&engine, LONG);
        for call in ["ensure_image", "find", "create", "list", "events", "mark", "marks"] {
            let error = failure(&client, call).await;
            assert_eq!(code(error.as_ref()), Some(EngineUnavailable), "{answer:?} {call}: {error:?}");
        }
        engine.all_closed().await;
    }
}

#[tokio::test]
async fn a_body_that_is_longer_or_shorter_than_its_head_says_is_never_taken_for_an_answer() {
    // Cut off where its head says that it ends.
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{\"Id\": \"7\"}";
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}";
    let nonsense = "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}";
    let rows = [(short, InternalError), (twice, EngineUnavailable), (nonsense, EngineUnavailable)];
    for (answer, want) in rows {
        let engine = FaultyEngine::start(move |_| Answer::Says(answer.to_owned()));
        let client = client(&engine, LONG);
        for call in ["find", "create", "list", "mark", "marks"] {
            let error = failure(&client, call).await;
            assert_eq!(code(error.as_ref()), Some(want), "{answer:?} {call}: {error:?}");
        }
        engine.all_closed().await;
    }
}

#[tokio::test]
async fn chunks_without_end_are_bounded() {
    let before = memory_peak();
    let text = "a".repeat(64 * 1024);
    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
    let rows = [
        // Whole chunks, one chunk of all the bytes there are, a size that never ends, and trailers that never do.
        (chunked("6\r\n{\"Id\":\r\n1\r\n\"\r\n"), chunk),
        (chunked("ffffffffffffff0\r\n{\"Id\":\""), text.clone()),
        (chunked("5;"), text.clone()),
        (chunked("0\r\nX: "), text.clone()),
    ];
    for (begins, goes_on) in rows {
        let head = begins.clone();
        let engine = FaultyEngine::start(move |_| Answer::Endless(begins.clone(), goes_on.clone()));
        let client = client(&engine, LONG);
        for call in ["find", "create", "mark"] {
            let began = Instant::now();
            let error = failure(&client, call).await;
            let seen = code(error.as_ref());
            assert!(matches!(seen, Some(EngineUnavailable | InternalError)), "{head:?} {call}: {error:?}");
            assert!(began.elapsed() < LONG / 2, "{head:?} {call}");
        }
        engine.all_closed().await;
        assert!(engine.sent() <= 3 * (4 * MIB + IN_BETWEEN), "{head:?}: {} bytes", engine.sent());
    }
    let grew = memory_peak() - before;
    assert!(grew < GROWTH_MAX, "the process grew by {} MiB", grew / MIB);
}

#[tokio::test]
async fn a_huge_refusal_is_bounded_in_memory_and_in_the_message() {
    let before = memory_peak();
    for megabytes in [1, 3] {
        let body = format!(r#"{{"message": "{}"}}"#, "é\\n\\u0000".repeat(megabytes * 100_000));
        let engine = FaultyEngine::start(move |_| Answer::status("500 Oops", &body));
        let client = client(&engine, LONG);
        for call in every_call() {
            match failure(&client, call).await {
                Some(EngineError::Failed { code: EngineUnavailable, message }) => {
                    assert!(message.len() < 4096 && !message.contains('\0'), "{call}: {} bytes", message.len());
                }
                other => panic!("{call}: {other:?}"),
            }
        }
        engine.all_closed().await;
    }
    let grew = memory_peak() - before;
    assert!(grew < GROWTH_MAX, "the process grew by {} MiB", grew / MIB);
}

#[tokio::test]
async fn a_switch_of_protocols_that_was_not_asked_for_is_no_answer() {
    let upgrade = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    let answers = [Answer::Says(upgrade.to_owned()), Answer::SaysAndHangs(upgrade.to_owned())];
    join_all(answers.map(|answer| async move {
        let engine = FaultyEngine::start(move |_| answer.clone());
        let client = client(&engine, SHORT);
        for call in every_call() {
            let error = failure(&client, call).await;
            assert_eq!(code(error.as_ref()), Some(EngineUnavailable), "{call}: {error:?}");
        }
        engine.all_closed().await;
    }))
    .await;
}

#[tokio::test]
async fn a_404_of_something_that_is_no_engine_says_nothing_about_containers_and_images() {
    for body in ["", "404 page not found", r#"{"message": "page not found"}"#, "<html>not found</html>"] {
        let engine = FaultyEngine::start(move |_| Answer::status("404 Not Found", body));
        let client = client(&engine, LONG);
        for call in ["find", "create", "list", "stop", "remove", "unpause"] {
            let error = failure(&client, call).await;
            assert_eq!(code(error.as_ref()), Some(InternalError), "{body:?} {call}: {error:?}");
        }
        // Whatever answers it, it cannot be used.
        let error = failure(&client, "ping").await;
        assert_eq!(code(error.as_ref()), Some(EngineUnavailable), "{body:?}: {error:?}");
        assert_ne!(failure(&client, "start").await, Some(EngineError::NoSuchContainer), "{body:?}");
        let error = failure(&client, "ensure_image").await;
        assert_eq!(code(error.as_ref()), Some(ImagePullFailed), "{body:?}: {error:?}");
    }
}

/// Limits of which only that of a removal is short.
fn removes_shortly(engine: &FaultyEngine) -> DockerEngine {
    client(engine, SHORT)
}

#[tokio::test]
async fn a_removal_that_never_ends_is_given_up_in_time() {
    let under_way = r#"{"message": "removal of container c is already in progress"}"#;
    let other = r#"{"message": "You cannot remove a running container"}"#;
    let answers = [
        Answer::status("409 Conflict", under_way),
        Answer::status("409 Conflict", other),
        Answer::SaysAndHangs(String::new()),
        Answer::SaysAndHangs("HTTP/1.1 204 No Content\r\n".to_owned()),
        Answer::Slow("HTTP/1.1 ".to_owned(), Duration::from_millis(20)),
    ];
    join_all(answers.map(|answer| async move {
        let given = answer.clone();
        let engine = FaultyEngine::start(move |_| given.clone());
        let began = Instant::now();
        let error = failure(&removes_shortly(&engine), "remove").await;
        let seen = code(error.as_ref());
        assert!(matches!(seen, Some(EngineUnavailable | InternalError)), "{answer:?}: {error:?}");
        assert!(began.elapsed() < SHORT * 30, "{answer:?}: {:?}", began.elapsed());
        // Asked again and again, but not as often as it can be answered.
        assert!(engine.requests().len() <= 100, "{}", engine.requests().len());
        engine.all_closed().await;
    }))
    .await;
}

#[tokio::test]
async fn an_object_without_anything_is_an_answer_only_where_nothing_is_asked_for() {
    let engine = FaultyEngine::start(|_| Answer::status("200 OK", "{}"));
    let client = client(&engine, LONG);
    // The engine has the image: it says so with any description. It is started and stopped, says the status.
    for call in ["ping", "ensure_image", "start", "stop", "remove", "unpause"] {
        assert_eq!(failure(&client, call).await, None, "{call}");
    }
    let lines = |body: &'static str| {
        FaultyEngine::start(move |request| match request {
            "GET /images/startjobs.test/game:1/json" => {
                Answer::status("404 Not Found", r#"{"message": "No such image: x"}"#)
            }
            _ => Answer::status("200 OK", body),
        })
    };
    // A pull that ends without a word has brought nothing, and its lines decide nothing by themselves.
    for body in ["{}", "", "{}\n{}\n", "[]", "null", "{\"status\": \"Pull complete\"}\n", "<html>"] {
        let engine = lines(body);
        let error = failure(&super::client(&engine, LONG), "ensure_image").await;
        let seen = code(error.as_ref());
        assert!(matches!(seen, Some(ImagePullFailed | EngineUnavailable | InternalError)), "{body:?}: {error:?}");
    }
    // An error line ends it, whatever follows.
    let engine =
        lines("{\"errorDetail\":{\"message\":\"toomanyrequests: slow\"},\"error\":\"toomanyrequests: slow\"}\n{}\n");
    let error = failure(&super::client(&engine, LONG), "ensure_image").await;
    assert_eq!(code(error.as_ref()), Some(ErrorCode::ImagePullRateLimited), "{error:?}");
}

#[tokio::test]
async fn what_an_engine_says_of_itself_is_bounded_too() {
    let text = "a".repeat(64 * 1024);
    let rows = [
        (Answer::endless(r#"{"Name":""#, &text), Some(EngineUnavailable)),
        (Answer::Says(String::new()), Some(EngineUnavailable)),
        (Answer::SaysAndHangs("HTTP/1.1 200 OK\r\n".to_owned()), Some(EngineUnavailable)),
        (Answer::status("200 OK", "{}"), None),
    ];
    for (answer, want) in rows {
        let given = answer.clone();
        let engine = FaultyEngine::start_with_info(move |request| match request {
            "GET /info" => given.clone(),
            _ => Answer::status("201 Created", r#"{"Id": "7", "Warnings": []}"#),
        });
        let client = client(&engine, Duration::from_secs(2));
        let error = failure(&client, "create").await;
        assert_eq!(code(error.as_ref()), want, "{answer:?}: {error:?}");
        engine.all_closed().await;
        assert!(engine.sent() <= 4 * MIB + IN_BETWEEN, "{} bytes", engine.sent());
    }
}
