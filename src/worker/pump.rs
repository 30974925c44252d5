//! Starting what has become possible. Nothing here waits.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;

use super::events::Event;
use super::holdings::{Held, Stage};
use super::replica::{Mode, Replica};
use super::work::Ticket;
use crate::faults::Point;
use crate::metrics::labels::RedisOperation;
use crate::start::{OP_SOURCE, StartInput};
use crate::stream::Origin;
use crate::stream::entry_id::EntryId;
use crate::stream::fetch::Want;
use crate::stream::past::Past;
use crate::stream::renew::ReplicaState;
use crate::stream::settle::{BATCH_MAX, Ending};

/// A read brings no more than this, two batches: what is read is worked on while Redis settles what was read before.
const READ_MAX: usize = 2 * BATCH_MAX;
/// Starts that begin in one turn of the loop: as many as settle together, so that their batch is on its way while the
/// next begin.
const STARTS_A_TURN: usize = BATCH_MAX;
/// Entries that have ended and are not settled yet, in reads: one under way, one ready, one that is worked on. Beyond
/// this nothing is read.
const ENDING_READS: usize = 3;
/// Batches under way at once: single entries that come one after the other do not wait for each other.
const SETTLES_MAX: usize = 4;
/// So many entries in hand are few: there is time between them.
pub(super) const FEW: usize = 4;
/// A read that has waited for so long, and brought few, brought what came by itself.
pub(super) const SPARSE_AFTER: Duration = Duration::from_micros(500);
/// Bytes of dead letters in one batch, beyond which nothing is added to it.
const BATCH_KEPT_BYTES_MAX: usize = 1024 * 1024;
/// When nothing at all is due.
const IDLE_WAKE: Duration = Duration::from_secs(60);

impl Replica {
    pub(super) fn pump(&mut self) {
        let now = Instant::now();
        self.conditions.say_ended(now);
        self.wake_backed_off(now);
        self.start_ready();
        self.fetch_ready(now);
        self.settle_ready(now);
        self.hand_back_ready(now);
        self.renew_due(now);
        self.doubt_due(now);
        self.adopt_due(now);
        self.probe_due(now);
        self.probe_store_due(now);
        self.tidy_due(now);
        self.reconcile_due(now);
        // Claims before reads: free slots go to entries that have waited longest.
        self.sweep_due(now);
        self.read_due(now);
        self.watch_read(now);
        self.show();
    }

    /// Begins an operation whose duration is shown under this name.
    pub(super) fn begin(&self, operation: RedisOperation, call: impl Future<Output = Event> + Send + 'static) {
        let metrics = Arc::clone(&self.metrics);
        self.operations.push(
            async move {
                let began = Instant::now();
                let event = call.await;
                metrics.redis_call(operation, began.elapsed());
                event
            }
            .boxed(),
        );
    }

    fn show(&self) {
        self.vitals.turned(self.under_way.read.is_some() && self.under_way.read_is_overdue);
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.in_flight.set(number(self.running.len()));
        self.metrics.held.set(number(self.holdings.len()));
        self.metrics.backing_off.set(number(self.holdings.count(Stage::BackingOff)));
    }

    pub(super) fn next_wake(&self) -> Instant {
        let now = Instant::now();
        let mut wake = now + IDLE_WAKE;
        let mut at = |condition: bool, due: Instant| {
            if condition {
                wake = wake.min(due);
            }
        };
        let takes_work = self.takes_work();
        at(!self.under_way.renew, self.due.renew);
        at(self.sweep_aim().is_some(), self.due.sweep);
        at(takes_work && self.under_way.read.is_none() && !self.pace.read_waits && self.can_read(), self.due.read);
        at(self.mode == Mode::Running && !self.group_lost && !self.under_way.tidy, self.due.tidy);
        at(takes_work && !self.under_way.reconcile, self.due.reconcile);
        at(self.can_fetch(), self.due.fetch);
        at(self.can_settle(), self.due.settle);
        at(!self.to_hand_back.is_empty(), self.due.hand_back);
        at(!self.engine_up && !self.under_way.probe, self.due.probe);
        at(self.group_lost && !self.under_way.adopt, self.due.adopt);
        if let Some(due) = self.store_down {
            at(!self.under_way.store_probe, due);
        }
        if let Some(end) = self.conditions.next_end() {
            at(true, end);
        }
        if let Some(since) = self.under_way.read {
            at(!self.under_way.read_is_overdue, since + self.read_limit());
        }
        if let Some((&(due, _), _)) = self.backing_off.first_key_value() {
            at(self.engine_up, due);
        }
        if let Mode::Draining(deadline) = self.mode {
            at(true, deadline);
            if let Some(unseen) = self.unseen {
                at(now < unseen.until(), unseen.until());
            }
        }
        wake
    }

