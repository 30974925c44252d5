//! Images on their way to hosts, as the replicas there have written it down.

use serde::Serialize;

use super::View;
use super::printable::{span, time};
use super::replicas::Replica;
use super::story::Record;
use crate::contract::error_code::ErrorCode;
use crate::contract::image_ref::ImageRef;
use crate::redis::{Kind, RedisError};
use crate::start::pulls::board::{Board, LimitLine, PullLine, Written};
use crate::stream::entry_id::EntryId;

/// An image that is on its way to a host, has arrived, or cannot be had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct PullView {
    /// The image, in normal form.
    pub(crate) image_ref: String,
    /// The host.
    pub(crate) host: String,
    /// `wanted`, `pulling`, `done`, `failed`, `limited` or `lost`: its replica has not been heard of for seconds, and another one
    /// takes the pull over.
    pub(crate) state: &'static str,
    /// The replica that pulls or has pulled.
    pub(crate) replica: String,
    /// When the pull began or was wished for, Unix milliseconds of the server's clock.
    pub(crate) since_ms: u64,
    /// For how long, until now or until its end.
    pub(crate) took_ms: u64,
    /// Bytes received.
    pub(crate) bytes: u64,
    /// Bytes of the layers whose size is known.
    pub(crate) total: u64,
    /// Layers that are complete.
    pub(crate) layers_done: u64,
    /// Layers named so far.
    pub(crate) layers: u64,
    /// How it failed.
    pub(crate) error_code: String,
    /// In the words of the engine or the registry.
    pub(crate) error_message: String,
    /// Until when the registry wants to be left alone, Unix milliseconds of the server's clock.
    pub(crate) not_before_ms: Option<u64>,
    /// The operator who wished for it.
    pub(crate) wished_by: String,
    /// The id of that wish.
    #[serde(skip)]
    pub(crate) wish: String,
}

impl PullView {
    /// Something is to be said about it: it is wished for, under way, has failed, or has to wait.
    pub(crate) fn of(image: &str, host: &str, written: Written, now_ms: u64) -> Option<Self> {
        let Written { pull, limit } = written;
        let limit: Option<LimitLine> = limit.filter(|limit| limit.until > now_ms);
        if pull.is_none() && limit.is_none() {
            return None;
        }
        let pull = pull.unwrap_or_default();
        let is_alive = pull.is_alive(now_ms);
        let state = match pull.state.as_str() {
            "pulling" if is_alive => "pulling",
            _ if limit.is_some() => "limited",
            "pulling" => "lost",
            "wanted" => "wanted",
            "done" => "done",
            _ => "failed",
        };
        let until = if matches!(state, "done" | "failed") { pull.renewed } else { now_ms };
        let PullLine { owner, since, bytes, total, layers, layers_done, code, message, wish, by, .. } = pull;
        Some(Self {
            image_ref: image.to_owned(),
            host: host.to_owned(),
            state,
            replica: owner,
            since_ms: since,
            took_ms: if since == 0 { 0 } else { until.saturating_sub(since) },
            bytes,
            total,
            layers_done,
            layers,
            error_code: code,
            error_message: limit.as_ref().map_or(message, |limit| limit.message.clone()),
            not_before_ms: limit.map(|limit| limit.until),
            wished_by: by,
            wish,
        })
    }

    /// A wish that is not written down any more.
    pub(crate) fn replaced(image: &str, host: &str) -> Self {
        Self {
            image_ref: image.to_owned(),
            host: host.to_owned(),
            state: "failed",
            error_code: ErrorCode::InternalError.to_string(),
            error_message: "another wish for the image has taken the place of this one".to_owned(),
            ..Self::default()
        }
    }

    /// A job that was appended then waits for it, or has failed by it.
    pub(crate) fn is_in_the_way(&self, appended_at_ms: u64) -> bool {
        match self.state {
            "pulling" | "limited" | "lost" => true,
            // An older failure was that of another job.
            "failed" => self.since_ms + self.took_ms >= appended_at_ms,
            _ => false,
        }
    }

