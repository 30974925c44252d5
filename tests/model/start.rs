//! Attempts of the start service: src/start, and the scripts of the record in src/start/scripts. Each call of Redis or of the
//! engine is a step of its own, so a process may die, stop or be overtaken before and after each.

use super::protocol::Protocol;
use super::state::{ANY_HOST, Answer, Container, Fault, Id, Left, NO_CONTAINER, NOBODY, Phase, RecordState, State};
use super::variants::Variant;

/// The replica, the entry, its game and the host.
#[derive(Clone, Copy)]
struct Way {
    c: usize,
    e: usize,
    game: usize,
    host: usize,
}

impl Protocol {
    fn way(&self, c: usize, e: usize) -> Way {
        Way { c, e, game: self.games[e], host: self.hosts[c] }
    }

    /// `is_held_by` of record.lua: the fence and the owner.
    fn holds(&self, s: &mut State, w: Way) -> bool {
        let (me, fence) = (s.replicas[w.c].name, s.attempt(w.c, w.e).fence);
        let record = &s.redis.records[w.game];
        record.state != RecordState::Absent
            && record.fence == fence
            && (record.owner == me || self.is(Variant::FenceWithoutOwner))
    }

    /// Goes before each engine call that changes something. Answers whether the call may go now: the check is a step of its own,
    /// fence.lua.
    fn is_checked(&self, s: &mut State, w: Way) -> bool {
        let holds = self.holds(s, w);
        if s.attempt(w.c, w.e).checked || self.is(Variant::EngineUnfenced) {
            let attempt = s.attempt(w.c, w.e);
            attempt.checked = false;
            let was_overtaken = std::mem::replace(&mut attempt.overtaken, !holds);
            s.past.went_on |= was_overtaken && !holds;
            return true;
        }
        let attempt = s.attempt(w.c, w.e);
        if holds {
            (attempt.checked, attempt.overtaken) = (true, false);
        } else {
            attempt.phase = Phase::Fenced;
        }
        false
    }

    /// A replica runs one job of a game at a time.
    fn is_lane_free(&self, s: &State, w: Way) -> bool {
        (0..self.entries()).all(|other| {
            let attempt = s.replicas[w.c].attempts[other];
            let is_running = attempt.is_some_and(|attempt| !attempt.phase.is_waiting() && !attempt.phase.is_over());
            other == w.e || self.games[other] != w.game || !is_running
        })
    }

    /// The next step of an entry that is held.
    pub(crate) fn step(&self, s: &mut State, c: usize, e: usize) -> bool {
        let w = self.way(c, e);
        match s.attempt(c, e).phase {
            Phase::Lookup => Self::look_up(s, w),
            Phase::Begin | Phase::Away(_) => return self.is_lane_free(s, w) && self.begin(s, w),
            Phase::LookStored(id) | Phase::LookRunning(id) => {
                let runs = s.engine[w.host][w.game].is_some_and(|found| found.id == id && found.running);
                let attempt = s.attempt(c, e);
                if runs {
                    attempt.phase = Phase::Answered(Answer::Success(id));
                } else {
                    (attempt.phase, attempt.seen_dead) = (Phase::Begin, id);
                }
            }
            Phase::Answered(_) | Phase::Known | Phase::PayloadGone | Phase::Half(_) => return self.end(s, w),
            Phase::GiveUp | Phase::Abandon(_) | Phase::RemoveAbandoned(_) => self.give_up(s, w),
            Phase::Fenced | Phase::RemoveOwn(_) => self.remove_own(s, w),
            Phase::Leave | Phase::LeaveCondemn(_) | Phase::LeaveRemove(_) | Phase::LeaveRelease(_) => {
                self.leave_host(s, w);
            }
            Phase::Ready(_) | Phase::Condemn(_) | Phase::Remove(_) | Phase::CommitFailure => self.conclude(s, w),
            Phase::RemoveFirst(_) | Phase::Find | Phase::Create | Phase::Start(_) => self.drive(s, w),
        }
        true
    }

