//! An engine that answers wrongly, for ever, or not at all: every call ends in time with the right code, holds little
//! memory, and leaves no connection behind.

// answers that are wrong in their form, at every call
mod forms;
// a replica of which the engine is this one
mod fleet;

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::join_all;
use startjobs::contract::error_code::ErrorCode;
use startjobs::engine::docker::{DockerEngine, Limits};
use startjobs::engine::{
    Container, ContainerSpec, ContainerState, Engine, EngineError, PullStep, Readiness, Ready, Sandbox, label,
};

use crate::support::faulty_engine::{Answer, FaultyEngine, OPEN_HEAD};

const MIB: u64 = 1 << 20;
/// What the sockets between the two hold, and what is read ahead.
const IN_BETWEEN: u64 = 2 * MIB;
/// What the process may grow by: a list of 16 MiB, twice while a buffer grows, and this test itself.
const GROWTH_MAX: u64 = 64 * MIB;

/// The limits of calls that have all the time in the world, by the measure of a test.
const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(300);

fn limits(all: Duration) -> Limits {
    Limits { look: all, create: all, start: all, remove: all, pull: all, pull_silence: all }
}

fn client(engine: &FaultyEngine, all: Duration) -> DockerEngine {
    DockerEngine::connect(&engine.host(), 8080, 4).expect("a good URL").with_limits(limits(all))
}

fn spec() -> ContainerSpec {
    ContainerSpec {
        name: "rtm-a".to_owned(),
        image: "startjobs.test/game:1".to_owned(),
        port: 8080,
        env: Vec::new(),
        labels: [(label::GAME_ID.to_owned(), "a".to_owned())].into(),
        sandbox: Sandbox::default(),
    }
}

fn ignore(_: PullStep) {}

/// The calls that say what became of them.
const CALLS: [&str; 9] = ["ping", "ensure_image", "find", "create", "unpause", "list", "events", "mark", "marks"];

/// Makes a call; what it failed with. Of events the first counts.
async fn failure(engine: &DockerEngine, call: &str) -> Option<EngineError> {
    match call {
        "ping" => engine.ping().await.err(),
        "ensure_image" => engine.ensure_image("startjobs.test/game:1", &ignore).await.err(),
        "find" => engine.find("rtm-a").await.err(),
        "create" => engine.create(&spec()).await.err(),
        "start" => engine.start("rtm-a").await.err(),
        "unpause" => engine.unpause("rtm-a").await.err(),
        "remove" => engine.remove("rtm-a").await.err(),
        "stop" => engine.stop("rtm-a").await.err(),
        "list" => engine.list("").await.err(),
        "events" => match engine.events().await {
            Ok(mut events) => events.next().await.expect("an item").err(),
            Err(error) => Some(error),
        },
        "mark" => engine.mark("rtm-host", &[].into()).await.err(),
        "marks" => engine.marks("rtm.host").await.err(),
        other => panic!("no call {other}"),
    }
}

fn code(error: Option<&EngineError>) -> Option<ErrorCode> {
    match error {
        Some(EngineError::Failed { code, .. }) => Some(*code),
        _ => None,
    }
}

/// The most memory that this process has ever had, in bytes. Each test has a process of its own.
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