    /// For people; foreign text in it is as it came.
    pub(crate) fn sentence(&self) -> String {
        let took = span(self.took_ms);
        match self.state {
            "pulling" => format!("pulled by {} for {took}: {}", self.replica, self.amount()),
            "limited" => {
                let until = time(self.not_before_ms.unwrap_or_default());
                format!("not asked for before {until}: the registry has had too many requests ({})", self.error_message)
            }
            "lost" => format!("{} has stopped pulling it; another replica goes on", self.replica),
            "wanted" => format!("wished for {took} ago"),
            // The engine names no layer of an image that is complete.
            "done" if self.layers == 0 => format!("asked for by {} in {took}: nothing to download", self.replica),
            "done" => format!("pulled by {} in {took}: {}", self.replica, self.amount()),
            _ => format!("failed after {took}: {}: {}", self.error_code, self.error_message),
        }
    }

    /// How much of it is there.
    pub(crate) fn amount(&self) -> String {
        if self.layers == 0 {
            return "no layer yet".to_owned();
        }
        let layers = format!("{} of {} layers", self.layers_done, self.layers);
        if self.total == 0 {
            return layers;
        }
        format!("{} of {}, {layers}", bytes(self.bytes), bytes(self.total))
    }
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => format!("{}.{} {name}", count / unit, count % unit * 10 / unit),
        None => format!("{count} B"),
    }
}

impl View {
    /// The pulls of all hosts.
    pub(crate) fn board(&self) -> Board {
        Board::new(self.shared_connection(), &self.record_prefix)
    }

    /// The pull for which the game of this record waits, or by which its job has failed so far: on its host, or on that of the replica that tried last.
    pub(super) async fn pull_of(
        &self,
        record: &Record,
        replicas: &[Replica],
        now_ms: u64,
    ) -> Result<Option<PullView>, RedisError> {
        if record.state != "starting" {
            return Ok(None);
        }
        let is_owner = |replica: &&Replica| replica.name == record.owner;
        let owners = || replicas.iter().find(is_owner).and_then(|replica| replica.engine_host.clone());
        let host = Some(record.host.clone()).filter(|host| !host.is_empty()).or_else(owners);
        let (Some(host), Ok(image)) = (host, ImageRef::parse(&record.image_ref)) else { return Ok(None) };
        let appended_at_ms = record.source_ref.parse::<EntryId>().map_or(0, |id| id.ms);
        // A replica may drive several hosts.
        for host in host.split(' ') {
            match self.board().written(host, image.as_str()).await {
                Ok(written) => {
                    let pull = PullView::of(image.as_str(), host, written, now_ms)
                        .filter(|pull| pull.is_in_the_way(appended_at_ms));
                    if pull.is_some() {
                        return Ok(pull);
                    }
                }
                // What holds something else holds no pulls.
                Err(error) if error.kind == Kind::WrongType => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(json: &str, limit: Option<u64>) -> Option<PullView> {
        let pull = serde_json::from_str(json).ok();
        let limit = limit.map(|until| LimitLine { until, message: "toomanyrequests".to_owned() });
        PullView::of("h/a:1", "host", Written { pull, limit }, 100_000)
    }

    #[test]
    fn a_pull_is_told_in_one_sentence() {
        let pulling = r#"{"state":"pulling","owner":"r","since":95000,"renewed":99000,"lease":5000,"bytes":1536,"total":3145728,
            "layers":3,"layers_done":1}"#;
        let told = |json: &str, limit| view(json, limit).map(|view| (view.state, view.sentence()));
        let sentence = "pulled by r for 5.0s: 1.5 KiB of 3.0 MiB, 1 of 3 layers".to_owned();
        assert_eq!(told(pulling, None), Some(("pulling", sentence)));
        let lost = pulling.replace("99000", "90000");
        assert_eq!(told(&lost, None).expect("a line").0, "lost");
        let (state, sentence) = told("", Some(160_000)).expect("a limit");
        assert_eq!(state, "limited");
        assert!(sentence.starts_with("not asked for before 1970-01-01T00:02:40.000Z"), "{sentence}");
        assert_eq!(told("", Some(100_000)), None, "a limit that is over");
        let failed = r#"{"state":"failed","since":90000,"renewed":91000,"code":"image_not_found","message":"no"}"#;
        let done = r#"{"state":"done","owner":"r","since":90000,"renewed":91000}"#;
        assert_eq!(told(done, None), Some(("done", "asked for by r in 1.0s: nothing to download".to_owned())));
        assert_eq!(told(failed, None), Some(("failed", "failed after 1.0s: image_not_found: no".to_owned())));
        let failed = view(failed, None).expect("a line");
        assert_eq!([91_000, 91_001].map(|appended| failed.is_in_the_way(appended)), [true, false]);
        assert_eq!(told("{}", None).expect("a line").0, "failed", "what another version wrote");
    }
}
