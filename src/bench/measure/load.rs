//! A run under load: the fleet comes up, entries are sent, faults happen, and the answers are counted.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::slo::Slo;
use crate::bench::Error;
use crate::bench::generate::faults::{Chaos, Fault, Faults, Kind};
use crate::bench::generate::mix::{Mix, NUMBER_FIELD};
use crate::bench::generate::sender::{self, Load, Loop};
use crate::bench::observe::books::Books;
use crate::bench::observe::cost::{self, RedisCost, Standing};
use crate::bench::observe::memory::Memory;
use crate::bench::observe::observer::{Observer, end_of};
use crate::bench::observe::progress::Progress;
use crate::bench::observe::shared::Shared;
use crate::bench::rig::children::{Children, Subject};
use crate::bench::rig::clock::now_ms;
use crate::bench::rig::place::{Pairs, Place, settings_of};
use crate::bench::rig::wire::Wire;
use crate::lobby::accounting::{Account, Sent};
use crate::lobby::client::Lobby;
use crate::settings::Settings;
use crate::stream::entry_id::EntryId;

/// What is run.
#[derive(Debug, Clone)]
pub(crate) struct LoadOptions {
    /// What is put under load.
    pub(crate) subject: Subject,
    /// How many processes; none on a stream that others serve.
    pub(crate) replicas: usize,
    /// Further settings of the processes.
    pub(crate) settings: Pairs,
    /// What the workers log.
    pub(crate) log_level: String,
    /// When entries are sent.
    pub(crate) pace: Loop,
    /// What is sent.
    pub(crate) mix: Mix,
    /// Seed of the mix and of the choice of victims.
    pub(crate) seed: u64,
    /// At most so many entries.
    pub(crate) jobs_max: u64,
    /// Not measured.
    pub(crate) warmup: Duration,
    /// A send is late when it leaves so long after it was due.
    pub(crate) late_after: Duration,
    /// What is done to the fleet.
    pub(crate) faults: Faults,
    /// How long the last answers may take after the last send.
    pub(crate) rest_within: Duration,
    /// What the run must keep.
    pub(crate) slos: Vec<Slo>,
    /// The stream is in use elsewhere: nothing is removed, and answers to other jobs are not counted.
    pub(crate) is_real: bool,
}

impl LoadOptions {
    /// How long entries are sent.
    pub(crate) fn length(&self) -> Duration {
        self.pace.length()
    }
}

const UP_WITHIN: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Entries of one page; some are large.
const PAGE: &[u8] = b"200";
/// The name of this part of a place.
const PART: &str = "load";

/// Processor time over a run, across restarts of the server.
#[derive(Debug, Default)]
struct Spent {
    redis: RedisCost,
    last: RedisCost,
}

impl Spent {
    fn at(&mut self, standing: &Standing) {
        let now = standing.redis;
        // A server that was started again counts from zero.
        let since = if now.all < self.last.all { now } else { now.since(self.last) };
        self.redis.all += since.all;
        self.redis.main_thread = self.redis.main_thread.zip(since.main_thread).map(|(sum, since)| sum + since);
        self.last = now;
    }
}

/// What a run leaves to be reported.
#[derive(Debug)]
pub(crate) struct Ran {
    /// When it began, Unix ms.
    pub(crate) began_at_ms: u64,
    /// The book.
    pub(crate) books: Books,
    /// What was sent against what came back.
    pub(crate) account: Account,
    /// What was done to the fleet.
    pub(crate) faults: Vec<Fault>,
    /// Redis's processor time.
    pub(crate) redis: RedisCost,
    /// The replicas'; of those that killed themselves nothing is known.
    pub(crate) client: cost::ProcessCost,
    /// What the replicas' memory did.
    pub(crate) memory: Memory,
    /// From the first send that was due to the last answer.
    pub(crate) took: Duration,
    /// Entries pending when everything was over.
    pub(crate) pending: usize,
}

impl Ran {
    /// Did every entry get exactly its answer?
    pub(crate) fn is_exact(&self) -> bool {
        self.account.is_exact() && self.pending == 0
    }
}

/// Runs it.
pub(crate) async fn run(place: &mut Place, options: &LoadOptions) -> Result<Ran, Error> {
    let began_at_ms = now_ms();
    let pairs = place.settings(PART, &options.settings);
    let settings = settings_of(&pairs)?;
    if !options.subject.is_worker() {
        let (jobs, group) = (settings.stream.jobs.as_bytes(), settings.stream.group.as_bytes());
        place.wire()?.run(&[b"XGROUP", b"CREATE", jobs, group, b"0", b"MKSTREAM"])?;
    }
    let mut children = Children::new(place, options.subject, &pairs, &options.log_level);
    for _ in 0..options.replicas {
        children.start()?;
    }
    let ran = under_load(place, options, &settings, &mut children).await;
    children.stop().await;
    let ran = ran?;
    if !options.is_real {
        place.remove_keys(Some(PART)).await?;
    }
    Ok(Ran { began_at_ms, ..ran })
}

