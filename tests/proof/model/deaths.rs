//! Whose subscription has ended, who is declared dead by it, and what such deaths count for a while.

use std::collections::{BTreeMap, BTreeSet};

use super::Model;
use crate::call::{CLAIM_IDLE, GRACE, SWEEP_EVERY};
use crate::ids::Id;

/// How often the cause of a death lies outside, for one job.
pub const EXCUSED_MAX: u64 = 10;
/// For so long the judge must have been subscribed before it declares one dead that is silent already.
const SETTLED: u64 = 1_500;

/// Answers of one run, by owner and by who had the job.
pub type Causes = BTreeMap<(String, Vec<String>), bool>;

/// What one look at the subscriptions came to.
#[derive(Debug, Default)]
pub struct Look {
    pub declared: Vec<String>,
    /// What is written down: nothing where this replica cannot judge.
    pub notes: Option<String>,
    pub again: u64,
}

impl Model {
    /// The ms until this is due. A time further ahead than two intervals was written before the clock went back.
    pub fn left_until(&self, name: &str) -> u64 {
        let left = self.number(name).saturating_sub(self.now);
        if left > 2 * SWEEP_EVERY { 0 } else { left }
    }

    /// Those who are declared dead and hold something, in the order of their names.
    pub fn dead_owners(&self, me: &str) -> Vec<String> {
        let is_dead = |name: &String| self.presences.get(name).is_some_and(|one| one.state == "dead");
        self.owners().into_iter().filter(|name| name != me && is_dead(name)).collect()
    }

    fn owners(&self) -> BTreeSet<String> {
        self.group.iter().flat_map(|group| group.pending.values()).map(|one| one.owner.clone()).collect()
    }

    /// A replica is dead when its subscription has been missing for the grace, as seen by one that hears its own, in looks
    /// that follow each other closely; unless it has renewed since.
    pub fn look_at_subscriptions(&mut self, me: &str, generation: u64) -> Look {
        let own = self.presences.get(me).cloned();
        let heard = own.as_ref().and_then(|own| own.heard);
        let is_settled = heard.map_or(self.now, |(ms, _)| ms) + SETTLED <= self.now;
        let owners = self.owners();
        let listening: Vec<String> = owners
            .iter()
            .filter(|name| *name != me)
            .filter(|name| {
                self.presences.get(*name).is_some_and(|one| {
                    let may_be = self.is_there(one) || (is_settled && one.seen <= self.now);
                    !matches!(one.state, "dead" | "left") && one.heard.is_some() && may_be
                })
            })
            .cloned()
            .collect();
        let cannot_judge = Look { again: GRACE, ..Look::default() };
        if listening.is_empty() {
            let again = if owners.contains(me) { GRACE } else { SWEEP_EVERY };
            return Look { notes: Some(String::new()), again, ..Look::default() };
        }
        let Some((heard_ms, of)) = heard.filter(|(_, of)| *of == generation) else { return cannot_judge };
        if !self.subscribed.contains(me) {
            return cannot_judge;
        }
        // After a first subscription no earlier one was lost; later the others must have renewed since.
        let since = if of == 1 { 0 } else { heard_ms };
        let noted = self.sweep.get("noted").cloned().unwrap_or_default();
        let (looked, before) = noted.split_once(' ').unwrap_or((&noted, ""));
        let looked: u64 = looked.parse().unwrap_or(0);
        let is_close = self.now - looked <= 2 * GRACE / 3;
        let first_noted = |name: &str| -> Option<u64> {
            let mut all = before.split(' ').filter_map(|one| one.split_once('='));
            all.find(|(of, _)| *of == name && is_close).and_then(|(_, ms)| ms.parse().ok())
        };
        let (mut look, mut notes) = (Look { again: GRACE, ..Look::default() }, String::new());
        for name in listening {
            let presence = self.presences.get(&name).expect("listed");
            if self.subscribed.contains(&name) || presence.seen < since {
                continue;
            }
            let first = first_noted(&name).filter(|&first| presence.seen <= first).unwrap_or(self.now);
            if self.now - first >= GRACE {
                let now = self.now;
                let presence = self.presences.get_mut(&name).expect("listed");
                (presence.state, presence.died) = ("dead", Some(now));
                look.declared.push(name);
            } else {
                notes = format!("{notes} {name}={first}");
                look.again = look.again.min(GRACE / 3).min(first + GRACE - self.now).max(1);
            }
        }
        look.notes = Some(if notes.is_empty() { notes } else { format!("{}{notes}", self.now) });
        look
    }

