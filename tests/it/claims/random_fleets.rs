//! Random fleets whose replicas die, lose their subscriptions, look, claim and come back in any order while time passes: no
//! living one is declared dead within the grace of a renewal, no entry is taken from one that is there, and in the end no entry
//! has more crashes than processes that died with it. Time passes by what is written moving into the past.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use startjobs::stream::claim::{Aim, SweepReply, Swept};
use startjobs::stream::entry_id::EntryId;
use startjobs::stream::renew::{Hearing, ReplicaState};

use super::listeners::{CLAIM_IDLE, Fleet, GRACE, SECOND, about, terms};
use super::{ATTEMPTS, GROUP, JOBS, REPLICAS, SWEEP, Stream, on_every_server};

on_every_server! {
    whatever_happens_the_living_keep_what_they_hold_and_the_dead_are_counted
}

const HISTORIES: u64 = 50;
const STEPS: usize = 40;

/// Moves everything that is written so many ms into the past.
const PASS: &str = "
if redis.replicate_commands then redis.replicate_commands() end
local ms = tonumber(ARGV[2])
local function earlier(text) return string.format('%.0f', math.max(tonumber(text) - ms, 0)) end
local flat = redis.call('HGETALL', KEYS[2])
for i = 1, #flat, 2 do
  local record = string.gsub(flat[i + 1], '^%d+', earlier)
  for _, name in ipairs({ 'born_ms', 'since_ms', 'heard_ms', 'died_ms', 'lost_ms' }) do
    record = string.gsub(record, '(\"' .. name .. '\":)(%d+)', function(head, text) return head .. earlier(text) end)
  end
  redis.call('HSET', KEYS[2], flat[i], record)
end
for _, name in ipairs({ 'due', 'watch_due', 'alone_until' }) do
  local text = redis.call('HGET', KEYS[3], name)
  if text then redis.call('HSET', KEYS[3], name, earlier(text)) end
end
local noted = redis.call('HGET', KEYS[3], 'noted')
if noted then
  noted = string.gsub(string.gsub(noted, '^%d+', earlier), '=(%d+)', function(text) return '=' .. earlier(text) end)
  redis.call('HSET', KEYS[3], 'noted', noted)
end
for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 10000)) do
  redis.call('XCLAIM', KEYS[1], ARGV[1], row[2], 0, row[1], 'IDLE', row[3] + ms, 'JUSTID')
end
";

/// A replica that lives, as it knows itself.
struct Replica {
    name: String,
    generation: u64,
    is_subscribed: bool,
    last_heard: Hearing,
    /// In milliseconds of the history.
    renewed_at: i64,
}

enum Step {
    Subscribe,
    Renew,
}

#[derive(Default)]
struct Totals {
    declared_dead: u64,
    declared_alive: u64,
    counted: u64,
    withdrawn: u64,
    taken_back: u64,
}

struct History<'a> {
    fleet: &'a mut Fleet,
    random: fastrand::Rng,
    living: Vec<Replica>,
    killed: BTreeSet<String>,
    made: usize,
    began: Instant,
    passed: i64,
    /// How many processes died with each entry.
    deaths: BTreeMap<String, u64>,
    /// What was claimed from each as from a dead one.
    taken: BTreeMap<String, Vec<String>>,
    totals: &'a mut Totals,
}

async fn whatever_happens_the_living_keep_what_they_hold_and_the_dead_are_counted(stream: Stream) {
    let mut fleet = Fleet::new(stream).await;
    fleet.unsubscribe("me").await;
    let mut totals = Totals::default();
    for seed in 0..HISTORIES {
        fleet.stream.redis(&["FLUSHALL"]).await;
        fleet.stream.redis(&["XGROUP", "CREATE", JOBS, GROUP, "0", "MKSTREAM"]).await;
        let mut history = History::new(&mut fleet, seed, &mut totals);
        history.run().await;
        history.end(seed).await;
    }
    let Totals { declared_dead, declared_alive, counted, withdrawn, taken_back } = totals;
    println!(
        "declared dead: {declared_dead} that were, {declared_alive} that lived; {counted} crashes counted, {withdrawn} \
        withdrawn, {taken_back} taken back"
    );
    assert!(declared_dead > 50 && declared_alive > 10 && counted > 100 && withdrawn > 20 && taken_back > 10);
}

impl<'a> History<'a> {
    fn new(fleet: &'a mut Fleet, seed: u64, totals: &'a mut Totals) -> Self {
        Self {
            fleet,
            random: fastrand::Rng::with_seed(seed),
            living: Vec::new(),
            killed: BTreeSet::new(),
            made: 0,
            began: Instant::now(),
            passed: 0,
            deaths: BTreeMap::new(),
            taken: BTreeMap::new(),
            totals,
        }
    }

