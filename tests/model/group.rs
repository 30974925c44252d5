//! The scripts of the consumer group, each one step: src/stream/scripts.

use super::protocol::Protocol;
use super::state::{
    Answer, Attempt, Fault, LIVES, Life, NO_CONTAINER, NOBODY, Name, Phase, Presence, REPLICAS, Redis, State,
};
use super::variants::Variant;

fn place(e: usize) -> u8 {
    u8::try_from(e).expect("few entries")
}

/// `write_mirror` of prelude.lua: everything before the oldest pending entry is settled.
pub(crate) fn watermark(redis: &Redis) -> u8 {
    let oldest = redis.entries.iter().position(|entry| entry.owner != NOBODY);
    oldest.map_or(redis.delivered, |e| place(e).min(redis.delivered))
}

impl Protocol {
    fn write_mirror(&self, redis: &mut Redis) {
        let mark = if self.is(Variant::MirrorAtDelivered) { redis.delivered } else { watermark(redis) };
        let mark = if self.is(Variant::MirrorNeverLowered) { mark.max(redis.mirror) } else { mark };
        (redis.mirror, redis.shadow) = (mark, mark);
    }

    /// An entry comes into the hands of a replica. What may have been delivered before is looked up (decision 13).
    fn arrive(&self, s: &mut State, c: usize, e: usize, is_new: bool, dead_owner: Name) {
        if s.replicas[c].attempts[e].is_some() {
            return;
        }
        let phase = if is_new || self.is(Variant::NoLookup) { Phase::Begin } else { Phase::Lookup };
        s.past.asked_again |= !is_new && phase == Phase::Begin && s.redis.entries[e].ledger;
        s.replicas[c].attempts[e] = Some(Attempt {
            phase,
            fence: 0,
            checked: false,
            seen_dead: NO_CONTAINER,
            dead_host: false,
            dead_owner,
            cancel: false,
            overtaken: false,
        });
    }

    /// XREADGROUP
    pub(crate) fn read(&self, s: &mut State, c: usize, is_lost: bool) -> bool {
        let me = s.replicas[c].name;
        if !s.redis.group {
            return false;
        }
        let delivered = usize::from(s.redis.delivered);
        let Some(e) = (delivered..self.entries()).find(|&e| s.redis.entries[e].exists) else { return false };
        s.redis.delivered = place(e) + 1;
        s.redis.entries[e].owner = me;
        s.redis.entries[e].given_back = false;
        if is_lost {
            s.spend(Fault::ReplyLost);
            return true;
        }
        let is_new = place(e) >= s.replicas[c].known;
        s.replicas[c].known = s.replicas[c].known.max(s.redis.delivered);
        self.arrive(s, c, e, is_new, NOBODY);
        true
    }

    /// claim.lua
    pub(crate) fn claim(&self, s: &mut State, c: usize, e: usize, is_lost: bool) -> bool {
        let (me, entry) = (s.replicas[c].name, s.redis.entries[e]);
        if !s.redis.group {
            return false;
        }
        let presence = s.redis.presence[usize::from(entry.owner)];
        // A process that has ended, or is stopped, falls silent.
        let is_silent = entry.owner != me && presence == Presence::Running && !s.is_up(entry.owner);
        let is_dead = presence == Presence::Dead || is_silent || presence == Presence::Absent;
        let is_free = entry.given_back || presence == Presence::Left || (is_dead && entry.owner != me);
        let is_taken_all_the_same = self.is(Variant::ClaimFromLiving) && entry.owner != me;
        if !is_free && !is_taken_all_the_same {
            return false;
        }
        let is_renewed = presence == Presence::Running
            && (0..self.replicas()).any(|one| {
                let owner = &s.replicas[one];
                owner.name == entry.owner && owner.life == Life::Up && owner.attempts[e].is_some()
            });
        s.past.taken_from_living |= is_renewed;
        if is_lost {
            s.spend(Fault::ReplyLost);
        }
        if !entry.exists {
            // What a dead replica holds that may live after all is left to it.
            if presence == Presence::Dead && s.is_up(entry.owner) {
                return false;
            }
            let entry = &mut s.redis.entries[e];
            (entry.dead_letter, entry.ledger, entry.owner, entry.given_back) = (true, true, NOBODY, false);
            self.write_mirror(&mut s.redis);
            return true;
        }
        self.take_over(s, c, e, is_lost, if is_dead { entry.owner } else { NOBODY });
        true
    }