    /// The provisional counts of those who were declared dead not long ago.
    fn recent_charges(&self) -> BTreeMap<String, Vec<Id>> {
        let is_recent = |name: &String| {
            let died = self.presences.get(name).filter(|one| one.state == "dead").and_then(|one| one.died);
            died.is_some_and(|died| 4 * (self.now - died) < 5 * CLAIM_IDLE)
        };
        let recent = self.charges.iter().filter(|(name, (_, ids))| !ids.is_empty() && is_recent(name));
        recent.map(|(name, (_, ids))| (name.clone(), ids.clone())).collect()
    }

    pub fn has_recent_charges(&self) -> bool {
        !self.recent_charges().is_empty()
    }

    /// Did at least half of the fleet of that moment die within half a claim idle, this owner among two or more? Those who had
    /// the job one after the other count for neither side.
    /// `of`: the owner, when it was heard of last, and who has the job now.
    pub fn has_cause_outside(&self, me: &str, id: Id, of: (&str, u64, &str), causes: &mut Causes) -> bool {
        let (owner, seen, holder) = of;
        let charged = self.recent_charges();
        let charged = charged.iter().filter(|(_, ids)| ids.contains(&id)).map(|(name, _)| name.clone());
        let had_it: BTreeSet<String> = charged.chain([holder.to_owned()]).collect();
        let question = (owner.to_owned(), had_it.iter().cloned().collect());
        if let Some(&answer) = causes.get(&question) {
            return answer;
        }
        let hears = self.presences.get(me).is_some_and(|own| own.heard.is_some());
        let window = CLAIM_IDLE / 2;
        let (mut dead, mut others) = (u64::from(!self.presences.contains_key(owner)), 0);
        for (name, one) in self.presences.iter().filter(|(_, one)| one.seen + window >= seen) {
            let is_cut = hears && one.state == "running" && one.heard.is_some() && !self.subscribed.contains(name);
            let is_dead = one.state == "dead" || is_cut || self.now - one.seen >= CLAIM_IDLE / 2;
            if is_dead && had_it.contains(name) && name != owner {
                continue;
            }
            if one.seen <= seen + window && one.state != "left" && is_dead {
                dead += 1;
            } else if one.born <= seen {
                others += 1;
            }
        }
        let answer = dead >= 2 && dead >= others;
        causes.insert(question, answer);
        answer
    }

    pub fn excuses(&self, id: Id) -> u64 {
        self.past.get(&id).and_then(|past| past.excused).unwrap_or(0)
    }

    /// Provisional counts whose cause turns out to lie outside are taken back. Answers how many.
    pub fn reconsider(&mut self, me: &str) -> usize {
        let (mut causes, mut withdrawn) = (Causes::new(), 0);
        let mut gone: Vec<(String, Vec<Id>, Vec<Id>)> = Vec::new();
        for (owner, ids) in self.recent_charges() {
            let seen = self.presences.get(&owner).map_or(0, |one| one.seen);
            let is_gone = |id: &Id| {
                let holder = self.pending(*id).map(|pending| pending.owner.clone());
                self.excuses(*id) < EXCUSED_MAX
                    && holder
                        .is_some_and(|holder| self.has_cause_outside(me, *id, (&owner, seen, &holder), &mut causes))
            };
            let (go, stay) = ids.into_iter().partition(is_gone);
            gone.push((owner, go, stay));
        }
        for (owner, go, stay) in gone.into_iter().filter(|(_, go, _)| !go.is_empty()) {
            self.charges.remove(&owner);
            if !stay.is_empty() {
                self.charges.insert(owner, (self.now, stay));
            }
            for id in go {
                if self.take_back(id) {
                    *self.past_of(id).excused.get_or_insert(0) += 1;
                    withdrawn += 1;
                }
            }
        }
        withdrawn
    }

    /// As long as there are provisional counts it is asked again who died together.
    pub fn reconsider_later(&mut self) {
        let due = if self.recent_charges().is_empty() { 0 } else { self.now + CLAIM_IDLE * 2 / 5 };
        if due != self.number("reconsider_due") {
            self.set("reconsider_due", due);
        }
    }

    pub fn take_back(&mut self, id: Id) -> bool {
        let (crashes, failures, since) = self.counts(id);
        if crashes > 0 {
            self.past_of(id).counts = Some((crashes - 1, failures, since));
        }
        crashes > 0
    }

    /// What is charged to a dead replica is forgotten with the last of its jobs.
    pub fn forget_charges(&mut self) {
        let is_over = |(name, (_, ids)): (&String, &(u64, Vec<Id>))| {
            let is_dead = self.presences.get(name).is_some_and(|one| one.state == "dead");
            let are_settled = ids.iter().all(|id| self.past.get(id).is_none_or(|past| past.counts.is_none()));
            (is_dead && are_settled).then(|| name.clone())
        };
        let over: Vec<String> = self.charges.iter().filter_map(is_over).collect();
        for name in over {
            self.charges.remove(&name);
        }
    }
}
