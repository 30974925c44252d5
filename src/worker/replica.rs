//! The loop: wait for an event, apply it, start what has become possible.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::WORKER;
use super::appetite::Appetite;
use super::conditions::Conditions;
use super::config::Config;
use super::doubt::Doubt;
use super::events::Event;
use super::games::{Games, OfGame};
use super::holdings::{Held, Holdings};
use super::strays::Strays;
use super::vitals::Vitals;
use super::work::{Conclusion, Work};
use crate::contract::start_job::StartJob;
use crate::faults::Faults;
use crate::metrics::Metrics;
use crate::start::reconcile::Reconciler;
use crate::stream::claim::Aim;
use crate::stream::entry_id::EntryId;
use crate::stream::fetch::Fetcher;
use crate::stream::presence::About;
use crate::stream::read::Reader;
use crate::stream::settle::Ending;
use crate::stream::settle::IndexMark;
use crate::stream::{self, Member};

/// A well-formed job in our hands.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) held: Held,
    pub(super) envelope: StartJob,
    /// Attempts in this process that did not count against a budget.
    pub(super) uncounted: u64,
    /// Another consumer has the entry: whatever comes out is not ours to publish.
    pub(super) lost: bool,
    /// Only the job's fields could be read: it is answered, not started.
    pub(super) is_too_large: bool,
}

impl OfGame for Job {
    fn game(&self) -> &str {
        &self.envelope.game_id
    }
}

/// When the next of each repeated operation may begin.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) renew: Instant,
    pub(super) sweep: Instant,
    pub(super) read: Instant,
    pub(super) fetch: Instant,
    pub(super) settle: Instant,
    pub(super) probe: Instant,
    pub(super) adopt: Instant,
    pub(super) hand_back: Instant,
    pub(super) tidy: Instant,
    pub(super) reconcile: Instant,
}

/// Operations under way, of which there is at most one each (settling: a few).
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says whether its one operation is under way")]
pub(super) struct UnderWay {
    /// Since when a blocking read is under way.
    pub(super) read: Option<Instant>,
    /// The watchdog has dropped its connection.
    pub(super) read_is_overdue: bool,
    pub(super) admissions: usize,
    pub(super) fetch: bool,
    pub(super) stuck_fetch: bool,
    pub(super) settles: usize,
    /// Entries in them.
    pub(super) settling: usize,
    pub(super) renew: bool,
    /// A look or a sweep.
    pub(super) sweep: bool,
    pub(super) hand_backs: usize,
    pub(super) probe: bool,
    pub(super) store_probe: bool,
    pub(super) adopt: bool,
    pub(super) tidy: bool,
    pub(super) reconcile: bool,
}

/// What gives way to what.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// A read could go out, and lets whatever can be settled at once go first.
    pub(super) read_waits: bool,
    /// More could start, and lets what has begun go first.
    pub(super) starts_wait: bool,
    /// How many entries the read asks for.
    pub(super) asked: usize,
    /// The last read waited for the little that it brought.
    pub(super) is_sparse: bool,
}

/// What the replica is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Takes work.
    Running,
    /// Finishes what runs until this moment.
    Draining(Instant),
}

/// A read that was made to return, as long as no renewal has looked for what Redis may have given it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unseen {
    since: Instant,
    pub(super) is_looked_for: bool,
}

/// A replica that stops waits this long for a renewal that looks for entries of an interrupted read: Redis may be away,
/// and others take them over.
const LOOK_MAX: Duration = Duration::from_secs(1);

impl Unseen {
    pub(super) fn until(self) -> Instant {
        self.since + LOOK_MAX
    }
}

/// How a replica ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything that ran was finished and settled, the rest given back.
    Drained,
    /// The drain deadline passed with this many entries in hand; they were given back where Redis answered.
    DeadlinePassed(usize),
}

/// What a replica is made of.
#[derive(Debug)]
pub struct Parts {
    /// The group, as this replica sees it.
    pub member: Member,
    /// Its blocking connection.
    pub reader: Reader,
    /// Reads payloads by their ids.
    pub fetcher: Fetcher,
    /// The start stage.
    pub work: Arc<Work>,
    /// Looks after stray containers.
    pub reconciler: Arc<Reconciler>,
    /// How often.
    pub reconcile_interval: Duration,
    /// Crash hooks.
    pub faults: Arc<Faults>,
    /// Limits and rhythms.
    pub settings: Config,
    /// Of the streams: field limits.
    pub stream: stream::Config,
    /// What the presence record says besides the numbers.
    pub about: About,
    /// `docker` or `simulated`: stands in every line about a job.
    pub engine: &'static str,
    /// What is wrong, as known from the start-up.
    pub conditions: Conditions,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Signs of life.
    pub vitals: Arc<Vitals>,
    /// The largest id that may have been delivered before.
    pub delivered: EntryId,
}