    fn take_over(&self, s: &mut State, c: usize, e: usize, is_lost: bool, dead_owner: Name) {
        s.redis.entries[e].owner = s.replicas[c].name;
        s.redis.entries[e].given_back = false;
        if !is_lost {
            self.arrive(s, c, e, false, dead_owner);
        }
    }

    /// claim.lua: a living owner does not renew what it has had for `max-run`.
    pub(crate) fn claim_slow(&self, s: &mut State, c: usize, e: usize) -> bool {
        let entry = s.redis.entries[e];
        if !s.redis.group || !entry.exists || entry.owner == s.replicas[c].name || !s.is_up(entry.owner) {
            return false;
        }
        s.spend(Fault::Slow);
        self.take_over(s, c, e, false, NOBODY);
        true
    }

    /// renew.lua, and what the replica makes of its answer.
    pub(crate) fn renew(&self, s: &mut State, c: usize) -> bool {
        let me = s.replicas[c].name;
        let presence = &mut s.redis.presence[usize::from(me)];
        if *presence == Presence::Absent {
            *presence = Presence::Running;
        }
        if !s.redis.group {
            return true;
        }
        s.replicas[c].known = s.replicas[c].known.max(s.redis.delivered);
        let mut has_put_back = false;
        for e in 0..self.entries() {
            let entry = &mut s.redis.entries[e];
            match s.replicas[c].attempts[e] {
                Some(_) if entry.owner == me => entry.given_back &= !entry.exists,
                Some(_) if entry.owner == NOBODY && !entry.ledger => {
                    let is_put_back = entry.exists && place(e) < s.redis.delivered;
                    if is_put_back {
                        entry.owner = me;
                    }
                    has_put_back |= is_put_back;
                }
                // Of another, or settled. An attempt under way goes on; the fence ends it.
                Some(attempt) if attempt.phase.is_waiting() => s.let_go(c, e),
                None if entry.owner == me && !entry.given_back => self.arrive(s, c, e, false, NOBODY),
                Some(_) | None => {}
            }
        }
        if has_put_back {
            self.write_mirror(&mut s.redis);
        }
        true
    }

    /// hand_back.lua
    pub(crate) fn hand_back(&self, s: &mut State, c: usize, e: usize) -> bool {
        s.spend(Fault::HandBack);
        let me = s.replicas[c].name;
        let entry = &mut s.redis.entries[e];
        let is_pending = entry.owner == me || (self.is(Variant::HandBackUnowned) && entry.owner != NOBODY);
        entry.given_back |= is_pending && entry.exists;
        s.let_go(c, e);
        true
    }

    /// hand_over.lua
    pub(crate) fn hand_over(s: &mut State, c: usize, e: usize, to: Name) -> bool {
        let me = s.replicas[c].name;
        let entry = &mut s.redis.entries[e];
        if entry.owner == me && !entry.exists {
            s.attempt(c, e).phase = Phase::PayloadGone;
            return true;
        }
        if entry.owner == me && s.redis.presence[usize::from(me)] == Presence::Running {
            entry.owner = to;
            entry.given_back = false;
        }
        s.let_go(c, e);
        true
    }

    /// settle.lua of one entry. Answers false where Redis has no group: the call fails and is repeated.
    pub(crate) fn settle(&self, s: &mut State, c: usize, e: usize, ending: Phase) -> bool {
        let (me, entry) = (s.replicas[c].name, s.redis.entries[e]);
        if !s.redis.group {
            return false;
        }
        let is_settled = entry.ledger && !self.is(Variant::SettleWithoutLedger);
        let may_publish = match entry.owner {
            owner if owner == me => true,
            NOBODY => !is_settled,
            _ => self.is(Variant::SettleUnowned),
        };
        let entry = &mut s.redis.entries[e];
        if may_publish && (is_settled || ending == Phase::Known) {
            if is_settled {
                (entry.owner, entry.given_back, entry.cancel) = (NOBODY, false, false);
            }
        } else if may_publish {
            match ending {
                Phase::Answered(answer) | Phase::Half(answer) => {
                    s.past.published_over |= entry.owner != NOBODY && entry.owner != me;
                    (entry.outcomes, entry.answer) = ((entry.outcomes + 1).min(2), answer);
                }
                _ => entry.dead_letter = true,
            }
            (entry.ledger, entry.owner, entry.given_back, entry.cancel) = (true, NOBODY, false, false);
        }
        self.write_mirror(&mut s.redis);
        s.replicas[c].known = s.replicas[c].known.max(s.redis.delivered);
        true
    }