    fn now(&self) -> i64 {
        self.passed + i64::try_from(self.began.elapsed().as_millis()).expect("a short time")
    }

    async fn run(&mut self) {
        for _ in 0..self.random.usize(3..=6) {
            self.join().await;
        }
        for _ in 0..STEPS {
            let one = self.random.usize(..self.living.len());
            match self.random.u8(..100) {
                0..15 => self.reads(one).await,
                15..30 => self.renews(one).await,
                30..32 => self.loses_its_subscription(one).await,
                32..42 => self.subscribes(one).await,
                42..55 => self.looks(one, Aim::Watch).await,
                55..66 => self.looks(one, Aim::Take).await,
                66..72 => self.looks(one, Aim::Alone).await,
                72..75 if self.living.len() > 1 => self.dies(one).await,
                75..83 if self.living.len() < 6 => self.join().await,
                83..98 => self.are_in_trouble().await,
                _ => self.pass(50..150).await,
            }
            if self.random.u8(..10) < 6 {
                self.pass(1..40).await;
            }
        }
    }

    async fn join(&mut self) {
        self.made += 1;
        let name = format!("r{}", self.made);
        self.fleet.subscribe(&name);
        let (renewed_at, last_heard) = (self.now(), Hearing::Unheard);
        self.living.push(Replica { name, generation: 1, is_subscribed: true, last_heard, renewed_at });
        self.renews(self.living.len() - 1).await;
    }

    async fn held_by(&self, name: &str) -> Vec<String> {
        let words = ["XPENDING", JOBS, GROUP, "-", "+", "10000", name];
        let rows: Vec<(String, String, u64, u64)> = self.fleet.stream.redis(&words).await.convert().expect("rows");
        rows.into_iter().map(|(id, ..)| id).collect()
    }

    async fn reads(&mut self, one: usize) {
        let entries = self.random.usize(1..3);
        self.fleet.holds(&self.living[one].name.clone(), entries).await;
    }

    /// One that learns that it was declared dead leaves, and goes on under another name.
    async fn renews(&mut self, one: usize) {
        let (now, replica) = (self.now(), &self.living[one]);
        let ids: Vec<EntryId> = self.held_by(&replica.name).await.iter().map(|id| id.parse().expect("an id")).collect();
        let member = self.fleet.stream.as_consumer(&replica.name);
        let generation = replica.is_subscribed.then_some(replica.generation);
        let renewed = member.renew(ReplicaState::Running, &about(), generation, &ids).await.expect("renewed");
        if renewed.hearing == Hearing::DeclaredDead {
            self.totals.taken_back += member.leave(&about()).await.expect("left").taken_back;
            let gone = self.living.remove(one);
            if gone.is_subscribed {
                self.fleet.unsubscribe(&gone.name).await;
            }
            return Box::pin(self.join()).await;
        }
        let heard = if replica.is_subscribed { Hearing::Heard } else { Hearing::Unheard };
        assert_eq!(renewed.hearing, heard);
        let replica = &mut self.living[one];
        (replica.last_heard, replica.renewed_at) = (heard, now);
    }

    /// One or two that were well until now die, or lose their subscriptions and are held up, and the others look.
    async fn are_in_trouble(&mut self) {
        for _ in 0..self.random.usize(1..3).min(self.living.len() - 1) {
            let one = self.random.usize(..self.living.len());
            self.reads(one).await;
            self.subscribes(one).await;
            self.renews(one).await;
            if self.random.bool() {
                self.dies(one).await;
            } else if self.living[one].is_subscribed {
                self.living[one].is_subscribed = false;
                self.fleet.unsubscribe(&self.living[one].name).await;
            }
        }
        for _ in 0..self.random.u8(3..12) {
            self.pass(20..90).await;
            let one = self.random.usize(..self.living.len());
            let aim = [Aim::Watch, Aim::Take, Aim::Take, Aim::Alone][self.random.usize(..4)];
            self.looks(one, aim).await;
            if self.random.u8(..6) == 0 {
                self.renews(one).await;
            }
        }
    }

    /// Some renew at once; the others are held up.
    async fn loses_its_subscription(&mut self, one: usize) {
        if self.living[one].is_subscribed {
            self.living[one].is_subscribed = false;
            self.fleet.unsubscribe(&self.living[one].name).await;
        }
        if self.random.u8(..3) == 0 {
            self.renews(one).await;
        }
    }

    async fn subscribes(&mut self, one: usize) {
        let replica = &mut self.living[one];
        if !replica.is_subscribed {
            (replica.generation, replica.is_subscribed) = (replica.generation + 1, true);
            self.fleet.subscribe(&replica.name);
        }
        if self.random.u8(..10) < 7 {
            self.renews(one).await;
        }
    }