    pub(super) fn takes_work(&self) -> bool {
        self.mode == Mode::Running
            && self.engine_up
            && !self.group_lost
            && self.store_down.is_none()
            && self.paused == Some(false)
    }

    /// Slots that no held entry takes; a read under way may still fill them. None while too many entries back off, while too
    /// many bytes are held, or while a suspect runs.
    pub(super) fn free_for_claims(&self) -> usize {
        if self.alone.is_some()
            || self.holdings.count(Stage::BackingOff) >= self.settings.max_backing_off
            || self.holdings.bytes() >= self.settings.max_held_bytes
        {
            return 0;
        }
        self.holdings.free(self.settings.slots)
    }

    fn can_read(&self) -> bool {
        self.free_for_claims() > 0
            && !self.under_way.sweep
            && self.claim_next.is_none()
            // Entries come far apart: everything that is done before the outcome stands would delay it.
            && !(self.pace.is_sparse && self.under_way.settles > 0 && self.holdings.len() <= FEW)
            && self.holdings.count(Stage::Ending) < ENDING_READS * self.read_max()
    }

    fn can_fetch(&self) -> bool {
        (!self.to_fetch.is_empty() && !self.under_way.fetch) || (!self.stuck.is_empty() && !self.under_way.stuck_fetch)
    }

    /// Redis answers all that it finds queued when it is done with the last of it. If everything that is ready were sent
    /// at once, Redis would wait while the answers are worked on; so no more entries are under way than a read brings,
    /// and the rest stands ready to go when those return.
    fn can_settle(&self) -> bool {
        let (ready, under_way) = (self.endings.len().min(BATCH_MAX), &self.under_way);
        let is_room = under_way.settles < SETTLES_MAX && under_way.settling + ready <= self.read_max();
        ready > 0 && (under_way.settles == 0 || is_room)
    }