    /// history.lua, and the payload.
    fn look_up(s: &mut State, w: Way) {
        let entry = s.redis.entries[w.e];
        let attempt = s.attempt(w.c, w.e);
        attempt.cancel |= entry.cancel;
        attempt.phase = match entry {
            entry if entry.ledger => Phase::Known,
            entry if !entry.exists => Phase::PayloadGone,
            _ => Phase::Begin,
        };
    }

    /// The next attempt knows nothing of what this one has seen.
    fn again(s: &mut State, w: Way) {
        let attempt = s.attempt(w.c, w.e);
        (attempt.phase, attempt.seen_dead, attempt.dead_host) = (Phase::Begin, NO_CONTAINER, false);
        (attempt.checked, attempt.fence, attempt.overtaken) = (false, 0, false);
    }

    /// begin.lua, and what the service makes of its answer. Answers false where the job has to wait.
    fn begin(&self, s: &mut State, w: Way) -> bool {
        let me = s.replicas[w.c].name;
        if s.replicas[w.c].must_clear {
            if self.has_to_go(s, w.host) {
                return false;
            }
            s.replicas[w.c].must_clear = false;
        }
        if s.attempt(w.c, w.e).cancel {
            s.attempt(w.c, w.e).phase = Phase::GiveUp;
            return true;
        }
        let (record, attempt) = (s.redis.records[w.game], *s.attempt(w.c, w.e));
        let is_here = record.host == ANY_HOST || usize::from(record.host) == w.host;
        let is_on_dead_host = !is_here && attempt.dead_host;
        let is_elsewhere = !is_here && !is_on_dead_host && !self.is(Variant::PlacedAnywhere);
        let is_current = |id: Id| record.state == RecordState::Running && record.container == id;
        let is_on_dead_host = is_on_dead_host && !self.is(Variant::DeadHostsAnswerStands);
        match s.redis.entries[w.e].stored {
            // Neither is one whose container is gone an answer, nor one that a dead host gave.
            Answer::Success(id) if id != attempt.seen_dead && !(is_on_dead_host && is_current(id)) => {
                if !is_current(id) {
                    s.attempt(w.c, w.e).seen_dead = id;
                } else if is_here {
                    s.attempt(w.c, w.e).phase = Phase::LookStored(id);
                } else {
                    return Self::settle_elsewhere(s, w, record.host);
                }
                return true;
            }
            answer @ (Answer::Failure | Answer::Cancelled) => {
                s.attempt(w.c, w.e).phase = Phase::Answered(answer);
                return true;
            }
            Answer::Success(_) | Answer::None => {}
        }
        let mut is_dead = false;
        if record.state == RecordState::Running {
            if is_elsewhere {
                return Self::settle_elsewhere(s, w, record.host);
            }
            is_dead = record.container == attempt.seen_dead || is_on_dead_host || !is_here;
            if !is_dead {
                s.attempt(w.c, w.e).phase = Phase::LookRunning(record.container);
                return true;
            }
        }
        let is_again = usize::from(record.source) == w.e && record.owner == me;
        let is_of_dead = attempt.dead_owner != NOBODY && record.owner == attempt.dead_owner;
        if record.lease && !is_again && !is_of_dead {
            let has_seen = attempt.seen_dead != NO_CONTAINER || attempt.dead_host;
            Self::again(s, w);
            return has_seen;
        }
        if is_elsewhere && (record.state == RecordState::Starting || record.condemned != NO_CONTAINER) {
            return Self::settle_elsewhere(s, w, record.host);
        }
        let record = &mut s.redis.records[w.game];
        let is_first = record.state == RecordState::Absent;
        if is_first || !self.is(Variant::FenceNotRaised) {
            record.fence += 1;
        }
        (record.state, record.owner, record.source, record.lease) =
            (RecordState::Starting, me, u8::try_from(w.e).expect("few"), true);
        record.host = u8::try_from(w.host).expect("few");
        if is_on_dead_host {
            (record.container, record.condemned) = (NO_CONTAINER, NO_CONTAINER);
        } else if is_dead {
            record.condemned = attempt.seen_dead;
        }
        let (fence, condemned) = (record.fence, record.condemned);
        let attempt = s.attempt(w.c, w.e);
        (attempt.fence, attempt.seen_dead, attempt.dead_host) = (fence, NO_CONTAINER, false);
        attempt.phase = match condemned {
            _ if is_first => Phase::Create,
            NO_CONTAINER => Phase::Find,
            id => Phase::RemoveFirst(id),
        };
        true
    }

