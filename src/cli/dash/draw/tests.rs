//! Every view in every state, on terminals of several sizes.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tokio::time::Instant;

use super::draw;
use crate::cli::dash::app::{App, Tab};
use crate::cli::dash::facts::Facts;
use crate::ops::SCHEMA_VERSION;
use crate::ops::history::{Point, Range, Timeline};
use crate::ops::verdict::Health;
use crate::stream::tally::Record;

const SIZES: [(u16, u16); 3] = [(60, 20), (80, 24), (160, 50)];

fn timeline(recorded: impl Fn(u64) -> bool) -> Timeline {
    let value =
        |at| format!("1 0 sent={at} started={at} failed.image_not_found=2 took.20=5 max_waiting=7 max_in_flight=3");
    let record = |at: u64| Record::read(&value(at), 0).filter(|_| recorded(at));
    let points: Vec<Point> = (0..60).map(|at| Point { start_ms: at * 60_000, recorded: record(at) }).collect();
    let total = points.iter().rev().find_map(|point| point.recorded.clone());
    Timeline { schema_version: SCHEMA_VERSION, at_ms: 3_599_000, range: Range::Hour, step_ms: 60_000, total, points }
}

fn facts() -> Facts {
    let texts = |first: &str| [first, "running", "1h", "16", "3", "4", "120ms"].map(str::to_owned);
    Facts {
        at_ms: 1_795_972_803_000,
        health: Health::Healthy,
        sentence: "healthy".to_owned(),
        problems: Vec::new(),
        alerts: Vec::new(),
        numbers: vec![
            ("waiting", "12, the oldest for 3.1s".to_owned()),
            ("in flight", "3".to_owned()),
            ("dead letters", "4".to_owned()),
            ("replicas", "3 alive, 0 draining".to_owned()),
            ("slots", "48".to_owned()),
            ("hosts", "1 alive".to_owned()),
        ],
        replicas: (0..40)
            .map(|number| texts(&format!("machine-{number}-0b5d7c1e-4a51-4c0e-9a3c-2f5bb3f0a001")))
            .collect(),
        hosts: vec![["host-1", "alive", "3", "48", "9", "7 of 9", "1.2s"].map(str::to_owned)],
        events: (0..99).map(|at| [format!("17:00:{at:02}"), "g1: a replica takes work".to_owned()]).collect(),
        timeline: timeline(|at| at > 19),
    }
}

fn degraded() -> Facts {
    let problems = ["no replica reads: 12 waiting", "the mirror 5-0 is not the watermark"].map(str::to_owned).to_vec();
    Facts {
        health: Health::Degraded,
        sentence: format!("degraded: {}", problems.join("; ")),
        problems,
        alerts: vec![["NoReplicas".to_owned(), "docs/runbooks.md#noreplicas".to_owned()]],
        ..facts()
    }
}

fn app(facts: Option<Facts>, seen_at: Instant) -> App {
    let mut app = App::new("startjobs".to_owned(), true);
    if let Some(facts) = facts {
        app.looked(Ok(facts), seen_at);
    }
    app
}

/// The lines of the screen, without what fills them up.
fn screen(app: &App, (width, height): (u16, u16), now: Instant) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, app, now)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

#[test]
fn every_view_of_every_state_fits_every_size() {
    let now = Instant::now();
    for size in SIZES {
        for (state, sentence) in [
            (None, "looking at the fleet"),
            (Some(facts()), "healthy"),
            (Some(degraded()), "degraded: no replica reads: 12 waiting;"),
            (Some(Facts { timeline: timeline(|_| false), ..facts() }), "healthy"),
        ] {
            for tab in Tab::ALL {
                let mut app = app(state.clone(), now);
                app.tab = tab;
                let lines = screen(&app, size, now);
                assert!(lines[0].starts_with(sentence), "{lines:#?}");
                assert!(lines[lines.len() - 1].starts_with("q quit  tab/1-5 view"), "{lines:#?}");
                assert!(lines.iter().any(|line| line.contains(" 1 overview ")), "{lines:#?}");
            }
        }
    }
}