/// One replica.
pub struct Replica {
    pub(super) member: Member,
    /// When the ledger's index was last written; nothing where Redis may have lost it.
    pub(super) index_mark: Option<IndexMark>,
    pub(super) reader: Arc<Reader>,
    pub(super) fetcher: Fetcher,
    pub(super) work: Arc<Work>,
    pub(super) reconciler: Arc<Reconciler>,
    pub(super) reconcile_interval: Duration,
    pub(super) faults: Arc<Faults>,
    pub(super) settings: Config,
    pub(super) stream: stream::Config,
    pub(super) about: About,
    pub(super) engine: &'static str,
    pub(super) conditions: Conditions,
    pub(super) metrics: Arc<Metrics>,
    pub(super) vitals: Arc<Vitals>,

    pub(super) mode: Mode,
    pub(super) holdings: Holdings,
    pub(super) games: Games<Job>,
    pub(super) running: HashMap<Id, Job>,
    pub(super) starts: JoinSet<Conclusion>,
    pub(super) backing_off: BTreeMap<(Instant, EntryId), Job>,
    pub(super) endings: VecDeque<(Held, Ending)>,
    pub(super) to_hand_back: Vec<Held>,
    /// Entries whose payload has to be read.
    pub(super) to_fetch: Vec<Held>,
    /// Those whose payload did not arrive: read one by one, beside the others.
    pub(super) stuck: VecDeque<Held>,
    /// Ends the reading of payloads that is under way.
    pub(super) end_fetches: CancellationToken,
    pub(super) due: Due,
    pub(super) under_way: UnderWay,
    pub(super) operations: FuturesUnordered<BoxFuture<'static, Event>>,
    /// The engine answers.
    pub(super) engine_up: bool,
    /// An operator holds the fleet; unknown until the first renewal, and until then nothing is taken.
    pub(super) paused: Option<bool>,
    /// The start service's store refuses: nothing is started, and at this moment it is probed again. The store is
    /// everybody's, so giving entries back would help nobody.
    pub(super) store_down: Option<Instant>,
    /// The group has to be made usable before anything is read or claimed.
    pub(super) group_lost: bool,
    /// What the next sweep is after, where one has said that it should follow at once.
    pub(super) claim_next: Option<Aim>,
    /// The suspect that this replica runs alone.
    pub(super) alone: Option<EntryId>,
    /// When the last renewal went through.
    pub(super) renewed_at: Instant,
    /// The largest id that may have been delivered to anybody; never lowered, not even when the group goes back.
    pub(super) delivered: EntryId,
    /// The same when the last read was sent: what that brings lies above, unless the group went back.
    pub(super) read_above: EntryId,
    pub(super) pace: Pace,
    pub(super) appetite: Appetite,
    pub(super) strays: Strays,
    /// What an interrupted read may have left with us.
    pub(super) unseen: Option<Unseen>,
    pub(super) doubt: Doubt,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("mode", &self.mode).field("held", &self.holdings.len()).finish_non_exhaustive()
    }
}

