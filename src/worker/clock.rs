//! The server's clock, as this process has last heard it: whether a job is late, and how old it is, must not depend on the
//! clock of the machine that a replica happens to run on.
//!
//! Heard with every renewal, and carried on by the process's own monotonic clock in between.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::redis::server_clock::ServerClock;
use crate::stream::entry_id::EntryId;

/// What is heard further ahead than this of what was expected is a step of the server's clock: answers that were under way
/// for so long are not heard.
const STEP: Duration = Duration::from_secs(1);

/// The server's clock.
#[derive(Debug)]
pub(crate) struct Clock {
    /// How long a step forward is not believed where it would condemn.
    doubt: Duration,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    server: Option<ServerClock>,
    /// The clock as it went before it stepped forward, and how long that one is believed too.
    before: Option<(ServerClock, Instant)>,
}

impl Clock {
    /// Nothing heard yet. A step forward makes no job late for `limit`, the age from which on a job is late: by then every
    /// job that was there before the step is late by any clock.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        Self { doubt: limit.unwrap_or_default(), heard: Mutex::default() }
    }

    /// An answer that has just come to what was asked at this moment says that it is so many Unix milliseconds.
    pub(crate) fn hear(&self, ms: u64, asked: Instant) {
        self.hear_at(ms, asked, Instant::now());
    }

    fn hear_at(&self, ms: u64, asked: Instant, now: Instant) {
        let mut heard = self.lock();
        if heard.server.is_some() && now.duration_since(asked) > STEP {
            return;
        }
        if let Some(server) = heard.server
            && ms > server.ms_at(now).saturating_add(millis(STEP))
        {
            // Of several steps the first one's clock counts: it is the one that was observed for longest.
            let (before, _) = heard.before.filter(|&(_, until)| now < until).unwrap_or((server, now));
            heard.before = Some((before, now + self.doubt));
        }
        heard.server = Some(ServerClock::hear_at(ms, now));
    }

    /// Unix milliseconds by the server's clock; by our own before anything was heard.
    pub(crate) fn now_ms(&self) -> u64 {
        self.ms_at(Instant::now())
    }

    fn ms_at(&self, now: Instant) -> u64 {
        self.lock().server.map_or_else(now_ms, |server| server.ms_at(now))
    }

    /// How old an entry is, by its id.
    pub(crate) fn age_of(&self, id: EntryId) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(id.ms))
    }

    /// How long ago a job was requested, and no longer than was seen to pass.
    pub(crate) fn requested_ago(&self, requested_at_ms: u64) -> Duration {
        self.requested_ago_at(requested_at_ms, Instant::now())
    }

    fn requested_ago_at(&self, requested_at_ms: u64, now: Instant) -> Duration {
        let mut now_ms = self.ms_at(now);
        if let Some((before, _)) = self.lock().before.filter(|&(_, until)| now < until) {
            now_ms = now_ms.min(before.ms_at(now));
        }
        Duration::from_millis(now_ms.saturating_sub(requested_at_ms))
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's own clock, Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    millis(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_800_000_000_000;

    fn minutes(number: u64) -> Duration {
        Duration::from_secs(60 * number)
    }

    /// Noon and so many minutes.
    fn noon(number: u64) -> u64 {
        NOON + number * 60_000
    }

    #[test]
    fn the_servers_clock_counts_and_goes_on_by_itself() {
        let (clock, start) = (Clock::new(Some(minutes(5))), Instant::now());
        assert!(clock.now_ms().abs_diff(now_ms()) < 60_000, "nothing heard yet");
        clock.hear_at(NOON, start, start);
        assert_eq!(clock.ms_at(start + minutes(4)), noon(4));
        assert_eq!(clock.requested_ago_at(NOON, start + minutes(4)), minutes(4));
        assert_eq!(clock.requested_ago_at(noon(9), start + minutes(4)), Duration::ZERO);
        // Back is back at once: nothing is late for it.
        clock.hear_at(NOON - 600_000, start + minutes(4), start + minutes(4));
        assert_eq!(clock.requested_ago_at(NOON, start + minutes(4)), Duration::ZERO);
        assert_eq!(clock.ms_at(start + minutes(5)), NOON - 540_000);
        // What was under way for long says when it was sent.
        clock.hear_at(NOON - 540_000, start + minutes(5), start + minutes(6));
        assert_eq!(clock.ms_at(start + minutes(6)), NOON - 480_000);
    }

    #[test]
    fn a_step_forward_makes_nothing_late_before_all_that_was_there_is_late_anyway() {
        let (clock, start) = (Clock::new(Some(minutes(5))), Instant::now());
        clock.hear_at(NOON, start, start);
        clock.hear_at(noon(7), start + minutes(1), start + minutes(1));
        assert_eq!(clock.ms_at(start + minutes(1)), noon(7));
        assert_eq!(clock.requested_ago_at(NOON, start + minutes(1)), minutes(1), "six of the seven were not seen");
        // Another one, and the doubt lasts on.
        clock.hear_at(noon(60), start + minutes(3), start + minutes(3));
        assert_eq!(clock.requested_ago_at(NOON, start + minutes(3)), minutes(3));
        assert_eq!(clock.requested_ago_at(NOON, start + minutes(7)), minutes(7));
        assert_eq!(
            clock.requested_ago_at(NOON, start + minutes(8)),
            minutes(65),
            "from here on the server is believed"
        );
        // What is within the time of an answer is no step.
        clock.hear_at(noon(65) + 900, start + minutes(8), start + minutes(8));
        assert_eq!(clock.requested_ago_at(noon(65), start + minutes(8)), Duration::from_millis(900));
    }
}
