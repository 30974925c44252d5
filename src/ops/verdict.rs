//! The first sentence of `status`: is the fleet healthy, and if not, what is wrong.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::overview::Overview;
use super::printable::{printable, span, time};

/// In one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing is wrong.
    Healthy,
    /// An operator holds the fleet, and nothing is wrong besides.
    Paused,
    /// Something is wrong.
    Degraded,
}

/// An entry that waits longer than this although replicas read is worth a word.
const WAITS_LONG: Duration = Duration::from_secs(30);

/// Fills in what is wrong, and the sentence.
pub(super) fn judge(overview: &mut Overview, wrong_types: &[String], max_run: Duration) {
    let mut problems: Vec<String> = wrong_types.to_vec();
    problems.extend(overview.exhausted.iter().map(|stream| {
        format!("the stream {stream} has used the largest possible id: Redis refuses every further entry")
    }));
    problems.extend(unread(overview));
    problems.extend(slow(overview, max_run));
    problems.extend(stranded(overview));
    problems.extend(mirror(overview));
    let pause = pause(overview);
    (overview.health, overview.sentence) = match (problems.is_empty(), pause) {
        (true, None) => (Health::Healthy, "healthy".to_owned()),
        (true, Some(pause)) => (Health::Paused, pause),
        (false, pause) => {
            let all: Vec<String> = problems.iter().cloned().chain(pause).collect();
            (Health::Degraded, format!("degraded: {}", all.join("; ")))
        }
    };
    overview.problems = problems;
}

/// Reported only if it is wrong: entries wait, the fleet is not paused, and no replica is there.
fn unread(overview: &Overview) -> Option<String> {
    let (waiting, in_flight) = (overview.waiting.waiting, overview.in_flight.count);
    if overview.paused.is_some() || overview.replicas.running > 0 || waiting.count + in_flight == 0 {
        return None;
    }
    let what = match (waiting.count, in_flight) {
        (0, in_flight) => format!("{in_flight} in flight"),
        (_, 0) => format!("{} waiting", waiting.text()),
        (_, in_flight) => format!("{} waiting, {in_flight} in flight", waiting.text()),
    };
    Some(match overview.replicas.draining {
        0 if !overview.has_group => format!("no replica reads and there is no consumer group: {what}"),
        0 => format!("no replica reads: {what}"),
        draining => format!("every replica drains ({draining}): {what}"),
    })
}

fn slow(overview: &Overview, max_run: Duration) -> Vec<String> {
    let longer = |age: Option<u64>, limit: Duration| age.filter(|&age| u128::from(age) > limit.as_millis());
    let reads = overview.paused.is_none() && overview.replicas.running > 0;
    let waits = longer(overview.waiting.oldest_age_ms, WAITS_LONG)
        .filter(|_| reads)
        .map(|age| format!("{} waiting, the oldest for {}", overview.waiting.waiting.text(), span(age)));
    let runs = longer(overview.in_flight.oldest_age_ms, max_run).map(|age| {
        let id = overview.in_flight.oldest_id.as_deref().unwrap_or_default();
        format!("entry {id} has no answer after {}", span(age))
    });
    waits.into_iter().chain(runs).collect()
}

fn stranded(overview: &Overview) -> Option<String> {
    let (lost, stranded) = (overview.replicas.lost, overview.replicas.stranded);
    (stranded > 0).then(|| match lost {
        0 => format!("{stranded} in flight with a consumer that is no replica"),
        1 => format!("1 replica lost, {stranded} in flight with it"),
        lost => format!("{lost} replicas lost, {stranded} in flight with them"),
    })
}

fn mirror(overview: &Overview) -> Option<String> {
    let mirror = &overview.mirror;
    if mirror.exact != Some(false) && !mirror.foreign {
        return None;
    }
    let watermark = mirror.watermark.as_deref().unwrap_or("before the oldest entry in flight");
    Some(match &mirror.id {
        Some(id) => {
            let id = printable(id);
            format!("the offset mirror is at {id}, the watermark is {watermark}: another program writes the offset")
        }
        None => format!("there is no offset mirror, the watermark is {watermark}"),
    })
}

fn pause(overview: &Overview) -> Option<String> {
    let pause = overview.paused.as_ref()?;
    let mut text = "paused".to_owned();
    if pause.at_ms > 0 {
        _ = write!(text, " since {}", time(pause.at_ms));
    }
    if !pause.by.is_empty() {
        _ = write!(text, " by {}", printable(&pause.by));
    }
    if !pause.reason.is_empty() {
        _ = write!(text, " ({})", printable(&pause.reason));
    }
    Some(format!("{text}: {} waiting", overview.waiting.waiting.text()))
}
