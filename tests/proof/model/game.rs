//! One game's record, and what is asked of it.

use serde_json::{Value as Json, json};

use super::record::STREAM;
use crate::call::host_of;
use crate::ids::Id;

/// The right to a game, as its holder remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub owner: String,
    pub fence: u64,
    pub attempt: u64,
    pub job: Job,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub source: Id,
    pub image: String,
}

/// What an operator or what keeps the records true names.
#[derive(Debug, Clone)]
pub enum Verb {
    Begin {
        me: String,
        job: Job,
        dead: String,
        gone: String,
        dead_owner: String,
        dead_host: String,
        most: Option<u64>,
    },
    Fence(Token),
    Renew(Token),
    Release(Token, bool),
    Condemn(Token, String),
    /// The container and endpoint of a success; nothing: a failure; and what is still condemned.
    Commit(Token, Option<(String, String)>, String),
    Yield(Token, Label),
    Room(Token, Option<u64>),
    Disown(String),
    Abandon {
        me: String,
        job: Job,
        container: String,
    },
    Reap {
        me: String,
        label: Label,
        only_asks: bool,
    },
    Removed(String),
    Ended(String),
    Moved(String, String),
    Revived(String, String),
    Rebuild {
        me: String,
        label: Label,
    },
    Unlist(String),
    Stop {
        host: String,
        is_gone: bool,
    },
    Show,
    Beat(String, String),
    Forget(String),
    Tick(String, String),
    Fleet(String),
    Probe,
}

/// What a container says.
#[derive(Debug, Clone)]
pub struct Label {
    pub container: String,
    pub fence: u64,
    pub owner: String,
    pub job: Job,
}

/// Code, and why the job was given up.
pub type Answer = (String, String);

#[derive(Debug, Clone)]
pub struct Rec {
    pub fence: u64,
    pub owner: String,
    pub lease_until: u64,
    pub updated: u64,
    pub attempt: u64,
    pub state: &'static str,
    pub job: Job,
    pub host: String,
    pub condemned: String,
    pub container: String,
    pub endpoint: String,
    pub exit_code: String,
    pub ended_at: String,
    pub stopped_by: String,
    /// Code and why it was given up.
    pub answer: Option<Answer>,
    /// It says only what is condemned: no attempt is known.
    pub is_blank: bool,
}

/// The JSON of a stored answer, as it is compared.
pub fn answer_json(success: Option<(&str, &str)>, answer: &Answer) -> Json {
    let (container, endpoint) = success.unwrap_or_default();
    json!({
        "outcome": if success.is_some() { "success" } else { "failure" }, "container_id": container, "engine_endpoint": endpoint,
        "error_code": answer.0, "given_up": answer.1, "error_message": if answer.0.is_empty() { "" } else { "why" },
    })
}

impl Rec {
    pub fn beginning(fence: u64, me: &str, now: u64, attempt: u64, job: &Job) -> Self {
        Self {
            fence,
            owner: me.to_owned(),
            lease_until: 0,
            updated: now,
            attempt,
            state: "starting",
            job: job.clone(),
            host: host_of(me),
            condemned: String::new(),
            container: String::new(),
            endpoint: String::new(),
            exit_code: String::new(),
            ended_at: String::new(),
            stopped_by: String::new(),
            answer: None,
            is_blank: false,
        }
    }

    pub fn is_held_by(&self, token: &Token) -> bool {
        self.fence == token.fence && self.owner == token.owner
    }

    pub fn answer_of(&self) -> Option<Json> {
        let success = (self.state == "running").then_some((self.container.as_str(), self.endpoint.as_str()));
        self.answer.as_ref().map(|answer| answer_json(success, answer))
    }

    pub fn to_json(&self) -> Json {
        let answer = self.answer.as_ref().map(|(code, given_up)| {
            json!({ "error_code": code, "error_message": if code.is_empty() { "" } else { "why" }, "given_up": given_up })
        });
        if self.is_blank {
            return json!({
                "fence": 0, "lease_until_ms": 0, "attempt": 0, "updated_at_ms": self.updated, "state": "failed",
                "condemned": self.condemned,
            });
        }
        let mut object = json!({
            "fence": self.fence, "owner": self.owner, "lease_until_ms": self.lease_until, "updated_at_ms": self.updated,
            "attempt": self.attempt, "state": self.state, "image_ref": self.job.image, "stream": STREAM,
            "source_ref": self.job.source.to_string(), "op_source": "lobby_stream", "host": self.host, "engine": "docker",
            "condemned": self.condemned, "container_id": self.container, "engine_endpoint": self.endpoint,
            "exit_code": self.exit_code, "ended_at_ms": self.ended_at, "stopped_by": self.stopped_by,
        });
        if let Some(answer) = answer {
            object["answer"] = answer;
        }
        object
    }
}

/// JSON without members that say nothing.
pub fn canonical(json: &Json) -> String {
    fn trimmed(json: &Json) -> Json {
        match json {
            Json::Object(members) => members
                .iter()
                .filter(|(_, member)| *member != "")
                .map(|(name, member)| (name.clone(), trimmed(member)))
                .collect(),
            other => other.clone(),
        }
    }
    trimmed(json).to_string()
}

pub fn of_label(label: &Label, fence: u64, host: &str, now: u64, attempt: u64) -> Rec {
    Rec {
        state: "running",
        owner: label.owner.clone(),
        host: host.to_owned(),
        container: label.container.clone(),
        endpoint: "http://found".to_owned(),
        ..Rec::beginning(fence, &label.owner, now, attempt, &label.job)
    }
}
