//! `startjobs doctor --bundle`: everything that a person who helps asks for, in one file.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{config, dead, exit, output, probe};
use crate::files::read_text;
use crate::ops::View;
use crate::ops::backlog::COUNTED_MAX;
use crate::ops::connect::within;
use crate::ops::doctor::DoctorReport;
use crate::ops::doctor::bundle::Bundle;
use crate::ops::printable::{json_pretty, tame};
use crate::policy::file::load;
use crate::redis::RedisError;
use crate::secret::Secret;
use crate::settings::{ResolvedSetting, Settings};
use crate::stream::dead_letters::{DeadLetters, LATEST_MAX};
use crate::version;

/// Entries that replicas hold, as far as they are listed.
const PENDING_MAX: usize = 200;
/// Bytes of a file that holds a secret: more is none.
const SECRET_BYTES_MAX: u64 = 16 << 10;

const README: &str = "A look at a startjobs fleet, made by `startjobs doctor --bundle`. Passwords, tokens and the values of the policy's env are
starred or left out; so is everything that jobs carry beside their ids. The names of hosts, games, images and streams
are in it: look through it before you send it away.

version.txt        the program
doctor.json        what is wrong with the surroundings
settings.json      the settings, and who set them
status.json        the fleet, and alerts that fire
alerts.json        all alerts
replicas.json      the replicas
hosts.json         the hosts
pending.json       the oldest entries that replicas hold
dead-letters.json  the newest dead letters: what is told about them, and how large they are
redis-info.txt     what Redis says of itself
metrics.txt        the metrics of the replica at http-addr

Not in it: logs, payloads, the policy, outcomes. What could not be had says why in its place.
";

/// What is to go into the bundle beside what Redis says.
pub(super) struct Facts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) resolved: &'a [ResolvedSetting],
    pub(super) report: &'a DoctorReport,
    /// None: there is no connection.
    pub(super) view: Option<&'a View>,
    pub(super) limit: Duration,
}

/// Gathers and writes; the exit code.
pub(super) async fn write(path: &Path, facts: &Facts<'_>) -> u8 {
    let secrets = secrets(facts);
    let mut bundle = Bundle::new(&secrets);
    bundle.add("README.txt", README);
    bundle.add("version.txt", &format!("startjobs {}\n", version::LONG));
    bundle.add("doctor.json", &json_pretty(facts.report));
    bundle.add("settings.json", &config::json(facts.resolved));
    fleet(&mut bundle, facts).await;
    metrics(&mut bundle, facts).await;
    match save(path, &bundle) {
        Ok(()) => {
            let names: Vec<&str> = bundle.names().collect();
            output::note(&format!("{} holds {}", path.display(), names.join(", ")));
            exit::DONE
        }
        Err(error) => {
            let what = format!("cannot write the bundle to {}: {error}", path.display());
            output::complain(&what, "name a file that does not exist yet, in a directory in which you may write");
            exit::FAILED
        }
    }
}

/// Everything that may stand in a part and must not: the password, what the files of secrets hold, the values of env.
fn secrets(facts: &Facts<'_>) -> Vec<Secret> {
    let mut secrets: Vec<Secret> = facts.settings.redis.password.iter().cloned().collect();
    let of_files = facts.resolved.iter().filter(|setting| {
        let name = setting.name;
        name.ends_with("-file") && ["password", "token", "key"].iter().any(|word| name.contains(word))
    });
    let held = of_files.filter_map(|setting| read_text(&setting.value, SECRET_BYTES_MAX).ok());
    secrets.extend(held.map(|text| Secret::new(text.trim().to_owned())));
    let policy = facts.settings.policy.file.as_deref().and_then(|file| load(file).ok());
    secrets.extend(policy.iter().flat_map(|loaded| loaded.read.policy.env_values().cloned()));
    secrets
}

/// What Redis tells; each part by itself, so that one that cannot be had takes no other with it.
async fn fleet(bundle: &mut Bundle, facts: &Facts<'_>) {
    let Some(view) = facts.view else {
        return bundle.add("status.json", "{\"error\":\"no connection to Redis: see doctor.json\"}\n");
    };
    let limit = facts.limit;
    let shown =
        |text: Result<String, RedisError>| text.unwrap_or_else(|error| json_pretty(&json!({ "error": error.text })));
    let status = within(limit, async { Ok(json_pretty(&view.overview(COUNTED_MAX).await?)) });
    bundle.add("status.json", &shown(Box::pin(status).await));
    let alerts = within(limit, async { Ok(json_pretty(&view.alerts(COUNTED_MAX).await?)) });
    bundle.add("alerts.json", &shown(Box::pin(alerts).await));
    let replicas = within(limit, async { Ok(json_pretty(&view.replicas(&view.look().await?))) });
    bundle.add("replicas.json", &shown(Box::pin(replicas).await));
    let hosts = within(limit, async { Ok(json_pretty(&view.hosts_with_games().await?)) });
    bundle.add("hosts.json", &shown(Box::pin(hosts).await));
    let pending = within(limit, async { Ok(json_pretty(&view.pending(PENDING_MAX).await?)) });
    bundle.add("pending.json", &shown(Box::pin(pending).await));
    let letters = within(limit, dead_letters(view, facts.settings));
    bundle.add("dead-letters.json", &shown(Box::pin(letters).await));
    let info = within(limit, view.connection().info());
    bundle.add("redis-info.txt", &tame(shown(Box::pin(info).await)));
}

/// The newest dead letters without what their jobs carry.
async fn dead_letters(view: &View, settings: &Settings) -> Result<String, RedisError> {
    let letters = DeadLetters::latest(view.connection(), &settings.stream).await?;
    let shown: Vec<Map<String, Value>> = letters.iter().map(dead::outline).collect();
    Ok(json_pretty(&json!({ "newest": shown, "at_most": LATEST_MAX })))
}

/// Those of one replica, where it is at the address of these settings.
async fn metrics(bundle: &mut Bundle, facts: &Facts<'_>) {
    let text = match facts.settings.http_addr {
        None => "http-addr is off\n".to_owned(),
        Some(address) => match timeout(facts.limit, probe::metrics(address, facts.limit)).await {
            Ok(Ok(text)) => text,
            Ok(Err(why)) => format!("no replica at {address}: {why}\n"),
            Err(_) => format!("no replica at {address} answers\n"),
        },
    };
    bundle.add("metrics.txt", &text);
}

/// No other user may read it, and nothing is overwritten.
fn save(path: &Path, bundle: &Bundle) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let written = bundle.write(&mut file, now.as_secs()).and_then(|()| file.sync_all());
    if written.is_err() {
        // A half archive helps no one.
        drop(std::fs::remove_file(path));
    }
    written
}
