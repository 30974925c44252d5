//! The sentinels: who answers, which master they name, and whether they could replace it.

use super::finding::Finding;
use crate::redis::sentinel::Seen;
use crate::redis::{HostPort, RedisError};

const ABOUT: &str = "sentinels";

/// What they say of the service.
pub(super) fn sentinels(answers: &[(HostPort, Result<Seen, RedisError>)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: Vec<(&HostPort, &Seen)> = Vec::new();
    for (at, answer) in answers {
        match answer {
            Ok(known) => seen.push((at, known)),
            Err(error) => {
                let remedy = "start it, or remove it from redis-url";
                findings.push(Finding::warn(ABOUT, format!("no answer of {at}: {error}"), remedy));
            }
        }
    }
    let Some((_, newest)) = seen.iter().max_by_key(|(_, known)| known.master.epoch) else { return findings };
    for (at, stale) in seen.iter().filter(|(_, known)| known.master != newest.master) {
        let (master, epoch) = (&stale.master, stale.master.epoch);
        let found = format!("{at} names {master} with epoch {epoch}, which is out of date");
        findings.push(Finding::warn(ABOUT, found, "look at its log: it may be cut off from the others"));
    }
    findings.extend(failover(newest, answers.len()));
    let Seen { master, replicas, others, quorum, .. } = newest;
    let (epoch, answered, named) = (master.epoch, seen.len(), answers.len());
    let text = format!(
        "{answered} of {named} answer; master {master}, epoch {epoch}, {replicas} replicas, {others} other sentinels, quorum {quorum}"
    );
    findings.push(Finding::ok(ABOUT, text));
    findings
}

/// Whether the master could be replaced.
fn failover(newest: &Seen, named: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    if newest.flags.contains("down") {
        let found = format!("the master {} counts as down ({})", newest.master, newest.flags);
        findings.push(Finding::fail(ABOUT, found, "look at the server and at the logs of the sentinels"));
    }
    if newest.replicas == 0 {
        let remedy = "start a replica of the master: without one there is no failover";
        findings.push(Finding::warn(ABOUT, "the master has no replica", remedy));
    }
    let others = usize::try_from(newest.others).unwrap_or(usize::MAX);
    if others.saturating_add(1) < named {
        let found = format!("redis-url names {named} sentinels, and the newest knows {} others", newest.others);
        findings.push(Finding::warn(ABOUT, found, "give all of them the same service and the same master"));
    }
    if newest.others < 2 {
        let remedy = "run three sentinels on three machines: a failover needs most of them";
        findings.push(Finding::warn(ABOUT, "there are fewer than three sentinels", remedy));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::Level;
    use crate::redis::Master;

    fn at(port: u16) -> HostPort {
        HostPort { host: "h".to_owned(), port }
    }

    fn seen(port: u16, epoch: u64) -> Seen {
        let master = Master { at: at(port), epoch };
        Seen { master, replicas: 2, others: 2, quorum: 2, flags: "master".to_owned() }
    }

    fn told(answers: Vec<Result<Seen, RedisError>>) -> Vec<String> {
        let answers: Vec<_> = answers.into_iter().zip(1..).map(|(answer, port)| (at(port), answer)).collect();
        let findings = sentinels(&answers);
        findings.into_iter().filter(|finding| finding.level > Level::Ok).map(|finding| finding.found).collect()
    }

    #[test]
    fn sentinels_that_agree_and_could_replace_the_master_are_fine() {
        assert_eq!(told(vec![Ok(seen(9, 3)), Ok(seen(9, 3)), Ok(seen(9, 3))]), Vec::<String>::new());
        assert_eq!(told(Vec::new()), Vec::<String>::new());
        let findings = sentinels(&[(at(1), Ok(seen(9, 3)))]);
        let text = "1 of 1 answer; master h:9, epoch 3, 2 replicas, 2 other sentinels, quorum 2";
        assert_eq!(findings.last().map(|finding| finding.found.as_str()), Some(text));
    }

    #[test]
    fn what_would_keep_a_failover_from_happening_is_told() {
        let silent = Err(RedisError::unreachable("timed out"));
        let few = Seen { replicas: 0, others: 1, flags: "s_down,master".to_owned(), ..seen(9, 4) };
        let expected = [
            "no answer of h:1: timed out",
            "h:2 names h:8 with epoch 3, which is out of date",
            "the master h:9 counts as down (s_down,master)",
            "the master has no replica",
            "redis-url names 3 sentinels, and the newest knows 1 others",
            "there are fewer than three sentinels",
        ];
        assert_eq!(told(vec![silent, Ok(seen(8, 3)), Ok(few)]), expected);
    }
}
