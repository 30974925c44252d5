//! An image registry on a loopback port that answers as it is told, and counts what it is asked.
//!
//! Loopback counts as insecure, so an engine speaks plain HTTP to it. What it answers is in the image's name:
//! `s404/x` (or any other status) that status with the registry protocol's error body; `hang/x` nothing, ever;
//! `ok/x` a tiny image; `corrupt/x` the same image with a layer that is not what its digest says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A running registry; it ends when it is dropped.
#[derive(Debug)]
pub struct FakeRegistry {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl FakeRegistry {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::default();
        let task = tokio::spawn(serve(listener, Arc::clone(&asked)));
        Self { address, asked, task }
    }

    /// The full reference of an image of this registry.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}:1", self.address)
    }

    /// How many times the manifest of this image was asked for by its tag.
    pub fn manifest_requests(&self, name: &str) -> usize {
        let path = format!("/v2/{name}/manifests/1");
        self.asked.lock().expect("no panic while it is held").iter().filter(|asked| **asked == path).count()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, asked: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer_all(stream, Arc::clone(&asked)));
    }
}

async fn answer_all(stream: TcpStream, asked: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = String::new();
        if stream.read_line(&mut request).await? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while stream.read_line(&mut header).await? > 2 {
            header.clear();
        }
        let mut words = request.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        asked.lock().expect("no panic while it is held").push(path.to_owned());
        if path.starts_with("/v2/hang/") {
            std::future::pending::<()>().await;
        }
        let answer = Answer::to(path);
        stream.write_all(answer.head().as_bytes()).await?;
        if method != "HEAD" {
            stream.write_all(&answer.body).await?;
        }
    }
}

struct Answer {
    status: u16,
    kind: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn to(path: &str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match parts.as_slice() {
            ["v2"] => Self { status: 200, kind: "application/json", body: b"{}".to_vec() },
            ["v2", "ok" | "corrupt", _, "manifests", _] => {
                Self { status: 200, kind: MANIFEST, body: TinyImage::new().manifest }
            }
            ["v2", namespace @ ("ok" | "corrupt"), _, "blobs", digest] => Self::blob(namespace, digest),
            ["v2", namespace, ..] => {
                Self::error(namespace.strip_prefix('s').and_then(|status| status.parse().ok()).unwrap_or(404))
            }
            _ => Self::error(404),
        }
    }

    fn blob(namespace: &str, digest: &str) -> Self {
        let image = TinyImage::new();
        let body = if digest == digest_of(&image.config) {
            image.config
        } else if digest != digest_of(&image.layer) {
            return Self::error(404);
        } else if namespace == "corrupt" {
            vec![b'x'; image.layer.len()]
        } else {
            image.layer
        };
        Self { status: 200, kind: "application/octet-stream", body }
    }

    fn error(status: u16) -> Self {
        let code = match status {
            401 => "UNAUTHORIZED",
            403 => "DENIED",
            404 => "NAME_UNKNOWN",
            429 => "TOOMANYREQUESTS",
            503 => "UNAVAILABLE",
            _ => "UNKNOWN",
        };
        let body = json!({"errors": [{"code": code, "message": format!("made up {status}")}]});
        Self { status, kind: "application/json", body: body.to_string().into_bytes() }
    }

    fn head(&self) -> String {
        format!(
            "HTTP/1.1 {} Made-Up\r\nDocker-Distribution-Api-Version: registry/2.0\r\nContent-Type: {}\r\n\
             Docker-Content-Digest: {}\r\nContent-Length: {}\r\n\r\n",
            self.status,
            self.kind,
            digest_of(&self.body),
            self.body.len(),
        )
    }
}

/// An image of one layer without files.
struct TinyImage {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

impl TinyImage {
    fn new() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        // The end mark of a tar archive.
        let layer = vec![0; 1024];
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/nothing"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let part = |kind: &str, bytes: &[u8]| -> Value {
            json!({"mediaType": kind, "size": bytes.len(), "digest": digest_of(bytes)})
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": part("application/vnd.docker.container.image.v1+json", &config),
            "layers": [part("application/vnd.docker.image.rootfs.diff.tar", &layer)],
        });
        Self { manifest: manifest.to_string().into_bytes(), config, layer }
    }
}

fn digest_of(bytes: &[u8]) -> String {
    let hexadecimal: Vec<String> = digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hexadecimal.concat())
}