async fn under_load(
    place: &mut Place,
    options: &LoadOptions,
    settings: &Settings,
    children: &mut Children,
) -> Result<Ran, Error> {
    let lobby = Lobby::connect_within(&settings.redis, &settings.stream, UP_WITHIN).await?;
    // A bare client does not register.
    let shown = if options.subject.is_worker() { options.replicas } else { 0 };
    await_up(&lobby, children, shown).await?;
    let mut wire = place.wire()?;
    let streams = [settings.stream.results.clone(), settings.stream.dead.clone()];
    let ends = [end_of(&mut wire, &streams[0])?, end_of(&mut wire, &streams[1])?];
    let shared = Shared {
        books: Arc::new(Mutex::new(Books::new(now_ms(), options.warmup))),
        began: Instant::now(),
        stop: Arc::new(AtomicBool::new(false)),
    };
    let observer = Observer {
        target: place.target()?,
        streams: streams.clone().into_iter().zip(ends.clone()).collect::<Vec<_>>().try_into().unwrap_or_default(),
    };
    let load = Load {
        target: place.target()?,
        stream: settings.stream.jobs.clone(),
        pace: options.pace.clone(),
        mix: options.mix.clone(),
        seed: options.seed,
        jobs_max: options.jobs_max,
        late_after: options.late_after,
    };
    let (sending, observing) = (shared.clone(), shared.clone());
    let sender = std::thread::spawn(move || sender::run(&load, &sending));
    let observer = std::thread::spawn(move || observer.run(&observing));
    let mut watch = Watch {
        options,
        settings,
        shared: &shared,
        lobby: &lobby,
        spent: Spent::default(),
        memory: Memory::default(),
        took: Duration::ZERO,
    };
    let mut chaos = Chaos::new(options.faults.clone(), options.seed);
    let mut watched = watch.until_rest(place, children, &mut chaos, &sender).await;
    shared.stop.store(true, Ordering::Relaxed);
    chaos.resume_all(children);
    for thread in [sender, observer] {
        if thread.join().is_err() {
            watched = watched.and(Err(Error::Subject("the load generator itself has failed".to_owned())));
        }
    }
    watched?;
    let client = children.cost();
    let (spent, memory, took) = (watch.spent.redis, watch.memory, watch.took);
    let pending = if options.is_real { 0 } else { lobby.pending().await?.len() };
    let sent = sent(&shared, &mut place.wire()?, settings, options)?;
    let absent = shared.books().forgotten.keys().map(EntryId::to_string).collect();
    let account = account(&lobby, &sent, &absent, options.is_real).await?;
    let books = std::mem::replace(&mut *shared.books(), Books::new(0, Duration::ZERO));
    Ok(Ran { began_at_ms: 0, books, account, faults: chaos.done, redis: spent, client, memory, took, pending })
}