    async fn dies(&mut self, one: usize) {
        let gone = self.living.remove(one);
        let held = self.held_by(&gone.name).await;
        let taken = self.taken.remove(&gone.name).unwrap_or_default();
        for id in held.into_iter().chain(taken) {
            *self.deaths.entry(id).or_default() += 1;
        }
        if gone.is_subscribed {
            self.fleet.unsubscribe(&gone.name).await;
        }
        self.killed.insert(gone.name);
    }

    async fn looks(&mut self, one: usize, aim: Aim) {
        if self.random.u8(..3) > 0 {
            self.fleet.stream.redis(&["HDEL", SWEEP, "watch_due"]).await;
        }
        if aim != Aim::Watch {
            self.fleet.stream.due().await;
        }
        let replica = &self.living[one];
        let name = replica.name.clone();
        let reply = self.fleet.call(&name, aim, terms(replica.is_subscribed.then_some(replica.generation))).await;
        self.check(&reply).await;
    }

    async fn check(&mut self, reply: &SweepReply) {
        for name in &reply.deaths.declared {
            if self.killed.contains(name) {
                self.totals.declared_dead += 1;
                continue;
            }
            self.totals.declared_alive += 1;
            let replica = self.living.iter().find(|one| one.name == *name).expect("it lives");
            let since = self.now() - replica.renewed_at;
            assert!(since >= i64::try_from(GRACE.as_millis()).expect("short"), "{name} has renewed {since} ms ago");
            assert!(!replica.is_subscribed && replica.last_heard == Hearing::Heard, "{name}");
        }
        self.totals.withdrawn += reply.deaths.withdrawn;
        let Swept::Done(sweep) = &reply.swept else { return };
        self.totals.counted += sweep.crashed;
        let now = self.fleet.stream.now().await;
        for (owner, _) in &sweep.from {
            let record = self.fleet.presence(owner).await;
            let mut words = record.split(' ');
            let seen: i64 = words.next().expect("a time").parse().expect("a time");
            let is_silent = now - seen >= i64::try_from(CLAIM_IDLE.as_millis()).expect("short");
            assert!(matches!(words.next(), Some("dead" | "left")) || is_silent, "from {owner}: {record}");
        }
        for one in &sweep.claimed {
            let id = one.id.to_string();
            match &one.dead_owner {
                // What a dead one held was counted when it died.
                Some(owner) if !self.killed.contains(&**owner) => {
                    self.taken.entry(owner.to_string()).or_default().push(id);
                }
                _ => {}
            }
        }
    }

    /// So many seconds pass; none that lives is silent for long.
    async fn pass(&mut self, seconds: std::ops::Range<i64>) {
        let ms = self.random.i64(seconds) * SECOND;
        self.passed += ms;
        self.fleet.stream.redis(&["EVAL", PASS, "3", JOBS, REPLICAS, SWEEP, GROUP, &ms.to_string()]).await;
        while let Some(late) = self.living.iter().position(|one| self.now() - one.renewed_at > 700 * SECOND) {
            self.renews(late).await;
        }
    }

    /// All that live are there again, and what the dead held is claimed.
    async fn end(&mut self, seed: u64) {
        for round in 0.. {
            let names: Vec<String> = self.living.iter().map(|one| one.name.clone()).collect();
            for name in &names {
                // The first renewal may have ended its life under this name.
                for step in [Step::Subscribe, Step::Renew] {
                    match (self.living.iter().position(|one| one.name == *name), step) {
                        (Some(one), Step::Subscribe) => self.subscribes(one).await,
                        (Some(one), Step::Renew) => self.renews(one).await,
                        (None, _) => {}
                    }
                }
            }
            let mut left = 0;
            for name in &self.killed {
                left += self.held_by(name).await.len();
            }
            if left == 0 {
                break;
            }
            assert!(round < 200, "history {seed}: {left} entries stay with the dead");
            for aim in [Aim::Watch, Aim::Take, Aim::Alone] {
                let one = self.random.usize(..self.living.len());
                self.looks(one, aim).await;
            }
            self.pass(50..150).await;
        }
        let flat: Vec<String> = self.fleet.stream.redis(&["HGETALL", ATTEMPTS]).await.convert().expect("pairs");
        for pair in flat.chunks_exact(2) {
            if let Some(name) = pair[0].strip_prefix("charges:") {
                assert!(self.killed.contains(name), "history {seed}: {name} lives and is charged");
            } else if pair[0].parse::<EntryId>().is_ok() {
                let crashes: u64 = pair[1].split(' ').next().expect("a number").parse().expect("a number");
                let deaths = self.deaths.get(&pair[0]).copied().unwrap_or_default();
                assert!(crashes <= deaths, "history {seed}: {} has {crashes} crashes of {deaths} deaths", pair[0]);
            }
        }
        for replica in std::mem::take(&mut self.living) {
            if replica.is_subscribed {
                self.fleet.unsubscribe(&replica.name).await;
            }
        }
    }
}
