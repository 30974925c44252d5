//! The whole screen. Everything is cut where there is no room for it.

// every view on terminals of several sizes
#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph, Row, Table, Wrap};
use tokio::time::Instant;

use crate::cli::dash::app::{App, Tab};
use crate::cli::dash::chart::{CHARTS, Chart};
use crate::cli::dash::facts::Facts;
use crate::ops::printable::{span, time};
use crate::ops::verdict::Health;

/// Lines of the sentence at most.
const SENTENCE_MAX: u16 = 3;
/// Lines of a chart at least, and at most, with its name.
const CHART_MIN: u16 = 3;
const CHART_MAX: u16 = 9;
/// From this width on charts have two columns.
const TWO_COLUMNS: u16 = 100;

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, app: &App, now: Instant) {
    let area = frame.area();
    let (sentence, colour) = sentence(app);
    let lines = wrapped(&sentence, area.width).min(SENTENCE_MAX);
    let rows = [lines, 1, 1].map(Constraint::Length);
    let [head, state, tabs, body, foot] =
        Layout::vertical([rows[0], rows[1], rows[2], Constraint::Min(0), Constraint::Length(1)]).areas(area);
    let style = Style::new().fg(colour).add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(sentence).style(style).wrap(Wrap { trim: true }), head);
    frame.render_widget(standing(app, now), state);
    frame.render_widget(tab_line(app), tabs);
    if let Some((facts, _)) = &app.seen {
        match app.tab {
            Tab::Overview => overview(frame, body, app, facts),
            Tab::History => charts(frame, body, &CHARTS, facts, app.has_blocks),
            Tab::Replicas => replicas(frame, body, app, facts),
            Tab::Problems => problems(frame, body, app, facts),
            Tab::Events => events(frame, body, app, facts),
        }
    }
    if app.shows_pause {
        pause(frame, body, &app.program);
    }
    let keys = "q quit  tab/1-5 view  arrows scroll  t range  r refresh  p pause";
    frame.render_widget(Line::styled(keys, Modifier::DIM), foot);
}

fn sentence(app: &App) -> (String, Color) {
    let Some((facts, _)) = &app.seen else { return ("looking at the fleet".to_owned(), Color::Reset) };
    let colour = match facts.health {
        Health::Healthy => Color::Green,
        Health::Paused => Color::Yellow,
        Health::Degraded | Health::Down | Health::NoFleet => Color::Red,
        Health::Unknown => Color::Reset,
    };
    (facts.sentence.clone(), colour)
}

/// Lines that a text needs, words left out of account: one more than letters alone would need.
fn wrapped(text: &str, width: u16) -> u16 {
    let letters = text.chars().count();
    let lines = letters.div_ceil(usize::from(width.max(1)));
    u16::try_from(if lines > 1 { lines + 1 } else { lines }).unwrap_or(u16::MAX)
}