#[test]
fn the_overview_has_the_numbers_and_charts_with_gaps() {
    let now = Instant::now();
    for size in SIZES {
        let lines = screen(&app(Some(facts()), now), size, now);
        assert!(lines.contains(&"waiting       12, the oldest for 3.1s".to_owned()), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("at 17:20:03 UTC")), "{lines:#?}");
        let title = lines.iter().position(|line| line.starts_with("started, 1h: 59 (bars to 59)")).expect("a chart");
        let bars = &lines[title + 1..=title + 2].join("\n");
        assert!(bars.contains('█') && bars.contains("····"), "{lines:#?}");
    }
    let mut plain = app(Some(facts()), now);
    plain.has_blocks = false;
    assert!(screen(&plain, (80, 24), now).iter().all(|line| line.is_ascii()));
}

#[test]
fn the_history_says_what_is_not_known() {
    let now = Instant::now();
    let mut app = app(Some(Facts { timeline: timeline(|_| false), ..facts() }), now);
    app.tab = Tab::History;
    for size in SIZES {
        assert!(screen(&app, size, now).contains(&"started, 1h: not known".to_owned()) || size.0 >= 100);
    }
    let wide = screen(&app, (160, 50), now);
    assert!(
        wide.iter().any(|line| line.contains("started, 1h") && line.contains("failed, 1h")),
        "two columns: {wide:#?}"
    );
}

#[test]
fn replicas_and_hosts_scroll_to_the_last_one() {
    let now = Instant::now();
    let mut app = app(Some(facts()), now);
    app.tab = Tab::Replicas;
    for size in SIZES {
        app.scroll = 0;
        let lines = screen(&app, size, now);
        assert!(lines.iter().any(|line| line.starts_with("machine-0-")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("host-1") && line.contains("7 of 9")), "{lines:#?}");
        app.scroll = 39;
        let lines = screen(&app, size, now);
        assert!(lines.iter().any(|line| line.starts_with("machine-39-") && line.ends_with("120ms")), "{lines:#?}");
    }
}

#[test]
fn problems_name_alerts_and_their_runbooks() {
    let now = Instant::now();
    let mut app = app(Some(degraded()), now);
    app.tab = Tab::Problems;
    for size in SIZES {
        let lines = screen(&app, size, now);
        for wanted in ["- no replica reads: 12 waiting", "- NoReplicas", "  docs/runbooks.md#noreplicas"] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:#?}");
        }
    }
}

#[test]
fn events_scroll_from_the_newest_to_the_oldest() {
    let now = Instant::now();
    let mut app = app(Some(facts()), now);
    app.tab = Tab::Events;
    for size in SIZES {
        app.scroll = 0;
        assert_eq!(screen(&app, size, now)[3], "17:00:00 g1: a replica takes work");
        app.scroll = 98;
        assert_eq!(screen(&app, size, now)[3], "17:00:98 g1: a replica takes work");
    }
}

#[test]
fn while_redis_is_away_the_last_numbers_stay_with_their_time() {
    let seen_at = Instant::now();
    let mut app = app(Some(facts()), seen_at);
    app.looked(Err("no answer within 5s".to_owned()), seen_at);
    let lines = screen(&app, (80, 24), seen_at + Duration::from_secs(75));
    assert_eq!(lines[1], "numbers of 17:20:03 UTC, 1m 15s old: no answer within 5s");
    assert!(lines.iter().any(|line| line.starts_with("waiting       12")), "{lines:#?}");
}

#[test]
fn how_to_pause_is_said_and_nothing_is_done() {
    let now = Instant::now();
    let mut app = app(Some(facts()), now);
    app.shows_pause = true;
    for size in SIZES {
        let text = screen(&app, size, now).join("\n");
        assert!(text.contains("startjobs pause --reason 'why'") && text.contains("startjobs resume"), "{text}");
    }
}

#[test]
fn any_size_is_drawn() {
    let now = Instant::now();
    for tab in Tab::ALL {
        let mut app = app(Some(degraded()), now);
        app.tab = tab;
        for size in [(1, 1), (2, 40), (40, 2), (10, 5), (3, 3), (59, 7), (400, 4), (5, 200)] {
            screen(&app, size, now);
            app.shows_pause = !app.shows_pause;
        }
    }
}
