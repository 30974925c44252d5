//! What a person sees during a run: a bar with rate and rolling p99 on a terminal, elsewhere a line every five seconds.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::books::Books;

const LINE_INTERVAL: Duration = Duration::from_secs(5);
const BAR_INTERVAL: Duration = Duration::from_millis(200);
/// Seconds that the rolling numbers look back.
const ROLLING: usize = 5;

/// Progress of a run, on stderr.
#[derive(Debug)]
pub(crate) struct Progress {
    length: Duration,
    bar: Option<ProgressBar>,
    next: Duration,
}

impl Progress {
    /// Nothing yet, of a run of this length.
    pub(crate) fn new(length: Duration) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("[{bar:30}] {elapsed}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let total = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            ProgressBar::new(total).with_style(style.progress_chars("=> "))
        });
        Self { length, bar, next: Duration::ZERO }
    }

    /// The state of the run at this moment.
    pub(crate) fn at(&mut self, now: Duration, books: &Books) {
        if now < self.next {
            return;
        }
        let is_first = self.next.is_zero();
        self.next = now + if self.bar.is_some() { BAR_INTERVAL } else { LINE_INTERVAL };
        let p99 = micros(books.recent(ROLLING).value_at_quantile(0.99));
        let recent = books.seconds.iter().rev().skip(1).take(ROLLING);
        let answered: u64 = recent.clone().map(|second| second.answered).sum();
        let rate = answered / (recent.count() as u64).max(1);
        let state = format!(
            "{} sent, {} answered, {} in flight, {rate}/s, p99 {p99}, {} late, {} failed",
            books.left,
            books.answered,
            books.in_flight(),
            books.late,
            books.failed
        );
        match &self.bar {
            Some(bar) => {
                bar.set_position(u64::try_from(now.min(self.length).as_millis()).unwrap_or(u64::MAX));
                bar.set_message(state);
            }
            None if is_first => {}
            None => eprintln!("{:>4}s: {state}", now.as_secs()),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Microseconds for people.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn micros(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}
