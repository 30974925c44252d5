//! An engine that misbehaves: HTTP on a Unix socket, with an answer of the test's choice to each request.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// What it answers a request with. Texts are sent as they are, so they have a head where there should be one.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This, and the end of the connection.
    Says(String),
    /// This, and then silence.
    SaysAndHangs(String),
    /// This, and then this again and again.
    Endless(String, String),
    /// This, and then a byte at a time, so far apart.
    Slow(String, Duration),
}

impl Answer {
    /// A status and a whole body.
    pub fn status(status: &str, body: &str) -> Self {
        Self::Says(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// A head without an end of its body, and a beginning of that.
    pub fn endless(begins: &str, goes_on: &str) -> Self {
        Self::Endless(format!("{OPEN_HEAD}{begins}"), goes_on.to_owned())
    }
}

/// The head of a body that ends with its connection.
pub const OPEN_HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";

type Choose = Box<dyn Fn(&str) -> Answer + Send + Sync>;

/// The engine. Its tasks end with the test's runtime.
pub struct FaultyEngine {
    dir: tempfile::TempDir,
    seen: Arc<Seen>,
}

/// What it has seen.
#[derive(Default)]
struct Seen {
    /// Whole heads of requests.
    requests: Mutex<Vec<String>>,
    /// Bytes of answers that its side of the connections has taken.
    sent: AtomicU64,
    /// Connections that are open.
    open: AtomicUsize,
}

impl FaultyEngine {
    /// One that says what it is as it should, and answers every other request, a method and a path, with what is chosen.
    pub fn start(choose: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with_info(move |request| match request {
            "GET /info" => Answer::status("200 OK", r#"{"LoggingDriver": "json-file", "NCPU": 2}"#),
            _ => choose(request),
        })
    }

    /// One that says only its version as it should.
    pub fn start_with_info(choose: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let listener = UnixListener::bind(dir.path().join("sock")).expect("the directory is ours");
        let seen = Arc::new(Seen::default());
        let (shared, choose): (_, Arc<Choose>) = (Arc::clone(&seen), Arc::new(Box::new(choose)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, choose) = (Arc::clone(&shared), Arc::clone(&choose));
                tokio::spawn(async move {
                    seen.open.fetch_add(1, Ordering::Relaxed);
                    // The client may end the connection at any time.
                    drop(serve(stream, &seen, &choose).await);
                    seen.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { dir, seen }
    }

    /// The URL of its socket.
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("sock").display())
    }

    /// The heads of all requests but those for what it is.
    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().expect("no panic while it is held").clone()
    }

    /// How many bytes of answers it has sent.
    pub fn sent(&self) -> u64 {
        self.seen.sent.load(Ordering::Relaxed)
    }

    /// Waits until the client has ended all connections.
    pub async fn all_closed(&self) {
        let patience = tokio::time::Instant::now() + Duration::from_secs(10);
        while self.seen.open.load(Ordering::Relaxed) > 0 {
            assert!(tokio::time::Instant::now() < patience, "a connection that is no longer wanted stays open");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn serve(mut stream: UnixStream, seen: &Seen, choose: &Choose) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let request = head.split(" HTTP/").next().unwrap_or_default().to_owned();
    if request.ends_with("/version") {
        let Answer::Says(version) = Answer::status("200 OK", r#"{"ApiVersion": "1.41"}"#) else { return Ok(()) };
        return stream.write_all(version.as_bytes()).await;
    }
    if request != "GET /info" {
        seen.requests.lock().expect("no panic while it is held").push(head);
    }
    let (text, goes_on, pause) = match choose(&request) {
        Answer::Says(text) => return stream.write_all(text.as_bytes()).await,
        Answer::SaysAndHangs(text) => (text, String::new(), None),
        Answer::Endless(text, goes_on) => (text, goes_on, None),
        Answer::Slow(text, pause) => (text, " ".to_owned(), Some(pause)),
    };
    stream.write_all(text.as_bytes()).await?;
    let (mut reading, mut writing) = stream.into_split();
    let write = async {
        while !goes_on.is_empty() {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let sent = writing.write(goes_on.as_bytes()).await?;
            writing.write_all(&goes_on.as_bytes()[sent..]).await?;
            seen.sent.fetch_add(goes_on.len() as u64, Ordering::Relaxed);
        }
        std::future::pending::<std::io::Result<()>>().await
    };
    let mut rest = Vec::new();
    tokio::select! {
        ended = write => ended,
        // The body of the request, and then the end of the connection.
        ended = reading.read_to_end(&mut rest) => ended.map(drop),
    }
}