/// Of when the numbers are, or why there are no newer ones.
fn standing(app: &App, now: Instant) -> Line<'static> {
    let seen = app.seen.as_ref().map(|(facts, _)| time(facts.at_ms)[11..19].to_owned());
    let age = app.age(now).map(|age| span(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
    match (&app.problem, seen.zip(age)) {
        (None, None) => Line::default(),
        (None, Some((at, _))) => Line::styled(format!("at {at} UTC"), Modifier::DIM),
        (Some(problem), None) => Line::styled(problem.clone(), Color::Red),
        (Some(problem), Some((at, age))) => {
            Line::styled(format!("numbers of {at} UTC, {age} old: {problem}"), Style::new().fg(Color::Red))
        }
    }
}

fn tab_line(app: &App) -> Line<'static> {
    let name = |(at, tab): (usize, &Tab)| {
        let style = if *tab == app.tab { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        [Span::styled(format!(" {} {} ", at + 1, tab.name()), style), Span::raw(" ")]
    };
    Line::from(Tab::ALL.iter().enumerate().flat_map(name).collect::<Vec<_>>())
}

fn overview(frame: &mut Frame<'_>, area: Rect, app: &App, facts: &Facts) {
    let lines: Vec<Line<'_>> =
        facts.numbers.iter().map(|(name, value)| Line::from(format!("{name:13} {value}"))).collect();
    let [numbers, below] =
        Layout::vertical([Constraint::Length(u16::try_from(lines.len()).unwrap_or(6) + 1), Constraint::Min(0)])
            .areas(area);
    frame.render_widget(Paragraph::new(lines), numbers);
    charts(frame, below, &CHARTS[..4], facts, app.has_blocks);
}

/// As many as there is room for.
fn charts(frame: &mut Frame<'_>, area: Rect, charts: &[Chart], facts: &Facts, has_blocks: bool) {
    let columns: u16 = if area.width >= TWO_COLUMNS { 2 } else { 1 };
    let wanted = u16::try_from(charts.len()).unwrap_or(u16::MAX).div_ceil(columns);
    let rows = (area.height / CHART_MIN).min(wanted);
    if rows == 0 {
        return;
    }
    let height = (area.height / rows).min(CHART_MAX);
    let lines = Layout::vertical((0..rows).map(|_| Constraint::Length(height))).split(area);
    let cells = lines.iter().flat_map(|&line| {
        let cells = Layout::horizontal((0..columns).map(|_| Constraint::Fill(1))).spacing(2).split(line);
        cells.to_vec()
    });
    for (chart, cell) in charts.iter().zip(cells) {
        // A line is left free below each.
        let cell = Rect { height: cell.height.saturating_sub(u16::from(cell.height > CHART_MIN)), ..cell };
        chart.draw(frame, cell, &facts.timeline, has_blocks);
    }
}

fn replicas(frame: &mut Frame<'_>, area: Rect, app: &App, facts: &Facts) {
    let rows = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).saturating_add(2);
    let hosts = rows(facts.hosts.len()).min((area.height / 3).max(3));
    let [above, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(hosts)]).areas(area);
    let headings = ["REPLICA", "STATE", "UP", "SLOTS", "BUSY", "HELD", "SEEN"];
    table(frame, above, headings, [8, 7, 5, 4, 5, 7], &facts.replicas, app.scroll);
    let headings = ["HOST", "STANDING", "REPLICAS", "SLOTS", "BUSY", "GAMES", "HEARD"];
    table(frame, below, headings, [8, 8, 5, 4, 7, 7], &facts.hosts, app.scroll);
}

/// The first column takes what the others leave.
fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    headings: [&'static str; 7],
    widths: [u16; 6],
    rows: &[[String; 7]],
    scroll: usize,
) {
    let scroll = scroll.min(rows.len().saturating_sub(1));
    let widths = std::iter::once(Constraint::Min(8)).chain(widths.map(Constraint::Length));
    let shown =
        rows.iter().skip(scroll).take(usize::from(area.height)).map(|row| Row::new(row.each_ref().map(String::as_str)));
    let head = Row::new(headings).style(Style::new().add_modifier(Modifier::BOLD));
    frame.render_widget(Table::new(shown, widths).header(head).column_spacing(1), area);
}

fn problems(frame: &mut Frame<'_>, area: Rect, app: &App, facts: &Facts) {
    let bold = |text: &str| Line::styled(text.to_owned(), Modifier::BOLD);
    let mut lines = vec![bold("PROBLEMS")];
    lines.extend(facts.problems.iter().map(|problem| Line::from(format!("- {problem}"))));
    if facts.problems.is_empty() {
        lines.push(Line::from("none"));
    }
    lines.push(bold("ALERTS"));
    for [alert, runbook] in &facts.alerts {
        lines.push(Line::from(format!("- {alert}")));
        lines.push(Line::styled(format!("  {runbook}"), Modifier::DIM));
    }
    if facts.alerts.is_empty() {
        lines.push(Line::from("none fires, as far as Redis shows"));
    }
    let scroll = u16::try_from(app.scroll).unwrap_or(u16::MAX);
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((scroll, 0)), area);
}

fn events(frame: &mut Frame<'_>, area: Rect, app: &App, facts: &Facts) {
    let line = |[at, text]: &[String; 2]| Line::from(format!("{at} {text}"));
    let mut lines: Vec<Line<'_>> =
        facts.events.iter().skip(app.scroll).take(usize::from(area.height)).map(line).collect();
    if facts.events.is_empty() {
        lines.push(Line::from("nothing is kept"));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// This view changes nothing: it says which commands do.
fn pause(frame: &mut Frame<'_>, area: Rect, program: &str) {
    let lines = [
        "Nothing is changed from here. In another terminal, with the same settings:".to_owned(),
        String::new(),
        format!("{program} pause --reason 'why'   hold the fleet: nothing is read or claimed"),
        format!("{program} resume                 let it go on"),
        String::new(),
        "esc or p closes this".to_owned(),
    ];
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines.map(Line::from).to_vec()).wrap(Wrap { trim: false }), area);
}
