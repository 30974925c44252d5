//! What a failed Redis call means: the variants are what a caller may do about it.

use fred::error::{Error, ErrorKind};

use crate::tls::Tls;

/// A failed Redis call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RedisError {
    /// What may be done about it.
    pub kind: Kind,
    /// The server's or the client's words.
    pub text: String,
}

/// What may be done about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nobody answers, or the answer was lost: it may or may not have been executed. Try again.
    Unreachable,
    /// The stream or the group is gone, or was while a read was blocked on it: adopt, then go on.
    GroupLost,
    /// A key of ours holds another type: somebody must repair it. Try again, slowly.
    WrongType,
    /// The server refuses writes for now (out of memory, read-only, loading, too few replicas, busy). Try again.
    Refusing,
    /// The credentials or rights do not suffice. Try again, slowly; somebody must repair it.
    Denied,
    /// The legacy offset cannot be read.
    BadOffset,
    /// The reply has not the shape this version expects, or an error nobody has mapped.
    Unexpected,
}

impl RedisError {
    /// An error as a script caught it.
    pub fn of_text(text: &str) -> Self {
        Self { kind: kind_of(text), text: text.to_owned() }
    }

    /// A reply of another shape than this version expects.
    pub fn unexpected(what: &str) -> Self {
        Self { kind: Kind::Unexpected, text: format!("unexpected reply from Redis: {what}") }
    }

    /// Of a connection that did not come about: in words that name what to check, where it is a failed handshake.
    pub(super) fn explained(self, tls: Option<&Tls>) -> Self {
        if let Some((_, meaning)) = PERMANENT.iter().find(|(words, _)| self.text.contains(words)) {
            return Self { text: format!("{meaning} ({})", self.text), ..self };
        }
        let Some(tls) = tls else { return self };
        match tls.explain(&self.text) {
            Some(text) => Self { kind: Kind::Unreachable, text },
            // A server without TLS waits for the end of what it takes for a command.
            None if self.text.contains("timed out") => {
                let text = format!("{} Does the server have TLS on, on the port in redis-url?", self.text);
                Self { text, ..self }
            }
            None => self,
        }
    }
}

impl RedisError {
    /// Trying again cannot mend it: the settings name something that the server does not have.
    pub fn is_permanent(&self) -> bool {
        PERMANENT.iter().any(|(words, _)| self.text.contains(words))
    }

    /// A failed TLS handshake, in words of ours.
    pub(super) fn is_tls(&self) -> bool {
        self.text.starts_with("the TLS handshake failed")
    }

    /// The library's words for a client whose task has ended: no call on it will ever be answered.
    pub(super) fn is_of_dead_client(&self) -> bool {
        DEAD_CLIENT.iter().any(|words| self.text.contains(words))
    }
}

const DEAD_CLIENT: [&str; 2] = ["Failed to send command to router", "Client is not initialized"];

/// What a server says about the database in the URL, and what it means.
const PERMANENT: [(&str, &str); 3] = [
    ("DB index is out of range", "the server has no database of this number; correct it in redis-url"),
    ("invalid DB index", "the server has no database of this number; correct it in redis-url"),
    (
        "SELECT is not allowed in cluster mode",
        "it is a node of a Redis Cluster, which this version cannot use; name a single server in redis-url",
    ),
];

/// Server errors are told apart by their first word: the client leaves most of them without a kind. Scripts of 6.2
/// bury the word in a longer text, so it is looked for anywhere.
const MEANINGS: [(&str, Kind); 25] = [
    // The client's own words for a command whose connection was gone.
    ("Too many failed write attempts", Kind::Unreachable),
    ("channel closed", Kind::Unreachable),
    ("Failed to route command", Kind::Unreachable),
    (DEAD_CLIENT[0], Kind::Unreachable),
    (DEAD_CLIENT[1], Kind::Unreachable),
    ("NOGROUP", Kind::GroupLost),
    ("UNBLOCKED", Kind::GroupLost),
    ("no longer exists", Kind::GroupLost),
    ("no such key", Kind::GroupLost),
    ("BADOFFSET", Kind::BadOffset),
    ("KEYTYPE", Kind::WrongType),
    ("WRONGTYPE", Kind::WrongType),
    ("OOM", Kind::Refusing),
    ("READONLY", Kind::Refusing),
    ("LOADING", Kind::Refusing),
    ("BUSY", Kind::Refusing),
    ("NOREPLICAS", Kind::Refusing),
    ("MASTERDOWN", Kind::Refusing),
    ("MISCONF", Kind::Refusing),
    ("UNKILLABLE", Kind::Refusing),
    ("NOSCRIPT", Kind::Refusing),
    ("NOAUTH", Kind::Denied),
    ("WRONGPASS", Kind::Denied),
    ("NOPERM", Kind::Denied),
    ("invalid password", Kind::Denied),
];

impl From<Error> for RedisError {
    fn from(error: Error) -> Self {
        let text = error.details().to_owned();
        let kind = match error.kind() {
            ErrorKind::IO
            | ErrorKind::Tls
            | ErrorKind::Timeout
            | ErrorKind::Canceled
            | ErrorKind::Backpressure
            | ErrorKind::Routing => Kind::Unreachable,
            ErrorKind::Auth => Kind::Denied,
            ErrorKind::Parse | ErrorKind::Protocol => Kind::Unexpected,
            _ => kind_of(&text),
        };
        let text = match text {
            empty if empty.is_empty() => format!("{:?}", error.kind()),
            // What waited on a client that was replaced.
            text if error.is_canceled() || text == "channel closed" => {
                format!("the connection was dropped before the answer came ({text})")
            }
            // What a server that is killed looks like; the library's words are about attackers and a page of its manual.
            long if long.contains("without sending TLS close_notify") => "the server closed the connection".to_owned(),
            text => text,
        };
        Self { kind, text }
    }
}

fn kind_of(text: &str) -> Kind {
    MEANINGS.iter().find(|(word, _)| text.contains(word)).map_or(Kind::Unexpected, |&(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_every_server_version_are_understood() {
        for (text, kind) in [
            ("NOGROUP No such key 'runtime:start_jobs' or consumer group", Kind::GroupLost),
            ("-NOGROUP the consumer group this client was blocked on no longer exists", Kind::GroupLost),
            ("UNBLOCKED the stream key no longer exists", Kind::GroupLost),
            ("ERR no such key", Kind::GroupLost),
            (
                "ERR Error running script (call to f_1): @user_script:3: @user_script: 3: -OOM command not allowed",
                Kind::Refusing,
            ),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Kind::WrongType),
            ("KEYTYPE results holds a string where a stream is expected", Kind::WrongType),
            ("BADOFFSET k holds \"x\"", Kind::BadOffset),
            ("READONLY You can't write against a read only replica.", Kind::Refusing),
            ("Failed to send command to router.", Kind::Unreachable),
            ("channel closed", Kind::Unreachable),
            ("ERR something new", Kind::Unexpected),
        ] {
            assert_eq!(kind_of(text), kind, "{text}");
        }
    }
}