/// Lets every task that is ready now run first; unlike `yield_now` without asking the system for events in between.
async fn next_turn() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Replica {
    /// A replica of these parts, with the group usable and the engine answering.
    pub fn new(parts: Parts) -> Self {
        let now = Instant::now();
        let due = Due {
            renew: now,
            sweep: now,
            read: now,
            fetch: now,
            settle: now,
            probe: now,
            adopt: now,
            hand_back: now,
            tidy: now,
            // Whatever is under way when a fleet comes up has time to end.
            reconcile: now + parts.reconcile_interval,
        };
        Self {
            member: parts.member,
            index_mark: None,
            reader: Arc::new(parts.reader),
            fetcher: parts.fetcher,
            work: parts.work,
            reconciler: parts.reconciler,
            reconcile_interval: parts.reconcile_interval,
            faults: parts.faults,
            settings: parts.settings,
            stream: parts.stream,
            about: parts.about,
            engine: parts.engine,
            conditions: parts.conditions,
            metrics: parts.metrics,
            vitals: parts.vitals,
            mode: Mode::Running,
            holdings: Holdings::default(),
            games: Games::default(),
            running: HashMap::new(),
            starts: JoinSet::new(),
            backing_off: BTreeMap::new(),
            endings: VecDeque::new(),
            to_hand_back: Vec::new(),
            to_fetch: Vec::new(),
            stuck: VecDeque::new(),
            end_fetches: CancellationToken::new(),
            due,
            under_way: UnderWay::default(),
            operations: FuturesUnordered::new(),
            engine_up: true,
            paused: None,
            store_down: None,
            group_lost: false,
            claim_next: None,
            alone: None,
            renewed_at: now,
            delivered: parts.delivered,
            read_above: parts.delivered,
            pace: Pace::default(),
            appetite: Appetite::default(),
            strays: Strays::default(),
            unseen: None,
            doubt: Doubt::default(),
        }
    }

    /// Runs until `stop` is cancelled and everything in hand is finished, or the drain deadline passes.
    pub async fn run(mut self, stop: CancellationToken) -> Ended {
        let mut reconnections = self.member.group().commands().reconnections();
        // One timer, set anew only when the time changes.
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            self.pump();
            if let Some(ended) = self.has_ended() {
                return self.leave(ended).await;
            }
            let wake = self.next_wake();
            if timer.deadline() != wake {
                timer.as_mut().reset(wake);
            }
            let is_running = self.mode == Mode::Running;
            // Biased: what is finished is taken in before anything new, which bounds what we hold.
            tokio::select! {
                biased;
                () = stop.cancelled(), if is_running => self.begin_drain(),
                Some(ended) = self.starts.join_next_with_id(), if !self.starts.is_empty() => self.start_ended(ended),
                Some(event) = self.operations.next(), if !self.operations.is_empty() => self.apply(event),
                Ok(()) = reconnections.changed() => self.reconnected(),
                () = next_turn(), if self.pace.read_waits || self.pace.starts_wait => {}
                () = timer.as_mut() => {}
            }
            self.take_in_ready();
        }
    }

    /// Everything else that has ended by now, before anything new is begun: so that a batch is all that is ready.
    /// Bounded by what is under way.
    fn take_in_ready(&mut self) {
        while let Some(ended) = self.starts.try_join_next_with_id() {
            self.start_ended(ended);
        }
        // Polled again with the loop's own waker before the loop sleeps.
        while let Some(Some(event)) = self.operations.next().now_or_never() {
            self.apply(event);
        }
    }

    fn start_ended(&mut self, ended: Result<(Id, Conclusion), JoinError>) {
        let (id, conclusion) = match ended {
            Ok((id, conclusion)) => (id, conclusion),
            Err(error) => (error.id(), Conclusion::of_panic(&error)),
        };
        let job = self.running.remove(&id).expect("every start that ends was put into `running` when it was spawned");
        self.conclude(job, conclusion);
    }

    /// After a reconnection whatever we held may have been claimed: renew first. Who died meanwhile the claim script
    /// decides: it declares no owner dead for one claim idle after a gap between our renewals.
    fn reconnected(&mut self) {
        self.due.renew = Instant::now();
        self.index_mark = None;
    }

    pub(super) fn begin_drain(&mut self) {
        // What is left after the starts' deadline is for giving back and leaving.
        let reserve = (self.settings.drain_timeout / 5).min(Duration::from_secs(1));
        let deadline = Instant::now() + self.settings.drain_timeout.saturating_sub(reserve);
        self.mode = Mode::Draining(deadline);
        self.metrics.draining.set(1);
        self.vitals.draining();
        self.due.renew = Instant::now();
        if self.under_way.read.is_some() {
            self.interrupt_reader();
        }
        self.give_back_all_unstarted();
    }

    /// Makes the blocked read return now.
    pub(super) fn interrupt_reader(&self) {
        self.reader.interrupt();
    }

    /// A read was made to return. Redis may have given it entries that nothing here has: the next renewal looks for them.
    pub(super) fn read_interrupted(&mut self) {
        let now = Instant::now();
        self.due.renew = now;
        self.unseen = Some(Unseen { since: now, is_looked_for: false });
    }

    fn has_ended(&self) -> Option<Ended> {
        let Mode::Draining(deadline) = self.mode else { return None };
        let (now, busy) = (Instant::now(), &self.under_way);
        let has_nothing = self.holdings.is_empty() && busy.admissions == 0;
        let may_get = busy.read.is_some() || busy.sweep || self.unseen.is_some_and(|unseen| now < unseen.until());
        if has_nothing && (!may_get || now >= deadline) {
            return Some(Ended::Drained);
        }
        (now >= deadline).then(|| Ended::DeadlinePassed(self.holdings.len()))
    }

    async fn leave(mut self, ended: Ended) -> Ended {
        let limit = (self.settings.drain_timeout / 5).min(Duration::from_secs(1)) / 2;
        self.starts.abort_all();
        if let Ended::DeadlinePassed(_) = ended {
            drop(tokio::time::timeout(limit, self.member.hand_back(&self.holdings.ids())).await);
        }
        if let Ok(Ok(entries @ 1..)) = tokio::time::timeout(limit, self.member.leave(&self.presence())).await {
            tracing::info!(worker = WORKER, stream = self.stream.jobs, entries, "gave back what was still pending");
        }
        ended
    }

    /// What the presence record says of this replica now.
    pub(super) fn presence(&self) -> About {
        let (slots, in_flight, held) = (self.settings.slots, self.running.len(), self.holdings.len());
        let serves = self.takes_work();
        let number = |count: usize| u64::try_from(count).ok();
        About {
            serves: Some(serves),
            slots: number(slots),
            in_flight: number(in_flight),
            held: number(held),
            ..self.about.clone()
        }
    }
}
