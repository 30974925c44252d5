//! `runtime pull`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::cli::session::Session;
use crate::cli::{exit, output};
use crate::contract::image_ref::ImageRef;
use crate::ops::SCHEMA_VERSION;
use crate::ops::printable::{json, printable};
use crate::ops::pulls::PullView;
use crate::redis::RedisError;
use crate::start::pulls::board::Written;
use crate::start::record::{HostLine, Standing};

/// Between two looks at the hosts.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);
const HEADINGS: [&str; 4] = ["host", "state", "replica", "detail"];

/// What is to be pulled, and where.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) image: ImageRef,
    /// None: every host that is alive.
    pub(super) host: Option<String>,
    pub(super) by: String,
    /// Do not wait.
    pub(super) detach: bool,
    /// Wait for so long.
    pub(super) within: Duration,
    pub(super) json: bool,
}

/// As JSON shows it.
#[derive(Debug, Serialize)]
struct Pulls {
    schema_version: u32,
    at_ms: u64,
    image_ref: String,
    hosts: Vec<PullView>,
}

/// Tells every host to pull an image, and waits until all have.
pub(super) async fn run(session: &Session, pull: &Pull) -> u8 {
    let hosts = match hosts(session, pull).await {
        Ok(Ok(hosts)) => hosts,
        Ok(Err(refusal)) => {
            output::complain(&refusal, "`startjobs runtime hosts` lists the hosts");
            return exit::FAILED;
        }
        Err(error) => return session.failed(&error),
    };
    let wish = uuid::Uuid::new_v4().simple().to_string();
    for host in &hosts {
        match session.ask(session.view.board().wish(host, pull.image.as_str(), &wish, &pull.by)).await {
            Ok(true) => {}
            Ok(false) => {
                let what = format!("host {} has too many pulls under way", printable(host));
                output::complain(&what, "try again when some have ended; `startjobs runtime hosts` lists the hosts");
                return exit::FAILED;
            }
            Err(error) => return session.failed(&error),
        }
    }
    match followed(session, pull, &hosts, &wish).await {
        Ok((pulls, code)) => {
            output::print(&if pull.json { json(&pulls) } else { text(&pulls) });
            code
        }
        Err(error) => session.failed(&error),
    }
}

/// Whether the host has an engine whose containers exist only in Redis: there is nothing to pull.
fn is_simulated(line: &HostLine) -> bool {
    let about: Option<serde_json::Value> = serde_json::from_str(&line.about).ok();
    about.is_some_and(|about| about["engine"] == "simulated")
}

/// The hosts that are to pull, or why there is none.
async fn hosts(session: &Session, pull: &Pull) -> Result<Result<Vec<String>, String>, RedisError> {
    let lines = session.ask(session.view.host_lines()).await?;
    if lines.hosts.values().any(is_simulated) {
        return Ok(Err("the engine of this fleet is simulated: it has no images to pull".to_owned()));
    }
    let is_alive = |host: &str| lines.standing(host, Duration::ZERO) == Standing::Alive;
    if let Some(host) = &pull.host {
        let shown = printable(host);
        return Ok(match lines.standing(host, Duration::ZERO) {
            Standing::Alive => Ok(vec![host.clone()]),
            Standing::Dead => Err(format!("host {shown} is dead; nothing was asked of it")),
            Standing::Unknown => Err(format!("there is no host {shown}")),
        });
    }
    // An engine that was called by other names before is asked once, by the name that was heard last.
    let mut by_engine: BTreeMap<&str, (&u64, &String)> = BTreeMap::new();
    for (name, line) in lines.hosts.iter().filter(|(name, _)| is_alive(name)) {
        let latest = by_engine.entry(&line.engine_key).or_insert((&line.seen_ms, name));
        if line.seen_ms > *latest.0 {
            *latest = (&line.seen_ms, name);
        }
    }
    let mut hosts: Vec<String> = by_engine.into_values().map(|(_, name)| name.clone()).collect();
    hosts.sort();
    Ok(if hosts.is_empty() { Err("no host is alive".to_owned()) } else { Ok(hosts) })
}

/// What the hosts say once all are done, or when the time is over; and the exit code.
async fn followed(session: &Session, pull: &Pull, hosts: &[String], wish: &str) -> Result<(Pulls, u8), RedisError> {
    let until = Instant::now() + pull.within;
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let at_ms = session.ask(session.view.connection().time_ms()).await?;
        let mut views = Vec::with_capacity(hosts.len());
        for host in hosts {
            let written = session.ask(session.view.board().written(host, pull.image.as_str())).await?;
            views.push(view_of(pull, host, written, wish, at_ms));
        }
        let is_over = |view: &PullView| matches!(view.state, "done" | "failed");
        let code = if pull.detach || views.iter().all(|view| view.state == "done") {
            Some(exit::DONE)
        } else if views.iter().all(is_over) {
            Some(exit::FAILED)
        } else {
            (Instant::now() >= until).then_some(exit::TIMED_OUT)
        };
        if let Some(code) = code {
            let image_ref = pull.image.as_str().to_owned();
            return Ok((Pulls { schema_version: SCHEMA_VERSION, at_ms, image_ref, hosts: views }, code));
        }
        say(&views, &mut told);
        sleep(LOOK_AGAIN_AFTER).await;
    }
}

fn view_of(pull: &Pull, host: &str, written: Written, wish: &str, at_ms: u64) -> PullView {
    let image = pull.image.as_str();
    let own = PullView::of(image, host, written, at_ms).filter(|view| view.wish == wish);
    // Forgotten, or another operator's by now.
    own.unwrap_or_else(|| PullView::replaced(image, host))
}

/// Says on stderr what has changed.
fn say(views: &[PullView], told: &mut BTreeMap<String, String>) {
    for view in views {
        let amount = if view.state == "pulling" { view.amount() } else { String::new() };
        let now = format!("{} {amount}", view.state);
        if told.get(&view.host) != Some(&now) {
            output::note(&format!("host {}: {}", printable(&view.host), printable(&view.sentence())));
            told.insert(view.host.clone(), now);
        }
    }
}

fn text(pulls: &Pulls) -> String {
    let row = |view: &PullView| {
        let replica = if view.replica.is_empty() { "-".to_owned() } else { printable(&view.replica) };
        [printable(&view.host), view.state.to_owned(), replica, printable(&view.sentence())]
    };
    let rows: Vec<[String; 4]> = pulls.hosts.iter().map(row).collect();
    output::table(HEADINGS, &rows)
}
