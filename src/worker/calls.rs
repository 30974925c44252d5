//! Commands become calls, and calls end with events. The only file of the loop that does I/O.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::Config;
use super::clock::Clock;
use super::handler::Failure;
use super::listening::Listening;
use super::settling::{SettleOver, Settling};
use super::spans::Recorder;
use super::stages::batch::Batch;
use super::stages::command::Command;
use super::stages::doubt::FRESH_WITHIN;
use super::stages::held::{EntryKey, Held};
use super::stages::job::Away;
use super::work::{Conclusion, Ticket, Work};
use crate::faults::{Faults, Point};
use crate::metrics::Metrics;
use crate::metrics::labels::RedisOperation;
use crate::redis::subscription::Standing;
use crate::redis::{Master, RedisError};
use crate::slot::{Slot, SlotRequest};
use crate::stream::adopt::Adoption;
use crate::stream::claim::{Aim, SweepReply, SweepTerms};
use crate::stream::entry_id::EntryId;
use crate::stream::fetch::{Fetched, Fetcher, Want};
use crate::stream::hand_over::{HandOverTerms, HandedOver, Order};
use crate::stream::history::History;
use crate::stream::janitor::Tidied;
use crate::stream::presence::About;
use crate::stream::read::{Read, Reader};
use crate::stream::renew::{Renewed, ReplicaState};
use crate::stream::settle::{SettleReply, Terms};
use crate::stream::tell::{Report, Wanted};
use crate::stream::{self, Group, Member};

/// How a call ended.
#[derive(Debug)]
pub(crate) enum Event {
    /// A blocking read returned.
    Read(Result<Read, RedisError>),
    /// What is known of these entries was looked up.
    LookedUp(Vec<Held>, Result<Vec<History>, RedisError>),
    /// Payloads were read, as far as they were; nothing where the reading was ended.
    Fetched(Vec<Held>, Option<Fetched>),
    /// The same of one that had not arrived before.
    FetchedStuck(Held, Option<Fetched>),
    /// An attempt gives up its slot, or wants one again.
    SlotRequested(EntryKey, SlotRequest),
    /// An attempt has ended.
    Concluded(EntryKey, Conclusion),
    /// A batch was settled, or not.
    Settled(Batch, Result<SettleReply, RedisError>),
    /// What we hold was renewed, or not; and whether an operator pauses the fleet.
    Renewed(Result<Renewed, RedisError>, Result<bool, RedisError>),
    /// A look for claimable entries, or a claim sweep.
    Swept(Result<SweepReply, RedisError>),
    /// A janitor's run.
    Tidied(Result<Option<Tidied>, RedisError>),
    /// A reconciler's run.
    Reconciled,
    /// Entries were given back, or not.
    HandedBack(Vec<Held>, Result<u64, RedisError>),
    /// Counted failures of these entries were withdrawn, or not.
    FailuresWithdrawn(Vec<(EntryId, u64)>, Result<u64, RedisError>),
    /// Jobs were handed over, or not.
    HandedOver(Vec<Away>, Result<Vec<HandedOver>, RedisError>),
    /// Operators were told, or not; what they want.
    Told(Report, Result<Wanted, RedisError>),
    /// A renewal was tried over a fresh connection: whether it went through.
    RenewedFresh(bool),
    /// The engine was asked whether it answers.
    EngineProbed(Result<(), String>),
    /// The handler's store was asked whether it takes writes.
    StoreProbed(Result<(), Failure>),
    /// [`Command::ProbeRoom`]
    RoomProbed(Result<bool, Failure>),
    /// The group was made usable, or not.
    Adopted(Result<Adoption, RedisError>),
}

/// What this replica tells of itself with a renewal.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    /// Whether it takes work.
    pub(crate) state: ReplicaState,
    /// What its presence record says.
    pub(crate) about: About,
}

/// What the attempt at this entry wants.
type SlotRequested = (EntryKey, SlotRequest);

/// What calls are made with.
#[derive(Debug)]
pub(crate) struct Calls {
    member: Member,
    settles: SettleOver,
    listening: Listening,
    reader: Arc<Reader>,
    fetcher: Fetcher,
    work: Arc<Work>,
    clock: Arc<Clock>,
    faults: Arc<Faults>,
    metrics: Arc<Metrics>,
    spans: Recorder,
    worker: Config,
    stream: stream::Config,
    /// Ends the reading of payloads that is under way.
    end_fetches: CancellationToken,
    under_way: FuturesUnordered<BoxFuture<'static, Event>>,
    attempts: JoinSet<(EntryKey, Conclusion)>,
    /// What attempts want of the loop: each has at most one request under way.
    slot_requests: (UnboundedSender<SlotRequested>, UnboundedReceiver<SlotRequested>),
}