    /// settle.lua as variants cut it in two. Answers whether there is a first half, which is written then.
    pub(crate) fn settle_half(&self, s: &mut State, c: usize, e: usize) -> bool {
        let me = s.replicas[c].name;
        let entry = &mut s.redis.entries[e];
        if !s.redis.group || entry.owner != me || entry.ledger {
            return false;
        }
        match self.variant {
            Some(Variant::AckBeforePublish) => {
                entry.owner = NOBODY;
                self.write_mirror(&mut s.redis);
                true
            }
            Some(Variant::MirrorBeforeLedger) => {
                let held = entry.owner;
                entry.owner = NOBODY;
                self.write_mirror(&mut s.redis);
                s.redis.entries[e].owner = held;
                true
            }
            Some(Variant::PublishBeforeLedger) => {
                entry.outcomes = (entry.outcomes + 1).min(2);
                true
            }
            _ => false,
        }
    }

    /// adopt.lua
    pub(crate) fn adopt(&self, s: &mut State, c: usize, others_present: bool) -> bool {
        let redis = &mut s.redis;
        if !redis.group {
            let start = if self.is(Variant::AdoptAtEnd) { place(self.entries()) } else { redis.mirror };
            let keeps = redis.mirror == redis.shadow && !self.is(Variant::AdoptForgetsVerified);
            redis.verified = if keeps { redis.verified.min(start) } else { start };
            (redis.group, redis.delivered, redis.mirror, redis.shadow) = (true, start, start, start);
        } else if redis.mirror > redis.shadow {
            if others_present {
                return true;
            }
            for e in 0..usize::from(redis.mirror) {
                if redis.entries[e].owner != NOBODY {
                    (redis.entries[e].owner, redis.entries[e].given_back, redis.entries[e].ledger) =
                        (NOBODY, false, true);
                }
            }
            redis.delivered = redis.delivered.max(redis.mirror);
            redis.verified = redis.verified.max(redis.mirror);
            self.write_mirror(redis);
        } else {
            self.write_mirror(redis);
        }
        let is_anything_known = s.redis.entries.iter().any(|entry| entry.ledger || entry.cancel);
        s.replicas[c].known = if is_anything_known { place(self.entries()) } else { s.redis.delivered };
        true
    }

    /// janitor.lua: consumers that hold nothing and have not been heard of, the walk, and the trimming.
    pub(crate) fn janitor(&self, s: &mut State, c: usize) -> bool {
        if !s.redis.group || self.is(Variant::NoJanitor) {
            return false;
        }
        for name in 0..u8::try_from(s.redis.presence.len()).expect("few names") {
            let holds = s.redis.entries.iter().any(|entry| entry.owner == name);
            if !holds && !s.is_up(name) {
                s.redis.presence[usize::from(name)] = Presence::Absent;
            }
        }
        let (me, redis) = (s.replicas[c].name, &mut s.redis);
        let (mut verified, mut is_verified, mut has_put_back) = (redis.verified.min(redis.delivered), true, false);
        for e in usize::from(verified)..usize::from(redis.delivered) {
            let entry = &mut redis.entries[e];
            if entry.owner == NOBODY && !entry.ledger && entry.exists {
                (entry.owner, entry.given_back) = (me, true);
                has_put_back = true;
            }
            is_verified &= entry.owner == NOBODY;
            if is_verified {
                verified = place(e) + 1;
            }
        }
        redis.verified = verified;
        if has_put_back {
            self.write_mirror(redis);
        }
        if self.trims {
            let until =
                if self.is(Variant::TrimToDelivered) { redis.delivered } else { watermark(redis).min(verified) };
            for entry in &mut redis.entries[..usize::from(until)] {
                entry.exists = false;
            }
        }
        true
    }

