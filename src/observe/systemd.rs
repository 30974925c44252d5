//! systemd: readiness, a status line, and the watchdog, fed only while the loop moves.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Instant, sleep};

use crate::worker::run::Instruments;

/// How often the status line is said anew, at least.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// How often is looked whether the replica runs yet.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// While the process waits for Redis or the engine it is granted this much more each time: waiting is no failure.
const START_EXTENSION_USEC: u32 = 30_000_000;
/// What leaving may take beyond the drain.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Tells systemd what the process does, for as long as it is polled; returns at once where systemd did not ask.
pub async fn run(instruments: Instruments) {
    if std::env::var_os("NOTIFY_SOCKET").is_some() {
        tell(instruments, sd_notify::watchdog_enabled(), notify).await;
    }
}

/// The same, with the time limit of the watchdog, if there is one, and the way to systemd given.
pub async fn tell(instruments: Instruments, watchdog: Option<Duration>, mut send: impl FnMut(&[NotifyState<'_>])) {
    // Half the limit, as sd_watchdog_enabled(3) recommends; without a watchdog only the status line is refreshed.
    let interval = watchdog.map_or(SAY_EVERY, |limit| (limit / 2).min(SAY_EVERY));
    let vitals = &instruments.vitals;
    let mut said: Option<Instant> = None;
    let mut is_ready = false;
    loop {
        let becomes_ready = !is_ready && vitals.has_started();
        is_ready |= becomes_ready;
        if becomes_ready || said.is_none_or(|said| said.elapsed() >= interval) {
            said = Some(Instant::now());
            let status = status(&instruments);
            let mut states = vec![NotifyState::Status(&status)];
            if becomes_ready {
                states.push(NotifyState::Ready);
            } else if !is_ready {
                states.push(NotifyState::ExtendTimeoutUsec(START_EXTENSION_USEC));
            }
            if watchdog.is_some() && vitals.is_live() {
                states.push(NotifyState::Watchdog);
            }
            send(&states);
        }
        sleep(if is_ready { interval } else { interval.min(LOOK_EVERY) }).await;
    }
}

/// One line. Troubles by their names only: what others said may hold line ends, which separate systemd's words.
fn status(instruments: &Instruments) -> String {
    let (metrics, readiness) = (&instruments.metrics, instruments.vitals.readiness());
    let troubles: Vec<&str> =
        readiness.failing.keys().copied().filter(|name| !["start", "drain"].contains(name)).collect();
    let trouble = if troubles.is_empty() { String::new() } else { format!("; trouble: {}", troubles.join(", ")) };
    let (in_flight, slots, backing_off) = (metrics.in_flight.get(), metrics.slots.get(), metrics.backing_off.get());
    if readiness.failing.contains_key("start") {
        format!("starting{trouble}")
    } else if readiness.failing.contains_key("drain") {
        format!("draining, {in_flight} starts under way{trouble}")
    } else if metrics.paused.get() == 1 {
        format!("paused by an operator, {in_flight} starts under way{trouble}")
    } else {
        format!("{in_flight} of {slots} slots in use, {backing_off} backing off{trouble}")
    }
}

/// The process drains, and needs this long for it at most.
pub fn stopping(drain: Duration) {
    let micros = u32::try_from((drain + LEAVE_WITHIN).as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status("draining")]);
}

fn notify(states: &[NotifyState<'_>]) {
    // A socket that has gone away is systemd's affair.
    drop(sd_notify::notify(states));
}
