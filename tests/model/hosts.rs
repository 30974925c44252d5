//! Hosts and processes as they come and go, what keeps the records of a host true (src/start/reconcile.rs), and what is done to
//! Redis from outside.

use super::protocol::Protocol;
use super::state::{ANY_HOST, Container, Fault, Life, NO_CONTAINER, NOBODY, Name, Record, RecordState, State};
use super::variants::Variant;

/// What reap.lua answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Stays,
    /// Once it is so old that no attempt can have it in its hands.
    GoesWhenOld,
    Goes,
}

/// `compare` of src/start/compare.rs, as far as it leads to reap.lua, and reap.lua.
fn verdict(record: Record, container: Container, host: usize) -> Verdict {
    let is_here = record.host == ANY_HOST || usize::from(record.host) == host;
    let is_named = record.container == container.id;
    match record.state {
        RecordState::Absent => return Verdict::Stays,
        RecordState::Starting if is_here => return Verdict::Stays,
        RecordState::Running if is_named => return Verdict::Stays,
        RecordState::Stopped if is_named && record.condemned != container.id => return Verdict::Stays,
        _ => {}
    }
    if record.condemned == container.id && is_here {
        return Verdict::Goes;
    }
    if record.fence < container.fence || (record.fence == container.fence && record.owner != container.owner) {
        return Verdict::Stays;
    }
    if record.fence > container.fence { Verdict::Goes } else { Verdict::GoesWhenOld }
}

impl Protocol {
    /// Whether something on this host has to be removed before anything is started there.
    pub(crate) fn has_to_go(&self, s: &State, host: usize) -> bool {
        (0..self.games()).any(|game| {
            let container = s.engine[host][game];
            container.is_some_and(|found| verdict(s.redis.records[game], found, host) == Verdict::Goes)
        })
    }

    /// beat.lua: the host of this replica is alive. One that was away, or has just come up, does not know what was placed anew.
    pub(crate) fn beat(&self, s: &mut State, c: usize, has_come_up: bool) {
        let host = self.hosts[c];
        let was_away = std::mem::take(&mut s.redis.silent[host]) || has_come_up;
        s.replicas[c].must_clear |= was_away && self.host_count() > 1;
    }

    /// No replica of the host has said for a heartbeat that it is alive.
    pub(crate) fn host_silent(&self, s: &mut State, host: usize) -> bool {
        if s.redis.silent[host] || self.host_is_up(s, host) {
            return false;
        }
        (s.redis.silent[host], s.past.was_silent[host]) = (true, true);
        true
    }

    /// Nobody renews the lease any more: its attempt is over, or takes longer than `max-run`, and another replica has its entry.
    pub(crate) fn lease_ends(&self, s: &mut State, game: usize) -> bool {
        let record = s.redis.records[game];
        let is_kept = s.replicas.iter().any(|replica| {
            let is_there = replica.life == Life::Up && replica.name == record.owner;
            is_there
                && (0..self.entries()).any(|e| {
                    let is_slow = self.may_happen(Fault::Slow) && s.redis.entries[e].owner != replica.name;
                    let is_ours = self.games[e] == game && !is_slow;
                    let attempt = replica.attempts[e];
                    is_ours && attempt.is_some_and(|attempt| attempt.fence == record.fence && !attempt.phase.is_over())
                })
        });
        s.redis.records[game].lease &= is_kept;
        !is_kept
    }

    /// The record is made to say what the engine shows: ended.lua, revived.lua, removed.lua, rebuild.lua.
    pub(crate) fn correct(&self, s: &mut State, host: usize, game: usize) -> bool {
        if !self.host_is_up(s, host) {
            return false;
        }
        let found = s.engine[host][game];
        let record = &mut s.redis.records[game];
        let is_here = usize::from(record.host) == host;
        let runs = found.is_some_and(|found| found.id == record.container && found.running);
        match record.state {
            RecordState::Running if is_here && !runs => {
                (record.state, record.lease) = (RecordState::Stopped, false);
            }
            RecordState::Stopped if is_here && runs && record.condemned != record.container => {
                record.state = RecordState::Running;
            }
            RecordState::Absent => {
                let Some(container) = found.filter(|found| found.running) else { return false };
                record.state = RecordState::Running;
                (record.fence, record.owner) = (container.fence + 1, container.owner);
                (record.container, record.source) = (container.id, container.source);
                record.host = u8::try_from(host).expect("few");
            }
            RecordState::Failed | RecordState::Stopped | RecordState::Running
                if is_here && found.is_none_or(|found| found.id != record.condemned) =>
            {
                record.condemned = NO_CONTAINER;
            }
            _ => {}
        }
        true
    }

