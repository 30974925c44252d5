//! What a failed Redis call means: the kinds are what a caller may do about it, and the text is for people. Nothing else
//! puts an error of Redis, the client or the network into words.

use fred::error::{Error, ErrorKind};

use crate::tls::Tls;

/// A failed Redis call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct RedisError {
    /// What may be done about it.
    pub kind: Kind,
    /// For people: plain words, and the server's own where it has said something.
    pub text: String,
}

/// What may be done about a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Redis does not answer, or the answer was lost: the call may or may not have been executed. Try again.
    Unreachable,
    /// The stream or the group is gone, or was while a read was blocked on it: adopt, then go on.
    GroupLost,
    /// A key of ours holds another type: an operator must repair it. Try again, slowly.
    WrongType,
    /// The server refuses writes for now (out of memory, read-only, loading, too few replicas, busy). Try again.
    Refusing,
    /// The keys are on another node of a Cluster, or on their way there: nothing was executed. Try again elsewhere.
    Moving,
    /// The credentials or rights do not suffice: an operator must repair them. Try again, slowly.
    Denied,
    /// The legacy offset cannot be read.
    BadOffset,
    /// The reply has another shape than this version expects, or the error is not a known one.
    Unexpected,
}

impl RedisError {
    /// An error in the server's words, as a command answered it or a script caught it.
    pub(crate) fn of_server(text: &str) -> Self {
        let Some(Meaning { at, kind, words, .. }) = meaning_of(text) else {
            return Self { kind: Kind::Unexpected, text: text.to_owned() };
        };
        // Scripts of 6.2 bury what Redis says in a longer text.
        let said = &text[at..];
        let text = match words {
            Words::Say(words) => format!("{words} ({said})"),
            Words::Ours(tag, begin) => format!("{begin}{}", said.strip_prefix(tag).unwrap_or(said).trim_start()),
        };
        Self { kind, text }
    }

    /// Redis does not answer, or the answer was lost.
    pub(crate) fn unreachable(text: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, text: text.into() }
    }

    /// A reply of another shape than this version expects.
    pub(crate) fn unexpected(what: &str) -> Self {
        Self { kind: Kind::Unexpected, text: format!("unexpected reply from Redis: {what}") }
    }

    /// Of a connection that did not come about: in words that name what to check, where it is a failed handshake.
    pub(super) fn of_handshake(error: &Error, tls: Option<&Tls>) -> Self {
        if let Some(text) = tls.and_then(|tls| tls.explain(error.details())) {
            return Self::unreachable(text);
        }
        let explained = Self::from(error);
        if tls.is_some() && *error.kind() == ErrorKind::Timeout {
            // A server without TLS waits for the end of what it takes for a command.
            let text = format!("{}. Does the server have TLS on, on the port in redis-url?", explained.text);
            return Self { text, ..explained };
        }
        explained
    }

    /// The server has said no, so nothing was executed.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.kind, Kind::WrongType | Kind::Refusing | Kind::Moving | Kind::Denied)
    }

    /// Trying again cannot mend it: the settings name something that the server does not have.
    pub(crate) fn is_permanent(&self) -> bool {
        PERMANENT.iter().any(|words| self.text.contains(words))
    }

    /// A failed TLS handshake, in words of ours.
    pub(super) fn is_tls(&self) -> bool {
        self.text.starts_with("the TLS handshake failed")
    }
}

/// The library's words for a client whose task has ended: no call on it will ever be answered.
pub(super) fn is_of_dead_client(error: &Error) -> bool {
    DEAD_CLIENT.iter().any(|words| error.details().contains(words))
}

const DEAD_CLIENT: [&str; 2] = ["Failed to send command to router", "Client is not initialized"];

/// What a server says about a database that it does not have, or of itself where it is not a single server.
const PERMANENT: [&str; 3] = ["DB index is out of range", "invalid DB index", "SELECT is not allowed in cluster mode"];

