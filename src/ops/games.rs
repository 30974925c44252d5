//! Which games are where: the games that are placed on the hosts, or every game that has a record, within a bound.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use super::damaged::{Damaged, GAME_RECORD, NAMED_MAX};
use super::story::{Record, RecordJson};
use super::{SCHEMA_VERSION, View};
use crate::redis::RedisError;
use crate::start::game_id::GameId;
use crate::start::record::PLACED_PAGE;

/// Records that are looked at.
const RECORDS_MAX: usize = 10_000;
/// Records in one answer.
const PAGE: usize = 500;
/// Keys that the server looks at in one step of a walk.
const SCAN_COUNT: &str = "1000";

/// What a game's record says it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GameState {
    /// An attempt is under way, or was when its replica died.
    Starting,
    /// Its container runs.
    Running,
    /// It ended, or an operator stopped it.
    Stopped,
    /// Its last start failed.
    Failed,
}

impl GameState {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Starting, Self::Running, Self::Stopped, Self::Failed];

    /// As it is in the record.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// Which games are listed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter<'a> {
    /// Only those of this host.
    pub(crate) host: Option<&'a str>,
    /// Only those in this state; none: those that run or start.
    pub(crate) state: Option<GameState>,
    /// Look until then.
    pub(crate) until: Instant,
}

/// One game.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Game {
    /// Its id.
    pub(crate) game_id: String,
    /// For how long its record has said so.
    pub(crate) since_ms: u64,
    /// Its record.
    #[serde(flatten)]
    pub(crate) record: Record,
}

/// The games that were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Games {
    /// The version of this form.
    pub(crate) schema_version: u32,
    /// The server's clock, Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How many records were looked at.
    pub(crate) looked_at: usize,
    /// Every record was looked at, within the bounds of number and time.
    pub(crate) is_whole: bool,
    /// Records that could not be read.
    pub(crate) unreadable: usize,
    /// Some of them.
    pub(crate) damaged: Vec<Damaged>,
    /// By host and id.
    pub(crate) games: Vec<Game>,
}

impl View {
    /// The games that the filter selects. Those that run or start are found by the lists of their hosts, all others by a walk
    /// over the keys.
    pub(crate) async fn games(&self, filter: Filter<'_>) -> Result<Games, RedisError> {
        let at_ms = self.connection.time_ms().await?;
        let is_placed = matches!(filter.state, None | Some(GameState::Starting | GameState::Running));
        let mut found =
            Found { at_ms, filter, games: BTreeMap::new(), looked_at: 0, unreadable: 0, damaged: Vec::new() };
        let is_whole =
            if is_placed { self.placed_games(&mut found).await? } else { self.walked_games(&mut found).await? };
        let Found { games, looked_at, unreadable, damaged, .. } = found;
        let games = games.into_values().collect();
        Ok(Games { schema_version: SCHEMA_VERSION, at_ms, looked_at, is_whole, unreadable, damaged, games })
    }

    async fn placed_games(&self, found: &mut Found<'_>) -> Result<bool, RedisError> {
        let hosts: BTreeSet<String> = match found.filter.host {
            Some(host) => [host.to_owned()].into(),
            None => self.host_lines().await?.hosts.into_keys().collect(),
        };
        for host in hosts {
            let mut from = 0;
            loop {
                if found.is_full() {
                    return Ok(false);
                }
                let page = self.records.placed(&host, from).await?;
                let is_last = (page.len() as u64) < PLACED_PAGE;
                from += page.len() as u64;
                self.look_at(&page, found).await?;
                if is_last {
                    break;
                }
            }
        }
        Ok(true)
    }

    async fn walked_games(&self, found: &mut Found<'_>) -> Result<bool, RedisError> {
        let mut walk = Walk::default();
        while let Some(games) = self.walk(&mut walk).await? {
            for some in games.chunks(PAGE) {
                if found.is_full() {
                    return Ok(false);
                }
                self.look_at(some, found).await?;
            }
        }
        Ok(true)
    }

