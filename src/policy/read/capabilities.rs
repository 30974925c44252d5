//! Which capabilities a container may keep.

use toml::de::DeValue;

/// What every container of Docker's own defaults has, and does no harm outside of it.
const PLAIN: [&str; 12] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// With what they let a container do to its neighbours.
const RISKY: [(&str, &str); 9] = [
    ("IPC_LOCK", "it may keep memory from being swapped out"),
    ("IPC_OWNER", "it may use every shared memory of its own"),
    ("LEASE", "it may delay others that open its files"),
    ("MKNOD", "it may make device files"),
    ("NET_ADMIN", "it may change its network addresses and pose as a neighbour on its network"),
    ("NET_BROADCAST", "it may send broadcasts"),
    ("NET_RAW", "it may forge packets and pose as a neighbour on its network"),
    ("SYS_NICE", "it may take processor time from its neighbours"),
    ("SYS_RESOURCE", "it may exceed limits of single processes"),
];
/// Each is a known way from a container to its host, or changes what all containers share.
const REFUSED: [&str; 20] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "DAC_READ_SEARCH",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "PERFMON",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_MODULE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// The names, sorted and without `CAP_`, and what to warn of.
pub(super) fn read(value: &DeValue<'_>) -> Result<(Vec<String>, Vec<String>), Vec<String>> {
    const FORM: &str = "is the list of the capabilities that are kept; write [\"CHOWN\", \"SETUID\"], or [] for none";
    let DeValue::Array(items) = value else { return Err(vec![FORM.to_owned()]) };
    let (mut kept, mut warnings, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for (number, item) in items.iter().enumerate() {
        let DeValue::String(text) = item.get_ref() else {
            let number = number + 1;
            problems.push(format!("has entry {number}, which is not a name in quotes; write [\"CHOWN\", \"SETUID\"]"));
            continue;
        };
        match one(text) {
            Ok((name, warning)) => {
                kept.push(name.to_owned());
                warnings.extend(warning);
            }
            Err(problem) => problems.push(problem),
        }
    }
    kept.sort_unstable();
    kept.dedup();
    if problems.is_empty() { Ok((kept, warnings)) } else { Err(problems) }
}

fn one(text: &str) -> Result<(&'static str, Option<String>), String> {
    let upper = text.trim().to_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if let Some(plain) = PLAIN.into_iter().find(|plain| *plain == name) {
        return Ok((plain, None));
    }
    if let Some((risky, why)) = RISKY.into_iter().find(|(risky, _)| *risky == name) {
        return Ok((risky, Some(format!("keeps {risky}: {why}"))));
    }
    if REFUSED.contains(&name) {
        return Err(format!("must not hold {name}: with it a game can take over its host or disturb all games there"));
    }
    if name == "ALL" {
        return Err("must not hold ALL; list the capabilities that the image needs".to_owned());
    }
    let known = PLAIN.into_iter().chain(RISKY.into_iter().map(|(name, _)| name));
    let near = known.min_by_key(|known| {
        known.bytes().zip(name.bytes()).filter(|(one, other)| one != other).count() + known.len().abs_diff(name.len())
    });
    let shown: String = text.chars().take(40).collect();
    Err(match near {
        Some(near) if near.len().abs_diff(name.len()) <= 1 => {
            format!("holds {shown:?}, which is not a capability; did you mean {near}?")
        }
        _ => format!("holds {shown:?}, which is not a capability; the usual ones are {}", PLAIN.join(", ")),
    })
}
