//! The API of an engine, for those who do not own it: asked from any thread, whether the engine is there or not.

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// Where an engine listens, and how long it is waited for.
#[derive(Debug, Clone)]
pub struct Api {
    pub(super) socket: PathBuf,
    pub(super) patience: Duration,
}

impl Api {
    /// That of any engine on this machine.
    pub fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), patience: super::PATIENCE }
    }

    /// Makes the image `name` of an archive of programs.
    pub fn import(&self, name: &str, archive: &[u8], changes: &[&str]) {
        let (repository, tag) = name.rsplit_once(':').expect("`repository:tag`");
        let mut path = format!("/images/create?fromSrc=-&repo={}&tag={}", escape(repository), escape(tag));
        for change in changes {
            write!(path, "&changes={}", escape(change)).expect("a String takes all");
        }
        let (status, body) = self.request("POST", &path, archive).expect("the engine answers");
        assert!(status == 200 && !body.contains("errorDetail"), "import of {name}: {status} {body}");
    }

    /// One API request; the status and the body of its answer.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        // HTTP/1.0 keeps the answer free of chunks.
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: docker\r\n")?;
        // An import takes any type, everything else only this one.
        write!(stream, "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len())?;
        stream.write_all(body)?;
        let answer = read_answer(&mut stream)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| std::io::Error::other("no status line"))?, body.to_owned()))
    }

    /// The containers that run, as the engine lists them; none where it does not answer.
    pub fn running(&self) -> Option<Vec<Value>> {
        let (status, body) = self.request("GET", "/containers/json", b"").ok()?;
        if status == 200 { serde_json::from_str(&body).ok() } else { None }
    }
}

/// Reads to the end of the connection. An engine that closes it without having read the body of the request ends it with a
/// reset, which the kernel tells after everything that was answered.
fn read_answer(stream: &mut UnixStream) -> std::io::Result<String> {
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    match ended {
        Err(error) if error.kind() != ErrorKind::ConnectionReset || !answer.contains("\r\n\r\n") => Err(error),
        _ => Ok(answer),
    }
}

/// Percent-encodes a query value.
pub(super) fn escape(value: &str) -> String {
    let mut escaped = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("a String takes all");
        }
    }
    escaped
}
