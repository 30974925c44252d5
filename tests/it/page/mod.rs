//! The page, asked for over raw HTTP by code that shares nothing with the server: every screen, every state, every
//! bound.

// changing something, with the token
pub mod acts;
// Redis does not answer
mod away;
// one replica is drained
mod drain;
// which requests are answered
mod guarded;
// what others wrote, on every screen
pub mod hostile;
// lists, as rows change and newer ones come
mod lists;
// changes as they happen
mod live;
// every screen
mod screens;
// who acts, until when, under which name
mod sessions;
// states of the fleet in which something is wrong or missing
mod states;

use std::fmt::Write as _;

use crate::support::http::{Answer, SERVED, address_of, exchange};
use crate::support::world::{PATIENCE, World};

/// Every screen that needs nothing to be there.
const SCREENS: [&str; 6] = ["/", "/jobs", "/dead", "/replicas", "/system", "/runbooks"];

/// A replica that serves the page, and where.
pub async fn served(world: &mut World, settings: &[(&str, &str)]) -> String {
    let number = world.replica(&[&[SERVED], settings].concat());
    world.begun(number).await;
    address_of(world, number).await
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