    /// reap.lua: may this container go? Where it may, it is condemned, and removed by the next step.
    pub(crate) fn reap(&self, s: &mut State, host: usize, game: usize) -> bool {
        let Some(container) = s.engine[host][game] else { return false };
        if !self.host_is_up(s, host) || self.is(Variant::NoReconciler) {
            return false;
        }
        let id = container.id;
        // The grace is longer than any attempt takes.
        let is_worked_on = (0..self.replicas()).any(|c| {
            let attempts = s.replicas[c].attempts.iter().enumerate();
            let mut running = attempts.filter(|&(e, attempt)| {
                e < self.entries()
                    && self.games[e] == game
                    && attempt.is_some_and(|attempt| !attempt.phase.is_waiting() && !attempt.phase.is_over())
            });
            self.hosts[c] == host && running.next().is_some()
        });
        let may_go = match verdict(s.redis.records[game], container, host) {
            Verdict::Goes => true,
            Verdict::GoesWhenOld => !is_worked_on,
            Verdict::Stays => self.is(Variant::ReapBlindly),
        };
        if !may_go {
            return false;
        }
        let record = &mut s.redis.records[game];
        let is_here = record.host == ANY_HOST || usize::from(record.host) == host;
        if record.condemned == NO_CONTAINER && is_here && record.state != RecordState::Running {
            record.condemned = id;
        }
        s.reaping[host][game] = id;
        // What another host's record cannot condemn is removed at once: nothing is taken to happen in between.
        is_here || self.reaped(s, host, game)
    }

    pub(crate) fn reaped(&self, s: &mut State, host: usize, game: usize) -> bool {
        let id = s.reaping[host][game];
        if id == NO_CONTAINER || !self.host_is_up(s, host) {
            return false;
        }
        s.reaping[host][game] = NO_CONTAINER;
        s.remove(host, game, id);
        let record = &mut s.redis.records[game];
        if record.state != RecordState::Starting && record.condemned == id {
            record.condemned = NO_CONTAINER;
        }
        true
    }

    pub(crate) fn crash(s: &mut State, c: usize) -> bool {
        s.spend(Fault::Crash);
        s.replicas[c].life = Life::Down;
        s.replicas[c].attempts.fill(None);
        true
    }

    pub(crate) fn stop(s: &mut State, c: usize) -> bool {
        s.spend(Fault::Stop);
        s.replicas[c].life = Life::Stopped;
        true
    }

    /// A process that was stopped goes on where it was.
    pub(crate) fn go_on(&self, s: &mut State, c: usize) -> bool {
        s.replicas[c].life = Life::Up;
        self.beat(s, c, false);
        true
    }

    pub(crate) fn game_ends(s: &mut State, host: usize, game: usize) -> bool {
        s.spend(Fault::GameEnds);
        s.engine[host][game].take().is_some()
    }

    pub(crate) fn destroy(s: &mut State) -> bool {
        s.spend(Fault::Destroy);
        for entry in &mut s.redis.entries {
            (entry.owner, entry.given_back) = (NOBODY, false);
        }
        std::mem::take(&mut s.redis.group)
    }

    pub(crate) fn delete_consumer(s: &mut State, name: Name) -> bool {
        s.spend(Fault::DeleteConsumer);
        for entry in s.redis.entries.iter_mut().filter(|entry| entry.owner == name) {
            (entry.owner, entry.given_back) = (NOBODY, false);
        }
        s.past.meddled = true;
        true
    }

    pub(crate) fn set_back(s: &mut State) -> bool {
        s.spend(Fault::SetBack);
        s.redis.group && std::mem::take(&mut s.redis.delivered) > 0
    }

    /// A replica of Redis falls behind.
    pub(crate) fn lag(s: &mut State) -> bool {
        s.lagging = Some(Box::new(s.redis));
        true
    }

    /// It becomes the server: what was written since is lost.
    pub(crate) fn failover(s: &mut State) -> bool {
        s.spend(Fault::Failover);
        let Some(lagging) = s.lagging.take() else { return false };
        s.redis = *lagging;
        true
    }

    pub(crate) fn delete(s: &mut State, e: usize) -> bool {
        s.spend(Fault::Delete);
        e < usize::from(s.redis.delivered) && std::mem::take(&mut s.redis.entries[e].exists)
    }

    /// The original worker, started after the fleet was stopped: it goes on from the mirror, and knows no group.
    pub(crate) fn legacy(&self, s: &mut State) -> bool {
        s.spend(Fault::Legacy);
        let e = usize::from(s.redis.mirror);
        let is_alone = s.replicas.iter().all(|replica| replica.life == Life::Down);
        if !is_alone || e >= self.entries() {
            return false;
        }
        s.redis.entries[e].legacy |= s.redis.entries[e].exists;
        s.redis.mirror += 1;
        true
    }
}
