//! What a person sees while the demonstration runs: a bar on a terminal, elsewhere a line a second at most.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Progress towards `total` answers, on stderr.
pub(super) struct Progress {
    label: &'static str,
    total: usize,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    pub(super) fn new(label: &'static str, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} [{bar:40}] {pos}/{len} answered, {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX));
            bar.with_style(style.progress_chars("=> ")).with_prefix(label)
        });
        Self { label, total, bar, last_line: Instant::now() }
    }

    /// So much has been sent and so much answered.
    pub(super) fn at(&mut self, sent: usize, answered: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{sent} sent"));
            bar.set_position(answered);
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            eprintln!("{}: {sent} of {} sent, {answered} answered", self.label, self.total);
            self.last_line = Instant::now();
        }
    }

    /// Something worth a line of its own.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
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