/// Waits until so many replicas have shown themselves.
pub(crate) async fn await_up(lobby: &Lobby, children: &mut Children, replicas: usize) -> Result<(), Error> {
    let deadline = Instant::now() + UP_WITHIN;
    while replicas > 0 && lobby.replicas().await?.len() < replicas {
        if let Some(words) = children.last_words() {
            return Err(Error::Subject(format!("a replica has ended: {words}")));
        }
        if Instant::now() > deadline {
            return Err(Error::Subject("the replicas did not come up".to_owned()));
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// The main task's side of a run.
struct Watch<'a> {
    options: &'a LoadOptions,
    settings: &'a Settings,
    shared: &'a Shared,
    lobby: &'a Lobby,
    spent: Spent,
    memory: Memory,
    took: Duration,
}

impl Watch<'_> {
    /// Until everything sent has its answer, or the patience for it is over.
    async fn until_rest(
        &mut self,
        place: &mut Place,
        children: &mut Children,
        chaos: &mut Chaos,
        sender: &std::thread::JoinHandle<()>,
    ) -> Result<(), Error> {
        let length = self.options.length();
        let mut progress = Progress::new(length);
        let mut wire = place.wire()?;
        let mut first = true;
        let mut sent_all_at: Option<Duration> = None;
        loop {
            self.look_at_cost(place, &mut wire, &mut first);
            chaos.act(place, children, self.lobby, self.shared, length).await?;
            self.replace_dead(children, chaos)?;
            let now = self.shared.now();
            self.memory.look(now, &children.ids());
            let at_rest = {
                let mut books = self.shared.books();
                books.tick(now);
                progress.at(now, &books);
                books.in_flight() == 0 && books.unanswered().is_empty()
            };
            if sender.is_finished() {
                if sent_all_at.is_none() {
                    self.forget_what_redis_lost(place, chaos)?;
                }
                let since = *sent_all_at.get_or_insert(now);
                if at_rest || now.saturating_sub(since) > self.options.rest_within {
                    if !at_rest {
                        self.forget_absent(place)?;
                    }
                    self.took = now;
                    self.look_at_cost(place, &mut wire, &mut first);
                    return Ok(());
                }
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// A Redis that was killed may have lost what it had acknowledged: with `everysec` about the last second.
    fn forget_what_redis_lost(&self, place: &Place, chaos: &Chaos) -> Result<(), Error> {
        if chaos.done.iter().any(|fault| fault.kind == Kind::RestartRedis) { self.forget_absent(place) } else { Ok(()) }
    }

    /// What has no answer and is not in the stream gets none.
    fn forget_absent(&self, place: &Place) -> Result<(), Error> {
        let stream = &self.settings.stream.jobs;
        let present = numbers(&mut place.wire()?, stream)?.into_keys().collect();
        self.shared.books().forget_absent(&present);
        Ok(())
    }

    fn look_at_cost(&mut self, place: &Place, wire: &mut Wire, first: &mut bool) {
        let streams = [self.settings.stream.results.as_str(), self.settings.stream.dead.as_str()];
        match cost::standing(wire, streams) {
            Ok(standing) if *first => {
                *first = false;
                self.spent.last = standing.redis;
                self.spent.redis.main_thread = standing.redis.main_thread.map(|_| Duration::ZERO);
            }
            Ok(standing) => self.spent.at(&standing),
            // It is down, to order: the next look has a connection again.
            Err(_) => {
                if let Ok(again) = place.wire() {
                    *wire = again;
                }
            }
        }
    }

    /// A replica that a job has killed is replaced, as an orchestrator would.
    fn replace_dead(&mut self, children: &mut Children, chaos: &mut Chaos) -> Result<(), Error> {
        for _ in 0..children.bury() {
            chaos.done.push(Fault { kind: Kind::Death, at: self.shared.now(), held: Vec::new() });
            children.start()?;
        }
        Ok(())
    }
}

/// Every entry of this run that Redis has or has lost, also those whose reply was lost.
fn sent(
    shared: &Shared,
    wire: &mut Wire,
    settings: &Settings,
    options: &LoadOptions,
) -> Result<HashMap<String, Sent>, Error> {
    let (mut sent, failed): (HashMap<String, Sent>, u64) = {
        let books = shared.books();
        let taken = books.entries.iter().map(|(id, entry)| (id.to_string(), entry.due));
        (taken.chain(books.forgotten.iter().map(|(id, due)| (id.to_string(), *due))).collect(), books.failed)
    };
    if failed > 0 && !options.is_real {
        for (id, number) in numbers(wire, &settings.stream.jobs)? {
            let due = || number.map_or(Sent::Job, |number| options.mix.message(options.seed, number).due);
            sent.entry(id.to_string()).or_insert_with(due);
        }
    }
    Ok(sent)
}

/// The entries of the stream, and which of the run each is.
fn numbers(wire: &mut Wire, stream: &str) -> Result<HashMap<EntryId, Option<u64>>, Error> {
    let mut all = HashMap::new();
    let mut from = b"-".to_vec();
    loop {
        wire.sender.command(&[b"XRANGE", stream.as_bytes(), &from, b"+", b"COUNT", PAGE]);
        wire.sender.flush()?;
        let receiver = &mut wire.receiver;
        let page = receiver.array()?.unwrap_or_default();
        for _ in 0..page {
            receiver.array()?;
            let id = receiver.text()?;
            let id = String::from_utf8_lossy(receiver.bytes(&id)).into_owned();
            from = format!("({id}").into_bytes();
            let mut number = None;
            for _ in 0..receiver.array()?.unwrap_or_default() / 2 {
                let (name, value) = (receiver.text()?, receiver.text()?);
                if receiver.bytes(&name) == NUMBER_FIELD.as_bytes() {
                    number = String::from_utf8_lossy(receiver.bytes(&value)).parse().ok();
                }
            }
            all.extend(id.parse::<EntryId>().ok().map(|id| (id, number)));
        }
        receiver.forget();
        if page == 0 {
            return Ok(all);
        }
    }
}

async fn account(
    lobby: &Lobby,
    sent: &HashMap<String, Sent>,
    absent: &HashSet<String>,
    is_real: bool,
) -> Result<Account, Error> {
    let (mut outcomes, mut dead) = (lobby.all_outcomes().await?, lobby.all_dead().await?);
    if is_real {
        outcomes.retain(|outcome| outcome.source_ref.as_ref().is_some_and(|source| sent.contains_key(source)));
        dead.retain(|letter| sent.contains_key(&letter.source_ref));
    }
    Ok(Account::draw_without(sent, absent, &outcomes, &dead))
}
