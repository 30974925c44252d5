//! The gauges of the fleet's streams: sampled every few seconds while they may be scraped.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;

use super::outlook::{Outlook, Sample};
use crate::metrics::Metrics;
use crate::metrics::labels::HostStanding;

/// Between two looks.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// Samples for as long as it is polled.
pub(crate) async fn run(outlook: Arc<Outlook>, metrics: Arc<Metrics>) {
    let mut mirror = MirrorWatch::default();
    loop {
        match outlook.sample().await {
            Ok(sample) => {
                show(&sample, &metrics, &mut mirror);
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                metrics.group_sampled(Some(now.as_secs_f64()));
            }
            // The loop reports that Redis is away; here it is counted.
            Err(error) => {
                tracing::debug!(err = error.text, "fleet not seen");
                metrics.group_sampled(None);
            }
        }
        // Replicas that were started together look one after the other.
        sleep(INTERVAL.mul_f64(1.0 + 0.2 * fastrand::f64())).await;
    }
}

fn show(sample: &Sample, metrics: &Metrics, mirror: &mut MirrorWatch) {
    let Sample { look, waiting, replicas, hosts } = sample;
    let (group, number) = (&metrics.group, |count: u64| i64::try_from(count).unwrap_or(i64::MAX));
    let age = |id: Option<&String>| id.and_then(|id| look.age_ms(id)).map_or(0.0, seconds);
    group.backlog.set(number(waiting.count));
    group.backlog_exact.set(i64::from(waiting.exact));
    group.oldest_waiting.set(age(look.oldest_waiting.as_ref().filter(|_| waiting.count > 0)));
    group.pending.set(number(look.pending.count));
    group.oldest_pending.set(age(look.pending.oldest.as_ref()));
    group.dead_letters.set(number(look.dead));
    group.exhausted.set(size(look.exhausted.len()));
    let replicas = &replicas.replicas;
    let gone = replicas.iter().filter(|replica| replica.is_gone());
    group.replicas.set(size(replicas.iter().filter(|replica| replica.is_alive()).count()));
    group.replicas_lost.set(size(gone.count()));
    group.hosts(HostStanding::Alive, number(hosts.alive));
    group.hosts(HostStanding::Dead, number(hosts.dead));
    let lag = look.group.as_ref().and_then(|group| group.lag);
    group.lag_known.set(i64::from(lag.is_some()));
    group.lag.set(number(lag.unwrap_or_default()));
    group.mirror_held.set(mirror.held(look.mirror.as_deref(), look.pending.count, Instant::now()).as_secs_f64());
}

fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

/// Since when the mirror has its value.
#[derive(Debug, Default)]
struct MirrorWatch {
    at: Option<String>,
    since: Option<Instant>,
}

impl MirrorWatch {
    /// For how long the mirror has not moved while something was pending.
    fn held(&mut self, mirror: Option<&str>, pending: u64, now: Instant) -> Duration {
        if pending == 0 || self.at.as_deref() != mirror {
            self.at = mirror.map(str::to_owned);
            self.since = None;
        }
        if pending == 0 {
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.since.get_or_insert(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_held_while_it_stands_still_with_something_pending() {
        let (mut watch, began) = (MirrorWatch::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut held = |mirror, pending, seconds| watch.held(mirror, pending, at(seconds)).as_secs();
        assert_eq!(held(Some("1-0"), 1, 0), 0);
        assert_eq!(held(Some("1-0"), 2, 9), 9);
        assert_eq!(held(Some("2-0"), 2, 10), 0, "it moved");
        assert_eq!(held(Some("2-0"), 2, 12), 2);
        assert_eq!(held(Some("2-0"), 0, 13), 0, "nothing holds it");
        assert_eq!(held(Some("2-0"), 1, 20), 0, "since now");
        assert_eq!(held(Some("2-0"), 1, 21), 1);
    }
}
