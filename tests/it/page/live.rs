//! Changes as they happen: parts of a screen, which are the same as those of the whole page.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Answer, get, says, served};
use crate::support::world::{PATIENCE, World};

/// A viewer that is told of changes.
pub struct Viewer {
    stream: TcpStream,
    /// Everything that it was told.
    pub text: String,
}

impl Viewer {
    /// One that asks by this query.
    pub async fn new(address: &str, query: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("the worker listens");
        let request = format!("GET /events?{query} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        Self { stream, text: String::new() }
    }

    /// Reads on until what came so far will do.
    pub async fn until(&mut self, will_do: impl Fn(&str) -> bool) -> &str {
        let began = Instant::now();
        while !will_do(&self.text) {
            let mut bytes = vec![0; 64 * 1024];
            let read = timeout(PATIENCE, self.stream.read(&mut bytes)).await.expect("in time").expect("read");
            assert!(read > 0 && began.elapsed() < PATIENCE, "it ended with {}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        &self.text
    }

    /// The last HTML of a part. Chunks of the transfer lie between events, never inside of one.
    pub fn part(&self, id: &str) -> Option<String> {
        let lines = self.text.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut parts = lines.filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        parts.rfind(|part| part["id"] == id).and_then(|part| part["html"].as_str().map(str::to_owned))
    }
}

/// Without how long ago things were.
fn timeless(html: &str) -> String {
    let mut parts = html.split("data-ago>");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + part.split_once('<').map_or("", |(_, rest)| rest))
}

#[tokio::test]
async fn a_part_is_what_the_page_has_and_comes_again_only_when_it_has_changed() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    // The replica has told of its first minute.
    says(&address, "/", "nothing was answered").await;
    let mut viewer = Viewer::new(&address, "screen=overview").await;
    viewer.until(|text| text.matches("event: seen").count() >= 3).await;
    assert!(viewer.text.starts_with("HTTP/1.1 200 OK") && viewer.text.contains("text/event-stream"), "{}", viewer.text);
    let page = timeless(&get(&address, "/").await.body);
    for id in ["flow", "hosts", "events"] {
        let part = timeless(&viewer.part(id).unwrap_or_else(|| panic!("no part {id}: {}", viewer.text)));
        assert!(page.contains(&part), "{id} is another one on the page: {part}");
        assert_eq!(viewer.text.matches(&format!("\"id\":\"{id}\"")).count(), 1, "{id} came again without a change");
    }
    world.send_malformed().await;
    world.settled().await;
    viewer.until(|text| text.contains("\"dead\":\"1\"")).await;
    assert!(viewer.part("flow").is_some_and(|part| part.contains(">1<") || part.contains(">1 ")), "{}", viewer.text);
}

#[tokio::test]
async fn viewers_are_bounded_and_one_look_a_second_serves_all_of_them() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let calls = async |world: &World| -> u64 {
        let stats = world.redis(&["INFO", "commandstats"]).await.convert::<String>().expect("text");
        let line = stats.lines().find(|line| line.starts_with("cmdstat_info:")).unwrap_or_default().to_owned();
        line.split("calls=").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or_default()
    };
    let mut viewers = Vec::new();
    for _ in 0..16 {
        viewers.push(Viewer::new(&address, "screen=overview").await);
    }
    for viewer in &mut viewers {
        viewer.until(|text| text.contains("event: seen")).await;
    }
    let refused = get(&address, "/events?screen=overview").await;
    assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (503, "30"));
    assert_eq!((get(&address, "/").await.status, get(&address, "/livez").await.status), (200, 200));
    let (before, began) = (calls(&world).await, Instant::now());
    for viewer in &mut viewers {
        let seen = viewer.text.matches("event: seen").count();
        viewer.until(|text| text.matches("event: seen").count() >= seen + 3).await;
    }
    // Each look asks INFO a few times; the metrics do too.
    let (asked, seconds) = (calls(&world).await - before, began.elapsed().as_secs() + 1);
    assert!(asked <= 8 * seconds, "{asked} in {seconds} s for {} viewers", viewers.len());
    // A place is free again when a viewer has gone.
    drop(viewers);
    world
        .eventually("places are free", async |_: &World| {
            let mut stream = TcpStream::connect(&address).await.expect("the worker listens");
            let request = format!("GET /events?screen=other HTTP/1.1\r\nHost: {address}\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut bytes = [0; 256];
            let read = timeout(PATIENCE, stream.read(&mut bytes)).await.expect("in time").expect("read");
            Answer::read(&format!("{}\r\n\r\n", String::from_utf8_lossy(&bytes[..read]).trim_end())).status == 200
        })
        .await;
}

#[tokio::test]
async fn without_a_viewer_nothing_is_looked_at() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let names = async |world: &World| world.redis(&["CLIENT", "LIST"]).await.convert::<String>().expect("text");
    assert!(!names(&world).await.contains("startjobs:page"), "the connection is made for the first viewer");
    get(&address, "/").await;
    let listed = names(&world).await;
    let own = |listed: &str| -> Option<u64> {
        let line = listed.lines().find(|line| line.contains("name=startjobs:page"))?;
        line.split("tot-cmds=").nth(1)?.split(' ').next()?.parse().ok()
    };
    let Some(before) = own(&listed) else { return };
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(own(&names(&world).await), Some(before), "it asks although nothing is shown");
}
