//! systemd: readiness, a status line, and the watchdog, fed only while the loop moves.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::sleep;

use crate::worker::vitals::Vitals;

/// Tells systemd what the process does, for as long as it is polled; returns at once where systemd did not ask.
pub async fn run(vitals: Arc<Vitals>, status: impl Fn() -> String) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    // Half the limit, as sd_watchdog_enabled(3) recommends; without a watchdog only the status line is refreshed.
    let watchdog = sd_notify::watchdog_enabled();
    let interval = watchdog.map_or(Duration::from_secs(5), |limit| limit / 2);
    let mut is_ready = false;
    loop {
        let mut states = Vec::new();
        let text = status();
        if !is_ready && vitals.has_started() {
            is_ready = true;
            states.push(NotifyState::Ready);
        }
        if watchdog.is_some() && vitals.is_live() {
            states.push(NotifyState::Watchdog);
        }
        states.push(NotifyState::Status(&text));
        notify(&states);
        sleep(if is_ready { interval } else { interval.min(Duration::from_millis(200)) }).await;
    }
}

/// The process drains, and needs this long for it at most.
pub fn stopping(drain: Duration) {
    let micros = u32::try_from(drain.as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros), NotifyState::Status("draining")]);
}

fn notify(states: &[NotifyState<'_>]) {
    // A socket that has gone away is systemd's affair.
    drop(sd_notify::notify(states));
}
