//! One page to look at: no script, nothing loaded from anywhere, light and dark as the reader's system is.

use std::fmt::Write as _;

use super::run_report::{RunReport, SeriesSecond};
use super::svg::{Axis, Chart, Line, escaped, latency, linear, short};
use crate::bench::observe::memory::FleetMemory;
use crate::bench::observe::progress::micros;

const STYLE: &str = include_str!("page.css");

/// The page.
pub(crate) fn html(report: &RunReport) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>startjobs bench: {0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>startjobs bench: {0}</h1>\n",
        escaped(&title(report))
    );
    head(report, &mut page);
    cards(report, &mut page);
    charts(report, &mut page);
    stages(report, &mut page);
    faults(report, &mut page);
    books(report, &mut page);
    parameters(report, &mut page);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn title(report: &RunReport) -> String {
    format!("{} x {}, {} loop", report.replicas, report.subject, report.pace)
}

fn head(report: &RunReport, page: &mut String) {
    let began = std::time::UNIX_EPOCH + std::time::Duration::from_millis(report.began_at_ms);
    // Writing to a String cannot fail.
    _ = writeln!(
        page,
        "<p class=\"soft\">{} UTC · Redis {} with AOF {} · {} cores · sent for {:.1} s</p>",
        humantime::format_rfc3339_seconds(began).to_string().replace('T', " ").trim_end_matches('Z'),
        escaped(&report.redis.version),
        escaped(&report.redis.aof),
        report.cores,
        report.sending_s
    );
    let verdict = if report.exact {
        "<strong class=\"good\">✓ Every entry got exactly its answer.</strong>"
    } else {
        "<strong class=\"bad\">✗ Not every entry got exactly its answer: see the account.</strong>"
    };
    let bound = if report.verdict == "fine" {
        ""
    } else {
        " <strong class=\"bad\">✗ Generator-bound: more than one send in a hundred was late or failed, so the numbers say more about the sending side.</strong>"
    };
    _ = writeln!(page, "<p>{verdict}{bound}</p>");
}

fn cards(report: &RunReport, page: &mut String) {
    let seen = report.stages.iter().find(|stage| stage.stage == "seen");
    let (p50, p99) = seen.map_or((0, 0), |stage| (stage.p50_us, stage.p99_us));
    let cards = [
        (format!("{}/s", short(report.sent_per_s)), "sent"),
        (short(to_f64(report.answered)), "answered"),
        (micros(p50), "median latency"),
        (micros(p99), "p99 latency"),
        (format!("{:.1} µs", report.cost.redis_us_per_entry), "Redis CPU an entry"),
        (format!("{:.1} µs", report.cost.client_us_per_entry), "replica CPU an entry"),
    ];
    page.push_str("<div class=\"cards\">\n");
    for (value, name) in cards {
        _ = writeln!(page, "<div class=\"card\"><b>{}</b><span class=\"soft\">{name}</span></div>", escaped(&value));
    }
    page.push_str("</div>\n");
}

#[expect(clippy::cast_precision_loss, reason = "what a chart shows has three digits")]
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "what a chart shows has three digits")]
fn line<'a>(name: &'a str, style: usize, series: &[SeriesSecond], value: impl Fn(&SeriesSecond) -> u64) -> Line<'a> {
    let points = series.iter().map(|one| (one.second as f64, to_f64(value(one)))).collect();
    Line { name, style, points }
}

