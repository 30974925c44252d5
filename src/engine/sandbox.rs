//! What a container may use and do, beyond the image, the port, the environment and the labels that every one has.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a container may use and do. Nothing in it makes a container privileged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Bytes of memory, swap included; none: as much as the host has.
    pub memory: Option<u64>,
    /// Billionths of a processor; none: all of them.
    pub nano_cpus: Option<u64>,
    /// Processes and threads; none: the engine's own limit.
    pub pids: Option<u32>,
    /// `USER[:GROUP]`, names or numbers; none: what the image says.
    pub user: Option<String>,
    /// The capabilities it keeps, without `CAP_`. All others are dropped.
    pub capabilities: Vec<String>,
    /// Whether its processes can never gain rights that they were not started with.
    pub no_new_privileges: bool,
    /// Whether its root file system cannot be written to.
    pub read_only: bool,
    /// In-memory file systems: mount options by path.
    pub tmpfs: BTreeMap<String, String>,
    /// The engine's network that it joins; none: the default bridge.
    pub network: Option<String>,
    /// How its log is kept from filling the disk; none: as the engine is configured.
    pub log: Option<LogRotation>,
    /// Limits of single processes.
    pub ulimits: Vec<Ulimit>,
    /// The OCI runtime, as the engine names it; none: the engine's default.
    pub runtime: Option<String>,
    /// Files and folders of the host, and named volumes.
    pub mounts: Vec<Mount>,
    /// How many GPUs; none: no GPU.
    pub gpus: Option<Gpus>,
    /// How long its main process may take to end when it is asked to.
    pub stop_grace: Duration,
}

/// Bounds of a container's log, for the log drivers that rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogRotation {
    /// Bytes of one file.
    pub max_size: u64,
    /// Files, the current one included.
    pub files: u32,
}

/// One limit of `setrlimit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Without `RLIMIT_`, in lower case: `nofile`.
    pub name: String,
    /// What a process gets.
    pub soft: i64,
    /// What it may raise that to.
    pub hard: i64,
}

/// One bind mount or named volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// An absolute path of the host, or the name of a volume.
    pub source: String,
    /// An absolute path in the container.
    pub target: String,
    /// Whether the container can only read it.
    pub read_only: bool,
}

/// GPUs of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gpus {
    /// Every one.
    All,
    /// So many.
    Count(u32),
}

/// Capabilities without which ordinary images that start as root and become another user do not run.
pub(crate) const DEFAULT_CAPABILITIES: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID"];

/// What a container gets where no policy says otherwise: ordinary images run, and none can gain rights.
impl Default for Sandbox {
    fn default() -> Self {
        Self {
            memory: None,
            nano_cpus: None,
            pids: Some(4096),
            user: None,
            capabilities: DEFAULT_CAPABILITIES.map(str::to_owned).to_vec(),
            no_new_privileges: true,
            read_only: false,
            tmpfs: BTreeMap::new(),
            network: None,
            log: Some(LogRotation { max_size: 10 << 20, files: 3 }),
            ulimits: Vec::new(),
            runtime: None,
            mounts: Vec::new(),
            gpus: None,
            stop_grace: Duration::from_secs(10),
        }
    }
}
