//! Connections.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::answer::{Answer, Course};
use super::{Fault, LOG_MAX, Request, Shared};

/// How many connections are served at a time; others wait.
const CONNECTIONS_MAX: usize = 256;
/// What the head or the body of a request may have.
const REQUEST_MAX: u64 = 64 * 1024;

/// What is asked.
#[derive(Debug, Default)]
pub(super) struct Asked {
    method: String,
    pub(super) path: String,
    pub(super) authorization: String,
    pub(super) body: String,
    /// The first byte that a client wants which has the others.
    pub(super) range_from: Option<usize>,
}

impl Asked {
    /// The repository in its path.
    pub(super) fn repository(&self) -> Option<&str> {
        let path = self.path.strip_prefix("/v2/")?;
        let end = path.find("/manifests/").or_else(|| path.find("/blobs/"))?;
        Some(&path[..end])
    }

    /// The next request of a connection; none at its end.
    async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Self>> {
        let mut head = stream.take(REQUEST_MAX);
        let mut line = String::new();
        if head.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut asked = Self { method, path, ..Self::default() };
        let mut length = 0;
        loop {
            line.clear();
            if head.read_line(&mut line).await? <= 2 {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "authorization" => asked.authorization = value.to_owned(),
                "content-length" => length = value.parse().map_err(io::Error::other)?,
                "range" => {
                    let from = value.strip_prefix("bytes=").and_then(|range| range.split('-').next());
                    asked.range_from = from.and_then(|from| from.parse().ok());
                }
                _ => {}
            }
        }
        stream.take(length.min(REQUEST_MAX)).read_to_string(&mut asked.body).await?;
        Ok(Some(asked))
    }
}

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(permit) = Arc::clone(&free).acquire_owned().await
        && let Ok((stream, _)) = listener.accept().await
    {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // The client may end the connection at any time.
            drop(answer_all(stream, &shared).await);
            drop(permit);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn answer_all(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut reading = BufReader::new(reading);
    while let Some(asked) = Asked::read(&mut reading).await? {
        let number = note(shared, &asked);
        if let Some(repository) = asked.repository() {
            wait(shared, repository, Fault::Hang, &mut reading).await?;
        }
        let answer = Answer::to(shared, &asked);
        if let Some(request) = shared.log().get_mut(number.unwrap_or(usize::MAX)) {
            request.status = Some(answer.status);
        }
        writing.write_all(answer.head().as_bytes()).await?;
        if asked.method == "HEAD" {
            continue;
        }
        let body = answer.body();
        let (half, rest) = body.split_at(body.len() / 2);
        match answer.course {
            Course::Whole => writing.write_all(body).await?,
            Course::Cut => return writing.write_all(half).await,
            Course::Halts(fault) => {
                writing.write_all(half).await?;
                wait(shared, asked.repository().unwrap_or_default(), fault, &mut reading).await?;
                writing.write_all(rest).await?;
            }
            Course::Slow(bytes, every) => {
                for piece in body.chunks(bytes.max(1)) {
                    writing.write_all(piece).await?;
                    tokio::time::sleep(every).await;
                }
            }
        }
    }
    Ok(())
}

/// Writes the request down; its place in the log.
fn note(shared: &Shared, asked: &Asked) -> Option<usize> {
    let mut log = shared.log();
    if log.len() == LOG_MAX {
        return None;
    }
    log.push(Request {
        at: Instant::now(),
        method: asked.method.clone(),
        path: asked.path.clone(),
        authorization: asked.authorization.clone(),
        status: None,
    });
    Some(log.len() - 1)
}

/// Waits as long as this is wrong; fails where the client does not.
async fn wait(shared: &Shared, name: &str, fault: Fault, client: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
    tokio::select! {
        biased;
        () = shared.while_wrong(name, fault) => Ok(()),
        _ = client.fill_buf() => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
