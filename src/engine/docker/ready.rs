//! One look at a game engine's endpoint.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// How long the answer to a request may take.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How long a silent connection must stay open to count.
///
/// Published ports are mostly served by `docker-proxy`, which accepts before it has asked the container. Where nothing
/// listens inside, it closes the connection at once; where the game engine ends soon after it has begun to listen, it closes
/// the connection then. Each start of a game engine that waits for a request takes so much longer.
const STAYS_OPEN: Duration = Duration::from_millis(400);

/// `HTTP/1.1 200`: no more of an answer matters.
const STATUS_BYTES: usize = 12;

/// Whether the game engine itself accepts a connection.
pub(super) async fn accepts(endpoint: &str) -> bool {
    let Some(mut stream) = connect(endpoint).await else {
        return false;
    };
    let mut byte = [0];
    match timeout(STAYS_OPEN, stream.read(&mut byte)).await {
        // Silent and still open: a server is there and waits for a request.
        Err(_) => true,
        Ok(read) => read.is_ok_and(|count| count > 0),
    }
}

/// Whether a GET of the path is answered with a 2xx status.
pub(super) async fn answers(endpoint: &str, path: &str) -> bool {
    // A path with spaces or line breaks would be another request than the one that was asked for.
    if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    let Some(stream) = connect(endpoint).await else {
        return false;
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", authority(endpoint));
    timeout(ANSWER_MAX, is_success(stream, &request)).await.unwrap_or(false)
}

async fn is_success(mut stream: TcpStream, request: &str) -> bool {
    let mut start = [0; STATUS_BYTES];
    if stream.write_all(request.as_bytes()).await.is_err() || stream.read_exact(&mut start).await.is_err() {
        return false;
    }
    let (version, status) = start.split_at(STATUS_BYTES - 3);
    matches!(version, b"HTTP/1.1 " | b"HTTP/1.0 ") && status[0] == b'2' && status.iter().all(u8::is_ascii_digit)
}

async fn connect(endpoint: &str) -> Option<TcpStream> {
    timeout(CONNECT_MAX, TcpStream::connect(authority(endpoint))).await.ok()?.ok()
}

fn authority(endpoint: &str) -> &str {
    endpoint.strip_prefix("http://").unwrap_or(endpoint)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// An endpoint that sends this on every connection, and then holds or closes it.
    async fn endpoint(says: &'static [u8], holds: bool) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(says).await.expect("the client waits");
                if holds {
                    held.push(stream);
                }
            }
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_connection_counts_when_it_stays_open_or_speaks() {
        assert!(accepts(&endpoint(b"", true).await).await);
        assert!(accepts(&endpoint(b"hello", false).await).await);
        assert!(!accepts(&endpoint(b"", false).await).await);
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("it is bound");
        assert!(!accepts(&format!("http://{free}")).await);
        assert!(!accepts("not an endpoint").await);
    }

    #[tokio::test]
    async fn only_a_2xx_answer_counts() {
        for (says, want) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n"[..], true),
            (b"HTTP/1.0 204 No Content\r\n\r\n", true),
            (b"HTTP/1.1 302 Found\r\n\r\n", false),
            (b"HTTP/1.1 503 Busy\r\n\r\n", false),
            (b"HTTP/1.1 2", false),
            (b"HTTP/1.1 2xx \r\n", false),
            (b"SSH-2.0-OpenSSH_9\r\n", false),
            (b"", false),
        ] {
            assert_eq!(answers(&endpoint(says, true).await, "/healthz").await, want, "{says:?}");
        }
    }

    #[tokio::test]
    async fn a_path_cannot_smuggle_a_request() {
        let good = endpoint(b"HTTP/1.1 200 OK\r\n\r\n", true).await;
        for path in ["", "healthz", "/a b", "/a\r\nHost: x", "/é"] {
            assert!(!answers(&good, path).await, "{path:?}");
        }
    }
}
