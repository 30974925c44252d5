//! The one table of all settings. Flags, environment names, file keys, help, documentation and `config show` derive
//! from it, so that a setting cannot exist in one of them and not in the others.

use std::fmt::Write as _;
use std::time::Duration;

use super::shape::Shape;

/// The headings under which settings are shown, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Where settings come from.
    File,
    /// How to reach Redis.
    Redis,
    /// The streams, the group and the keys beside them.
    Streams,
    /// One replica's limits and rhythms.
    Worker,
    /// What happens to a start that did not work.
    Retries,
    /// Which engine starts containers, and how.
    Engine,
    /// The engine whose containers exist only in Redis.
    Simulated,
    /// Logs, probes and metrics.
    Observing,
    /// What is refused or allowed beyond production use.
    Safety,
}

impl Group {
    /// Every group, in order.
    pub(crate) const ALL: &'static [Self] = &[
        Self::File,
        Self::Redis,
        Self::Streams,
        Self::Worker,
        Self::Retries,
        Self::Engine,
        Self::Simulated,
        Self::Observing,
        Self::Safety,
    ];

    /// The heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::File => "Settings file",
            Self::Redis => "Redis",
            Self::Streams => "Streams",
            Self::Worker => "Worker",
            Self::Retries => "Retries",
            Self::Engine => "Engine",
            Self::Simulated => "Simulated engine",
            Self::Observing => "Logs and probes",
            Self::Safety => "Safety",
        }
    }
}

/// The value of a setting that is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// This text.
    Text(&'static str),
    /// Derived from other settings or the surroundings, as this text describes.
    Computed(&'static str),
}

impl DefaultValue {
    /// The text, or the description.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text(text) | Self::Computed(text) => text,
        }
    }
}

/// Where a setting may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// As a flag, in the environment and in the file.
    Everywhere,
    /// As a flag and in the environment.
    NotInFile,
    /// In the environment only.
    Environment,
}

impl Reach {
    /// Can the setting be in a file?
    pub(crate) fn includes_files(self) -> bool {
        self == Self::Everywhere
    }
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The name in kebab-case: the flag without its dashes, and the key in the file.
    pub name: &'static str,
    /// The heading it is shown under.
    pub group: Group,
    /// Its value when it is not set.
    pub default: DefaultValue,
    /// What its text may look like.
    pub(crate) shape: Shape,
    /// Where it may be set.
    pub reach: Reach,
    /// One complete sentence for people.
    pub help: &'static str,
}

impl Row {
    /// The environment variable that sets it.
    pub fn environment(&self) -> String {
        format!("STARTJOBS_{}", self.name.to_uppercase().replace('-', "_"))
    }
}

