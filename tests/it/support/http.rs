//! HTTP by hand, sharing nothing with the server: bytes are sent, and what comes back is taken apart.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::world::{PATIENCE, World};

/// Served on whatever port is free; on loopback the page is served as well.
pub const SERVED: (&str, &str) = ("http-addr", "127.0.0.1:0");

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    /// The first answer in what a server sent.
    pub fn read(text: &str) -> Self {
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

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
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
pub async fn address_of(world: &mut World, number: usize) -> String {
    let message = "probes and metrics are served";
    world.logged(number, message, |log| log.count(message) == 1).await;
    let log = world.log(number);
    let line = log.with(message).next().expect("it was logged");
    line["http_addr"].as_str().expect("an address").to_owned()
}

/// Sends these bytes and reads until the other side closes.
pub async fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the worker listens");
    // A server that has answered already may have closed.
    stream.write_all(bytes).await.ok();
    let mut reply = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut reply)).await.expect("an end of the answer");
    assert!(read.is_ok() || !reply.is_empty(), "{read:?}");
    String::from_utf8_lossy(&reply).into_owned()
}
