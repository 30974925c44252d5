//! The figures of recovery: replicas killed while all their slots are busy, jobs that kill the process that starts them, and a
//! rolling restart under load. One fleet of real processes on a private redis-server each; every wait is bounded.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::{sleep, sleep_until};

use crate::bench::Error;
use crate::bench::rig::children::{Children, Subject};
use crate::bench::rig::clock::now_ms;
use crate::bench::rig::place::{Pairs, Place, settings_of};
use crate::lobby::accounting::{Account, Sent};
use crate::lobby::client::{Lobby, Outcome};
use crate::stream::entry_id::EntryId;

/// What is measured.
#[derive(Debug, Clone)]
pub(crate) enum Experiment {
    /// So many kills of a replica whose slots are all busy.
    Kills {
        /// How many.
        kills: usize,
        /// What the slowest may take, from the kill to the last outcome.
        within: Duration,
    },
    /// So many jobs that kill their process among so many.
    Poison {
        /// Jobs in all.
        jobs: usize,
        /// Of them, those that kill.
        killers: usize,
    },
    /// Every replica stopped and started anew, one after the other, under load.
    Rolling {
        /// Jobs a second.
        rate: u32,
        /// How long jobs are sent; at least one full round is made.
        lasts: Duration,
    },
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Figures {
    /// For people.
    pub(crate) text: String,
    /// What was promised holds.
    pub(crate) is_kept: bool,
}

/// What a start takes: fixed, so that everything beyond it is waiting.
const START: Duration = Duration::from_millis(100);
/// Far more than any step here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(10);
/// How long a stopped process's last command may be under way.
const SETTLES_WITHIN: Duration = Duration::from_millis(20);
/// What a rolling restart may add to an entry's start.
const HOLD_MAX: Duration = Duration::from_secs(2);

/// A fleet and its Lobby.
struct Fleet {
    children: Children,
    lobby: Lobby,
    sent: HashMap<String, Sent>,
}

/// Runs one experiment with this many replicas; `more` are further settings of theirs.
pub(crate) async fn run(
    place: &Place,
    experiment: &Experiment,
    replicas: usize,
    more: &Pairs,
) -> Result<Figures, Error> {
    let mut pairs: Pairs = vec![("simulated-latency".to_owned(), humantime::format_duration(START).to_string())];
    if matches!(experiment, Experiment::Poison { .. }) {
        pairs.push(("allow-fault-injection".to_owned(), "on".to_owned()));
    }
    pairs.extend_from_slice(more);
    let pairs = place.settings("recovery", &pairs);
    let settings = settings_of(&pairs)?;
    let lobby = Lobby::connect(&settings.redis, &settings.stream).await?;
    let mut fleet =
        Fleet { children: Children::new(place, Subject::Worker, &pairs, "info"), lobby, sent: HashMap::new() };
    for _ in 0..replicas {
        fleet.start().await?;
    }
    let figures = match *experiment {
        Experiment::Kills { kills, within } => fleet.kills(kills, within, replicas, settings.worker.slots).await,
        Experiment::Poison { jobs, killers } => fleet.poison(jobs, killers, replicas).await,
        Experiment::Rolling { rate, lasts } => fleet.rolling(rate, lasts, replicas).await,
    };
    fleet.children.stop().await;
    figures
}

impl Fleet {
    /// Starts one replica and waits until it shows itself.
    async fn start(&mut self) -> Result<(), Error> {
        self.children.start()?;
        let pid = self.children.ids().last().copied();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.lobby.replicas().await?.into_values().any(|known| Some(known) == pid) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let why = self.children.last_words().unwrap_or_else(|| "it does not come up".to_owned());
                return Err(Error::Subject(why));
            }
            sleep(LOOK).await;
        }
    }

    async fn send(&mut self, image: &str) -> Result<String, Error> {
        let game = format!("game-{}", self.sent.len());
        let id = self.lobby.append(&game, image, 0).await?.to_string();
        self.sent.insert(id.clone(), Sent::Job);
        Ok(id)
    }

    /// Waits until everything sent is answered.
    async fn rest(&mut self) -> Result<Account, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let account = self.account().await?;
            if account.lost.is_empty() || Instant::now() > deadline {
                return Ok(account);
            }
            sleep(10 * LOOK).await;
        }
    }

    async fn account(&self) -> Result<Account, Error> {
        Ok(Account::draw(&self.sent, &self.lobby.all_outcomes().await?, &self.lobby.all_dead().await?))
    }

    async fn kills(&mut self, kills: usize, within: Duration, replicas: usize, slots: usize) -> Result<Figures, Error> {
        let (mut took, mut held, mut seen) = (Vec::new(), 0, "0-0".to_owned());
        for kill in 0..kills {
            let victim = kill % replicas;
            let pid = self.children.ids()[victim];
            let busy = self.with_all_slots_busy(victim, pid, slots).await?;
            let killed = now_ms();
            self.children.kill(victim);
            let last = self.answered(&busy, &mut seen).await?;
            held += busy.len();
            took.push(Duration::from_millis(last.saturating_sub(killed)));
            self.start().await?;
        }
        let account = self.rest().await?;
        took.sort();
        let at =
            |share: usize| took.get((took.len() * share).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
        let ms = |time: Duration| time.as_millis();
        let text = format!(
            "{kills} kills of one of {replicas} replicas, {held} entries in hand: from the kill to the last of them answered \
             p50 {} ms, p99 {} ms, max {} ms (promised at p99: {} ms); lost {}, answered twice {}\n",
            ms(at(50)),
            ms(at(99)),
            ms(at(100)),
            ms(within),
            account.lost.len(),
            account.answered_twice.len(),
        );
        Ok(Figures { text, is_kept: at(99) <= within && account.is_exact() })
    }

    /// Sends until this replica holds as many entries as it has slots, and stops it at such a moment; answers them.
    async fn with_all_slots_busy(&mut self, victim: usize, pid: u32, slots: usize) -> Result<Vec<String>, Error> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let waiting = self.sent.len() as u64 - self.lobby.answers().await?.0;
            // Twice what all of them can hold.
            for _ in waiting..6 * slots as u64 {
                self.send("galaxy/engine:1").await?;
            }
            let process = |children: &mut Children, signal| children.living()[victim].process.signal(signal);
            process(&mut self.children, Signal::STOP);
            sleep(SETTLES_WITHIN).await;
            let held = self.held_by(pid).await?;
            if held.len() >= slots {
                return Ok(held);
            }
            process(&mut self.children, Signal::CONT);
            sleep(LOOK).await;
        }
        Err(Error::Subject("the replica never had all its slots busy".to_owned()))
    }

    async fn held_by(&self, pid: u32) -> Result<Vec<String>, Error> {
        let replicas = self.lobby.replicas().await?;
        let Some(consumer) = replicas.into_iter().find(|(_, id)| *id == pid).map(|(consumer, _)| consumer) else {
            return Ok(Vec::new());
        };
        let pending = self.lobby.pending().await?;
        Ok(pending.into_iter().filter(|one| one.consumer == consumer).map(|one| one.id).collect())
    }

    /// Waits until all of these are answered; answers when the last was, by the server's clock.
    async fn answered(&self, ids: &[String], seen: &mut String) -> Result<u64, Error> {
        let mut open: Vec<&String> = ids.iter().collect();
        let (mut last, deadline) = (0, Instant::now() + PATIENCE);
        while !open.is_empty() && Instant::now() < deadline {
            for outcome in self.lobby.outcomes_after(seen).await? {
                if let Some(position) = open.iter().position(|id| Some(id.as_str()) == outcome.source_ref.as_deref()) {
                    open.swap_remove(position);
                    last = last.max(ms_of(&outcome.id));
                }
                seen.clone_from(&outcome.id);
            }
        }
        if open.is_empty() { Ok(last) } else { Err(Error::Subject(format!("never answered: {open:?}"))) }
    }

    async fn poison(&mut self, jobs: usize, killers: usize, replicas: usize) -> Result<Figures, Error> {
        let every = jobs / killers.max(1);
        let mut condemned_are_due = Vec::new();
        for number in 0..jobs {
            let kills = killers > 0 && number % every == every / 2 && condemned_are_due.len() < killers;
            let id = self.send(if kills { "sim/abort" } else { "galaxy/engine:1" }).await?;
            if kills {
                condemned_are_due.push(id);
            }
        }
        let (began, mut deaths) = (Instant::now(), 0);
        let mut account = self.account().await?;
        while !account.lost.is_empty() && began.elapsed() < PATIENCE {
            // What a supervisor does.
            deaths += self.children.bury();
            while self.children.ids().len() < replicas {
                self.children.start()?;
            }
            sleep(5 * LOOK).await;
            account = self.account().await?;
        }
        let mut condemned: Vec<String> = self.lobby.all_dead().await?.into_iter().map(|dead| dead.source_ref).collect();
        condemned.sort();
        condemned_are_due.sort();
        let count = |kind: &str| account.outcomes.get(kind).copied().unwrap_or_default();
        let innocents = count("started") + count("replay_no_op");
        let text = format!(
            "{killers} jobs that kill their process among {jobs}: {deaths} processes died, {} condemned ({} of them the right \
             ones), {innocents} of {} others started, in {:.1} s; lost {}, answered twice {}\n",
            condemned.len(),
            condemned.iter().filter(|id| condemned_are_due.contains(id)).count(),
            jobs - killers,
            began.elapsed().as_secs_f64(),
            account.lost.len(),
            account.answered_twice.len(),
        );
        let is_kept = condemned == condemned_are_due && innocents == jobs - killers && account.is_exact();
        Ok(Figures { text, is_kept })
    }

    async fn rolling(&mut self, rate: u32, lasts: Duration, replicas: usize) -> Result<Figures, Error> {
        let sender = send_at(self.lobby.clone(), rate, lasts);
        let began = Instant::now();
        let restarts = async {
            let mut restarts = 0;
            while began.elapsed() < lasts || restarts < replicas {
                let Some(mut child) = (!self.children.living().is_empty()).then(|| self.children.living().remove(0))
                else {
                    break;
                };
                child.process.signal(Signal::TERM);
                let ended = child.process.wait_async(PATIENCE).await;
                if ended.and_then(|status| status.code()) != Some(0) {
                    return Err(Error::Subject(format!("a replica did not drain: {ended:?}")));
                }
                self.start().await?;
                restarts += 1;
            }
            Ok(restarts)
        };
        let (sent, restarts) = tokio::try_join!(sender, restarts)?;
        self.sent = sent;
        let account = self.rest().await?;
        let longest = self.lobby.all_outcomes().await?.iter().map(waited).max().unwrap_or_default();
        let beyond = longest.saturating_sub(START);
        let text = format!(
            "{restarts} restarts of {replicas} replicas, one after the other, under {rate} jobs/s: {} jobs, lost {}, answered \
             twice {}, longest from append to outcome beyond the start time {} ms (promised: {} ms)\n",
            account.sent,
            account.lost.len(),
            account.answered_twice.len(),
            beyond.as_millis(),
            HOLD_MAX.as_millis(),
        );
        Ok(Figures { text, is_kept: account.is_exact() && beyond <= HOLD_MAX })
    }
}

/// Sends at a steady rate; answers what was sent.
async fn send_at(lobby: Lobby, rate: u32, lasts: Duration) -> Result<HashMap<String, Sent>, Error> {
    let began = tokio::time::Instant::now();
    let mut sent = HashMap::new();
    for number in 0.. {
        let due = Duration::from_secs(1) * number / rate.max(1);
        if due >= lasts {
            break;
        }
        sleep_until(began + due).await;
        let id = lobby.append(&format!("game-{number}"), "galaxy/engine:1", 0).await?;
        sent.insert(id.to_string(), Sent::Job);
    }
    Ok(sent)
}

/// From the entry's append to its outcome, both by the server's clock.
fn waited(outcome: &Outcome) -> Duration {
    let appended = outcome.source_ref.as_deref().map_or(u64::MAX, ms_of);
    Duration::from_millis(ms_of(&outcome.id).saturating_sub(appended))
}

fn ms_of(id: &str) -> u64 {
    id.parse().map_or(0, |id: EntryId| id.ms)
}
