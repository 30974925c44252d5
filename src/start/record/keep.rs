//! How records are kept true: by what compares them with the engine, and by operators.

use serde::Deserialize;

use super::{FenceToken, Here, RecordJob, Records, parse_yes};
use crate::contract::job_result::Answer;
use crate::engine::{Container, label};
use crate::redis::RedisError;
use crate::start::OP_SOURCE;
use crate::start::game_id::GameId;
use crate::start::text::RecordText;

/// What is looked at of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct RecordView {
    /// `starting`, `running`, `failed` or `stopped`.
    pub(crate) state: String,
    /// The fencing token of its last attempt.
    pub(crate) fence: u64,
    /// The image asked for.
    pub(crate) image_ref: String,
    /// The job that it is of.
    #[serde(default)]
    pub(crate) source_ref: String,
    /// Where the game is placed.
    pub(crate) host: String,
    /// When it was written last, by the server's clock.
    pub(crate) updated_at_ms: u64,
    /// A container that must go.
    #[serde(default)]
    pub(crate) condemned: String,
    /// The container that runs, or ended last.
    #[serde(default)]
    pub(crate) container_id: String,
    /// Where it answers.
    #[serde(default)]
    pub(crate) engine_endpoint: String,
    /// How it ended, as a decimal number; empty where no one can tell.
    #[serde(default)]
    pub(crate) exit_code: String,
    /// When it ended, in Unix milliseconds of the engine's clock, or when it was stopped, by the server's.
    #[serde(default)]
    pub(crate) ended_at_ms: String,
    /// Who stopped it; empty where it ended by itself.
    #[serde(default)]
    pub(crate) stopped_by: String,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Its exit code, where the engine still has it.
    pub(crate) exit_code: Option<i64>,
    /// When, by the engine's clock.
    pub(crate) at_ms: Option<u64>,
}

/// What a container says about the attempt that created it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labelled<'a> {
    id: &'a str,
    endpoint: &'a str,
    image_ref: &'a str,
    source_ref: &'a str,
    fence: &'a str,
    owner: &'a str,
}

impl<'a> Labelled<'a> {
    /// As it was found.
    pub(crate) fn of(container: &'a Container) -> Self {
        let label = |name| container.label(name);
        Self {
            id: &container.id,
            endpoint: container.endpoint.as_deref().unwrap_or(""),
            image_ref: label(label::IMAGE_REF),
            source_ref: label(label::SOURCE_REF),
            fence: label(label::FENCE),
            owner: label(label::OWNER),
        }
    }
}

fn as_json(text: &str) -> String {
    serde_json::to_string(text).expect("a text is always JSON")
}

/// What is to become of a container that the record disowns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The record condemns it, and the caller removes it.
    Condemn,
    /// Nothing yet.
    Ask,
}

/// What the record says about a container that it does not name as running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reap {
    /// It stays.
    No,
    /// It may go, when it is old enough for a record that is about to be written.
    WhenOld,
    /// It may go now: no attempt can have it in its hands.
    Now,
}

/// Which game an operator stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopWhere<'a> {
    /// Wherever it is placed.
    Anywhere,
    /// Only where it is placed on this host.
    On(&'a str),
    /// Only where it is placed on this host, which is dead: what is left there is removed when it comes back, and the game may
    /// be started on another one before.
    Gone(&'a str),
}

/// What became of an operator's wish to stop a game.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StopAnswer {
    /// What the record said: it is stopped now where that was `running` or `starting`.
    pub(crate) was: String,
    /// Where the game was placed.
    pub(crate) host: String,
}

impl Records {
    /// The record of a game, if it has one that can be read.
    pub(crate) async fn view(&self, game: &GameId) -> Result<Option<RecordView>, RedisError> {
        let words = self.calls.call(self.key_of(game, "rec"), None, &["show"]).await?;
        let Some(text) = words.first() else { return Ok(None) };
        let key = self.key_of(game, "rec");
        let view = serde_json::from_str(text);
        view.map(Some).map_err(|error| RedisError::of_server(&format!("KEYTYPE {key} holds no record: {error}")))
    }

    /// Records that the game's container has ended; false where the record does not say that it runs.
    pub(crate) async fn ended(&self, game: &GameId, container_id: &str, ended: Ended) -> Result<bool, RedisError> {
        let code = ended.exit_code.map(|code| code.to_string()).unwrap_or_default();
        let at_ms = ended.at_ms.map(|ms| ms.to_string()).unwrap_or_default();
        parse_yes(&self.call_with_results(game, &["ended", container_id, &code, &at_ms]).await?)
    }

