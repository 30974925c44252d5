//! Sizes and durations as people write them. An error is the rest of a sentence that begins with the name of the value.

use std::time::Duration;

/// No duration may be longer: adding a larger one to a clock could overflow, and it can only be a mistake.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A number of bytes, bare or with a binary unit.
pub(crate) fn size(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => {
            return Err("has an unknown unit; write bytes, KiB, MiB or GiB, such as 64KiB".to_owned());
        }
    };
    let number: u64 = digits
        .trim()
        .parse()
        .map_err(|_| "is not a size; write a whole number with or without a unit, such as 64KiB")?;
    let bytes = number.saturating_mul(unit);
    if !(min..=max).contains(&bytes) {
        return Err(format!("must be from {} to {}", size_text(min), size_text(max)));
    }
    Ok(bytes)
}

/// A duration with its unit, within limits.
pub(crate) fn duration(text: &str, min: Duration, why: &str) -> Result<Duration, String> {
    let duration = any_duration(text)?;
    if duration < min {
        let least = match humantime::format_duration(min) {
            _ if min <= Duration::from_millis(1) => "must be more than zero (1ms or longer)".to_owned(),
            least => format!("must be at least {least}"),
        };
        return Err(if why.is_empty() { least } else { format!("{least}: {why}") });
    }
    Ok(duration)
}

/// A duration of any length down to zero.
pub(crate) fn any_duration(text: &str) -> Result<Duration, String> {
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(format!("has no unit; write {text}s for seconds or {text}ms for milliseconds"));
    }
    let duration = humantime::parse_duration(text)
        .map_err(|_| "is not a duration; write a number with its unit, such as 500ms, 5s, 15m or 24h")?;
    if duration > LONGEST {
        return Err("must be at most 365days".to_owned());
    }
    Ok(duration)
}

/// A number of bytes in the largest unit that divides it.
pub(crate) fn size_text(bytes: u64) -> String {
    const UNITS: [(u32, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    for (shift, unit) in UNITS {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}
