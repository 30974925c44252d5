//! What the commands of operators share: their flags, and a connection with a limit for every answer.

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::setting_flags::{self, Fleet};
use super::{exit, output, process};
use crate::ops::View;
use crate::ops::alerts::rules::{REDIS_DOWN, REDIS_REFUSES};
use crate::ops::connect::{connect, within};
use crate::ops::overview::Overview;
use crate::ops::printable::printable;
use crate::ops::refusal::Why;
use crate::ops::verdict::Health;
use crate::redis::{Kind, RedisError};
use crate::settings::Settings;
use crate::settings::flags::{SettingFlags, Takes};
use crate::stream::fleet_event::FleetEvent;

/// The flags of every command that looks at a fleet.
#[derive(Debug, Args)]
pub(super) struct FleetArgs<T: Takes = Fleet> {
    #[command(flatten)]
    pub(super) limit: LimitArgs,
    #[command(flatten)]
    settings: SettingFlags<T>,
}

/// How long a command waits for Redis.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct LimitArgs {
    /// Maximum time to connect, and then for each answer
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
}

impl<T: Takes> FleetArgs<T> {
    /// The settings and the limit, or the exit code after what is wrong with the settings.
    pub(super) fn load(self) -> Result<(Settings, Duration), ExitCode> {
        Ok((setting_flags::load(self.settings)?, self.limit.timeout))
    }
}

/// A fleet to look at, with a limit for every answer.
pub(super) struct Session {
    pub(super) view: View,
    limit: Duration,
    url: String,
}

impl Session {
    /// Loads the settings and runs the command on a connection.
    pub(super) fn run<T: Takes>(fleet: FleetArgs<T>, command: impl AsyncFnOnce(&Self) -> u8) -> ExitCode {
        let (settings, limit) = match fleet.load() {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        process::block_on(async move {
            match Self::open(&settings, limit).await {
                Ok(session) => command(&session).await,
                Err(error) => Self::no_connection(&settings, &error),
            }
        })
    }

    /// Says that there is no connection; the exit code that follows.
    pub(super) fn no_connection(settings: &Settings, error: &RedisError) -> u8 {
        unavailable(&settings.redis.display_url, error)
    }

    /// Connects.
    pub(super) async fn open(settings: &Settings, limit: Duration) -> Result<Self, RedisError> {
        let url = settings.redis.display_url.clone();
        let say =
            || output::note(&format!("waiting for Redis at {url}, for at most {}", humantime::format_duration(limit)));
        let connection = connect(&settings.redis, "startjobs:ops", limit, say).await?;
        Ok(Self { view: View::new(Arc::new(connection), settings), limit, url })
    }

    /// How long each answer may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Bounds a question. Boxed, because some questions are large and every command would be with them.
    pub(super) fn ask<'a, T>(
        &self,
        question: impl Future<Output = Result<T, RedisError>> + 'a,
    ) -> Pin<Box<dyn Future<Output = Result<T, RedisError>> + 'a>>
    where
        T: 'a,
    {
        Box::pin(within(self.limit, question))
    }

    /// Where the stream does not exist, says what there is instead, as `status` does; the exit code that follows. With `groups`
    /// also where the stream has other groups, and not this one. A stream to which jobs were sent before its first replica
    /// came has no group at all, and can be looked at.
    pub(super) async fn no_fleet(&self, groups: bool) -> Result<Option<u8>, RedisError> {
        let overview = self.ask(self.view.overview(0)).await?;
        let Overview { verdict, snapshot, .. } = &overview;
        let is_mistyped = !snapshot.has_stream || (groups && !snapshot.other_groups.is_empty());
        if verdict.health != Health::NoFleet || !is_mistyped {
            return Ok(None);
        }
        let sentence = verdict.sentence.trim_end_matches('.');
        let (what, remedy) = sentence.split_once(". ").unwrap_or((sentence, ""));
        output::complain(what, remedy);
        Ok(Some(exit::FAILED))
    }

    /// Writes down what was done, for the page and for `inspect`. Where Redis refuses that, it stays done.
    pub(super) async fn note(&self, event: FleetEvent) {
        let noted = async {
            self.view.note(&event.done_by(&who())).await;
            Ok(())
        };
        drop(within(self.limit, noted).await);
    }

    /// Says that there is no answer; the exit code that follows.
    pub(super) fn failed(&self, error: &RedisError) -> u8 {
        unavailable(&self.url, error)
    }
}

/// `user@host`, as far as the surroundings say.
pub(super) fn who() -> String {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".to_owned());
    format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
}

/// Says that Redis does not answer, or not as it should, and what to do; the exit code that follows.
pub(super) fn unavailable(url: &str, error: &RedisError) -> u8 {
    let refusal = Why::of_words(&error.text);
    let remedy = refusal.map_or_else(|| remedy(error.kind), |why| why.remedy().to_owned());
    output::complain(&format!("Redis at {url}: {}", printable(&error.text)), &remedy);
    if refusal.is_some() {
        eprintln!("  read: {}", REDIS_REFUSES.runbook());
    } else if error.kind == Kind::Unreachable {
        let (name, runbook) = (REDIS_DOWN.name, REDIS_DOWN.runbook());
        eprintln!("  where replicas do not reach it either, the alert {name} fires: {runbook}");
    }
    exit::UNAVAILABLE
}

/// What to do about a call that failed so.
pub(super) fn remedy(kind: Kind) -> String {
    match kind {
        Kind::Unreachable => "start Redis, or correct redis-url: `startjobs config show --origin` says who set it",
        Kind::Denied => {
            "correct user and password, or give the user its rights: `startjobs doctor` names those missing"
        }
        Kind::WrongType => {
            "find out which program wrote the key; with another prefix or stream name it is not in the way"
        }
        _ => "`startjobs doctor` looks for the cause",
    }
    .to_owned()
}
