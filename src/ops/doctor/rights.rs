//! What the user may do: asked of the server (7.0 and later), or tried with commands that change nothing.

use super::finding::Finding;
use crate::ops::View;
use crate::ops::printable::printable;
use crate::redis::{Kind, RedisError};

/// What helps where the server refuses what the death notice needs. Without it everything works, and recovery is late.
pub(super) const LATE_NOTICE: &str = "allow SUBSCRIBE, PUBSUB NUMSUB and the channels <jobs-stream>:alive:* \
    (see deploy/redis/users.acl.in), or a dead replica is noticed after claim-idle instead of at once";

impl View {
    /// What a worker calls, with arguments of the right number. `ACL DRYRUN` runs none of it.
    fn needed(&self) -> Vec<Vec<String>> {
        let keys = &self.keys;
        let (jobs, group) = (keys.jobs.as_str(), self.group.as_str());
        let [game, results] = ["rec", "res"].map(|part| format!("{}{{g}}:{part}", self.record_prefix));
        let ledger = format!("{}0", keys.ledger_prefix);
        let commands: [&[&str]; 45] = [
            &["PING"],
            &["INFO"],
            &["TIME"],
            &["CLIENT", "SETNAME", "startjobs"],
            &["EVALSHA", "0", "1", jobs],
            &["SCRIPT", "LOAD", "return 1"],
            &["TYPE", jobs],
            &["XREADGROUP", "GROUP", group, "c", "COUNT", "1", "STREAMS", jobs, ">"],
            &["XADD", &keys.results, "*", "f", "v"],
            &["XADD", &keys.dead, "*", "f", "v"],
            &["XACK", jobs, group, "1-1"],
            &["XCLAIM", jobs, group, "c", "0", "1-1"],
            &["XAUTOCLAIM", jobs, group, "c", "0", "0-0"],
            &["XPENDING", jobs, group],
            &["XRANGE", jobs, "-", "+"],
            &["XREVRANGE", jobs, "+", "-"],
            &["XINFO", "STREAM", jobs],
            &["XINFO", "GROUPS", jobs],
            &["XINFO", "CONSUMERS", jobs, group],
            &["XGROUP", "CREATE", jobs, group, "0", "MKSTREAM"],
            &["XGROUP", "SETID", jobs, group, "0"],
            &["XGROUP", "DELCONSUMER", jobs, group, "c"],
            &["XGROUP", "DESTROY", jobs, "probe"],
            &["XTRIM", jobs, "MINID", "0"],
            &["GET", &keys.mirror],
            &["MSET", &keys.mirror, "0-0", &keys.shadow, "0-0"],
            &["HSET", &keys.replicas, "f", "v"],
            &["HDEL", &keys.attempts, "f"],
            &["HMGET", &keys.sweep, "f"],
            &["SADD", &ledger, "m"],
            &["SMISMEMBER", &ledger, "m"],
            &["UNLINK", &ledger],
            &["ZADD", &keys.ledgers, "1", "m"],
            &["ZRANGEBYSCORE", &keys.ledgers, "0", "1"],
            &["ZREM", &keys.ledgers, "m"],
            &["ZCARD", &keys.ledgers],
            &["ZSCORE", &keys.ledgers, "m"],
            &["EXISTS", &keys.paused],
            &["HLEN", &keys.paused],
            &["HKEYS", &keys.paused],
            &["MGET", &game],
            &["MSET", &game, "v"],
            &["HGET", &results, "f"],
            &["HSET", &results, "f", "v"],
            &["PEXPIRE", &results, "1"],
        ];
        commands.iter().map(|words| words.iter().map(|&word| word.to_owned()).collect()).collect()
    }

    /// What a worker asks for and does without: a death is then noticed late, or a job that was handed over. Nothing where
    /// `disconnect-grace` is off: then there are no subscriptions.
    fn wanted(&self) -> [Vec<Vec<String>>; 2] {
        if !self.notices_disconnects {
            return [Vec::new(), Vec::new()];
        }
        let channel = format!("{}:alive:c", self.keys.jobs);
        let command = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let notice = vec![command(&["SUBSCRIBE", &channel]), command(&["PUBSUB", "NUMSUB", &channel])];
        [notice, vec![command(&["PUBLISH", &channel, "handed"])]]
    }
}