/// Who makes the calls.
#[derive(Debug)]
pub(crate) struct Callers {
    /// The group, as this replica sees it.
    pub(crate) member: Member,
    /// What batches are settled over.
    pub(crate) settles: SettleOver,
    /// Its subscription.
    pub(crate) listening: Listening,
    /// Its blocking connection.
    pub(crate) reader: Reader,
    /// Reads payloads by their ids.
    pub(crate) fetcher: Fetcher,
    /// Makes attempts.
    pub(crate) work: Work,
    /// Crash hooks.
    pub(crate) faults: Arc<Faults>,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// What is recorded.
    pub(crate) spans: Recorder,
}

impl Calls {
    /// Nothing is under way.
    pub(crate) fn new(callers: Callers, worker: Config, stream: stream::Config) -> Self {
        Self {
            member: callers.member,
            settles: callers.settles,
            listening: callers.listening,
            reader: Arc::new(callers.reader),
            fetcher: callers.fetcher,
            clock: Arc::clone(&callers.work.clock),
            work: Arc::new(callers.work),
            faults: callers.faults,
            metrics: callers.metrics,
            spans: callers.spans,
            worker,
            stream,
            end_fetches: CancellationToken::new(),
            under_way: FuturesUnordered::new(),
            attempts: JoinSet::new(),
            slot_requests: unbounded_channel(),
        }
    }

    /// Changes when this replica's subscription is lost, and when it is there again. Never, where it keeps none.
    pub(crate) fn subscription(&self) -> watch::Receiver<Standing> {
        self.listening.changes()
    }

    /// Changes when others may have handed something over. Never, where this replica keeps no subscription.
    pub(crate) fn messages(&self) -> watch::Receiver<u64> {
        self.listening.messages()
    }

    /// Changes with every reconnection of the connection that commands go over.
    pub(crate) fn reconnections(&self) -> watch::Receiver<u64> {
        self.member.group().commands().reconnections()
    }

    /// Changes when sentinels name another master. Never, where a server was named.
    pub(crate) fn masters(&self) -> watch::Receiver<Option<Master>> {
        self.member.group().commands().masters()
    }

    /// Begins what a stage wants; this process holds so many entries.
    pub(crate) fn begin(&mut self, command: Command, held: usize, presence: impl FnOnce() -> Presence) {
        match command {
            Command::Read { count, over_new_connection } => self.read(count, over_new_connection),
            Command::InterruptRead => self.reader.interrupt(),
            Command::DropReader => self.reader.replace_connection(),
            Command::Sweep { aim, want, holds_nothing } => self.sweep(aim, want, holds_nothing),
            Command::LookUp(entries) => self.look_up(entries),
            Command::Fetch(entries) => self.fetch(entries),
            Command::FetchStuck(held, want) => self.fetch_stuck(held, want),
            Command::EndFetches => std::mem::take(&mut self.end_fetches).cancel(),
            Command::Start(ticket) => self.start(ticket),
            Command::Resume(_, grant) => grant.give(),
            Command::Dismiss(dismissal) => dismissal.tell(),
            Command::Settle(batch) => self.settle(batch, held),
            Command::HandBack(entries) => self.hand_back(entries),
            Command::WithdrawFailures(counts) => {
                let member = self.member.clone();
                self.push(async move {
                    let reply = member.withdraw_failures(&counts).await;
                    Event::FailuresWithdrawn(counts, reply)
                });
            }
            Command::HandOver(jobs) => self.hand_over(jobs),
            Command::Renew(ids) => self.renew(ids, presence()),
            Command::RenewFresh(ids) => self.renew_fresh(ids, presence()),
            Command::ReplaceCommands => self.member.group().commands().replace(),
            Command::Tell(report) => {
                let member = self.member.clone();
                self.push(async move {
                    let wanted = member.tell(&report).await;
                    Event::Told(report, wanted)
                });
            }
            Command::ProbeEngine => {
                let work = Arc::clone(&self.work);
                self.push(async move { Event::EngineProbed(work.handler.is_up().await) });
            }
            Command::ProbeStore => {
                let work = Arc::clone(&self.work);
                self.push(async move { Event::StoreProbed(work.handler.store_is_up().await) });
            }
            Command::ProbeRoom => {
                let work = Arc::clone(&self.work);
                self.push(async move { Event::RoomProbed(work.handler.has_room().await) });
            }
            Command::Adopt => {
                let (member, claim_idle) = (self.member.clone(), self.worker.claim_idle);
                self.measure(RedisOperation::Adopt, async move { Event::Adopted(member.adopt(claim_idle).await) });
            }
            Command::Tidy => self.tidy(),
            Command::Reconcile => {
                let work = Arc::clone(&self.work);
                self.push(async move {
                    work.handler.reconcile().await;
                    Event::Reconciled
                });
            }
        }
    }