    /// The game is placed on another host: the job is for that, unless it is dead.
    fn settle_elsewhere(s: &mut State, w: Way, host: u8) -> bool {
        let is_silent = s.redis.silent[usize::from(host)];
        let attempt = s.attempt(w.c, w.e);
        let before = *attempt;
        if is_silent {
            (attempt.phase, attempt.dead_host) = (Phase::Begin, true);
        } else {
            Self::again(s, w);
            s.attempt(w.c, w.e).phase = Phase::Away(host);
        }
        *s.attempt(w.c, w.e) != before
    }

    fn drive(&self, s: &mut State, w: Way) {
        let me = s.replicas[w.c].name;
        let phase = s.attempt(w.c, w.e).phase;
        if phase != Phase::Find && !self.is_checked(s, w) {
            return;
        }
        let found = s.engine[w.host][w.game];
        let next = match phase {
            Phase::RemoveFirst(id) => {
                s.remove(w.host, w.game, id);
                Phase::Find
            }
            Phase::Create if found.is_none() => {
                let (id, fence) = (s.next_id, s.attempt(w.c, w.e).fence);
                let source = u8::try_from(w.e).expect("few");
                s.next_id += 1;
                s.engine[w.host][w.game] = Some(Container { id, fence, owner: me, source, running: false });
                Phase::Start(id)
            }
            Phase::Start(id) if found.is_some_and(|found| found.id == id) => {
                s.engine[w.host][w.game] = found.map(|found| Container { running: true, ..found });
                Phase::Ready(id)
            }
            Phase::Find => match found {
                None => Phase::Create,
                Some(container) if container.running => Phase::Ready(container.id),
                Some(container) => Phase::Start(container.id),
            },
            _ => Phase::Find,
        };
        s.attempt(w.c, w.e).phase = next;
    }

    fn conclude(&self, s: &mut State, w: Way) {
        match s.attempt(w.c, w.e).phase {
            Phase::Ready(id) => {
                let found = s.engine[w.host][w.game];
                if found.is_some_and(|found| found.id == id && found.running) {
                    self.commit(s, w, Answer::Success(id));
                } else {
                    s.attempt(w.c, w.e).phase = Phase::Find;
                }
            }
            Phase::Condemn(id) => {
                // condemn.lua
                if self.is(Variant::RemoveBeforeCondemn) && !s.attempt(w.c, w.e).checked {
                    s.remove(w.host, w.game, id);
                    s.attempt(w.c, w.e).checked = true;
                    return;
                }
                let holds = self.holds(s, w);
                if holds && !self.is(Variant::NeverCondemned) {
                    s.redis.records[w.game].condemned = id;
                }
                let attempt = s.attempt(w.c, w.e);
                attempt.checked = false;
                attempt.phase = if holds { Phase::Remove(id) } else { Phase::Fenced };
            }
            Phase::Remove(id) => {
                s.remove(w.host, w.game, id);
                s.attempt(w.c, w.e).phase = Phase::CommitFailure;
            }
            Phase::CommitFailure => self.commit(s, w, Answer::Failure),
            _ => {}
        }
    }

    /// commit.lua
    fn commit(&self, s: &mut State, w: Way, answer: Answer) {
        let holds = self.holds(s, w);
        if !holds && !self.is(Variant::CommitUnfenced) {
            s.attempt(w.c, w.e).phase = Phase::Fenced;
            return;
        }
        let (me, fence) = (s.replicas[w.c].name, s.attempt(w.c, w.e).fence);
        let record = &mut s.redis.records[w.game];
        s.past.overwritten |= record.fence != fence || record.owner != me;
        // The text of a record is written as a whole.
        (record.fence, record.owner) = (fence, me);
        (record.lease, record.condemned) = (false, NO_CONTAINER);
        record.source = u8::try_from(w.e).expect("few");
        record.host = u8::try_from(w.host).expect("few");
        (record.state, record.container) = match answer {
            Answer::Success(id) => (RecordState::Running, id),
            _ => (RecordState::Failed, NO_CONTAINER),
        };
        s.redis.entries[w.e].stored = answer;
        s.attempt(w.c, w.e).phase = Phase::Answered(answer);
    }