/// How an error of the server is told.
#[derive(Debug, Clone, Copy)]
enum Words {
    /// With these words, and the server's own behind them.
    Say(&'static str),
    /// As it is, because one of our scripts says it: without this tag in front, and with this instead.
    Ours(&'static str, &'static str),
}

/// What an error of the server means.
#[derive(Debug, Clone, Copy)]
struct Meaning {
    /// Where in the text it begins.
    at: usize,
    kind: Kind,
    words: Words,
}

const CLUSTER: &str =
    "it is a node of a Redis Cluster, which this version cannot use; name a single server in redis-url";
const NO_DATABASE: &str = "the server has no database of this number; correct it in redis-url";
const NO_STREAM: &str = "the stream or its consumer group is missing";
const BUSY: &str = "Redis is busy with a script";

/// Server errors are told apart by their first word: the client leaves most of them without a kind. Scripts of 6.2
/// bury the word in a longer text, so it is looked for anywhere; the first in this list decides.
const MEANINGS: &[(&str, Kind, Words)] = &[
    (PERMANENT[0], Kind::Unexpected, Words::Say(NO_DATABASE)),
    (PERMANENT[1], Kind::Unexpected, Words::Say(NO_DATABASE)),
    (PERMANENT[2], Kind::Unexpected, Words::Say(CLUSTER)),
    ("NOGROUP", Kind::GroupLost, Words::Say(NO_STREAM)),
    ("UNBLOCKED", Kind::GroupLost, Words::Say("the read was ended by the server")),
    ("no longer exists", Kind::GroupLost, Words::Say(NO_STREAM)),
    ("no such key", Kind::GroupLost, Words::Say(NO_STREAM)),
    ("BADOFFSET", Kind::BadOffset, Words::Ours("BADOFFSET", "")),
    ("KEYTYPE", Kind::WrongType, Words::Ours("KEYTYPE", "the key ")),
    ("WRONGTYPE", Kind::WrongType, Words::Say("a key holds another type than expected")),
    ("OOM", Kind::Refusing, Words::Say("Redis is out of memory and refuses writes")),
    ("READONLY", Kind::Refusing, Words::Say("the server is a read-only replica")),
    ("LOADING", Kind::Refusing, Words::Say("Redis is loading its data")),
    ("BUSYGROUP", Kind::Refusing, Words::Say("the consumer group exists already")),
    ("BUSY", Kind::Refusing, Words::Say(BUSY)),
    ("NOREPLICAS", Kind::Refusing, Words::Say("Redis has too few replicas and refuses writes")),
    ("MASTERDOWN", Kind::Refusing, Words::Say("the server is a replica that has lost its primary")),
    ("MISCONF", Kind::Refusing, Words::Say("Redis cannot save its data and refuses writes")),
    ("UNKILLABLE", Kind::Refusing, Words::Say(BUSY)),
    ("NOSCRIPT", Kind::Refusing, Words::Say("Redis has forgotten a script")),
    ("NOAUTH", Kind::Denied, Words::Say("Redis asks for a password")),
    ("WRONGPASS", Kind::Denied, Words::Say("the user name or password was refused")),
    ("NOPERM", Kind::Denied, Words::Say("the user lacks a right")),
    ("invalid password", Kind::Denied, Words::Say("the password was refused")),
    ("MOVED", Kind::Moving, Words::Say(CLUSTER)),
    ("ASK", Kind::Moving, Words::Say(CLUSTER)),
    ("TRYAGAIN", Kind::Moving, Words::Say(CLUSTER)),
    ("CLUSTERDOWN", Kind::Moving, Words::Say(CLUSTER)),
    ("CROSSSLOT", Kind::Unexpected, Words::Say(CLUSTER)),
    ("max number of clients", Kind::Unexpected, Words::Say("Redis accepts no more connections")),
    ("DENIED", Kind::Unexpected, Words::Say("Redis is in protected mode and accepts only local connections")),
];

fn meaning_of(text: &str) -> Option<Meaning> {
    MEANINGS.iter().find_map(|&(word, kind, words)| {
        if word.starts_with(|c: char| c.is_ascii_lowercase()) {
            return text.contains(word).then_some(Meaning { at: 0, kind, words });
        }
        // A word in capitals begins what Redis says, wherever that is.
        let is_whole = |at: usize| !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let at = text.match_indices(word).map(|(at, _)| at).find(|&at| is_whole(at))?;
        Some(Meaning { at, kind, words })
    })
}

impl From<&Error> for RedisError {
    fn from(error: &Error) -> Self {
        let details = error.details();
        match error.kind() {
            ErrorKind::Timeout => Self::unreachable("timed out"),
            ErrorKind::Backpressure => Self::unreachable("too many calls wait for Redis"),
            ErrorKind::Canceled => Self::unreachable(DROPPED),
            ErrorKind::Routing => Self::unreachable("not connected"),
            ErrorKind::IO | ErrorKind::Tls => Self::unreachable(of_io(details)),
            ErrorKind::Auth => Self { kind: Kind::Denied, ..Self::of_server(details) },
            ErrorKind::Protocol => Self {
                kind: Kind::Unexpected,
                text: format!("what answers there does not speak Redis's protocol ({details})"),
            },
            ErrorKind::Parse => Self::unexpected(details),
            _ => match CLIENT.iter().find(|(said, _)| details.contains(said)) {
                Some((_, words)) => Self::unreachable(*words),
                None if details.is_empty() => Self::unexpected(&format!("{:?}", error.kind())),
                None => Self::of_server(details),
            },
        }
    }
}

const DROPPED: &str = "the connection was dropped before the answer came";
const CLOSED: &str = "the server closed the connection";

/// The client's own words for a call whose connection was gone, and ours.
const CLIENT: [(&str, &str); 5] = [
    ("channel closed", DROPPED),
    ("Too many failed write attempts", "the connection was lost"),
    ("Failed to route command", "not connected"),
    (DEAD_CLIENT[0], "not connected"),
    (DEAD_CLIENT[1], "not connected"),
];

/// What the client tells of an error of the system: it prints it as Rust shows it to programmers.
const IO: [(&str, &str); 12] = [
    ("failed to lookup address", "the host name was not found"),
    ("Failed to resolve", "the host name was not found"),
    // The library's words are about attackers and a page of its manual; it is what a killed server looks like.
    ("without sending TLS close_notify", CLOSED),
    ("ConnectionRefused", "connection refused"),
    ("ConnectionReset", "connection reset"),
    ("Connection closed", CLOSED),
    ("UnexpectedEof", CLOSED),
    ("ConnectionAborted", CLOSED),
    ("BrokenPipe", CLOSED),
    ("TimedOut", "timed out"),
    ("NotFound", "no such socket"),
    ("PermissionDenied", "permission denied"),
];

fn of_io(details: &str) -> String {
    if let Some((_, words)) = IO.iter().find(|(said, _)| details.contains(said)) {
        return (*words).to_owned();
    }
    // `Os { code: 101, kind: NetworkUnreachable, message: "Network is unreachable" }`, or `Custom` with `error: "..."`.
    let quoted = details.split_once("message: \"").or_else(|| details.split_once("error: \""));
    let message = quoted.and_then(|(_, rest)| rest.split_once('"')).map_or(details, |(message, _)| message);
    let mut letters = message.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
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
            ("BUSYGROUP Consumer Group name already exists", Kind::Refusing),
            ("MOVED 1825 127.0.0.1:7001", Kind::Moving),
            ("ASK 1825 127.0.0.1:7001", Kind::Moving),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Kind::Moving),
            ("CLUSTERDOWN Hash slot not served", Kind::Moving),
            ("CROSSSLOT Keys in request don't hash to the same slot", Kind::Unexpected),
            ("ERR something new", Kind::Unexpected),
        ] {
            assert_eq!(RedisError::of_server(text).kind, kind, "{text}");
        }
    }

    #[test]
    fn plain_words_come_first_and_those_of_the_server_behind_them() {
        let wrong = "KEYTYPE results holds a string where a stream is expected";
        let buried = "ERR Error running script (call to f_1): @user_script: 3: -OOM command not allowed";
        for (text, told) in [
            (buried, "Redis is out of memory and refuses writes (OOM command not allowed)"),
            ("NOAUTH Authentication required.", "Redis asks for a password (NOAUTH Authentication required.)"),
            (wrong, "the key results holds a string where a stream is expected"),
            ("ERR no such key", "the stream or its consumer group is missing (ERR no such key)"),
            ("ERR something new", "ERR something new"),
            ("NEEDKEYS 4 5", "NEEDKEYS 4 5"),
        ] {
            assert_eq!(RedisError::of_server(text).text, told);
        }
    }

    #[test]
    fn errors_of_the_client_and_the_system_are_plain_words() {
        for (kind, details, told) in [
            (
                ErrorKind::IO,
                r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#,
                "connection refused",
            ),
            (
                ErrorKind::IO,
                r#"Os { code: 101, kind: NetworkUnreachable, message: "Network is unreachable" }"#,
                "network is unreachable",
            ),
            (
                ErrorKind::IO,
                r#"Custom { kind: Uncategorized, error: "failed to lookup address information: Name or service not known" }"#,
                "the host name was not found",
            ),
            (ErrorKind::IO, "Kind(UnexpectedEof)", "the server closed the connection"),
            (ErrorKind::IO, "Connection closed.", "the server closed the connection"),
            (ErrorKind::IO, r#"Custom { kind: Other, error: "Something else" }"#, "something else"),
            (ErrorKind::Timeout, "Request timed out.", "timed out"),
            (ErrorKind::Unknown, "Failed to send command to router.", "not connected"),
            (ErrorKind::Unknown, "channel closed", "the connection was dropped before the answer came"),
            (ErrorKind::Canceled, "Canceled.", "the connection was dropped before the answer came"),
            (ErrorKind::Backpressure, "Max in-flight commands reached.", "too many calls wait for Redis"),
        ] {
            let error = RedisError::from(&Error::new(kind, details));
            assert_eq!((error.kind, error.text.as_str()), (Kind::Unreachable, told));
        }
    }
}