    fn push(&self, call: impl Future<Output = Event> + Send + 'static) {
        self.under_way.push(call.boxed());
    }

    /// Begins a call whose duration is shown under this name.
    fn measure(&self, operation: RedisOperation, call: impl Future<Output = Event> + Send + 'static) {
        let metrics = Arc::clone(&self.metrics);
        self.push(async move {
            let began = Instant::now();
            let event = call.await;
            metrics.redis_call(operation, began.elapsed());
            event
        });
    }

    fn read(&self, count: usize, over_new_connection: bool) {
        if over_new_connection {
            self.reader.replace_connection();
        }
        let (reader, turn) = (Arc::clone(&self.reader), self.reader.turn());
        let receive = self.spans.receive();
        self.push(async move {
            let read = reader.read(count, turn).await;
            if let Ok(Read::Returned(deliveries)) = &read {
                receive.over(deliveries);
            }
            Event::Read(read)
        });
    }

    fn sweep(&self, aim: Aim, want: usize, holds_nothing: bool) {
        let member = self.member.clone();
        let terms = SweepTerms {
            claim_idle: self.worker.claim_idle,
            interval: self.worker.sweep_interval,
            want,
            holds_nothing,
            watch: self.listening.watch(),
            crash_budget: u64::from(self.worker.crash_budget),
        };
        self.measure(RedisOperation::Claim, async move { Event::Swept(member.sweep(aim, terms).await) });
    }

    fn look_up(&self, entries: Vec<Held>) {
        let member = self.member.clone();
        self.measure(RedisOperation::Past, async move {
            let history = member.group().history(&ids_of(&entries)).await;
            Event::LookedUp(entries, history)
        });
    }

    fn fetch(&self, entries: Vec<(Held, Want)>) {
        let (fetcher, end) = (self.fetcher.clone(), self.end_fetches.clone());
        self.measure(RedisOperation::Fetch, async move {
            let wanted: Vec<_> = entries.iter().map(|(held, want)| (held.id(), *want)).collect();
            let fetched = end.run_until_cancelled(fetcher.fetch(&wanted)).await;
            Event::Fetched(entries.into_iter().map(|(held, _)| held).collect(), fetched)
        });
    }

    fn fetch_stuck(&self, held: Held, want: Want) {
        let (fetcher, end) = (self.fetcher.clone(), self.end_fetches.clone());
        self.measure(RedisOperation::Fetch, async move {
            let fetched = end.run_until_cancelled(fetcher.fetch_stuck((held.id(), want))).await;
            Event::FetchedStuck(held, fetched)
        });
    }

    /// An attempt is a task of its own.
    fn start(&mut self, mut ticket: Ticket) {
        let (work, key) = (Arc::clone(&self.work), EntryKey::of(ticket.id));
        let slot_requests = self.slot_requests.0.clone();
        // A loop that has ended grants nothing any more, and ends its attempts.
        ticket.slot = Slot::new(move |request| drop(slot_requests.send((key, request))));
        self.attempts.spawn(async move {
            let attempt = std::panic::AssertUnwindSafe(work.run(ticket)).catch_unwind();
            (key, attempt.await.unwrap_or_else(|_| Conclusion::of_panic()))
        });
    }

    fn settle(&self, mut batch: Batch, held: usize) {
        self.faults.reach(Point::BeforeSettle);
        self.metrics.batch(batch.entries.len());
        let settles = self.settles.clone();
        self.measure(RedisOperation::Settle, async move {
            let settling = Settling::begin(&mut batch);
            let entries: Vec<_> = batch.entries.iter().map(|finished| (finished.held.id(), &finished.ending)).collect();
            let may_have_attempts = batch.entries.iter().any(|finished| finished.held.may_have_attempts());
            let terms = Terms { held, may_have_attempts, marks_index: batch.marks_index };
            let reply = settles.settle(&entries, terms).await;
            drop(entries);
            settling.over(&batch, reply.as_ref());
            Event::Settled(batch, reply)
        });
    }

    fn hand_back(&self, entries: Vec<Held>) {
        let member = self.member.clone();
        self.measure(RedisOperation::HandBack, async move {
            let ids = ids_of(&entries);
            // A sick or full host that asks again is given another entry: this one may be at fault itself, or another may be here.
            let is_canary = entries.iter().all(|held| held.is_canary);
            let reply = if is_canary { member.pass_on(&ids).await } else { member.hand_back(&ids).await };
            Event::HandedBack(entries, reply)
        });
    }

    fn hand_over(&self, jobs: Vec<Away>) {
        let member = self.member.clone();
        let terms = HandOverTerms { claim_idle: self.worker.claim_idle, extra: self.worker.max_backing_off };
        self.measure(RedisOperation::HandOver, async move {
            let order = |Away { job, host, .. }: &Away| Order {
                id: job.held.id(),
                host: Arc::clone(host),
                dead_owner: job.held.dead_owner.clone(),
            };
            let orders: Vec<Order> = jobs.iter().map(order).collect();
            let reply = member.hand_over(&orders, terms).await;
            Event::HandedOver(jobs, reply)
        });
    }

