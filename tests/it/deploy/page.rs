//! The page acts with the Redis user of its worker: what that user may not is refused and said, and changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::Surroundings;
use super::rights::{Guarded, await_that};
use crate::page::acts::Browser;
use crate::page::says;
use crate::support::scrape::free_port;
use crate::support::servers;

const TOKEN: &str = "a token of the test's own";
/// Every screen; a job and a game come with the test.
const SCREENS: [&str; 6] = ["/", "/?range=24h", "/jobs", "/dead", "/replicas", "/system"];
/// What doctor asks although an ordinary user may not, and does without.
const MAY_BE_REFUSED: [&str; 3] =
    ["startjobs: command acl|whoami", "startjobs: command acl|dryrun", "startjobs: command acl"];

/// A person who acts on the page of a replica that has the rights of its user and no others.
struct Stage {
    guarded: Guarded,
    fleet: Surroundings,
    http: String,
    browser: Browser,
    code: String,
}

impl Stage {
    async fn new(program: &Path, version: &str, options: &[&str]) -> Self {
        let guarded = Guarded::start_with(program, version, options);
        let (url, password) = (guarded.url("startjobs"), guarded.password_file("startjobs"));
        let token = password.with_file_name("token");
        fs::write(&token, TOKEN).expect("the folder is ours");
        let mut fleet = Surroundings::new(&[
            ("redis-url", &url),
            ("redis-password-file", password.to_str().expect("text")),
            ("retry-min", "10m"),
            ("retry-max", "10m"),
        ]);
        let http = format!("127.0.0.1:{}", free_port());
        fleet.replica_with(&[("http-addr", &http), ("admin-token-file", token.to_str().expect("text"))]);
        await_that(&fleet, "the page is served", || fleet.logs().contains("probes and metrics are served"));
        await_that(&fleet, "the group is there", || fleet.logs().contains("start jobs consumer started"));
        let mut browser = Browser::new(http.clone());
        let login = browser.post("/login", &[("token", TOKEN), ("name", "ann")]).await;
        assert!(login.words().is_empty(), "{}", login.words());
        let code = browser.code().await;
        Self { guarded, fleet, http, browser, code }
    }

    /// Sends a form whose question was answered; what the page says.
    async fn does(&mut self, path: &str, more: &[(&str, &str)]) -> String {
        let form = [&[("code", self.code.as_str()), ("confirmed", "yes"), ("reason", "rehearsal")], more].concat();
        self.browser.post(path, &form).await.words()
    }

    fn length(&self, stream: &str) -> String {
        self.guarded.asks("admin", &["XLEN", stream])
    }

    /// Lobby's own way; the id.
    fn append(&self, game: &str, image: &str) -> String {
        let job = ["XADD", "runtime:start_jobs", "*", "game_id", game, "image_ref", image, "requested_at_ms", "5"];
        self.guarded.asks("lobby", &job)
    }

    /// Dead letters, and a job that backs off; their ids.
    fn scene(&self) -> (Vec<String>, String) {
        for _ in 0..2 {
            self.guarded.asks("lobby", &["XADD", "runtime:start_jobs", "*", "game_id", "broken"]);
        }
        await_that(&self.fleet, "they are dead letters", || self.length("runtime:start_jobs:dead") == "2");
        let dead = self.guarded.asks("admin", &["XRANGE", "runtime:start_jobs:dead", "-", "+"]);
        // Each has its own id, and that of its entry.
        let is_id = |line: &&str| line.len() > 14 && line.ends_with("-0") && !line.contains(' ');
        let dead: Vec<String> = dead.lines().map(str::trim).filter(is_id).step_by(2).map(str::to_owned).collect();
        let stuck = self.append("stuck", "sim/retry");
        let attempts = || self.guarded.asks("admin", &["HGET", "runtime:start_jobs:attempts", &stuck]);
        await_that(&self.fleet, "an attempt has failed", || !attempts().is_empty());
        (dead, stuck)
    }

    /// A job that waits while the fleet is paused.
    async fn paused(&mut self) -> String {
        let told = self.does("/fleet/pause", &[]).await;
        assert!(told.contains("The fleet is paused."), "{told}");
        self.guarded.await_hold(&self.fleet);
        self.append("waits", "galaxy/engine:1")
    }

