//! The pulls of a host as its replicas tell each other in Redis: a HASH for each host (`<prefix>pulls:<host>`), so that
//! several replicas beside one engine pull an image once, and operators see how far a pull is.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::contract::error_code::ErrorCode;
use crate::contract::reference::Reference;
use crate::engine::PullProgress;
use crate::redis::{Connection, RedisError, Script, Source, Value};

/// How long a replica that pulls counts as alive after it has said so last.
pub(super) const LEASE: Duration = Duration::from_secs(5);
/// Between two times that it says so.
pub(super) const RENEW: Duration = Duration::from_secs(1);
/// Bytes of a failure's words that others see.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Characters of what other programs wrote that are shown.
const TEXT_MAX: usize = 1024;

/// The pulls of all hosts.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    connection: Arc<Connection>,
    prefix: String,
    scripts: Arc<Scripts>,
}

#[derive(Debug)]
struct Scripts {
    claim: Script,
    renew: Script,
    finish: Script,
    wish: Script,
    wanted: Script,
}

/// What a replica is about to pull.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) image: &'a str,
    pub(super) owner: &'a str,
    /// A replica that is known to be dead.
    pub(super) dead_owner: Option<&'a str>,
    /// The pull of another replica whose end is waited for.
    pub(super) awaited: Option<&'a str>,
    /// Under this id; none: only a look.
    pub(super) id: Option<&'a str>,
}

/// The answer to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claimed {
    /// No replica pulls it.
    Free,
    /// This replica does, from now on.
    Go,
    /// Another does.
    Busy {
        /// Its pull.
        id: String,
        /// Some of the image is there.
        has_bytes: bool,
    },
    /// The pull that was waited for has ended.
    Ended(Result<(), (ErrorCode, String)>),
    /// The registry wants to be left alone.
    Limited(Duration, String),
}

/// How a pull has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End<'a> {
    Done,
    Failed(ErrorCode, &'a str),
    /// The registry wants to be left alone for so long.
    Limited(&'a str, Duration),
    /// As if it had not begun.
    GivenUp,
}

/// A pull as a host's replicas have written it down; whatever is not there is empty or zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct PullLine {
    /// `wanted`, `pulling`, `done` or `failed`.
    pub(crate) state: String,
    /// The replica that pulls.
    pub(crate) owner: String,
    /// When it began, or was wished for, by the server's clock.
    pub(crate) since: u64,
    /// When its replica was heard of last.
    pub(crate) renewed: u64,
    /// How long that counts, in milliseconds.
    pub(crate) lease: u64,
    /// Bytes received.
    pub(crate) bytes: u64,
    /// Bytes of the layers whose size is known.
    pub(crate) total: u64,
    /// Layers named so far.
    pub(crate) layers: u64,
    /// Layers that are complete.
    pub(crate) layers_done: u64,
    /// How it failed.
    pub(crate) code: String,
    /// In which words.
    pub(crate) message: String,
    /// The wish that it carries out.
    pub(crate) wish: String,
    /// Whose wish.
    pub(crate) by: String,
}

/// Until when a registry wants to be left alone, and its words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct LimitLine {
    /// By the server's clock.
    pub(crate) until: u64,
    /// As the engine heard it.
    pub(crate) message: String,
}

/// What is written down about one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Its pull.
    pub(crate) pull: Option<PullLine>,
    /// The limit of its repository.
    pub(crate) limit: Option<LimitLine>,
}

impl Board {
    /// The pulls under this prefix.
    pub(crate) fn new(connection: Arc<Connection>, prefix: &str) -> Self {
        let script =
            |lua: &str| Source::new().keys(&["PULLS"]).part(include_str!("scripts/shared.lua")).part(lua).script();
        let scripts = Arc::new(Scripts {
            claim: script(include_str!("scripts/claim.lua")),
            renew: script(include_str!("scripts/renew.lua")),
            finish: script(include_str!("scripts/finish.lua")),
            wish: script(include_str!("scripts/wish.lua")),
            wanted: script(include_str!("scripts/wanted.lua")),
        });
        Self { connection, prefix: prefix.to_owned(), scripts }
    }

    fn key(&self, host: &str) -> String {
        format!("{}pulls:{host}", self.prefix)
    }

    async fn call(&self, script: &Script, host: &str, words: &[&str]) -> Result<Value, RedisError> {
        script.run(&self.connection, [self.key(host)], words.iter().map(|&word| Value::from(word))).await
    }

