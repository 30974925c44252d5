//! What the fleet is at one moment, without any judgement: the facts that a verdict and the alerts are made of.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::View;
use super::backlog::Waiting;
use super::elsewhere::Elsewhere;
use super::hosts::FleetHosts;
use super::jobs::open::is_fresh;
use super::look::{Look, Watermark};
use super::replicas::{Replica, State};
use super::server::Server;
use crate::stream::pause::Pause;

/// The fleet at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Snapshot {
    /// The server's clock, Unix milliseconds.
    #[serde(skip)]
    pub(crate) at_ms: u64,
    /// Keys that hold another type than they should, one sentence each.
    #[serde(skip)]
    pub(crate) wrong_types: Vec<String>,
    /// A key without which nothing can be known of the fleet holds another type.
    #[serde(skip)]
    pub(crate) is_unreadable: bool,
    /// How long a replica may work on one entry.
    #[serde(skip)]
    pub(crate) max_run: Duration,
    /// The jobs stream that was looked at: `jobs-stream`.
    pub(crate) stream: String,
    /// The group that was looked at: `group`.
    pub(crate) group: String,
    /// Entries that no replica has read yet.
    pub(crate) waiting: WaitingView,
    /// Entries that replicas hold.
    pub(crate) in_flight: Oldest,
    /// Those of them that wait for their next attempt, as their replicas say.
    pub(crate) backing_off: BackingOff,
    /// Those of them that no replica has in hand: they were given back, and the next free replica takes them. Of more than a
    /// thousand a thousand are counted.
    pub(crate) given_back: u64,
    /// Those of them that were given back and wait until a host has room, because every host is full.
    pub(crate) waiting_for_room: u64,
    /// Those of them that replicas have in hand and that do not back off: they are being started, or are about to be.
    pub(crate) starting: u64,
    /// Dead letters kept.
    pub(crate) dead_letters: u64,
    /// Outcomes in the results stream.
    pub(crate) outcomes: u64,
    /// How many replicas there are.
    pub(crate) replicas: Counts,
    /// The hosts on which they start games.
    pub(crate) hosts: FleetHosts,
    /// The server's own count of what waits.
    pub(crate) lag: Lag,
    /// The legacy offset.
    pub(crate) mirror: Mirror,
    /// The jobs stream exists.
    pub(crate) has_stream: bool,
    /// The group exists.
    pub(crate) has_group: bool,
    /// Other groups of the jobs stream; a bounded number.
    pub(crate) other_groups: Vec<String>,
    /// Where there is no fleet: streams of this database with a group, and their groups; a bounded number.
    pub(crate) elsewhere: Vec<Elsewhere>,
    /// Streams that have used the largest possible id: Redis refuses every further entry.
    pub(crate) exhausted: Vec<String>,
    /// The engines of the replicas that are alive.
    pub(crate) engines: BTreeSet<String>,
    /// The versions of the replicas that are alive.
    pub(crate) versions: BTreeSet<String>,
    /// Redis.
    pub(crate) redis: Server,
    /// Who has paused the fleet, if an operator has.
    pub(crate) paused: Option<Pause>,
}

/// What waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct WaitingView {
    /// How many.
    #[serde(flatten)]
    pub(crate) waiting: Waiting,
    /// The oldest one.
    pub(crate) oldest_id: Option<String>,
    /// How long it waits.
    pub(crate) oldest_age_ms: Option<u64>,
}

/// A number of entries, and the oldest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Oldest {
    /// How many.
    pub(crate) count: u64,
    /// The oldest one.
    pub(crate) oldest_id: Option<String>,
    /// How long ago it was appended.
    pub(crate) oldest_age_ms: Option<u64>,
}

/// Jobs that wait for their next attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct BackingOff {
    /// How many.
    pub(crate) count: u64,
    /// When the first of them is tried again, by the server's clock, Unix milliseconds.
    pub(crate) next_at_ms: Option<u64>,
}

/// What replicas hold, by what it is up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Being started.
    pub(crate) in_flight: u64,
    /// Waiting for their next try.
    pub(crate) backing_off: u64,
    /// Given back: the next free replica takes them.
    pub(crate) given_back: u64,
    /// Waiting for room on a host.
    pub(crate) for_room: u64,
}