fn charts(report: &RunReport, page: &mut String) {
    let all = &report.series;
    // The last second is not whole.
    let series = &all[..all.len().saturating_sub(1)];
    let marks: Vec<(f64, &'static str)> = report.faults.iter().map(|fault| (fault.at_s, fault.kind.as_str())).collect();
    let time = linear("seconds from the beginning", report.took_s.max(1.0));
    let time = Axis { range: (0.0, report.took_s.max(1.0)), ..time };
    let time = Axis { ticks: time.ticks.into_iter().filter(|(at, _)| *at <= report.took_s.max(1.0)).collect(), ..time };
    let over_time =
        |id, description: String, y, lines| Chart { id, description, x: time.clone(), y, lines, marks: marks.clone() };
    let largest =
        |lines: &[Line<'_>]| lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);

    let lines = vec![line("sent", 0, series, |one| one.sent), line("answered", 1, series, |one| one.answered)];
    let description = format!("Entries sent and answered in each of {} seconds.", series.len());
    let y = linear("entries per second", largest(&lines));
    chart("Throughput, entries per second", &over_time("throughput", description, y, lines), page);

    let measured: Vec<SeriesSecond> = series.iter().filter(|one| one.max_us > 0).copied().collect();
    let lines = vec![
        line("p50", 0, &measured, |one| one.p50_us),
        line("p99", 1, &measured, |one| one.p99_us),
        line("max", 2, &measured, |one| one.max_us),
    ];
    let smallest = measured.iter().map(|one| to_f64(one.p50_us)).fold(f64::INFINITY, f64::min);
    let y = latency("latency", smallest, largest(&lines));
    let description = "Median, 99th percentile and largest latency of the outcomes seen in each second.".to_owned();
    chart("Latency over time", &over_time("latency", description, y, lines), page);

    percentiles(report, page);

    let lines = vec![line("in flight", 0, series, |one| one.in_flight)];
    let y = linear("entries", largest(&lines));
    let description = "Entries sent and not yet answered at the end of each second.".to_owned();
    chart("In flight, entries", &over_time("in-flight", description, y, lines), page);
    memory(report, &time, marks, page);
    table_of(series, page);
}

fn memory(report: &RunReport, time: &Axis<'_>, marks: Vec<(f64, &'static str)>, page: &mut String) {
    let series = &report.memory_series;
    if series.is_empty() {
        return;
    }
    let line = |name, style, value: fn(&FleetMemory) -> f64| {
        let points = series.iter().map(|one| (one.at_s, value(one))).collect();
        Line { name, style, points }
    };
    let lines = vec![line("least", 0, |one| one.least_mib), line("most", 1, |one| one.most_mib)];
    let y = linear("MiB", series.iter().map(|one| one.most_mib).fold(0.0, f64::max));
    let description = "Resident memory of the replica with the least and of the one with the most.".to_owned();
    chart("Memory of a replica, MiB", &Chart { id: "memory", description, x: time.clone(), y, lines, marks }, page);
}

/// Latency by percentile; each nine takes the same width.
fn percentiles(report: &RunReport, page: &mut String) {
    let at = |percentile: f64| 100.0 / (100.0 - percentile.min(99.999));
    let points: Vec<(f64, f64)> = report.percentiles.iter().map(|(p, us)| (at(*p), to_f64(*us))).collect();
    let ticks = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999].map(|p| (at(p), format!("{p}%")));
    let x = Axis { label: "percentile", range: (1.0, at(99.999)), ticks: ticks.into(), is_log: true };
    let values = points.iter().map(|point| point.1);
    let y = latency("latency", values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max));
    let description = "Latency from the intended send to the outcome seen, by percentile.".to_owned();
    let lines = vec![Line { name: "latency", style: 0, points }];
    chart("Latency by percentile", &Chart { id: "percentiles", description, x, y, lines, marks: Vec::new() }, page);
}

fn chart(title: &str, chart: &Chart<'_>, page: &mut String) {
    _ = writeln!(page, "<section aria-labelledby=\"{0}-h\"><h2 id=\"{0}-h\">{1}</h2>", chart.id, escaped(title));
    page.push_str("<ul class=\"legend\">");
    for line in &chart.lines {
        _ = write!(
            page,
            "<li><svg viewBox=\"0 0 34 10\" aria-hidden=\"true\"><line class=\"line l{}\" x1=\"0\" x2=\"34\" y1=\"5\" y2=\"5\"/></svg>{}</li>",
            line.style,
            escaped(line.name)
        );
    }
    if !chart.marks.is_empty() {
        page.push_str("<li><svg viewBox=\"0 0 34 10\" aria-hidden=\"true\"><g class=\"mark\"><path d=\"M17 9 l-4 -7 h8 z\"/></g></svg>fault (see the table)</li>");
    }
    page.push_str("</ul>\n");
    page.push_str(&chart.svg());
    page.push_str("</section>\n");
}

/// The numbers behind the charts, for those who cannot see them.
fn table_of(series: &[SeriesSecond], page: &mut String) {
    page.push_str("<section><details><summary>The numbers of these charts</summary>\n<table>\n<thead><tr><th scope=\"col\">second</th><th scope=\"col\">sent</th><th scope=\"col\">answered</th><th scope=\"col\">in flight</th><th scope=\"col\">p50</th><th scope=\"col\">p99</th><th scope=\"col\">max</th></tr></thead>\n<tbody>\n");
    let every = series.len().div_ceil(300).max(1);
    for one in series.iter().step_by(every) {
        _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            one.second,
            one.sent,
            one.answered,
            one.in_flight,
            micros(one.p50_us),
            micros(one.p99_us),
            micros(one.max_us)
        );
    }
    page.push_str("</tbody>\n</table></details></section>\n");
}