    /// Another replica comes, and is drained.
    async fn drains_another(&mut self) {
        let names = |stage: &Self| stage.guarded.asks("admin", &["HKEYS", "runtime:start_jobs:replicas"]);
        let first = names(self).trim().to_owned();
        self.fleet.replica();
        await_that(&self.fleet, "both are present", || names(self).lines().count() == 2);
        says(&self.http, "/replicas", "2 running").await;
        let all = names(self);
        let other = all.lines().map(str::trim).find(|name| !name.is_empty() && *name != first);
        let told = self.does("/replicas/drain", &[("replica", other.expect("it is present"))]).await;
        assert!(told.contains("It drains") || told.contains("It has left."), "{told}");
        says(&self.http, "/replicas", "1 running").await;
    }

    async fn reads_all(&self, job: &str) {
        for path in SCREENS.iter().map(|&path| path.to_owned()).chain([format!("/jobs/{job}"), "/games/stuck".into()]) {
            let words = self.browser.get(&path).await.words();
            assert!(!words.contains("did not answer") && !words.contains("NOPERM"), "{path}: {words}");
        }
    }

    fn refused(&self) -> Vec<String> {
        self.guarded.refused().into_iter().filter(|one| !MAY_BE_REFUSED.contains(&one.as_str())).collect()
    }
}

#[tokio::test]
async fn a_replicas_rights_are_enough_to_read_pause_drain_and_retry_and_the_page_says_what_else_is_refused() {
    for version in ["6.2", "7.0", "8.2"] {
        let program = if version == "7.0" { Some(PathBuf::from("redis-server")) } else { servers::fetched(version) };
        let Some(program) = program else { continue };
        refused_and_unchanged(&program, version).await;
    }
}

async fn refused_and_unchanged(program: &Path, version: &str) {
    let mut stage = Stage::new(program, version, &[]).await;
    let (dead, stuck) = stage.scene();
    stage.reads_all(&stuck).await;
    stage.drains_another().await;
    says(&stage.http, &format!("/jobs/{stuck}"), "backing off").await;
    let told = stage.does(&format!("/jobs/{stuck}/retry-now"), &[]).await;
    assert!(told.contains("does not wait any longer"), "{told}");
    let waits = stage.paused().await;
    assert_eq!(stage.refused(), Vec::<String>::new());

    let (letters, outcomes) = ("runtime:start_jobs:dead", "runtime:job_results");
    let before = (stage.length(letters), stage.length("runtime:start_jobs"), stage.length(outcomes));
    let id = [("id", dead[0].as_str())];
    for (path, form) in [
        ("/dead/requeue".to_owned(), &id[..]),
        ("/dead/remove".to_owned(), &id),
        (format!("/jobs/{waits}/cancel"), &[]),
    ] {
        let told = stage.does(&path, form).await;
        assert!(told.contains("Redis refused this, and nothing was changed"), "{path}: {told}");
        assert!(told.contains("+xdel") && told.contains("#page"), "{path}: {told}");
    }
    let after = (stage.length(letters), stage.length("runtime:start_jobs"), stage.length(outcomes));
    assert_eq!(after, before, "nothing was changed");
    let told = stage.does("/fleet/resume", &[]).await;
    assert!(told.contains("The fleet goes on."), "{told}");
    stage.fleet.drain();
}

#[tokio::test]
async fn with_the_rights_of_its_line_the_page_does_all_it_offers() {
    for version in ["6.2", "7.0", "8.2"] {
        let program = if version == "7.0" { Some(PathBuf::from("redis-server")) } else { servers::fetched(version) };
        let Some(program) = program else { continue };
        let mut stage = Stage::new(&program, version, &["--page"]).await;
        let (dead, stuck) = stage.scene();
        stage.reads_all(&stuck).await;
        let told = stage.does("/dead/requeue", &[("id", &dead[0])]).await;
        assert!(told.contains("1 of 1 dead letter put back"), "{version}: {told}");
        let told = stage.does("/dead/remove", &[("id", &dead[1])]).await;
        assert!(told.contains("1 of 1 dead letter removed"), "{version}: {told}");
        let told = stage.does(&format!("/jobs/{stuck}/cancel"), &[]).await;
        assert!(told.contains("Cancelled."), "{version}: {told}");
        let waits = stage.paused().await;
        let told = stage.does(&format!("/jobs/{waits}/cancel"), &[]).await;
        assert!(told.contains("Cancelled before any replica had read it."), "{version}: {told}");
        let told = stage.does("/fleet/resume", &[]).await;
        assert!(told.contains("The fleet goes on."), "{version}: {told}");
        assert_eq!(stage.refused(), Vec::<String>::new(), "{version}");
        stage.fleet.drain();
    }
}