/// Replicas by what they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Running or draining.
    pub(crate) alive: u64,
    /// Taking work.
    pub(crate) running: u64,
    /// Finishing.
    pub(crate) draining: u64,
    /// Their connections closed without their having left.
    pub(crate) dead: u64,
    /// Silent for claim idle, without having left.
    pub(crate) lost: u64,
    /// Entries that dead, lost or unknown consumers still hold.
    pub(crate) stranded: u64,
    /// Slots of those that run.
    pub(crate) slots: u64,
    /// Of those that run: how many have said for their whole claim idle that they take no job, and are not sick.
    pub(crate) idle: u64,
    /// Of those that run: how many take one job at a time, because their host is sick or full.
    pub(crate) sick: u64,
    /// All that are remembered, those that have left too.
    pub(crate) remembered: u64,
    /// Since when the first of the dead and lost is gone, Unix milliseconds of the server's clock.
    pub(crate) gone_since_ms: Option<u64>,
    /// Since when the last of them is.
    pub(crate) gone_last_ms: Option<u64>,
    /// When the last of them is forgotten, if its record stays as it is.
    pub(crate) gone_until_ms: Option<u64>,
    /// Of the lost: how many are silent, and none of the others has taken over from them yet.
    pub(crate) unnoticed: u64,
    /// When the last replica renewed that has not ended, Unix milliseconds of the server's clock.
    pub(crate) renewed_ms: Option<u64>,
}

/// What `XINFO GROUPS` calls lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Lag {
    /// The server's number.
    pub(crate) value: Option<u64>,
    /// The server has one. An autoscaler that reads it does nothing otherwise.
    pub(crate) known: bool,
    /// It equals our own count; none where one of the two is not known exactly.
    pub(crate) agrees: Option<bool>,
}

/// The legacy offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mirror {
    /// The id that it holds.
    pub(crate) id: Option<String>,
    /// The id that it must hold; none where no entry exists below the oldest pending one, or there is no group.
    pub(crate) watermark: Option<String>,
    /// It holds the right id. None without a group.
    pub(crate) exact: Option<bool>,
    /// Something other than the fleet wrote it.
    pub(crate) foreign: bool,
}

impl Snapshot {
    /// Is there a fleet? A group of this name, or, where the stream has no group at all, a replica that is remembered.
    pub(crate) fn has_fleet(&self) -> bool {
        self.has_group || (self.other_groups.is_empty() && self.replicas.remembered > 0)
    }

    /// What replicas hold, by what it is up to. Where every host is full what does not run waits for room, although a replica
    /// tries one of these jobs from time to time.
    pub(crate) fn held(&self) -> Held {
        let (in_flight, backing_off, given_back) = (self.starting, self.backing_off.count, self.given_back);
        if self.hosts.all_are_full() {
            return Held { in_flight, for_room: given_back + backing_off, ..Held::default() };
        }
        Held { in_flight, backing_off, given_back, for_room: 0 }
    }

    /// Replicas that cannot renew because Redis refuses writes: whether they live is not known.
    pub(crate) fn mute(&self) -> u64 {
        if self.redis.refuses_writes.is_some() { self.replicas.unnoticed } else { 0 }
    }
}

impl View {
    pub(super) fn snapshot_of(
        &self,
        look: &Look,
        waiting: Waiting,
        redis: Server,
        (listed, hosts): (&[Replica], FleetHosts),
    ) -> Snapshot {
        let alive = |replica: &&Replica| replica.is_alive();
        // The fleet's own limit where it says so, whatever this process's settings are.
        let max_run = listed.iter().filter(alive).filter_map(|replica| replica.max_run_ms).max();
        let backing_off = backing_off(look, listed);
        let given_back = look.pending.given_back;
        let waiting_for_room = if hosts.all_are_full() { given_back } else { 0 };
        let waiting_id = look.oldest_waiting.clone().filter(|_| waiting.count > 0);
        Snapshot {
            at_ms: look.now_ms,
            is_unreadable: self.is_unreadable(look),
            stream: self.keys.jobs.clone(),
            group: self.group.clone(),
            has_stream: look.stream.is_some(),
            other_groups: look.other_groups.clone(),
            elsewhere: Vec::new(),
            wrong_types: self.wrong_types(look).into_iter().chain(self.wrong_hosts(&hosts)).collect(),
            max_run: max_run.map_or(self.max_run, Duration::from_millis),
            waiting: WaitingView {
                waiting,
                oldest_age_ms: waiting_id.as_deref().and_then(|id| look.age_ms(id)),
                oldest_id: waiting_id,
            },
            in_flight: Oldest {
                count: look.pending.count,
                oldest_age_ms: look.pending.oldest.as_deref().and_then(|id| look.age_ms(id)),
                oldest_id: look.pending.oldest.clone(),
            },
            starting: look.pending.count.saturating_sub(backing_off.count).saturating_sub(given_back),
            given_back,
            backing_off,
            waiting_for_room,
            dead_letters: look.dead,
            outcomes: look.results,
            replicas: counts(listed, self.consumer_idle),
            hosts,
            lag: lag(look, waiting),
            mirror: mirror(look),
            has_group: look.group.is_some(),
            exhausted: look.exhausted.clone(),
            engines: listed.iter().filter(alive).filter_map(|replica| replica.engine.clone()).collect(),
            versions: listed.iter().filter(alive).filter_map(|replica| replica.version.clone()).collect(),
            redis,
            paused: look.pause(&self.group),
        }
    }

    fn wrong_hosts(&self, hosts: &FleetHosts) -> Option<String> {
        let wrong = || format!("the key {}hosts does not hold the hash of the hosts", self.record_prefix);
        hosts.is_wrong_type.then(wrong)
    }