    fn wake_backed_off(&mut self, now: Instant) {
        if !self.engine_up {
            return;
        }
        while let Some(entry) = self.backing_off.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let job = entry.remove();
            if job.held.is_suspect() {
                self.give_back(job.held);
            } else {
                self.holdings.enter(&job.held, Stage::Waiting);
                self.games.push(job);
            }
        }
    }

    fn start_ready(&mut self) {
        let allowed = if self.store_down.is_none() { self.settings.slots } else { 0 };
        self.pace.starts_wait = false;
        for begun in 0.. {
            if self.running.len() >= allowed || !self.engine_up {
                break;
            }
            if begun == STARTS_A_TURN {
                self.pace.starts_wait = self.games.has_next();
                break;
            }
            let Some(job) = self.games.take_next() else { break };
            self.holdings.enter(&job.held, Stage::Running);
            let ticket = Ticket {
                id: job.held.id(),
                input: StartInput {
                    game_id: job.envelope.game_id.clone(),
                    image_ref: job.envelope.image_ref.clone(),
                    op_source: OP_SOURCE,
                    source_ref: job.held.id().to_string(),
                    trace: job.envelope.trace.clone(),
                },
                requested_at_ms: job.envelope.requested_at_ms,
                crashes: job.held.crashes,
                failures: job.held.failures,
                uncounted: job.uncounted,
                since: job.held.since,
                is_too_large: job.is_too_large,
            };
            let work = Arc::clone(&self.work);
            let task = self.starts.spawn(async move { work.run(ticket).await });
            self.running.insert(task.id(), job);
        }
    }

    fn fetch_ready(&mut self, now: Instant) {
        if now < self.due.fetch {
            return;
        }
        self.fetch_stuck();
        if self.to_fetch.is_empty() || self.under_way.fetch {
            return;
        }
        let mut helds = std::mem::take(&mut self.to_fetch);
        helds.sort_by_key(Held::id);
        self.under_way.fetch = true;
        let fetcher = self.fetcher.clone();
        let wanted: Vec<_> = helds.iter().map(|held| self.wanted(held)).collect();
        let end = self.end_fetches.clone();
        self.begin(RedisOperation::Fetch, async move {
            let fetched = end.run_until_cancelled(fetcher.fetch(&wanted)).await;
            Event::Fetched(helds, fetched.unwrap_or_default())
        });
    }

    fn wanted(&self, held: &Held) -> (EntryId, Want) {
        // The whole has killed processes often enough.
        let is_spent = held.crashes > u64::from(self.settings.crash_budget);
        (held.id(), if is_spent { Want::JobFields } else { Want::Whole })
    }

    /// An entry that does not arrive is waited for alone, while the others go on.
    fn fetch_stuck(&mut self) {
        if self.under_way.stuck_fetch {
            return;
        }
        let Some(held) = self.stuck.pop_front() else { return };
        self.under_way.stuck_fetch = true;
        let (fetcher, end, wanted) = (self.fetcher.clone(), self.end_fetches.clone(), self.wanted(&held));
        self.begin(RedisOperation::Fetch, async move {
            let fetched = end.run_until_cancelled(fetcher.fetch_stuck(wanted)).await;
            Event::FetchedStuck(held, fetched.unwrap_or_default())
        });
    }

    fn settle_ready(&mut self, now: Instant) {
        while now >= self.due.settle && self.can_settle() {
            self.faults.reach(Point::BeforeSettle);
            let batch = self.next_batch();
            let (group, held) = (self.group.clone(), self.holdings.len());
            let may_have_attempts = batch.iter().any(|(held, _)| held.may_have_attempts());
            self.under_way.settles += 1;
            self.under_way.settling += batch.len();
            self.metrics.batch(batch.len());
            self.begin(RedisOperation::Settle, async move {
                let (helds, pairs): (Vec<_>, Vec<_>) = batch
                    .into_iter()
                    .map(|(held, ending)| {
                        let id = held.id();
                        (held, (id, ending))
                    })
                    .unzip();
                let reply = group.settle(&pairs, held, may_have_attempts).await;
                let batch = helds.into_iter().zip(pairs).map(|(held, (_, ending))| (held, ending)).collect();
                Event::Settled(batch, reply)
            });
        }
    }

    /// All that is ready, never a wait: up to a batch of entries from one ledger hour, which nearly always is all.
    fn next_batch(&mut self) -> Vec<(Held, Ending)> {
        let hour = self.endings.front().map(|(held, _)| held.id().ledger_hour());
        let mut batch = Vec::with_capacity(self.endings.len().min(BATCH_MAX));
        let mut kept_bytes = 0;
        for _ in 0..self.endings.len() {
            let Some(ending) = self.endings.pop_front() else { break };
            let is_room = batch.len() < BATCH_MAX && kept_bytes < BATCH_KEPT_BYTES_MAX;
            if is_room && Some(ending.0.id().ledger_hour()) == hour {
                kept_bytes += ending.1.kept_bytes();
                batch.push(ending);
            } else {
                self.endings.push_back(ending);
            }
        }
        batch
    }

    fn hand_back_ready(&mut self, now: Instant) {
        if now < self.due.hand_back || self.to_hand_back.is_empty() {
            return;
        }
        let helds = std::mem::take(&mut self.to_hand_back);
        let group = self.group.clone();
        self.under_way.hand_backs += 1;
        self.begin(RedisOperation::HandBack, async move {
            let ids: Vec<_> = helds.iter().map(Held::id).collect();
            let reply = group.hand_back(&ids).await;
            Event::HandedBack(helds, reply)
        });
    }

    fn renew_due(&mut self, now: Instant) {
        if now < self.due.renew || self.under_way.renew {
            return;
        }
        let renewal = self.next_renewal(now);
        self.begin(RedisOperation::Renew, renewal);
    }

    /// The renewal of this moment; it counts as under way from now on.
    pub(super) fn next_renewal(&mut self, at: Instant) -> impl Future<Output = Event> + Send + use<> {
        self.under_way.renew = true;
        self.due.renew = at + self.settings.claim_idle / 3;
        if let Some(unseen) = &mut self.unseen {
            unseen.is_looked_for = true;
        }
        let state = if self.mode == Mode::Running { ReplicaState::Running } else { ReplicaState::Draining };
        let (group, about, clock) = (self.group.clone(), self.presence(), Arc::clone(&self.work.clock));
        let ids = self.holdings.to_renew(at, self.settings.max_run);
        async move {
            let time = async {
                let asked = Instant::now();
                if let Ok(now_ms) = group.now_ms().await {
                    clock.hear(now_ms, asked);
                }
            };
            // All go out at once.
            let (renewed, paused, ()) = tokio::join!(group.renew(state, &about, &ids), group.is_paused(), time);
            Event::Renewed(renewed, paused)
        }
    }

    fn adopt_due(&mut self, now: Instant) {
        if !self.group_lost || self.under_way.adopt || now < self.due.adopt {
            return;
        }
        self.under_way.adopt = true;
        let (group, claim_idle) = (self.group.clone(), self.settings.claim_idle);
        self.begin(RedisOperation::Adopt, async move { Event::Adopted(group.adopt(claim_idle).await) });
    }

    fn tidy_due(&mut self, now: Instant) {
        if self.mode != Mode::Running || self.group_lost || self.under_way.tidy || now < self.due.tidy {
            return;
        }
        self.under_way.tidy = true;
        let interval = self.settings.janitor_interval;
        self.due.tidy = now + interval.mul_f64(0.8 + 0.4 * fastrand::f64());
        let group = self.group.clone();
        let (claim_idle, consumer_idle) = (self.settings.claim_idle, self.settings.consumer_idle);
        self.begin(RedisOperation::Janitor, async move {
            Event::Tidied(group.tidy(interval, claim_idle, consumer_idle).await)
        });
    }

    fn reconcile_due(&mut self, now: Instant) {
        if !self.takes_work() || self.under_way.reconcile || now < self.due.reconcile {
            return;
        }
        self.under_way.reconcile = true;
        let interval = self.reconcile_interval;
        self.due.reconcile = now + interval.mul_f64(0.8 + 0.4 * fastrand::f64());
        let reconciler = Arc::clone(&self.reconciler);
        self.operations.push(async move { Event::Reconciled(reconciler.run_if_due(interval).await) }.boxed());
    }

    fn read_due(&mut self, now: Instant) {
        let waited = std::mem::replace(&mut self.pace.read_waits, false);
        if !self.takes_work() || self.under_way.read.is_some() || now < self.due.read || !self.can_read() {
            return;
        }
        // With little in hand its latency counts: the read goes out after whatever can be settled at once.
        if !waited && (1..=FEW).contains(&self.holdings.count(Stage::Running)) {
            self.pace.read_waits = true;
            return;
        }
        let bytes = self.settings.max_held_bytes.saturating_sub(self.holdings.bytes());
        let room = self.appetite.count(self.free_for_claims().min(self.read_max()), bytes);
        self.under_way.read = Some(now);
        self.strays.read_begins();
        self.pace.asked = room;
        self.read_above = self.delivered;
        self.under_way.read_is_overdue = false;
        self.trust_reader();
        let (reader, turn) = (Arc::clone(&self.reader), self.reader.turn());
        self.operations.push(async move { Event::Read(reader.read(room, turn).await) }.boxed());
    }

    /// A read brings half of what we could hold, so that the next is under way while this one is being worked on; but at
    /// least a batch, because one that brings less costs more than it brings.
    fn read_max(&self) -> usize {
        (self.settings.slots / 2).clamp(BATCH_MAX, READ_MAX)
    }

    pub(super) fn read_limit(&self) -> Duration {
        // The client's own time-out comes first where BLOCK is short.
        (self.settings.block * 3).max(self.settings.block + Duration::from_secs(3))
    }

    /// Takes entries on that have just come into our hands; about those that may have been anybody's before, what is
    /// known is asked first. Nothing is known of what a read brought from above all that had ever been delivered.
    pub(super) fn admit(&mut self, helds: Vec<Held>) {
        let above = self.read_above;
        let is_first = |held: &Held| held.origin == Origin::New && held.id() > above;
        let (fresh, mut helds): (Vec<Held>, Vec<Held>) = helds.into_iter().partition(is_first);
        for held in fresh {
            self.take_on(held, Past::default());
        }
        if helds.is_empty() {
            return;
        }
        self.under_way.admissions += 1;
        helds.sort_by_key(Held::id);
        let group = self.group.clone();
        self.begin(RedisOperation::Past, async move {
            let ids: Vec<_> = helds.iter().map(Held::id).collect();
            let past = group.past(&ids).await;
            Event::Admitted(helds, past)
        });
    }

    /// Everything that has not started goes back, for others to take at once.
    pub(super) fn give_back_all_unstarted(&mut self) {
        // What is being read comes back with nothing, and goes the same way.
        std::mem::take(&mut self.end_fetches).cancel();
        let stuck = std::mem::take(&mut self.stuck);
        for held in std::mem::take(&mut self.to_fetch).into_iter().chain(stuck) {
            self.give_back(held);
        }
        let waiting = self.games.remove_where(|_| true);
        let backing_off = std::mem::take(&mut self.backing_off).into_values();
        for job in waiting.into_iter().chain(backing_off) {
            self.give_back(job.held);
        }
    }

    /// One entry goes back.
    pub(super) fn give_back(&mut self, held: Held) {
        self.holdings.enter(&held, Stage::GoingBack);
        self.to_hand_back.push(held);
    }
}