fn stages(report: &RunReport, page: &mut String) {
    page.push_str("<section aria-labelledby=\"stages-h\"><h2 id=\"stages-h\">Latency by stage, from the intended send</h2>\n<table>\n<thead><tr><th scope=\"col\">stage</th><th scope=\"col\">count</th><th scope=\"col\">p50</th><th scope=\"col\">p90</th><th scope=\"col\">p99</th><th scope=\"col\">p99.9</th><th scope=\"col\">p99.99</th><th scope=\"col\">max</th></tr></thead>\n<tbody>\n");
    for stage in &report.stages {
        let columns = [stage.p50_us, stage.p90_us, stage.p99_us, stage.p999_us, stage.p9999_us, stage.max_us];
        let columns = columns.map(|us| format!("<td>{}</td>", micros(us))).concat();
        _ = writeln!(page, "<tr><td>{}</td><td>{}</td>{columns}</tr>", escaped(stage.stage), stage.count);
    }
    page.push_str("</tbody>\n</table>\n<p class=\"soft\">appended: Redis's reply to the XADD was read. finished: the start service had answered. settled: Redis took the outcome. seen: a blocked reader had it. finished and settled are whole milliseconds of other clocks.</p>\n</section>\n");
}

fn faults(report: &RunReport, page: &mut String) {
    if report.faults.is_empty() {
        return;
    }
    page.push_str("<section aria-labelledby=\"faults-h\"><h2 id=\"faults-h\">Faults</h2>\n<table>\n<thead><tr><th scope=\"col\">what</th><th scope=\"col\">at</th><th scope=\"col\">entries in hand</th><th scope=\"col\">last of them answered after</th></tr></thead>\n<tbody>\n");
    for fault in &report.faults {
        let recovery = match fault.recovery_ms {
            Some(ms) => format!("{ms:.0} ms"),
            None if fault.held == 0 => "–".to_owned(),
            None => "<strong class=\"bad\">✗ not all answered</strong>".to_owned(),
        };
        _ = writeln!(
            page,
            "<tr><td>{}</td><td>{:.1} s</td><td>{}</td><td>{recovery}</td></tr>",
            fault.kind.as_str(),
            fault.at_s,
            fault.held
        );
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}

fn books(report: &RunReport, page: &mut String) {
    let account = &report.account;
    page.push_str("<section aria-labelledby=\"account-h\"><h2 id=\"account-h\">Account</h2>\n<table>\n<tbody>\n");
    let mut rows: Vec<(String, String)> = vec![("sent".to_owned(), report.sent.to_string())];
    rows.extend([
        ("late".to_owned(), report.late.to_string()),
        ("failed to send".to_owned(), report.failed.to_string()),
    ]);
    if report.lost_by_redis > 0 {
        rows.push((
            "lost by Redis itself: acknowledged, and not in the surviving stream".to_owned(),
            report.lost_by_redis.to_string(),
        ));
        rows.push(("of them answered all the same".to_owned(), report.lost_by_redis_answered.to_string()));
    }
    rows.extend(account.outcomes.iter().map(|(kind, count)| (format!("outcome: {kind}"), count.to_string())));
    rows.push(("malformed, to dead letters".to_owned(), account.malformed.to_string()));
    for (what, count) in [
        ("lost", account.lost),
        ("answered twice", account.answered_twice),
        ("unexpected", account.unexpected),
        ("still pending", account.pending),
    ] {
        rows.push((what.to_owned(), if count == 0 { "0".to_owned() } else { format!("✗ {count}") }));
    }
    rows.extend(
        report
            .slos
            .iter()
            .map(|slo| (format!("slo {}", slo.slo), if slo.kept { "✓ kept" } else { "✗ missed" }.to_owned())),
    );
    for (name, value) in rows {
        let class = match value.chars().next() {
            Some('✗') => " class=\"bad\"",
            Some('✓') => " class=\"good\"",
            _ => "",
        };
        _ = writeln!(page, "<tr><td>{}</td><td{class}>{}</td></tr>", escaped(&name), escaped(&value));
    }
    page.push_str("</tbody>\n</table>\n");
    for example in &account.examples {
        _ = writeln!(page, "<p class=\"bad\">{}</p>", escaped(example));
    }
    page.push_str("</section>\n");
}

fn parameters(report: &RunReport, page: &mut String) {
    page.push_str(
        "<section aria-labelledby=\"parameters-h\"><h2 id=\"parameters-h\">Parameters</h2>\n<table class=\"texts\">\n<tbody>\n",
    );
    let mix = serde_json::to_string(&report.mix).unwrap_or_default();
    let mut rows = vec![
        ("seed".to_owned(), report.seed.to_string()),
        ("warm-up, seconds".to_owned(), report.warmup_s.to_string()),
        ("mix".to_owned(), mix),
        ("log level".to_owned(), report.log_level.clone()),
    ];
    rows.extend(report.settings.iter().cloned());
    for (name, value) in rows {
        _ = writeln!(page, "<tr><td>{}</td><td>{}</td></tr>", escaped(&name), escaped(&value));
    }
    page.push_str("</tbody>\n</table>\n</section>\n");
}