    /// The games of one step of a walk over every record; none where it has come to its end. A game may come twice.
    pub(crate) async fn walk(&self, walk: &mut Walk) -> Result<Option<Vec<GameId>>, RedisError> {
        if walk.is_over {
            return Ok(None);
        }
        let begin = format!("{}{{", self.record_prefix);
        let pattern = format!("{}*}}:rec", literal(&begin));
        let cursor = if walk.cursor.is_empty() { "0" } else { &walk.cursor };
        let reply = self.raw(&["SCAN", cursor, "MATCH", &pattern, "COUNT", SCAN_COUNT]).await?;
        let (next, keys): (String, Vec<Bytes>) = reply.convert()?;
        walk.is_over = next == "0";
        walk.cursor = next;
        let game = |key: &Bytes| {
            let name = std::str::from_utf8(key).ok()?.strip_prefix(&begin)?.strip_suffix("}:rec")?;
            GameId::parse(name).ok()
        };
        Ok(Some(keys.iter().filter_map(game).collect()))
    }

    async fn look_at(&self, games: &[GameId], found: &mut Found<'_>) -> Result<(), RedisError> {
        if games.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = games.iter().filter_map(|game| self.game_key(game.as_str(), "rec")).collect();
        let words: Vec<&str> = std::iter::once("MGET").chain(keys.iter().map(String::as_str)).collect();
        let texts: Vec<Option<Bytes>> = self.raw(&words).await?.convert()?;
        for ((game, key), text) in games.iter().zip(&keys).zip(texts) {
            found.take(game, key, text.as_deref());
        }
        Ok(())
    }
}

/// How far a walk over every record has come.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    cursor: String,
    is_over: bool,
}

/// What was found so far.
struct Found<'a> {
    at_ms: u64,
    filter: Filter<'a>,
    games: BTreeMap<(String, String), Game>,
    looked_at: usize,
    unreadable: usize,
    damaged: Vec<Damaged>,
}

impl Found<'_> {
    fn is_full(&self) -> bool {
        self.looked_at >= RECORDS_MAX || Instant::now() >= self.filter.until
    }

    fn take(&mut self, game: &GameId, key: &str, text: Option<&[u8]>) {
        // It was placed, and no attempt was recorded.
        let Some(text) = text else { return };
        self.looked_at += 1;
        let json = match RecordJson::read(text) {
            Ok(json) => json,
            Err(why) => {
                self.unreadable += 1;
                if self.damaged.len() < NAMED_MAX {
                    self.damaged.push(Damaged::key(key, why, GAME_RECORD));
                }
                return;
            }
        };
        let record = json.record(self.at_ms);
        let is_of_state = match self.filter.state {
            Some(state) => record.state == state.as_str(),
            None => ["starting", "running"].contains(&record.state.as_str()),
        };
        if is_of_state && self.filter.host.is_none_or(|host| record.host == host) {
            let since_ms = self.at_ms.saturating_sub(record.updated_at_ms);
            let game_id = game.as_str().to_owned();
            self.games.insert((record.host.clone(), game_id.clone()), Game { game_id, since_ms, record });
        }
    }
}

/// The text as a pattern of SCAN that matches nothing else.
fn literal(text: &str) -> String {
    text.chars().flat_map(|char| r"*?[]\^".contains(char).then_some('\\').into_iter().chain([char])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"fence":1,"owner":"w","lease_until_ms":0,"updated_at_ms":4000,"attempt":1,"state":"stopped","image_ref":"i","stream":"s","source_ref":"5-1","op_source":"o","host":"here","engine":"e","container_id":"c","exit_code":"3","ended_at_ms":"3900"}"#;

    #[test]
    fn a_game_is_found_by_its_state_and_host() {
        let game = GameId::parse("g").expect("an id");
        for (state, host, count) in [
            (Some(GameState::Stopped), None, 1),
            (Some(GameState::Stopped), Some("here"), 1),
            (Some(GameState::Stopped), Some("there"), 0),
            (Some(GameState::Failed), None, 0),
            (None, None, 0),
        ] {
            let filter = Filter { host, state, until: Instant::now() };
            let mut found = Found {
                at_ms: 5_000,
                filter,
                games: BTreeMap::new(),
                looked_at: 0,
                unreadable: 0,
                damaged: Vec::new(),
            };
            found.take(&game, "k", Some(RECORD.as_bytes()));
            found.take(&game, "k", Some(b"x"));
            found.take(&game, "k", None);
            assert_eq!((found.games.len(), found.looked_at, found.unreadable), (count, 2, 1), "{state:?} {host:?}");
            for found in found.games.values() {
                assert_eq!(
                    (found.since_ms, found.record.exit_code, found.record.ended_at_ms),
                    (1_000, Some(3), Some(3_900))
                );
            }
        }
    }

    #[test]
    fn a_prefix_matches_only_itself() {
        assert_eq!(literal("a*[b]?:"), r"a\*\[b\]\?:");
    }
}
