//! Values of the file. An error is the rest of a sentence that begins with the key and its value.

use std::time::Duration;

use toml::de::{DeInteger, DeValue};

use crate::engine::sandbox::Gpus;
use crate::quantity;

/// Docker takes no less: the container's own processes would not fit.
const MEMORY_MIN: u64 = 6 << 20;
const MEMORY_MAX: u64 = 64 << 40;
const LOG_BYTES_MIN: u64 = 4 << 10;
const LOG_BYTES_MAX: u64 = 1 << 40;
const CPUS_MAX: f64 = 10_000.0;
const NANO: f64 = 1e9;
const GRACE_MIN: Duration = Duration::from_secs(1);
const GRACE_MAX: Duration = Duration::from_secs(600);
const NAME_CHARS_MAX: usize = 128;

/// What may be shown of a value: simple ones, never a table.
pub(super) fn shown(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// A whole number of the file; none where it does not fit.
pub(super) fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// None where the value is `off`.
pub(super) fn or_off<T>(
    value: &DeValue<'_>,
    reader: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match value {
        DeValue::String(text) if text == "off" => Ok(None),
        _ => match reader(value) {
            Ok(read) => Ok(Some(read)),
            // Advice on one value ends with what to write instead of it.
            Err(advice) if advice.starts_with("must be ") => Err(format!("{advice}; or write \"off\"")),
            Err(advice) => Err(advice),
        },
    }
}

/// `true` or `false`.
pub(super) fn switch(value: &DeValue<'_>) -> Result<bool, String> {
    match value {
        DeValue::Boolean(flag) => Ok(*flag),
        _ => Err("must be true or false, without quotes".to_owned()),
    }
}

/// A whole number within these limits.
pub(super) fn count(min: u32, max: u32) -> impl Fn(&DeValue<'_>) -> Result<u32, String> {
    move |value| {
        let number = match value {
            DeValue::Integer(number) => whole(number).and_then(|number| u32::try_from(number).ok()),
            _ => None,
        };
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| format!("must be a whole number from {min} to {max}, without quotes"))
    }
}

fn size(value: &DeValue<'_>, min: u64, max: u64) -> Result<u64, String> {
    match value {
        DeValue::String(text) => quantity::size(text, min, max),
        DeValue::Integer(number) => quantity::size(&whole(number).unwrap_or(-1).to_string(), min, max),
        _ => Err("must be a size in quotes, such as \"512MiB\"".to_owned()),
    }
}

/// Bytes of memory, or of a file system in memory.
pub(super) fn memory(value: &DeValue<'_>) -> Result<u64, String> {
    size(value, MEMORY_MIN, MEMORY_MAX)
}

/// Bytes of a file system in memory.
pub(super) fn tmpfs_size(value: &DeValue<'_>) -> Result<u64, String> {
    size(value, 4 << 10, MEMORY_MAX)
}

/// Bytes of one file of a log.
pub(super) fn log_size(value: &DeValue<'_>) -> Result<u64, String> {
    size(value, LOG_BYTES_MIN, LOG_BYTES_MAX)
}

/// Processors, in billionths.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "limits were checked: it is from 1e7 to 1e13"
)]
pub(super) fn cpus(value: &DeValue<'_>) -> Result<u64, String> {
    let number: Option<f64> = match value {
        DeValue::Integer(number) => whole(number).and_then(|number| number.to_string().parse().ok()),
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::String(text) => text.parse().ok(),
        DeValue::Boolean(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    };
    match number {
        Some(cpus) if (0.01..=CPUS_MAX).contains(&cpus) => Ok((cpus * NANO).round() as u64),
        _ => Err("must be a number of processors from 0.01 to 10000, such as 1.5".to_owned()),
    }
}

fn text<'v>(value: &'v DeValue<'_>, form: &str) -> Result<&'v str, String> {
    match value {
        DeValue::String(text) => Ok(text),
        _ => Err(form.to_owned()),
    }
}

/// `USER[:GROUP]`.
pub(super) fn user(value: &DeValue<'_>) -> Result<String, String> {
    const FORM: &str = "must be a user, or a user and a group, such as \"1000:1000\" or \"games\"";
    let text = text(value, FORM)?;
    let is_name = |name: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        !name.is_empty() && name.len() <= NAME_CHARS_MAX && !name.starts_with('-') && name.chars().all(plain)
    };
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    if is_name(user) && group.is_none_or(is_name) { Ok(text.to_owned()) } else { Err(FORM.to_owned()) }
}

/// A network of the engine.
pub(super) fn network(value: &DeValue<'_>) -> Result<String, String> {
    let text = text(value, "must be the name of a network of the engine, in quotes")?;
    match text {
        "host" => Err("would give a game every port and service of its host; name a network of the engine".to_owned()),
        "none" => Err("would leave a game without a network, so that no player reaches it; name a network".to_owned()),
        _ if text.starts_with("container:") || text.starts_with("ns:") => {
            Err("would put a game into the network of another container; name a network of the engine".to_owned())
        }
        _ => name(text, "is not the name of a network: write letters, digits, `.`, `_` and `-`"),
    }
}

/// An OCI runtime as the engine names it.
pub(super) fn runtime(value: &DeValue<'_>) -> Result<String, String> {
    const FORM: &str = "must be the name of a runtime of the engine, such as \"runsc\"";
    name(text(value, FORM)?, FORM)
}

fn name(text: &str, form: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let begins_well = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    if begins_well && text.len() <= NAME_CHARS_MAX && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(form.to_owned())
}

/// `all` or how many.
pub(super) fn gpus(value: &DeValue<'_>) -> Result<Gpus, String> {
    match value {
        DeValue::String(text) if text == "all" => Ok(Gpus::All),
        _ => match count(1, 1_000)(value) {
            Ok(count) => Ok(Gpus::Count(count)),
            Err(_) => Err("must be a whole number from 1 to 1000, or \"all\"".to_owned()),
        },
    }
}

/// How long a container may take to end.
pub(super) fn stop_grace(value: &DeValue<'_>) -> Result<Duration, String> {
    let text = text(value, "must be a duration in quotes, such as \"10s\"")?;
    let grace = quantity::duration(text, GRACE_MIN, "")?;
    if grace > GRACE_MAX {
        return Err("must be at most 10m: a host that stops waits so long for each game".to_owned());
    }
    if grace.subsec_nanos() > 0 {
        return Err("must be whole seconds: the engine counts in seconds".to_owned());
    }
    Ok(grace)
}

/// One limit of a process, soft and hard.
pub(super) fn ulimit(value: &DeValue<'_>) -> Result<(i64, i64), String> {
    const FORM: &str = "must be a number, or { soft = 1024, hard = 4096 }; -1 is no limit";
    let one = |value: Option<&DeValue<'_>>| match value {
        Some(DeValue::Integer(number)) => whole(number).filter(|number| *number >= -1),
        _ => None,
    };
    let (soft, hard) = match value {
        DeValue::Table(table) if table.len() == 2 => {
            let of = |name: &str| one(table.get(name).map(toml::Spanned::get_ref));
            (of("soft"), of("hard"))
        }
        DeValue::Integer(_) => (one(Some(value)), one(Some(value))),
        _ => (None, None),
    };
    let (Some(soft), Some(hard)) = (soft, hard) else { return Err(FORM.to_owned()) };
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err("has a soft limit above its hard limit".to_owned());
    }
    Ok((soft, hard))
}
