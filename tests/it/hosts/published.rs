//! Every endpoint is asked who it is as soon as it is published.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use startjobs::lobby::client::{Lobby, Outcome};
use startjobs::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Between two looks at the stream of outcomes.
const INTERVAL: Duration = Duration::from_millis(10);
/// An endpoint that does not answer within this is silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an endpoint says when it is asked who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    /// This game.
    Game(String),
    /// Nothing that names a game.
    Nothing(String),
}

/// A success, and what its endpoint said then.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    pub(super) outcome: Outcome,
    pub(super) says: Says,
}

/// Asks until it is dropped; on a thread of its own, which a test that blocks does not hold up.
pub(super) struct Published {
    is_over: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Publication>>>,
    thread: Option<JoinHandle<()>>,
}

impl Published {
    /// Reads the outcomes of this fleet from the first one on.
    pub(super) fn start(settings: &Settings) -> Self {
        let (is_over, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<Publication>>>::default());
        let (ends, seen_there) = (Arc::clone(&is_over), Arc::clone(&seen));
        let (redis, streams) = (settings.redis.clone(), settings.stream.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let lobby = Lobby::connect(&redis, &streams).await.expect("a connection");
                let mut asked = 0;
                while !ends.load(Ordering::Relaxed) {
                    // Redis goes away when the test ends.
                    let outcomes = lobby.all_outcomes().await.unwrap_or_default();
                    for outcome in outcomes.into_iter().skip(asked) {
                        asked += 1;
                        if outcome.outcome == "success" {
                            drop(tokio::spawn(ask(outcome, Arc::clone(&seen_there))));
                        }
                    }
                    tokio::time::sleep(INTERVAL).await;
                }
            });
        });
        Self { is_over, seen, thread: Some(thread) }
    }

    /// Everything that was published, once so many successes are asked.
    pub(super) async fn all(&self, successes: usize) -> Vec<Publication> {
        loop {
            let seen = self.seen.lock().expect("no panic while it is held").clone();
            if seen.len() >= successes {
                return seen;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

async fn ask(outcome: Outcome, seen: Arc<Mutex<Vec<Publication>>>) {
    let says = who_is(&outcome.engine_endpoint).await;
    seen.lock().expect("no panic while it is held").push(Publication { outcome, says });
}

/// Asks an endpoint for its page, which names its game.
pub(super) async fn who_is(endpoint: &str) -> Says {
    let asked = tokio::time::timeout(PATIENCE, page(endpoint)).await;
    match asked {
        Ok(Ok(page)) => match page.lines().last().and_then(|line| line.strip_prefix("game ")) {
            Some(game) => Says::Game(game.to_owned()),
            None => Says::Nothing(page),
        },
        Ok(Err(error)) => Says::Nothing(error.to_string()),
        Err(_) => Says::Nothing("no answer".to_owned()),
    }
}

async fn page(endpoint: &str) -> std::io::Result<String> {
    let authority = endpoint.strip_prefix("http://").unwrap_or(endpoint);
    let mut stream = TcpStream::connect(authority).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    stream.read_to_string(&mut page).await?;
    Ok(page)
}
