//! Which replica died with an entry, and which took it over: from what Redis still holds once another one has the entry.
//!
//! Nothing writes down whom an entry was claimed from. But a replica that dies stays on record as dead or lost, its last
//! sign of life has a time, and a game's record names who worked on it last.

use serde::Serialize;

use crate::ops::printable::span;
use crate::ops::replicas::Replica;
use crate::stream::presence::Noticed;

/// An entry changed hands because its replica died.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Takeover {
    /// Who died; more than one where the times allow several.
    pub(crate) from: Vec<Gone>,
    /// The game's record or the pending list names the replica that died; otherwise the times do: no other was lost then.
    pub(crate) is_on_record: bool,
    /// A crash is counted for the entry, so one of these had it.
    #[serde(skip)]
    is_counted: bool,
    /// Which replica has the entry now or answered it; none while no replica has it, or if that is not kept.
    pub(crate) to: Option<String>,
}

/// A replica that is dead or lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Gone {
    /// Its consumer name.
    pub(crate) replica: String,
    /// Its machine or container.
    pub(crate) host: Option<String>,
    /// Its process there.
    pub(crate) pid: Option<u64>,
    /// Its last sign of life, Unix milliseconds of the server's clock.
    pub(crate) last_seen_ms: u64,
    /// How its death was noticed; none where nothing was taken over from it yet.
    pub(crate) noticed: Option<Noticed>,
    /// When that was, Unix milliseconds of the server's clock.
    pub(crate) noticed_ms: Option<u64>,
    /// After how long without a sign of life it counts as lost.
    #[serde(skip)]
    claim_idle_ms: u64,
}

impl Gone {
    fn of(replica: &Replica) -> Option<Self> {
        Some(Self {
            replica: replica.name.clone(),
            host: replica.host.clone(),
            pid: replica.pid,
            last_seen_ms: replica.last_seen_ms.filter(|_| replica.is_gone())?,
            noticed: replica.noticed,
            noticed_ms: replica.noticed_ms,
            claim_idle_ms: replica.claim_idle_ms.unwrap_or_default(),
        })
    }

    /// Its name, and where its process was.
    pub(crate) fn named(&self) -> String {
        let host = self.host.as_deref().map(|host| format!("on {host}"));
        let pid = self.pid.map(|pid| format!("pid {pid}"));
        let place: Vec<String> = host.into_iter().chain(pid).collect();
        if place.is_empty() { self.replica.clone() } else { format!("{} ({})", self.replica, place.join(", ")) }
    }

    /// How it ended. One that is silent may live, and be unable to say so.
    fn ended(&self) -> &'static str {
        match self.noticed {
            Some(Noticed::Disconnect) => "died",
            Some(Noticed::Silence) | None => "was lost",
        }
    }

    /// What kind of end it was, for the name of its moment.
    pub(super) fn end(&self) -> &'static str {
        match self.noticed {
            Some(Noticed::Disconnect) => "replica dead",
            Some(Noticed::Silence) | None => "replica lost",
        }
    }

    /// For the moment at which its death was noticed.
    pub(super) fn notice(&self) -> Option<String> {
        let (name, claim_idle) = (&self.replica, span(self.claim_idle_ms));
        Some(match self.noticed? {
            Noticed::Disconnect => format!("the connection of {name} had closed: others may take over at once"),
            Noticed::Silence => format!("{name} had been silent for its claim idle of {claim_idle}: others took over"),
        })
    }
}

/// What is known of who had an entry in hand.
pub(super) struct Facts<'a> {
    /// When this is, by the server's clock.
    pub(super) at_ms: u64,
    /// When it was appended.
    pub(super) appended_at_ms: u64,
    /// Who holds it.
    pub(super) holder: Option<&'a str>,
    /// Who wrote the record of its game last, where that was for this entry.
    pub(super) owner: Option<&'a str>,
    pub(super) replicas: &'a [Replica],
    /// How often it was delivered, where that is known.
    pub(super) deliveries: Option<u64>,
    /// How often a replica died with it, where that is known: while it is pending.
    pub(super) crashes: Option<u64>,
    /// When it was answered.
    pub(super) answered_ms: Option<u64>,
    /// Who wrote its dead letter.
    pub(super) buried_by: Option<String>,
}

