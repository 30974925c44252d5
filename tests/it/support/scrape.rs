//! A replica's probes and metrics, asked for over HTTP by code that shares nothing with the server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// The first port that tests choose by themselves: below those that the system gives out, so that none is taken before it is
/// used.
const FIRST_PORT: u32 = 10_000;
/// Those of the tests that run one after the other in one of nextest's slots.
const PORTS_OF_SLOT: u32 = 400;
const SLOTS: u32 = 20;

/// A port that no process listens on just now, and that no test beside this one chooses.
pub fn free_port() -> u16 {
    static CHOSEN: AtomicU32 = AtomicU32::new(0);
    let slot = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").ok().and_then(|slot| slot.parse().ok());
    let first = FIRST_PORT + slot.unwrap_or_else(std::process::id) % SLOTS * PORTS_OF_SLOT;
    for _ in 0..PORTS_OF_SLOT {
        let number = std::process::id().wrapping_add(CHOSEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(first + number % PORTS_OF_SLOT).expect("far below the last one");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no port from {first} on is free");
}

/// GETs a path; answers the status and the body.
pub fn get(port: u16, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    Ok((status, body))
}

/// The value of a metric by its name and labels as they are exposed; 0 where there is no such line.
pub fn metric(port: u16, name: &str) -> f64 {
    let (_, text) = get(port, "/metrics").expect("the replica answers");
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0.0)
}
