//! The report on the terminal.

use std::fmt::Write as _;

use super::run_report::{RunReport, Stage};
use crate::bench::observe::memory::long_lived;
use crate::bench::observe::progress::micros;

/// Replicas that have a line of their own.
const REPLICAS_MAX: usize = 16;

/// All of it.
pub(crate) fn text(report: &RunReport) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    _ = writeln!(
        text,
        "{} x {} on Redis {} with AOF {}, {} cores, {} loop, seed {}\n\
         sent {} ({:.1}/s), late {}, failed {}; answered {} ({:.1}/s) in {:.1} s",
        report.replicas,
        report.subject,
        report.redis.version,
        report.redis.aof,
        report.cores,
        report.pace,
        report.seed,
        report.sent,
        report.sent_per_s,
        report.late,
        report.failed,
        report.answered,
        report.answered_per_s,
        report.took_s,
    );
    if report.verdict != "fine" {
        _ = writeln!(
            text,
            "VERDICT {}: the numbers say more about this machine's sending side than about the fleet",
            report.verdict
        );
    }
    if report.pace == "closed" {
        text.push_str("closed loop: entries wait to be sent, and latencies hide that queue\n");
    }
    text.push_str(
        "\nlatency from the intended send        p50        p90        p99      p99.9     p99.99        max\n",
    );
    for stage in &report.stages {
        text.push_str(&line(stage));
    }
    if report.stages.iter().any(|stage| ["finished", "settled"].contains(&stage.stage)) {
        text.push_str("finished and settled are other clocks' whole milliseconds\n");
    }
    costs(report, &mut text);
    memory(report, &mut text);
    faults(report, &mut text);
    books(report, &mut text);
    text
}

fn line(stage: &Stage) -> String {
    let columns = [stage.p50_us, stage.p90_us, stage.p99_us, stage.p999_us, stage.p9999_us, stage.max_us];
    let columns = columns.map(|us| format!("{:>11}", micros(us))).concat();
    format!("{:<30}{columns}\n", stage.stage)
}

fn costs(report: &RunReport, text: &mut String) {
    let cost = report.cost;
    let main = cost.redis_main_us_per_entry.map(|us| format!(" ({us:.1} of its main thread)")).unwrap_or_default();
    _ = writeln!(
        text,
        "\nprocessor time an entry: Redis {:.1} us{main}, replicas {:.1} us; replicas' memory {:.1} MiB",
        cost.redis_us_per_entry, cost.client_us_per_entry, cost.rss_mib
    );
}

fn memory(report: &RunReport, text: &mut String) {
    let shown = || long_lived(&report.memory).take(REPLICAS_MAX);
    for replica in shown() {
        let slope =
            replica.slope_mib_per_min.map(|slope| format!(", {slope:+.3} MiB/min once warm")).unwrap_or_default();
        _ = writeln!(
            text,
            "memory of a replica from {:.0} s to {:.0} s: {:.1} MiB at first, {:.1} at the end, {:.1} at most{slope}; {} files open, {} at most",
            replica.from_s,
            replica.to_s,
            replica.start_mib,
            replica.end_mib,
            replica.max_mib,
            replica.end_files,
            replica.max_files,
        );
    }
    let others = report.memory.len() - shown().count();
    if others > 0 {
        _ = writeln!(text, "and of {others} more, most of them replaced earlier");
    }
}

fn faults(report: &RunReport, text: &mut String) {
    for fault in &report.faults {
        let recovery = match fault.recovery_ms {
            Some(ms) => format!("the last of them answered {ms:.0} ms later"),
            None if fault.held == 0 => "nothing to recover".to_owned(),
            None => "NOT ALL ANSWERED".to_owned(),
        };
        _ = writeln!(
            text,
            "{:>7.1} s  {}, {} entries in hand, {recovery}",
            fault.at_s,
            fault.kind.as_str(),
            fault.held
        );
    }
}

fn books(report: &RunReport, text: &mut String) {
    let account = &report.account;
    text.push('\n');
    for (kind, count) in &account.outcomes {
        _ = writeln!(text, "{kind:<30}{count:>11}");
    }
    if report.lost_by_redis > 0 {
        _ = writeln!(
            text,
            "{:<30}{:>11}  acknowledged, and not in the surviving stream; {} answered all the same",
            "lost by Redis itself", report.lost_by_redis, report.lost_by_redis_answered
        );
    }
    for (what, count) in [
        ("malformed, to dead letters", account.malformed),
        ("lost", account.lost),
        ("answered twice", account.answered_twice),
        ("unexpected", account.unexpected),
        ("still pending", account.pending),
    ] {
        _ = writeln!(text, "{what:<30}{count:>11}");
    }
    for example in &account.examples {
        _ = writeln!(text, "! {example}");
    }
    for slo in &report.slos {
        let kept = if slo.kept { "kept" } else { "MISSED" };
        _ = writeln!(text, "slo {} {kept} (measured {:.6})", slo.slo, slo.measured);
    }
    text.push_str(if report.exact { "every entry got exactly its answer\n" } else { "NOT EXACT: see above\n" });
}