#[tokio::test]
async fn an_endless_answer_ends_at_its_bound_and_costs_no_more_memory() {
    let text = "a".repeat(64 * 1024);
    let before = memory_peak();
    for (call, begins, bound, words) in [
        ("find", r#"{"Id":""#, 4, "the engine's answer has more than 4 MiB"),
        ("create", r#"{"Id":""#, 4, "the engine's answer has more than 4 MiB"),
        ("mark", r#"{"Name":""#, 4, "the engine's answer has more than 4 MiB"),
        ("list", r#"[{"Id":""#, 16, "the engine's answer has more than 16 MiB"),
        ("marks", r#"{"Volumes":[{"Name":""#, 16, "the engine's answer has more than 16 MiB"),
        ("events", r#"{"Type":""#, 1, "one item of the engine's answer has more than 1 MiB"),
    ] {
        let goes_on = text.clone();
        let engine = FaultyEngine::start(move |_| Answer::endless(begins, &goes_on));
        let client = client(&engine, LONG);
        let began = Instant::now();
        let error = failure(&client, call).await.expect("it cannot succeed");
        let want = EngineError::Failed { code: ErrorCode::EngineUnavailable, message: words.to_owned() };
        assert_eq!(error, want, "{call}");
        assert!(began.elapsed() < LONG / 2, "{call} took {:?}", began.elapsed());
        engine.all_closed().await;
        assert!(engine.sent() <= bound * MIB + IN_BETWEEN, "{call} took {} bytes", engine.sent());
    }
    let grew = memory_peak() - before;
    assert!(grew < GROWTH_MAX, "the process grew by {} MiB", grew / MIB);
}

#[tokio::test]
async fn an_endless_pull_or_log_ends_at_its_bound() {
    let before = memory_peak();
    let text = "a".repeat(64 * 1024);
    let line = format!("{{\"status\":\"{text}\"}}\n");
    let one_line = "one item of the engine's answer has more than 1 MiB";
    for (begins, goes_on, bound, words) in [
        ("", line.as_str(), 64, "the engine's answer has more than 64 MiB"),
        ("{\"status\":\"", text.as_str(), 1, one_line),
        // Half a line is what the library makes of each of these, and joins it with the next.
        ("{\"a\":0,\n", "\"b\":0,\n", 1, one_line),
    ] {
        let goes_on = if goes_on.len() < 1024 { goes_on.repeat(16 * 1024) } else { goes_on.to_owned() };
        let begins = begins.to_owned();
        let engine = FaultyEngine::start(move |request| {
            if request.starts_with("POST /images/create") {
                return Answer::endless(&begins, &goes_on);
            }
            Answer::status("404 Not Found", r#"{"message": "No such image: x"}"#)
        });
        let error = failure(&client(&engine, LONG), "ensure_image").await.expect("it cannot succeed");
        let want = EngineError::Failed { code: ErrorCode::ImagePullFailed, message: words.to_owned() };
        assert_eq!(error, want);
        engine.all_closed().await;
        assert!(engine.sent() <= bound * MIB + IN_BETWEEN, "{} bytes", engine.sent());
    }
    // A frame that is said to have 2 GiB, and lines without a frame that never end.
    for begins in ["\u{1}\0\0\0\u{7f}\0\0\0", ""] {
        let (begins, text) = (begins.to_owned(), text.clone());
        let engine = FaultyEngine::start(move |_| Answer::endless(&begins, &text));
        assert_eq!(client(&engine, LONG).log_tail("rtm-a").await, "");
        engine.all_closed().await;
        assert!(engine.sent() <= MIB + IN_BETWEEN, "{} bytes", engine.sent());
    }
    let grew = memory_peak() - before;
    assert!(grew < GROWTH_MAX, "the process grew by {} MiB", grew / MIB);
}

#[tokio::test]
async fn an_endless_head_or_refusal_ends_too() {
    let text = "a".repeat(64 * 1024);
    for begins in ["HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 500 Oops\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let goes_on = if begins.contains(" 100 ") { begins.repeat(1024) } else { text.clone() };
        let engine = FaultyEngine::start(move |_| Answer::Endless(begins.to_owned(), goes_on.clone()));
        let client = client(&engine, LONG);
        for call in CALLS.into_iter().chain(["start", "remove"]) {
            let error = failure(&client, call).await;
            assert_eq!(code(error.as_ref()), Some(ErrorCode::EngineUnavailable), "{call}: {error:?}");
        }
        engine.all_closed().await;
    }
}

#[tokio::test]
async fn a_slow_or_silent_engine_is_given_up_in_time_and_its_connection_is_closed() {
    let slowly = Duration::from_millis(40);
    let answers = [
        Answer::SaysAndHangs(String::new()),
        Answer::SaysAndHangs("HTTP/1.1 200 OK\r\n".to_owned()),
        Answer::SaysAndHangs(format!("{OPEN_HEAD}{{")),
        Answer::Slow(OPEN_HEAD.to_owned(), slowly),
        Answer::Slow("HTTP/1.1 ".to_owned(), slowly),
        Answer::Slow("HTTP/1.1 500 Oops\r\n\r\n".to_owned(), slowly),
    ];
    let each = answers.map(|answer| async move {
        let given = answer.clone();
        let engine = FaultyEngine::start(move |_| given.clone());
        let client = client(&engine, SHORT);
        // An answer to `start` has no body, and events have begun with the head of theirs.
        for call in CALLS.into_iter().filter(|call| !["unpause", "events"].contains(call)) {
            let began = Instant::now();
            let error = failure(&client, call).await;
            assert_eq!(code(error.as_ref()), Some(ErrorCode::EngineUnavailable), "{answer:?} {call}: {error:?}");
            assert!(began.elapsed() < SHORT * 30, "{answer:?} {call}: {:?}", began.elapsed());
        }
        assert_eq!(client.log_tail("rtm-a").await, "");
        engine.all_closed().await;
    });
    join_all(each).await;
}

#[tokio::test]
async fn a_pull_without_progress_is_given_up() {
    let engine = FaultyEngine::start(|request| {
        if request.starts_with("POST /images/create") {
            return Answer::Slow(OPEN_HEAD.to_owned(), Duration::from_millis(20));
        }
        Answer::status("404 Not Found", r#"{"message": "No such image: x"}"#)
    });
    let error = failure(&client(&engine, SHORT), "ensure_image").await;
    assert_eq!(code(error.as_ref()), Some(ErrorCode::ImagePullTimeout), "{error:?}");
    engine.all_closed().await;
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error_of_its_call() {
    use ErrorCode::{EngineUnavailable, InternalError};
    let rows = [
        // Closed before the head, in it, and in the body.
        (Answer::Says(String::new()), EngineUnavailable),
        (Answer::Says("HTTP/1.1 200".to_owned()), EngineUnavailable),
        (Answer::Says("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{".to_owned()), EngineUnavailable),
        (Answer::Says("SSH-2.0-x\r\n\r\n".to_owned()), EngineUnavailable),
        (Answer::status("200 OK", "<html>"), InternalError),
        (Answer::status("200 OK", "{"), InternalError),
        (Answer::status("500 Oops", r#"{"message": "boom"}"#), EngineUnavailable),
        (Answer::status("500 Oops", "<html>"), EngineUnavailable),
        (Answer::status("503 Busy", ""), EngineUnavailable),
    ];
    for (answer, want) in rows {
        let given = answer.clone();
        let engine = FaultyEngine::start(move |_| given.clone());
        let client = client(&engine, Duration::from_secs(2));
        for call in ["find", "create", "list", "mark", "marks"] {
            let error = failure(&client, call).await;
            assert_eq!(code(error.as_ref()), Some(want), "{answer:?} {call}: {error:?}");
        }
        let error = failure(&client, "events").await;
        assert!(error.is_some(), "{answer:?}");
        assert!(client.log_tail("rtm-a").await.len() < 100, "{answer:?}");
        engine.all_closed().await;
    }
}

#[tokio::test]
async fn an_empty_object_is_no_container_and_no_image() {
    let engine = FaultyEngine::start(|_| Answer::status("200 OK", "{}"));
    let client = client(&engine, Duration::from_secs(2));
    for call in ["find", "create", "list", "mark"] {
        let error = failure(&client, call).await;
        assert_eq!(code(error.as_ref()), Some(ErrorCode::InternalError), "{call}: {error:?}");
    }
    // An answer without a list has none of what was asked for.
    assert_eq!(client.marks("rtm.host").await, Ok(Vec::new()));
    // What is not about a game is passed over, and the end of the connection is an error, once.
    let mut events = client.events().await.expect("the engine has answered");
    let ended = events.next().await.expect("an item");
    let words = "the engine ended the stream of events".to_owned();
    assert_eq!(ended, Err(EngineError::Failed { code: ErrorCode::EngineUnavailable, message: words }));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn a_proxy_that_forbids_volumes_and_events_is_told_apart() {
    for status in ["403 Forbidden", "404 Not Found", "405 Method Not Allowed", "501 Not Implemented"] {
        let engine = FaultyEngine::start(move |_| Answer::status(status, "<html>no</html>"));
        let client = client(&engine, Duration::from_secs(2));
        for call in ["mark", "marks", "events"] {
            let refused = Some(EngineError::Refused("<html>no</html>".to_owned()));
            assert_eq!(failure(&client, call).await, refused, "{status} {call}");
        }
    }
}

#[tokio::test]
async fn a_look_at_health_that_fails_is_not_yet() {
    let engine = FaultyEngine::start(|_| Answer::status("500 Oops", ""));
    let container = Container {
        id: "7".to_owned(),
        state: ContainerState::Running,
        labels: [].into(),
        endpoint: None,
        ended_at_ms: None,
    };
    let client = client(&engine, Duration::from_secs(2));
    assert_eq!(client.is_ready(&container, &Readiness::Health).await, Ready::NotYet);
}

/// The client library of today leaves the API version out of the path, so an engine uses its own newest one. With one in
/// the path an engine may refuse a request, or answer in another form: then `negotiate_version` has to be looked at again.
#[tokio::test]
async fn requests_have_no_api_version_in_their_path() {
    let engine = FaultyEngine::start(|_| Answer::status("404 Not Found", r#"{"message": "No such container: rtm-a"}"#));
    let client = client(&engine, Duration::from_secs(2));
    assert_eq!(client.find("rtm-a").await, Ok(None));
    assert!(failure(&client, "create").await.is_some());
    let lines: Vec<String> =
        engine.requests().iter().filter_map(|head| head.lines().next()).map(str::to_owned).collect();
    assert_eq!(lines[0], "GET /containers/rtm-a/json HTTP/1.1");
    assert!(lines[1].starts_with("POST /containers/create?name=rtm-a"), "{lines:?}");
    let hosts = engine.requests().iter().filter(|head| head.to_lowercase().contains("\r\nhost: localhost\r\n")).count();
    assert_eq!(hosts, 2, "{:?}", engine.requests());
}
