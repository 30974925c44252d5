//! What an operator reads when Redis cannot be reached or refuses a call: plain words first, the server's own behind them,
//! and nothing in the form in which Rust shows an error to programmers.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use startjobs::embedded::redis_server::RedisServer;
use startjobs::redis::{Connection, Kind, Role};

use crate::support::servers;
use crate::support::world::load;

const PATIENCE: Duration = Duration::from_secs(20);

/// What `startjobs status` says of this Redis, which does not answer it.
fn status_of(url: &str) -> String {
    let mut status = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    let output = status.args(["status", "--timeout", "4s", "--redis-url", url]).output().expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{told}");
    assert_plain(&told);
    told
}

#[track_caller]
fn assert_plain(told: &str) {
    for debris in ["Os {", "Custom {", "Kind(", "kind:", "Error {", "Some("] {
        assert!(!told.contains(debris), "{debris:?} in {told}");
    }
}

#[track_caller]
fn assert_says(told: &str, words: &str) {
    assert!(told.contains(words), "{words:?} not in {told}");
}

/// A server that does this with each connection.
fn stub(answer: impl Fn(std::net::TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    // Ends with the test's process.
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(answer));
    url
}

#[test]
fn a_server_that_is_not_there_is_told_in_plain_words() {
    assert_says(&status_of("redis://127.0.0.1:1"), "Redis at redis://127.0.0.1:1: connection refused\n");
    assert_says(&status_of("redis+unix:///no/such/redis.sock"), ": no such socket\n");
    // Not a name that any resolver is asked for.
    assert_says(&status_of("redis://a..b:6379"), ": the host name was not found\n");
}

#[test]
fn what_does_not_speak_as_redis_does_is_told_in_plain_words() {
    let closes = stub(drop);
    let told = status_of(&closes);
    assert!(told.contains(": the server closed the connection\n") || told.contains(": connection reset\n"), "{told}");
    let web = stub(|mut connection| {
        // A client that is gone has its answer already.
        let mut asked = [0; 512];
        _ = connection.read(&mut asked);
        _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    });
    assert_says(&status_of(&web), "what answers there does not speak Redis's protocol");
    let held = Mutex::new(Vec::new());
    let silent = stub(move |connection| held.lock().expect("no other thread has it").push(connection));
    assert_says(&status_of(&silent), ": timed out\n");
}

#[test]
fn a_password_that_is_missing_or_wrong_is_told_in_plain_words() {
    for program in servers::programs() {
        let redis = RedisServer::start_with(&program, &["--requirepass", "right"]).expect("this redis-server starts");
        assert_says(&status_of(&redis.url()), ": Redis asks for a password (NOAUTH ");
        let wrong = redis.url().replace("//", "//:wrong@");
        assert_says(&status_of(&wrong), ": the user name or password was refused (WRONGPASS ");
    }
}

#[test]
fn a_server_that_takes_no_more_clients_is_told_in_plain_words() {
    let redis =
        RedisServer::start_with(Path::new("redis-server"), &["--maxclients", "1"]).expect("redis-server starts");
    let address = ("127.0.0.1", redis.port());
    let began = Instant::now();
    // The server's own helper may hold the one place for a moment after it has begun.
    let first = loop {
        let mut first = std::net::TcpStream::connect(address).expect("a connection");
        first.write_all(b"PING\r\n").expect("sent");
        let mut answer = [0; 5];
        if first.read_exact(&mut answer).is_ok() && answer == *b"+PONG" {
            break first;
        }
        assert!(began.elapsed() < PATIENCE, "no place becomes free");
    };
    assert_says(&status_of(&redis.url()), "Redis accepts no more connections (ERR max number of clients reached");
    drop(first);
}

/// The error of a command on a server of each version, which was started and prepared so.
async fn refused(flags: &[&str], prepared: &[&[&str]], asked: &[&str], kind: Kind, words: &str) {
    for program in servers::programs() {
        let redis = RedisServer::start_with(&program, flags).expect("this redis-server starts");
        let settings = load(&[("redis-url".to_owned(), redis.url())]);
        let opened = Connection::open(&settings.redis, Role::Commands, "startjobs:test", |_| {}).await;
        let connection = opened.expect("a connection");
        for command in prepared {
            connection.raw(command).await.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        }
        let began = Instant::now();
        let error = loop {
            match connection.raw(asked).await {
                // A server may need a moment to become what it was told to be.
                Err(error) if error.kind == kind && error.text.starts_with(words) => break error,
                other => assert!(began.elapsed() < PATIENCE, "{words:?} not in {other:?} of {}", program.display()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert_plain(&error.text);
    }
}

#[tokio::test]
async fn a_server_that_refuses_writes_is_told_in_plain_words() {
    let write: &[&str] = &["SET", "key", "value"];
    let words = "Redis is out of memory and refuses writes (OOM ";
    refused(&["--maxmemory", "1"], &[], write, Kind::Refusing, words).await;
    // Scripts of 6.2 bury the word.
    let script: &[&str] = &["EVAL", "return redis.call('SET', KEYS[1], 'value')", "1", "key"];
    refused(&["--maxmemory", "1"], &[], script, Kind::Refusing, words).await;
    let of_a_replica: &[&[&str]] = &[&["REPLICAOF", "127.0.0.1", "1"]];
    refused(&[], of_a_replica, write, Kind::Refusing, "the server is a read-only replica (READONLY ").await;
    let words = "the server is a replica that has lost its primary (MASTERDOWN ";
    refused(&["--replica-serve-stale-data", "no"], of_a_replica, &["GET", "key"], Kind::Refusing, words).await;
    let words = "Redis has too few replicas and refuses writes (NOREPLICAS ";
    refused(&["--min-replicas-to-write", "1"], &[], write, Kind::Refusing, words).await;
}

#[tokio::test]
async fn a_refused_command_is_told_in_plain_words() {
    let cluster = ["--cluster-enabled", "yes", "--cluster-config-file", "words.conf"];
    let words = "it is a node of a Redis Cluster, which this version cannot use; name a single server in redis-url (";
    refused(&cluster, &[], &["GET", "key"], Kind::Moving, words).await;
    let list: &[&[&str]] = &[&["RPUSH", "key", "value"]];
    let words = "a key holds another type than expected (WRONGTYPE ";
    refused(&[], list, &["GET", "key"], Kind::WrongType, words).await;
    let read = ["XREADGROUP", "GROUP", "group", "me", "STREAMS", "key", ">"];
    refused(&[], &[], &read, Kind::GroupLost, "the stream or its consumer group is missing (NOGROUP ").await;
    let rights: &[&[&str]] = &[&["ACL", "SETUSER", "default", "-set"]];
    refused(&[], rights, &["SET", "key", "value"], Kind::Denied, "the user lacks a right (NOPERM ").await;
}