/// The row of this name.
pub fn row(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

const fn count(min: u64, max: u64) -> Shape {
    Shape::Number { min, max }
}

const fn at_least(min_ms: u64, why: &'static str) -> Shape {
    Shape::Duration { min: Duration::from_millis(min_ms), why }
}

const fn form(placeholder: &'static str, sentence: &'static str) -> Shape {
    Shape::Form { placeholder, sentence }
}

/// `Group { "name" = Default, shape, "help"; ... }`; a reach other than everywhere follows the shape after `@`.
macro_rules! table {
    (@reach) => { Reach::Everywhere };
    (@reach $reach:ident) => { Reach::$reach };
    ($($group:ident { $($name:literal = $kind:ident($default:literal), $shape:expr $(, @$reach:ident)?, $help:literal;)+ })+) => {
        /// Every setting, in the order it is shown.
        pub const TABLE: &[Row] = &[$($(Row {
            name: $name,
            group: Group::$group,
            default: DefaultValue::$kind($default),
            shape: $shape,
            reach: table!(@reach $($reach)?),
            help: $help,
        },)+)+];
    };
}

table! {
    File {
        "config" = Text("none"), form("FILE", ""), @NotInFile,
            "A TOML file with settings, one flat key each.";
    }
    Redis {
        "redis-url" = Text("redis://127.0.0.1:6379"), form("URL", "`redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, the same with `rediss://` for TLS, `redis+unix://[[USER]:PASSWORD@]/PATH`, or `redis-sentinel://[[USER]:PASSWORD@]HOST[:PORT],.../SERVICE[/DATABASE]`."),
            "The URL of Redis or Valkey.";
        "redis-password-file" = Text("none"), form("FILE", ""),
            "A file that holds the Redis password, which then need not be in a flag or in the environment.";
        "redis-tls-ca-file" = Text("none"), form("FILE", "PEM."),
            "The authorities that are trusted to sign the certificate of a rediss:// server; none: those of the system.";
        "redis-tls-cert-file" = Text("none"), form("FILE", "PEM."),
            "The client certificate for Redis, with intermediate certificates.";
        "redis-tls-key-file" = Text("none"), form("FILE", "PEM, without a passphrase."),
            "The private key of the client certificate for Redis.";
        "redis-sentinel-user" = Text("none"), Shape::Text,
            "The user that asks the sentinels.";
        "redis-sentinel-password-file" = Text("none"), form("FILE", ""),
            "A file that holds the password for the sentinels.";
        "redis-sentinel-tls" = Text("same"), Shape::Choice(&["same", "off"]),
            "Whether connections to the sentinels are encrypted as those to Redis are.";
        "settle-wait-replicas" = Text("0"), count(0, 16),
            "Number of replicas of Redis that a settled batch is waited for, for at most 500 ms.";
    }
    Streams {
        "jobs-stream" = Text("runtime:start_jobs"), Shape::Text,
            "The stream from which start jobs are read.";
        "results-stream" = Text("runtime:job_results"), Shape::Text,
            "The stream to which outcomes are published.";
        "dead-stream" = Computed("<jobs>:dead"), Shape::Text,
            "The dead-letter stream: entries that could not be answered normally.";
        "group" = Text("rtmanager.startjobs"), Shape::Text,
            "The consumer group that all replicas share.";
        "offset-key" = Text("rtmanager:stream_offsets:{label}"), Shape::Text,
            "The key of the offset at which the original worker resumes; {label} becomes startjobs.";
        "outcome-fields" = Text("extended"), Shape::Choice(&["extended", "original"]),
            "Whether outcomes have source_ref and three more fields, or only the six of the original worker.";
        "ledger-ttl" = Text("24h"), Shape::DURATION,
            "How long the ids of settled entries are kept, so that none is answered twice.";
        "max-field-bytes" = Text("64KiB"), Shape::Size { min: 1 << 10, max: 512 << 20 },
            "Maximum size of game_id, image_ref and requested_at_ms; a job with a longer one is malformed.";
        "dead-max" = Text("100000"), count(1, i64::MAX.unsigned_abs()),
            "How many dead letters are kept; older ones are removed.";
        "trim-jobs" = Text("off"), Shape::Switch,
            "Remove entries from the jobs stream once they and all earlier ones are settled.";
        "results-retention" = Text("off"), Shape::OptionalDuration,
            "Remove outcomes older than this from the results stream.";
    }
    Worker {
        "slots" = Text("64"), count(1, 10_000),
            "Maximum number of starts that one replica has in progress at once.";
        "claim-idle" = Text("5s"), at_least(300, "an entry is renewed every third of it, and one slow reply must not cost a live replica its entries"),
            "How long a replica must be silent before others take over its entries.";
        "disconnect-grace" = Text("300ms"), Shape::OptionalDuration,
            "How long the connection of a replica must be closed before others take over its entries, without waiting for claim-idle; off: always wait.";
        "sweep-interval" = Text("500ms"), at_least(10, "a sweep is a script that every other command waits for"),
            "How often the fleet looks for entries to take over.";
        "block" = Text("2s"), at_least(1, "0 would make Redis wait for ever"),
            "How long one blocking read waits for new entries.";
        "drain-timeout" = Text("30s"), Shape::DURATION,
            "How long a stopping replica waits for the starts in progress.";
        "max-run" = Text("15m"), Shape::DURATION,
            "Maximum time a replica may keep one job; then another one takes it over.";
        "janitor-interval" = Text("5s"), at_least(10, "it walks the stream"),
            "How often the fleet looks for entries missing from the pending list, and cleans up.";
        "consumer-idle" = Text("1h"), Shape::DURATION,
            "How long a consumer without entries must be idle before it is removed from the group.";
    }
    Retries {
        "retry-min" = Text("1s"), Shape::DURATION,
            "The first back-off after a failed start that may be tried again.";
        "retry-max" = Text("60s"), Shape::DURATION,
            "The longest back-off.";
        "retry-attempts" = Text("5"), count(1, 10_000),
            "After this many engine failures the job is answered `failure`.";
        "retry-max-age" = Text("5m"), Shape::DURATION,
            "How long after its first failure a job is still retried.";
        "crash-budget" = Text("4"), count(0, 10_000),
            "How many processes may die with one job; with one more it is answered `failure`, code poison.";
        "max-backing-off" = Computed("4 x slots"), count(1, 1_000_000),
            "A replica stops reading when this many entries wait for a retry.";
        "max-held-bytes" = Text("64MiB"), Shape::Size { min: 1 << 20, max: 64 << 30 },
            "A replica stops reading when it holds this many bytes of payloads; one reply may exceed it.";
        "start-deadline" = Text("off"), Shape::OptionalDuration,
            "Answer a job `failure` if it was requested longer ago than this.";
    }
    Engine {
        "engine" = Text("docker"), Shape::Choice(&["docker", "simulated"]),
            "The engine that starts containers; docs/first-job.md lists the image names of the simulated one.";
        "docker-host" = Computed("DOCKER_HOST, else unix:///var/run/docker.sock"), form("URL", "`unix:///PATH` or `tcp://HOST:PORT`."),
            "The address of the Docker Engine.";
        "docker-tls-ca-file" = Computed("with DOCKER_TLS_VERIFY: ca.pem in DOCKER_CERT_PATH; else none"), form("FILE", "PEM."),
            "The authorities that are trusted to sign the certificate of a tcp:// Docker Engine; setting it turns TLS on.";
        "docker-tls-cert-file" = Computed("likewise cert.pem"), form("FILE", "PEM."),
            "The client certificate for the Docker Engine.";
        "docker-tls-key-file" = Computed("likewise key.pem"), form("FILE", "PEM, without a passphrase."),
            "The private key of the client certificate for the Docker Engine.";
        "engines" = Text("none"), form("URL,...|none", "Addresses as in `docker-host`, with commas between them, or `none`."),
            "Further Docker Engines that this process drives, each a host of its own.";
        "advertise-host" = Computed("the host of docker-host; 127.0.0.1 for a socket"), Shape::Text,
            "The name or address of this host in the endpoints of outcomes.";
        "publish-address" = Computed("127.0.0.1 for a socket; else 0.0.0.0"), form("ADDRESS", "An IPv4 or IPv6 address of this host."),
            "The address on which the ports of games are published.";
        "port-range" = Computed("the engine's own choice"), form("FIRST-LAST", "Two port numbers, such as `30000-30999`."),
            "The ports on which games are published.";
        "engine-host-id" = Computed("kept in Redis for the engine; the first is `default`"), Shape::Text,
            "The name of this host in records and labels.";
        "fleet-id" = Computed("kept in Redis and on the engines"), Shape::Text,
            "The name of the fleet; containers of other fleets are left alone.";
        "host-heartbeat" = Text("30s"), at_least(1_000, "a slow answer of Redis is no dead host"),
            "How long a host may be silent before the games that start there are started on other hosts.";
        "on-isolation" = Text("keep"), Shape::Choice(&["keep", "stop"]),
            "What becomes of the games of a host that is cut off from Redis for two thirds of its heartbeat.";
        "game-events" = Text("off"), form("STREAM|off", "`off` or the name of a stream."),
            "The stream to which the end of each game is written.";
        "engine-port" = Text("8080"), count(1, 65_535),
            "The port on which a game engine listens inside its container.";
        "start-concurrency" = Computed("4; with the simulated engine: slots"), count(1, 10_000),
            "Maximum number of containers that one process creates and starts at once.";
        "pull-policy" = Text("missing"), Shape::Choice(&["missing", "always", "never"]),
            "When the registry of an image is asked: when the image is missing on the host, at every start, or never.";
        "pull-timeout" = Text("10m"), Shape::DURATION,
            "Maximum time of one pull, without the time that it waits for its turn; at most two thirds of max-run, unless it is set.";
        "pull-silence" = Text("2m"), Shape::DURATION,
            "How long a pull may go without receiving or unpacking anything; at most pull-timeout, unless it is set.";
        "pull-concurrency" = Text("8"), count(1, 1_000),
            "Maximum number of images that one process pulls at once.";
        "docker-config" = Text("none"), form("FILE", "JSON, as `docker login` writes it, or the folder of a `config.json`."),
            "The credentials for registries in the form of Docker's configuration file, with its credential helpers.";
        "registry-credentials-dir" = Text("none"), form("FOLDER", ""),
            "A folder with a file for each registry, named after it, which holds `user:password` or JSON.";
        "record-prefix" = Text("rtm:"), Shape::Text,
            "The prefix of the keys of game records.";
        "readiness" = Text("tcp"), form("tcp|http:/PATH|health", "`tcp`, `http:/PATH` or `health`."),
            "The check that a game engine is ready.";
        "ready-timeout" = Text("30s"), Shape::DURATION,
            "How long a game engine may take to become ready.";
        "policy-file" = Text("none"), form("FILE", "TOML; docs/policy.md lists its keys."),
            "The policy: which images may run, and what their containers get.";
        "reconcile-interval" = Computed("5s; with the simulated engine: 1m"), at_least(10, "it lists every container"),
            "How often the containers of a host are compared with their records.";
        "reconcile-grace" = Text("5m"), Shape::DURATION,
            "Minimum age of a container to which no record refers before it is removed.";
    }
    Simulated {
        "simulated-latency" = Text("40ms"), form("DURATION[..DURATION]", "A duration, or two with `..` between them: `20ms..80ms`."),
            "How long a simulated start takes.";
        "simulated-failures" = Text("0"), Shape::Share,
            "The share of jobs that fail permanently.";
        "simulated-errors" = Text("0"), Shape::Share,
            "The share of attempts that fail and may be tried again.";
        "simulated-seed" = Text("0"), count(0, u64::MAX),
            "The seed that decides, with the entry id, which ones fail.";
    }
    Observing {
        "http-addr" = Text("off"), form("ADDRESS:PORT|off", "`off` or an address with a port, such as `0.0.0.0:9100`."),
            "The address on which probes and metrics are served.";
        "page" = Text("auto"), Shape::Choice(&["auto", "on", "off"]),
            "Whether a page for people is served beside them, with the whole fleet on it; auto is only where http-addr is an address of the machine's own.";
        "page-host" = Text("none"), form("NAME[,NAME...]", "Names of hosts without ports, `ops.example,startjobs.internal`, or `none`."),
            "Names under which the page may be opened besides IP addresses and localhost.";
        "admin-token-file" = Text("none"), form("FILE", ""),
            "A file that holds the token with which people may change the fleet on the page; none: the page only shows.";
        "log-format" = Text("auto"), Shape::Choice(&["auto", "json", "text"]),
            "The format of log lines; auto is text on a terminal and JSON elsewhere.";
    }
    Safety {
        "strict" = Text("off"), Shape::Switch,
            "Turn start-up warnings about data safety into errors.";
        "allow-fault-injection" = Text("off"), Shape::Switch,
            "Allow fault injection; never in production.";
        "crash-at" = Text("none"), form("POINT", ""), @Environment,
            "The point at which the process kills itself, for tests.";
        "pause-at" = Text("none"), form("POINT", ""), @Environment,
            "The point at which the process stops itself once, for tests.";
    }
}

/// The table as Markdown, one section a group: what docs/configuration.md holds.
pub fn markdown() -> String {
    let mut text = String::new();
    for group in Group::ALL {
        text.push_str(&section(*group));
    }
    text
}

fn section(group: Group) -> String {
    let mut text =
        format!("### {}\n\n| setting | environment | default | meaning |\n|---|---|---|---|\n", group.title());
    for row in TABLE.iter().filter(|row| row.group == group) {
        let meaning = format!("{} {}", code_braces(row.help), row.shape.sentence());
        let default = match row.default {
            DefaultValue::Text(default) => format!("`{default}`"),
            DefaultValue::Computed(default) => code_angles(default),
        };
        let name = match row.reach {
            Reach::Environment => "(environment only)".to_owned(),
            Reach::Everywhere | Reach::NotInFile => format!("`{}`", row.name),
        };
        // Writing to a String cannot fail.
        _ = writeln!(
            text,
            "| {name} | `{}` | {default} | {} |",
            row.environment(),
            meaning.trim_end().replace('|', "\\|"),
        );
    }
    text.push('\n');
    text
}

/// A placeholder in prose, as code, so that no renderer takes it for markup.
fn code_braces(help: &str) -> String {
    help.replace("{label}", "`{label}`")
}

fn code_angles(default: &str) -> String {
    default.replace("<jobs>:dead", "`<jobs>:dead`")
}
