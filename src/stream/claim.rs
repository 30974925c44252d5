//! The claim sweep: entries whose owner died, left or gave them back change hands.

use std::time::Duration;

use super::delivery::{Delivery, Origin};
use super::group::{Member, count, generation_of, id_of, millis};
use crate::redis::{RedisError, Value};

/// How a replica watches the subscriptions of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// `disconnect-grace`: how long a subscription must be missing.
    pub grace: Duration,
    /// The generation of its own subscription; none while it has none, and then it declares no one dead.
    pub generation: Option<u64>,
}

/// What a sweep is to go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepTerms {
    /// `claim-idle`
    pub claim_idle: Duration,
    /// `sweep-interval`
    pub interval: Duration,
    /// Entries at most.
    pub want: usize,
    /// This replica holds nothing: it is offered suspects first.
    pub holds_nothing: bool,
    /// None where deaths are noticed by silence alone.
    pub watch: Option<Watch>,
    /// `crash-budget`
    pub crash_budget: u64,
}

/// What one sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// What we hold now.
    pub claimed: Vec<Delivery>,
    /// Entries whose payload had been deleted: dead-lettered as `entry_lost` without an outcome.
    pub lost: u64,
    /// From whom how many entries came.
    pub from: Vec<(String, u64)>,
    /// For how many of them this claim counted a crash.
    pub crashed: u64,
}

/// What a sweep learned of deaths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deaths {
    /// Who was declared dead, because its connections were closed.
    pub declared: Vec<String>,
    /// How many owners were found to have been silent for claim idle.
    pub silent: u64,
    /// Crashes counted before whose cause turned out to lie outside.
    pub withdrawn: u64,
}

/// Which entries a sweep is after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim {
    /// None: who has died?
    Watch,
    /// None yet: who has died, and is there anything?
    Look,
    /// Ordinary entries, as many as there are free slots.
    Take,
    /// One suspect, for a replica that holds nothing else.
    Alone,
    /// One more suspect after one has ended, unless ordinary jobs need this replica.
    Another,
}

impl Aim {
    /// Is it a suspect, which runs alone?
    pub(crate) fn is_suspect(self) -> bool {
        matches!(self, Self::Alone | Self::Another)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Look => "look",
            Self::Take => "take",
            Self::Alone => "alone",
            Self::Another => "another",
        }
    }
}

/// What a sweep came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swept {
    /// Another replica has swept within the interval, or our own presence has expired.
    NotDue,
    /// There is something to take.
    Found,
    /// There are suspects and nothing else, and this replica may run one alone.
    Suspects,
    /// Done.
    Done(Sweep),
    /// This replica has been declared dead: whatever it holds is for others.
    DeclaredDead,
}

/// The answer to a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepReply {
    /// What it came to.
    pub swept: Swept,
    /// When the fleet's next one is due.
    pub next_in: Duration,
    /// What it learned of deaths.
    pub deaths: Deaths,
}

impl Member {
    /// One sweep, if it is due.
    pub async fn sweep(&self, aim: Aim, terms: SweepTerms) -> Result<SweepReply, RedisError> {
        let SweepTerms { claim_idle, interval, want, holds_nothing, watch, crash_budget } = terms;
        let dead_max = i64::try_from(self.group.settings.dead_max).unwrap_or(i64::MAX);
        let args = [
            millis(claim_idle),
            millis(interval),
            count(want),
            aim.as_str().into(),
            dead_max.into(),
            i64::from(holds_nothing).into(),
            millis(watch.map_or(Duration::ZERO, |watch| watch.grace)),
            generation_of(watch.and_then(|watch| watch.generation)),
            i64::try_from(crash_budget).unwrap_or(i64::MAX).into(),
        ];
        let reply = self.call(&self.group.scripts.claim, &[], args).await?;
        let (state, next_in, deaths, claimed, lost, from): Reply = reply.convert()?;
        let (declared, silent, crashed, withdrawn) = deaths;
        let swept = match state.as_str() {
            "not-due" => Swept::NotDue,
            "found" => Swept::Found,
            "suspects" => Swept::Suspects,
            "dead" => Swept::DeclaredDead,
            _ => {
                let claimed = claimed.into_iter().map(delivery_of).collect::<Result<_, _>>()?;
                Swept::Done(Sweep { claimed, lost, from, crashed })
            }
        };
        let deaths = Deaths { declared, silent, withdrawn };
        Ok(SweepReply { swept, next_in: Duration::from_millis(next_in), deaths })
    }
}

type Reply = (String, u64, (Vec<String>, u64, u64, u64), Vec<Value>, u64, Vec<(String, u64)>);

fn delivery_of(value: Value) -> Result<Delivery, RedisError> {
    let (id, deliveries, crashes, failures, dead_owner): (String, u64, u64, u64, String) = value.convert()?;
    let dead_owner = (!dead_owner.is_empty()).then(|| dead_owner.into());
    Ok(Delivery { id: id_of(&id)?, origin: Origin::Claimed, deliveries, crashes, failures, dead_owner, fields: None })
}