    /// What a fenced attempt made itself goes, unless another attempt may have it: disown.lua, removed.lua.
    fn remove_own(&self, s: &mut State, w: Way) {
        let (me, fence) = (s.replicas[w.c].name, s.attempt(w.c, w.e).fence);
        if let Phase::RemoveOwn(id) = s.attempt(w.c, w.e).phase {
            s.remove(w.host, w.game, id);
            let record = &mut s.redis.records[w.game];
            if record.state != RecordState::Starting && record.condemned == id {
                record.condemned = NO_CONTAINER;
            }
            return Self::again(s, w);
        }
        let own = s.engine[w.host][w.game].filter(|found| found.fence == fence && found.owner == me);
        let record = &mut s.redis.records[w.game];
        let may_go = |id: Id| {
            let is_used = record.state == RecordState::Starting
                || (record.state == RecordState::Running && record.container == id)
                || (record.condemned != NO_CONTAINER && record.condemned != id);
            !is_used || self.is(Variant::DisownBlindly)
        };
        match own {
            Some(found) if may_go(found.id) => {
                if record.state == RecordState::Absent {
                    record.state = RecordState::Failed;
                }
                record.condemned = found.id;
                s.attempt(w.c, w.e).phase = Phase::RemoveOwn(found.id);
            }
            _ => Self::again(s, w),
        }
    }

    /// After the engine has failed: release_lease.lua, with the host where nothing is left.
    fn leave_host(&self, s: &mut State, w: Way) {
        let (me, fence) = (s.replicas[w.c].name, s.attempt(w.c, w.e).fence);
        let holds = self.holds(s, w);
        match s.attempt(w.c, w.e).phase {
            Phase::Leave => {
                s.attempt(w.c, w.e).phase = match s.engine[w.host][w.game] {
                    None => Phase::LeaveRelease(Left::Nothing),
                    Some(found) if found.owner == me && found.fence == fence && !found.running => {
                        Phase::LeaveCondemn(found.id)
                    }
                    Some(_) => Phase::LeaveRelease(Left::Something),
                };
            }
            Phase::LeaveCondemn(id) => {
                if holds && !self.is(Variant::LeaveUncondemned) {
                    s.redis.records[w.game].condemned = id;
                }
                s.attempt(w.c, w.e).phase =
                    if holds { Phase::LeaveRemove(id) } else { Phase::LeaveRelease(Left::Something) };
            }
            Phase::LeaveRemove(id) => {
                s.remove(w.host, w.game, id);
                s.attempt(w.c, w.e).phase = Phase::LeaveRelease(Left::Removed(id));
            }
            Phase::LeaveRelease(left) => {
                let record = &mut s.redis.records[w.game];
                if holds {
                    record.lease = false;
                    let has_left = match left {
                        Left::Nothing => record.condemned == NO_CONTAINER,
                        Left::Removed(id) => record.condemned == NO_CONTAINER || record.condemned == id,
                        Left::Something => false,
                    };
                    if has_left && record.state == RecordState::Starting {
                        (record.host, record.condemned) = (ANY_HOST, NO_CONTAINER);
                    }
                }
                Self::again(s, w);
            }
            _ => {}
        }
    }

