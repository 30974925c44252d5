//! HTTP connections, all bounded: their number, how long a request's head may take and be, and how long each lasts.
//!
//! A new connection is always accepted. Where there are too many, an older one that makes no progress gives way, so that
//! probes are answered whatever others do.

use std::collections::HashMap;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, Id, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

/// Connections at once.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// Of these, how many may be in the middle of an answer before the slowest of them gives way; the others' places are
/// for those who have not asked yet.
const ANSWERS_MAX: usize = 32;
/// Connections that the kernel keeps until they are accepted, where it allows so many. One that finds no place there
/// tries again only after a second.
pub(super) const WAITING_MAX: u32 = 4096;
/// Connections accepted before those accepted have their turn: fewer than have places for asking, so that each is heard.
const ACCEPTED_AT_ONCE: usize = 16;
/// How long a request's head may take, and how long a connection may be idle.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Lines of it.
const HEADERS_MAX: usize = 64;
/// How long a connection lasts: a client that takes its answers too slowly gives its place to others.
const LIFETIME: Duration = Duration::from_secs(60);
/// How long the answer in progress may take after that.
const LAST_ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After an accept that failed.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Serves for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let mut open = Open::default();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    open.add(stream, router.clone());
                    for _ in 1..ACCEPTED_AT_ONCE {
                        let Some(Ok((stream, _))) = listener.accept().now_or_never() else { break };
                        open.add(stream, router.clone());
                    }
                    // The worker continues meanwhile.
                    yield_now().await;
                }
                Err(error) => {
                    tracing::debug!(err = %error, "http connection not accepted");
                    let is_short_of_files = matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE));
                    if is_short_of_files && open.make_room() {
                        yield_now().await;
                    } else {
                        sleep(ACCEPT_AGAIN).await;
                    }
                }
            },
            Some(ended) = open.tasks.join_next_with_id(), if !open.tasks.is_empty() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                open.connections.remove(&id);
            }
        }
    }
}

/// The connections there are.
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    connections: HashMap<Id, (AbortHandle, Arc<Progress>)>,
}

impl Open {
    fn add(&mut self, stream: TcpStream, router: Router) {
        if self.connections.len() >= CONNECTIONS_MAX {
            self.make_room();
        }
        let progress = Arc::new(Progress::new());
        let task = self.tasks.spawn(connection(stream, router, Arc::clone(&progress)));
        self.connections.insert(task.id(), (task, progress));
    }

    /// Closes the connection that has made no progress for longest: one that has not asked, unless more than enough are
    /// in the middle of an answer. False if there is none.
    fn make_room(&mut self) -> bool {
        let answers = self.connections.values().filter(|(_, progress)| progress.is_answer()).count();
        let is_candidate = |progress: &Progress| progress.is_answer() == (answers > ANSWERS_MAX);
        let candidates = self.connections.iter().filter(|(_, (_, progress))| is_candidate(progress));
        let slowest = candidates.min_by_key(|(_, (_, progress))| progress.at()).map(|(&id, _)| id);
        let slowest = slowest.or_else(|| self.connections.keys().next().copied());
        let Some((task, _)) = slowest.and_then(|id| self.connections.remove(&id)) else { return false };
        task.abort();
        true
    }
}

/// No request is in progress.
const ASKING: u8 = 0;
/// A request's answer is being made.
const ANSWERING: u8 = 1;
/// It is being sent.
const SENDING: u8 = 2;

/// What a connection is at, and since when. Bytes that come in are no progress: slow requests cost the client nothing.
struct Progress {
    state: AtomicU8,
    began: Instant,
    at_nanos: AtomicU64,
}

impl Progress {
    fn new() -> Self {
        Self { state: AtomicU8::new(ASKING), began: Instant::now(), at_nanos: AtomicU64::new(0) }
    }

    fn is_answer(&self) -> bool {
        self.state.load(Ordering::Relaxed) != ASKING
    }

    /// When it last made progress.
    fn at(&self) -> Instant {
        self.began + Duration::from_nanos(self.at_nanos.load(Ordering::Relaxed))
    }

    fn moved(&self) {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.at_nanos.store(nanos, Ordering::Relaxed);
    }

    fn enter(&self, state: u8) {
        self.state.store(state, Ordering::Relaxed);
        self.moved();
    }

    /// The kernel has taken everything.
    fn flushed(&self) {
        if self.state.load(Ordering::Relaxed) == SENDING {
            self.enter(ASKING);
        }
    }
}

/// An error here concerns only the client.
async fn connection(stream: TcpStream, router: Router, progress: Arc<Progress>) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let stream = TokioIo::new(Watched { stream, progress: Arc::clone(&progress) });
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request| {
        progress.enter(ANSWERING);
        let (answer, progress) = (router.call(request), Arc::clone(&progress));
        async move {
            let answer = answer.await;
            progress.enter(SENDING);
            answer
        }
    });
    let mut connection = pin!(builder.serve_connection(stream, service));
    if timeout(LIFETIME, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        drop(timeout(LAST_ANSWER_WITHIN, connection).await);
    }
}

/// A stream whose progress is noted.
struct Watched {
    stream: TcpStream,
    progress: Arc<Progress>,
}

impl Watched {
    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.progress.moved();
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.progress.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
