//! What the user looks at, and what is known.

use std::time::Duration;

use tokio::time::Instant;

use super::facts::Facts;
use super::terminal::Input;
use crate::ops::history::Range;

/// One view of the fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tab {
    /// Numbers and the most important charts.
    #[default]
    Overview,
    /// All charts.
    History,
    /// Replicas and hosts.
    Replicas,
    /// Open problems and alerts.
    Problems,
    /// What happened lately.
    Events,
}

impl Tab {
    /// In the order of their keys.
    pub(super) const ALL: [Self; 5] = [Self::Overview, Self::History, Self::Replicas, Self::Problems, Self::Events];

    /// As it is shown.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::History => "history",
            Self::Replicas => "replicas",
            Self::Problems => "problems",
            Self::Events => "events",
        }
    }
}

/// What is to be done after an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Go on.
    Draw,
    /// Look at the fleet at once.
    Refresh,
    /// Leave.
    Quit,
}

/// What is shown.
#[derive(Debug)]
pub(super) struct App {
    /// The program, as the user has typed it.
    pub(super) program: String,
    /// Bars of blocks and not of ASCII.
    pub(super) has_blocks: bool,
    /// The view.
    pub(super) tab: Tab,
    /// Lines above the first one that is shown.
    pub(super) scroll: usize,
    /// How far back the charts reach.
    pub(super) range: Range,
    /// How to pause the fleet is shown.
    pub(super) shows_pause: bool,
    /// What was seen last, and when.
    pub(super) seen: Option<(Facts, Instant)>,
    /// Why nothing newer is known.
    pub(super) problem: Option<String>,
}

impl App {
    /// Nothing seen yet.
    pub(super) fn new(program: String, has_blocks: bool) -> Self {
        Self {
            program,
            has_blocks,
            tab: Tab::default(),
            scroll: 0,
            range: Range::default(),
            shows_pause: false,
            seen: None,
            problem: None,
        }
    }

    /// The fleet was looked at, or could not be: what was seen before stays.
    pub(super) fn looked(&mut self, looked: Result<Facts, String>, now: Instant) {
        match looked {
            Ok(facts) => {
                self.seen = Some((facts, now));
                self.problem = None;
            }
            Err(problem) => self.problem = Some(problem),
        }
    }

    /// How old what is shown is.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        self.seen.as_ref().map(|(_, at)| now.saturating_duration_since(*at))
    }

    /// The user wants something.
    pub(super) fn input(&mut self, input: Input) -> Step {
        match input {
            Input::Quit | Input::Gone => return Step::Quit,
            Input::Refresh => return Step::Refresh,
            Input::Range => {
                let at = Range::ALL.iter().position(|&range| range == self.range).unwrap_or_default();
                self.range = Range::ALL[(at + 1) % Range::ALL.len()];
                return Step::Refresh;
            }
            Input::Next => self.turn(1),
            Input::Previous => self.turn(Tab::ALL.len() - 1),
            Input::View(number) => {
                if let Some(&tab) = Tab::ALL.get(number) {
                    self.show(tab);
                }
            }
            Input::Scroll(lines) => {
                let many = usize::try_from(lines.unsigned_abs()).unwrap_or_default();
                self.scroll =
                    if lines < 0 { self.scroll.saturating_sub(many) } else { self.scroll.saturating_add(many) };
                self.scroll = self.scroll.min(self.lines().saturating_sub(1));
            }
            Input::Top => self.scroll = 0,
            Input::Pause => self.shows_pause = !self.shows_pause,
            Input::Close => self.shows_pause = false,
            Input::Resized => {}
        }
        Step::Draw
    }

    fn turn(&mut self, by: usize) {
        let at = Tab::ALL.iter().position(|&tab| tab == self.tab).unwrap_or_default();
        self.show(Tab::ALL[(at + by) % Tab::ALL.len()]);
    }

    fn show(&mut self, tab: Tab) {
        (self.tab, self.scroll, self.shows_pause) = (tab, 0, false);
    }

    /// Lines that this view scrolls through.
    fn lines(&self) -> usize {
        let Some((facts, _)) = &self.seen else { return 0 };
        match self.tab {
            Tab::Overview | Tab::History => 0,
            Tab::Replicas => facts.replicas.len().max(facts.hosts.len()),
            Tab::Events => facts.events.len(),
            Tab::Problems => facts.problems.len() + 2 * facts.alerts.len() + 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_move_between_the_views_and_never_beyond_them() {
        let mut app = App::new("startjobs".to_owned(), true);
        assert_eq!(app.input(Input::Previous), Step::Draw);
        assert_eq!(app.tab, Tab::Events);
        app.input(Input::Next);
        assert_eq!(app.tab, Tab::Overview);
        app.input(Input::View(8));
        assert_eq!(app.tab, Tab::Overview, "there is no ninth");
        app.input(Input::Scroll(10));
        app.input(Input::Scroll(-10));
        assert_eq!(app.scroll, 0);
        let ranges: Vec<Range> = (0..3).map(|_| (app.input(Input::Range), app.range).1).collect();
        assert_eq!(ranges, [Range::Day, Range::Month, Range::Hour]);
        app.input(Input::Pause);
        assert!(app.shows_pause);
        app.input(Input::Close);
        assert!(!app.shows_pause);
        assert_eq!((app.input(Input::Quit), app.input(Input::Gone)), (Step::Quit, Step::Quit));
    }

    #[test]
    fn what_was_seen_stays_while_redis_is_away() {
        let mut app = App::new("startjobs".to_owned(), true);
        let now = Instant::now();
        app.looked(Err("no answer".to_owned()), now);
        assert_eq!((app.age(now), app.problem.as_deref()), (None, Some("no answer")));
    }
}