    /// Records where the game's container answers now; false where the record does not say that it runs.
    pub(crate) async fn moved(
        &self,
        game: &GameId,
        container_id: &str,
        endpoint: &str,
        here: &Here,
    ) -> Result<bool, RedisError> {
        self.ask(game, &["moved", container_id, endpoint, here.host()]).await
    }

    /// Records that a container that had ended by itself runs again; false where the record says otherwise.
    pub(crate) async fn revived(
        &self,
        game: &GameId,
        container_id: &str,
        endpoint: &str,
        here: &Here,
    ) -> Result<bool, RedisError> {
        self.ask(game, &["revived", container_id, endpoint, here.host()]).await
    }

    /// Writes the record of a running game that has none, from what its container says; false where it has one.
    pub(crate) async fn rebuild(
        &self,
        game: &GameId,
        container: &Labelled<'_>,
        here: &Here,
        engine: &'static str,
    ) -> Result<bool, RedisError> {
        let record = self.text_of_running(container, here.host(), engine).without_numbers();
        self.ask(game, &["rebuild", &record, &as_json(container.owner), container.fence]).await
    }

    /// Ends an attempt that found its game running under a fence that the record did not know of: the record is written from
    /// what the container says, and the job is answered with this failure. False where the attempt is fenced.
    pub(crate) async fn yield_to(
        &self,
        job: &RecordJob<'_>,
        token: &FenceToken,
        container: &Container,
        failure: &Answer,
    ) -> Result<bool, RedisError> {
        let container = Labelled::of(container);
        let record = self.text_of_running(&container, &token.host, job.engine).without_numbers();
        let answered = self.text_of(job, &token.host).answered(failure, None).without_numbers();
        let owner = as_json(container.owner);
        let words = ["yield", &self.holder(&token.fence), &record, &owner, container.fence, &answered];
        parse_yes(&self.call_with_results(job.game, &words).await?)
    }

    fn text_of_running<'a>(&'a self, container: &Labelled<'a>, host: &'a str, engine: &'static str) -> RecordText<'a> {
        RecordText {
            state: "running",
            image_ref: container.image_ref,
            stream: &self.jobs,
            source_ref: container.source_ref,
            op_source: OP_SOURCE,
            host,
            engine,
            container_id: container.id,
            engine_endpoint: container.endpoint,
            ..RecordText::default()
        }
    }

    /// Whether the record disowns this container, which carries this fencing token of this owner. Where it does, and
    /// unless it is only asked, the record condemns the container.
    pub async fn reap(
        &self,
        game: &GameId,
        container_id: &str,
        (fence, owner): (&str, &str),
        here: &Here,
        action: Action,
    ) -> Result<Reap, RedisError> {
        let only_ask = if action == Action::Ask { "1" } else { "0" };
        let words = ["reap", container_id, fence, owner, only_ask, &here.names];
        match self.calls.call(self.key_of(game, "rec"), None, &words).await?.as_slice() {
            [word] if word == "0" => Ok(Reap::No),
            [word] if word == "1" => Ok(Reap::WhenOld),
            [word] if word == "2" => Ok(Reap::Now),
            other => Err(RedisError::unexpected(&format!("{other:?}"))),
        }
    }

    /// Records that a condemned container is gone; false where the record does not condemn it.
    pub(crate) async fn removed(&self, game: &GameId, container_id: &str) -> Result<bool, RedisError> {
        self.ask(game, &["removed", container_id]).await
    }

    /// Stops a game in its record, for this operator. The host removes the container.
    pub(crate) async fn stop(&self, game: &GameId, who: &str, place: StopWhere<'_>) -> Result<StopAnswer, RedisError> {
        let (host, gone) = match place {
            StopWhere::Anywhere => ("", "0"),
            StopWhere::On(host) => (host, "0"),
            StopWhere::Gone(host) => (host, "1"),
        };
        match self.call_with_results(game, &["stop", who, host, gone]).await?.as_slice() {
            [was, host] => Ok(StopAnswer { was: was.clone(), host: host.clone() }),
            other => Err(RedisError::unexpected(&format!("{other:?}"))),
        }
    }
}
