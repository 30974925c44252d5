//! What must be true in every state, and in every state in which nothing happens any more.

use std::hash::{DefaultHasher, Hash, Hasher};

use stateright::Property;

use super::group::watermark;
use super::protocol::Protocol;
use super::state::{ANY_HOST, Answer, Entry, Fault, GAMES, NOBODY, RecordState, State};

/// A property and its name, by which docs/delivery-guarantees.md calls it.
pub(crate) type Named = (&'static str, fn(&Protocol, &State) -> bool);

/// All of them.
pub(crate) const PROPERTIES: [Named; 16] = [
    ("at most one outcome", at_most_one_outcome),
    ("nothing is published over a newer attempt", |_, s| !s.past.published_over),
    ("every job is answered", every_job_is_answered),
    ("nothing stays pending", nothing_stays_pending),
    ("no run is endless", no_run_is_endless),
    ("the mirror is never past an unsettled entry", mirror_is_never_past),
    ("the mirror is exact at rest", mirror_is_exact),
    ("nothing is taken from the living", |_, s| !s.past.taken_from_living || s.past.meddled),
    ("nothing settled is asked of the start service again", |_, s| !s.past.asked_again),
    ("the fence never goes back", |_, s| !s.past.fence_lowered),
    ("only the holder of the record commits", |_, s| !s.past.overwritten),
    ("an overtaken attempt makes one more engine call at most", |_, s| !s.past.went_on),
    ("no running game is removed", |_, s| !s.past.removed_running),
    ("one container for each game", one_container),
    ("the records are true at rest", records_are_true),
    ("a cancelled job leaves no container", cancelled_leaves_nothing),
];

pub(crate) fn all() -> Vec<Property<Protocol>> {
    PROPERTIES.iter().map(|&(name, holds)| Property::always(name, holds)).collect()
}

/// The stream had it, and it was not deleted before it was delivered.
fn entries<'a>(model: &Protocol, s: &'a State) -> &'a [Entry] {
    &s.redis.entries[..model.entries()]
}

fn is_settled(entry: &Entry) -> bool {
    entry.outcomes > 0 || entry.dead_letter || entry.legacy
}

fn at_most_one_outcome(model: &Protocol, s: &State) -> bool {
    entries(model, s).iter().all(|entry| entry.outcomes <= 1)
}

fn every_job_is_answered(model: &Protocol, s: &State) -> bool {
    // Only of a job that somebody has deleted a dead letter is enough.
    let may_be_lost = model.may_happen(Fault::Delete);
    let is_answered = |entry: &Entry| is_settled(entry) && (may_be_lost || !entry.dead_letter);
    entries(model, s).iter().all(is_answered) || !model.is_at_rest(s)
}

fn nothing_stays_pending(model: &Protocol, s: &State) -> bool {
    let is_free = entries(model, s).iter().all(|entry| entry.owner == NOBODY)
        && s.replicas.iter().all(|replica| replica.attempts.iter().all(Option::is_none));
    is_free || !model.is_at_rest(s)
}

/// A fair run comes to rest. It is tried from one state in so many, because it takes as long as hundreds of states.
fn no_run_is_endless(model: &Protocol, s: &State) -> bool {
    const ONE_IN: u64 = 509;
    const ROUNDS: usize = 40;
    let mut hasher = DefaultHasher::new();
    s.hash(&mut hasher);
    !hasher.finish().is_multiple_of(ONE_IN) || model.run_fairly(s, ROUNDS).0
}

fn mirror_is_never_past(model: &Protocol, s: &State) -> bool {
    let open = |entry: &Entry| !is_settled(entry) && (entry.exists || entry.owner != NOBODY);
    let has_missing = || {
        let delivered = entries(model, s).iter().take(usize::from(s.redis.delivered));
        s.past.meddled && delivered.into_iter().any(|entry| open(entry) && entry.owner == NOBODY)
    };
    !entries(model, s).iter().take(usize::from(s.redis.mirror)).any(open) || has_missing()
}

/// Nothing is behind it that the stream still has. Where pending records of settled entries are removed from outside, the next
/// settle sets it.
fn mirror_is_exact(model: &Protocol, s: &State) -> bool {
    if s.past.meddled && s.redis.mirror < watermark(&s.redis) {
        return true;
    }
    let is_ours = s.redis.mirror == s.redis.shadow && s.redis.mirror == watermark(&s.redis);
    let behind = entries(model, s).iter().skip(usize::from(s.redis.mirror));
    (is_ours && !behind.into_iter().any(|entry| entry.exists)) || !model.is_at_rest(s)
}

fn one_container(model: &Protocol, s: &State) -> bool {
    (0..GAMES).all(|game| {
        let hosts = (0..model.host_count()).filter(|&host| s.engine[host][game].is_some_and(|found| found.running));
        let is_known = |host: usize| s.past.was_silent[host];
        let (count, has_away) = hosts.fold((0, false), |(count, away), host| (count + 1, away || is_known(host)));
        // While a host is cut off, and until it has cleared up, a game may run there too.
        count <= 1 || (has_away && (model.lost_host.is_some() || !model.is_at_rest(s)))
    })
}

/// What runs is what the records say; what the job was answered is there.
fn records_are_true(model: &Protocol, s: &State) -> bool {
    // The original worker has its own start service, and leaves what it finds.
    if model.may_happen(Fault::Legacy) {
        return true;
    }
    let is_seen = |host: usize| model.lost_host != Some(host);
    let is_true = (0..model.games()).all(|game| {
        let record = &s.redis.records[game];
        let is_running = record.state == RecordState::Running;
        let host = usize::from(record.host);
        let runs = record.host != ANY_HOST
            && s.engine[host][game].is_some_and(|found| found.id == record.container && found.running);
        // After a failover a job may be begun again that is settled already, and of a deleted entry nothing but a dead letter
        // is left. Where the process of its attempt dies, the game's next job finds what is there.
        let may_be_left = model.may_happen(Fault::Failover) || model.may_happen(Fault::Delete);
        if may_be_left && record.state == RecordState::Starting {
            return true;
        }
        let nothing_else = (0..model.host_count()).filter(|&one| is_seen(one)).all(|one| {
            s.engine[one][game].is_none_or(|found| is_running && one == host && found.id == record.container)
        });
        (!is_running || runs || !is_seen(host)) && nothing_else
    });
    let successes_run = model.may_happen(Fault::GameEnds)
        || model.may_happen(Fault::Failover)
        || (0..model.entries()).all(|e| {
            let is_success = matches!(s.redis.entries[e].answer, Answer::Success(_));
            !is_success || s.redis.records[model.games[e]].state == RecordState::Running
        });
    (is_true && successes_run) || !model.is_at_rest(s)
}

fn cancelled_leaves_nothing(model: &Protocol, s: &State) -> bool {
    let leaves_nothing = (0..model.entries()).filter(|&e| s.redis.entries[e].answer == Answer::Cancelled).all(|e| {
        let game = model.games[e];
        let record = &s.redis.records[game];
        (0..model.host_count()).filter_map(|host| s.engine[host][game]).all(|found| {
            let is_of_another = record.state == RecordState::Running && record.container == found.id;
            usize::from(found.source) != e || (is_of_another && usize::from(record.source) != e)
        })
    });
    leaves_nothing || !model.is_at_rest(s)
}
