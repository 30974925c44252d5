//! A master, its replicas and their sentinels of one's own, on free ports of loopback.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::redis_server::{RedisServer, StartError};

/// The name of the service.
pub const SERVICE: &str = "startjobs";

/// How they are started.
#[derive(Debug, Clone)]
pub struct SentinelOptions {
    /// The `redis-server` program.
    pub program: PathBuf,
    /// Below which directory theirs are.
    pub parent: PathBuf,
    /// Replicas beside the master.
    pub replicas: usize,
    /// Sentinels.
    pub sentinels: usize,
    /// Lines of the file of settings of each server.
    pub server: Vec<String>,
    /// Lines of the file of settings of each sentinel.
    pub sentinel: Vec<String>,
    /// Lines about the service, which follow the line that names it.
    pub service: Vec<String>,
    /// Each listens with TLS on a further port, and talks to the others there.
    pub is_encrypted: bool,
    /// After this long a server without an answer counts as down.
    pub down_after_ms: u32,
}

/// Running servers and sentinels. Dropping them kills them and removes their data.
#[derive(Debug)]
pub struct Sentinels {
    /// The first was the master at the start.
    servers: Vec<Node>,
    sentinels: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    server: RedisServer,
    /// Where others reach it.
    port: u16,
}

impl SentinelOptions {
    /// A master, two replicas and three sentinels, in the temporary directory.
    pub fn new() -> Self {
        Self {
            program: PathBuf::from("redis-server"),
            parent: std::env::temp_dir(),
            replicas: 2,
            sentinels: 3,
            server: Vec::new(),
            sentinel: Vec::new(),
            service: Vec::new(),
            is_encrypted: false,
            down_after_ms: 1_000,
        }
    }
}

impl Default for SentinelOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Sentinels {
    /// Starts them. The replicas may not have caught up yet, and the sentinels may not know each other yet.
    pub fn start(options: &SentinelOptions) -> Result<Self, StartError> {
        let master = start(options, &[], &options.server)?;
        let of_master = format!("127.0.0.1 {}", master.port);
        let mut servers = vec![master];
        for _ in 0..options.replicas {
            let line = format!("replicaof {of_master}");
            servers.push(start(options, &[], &[options.server.as_slice(), &[line]].concat())?);
        }
        let quorum = options.sentinels / 2 + 1;
        let down_after = options.down_after_ms;
        let lines = [
            format!("sentinel monitor {SERVICE} {of_master} {quorum}"),
            format!("sentinel down-after-milliseconds {SERVICE} {down_after}"),
            // A failover that did not succeed is tried again after twice this.
            format!("sentinel failover-timeout {SERVICE} {}", 5 * down_after),
            format!("sentinel parallel-syncs {SERVICE} {}", options.replicas.max(1)),
        ];
        let lines = [options.sentinel.as_slice(), &lines, &options.service].concat();
        let sentinels = (0..options.sentinels).map(|_| start(options, &["--sentinel"], &lines));
        Ok(Self { sentinels: sentinels.collect::<Result<_, _>>()?, servers })
    }

    /// As the settings take it, with these sentinels; `login` is empty, or ends with an @.
    pub fn url_of(&self, scheme: &str, login: &str, sentinels: &[u16]) -> String {
        let sentinels: Vec<String> = sentinels.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("{scheme}://{login}{}/{SERVICE}", sentinels.join(","))
    }

    /// The ports of the sentinels.
    pub fn sentinel_ports(&self) -> Vec<u16> {
        self.sentinels.iter().map(|node| node.port).collect()
    }

    /// The ports of the servers, the first master first.
    pub fn server_ports(&self) -> Vec<u16> {
        self.servers.iter().map(|node| node.port).collect()
    }

    /// The server that others reach at this port.
    pub fn server_at(&mut self, port: u16) -> Option<&mut RedisServer> {
        self.servers.iter_mut().find(|node| node.port == port).map(|node| &mut node.server)
    }

    /// A sentinel by its number.
    pub fn sentinel(&mut self, number: usize) -> &mut RedisServer {
        &mut self.sentinels[number].server
    }

    /// All servers.
    pub fn servers(&mut self) -> impl Iterator<Item = &mut RedisServer> {
        self.servers.iter_mut().map(|node| &mut node.server)
    }
}

/// One more process. With TLS it has a further port, and others reach it there.
fn start(options: &SentinelOptions, flags: &[&str], lines: &[String]) -> Result<Node, StartError> {
    // Sentinels and replicas keep what happens to them in their files.
    let mut settings = lines.join("\n") + "\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n";
    if !flags.is_empty() {
        settings = lines.join("\n") + "\n";
    }
    let mut tls_port = None;
    if options.is_encrypted {
        let port = free_port()?;
        // Writing to a String cannot fail.
        _ = write!(settings, "tls-port {port}\ntls-replication yes\n");
        tls_port = Some(port);
    }
    let server = RedisServer::start_with_file(&options.parent, Path::new(&options.program), flags, settings)?;
    let port = tls_port.unwrap_or_else(|| server.port());
    Ok(Node { server, port })
}

fn free_port() -> std::io::Result<u16> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
