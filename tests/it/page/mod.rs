//! The page, asked for over raw HTTP by code that shares nothing with the server: every screen, every state, every
//! bound.

// changing something, with the token
pub mod acts;
// which requests are answered
mod guarded;
// what others wrote, on every screen
pub mod hostile;
// changes as they happen
mod live;
// every screen
mod screens;
// states of the fleet in which something is wrong or missing
mod states;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::world::{PATIENCE, World};

/// Served on whatever port is free; on loopback the page is served by itself.
const SERVED: (&str, &str) = ("http-addr", "127.0.0.1:0");
/// Every screen that needs nothing to be there.
const SCREENS: [&str; 6] = ["/", "/jobs", "/dead", "/replicas", "/system", "/runbooks"];

/// One answer.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Self {
            status: status.unwrap_or_else(|| panic!("no status: {text:?}")),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: body.to_owned(),
        }
    }

    /// What a person reads: no tags, and spaces as one.
    pub fn words(&self) -> String {
        let mut words = String::new();
        let mut rest = self.body.as_str();
        while let Some((before, tag)) = rest.split_once('<') {
            words.push_str(before);
            words.push(' ');
            rest = tag.split_once('>').map_or("", |(_, after)| after);
        }
        words.push_str(rest);
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// Where a replica serves, from its log.
async fn address_of(world: &mut World, number: usize) -> String {
    let message = "probes and metrics are served";
    world.logged(number, message, |log| log.count(message) == 1).await;
    let log = world.log(number);
    let line = log.with(message).next().expect("it was logged");
    line["http_addr"].as_str().expect("an address").to_owned()
}

/// A replica that serves the page, and where.
pub async fn served(world: &mut World, settings: &[(&str, &str)]) -> String {
    let number = world.replica(&[&[SERVED], settings].concat());
    world.begun(number).await;
    address_of(world, number).await
}

/// Sends these bytes and reads until the other side closes.
async fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the worker listens");
    // A server that has answered already may have closed.
    stream.write_all(bytes).await.ok();
    let mut reply = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut reply)).await.expect("an end of the answer");
    assert!(read.is_ok() || !reply.is_empty(), "{read:?}");
    String::from_utf8_lossy(&reply).into_owned()
}

/// Waits until the first replica reads nothing any more, because the fleet is paused.
async fn holds(world: &mut World) {
    let paused = "paused by an operator: nothing is read or claimed";
    world.logged(0, paused, |log| log.count(paused) > 0).await;
    // A read that began before the pause may still wait for entries.
    let has_read = async |world: &World| {
        let clients = world.redis(&["INFO", "clients"]).await.as_string().unwrap_or_default();
        clients.contains("blocked_clients:0")
    };
    world.eventually("no read waits any more", has_read).await;
}

/// Every byte percent-encoded.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        write!(all, "%{byte:02x}").expect("a String takes it");
        all
    })
}

/// Asks with these headers and nothing else.
async fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        write!(request, "{name}: {value}\r\n").expect("a String takes it");
    }
    request.push_str("\r\n");
    Answer::read(&exchange(address, request.as_bytes()).await)
}

/// Gets a path, as a browser that was sent there by the address.
pub async fn get(address: &str, path: &str) -> Answer {
    ask(address, "GET", path, &[("Host", address)]).await
}

/// Waits until a screen says this.
pub async fn says(address: &str, path: &str, words: &str) -> Answer {
    let began = std::time::Instant::now();
    loop {
        let answer = get(address, path).await;
        if answer.words().contains(words) {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{path} never says {words:?}: {}", answer.words());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}
