//! systemd: readiness, a status line, and the watchdog, fed only while the loop moves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::notify::{NotifySocket, watchdog};
use crate::worker::run::Instruments;

/// How often the status line is sent again, at least.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// How often is looked whether the replica runs yet.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// While the process waits for Redis or the engine it is granted this much more each time: waiting is no failure.
const START_EXTENSION_USEC: u32 = 30_000_000;
/// What leaving may take beyond the drain.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// Reports to systemd what the process does, for as long as it is polled.
pub(crate) async fn run(instruments: Instruments, socket: Arc<NotifySocket>) {
    tell(instruments, watchdog(), |lines| socket.send(lines)).await;
}

/// The same, with the time limit of the watchdog, if there is one, and the way to systemd given; it answers whether the
/// lines have arrived.
pub async fn tell(instruments: Instruments, watchdog: Option<Duration>, mut send: impl FnMut(&[String]) -> bool) {
    // Half the limit, as sd_watchdog_enabled(3) recommends; without a watchdog only the status line is refreshed.
    let interval = watchdog.map_or(SAY_EVERY, |limit| (limit / 2).min(SAY_EVERY));
    let vitals = &instruments.vitals;
    let mut said: Option<Instant> = None;
    let mut is_ready = false;
    loop {
        let becomes_ready = !is_ready && vitals.has_started();
        if becomes_ready || said.is_none_or(|said| said.elapsed() >= interval) {
            said = Some(Instant::now());
            let mut lines = vec![format!("STATUS={}", status(&instruments))];
            if becomes_ready {
                lines.push("READY=1".to_owned());
            } else if !is_ready {
                lines.push(format!("EXTEND_TIMEOUT_USEC={START_EXTENSION_USEC}"));
            }
            if watchdog.is_some() && vitals.is_live() {
                lines.push("WATCHDOG=1".to_owned());
            }
            // Readiness that did not arrive is sent again: without it systemd gives up the start.
            is_ready |= send(&lines) && becomes_ready;
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
        format!("draining, {in_flight} starts in progress{trouble}")
    } else if metrics.paused.get() == 1 {
        format!("paused by an operator, {in_flight} starts in progress{trouble}")
    } else {
        format!("{in_flight} of {slots} slots in use, {backing_off} backing off{trouble}")
    }
}

/// Reports to systemd that the process drains and needs at most this long; retries until it was sent.
pub(crate) async fn stopping(drain: Duration, socket: Arc<NotifySocket>) {
    let limit = (drain + LEAVE_WITHIN).as_micros();
    let lines = ["STOPPING=1".to_owned(), format!("EXTEND_TIMEOUT_USEC={limit}"), "STATUS=draining".to_owned()];
    while !socket.send(&lines) {
        sleep(LOOK_EVERY).await;
    }
}
