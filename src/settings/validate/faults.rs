//! Where the process dies or stops itself.

use super::check::{Check, Read};
use super::parse;
use crate::faults::{Config, Point};

/// Both points are refused unless fault injection is allowed, so that a left-over variable kills no process.
pub(super) fn settings(check: &mut Check) -> Option<Config> {
    let allowed = check.switch("allow-fault-injection");
    let crash_at = point(check, "crash-at", allowed);
    let pause_at = point(check, "pause-at", allowed);
    Some(Config { crash_at: crash_at?, pause_at: pause_at? })
}

fn point(check: &mut Check, name: &'static str, allowed: Option<bool>) -> Read<Option<Point>> {
    let point = check.parsed(name, parse::point);
    if allowed == Some(false) && check.text_of(name) != "none" {
        check.refuse(
            name,
            "is fault injection, which is refused without --allow-fault-injection; unset it, or allow it in a test",
        );
    }
    point
}
