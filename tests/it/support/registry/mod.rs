//! An image registry on a loopback port that answers as it is told, and keeps a log of what it is asked.
//!
//! Loopback counts as insecure, so an engine speaks plain HTTP to it. A test puts images under tags, gives a repository
//! a fault or a rate limit, and takes them away again; a pull that hangs goes on when the fault is gone. Some names need
//! no preparation: `s404/x` (or any other status) answers that status with the registry protocol's error body, `hang/x`
//! never answers, `ok/x` has a tiny image, and `corrupt/x` the same image with a layer that is not what its digest says.

// who may read, and what the others are told
mod access;
// what a request is answered with
mod answer;
// images, made here
mod image;
// connections
mod serve;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::access::{Access, Scheme};
pub use self::image::Image;

/// How many requests the log keeps.
const LOG_MAX: usize = 10_000;

/// A running registry; it ends with all of its connections when it is dropped.
#[derive(Debug)]
pub struct FakeRegistry {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What is wrong with a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No request is answered.
    Hang,
    /// Half of a manifest, and then nothing.
    HangInManifest,
    /// Half of a layer, and then nothing.
    HangInLayer,
    /// Layers are answered with this status.
    LayerStatus(u16),
    /// Half of what is asked of a layer, and then the end of the connection.
    CutLayer,
    /// Layers come in pieces of so many bytes, so far apart.
    SlowLayer(usize, Duration),
    /// A layer that is not what its digest says.
    WrongLayer,
    /// The same of a configuration.
    WrongConfig,
    /// The same of a manifest.
    WrongManifest,
    /// Every manifest is `{}`, with status 200.
    EmptyManifest,
}

/// When a registry that asks its client to slow down wants to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// It does not say.
    Unsaid,
    /// So many seconds from now.
    Seconds(u64),
    /// At this time.
    At(SystemTime),
}

/// One request, as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub at: Instant,
    pub method: String,
    /// With its query.
    pub path: String,
    /// What its `Authorization` header said.
    pub authorization: String,
    /// What it was answered; none where it never was.
    pub status: Option<u16>,
}

/// One repository.
#[derive(Debug, Default)]
struct Repository {
    tags: BTreeMap<String, Image>,
    /// Every image that it ever had, for references by digest.
    images: Vec<Image>,
    fault: Option<Fault>,
    /// How many requests for a manifest are still refused, and with what advice.
    limit: Option<(usize, RetryAfter)>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    access: Option<Access>,
    repositories: Mutex<BTreeMap<String, Repository>>,
    log: Mutex<Vec<Request>>,
    /// Tells the answers that wait for the end of a fault to look again.
    changed: watch::Sender<()>,
}

impl FakeRegistry {
    /// Starts one on a free port, open to all.
    pub async fn start() -> Self {
        Self::start_on(None).await
    }

    /// Starts one that wants to know who reads.
    pub async fn guarded(access: Access) -> Self {
        Self::start_on(Some(access)).await
    }

    async fn start_on(access: Option<Access>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = listener.local_addr().expect("it is bound");
        let (changed, _) = watch::channel(());
        let shared =
            Arc::new(Shared { address, access, repositories: Mutex::default(), log: Mutex::default(), changed });
        let task = tokio::spawn(serve::serve(listener, Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Its name in references, `127.0.0.1:PORT`.
    pub fn name(&self) -> String {
        self.shared.address.to_string()
    }

    /// The full reference of an image of this registry, with the tag `1`.
    pub fn image(&self, name: &str) -> String {
        self.tagged(name, "1")
    }

    /// The full reference of an image of this registry.
    pub fn tagged(&self, name: &str, tag: &str) -> String {
        format!("{}/{name}:{tag}", self.shared.address)
    }

    /// The same by its digest.
    pub fn by_digest(&self, name: &str, image: &Image) -> String {
        format!("{}/{name}@{}", self.shared.address, image.digest())
    }

    /// Puts an image under a tag, which may have been another's before.
    pub fn put(&self, name: &str, tag: &str, image: Image) {
        self.change(name, |repository| {
            repository.images.push(image.clone());
            repository.tags.insert(tag.to_owned(), image);
        });
    }

    /// From now on this is wrong with the repository.
    pub fn fault(&self, name: &str, fault: Fault) {
        self.change(name, |repository| repository.fault = Some(fault));
    }

    /// Nothing is wrong any more, and what hangs goes on.
    pub fn mend(&self, name: &str) {
        self.change(name, |repository| repository.fault = None);
    }

    /// The next requests for a manifest of this repository, so many of them, are answered with status 429.
    pub fn limit(&self, name: &str, requests: usize, retry_after: RetryAfter) {
        self.change(name, |repository| repository.limit = Some((requests, retry_after)));
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Repository)) {
        change(self.shared.repositories().entry(name.to_owned()).or_default());
        self.shared.changed.send_replace(());
    }

    /// All requests, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log().clone()
    }

    /// Those for a manifest of this repository, by any tag or digest and any method.
    pub fn manifests(&self, name: &str) -> Vec<Request> {
        self.asked(&format!("/v2/{name}/manifests/"))
    }

    /// Those for a blob of this repository.
    pub fn blobs(&self, name: &str) -> Vec<Request> {
        self.asked(&format!("/v2/{name}/blobs/"))
    }

    fn asked(&self, begins: &str) -> Vec<Request> {
        self.shared.log().iter().filter(|request| request.path.starts_with(begins)).cloned().collect()
    }

    /// How many times the manifest of this image was asked for by its tag `1`.
    pub fn manifest_requests(&self, name: &str) -> usize {
        let path = format!("/v2/{name}/manifests/1");
        self.shared.log().iter().filter(|request| request.path == path).count()
    }
}

impl Drop for FakeRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn repositories(&self) -> MutexGuard<'_, BTreeMap<String, Repository>> {
        self.repositories.lock().expect("no panic while it is held")
    }

    fn log(&self) -> MutexGuard<'_, Vec<Request>> {
        self.log.lock().expect("no panic while it is held")
    }

    /// Waits as long as this is wrong with the repository. What hangs by its name hangs for ever.
    async fn while_wrong(&self, name: &str, fault: Fault) {
        let mut changed = self.changed.subscribe();
        while self.repositories().get(name).and_then(|repository| repository.fault) == Some(fault)
            || name.starts_with("hang/")
        {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }
}
