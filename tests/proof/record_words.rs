//! The words of a call of a record's verb, and its answer as it is compared.

use serde_json::json;

use crate::call::host_of;
use crate::model::record::{HEARTBEAT, Job, LEASE, Label, STREAM, TICK, Token, Verb, canonical};
use crate::wire::Value;

/// Keys and words.
pub fn of(game: u64, verb: &Verb, now: u64) -> (Vec<String>, Vec<String>) {
    let key = |part: &str| format!("rtm:{{g{game}}}:{part}");
    let placed = |host: &str| format!("rtm:placed:{host}");
    let both = || vec![key("rec"), key("res")];
    let one = || vec![key("rec")];
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    match verb {
        Verb::Begin { me, job, dead, gone, dead_owner, dead_host, most } => {
            let names = names_of(&host_of(me));
            let hosts = match most {
                Some(most) => format!("{names}\n{dead_host}\n{most}"),
                None if dead_host.is_empty() => names,
                None => format!("{names}\n{dead_host}"),
            };
            let record = text("starting", job, &host_of(me), &json!({}));
            let lease = LEASE.to_string();
            let words = words(&["begin", &record, &lease, dead, gone, &quoted(me), dead_owner, &hosts]);
            (vec![key("rec"), placed(&host_of(me)), key("res")], words)
        }
        Verb::Fence(token) => (one(), words(&["fence", &holder(token)])),
        Verb::Renew(token) => (one(), words(&["renew", &holder(token), &LEASE.to_string()])),
        Verb::Release(token, leaves) => (one(), words(&["release", &holder(token), if *leaves { "1" } else { "0" }])),
        Verb::Condemn(token, container) => (one(), words(&["condemn", &holder(token), container])),
        Verb::Commit(token, success, condemned) => {
            let mut more = json!({ "condemned": condemned });
            match success {
                Some((container, endpoint)) => {
                    more["container_id"] = json!(container);
                    more["engine_endpoint"] = json!(endpoint);
                    more["answer"] = json!({});
                }
                None => more["answer"] = json!({ "error_code": "engine_exited", "error_message": "why" }),
            }
            let state = if success.is_some() { "running" } else { "failed" };
            let rest = text(state, &token.job, &host_of(&token.owner), &more);
            let holder = holder(token);
            // The text is stored as it is, so the caller computes the server's time: here it is that of the call.
            let numbers = format!(r#""lease_until_ms":0,"updated_at_ms":{now},"attempt":{}"#, token.attempt);
            (one(), words(&["commit", &holder, &format!("{holder}{numbers}{rest}")]))
        }
        Verb::Yield(token, label) => {
            let failure = json!({ "answer": { "error_code": "image_conflict", "error_message": "why" } });
            let answered = text("failed", &token.job, &host_of(&token.owner), &failure);
            let found = found(label, &host_of(&token.owner));
            let fence = label.fence.to_string();
            (both(), words(&["yield", &holder(token), &found, &quoted(&label.owner), &fence, &answered]))
        }
        Verb::Room(token, most) => {
            let host = host_of(&token.owner);
            let names = names_of(&host);
            let hosts = most.map_or(names.clone(), |most| format!("{names}\n\n{most}"));
            (vec![key("rec"), placed(&host)], words(&["room", &holder(token), &hosts]))
        }
        Verb::Disown(container) => (one(), words(&["disown", container])),
        Verb::Abandon { me, job, container } => {
            let answer =
                json!({ "error_code": "engine_unavailable", "error_message": "why", "given_up": "retries_exhausted" });
            let record = text("failed", job, &host_of(me), &json!({ "answer": answer }));
            (both(), words(&["abandon", &record, container, &quoted(me)]))
        }
        Verb::Reap { me, label, only_asks } => {
            let (fence, asks) = (label.fence.to_string(), if *only_asks { "1" } else { "0" });
            (one(), words(&["reap", &label.container, &fence, &label.owner, asks, &names_of(&host_of(me))]))
        }
        Verb::Removed(container) => (one(), words(&["removed", container])),
        Verb::Ended(container) => (both(), words(&["ended", container, "3", "77"])),
        Verb::Moved(container, host) => (one(), words(&["moved", container, "http://moved", host])),
        Verb::Revived(container, host) => (one(), words(&["revived", container, "http://again", host])),
        Verb::Rebuild { me, label } => {
            let fence = label.fence.to_string();
            (one(), words(&["rebuild", &found(label, &host_of(me)), &quoted(&label.owner), &fence]))
        }
        Verb::Unlist(host) => (vec![key("rec"), placed(host)], words(&["unlist", &names_of(host)])),
        Verb::Stop { host, is_gone } => (both(), words(&["stop", "ann@host", host, if *is_gone { "1" } else { "0" }])),
        Verb::Show => (one(), words(&["show"])),
        Verb::Beat(host, engine) => {
            (vec!["rtm:hosts".to_owned()], words(&["beat", host, engine, &HEARTBEAT.to_string(), "{}"]))
        }
        Verb::Forget(host) => (vec!["rtm:hosts".to_owned()], words(&["forget", host])),
        Verb::Tick(host, me) => (vec![format!("rtm:reconciled:{host}")], words(&["tick", &TICK.to_string(), me])),
        Verb::Fleet(wanted) => (vec!["rtm:fleet".to_owned()], words(&["fleet", wanted])),
        Verb::Probe => (vec!["rtm:probe".to_owned()], words(&["probe"])),
    }
}

/// JSON among the words is compared by what it says.
pub fn canonical_reply(verb: &Verb, mut words: Vec<String>) -> Value {
    if words.first().is_some_and(|word| word == "error") {
        return Value::Error(words.remove(1));
    }
    // All hosts, in no order.
    if matches!(verb, Verb::Beat(..)) && words.len() > 3 {
        let hosts = words.split_off(3);
        let mut pairs: Vec<&[String]> = hosts.chunks(2).collect();
        pairs.sort();
        words.extend(pairs.concat());
    }
    let at = match verb {
        Verb::Show => 0,
        Verb::Begin { .. } | Verb::Abandon { .. } if words.first().is_some_and(|word| word == "stored") => 1,
        _ => usize::MAX,
    };
    if let Some(word) = words.get_mut(at)
        && let Ok(json) = serde_json::from_str(word)
    {
        *word = canonical(&json);
    }
    Value::texts(words)
}

fn names_of(host: &str) -> String {
    format!(" {host} ")
}

fn quoted(text: &str) -> String {
    json!(text).to_string()
}

fn holder(token: &Token) -> String {
    format!(r#"{{"fence":{},"owner":{},"#, token.fence, quoted(&token.owner))
}

/// A record from the comma behind its numbers on.
fn text(state: &str, job: &Job, host: &str, more: &serde_json::Value) -> String {
    let mut object = json!({
        "state": state, "image_ref": job.image, "stream": STREAM, "source_ref": job.source.to_string(),
        "op_source": "lobby_stream", "host": host, "engine": "docker",
    });
    for (name, value) in more.as_object().expect("an object") {
        if value != "" {
            object[name] = value.clone();
        }
    }
    object.to_string().replacen('{', ",", 1)
}

fn found(label: &Label, host: &str) -> String {
    let more = json!({ "container_id": label.container, "engine_endpoint": "http://found" });
    text("running", &label.job, host, &more)
}