    /// Takes the pull of an image, or looks what others do about it.
    pub(super) async fn claim(&self, host: &str, claim: Claim<'_>) -> Result<Claimed, RedisError> {
        let lease = LEASE.as_millis().to_string();
        let words = [
            claim.image,
            Reference::repository(claim.image),
            claim.owner,
            claim.dead_owner.unwrap_or(""),
            claim.awaited.unwrap_or(""),
            if claim.id.is_some() { "1" } else { "0" },
            claim.id.unwrap_or(""),
            &lease,
        ];
        let reply: Vec<String> = self.call(&self.scripts.claim, host, &words).await?.convert()?;
        let reply: Vec<&str> = reply.iter().map(String::as_str).collect();
        Ok(match reply.as_slice() {
            ["free"] => Claimed::Free,
            ["go"] => Claimed::Go,
            ["busy", id, bytes] => Claimed::Busy { id: (*id).to_owned(), has_bytes: *bytes != "0" },
            ["ended", "done", ..] => Claimed::Ended(Ok(())),
            ["ended", _, code, message] => {
                let known = ErrorCode::ALL.into_iter().find(|known| known.as_str() == *code);
                Claimed::Ended(Err((known.unwrap_or(ErrorCode::ImagePullFailed), (*message).to_owned())))
            }
            ["limited", left_ms, message] => {
                let left_ms = left_ms.parse().map_err(|_| RedisError::unexpected("a limit"))?;
                Claimed::Limited(Duration::from_millis(left_ms), (*message).to_owned())
            }
            _ => return Err(RedisError::unexpected("a claim of a pull")),
        })
    }

    /// A pull goes on; false where the line is not its own any more: another replica has taken it over.
    pub(super) async fn renew(
        &self,
        host: &str,
        (image, id): (&str, &str),
        progress: PullProgress,
    ) -> Result<bool, RedisError> {
        let numbers = numbers(progress);
        let [bytes, total, layers, layers_done] = numbers.each_ref().map(String::as_str);
        let words = [image, id, bytes, total, layers, layers_done];
        Ok(self.call(&self.scripts.renew, host, &words).await?.as_i64() == Some(1))
    }

    /// A pull has ended, and came this far; none of it is known where no layer is.
    pub(super) async fn finish(
        &self,
        host: &str,
        (image, id): (&str, &str),
        (end, progress): (End<'_>, PullProgress),
    ) -> Result<(), RedisError> {
        let (state, code, message, wait) = match end {
            End::Done => ("done", "", "", Duration::ZERO),
            End::Failed(code, message) => ("failed", code.as_str(), message, Duration::ZERO),
            End::Limited(message, wait) => ("failed", ErrorCode::ImagePullRateLimited.as_str(), message, wait),
            End::GivenUp => ("given_up", "", "", Duration::ZERO),
        };
        let wait_ms = wait.as_millis().to_string();
        let numbers = numbers(progress);
        let [bytes, total, layers, layers_done] = numbers.each_ref().map(String::as_str);
        let repository = Reference::repository(image);
        let words = [image, repository, id, state, code, short(message), &wait_ms, bytes, total, layers, layers_done];
        self.call(&self.scripts.finish, host, &words).await.map(drop)
    }

    /// An operator wants this host to pull an image; false where there are too many pulls already.
    pub(crate) async fn wish(&self, host: &str, image: &str, wish: &str, by: &str) -> Result<bool, RedisError> {
        Ok(self.call(&self.scripts.wish, host, &[image, wish, by]).await?.as_i64() == Some(1))
    }

    /// The images that operators want here and on which no replica works.
    pub(super) async fn wanted(&self, host: &str) -> Result<Vec<String>, RedisError> {
        self.call(&self.scripts.wanted, host, &[]).await?.convert()
    }

    /// What is written down about an image.
    pub(crate) async fn written(&self, host: &str, image: &str) -> Result<Written, RedisError> {
        let limit = format!("~{}", Reference::repository(image));
        let reply = self.connection.raw(&["HMGET", &self.key(host), image, &limit]).await?;
        let texts: Vec<Option<String>> = reply.into_list()?.iter().map(Value::as_string).collect();
        let text = |at: usize| texts.get(at).and_then(Option::as_deref);
        let mut pull: Option<PullLine> = text(0).and_then(|text| serde_json::from_str(text).ok());
        if let Some(PullLine { state, owner, code, message, wish, by, .. }) = &mut pull {
            for text in [state, owner, code, message, wish, by] {
                *text = text.chars().take(TEXT_MAX).collect();
            }
        }
        let mut limit: Option<LimitLine> = text(1).and_then(|text| serde_json::from_str(text).ok());
        if let Some(limit) = &mut limit {
            limit.message = limit.message.chars().take(TEXT_MAX).collect();
        }
        Ok(Written { pull, limit })
    }
}

impl PullLine {
    /// Whether a replica works on it, at this moment of the server's clock.
    pub(crate) fn is_alive(&self, now_ms: u64) -> bool {
        self.state == "pulling" && now_ms.abs_diff(self.renewed) < self.lease
    }
}

/// As the scripts take them.
fn numbers(progress: PullProgress) -> [String; 4] {
    let PullProgress { bytes, total, layers, layers_done } = progress;
    [bytes, total, layers.into(), layers_done.into()].map(|number: u64| number.to_string())
}

fn short(message: &str) -> &str {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}