/// What helps where the server refuses to tell a replica that something was handed over to it.
const LATE_HAND_OVER: &str = "allow PUBLISH and the channels <jobs-stream>:alive:* (see deploy/redis/users.acl.in), or a replica \
    learns of a job that was handed over to it with its next renewal instead of at once";

/// May the user do what a worker does?
pub(super) async fn rights(view: &View) -> Result<Vec<Finding>, RedisError> {
    let user = match view.raw(&["ACL", "WHOAMI"]).await {
        Ok(reply) => reply.as_string().unwrap_or_default(),
        Err(error) if error.kind == Kind::Unreachable => return Err(error),
        Err(_) => return tried(view, "a user without the right to ask for its name").await,
    };
    let needed = view.needed();
    let Some(refused) = denied(view, &user, &needed).await? else {
        return tried(view, &format!("user {}", printable(&user))).await;
    };
    let [late_notice, late_hand_over] = view.wanted();
    let mut missed = Vec::new();
    for (commands, remedy) in [(late_notice, LATE_NOTICE), (late_hand_over, LATE_HAND_OVER)] {
        missed.push((denied(view, &user, &commands).await?.unwrap_or_default(), remedy));
    }
    let user = printable(&user);
    let mut findings = vec![if refused.is_empty() {
        Finding::ok("rights", format!("user {user} has all {} rights that a worker needs", needed.len()))
    } else {
        let remedy = format!("ACL SETUSER {user} with the missing commands and keys");
        Finding::fail("rights", format!("user {user} may not: {}", refused.join(", ")), remedy)
    }];
    for (missed, remedy) in missed.into_iter().filter(|(missed, _)| !missed.is_empty()) {
        findings.push(Finding::warn("rights", format!("user {user} may not: {}", missed.join(", ")), remedy));
    }
    Ok(findings)
}

/// Which of these commands the user may not run. Nothing where it may not ask: before 7.0 there is no such question, and an
/// ordinary user has no right to it.
async fn denied(view: &View, user: &str, commands: &[Vec<String>]) -> Result<Option<Vec<String>>, RedisError> {
    let mut denied = Vec::new();
    for command in commands {
        let words: Vec<&str> = ["ACL", "DRYRUN", user].into_iter().chain(command.iter().map(String::as_str)).collect();
        match view.raw(&words).await {
            Ok(reply) if reply.as_string().as_deref() == Some("OK") => {}
            Ok(_) => denied.push(command.iter().take(2).cloned().collect::<Vec<_>>().join(" ")),
            Err(error) if error.kind == Kind::Unreachable => return Err(error),
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(denied))
}

/// What can be tried without changing anything.
async fn tried(view: &View, user: &str) -> Result<Vec<Finding>, RedisError> {
    let keys = &view.keys;
    let harmless: [&[&str]; 8] = [
        &["PING"],
        &["TIME"],
        // No script has this name, and Redis says so where scripts are allowed.
        &["EVALSHA", "0000000000000000000000000000000000000000", "1", &keys.jobs],
        &["TYPE", &keys.jobs],
        &["TYPE", &keys.results],
        &["TYPE", &keys.dead],
        &["GET", &keys.mirror],
        &["HGETALL", &keys.replicas],
    ];
    let mut refused = Vec::new();
    for command in harmless {
        match view.raw(command).await {
            Err(error) if error.kind == Kind::Unreachable => return Err(error),
            Err(error) if error.kind == Kind::Denied => refused.push(command[0]),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(vec![if refused.is_empty() {
        Finding::ok("rights", format!("{user} may read; its rights to write cannot be checked here"))
    } else {
        Finding::fail(
            "rights",
            format!("{user} may not: {}", refused.join(", ")),
            "ACL SETUSER with the missing commands and keys",
        )
    }])
}