    /// Does a key that tells who is there and what waits hold something else?
    fn is_unreadable(&self, look: &Look) -> bool {
        let expected = [(&self.keys.jobs, "stream"), (&self.keys.replicas, "hash")];
        let is_wrong = |held: &String, expected: &str| held != "none" && held != expected;
        expected.into_iter().any(|(key, expected)| look.types.get(key).is_some_and(|held| is_wrong(held, expected)))
    }

    /// Keys that hold something else than they should, as sentences.
    pub(super) fn wrong_types(&self, look: &Look) -> Vec<String> {
        let keys = &self.keys;
        let expected = [
            (&keys.jobs, "stream"),
            (&keys.results, "stream"),
            (&keys.dead, "stream"),
            (&keys.mirror, "string"),
            (&keys.shadow, "string"),
            (&keys.attempts, "hash"),
            (&keys.ledgers, "zset"),
            (&keys.sweep, "hash"),
            (&keys.replicas, "hash"),
            (&keys.open, "hash"),
            (&keys.verified, "string"),
        ];
        expected
            .into_iter()
            .filter_map(|(key, expected)| {
                let held = look.types.get(key)?;
                let is_right = held == "none" || held == expected;
                (!is_right).then(|| format!("the key {key} holds a {held} where a {expected} is expected"))
            })
            .collect()
    }
}

/// Of replicas that are not there nothing is believed.
fn backing_off(look: &Look, listed: &[Replica]) -> BackingOff {
    let said = listed.iter().filter(|replica| replica.is_alive()).filter_map(|replica| {
        let said = look.open.get(&replica.name)?;
        (said.backing_off > 0 && is_fresh(said.at_ms, look.now_ms, replica)).then_some(said)
    });
    let mut all = BackingOff::default();
    for said in said {
        all.count += said.backing_off;
        let next = said.next_in_ms.map(|next| said.at_ms.saturating_add(next));
        all.next_at_ms = all.next_at_ms.into_iter().chain(next).min();
    }
    all
}

fn counts(listed: &[Replica], consumer_idle: Duration) -> Counts {
    let idle_ms = u64::try_from(consumer_idle.as_millis()).unwrap_or(u64::MAX);
    let gone = || listed.iter().filter(|replica| replica.is_gone());
    let until_ms = |replica: &Replica| Some(replica.last_seen_ms?.saturating_add(idle_ms));
    let mut counts = Counts {
        remembered: listed.iter().filter(|replica| replica.state != State::Unknown).count() as u64,
        gone_since_ms: listed.iter().filter_map(Replica::gone_since_ms).min(),
        gone_last_ms: listed.iter().filter_map(Replica::gone_since_ms).max(),
        gone_until_ms: gone().filter_map(until_ms).max(),
        unnoticed: listed.iter().filter(|replica| replica.is_unnoticed()).count() as u64,
        renewed_ms: listed
            .iter()
            .filter(|one| one.is_alive() || one.is_unnoticed())
            .filter_map(|one| one.last_seen_ms)
            .max(),
        ..Counts::default()
    };
    for replica in listed {
        match replica.state {
            State::Running => {
                counts.running += 1;
                counts.slots += replica.slots.unwrap_or_default();
                counts.sick += u64::from(replica.is_sick);
                counts.idle += u64::from(takes_nothing(replica));
            }
            State::Draining => counts.draining += 1,
            State::Dead => {
                counts.dead += 1;
                counts.stranded += replica.pending;
            }
            State::Lost => {
                counts.lost += 1;
                counts.stranded += replica.pending;
            }
            State::Unknown => counts.stranded += replica.pending,
            State::Left => {}
        }
    }
    counts.alive = counts.running + counts.draining;
    counts
}

/// What a replica says of itself is as old as its last renewal, and it has not looked around yet when it begins. One that says that
/// it is paused takes jobs as soon as it sees that the pause has ended.
fn takes_nothing(replica: &Replica) -> bool {
    let has_looked = replica.up_ms >= replica.claim_idle_ms;
    replica.serves == Some(false) && !replica.is_sick && !replica.is_paused && has_looked
}

fn lag(look: &Look, waiting: Waiting) -> Lag {
    let value = look.group.as_ref().and_then(|group| group.lag);
    let agrees = value.filter(|_| waiting.exact).map(|value| value == waiting.count);
    Lag { value, known: value.is_some(), agrees }
}

fn mirror(look: &Look) -> Mirror {
    let watermark = match look.watermark() {
        Some(Watermark::At(id) | Watermark::Between(id, _)) => Some(id.to_string()),
        Some(Watermark::Before(_)) | None => None,
    };
    Mirror {
        id: look.mirror.clone(),
        watermark,
        exact: look.is_mirror_exact(),
        foreign: look.mirror.is_some() && look.shadow.is_some() && look.mirror != look.shadow,
    }
}