    /// watch.lua: the process of this name has ended, and another replica looks.
    pub(crate) fn notice(&self, s: &mut State, name: Name) -> bool {
        let has_ended = !s.replicas.iter().any(|replica| replica.name == name && replica.life != Life::Down);
        has_ended && self.declare_dead(s, name)
    }

    /// watch.lua: the process of this name lives, and its connections were closed.
    pub(crate) fn cut(&self, s: &mut State, name: Name) -> bool {
        s.spend(Fault::Cut);
        s.is_up(name) && self.declare_dead(s, name)
    }

    fn declare_dead(&self, s: &mut State, name: Name) -> bool {
        let has_judge = (0..self.replicas()).any(|c| {
            let judge = &s.replicas[c];
            let is_present = s.redis.presence[usize::from(judge.name)] == Presence::Running;
            judge.name != name && judge.life == Life::Up && is_present
        });
        if has_judge {
            s.redis.presence[usize::from(name)] = Presence::Dead;
        }
        has_judge
    }

    /// leave.lua, and the leases that dropped attempts give up.
    fn leave(&self, s: &mut State, c: usize) {
        let me = s.replicas[c].name;
        for e in 0..self.entries() {
            if let Some(attempt) = s.replicas[c].attempts[e].take() {
                let record = &mut s.redis.records[self.games[e]];
                if attempt.fence > 0 && record.fence == attempt.fence && record.owner == me {
                    record.lease = false;
                }
            }
        }
        if !s.redis.group {
            return;
        }
        s.redis.presence[usize::from(me)] = Presence::Left;
        for entry in &mut s.redis.entries {
            entry.given_back |= entry.owner == me && entry.exists;
        }
    }

    /// A process ends cleanly.
    pub(crate) fn drain(&self, s: &mut State, c: usize) -> bool {
        s.spend(Fault::Drain);
        self.leave(s, c);
        s.replicas[c].life = Life::Down;
        true
    }

    /// A replica that was declared dead learns of it.
    pub(crate) fn rename(&self, s: &mut State, c: usize) -> bool {
        self.leave(s, c);
        self.live(s, c, true)
    }

    /// A process comes up.
    pub(crate) fn boot(&self, s: &mut State, c: usize, is_early: bool) -> bool {
        if self.lost_host == Some(self.hosts[c]) {
            return false;
        }
        let lingers = |name: usize| is_early && s.redis.presence[name] == Presence::Running;
        let others_present =
            (0..s.redis.presence.len()).any(lingers) || s.replicas.iter().any(|one| one.life == Life::Up);
        self.live(s, c, others_present)
    }

    fn live(&self, s: &mut State, c: usize, others_present: bool) -> bool {
        let name = usize::from(s.replicas[c].name) + REPLICAS;
        if name >= REPLICAS * LIVES {
            return false;
        }
        s.replicas[c].name = u8::try_from(name).expect("few names");
        s.replicas[c].life = Life::Up;
        s.redis.presence[name] = Presence::Running;
        self.beat(s, c, true);
        self.adopt(s, c, others_present)
    }

    /// place_mark.lua
    pub(crate) fn cancel(&self, s: &mut State, e: usize) -> bool {
        s.spend(Fault::Cancel);
        let redis = &mut s.redis;
        // What the record names, or has answered, is marked, although no replica seems to have read it.
        let has_begun =
            usize::from(redis.records[self.games[e]].source) == e || redis.entries[e].stored != Answer::None;
        let entry = &mut redis.entries[e];
        let was_delivered = redis.group && place(e) < redis.delivered;
        if entry.ledger || !(entry.exists || entry.owner != NOBODY) {
            return false;
        }
        if entry.owner != NOBODY || was_delivered || has_begun {
            entry.cancel = true;
            return true;
        }
        let is_passed = redis.mirror != redis.shadow && (!redis.group || place(e) < redis.mirror);
        if is_passed {
            return false;
        }
        (entry.outcomes, entry.answer, entry.ledger) = ((entry.outcomes + 1).min(2), Answer::Cancelled, true);
        entry.exists = self.is(Variant::CancelKeepsEntry);
        true
    }
}
