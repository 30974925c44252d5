//! docs/migration.md, followed step by step, with a stand-in for the original worker and a Lobby that never stops.

use std::collections::{BTreeMap, BTreeSet};

use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::client::Lobby;
use startjobs::redis::Value;
use startjobs::stream::entry_id::EntryId;

use super::Surroundings;
use super::documents::{Block, Shell, blocks};
use crate::support::world::{PATIENCE, load};

const OFFSET: &str = "rtmanager:stream_offsets:startjobs";
const JOBS: &str = "runtime:start_jobs";

/// An entry as Redis answers it: its id, then names and values in turn.
type Flat = (String, Vec<String>);

/// What is at work while the document is followed.
struct Rehearsal {
    lobby: Lobby,
    fleet: Surroundings,
    original_runs: bool,
    games: usize,
    answered_above: BTreeSet<String>,
}

impl Rehearsal {
    async fn raw(&self, words: &[&str]) -> Value {
        self.lobby.connection().raw(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Lobby asks for games that nobody has asked for before.
    async fn asks_for(&mut self, count: usize) {
        for _ in 0..count {
            let game = format!("game-{}", self.games);
            self.lobby.append(&game, "galaxy/engine:1", 17).await.expect("appended");
            self.games += 1;
        }
    }

    /// The original worker answers at most this many: six fields, then its offset.
    async fn original_answers(&self, count: usize) {
        for _ in 0..count {
            let after = self.raw(&["GET", OFFSET]).await.as_string().unwrap_or_else(|| "0-0".to_owned());
            let reply = self.raw(&["XREAD", "COUNT", "1", "STREAMS", JOBS, &after]).await;
            if reply.is_null() {
                return;
            }
            let streams: Vec<(String, Vec<Flat>)> = reply.convert().expect("entries");
            let (id, flat) = streams.into_iter().flat_map(|(_, entries)| entries).next().expect("one entry");
            let at = flat.iter().position(|word| word == "game_id").expect("a well-formed job");
            let words = ["XADD", "runtime:job_results", "*", "game_id", &flat[at + 1], "outcome", "success"];
            let rest = ["container_id", "c", "engine_endpoint", "http://e:1", "error_code", "", "error_message", ""];
            self.raw(&[&words[..], &rest].concat()).await;
            self.raw(&["SET", OFFSET, &id]).await;
        }
    }

    /// What the fleet had answered above the key when it stopped: the original worker answers it once more, as the
    /// document says, because something older was handed back unanswered.
    async fn note_answers_above(&mut self) {
        let mirror: EntryId = self.lobby.mirror().await.expect("a reply").expect("a key").parse().expect("an id");
        for outcome in self.lobby.all_outcomes().await.expect("outcomes") {
            let source = outcome.source_ref.and_then(|source| source.parse::<EntryId>().ok());
            if source.is_some_and(|source| source > mirror) {
                self.answered_above.insert(outcome.game_id);
            }
        }
    }

    /// Does what the document's block says.
    async fn follow(&mut self, block: &Block) {
        let text = &block.text;
        match block.needs.as_deref() {
            None => {
                Shell { fleet: &self.fleet, variables: &[] }.run(text);
            }
            Some("the original worker.") if text.contains("systemctl stop") => {
                assert!(self.original_runs, "it runs before it is stopped");
                // In the middle of its work.
                self.asks_for(6).await;
                self.original_answers(3).await;
                self.original_runs = false;
            }
            Some("the original worker.") => {
                assert!(self.fleet.replicas.is_empty(), "never both at once");
                self.original_runs = true;
            }
            Some("systemd.") if text.contains("systemctl stop startjobs.target") => {
                self.fleet.drain();
                self.note_answers_above().await;
            }
            Some("systemd.") => {
                assert!(!self.original_runs, "never both at once");
                for _ in text.matches("startjobs@") {
                    self.fleet.replica();
                }
            }
            Some(other) => panic!("the rehearsal has no {other}"),
        }
    }
}

#[tokio::test]
async fn the_document_is_followed_and_every_job_is_answered_once() {
    let redis = RedisServer::start().expect("redis-server starts");
    let fleet = Surroundings::new(&[("redis-url", &redis.url())]);
    let settings = load(&[("redis-url".to_owned(), redis.url())]);
    let lobby = Lobby::connect(&settings.redis, &settings.stream).await.expect("a connection");
    let mut rehearsal = Rehearsal { lobby, fleet, original_runs: true, games: 0, answered_above: BTreeSet::new() };
    rehearsal.asks_for(10).await;
    rehearsal.original_answers(7).await;

    let steps = blocks("docs/migration.md");
    let needing = |what: &str| steps.iter().filter(|block| block.needs.as_deref() == Some(what)).count();
    assert_eq!((needing("the original worker."), needing("systemd.")), (3, 4), "the steps are all there");
    for step in &steps {
        rehearsal.follow(step).await;
        rehearsal.asks_for(5).await;
        if rehearsal.original_runs {
            rehearsal.original_answers(usize::MAX).await;
        }
    }

    let began = std::time::Instant::now();
    let wanted = rehearsal.games + 1;
    loop {
        let mut answers: BTreeMap<String, usize> = BTreeMap::new();
        for outcome in rehearsal.lobby.all_outcomes().await.expect("outcomes") {
            assert_eq!(outcome.outcome, "success", "{outcome:?}");
            *answers.entry(outcome.game_id).or_default() += 1;
        }
        let above = &rehearsal.answered_above;
        let allowed = |game: &String| if above.contains(game) { 2 } else { 1 };
        let twice: Vec<_> = answers.iter().filter(|(game, count)| **count > allowed(game)).collect();
        assert!(twice.is_empty(), "answered more than once: {twice:?}\n{}", rehearsal.fleet.logs());
        // The games of Lobby, and the probe.
        if answers.len() == wanted {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{} of {wanted}\n{}", answers.len(), rehearsal.fleet.logs());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let took_over = rehearsal.fleet.logs().matches("took over the legacy worker's offset").count();
    assert_eq!(took_over, 1, "{}", rehearsal.fleet.logs());
    rehearsal.fleet.drain();
}