impl Facts<'_> {
    fn gone(&self, name: &str) -> Option<Gone> {
        self.replicas.iter().find(|replica| replica.name == name).and_then(Gone::of)
    }

    /// Died at a time at which they can have held the entry.
    fn gone_meanwhile(&self) -> Vec<Gone> {
        let end = self.answered_ms.unwrap_or(self.at_ms);
        let gone = self.replicas.iter().filter_map(|replica| Some((replica.gone_since_ms()?, Gone::of(replica)?)));
        // The replica that read the entry may have renewed for the last time just before.
        let can_have_held = |since: u64, gone: &Gone| since >= self.appended_at_ms && gone.last_seen_ms <= end;
        gone.filter(|(since, gone)| can_have_held(*since, gone)).map(|(_, gone)| gone).collect()
    }

    /// The takeover there was or is to be.
    pub(super) fn takeover(&self) -> Option<Takeover> {
        let (holder, owner) = (self.holder, self.owner);
        if let Some(gone) = holder.and_then(|holder| self.gone(holder)) {
            return Some(Takeover { from: vec![gone], is_on_record: true, is_counted: false, to: None });
        }
        let of_owner = owner.and_then(|owner| self.gone(owner));
        // It may have died later, with the entry answered long before.
        let of_owner = of_owner.filter(|gone| self.answered_ms.is_none_or(|answered| gone.last_seen_ms <= answered));
        if self.deliveries.is_some_and(|deliveries| deliveries < 2) {
            return None;
        }
        if let Some(gone) = of_owner.filter(|_| self.deliveries.is_some()) {
            let to = holder.map(str::to_owned).or_else(|| self.buried_by.clone());
            return Some(Takeover { from: vec![gone], is_on_record: true, is_counted: false, to });
        }
        self.deliveries?;
        // It was given back then, as in a pause: no replica died with it.
        if self.crashes == Some(0) {
            return None;
        }
        let from = self.gone_meanwhile();
        let to = holder.or(owner).map(str::to_owned).or_else(|| self.buried_by.clone());
        (!from.is_empty()).then_some(Takeover { from, is_on_record: false, is_counted: self.crashes.is_some(), to })
    }
}

impl Takeover {
    /// For the sentence at the top.
    pub(super) fn sentence(&self) -> String {
        let is_sure = self.is_on_record || self.is_counted && self.from.len() == 1;
        let who = match &self.from[..] {
            [one] if is_sure => format!("its replica {} {}", one.named(), one.ended()),
            [one] => format!("{}, which {}, may have had it before", one.named(), one.ended()),
            several => format!("one of {} replicas that ended meanwhile may have had it before", several.len()),
        };
        let who = match &self.to {
            Some(to) if is_sure => format!("{who}, {to} took over"),
            Some(to) => format!("{who}, then {to} had it"),
            None => who,
        };
        match &self.from[..] {
            [Gone { noticed: Some(Noticed::Disconnect), .. }] => format!("{who} (noticed by its closed connection)"),
            [Gone { noticed: Some(Noticed::Silence), claim_idle_ms, .. }] => {
                format!("{who} (noticed after {} of silence)", span(*claim_idle_ms))
            }
            _ => who,
        }
    }

    /// For the moment of a last sign of life.
    pub(super) fn detail(&self, gone: &Gone) -> String {
        let how = if self.is_on_record { "it held this entry" } else { "it may have held this job: it ended then" };
        let then = match gone.noticed {
            Some(Noticed::Disconnect) => "others may take over once its connection has closed".to_owned(),
            Some(Noticed::Silence) | None => format!("others may take over {} later", span(gone.claim_idle_ms)),
        };
        format!("last sign of {}; {how}; {then}", gone.named())
    }
}
