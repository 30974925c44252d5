//! What the engine keeps its containers from, and what it cannot.

use bollard::models::SystemInfo;

use super::finding::Finding;
use crate::ops::printable::printable;
use crate::policy::Policy;

/// What follows from the engine's description of itself. Pure.
pub(super) fn containers(info: &Result<SystemInfo, String>, policy: Option<&Policy>) -> Vec<Finding> {
    let info = match info {
        Ok(info) => info,
        Err(error) => {
            return vec![Finding::warn(
                "containers",
                format!("the engine does not describe itself ({error}): the logs of games are not rotated"),
                "allow GET /info in the proxy before the engine",
            )];
        }
    };
    let mut findings = vec![limits(info), log(info), seccomp(info), user_namespaces(info)];
    findings.extend(runtimes(info, policy));
    findings
}

fn limits(info: &SystemInfo) -> Finding {
    const ABOUT: &str = "limits";
    let supported = [("memory", info.memory_limit), ("pids", info.pids_limit), ("cpus", info.cpu_cfs_quota)];
    let missing: Vec<&str> =
        supported.into_iter().filter(|(_, is_there)| *is_there == Some(false)).map(|(name, _)| name).collect();
    if missing.is_empty() {
        return Finding::ok(ABOUT, "the kernel can limit memory, pids and cpus");
    }
    let found = format!("the kernel cannot limit {}: a policy has no effect on that", missing.join(", "));
    Finding::warn(ABOUT, found, "mount the control groups of the host (docker info shows what is missing)")
}

fn log(info: &SystemInfo) -> Finding {
    const ABOUT: &str = "logs";
    match info.logging_driver.as_deref().unwrap_or_default() {
        driver @ ("json-file" | "local") => {
            Finding::ok(ABOUT, format!("log driver {driver}: logs of games are rotated"))
        }
        "none" => Finding::ok(ABOUT, "log driver none: games leave no log, and failures show no last words"),
        driver => Finding::warn(
            ABOUT,
            format!("log driver {}: its logs are not rotated by a policy", printable(driver)),
            "bound what that driver keeps, or use json-file or local",
        ),
    }
}

/// The value of a security option of the engine: `name=seccomp,profile=default`.
fn security_option<'a>(info: &'a SystemInfo, name: &str) -> Option<&'a str> {
    let options = info.security_options.iter().flatten();
    let mut values = options.filter_map(|option| option.strip_prefix("name=")?.strip_prefix(name));
    values.find(|rest| rest.is_empty() || rest.starts_with(','))
}

fn seccomp(info: &SystemInfo) -> Finding {
    const ABOUT: &str = "seccomp";
    let modules: Vec<&str> =
        ["apparmor", "selinux"].into_iter().filter(|name| security_option(info, name).is_some()).collect();
    let besides = if modules.is_empty() { "no AppArmor or SELinux".to_owned() } else { modules.join(", ") };
    match security_option(info, "seccomp") {
        Some(profile) if !profile.contains("profile=unconfined") => {
            Finding::ok(ABOUT, format!("system calls are filtered; {besides}"))
        }
        _ => Finding::warn(
            ABOUT,
            format!("system calls of games are not filtered; {besides}"),
            "use a kernel and an engine with seccomp, and its default profile",
        ),
    }
}

fn user_namespaces(info: &SystemInfo) -> Finding {
    const ABOUT: &str = "users";
    let found = if security_option(info, "rootless").is_some() {
        "the engine is rootless: root in a game is an ordinary user of the host"
    } else if security_option(info, "userns").is_some() {
        "user namespaces are on: root in a game is an ordinary user of the host"
    } else {
        "user namespaces are off: root in a game is root of the host without most of its rights (docs/security.md)"
    };
    Finding::ok(ABOUT, found)
}

fn runtimes(info: &SystemInfo, policy: Option<&Policy>) -> Option<Finding> {
    const ABOUT: &str = "runtimes";
    let known = info.runtimes.as_ref()?;
    let mut names: Vec<String> = known.keys().map(|name| printable(name)).collect();
    names.sort();
    let names = names.join(", ");
    let missing: Vec<&str> = policy
        .map(Policy::runtimes)
        .unwrap_or_default()
        .into_iter()
        // An engine also takes the name of a shim of containerd, which it does not list.
        .filter(|name| !known.contains_key(*name) && !name.contains('.'))
        .collect();
    if missing.is_empty() {
        return Some(Finding::ok(ABOUT, names));
    }
    Some(Finding::fail(
        ABOUT,
        format!("the policy wants {}, and the engine has {names}", missing.join(", ")),
        "install that runtime and name it in the engine's daemon.json, or correct `runtime` in the policy",
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ops::doctor::Level;
    use crate::policy::read::parse;

    fn well() -> SystemInfo {
        SystemInfo {
            logging_driver: Some("json-file".to_owned()),
            security_options: Some(vec!["name=seccomp,profile=default".to_owned(), "name=userns".to_owned()]),
            runtimes: Some(HashMap::from([("runc".to_owned(), bollard::models::Runtime::default())])),
            ..SystemInfo::default()
        }
    }

    fn worst(info: SystemInfo, policy: &str) -> (Level, String) {
        let read = parse(&format!("require-digest = false\n{policy}"), &|path| Err(path.to_owned())).expect("a policy");
        let findings = containers(&Ok(info), Some(&read.policy));
        let worst = findings.into_iter().max_by_key(|finding| finding.level).expect("findings");
        (worst.level, worst.found)
    }

    #[test]
    fn what_an_engine_cannot_do_is_told() {
        use Level::{Fail, Ok as Fine, Warn};
        let option = |text: &str| Some(vec![text.to_owned()]);
        let rows = [
            (well(), "", Fine, ""),
            (SystemInfo { logging_driver: Some("journald".into()), ..well() }, "", Warn, "journald"),
            (SystemInfo { logging_driver: Some("none".into()), ..well() }, "", Fine, ""),
            (SystemInfo { security_options: None, ..well() }, "", Warn, "not filtered"),
            (
                SystemInfo { security_options: option("name=seccomp,profile=unconfined"), ..well() },
                "",
                Warn,
                "not filtered",
            ),
            (SystemInfo { memory_limit: Some(false), ..well() }, "", Warn, "memory"),
            (well(), "[defaults]\nruntime = \"runc\"", Fine, ""),
            (well(), "[[image]]\nmatch = \"**\"\nruntime = \"runsc\"", Fail, "wants runsc"),
        ];
        for (info, policy, level, words) in rows {
            let (got, found) = worst(info, policy);
            assert!(got == level && found.contains(words), "{policy} {level:?} {words}: {got:?} {found}");
        }
        let refused = containers(&Err("forbidden".to_owned()), None);
        assert!(refused.len() == 1 && refused[0].level == Warn, "{refused:?}");
    }

    #[test]
    fn who_root_is_outside_is_told() {
        for (option, words) in
            [("name=userns", "ordinary user"), ("name=rootless", "rootless"), ("name=cgroupns", "off")]
        {
            let info = SystemInfo { security_options: Some(vec![option.to_owned()]), ..well() };
            assert!(user_namespaces(&info).found.contains(words), "{option}");
        }
    }
}