    fn renew(&self, ids: Vec<EntryId>, presence: Presence) {
        let (member, clock) = (self.member.clone(), Arc::clone(&self.clock));
        let generation = self.listening.generation();
        self.measure(RedisOperation::Renew, async move {
            let time = async {
                let asked = Instant::now();
                if let Ok(now_ms) = member.group().now_ms().await {
                    clock.hear(now_ms, asked);
                }
            };
            // All go out at once.
            let renewal = member.renew(presence.state, &presence.about, generation, &ids);
            let (renewed, paused, ()) = tokio::join!(renewal, member.group().is_paused(), time);
            Event::Renewed(renewed, paused)
        });
    }

    fn renew_fresh(&self, ids: Vec<EntryId>, presence: Presence) {
        let (commands, stream) = (Arc::clone(self.member.group().commands()), self.stream.clone());
        let (consumer, generation) = (self.member.consumer().to_owned(), self.listening.generation());
        self.push(async move {
            let Ok(fresh) = commands.fresh(FRESH_WITHIN).await else { return Event::RenewedFresh(false) };
            let member = Group::new(&stream, fresh.into()).member(&consumer);
            Event::RenewedFresh(member.renew(presence.state, &presence.about, generation, &ids).await.is_ok())
        });
    }

    fn tidy(&self) {
        let (member, interval) = (self.member.clone(), self.worker.janitor_interval);
        let (claim_idle, consumer_idle) = (self.worker.claim_idle, self.worker.consumer_idle);
        self.measure(RedisOperation::Janitor, async move {
            Event::Tidied(member.tidy(interval, claim_idle, consumer_idle).await)
        });
    }

    /// Is anything under way?
    fn is_idle(&self) -> bool {
        self.attempts.is_empty() && self.under_way.is_empty()
    }

    /// The next call that ends. Attempts come first: what is finished is taken in before anything new, which bounds what we
    /// hold. Waits for ever while nothing is under way.
    pub(crate) async fn ended(&mut self) -> Event {
        if self.is_idle() {
            std::future::pending::<()>().await;
        }
        tokio::select! {
            biased;
            // Before an attempt's end: no request of it is taken for one of the entry's next attempt.
            Some((key, request)) = self.slot_requests.1.recv() => Event::SlotRequested(key, request),
            Some(ended) = self.attempts.join_next(), if !self.attempts.is_empty() => concluded(ended),
            Some(event) = self.under_way.next(), if !self.under_way.is_empty() => event,
        }
    }

    /// A call that has ended by now.
    pub(crate) fn try_ended(&mut self) -> Option<Event> {
        if let Ok((key, request)) = self.slot_requests.1.try_recv() {
            return Some(Event::SlotRequested(key, request));
        }
        if let Some(ended) = self.attempts.try_join_next() {
            return Some(concluded(ended));
        }
        // Polled again with the loop's own waker before the loop sleeps.
        self.under_way.next().now_or_never().flatten()
    }

    /// Ends everything that is under way, and the subscription; answers under which name, and how many generations it had.
    pub(crate) fn end(self) -> (Member, u64) {
        (self.member, self.listening.generations())
    }

    /// Tells operators, within this time: a replica that ends does not wait for them.
    pub(crate) fn tell(&self, report: Report, limit: Duration) -> impl Future<Output = ()> + use<> {
        let member = self.member.clone();
        async move { drop(timeout(limit, member.tell(&report)).await) }
    }

    /// Gives back what is in hand, and leaves the group; answers how many more entries were still pending for us.
    pub(crate) async fn leave(&mut self, in_hand: &[EntryId], presence: &Presence, limit: Duration) -> Option<u64> {
        self.attempts.abort_all();
        if !in_hand.is_empty() {
            drop(timeout(limit, self.member.hand_back(in_hand)).await);
        }
        match timeout(limit, self.member.leave(&presence.about)).await {
            Ok(Ok(left)) => Some(left.entries),
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

fn ids_of(entries: &[Held]) -> Vec<EntryId> {
    entries.iter().map(Held::id).collect()
}

/// Attempts catch their panics, and are aborted only when no one waits for them any more.
fn concluded(ended: Result<(EntryKey, Conclusion), tokio::task::JoinError>) -> Event {
    let (key, conclusion) = ended.expect("an attempt neither panics nor is aborted while the loop runs");
    Event::Concluded(key, conclusion)
}

/// Lets every task that is ready now run first; unlike `yield_now` without asking the system for events in between.
pub(crate) async fn next_turn() {
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