    /// A cancelled job is given up: abandon.lua.
    fn give_up(&self, s: &mut State, w: Way) {
        let me = s.replicas[w.c].name;
        match s.attempt(w.c, w.e).phase {
            Phase::GiveUp => {
                let found = s.engine[w.host][w.game].map_or(NO_CONTAINER, |found| found.id);
                s.attempt(w.c, w.e).phase = Phase::Abandon(found);
            }
            Phase::Abandon(found) => {
                let stored = s.redis.entries[w.e].stored;
                if stored != Answer::None {
                    s.attempt(w.c, w.e).phase = Phase::Answered(stored);
                    return;
                }
                s.redis.entries[w.e].stored = Answer::Cancelled;
                s.attempt(w.c, w.e).phase = Phase::Answered(Answer::Cancelled);
                let record = &mut s.redis.records[w.game];
                if record.state == RecordState::Absent {
                    (record.state, record.owner) = (RecordState::Failed, me);
                    record.host = u8::try_from(w.host).expect("few");
                } else if record.state == RecordState::Starting
                    && usize::from(record.source) == w.e
                    && !self.is(Variant::AbandonUnfenced)
                {
                    record.fence += 1;
                    (record.state, record.owner, record.condemned) = (RecordState::Failed, me, found);
                    (record.container, record.lease) = (NO_CONTAINER, false);
                    if found != NO_CONTAINER {
                        s.attempt(w.c, w.e).phase = Phase::RemoveAbandoned(found);
                    }
                }
            }
            Phase::RemoveAbandoned(id) => {
                s.remove(w.host, w.game, id);
                s.attempt(w.c, w.e).phase = Phase::Answered(Answer::Cancelled);
            }
            _ => {}
        }
    }

    /// settle.lua
    fn end(&self, s: &mut State, w: Way) -> bool {
        let phase = s.attempt(w.c, w.e).phase;
        if let Phase::Answered(answer) = phase
            && self.settle_half(s, w.c, w.e)
        {
            s.attempt(w.c, w.e).phase = Phase::Half(answer);
            return true;
        }
        if matches!(phase, Phase::Half(_)) {
            self.settle_rest(s, w);
            return true;
        }
        if !self.settle(s, w.c, w.e, phase) {
            return false;
        }
        s.let_go(w.c, w.e);
        true
    }

    /// Variants only: the second half of a settle.
    fn settle_rest(&self, s: &mut State, w: Way) {
        let phase = s.attempt(w.c, w.e).phase;
        if self.is(Variant::PublishBeforeLedger) {
            s.redis.entries[w.e].outcomes = s.redis.entries[w.e].outcomes.saturating_sub(1);
        }
        self.settle(s, w.c, w.e, phase);
        s.let_go(w.c, w.e);
    }

    /// The step is taken, and its reply is lost.
    pub(crate) fn step_lost(&self, s: &mut State, c: usize, e: usize) -> bool {
        let w = self.way(c, e);
        s.spend(Fault::ReplyLost);
        let attempt = *s.attempt(c, e);
        match attempt.phase {
            phase @ (Phase::Answered(_) | Phase::Known | Phase::PayloadGone) => self.settle(s, c, e, phase),
            // The call has an effect that the attempt does not know of; it ends, and the next one begins.
            Phase::Ready(_) | Phase::CommitFailure => {
                self.conclude(s, w);
                Self::again(s, w);
                true
            }
            Phase::Create | Phase::Start(_) if attempt.checked => {
                self.drive(s, w);
                s.attempt(c, e).phase = Phase::Leave;
                true
            }
            Phase::Begin if self.is_lane_free(s, w) && self.begin(s, w) => {
                Self::again(s, w);
                true
            }
            _ => false,
        }
    }

    /// The engine answers with an error, and has done nothing.
    pub(crate) fn engine_fails(s: &mut State, c: usize, e: usize) -> bool {
        s.spend(Fault::EngineFails);
        let attempt = s.attempt(c, e);
        let is_call = matches!(attempt.phase, Phase::Create | Phase::Start(_) | Phase::RemoveFirst(_));
        if is_call {
            (attempt.phase, attempt.checked) = (Phase::Leave, false);
        }
        is_call
    }

    /// The game ends before it is ready, and its container with it: a decided failure.
    pub(crate) fn game_fails(s: &mut State, c: usize, e: usize) -> bool {
        s.spend(Fault::GameFails);
        let attempt = s.attempt(c, e);
        let Phase::Ready(id) = attempt.phase else { return false };
        attempt.phase = Phase::Condemn(id);
        true
    }
}
