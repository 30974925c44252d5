//! From texts to typed settings. Nothing stops at the first problem: an operator gets all of them at once.
//!
//! Each value is read by the shape its row in the table has; what two settings must be to each other is checked where
//! both are at hand, and only when both could be read, so that one mistake is one problem.

// all texts, and what is wrong with them
mod check;
// texts to values
mod parse;
// the groups of settings
mod engine;
mod faults;
mod page;
mod redis;
mod start;
mod streams;
mod tls;
mod worker;

use std::time::Duration;

use super::Settings;
use super::raw::Origin;
use super::report::Report;
use super::source::{Collected, Sources};
use crate::engine::config::{Config, EngineKind};
use crate::observe::config::LogFormat;
use crate::policy::config as policy;
use check::Check;

pub use check::ResolvedSetting;

/// Every setting, and how it came to be.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The typed settings.
    pub settings: Settings,
    /// Each setting in table order, as it may be shown.
    pub resolved: Vec<ResolvedSetting>,
    /// What is no error and yet looks like a mistake: one sentence each.
    pub warnings: Vec<String>,
}

impl Settings {
    /// Reads, validates and cross-checks everything, or tells everything that is wrong.
    pub fn load(sources: &Sources) -> Result<Loaded, Report> {
        let Collected { values, problems, warnings } = sources.collect();
        let mut check = Check::new(values, problems);
        match settings(&mut check) {
            Some(settings) if check.problems.is_empty() => {
                Ok(Loaded { settings, resolved: check.resolved(), warnings })
            }
            _ => Err(Report::new(check.problems)),
        }
    }
}

/// None only when a problem says why. Every group is read before the first missing one ends this.
fn settings(check: &mut Check) -> Option<Settings> {
    let redis = redis::settings(check);
    let stream = streams::settings(check);
    let worker = worker::settings(check);
    let mut engine = engine::settings(check, worker.as_ref().map(|worker| worker.slots));
    let start = start::settings(check, engine.as_ref().map(|engine| engine.kind));
    let policy_file = check.parsed("policy-file", policy_file);
    let faults = faults::settings(check);
    let log_format =
        check.choice("log-format", &[("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)]);
    let http_addr = check.parsed("http-addr", parse::http_addr);
    let page = page::settings(check, http_addr);
    let strict = check.switch("strict");
    ledger_outlives_runs(check);
    if let (Some(engine), Some(worker)) = (&mut engine, &worker) {
        // A max-run that is too short for everything is the problem to solve first.
        let max_run = Some(worker.max_run).filter(|max_run| *max_run >= worker.claim_idle);
        pulls_end_in_time(check, engine, max_run);
    }
    Some(Settings {
        redis: redis?,
        stream: stream?,
        worker: worker?,
        engine: engine?,
        start: start?,
        policy: policy::Config { file: policy_file? },
        faults: faults?,
        log_format: log_format?,
        http_addr: http_addr?,
        page: page?,
        strict: strict?,
    })
}

/// The file is read where it is needed: most commands need no policy, and a probe must not fail for one that is broken.
fn policy_file(text: &str) -> Result<Option<String>, String> {
    match text {
        "none" => Ok(None),
        "" => Err("must not be empty; name the policy, or write none to let every image run".to_owned()),
        _ => parse::text(text).map(Some),
    }
}

/// What was settled must be remembered for as long as someone may still be working on it.
fn ledger_outlives_runs(check: &mut Check) {
    let Some(ledger_ttl) = check.peek("ledger-ttl") else {
        return;
    };
    if let Some(max_run) = check.peek("max-run")
        && ledger_ttl <= max_run
    {
        let max_run = check.quoted("max-run");
        check.refuse(
            "ledger-ttl",
            format!("must be longer than {max_run}: an entry that is forgotten while a replica works on it is answered twice"),
        );
    }
    if let Some(claim_idle) = check.peek("claim-idle")
        && ledger_ttl < claim_idle
    {
        let claim_idle = check.quoted("claim-idle");
        check.refuse(
            "ledger-ttl",
            format!(
                "must be at least {claim_idle}: an entry that is forgotten before it can be claimed is answered twice"
            ),
        );
    }
}

/// A pull must end while its replica still has the job, or another one begins it again. Limits that are not set are lowered to
/// what fits.
fn pulls_end_in_time(check: &mut Check, engine: &mut Config, max_run: Option<Duration>) {
    if let Some(max_run) = max_run.filter(|max_run| engine.pull_timeout >= *max_run)
        && check.origin("pull-timeout") == Origin::Default
    {
        engine.pull_timeout = max_run * 2 / 3;
        check.show("pull-timeout", humantime::format_duration(engine.pull_timeout).to_string());
    }
    if engine.pull_silence > engine.pull_timeout && check.origin("pull-silence") == Origin::Default {
        engine.pull_silence = engine.pull_timeout;
        check.show("pull-silence", humantime::format_duration(engine.pull_silence).to_string());
    }
    if engine.kind == EngineKind::Docker && max_run.is_some_and(|max_run| engine.pull_timeout >= max_run) {
        let max_run = check.quoted("max-run");
        check.refuse(
            "pull-timeout",
            format!(
                "must be shorter than {max_run}: after that another replica takes over the job that waits for the pull"
            ),
        );
    }
    if engine.pull_silence > engine.pull_timeout {
        let pull_timeout = check.quoted("pull-timeout");
        check.refuse("pull-silence", format!("must not be longer than {pull_timeout}, which ends the pull before"));
    }
}
