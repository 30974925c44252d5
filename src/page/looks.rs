//! The fleet as all viewers see it: at most one look a second, however many ask, and none when nothing asks. What was
//! seen last stays, with its time, while Redis does not answer; then requests do not wait for the next look.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::observe::outlook::{Answer, Outlook};
use crate::ops::View;
use crate::ops::alerts::Alerts;
use crate::ops::events::EventView;
use crate::ops::history::{Range, Timeline};
use crate::ops::jobs::open::OpenView;
use crate::ops::overview::{Overview, Whole};
use crate::ops::replicas::Replica;
use crate::redis::RedisError;
use crate::settings::Settings;

/// What was seen is new enough for so long.
const FRESH: Duration = Duration::from_millis(900);
/// A screen that does not wait for a look shows what was seen up to so long ago.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// A history of a day or a month is new enough for so long.
const LONGER_FRESH: Duration = Duration::from_secs(30);
/// How long a look may take: people wait for it.
const WITHIN: Duration = Duration::from_secs(2);
/// Entries that a look counts one by one, where counting is needed at all.
const COUNTED_MAX: u64 = 10_000;
/// Events that are shown.
const EVENTS_MAX: usize = 20;

/// What was seen of the fleet.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The last look that succeeded; none where none has.
    pub(crate) fleet: Option<Arc<Fleet>>,
    /// Why and since when there is no newer one.
    pub(crate) failing: Option<Failing>,
    /// The server's clock now, as far as it is known, Unix milliseconds.
    pub(crate) now_ms: u64,
    /// Which look it was: what is seen is the same where this is.
    pub(crate) look: u64,
}

impl Seen {
    /// Was the fleet paused when it was seen last?
    pub(crate) fn is_paused(&self) -> bool {
        self.fleet.as_ref().is_some_and(|fleet| fleet.overview.snapshot.paused.is_some())
    }
}

/// One look.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// Facts and verdict.
    pub(crate) overview: Overview,
    /// Every alert.
    pub(crate) alerts: Alerts,
    /// Every replica.
    pub(crate) replicas: Vec<Replica>,
    /// Jobs that wait for their next attempt; none where that cannot be read.
    pub(crate) backing_off: Option<BackingOff>,
    /// What happened, the newest first; none where that cannot be read.
    pub(crate) events: Option<Vec<EventView>>,
    /// The last hour by minute; none where that cannot be read.
    pub(crate) hour: Option<Arc<Timeline>>,
}

/// Jobs that wait for their next attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BackingOff {
    /// How many.
    pub(crate) count: u64,
    /// When the next one is tried again, Unix milliseconds.
    pub(crate) next_at_ms: Option<u64>,
}

/// Redis does not answer.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    /// Since then, Unix milliseconds.
    pub(crate) since_ms: u64,
    /// What the last try said.
    pub(crate) why: String,
}

/// The only place that looks.
#[derive(Debug)]
pub(crate) struct Looks {
    shared: Arc<Shared>,
    /// Everything else is asked on a connection of its own: a long search must not make Redis seem to be away.
    questions: Outlook,
    /// The look that no request waits for: at most one.
    behind: Mutex<JoinSet<()>>,
    /// Longer histories, each with when it was seen.
    longer: Mutex<Vec<(Range, Instant, Arc<Timeline>)>>,
    /// Held by the request that loads a longer history.
    loading: Mutex<()>,
}

/// What the look that no request waits for needs.
#[derive(Debug)]
struct Shared {
    outlook: Outlook,
    /// Held by the one that looks.
    looking: Mutex<()>,
    /// Held for a moment only.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many tries have ended.
    tries: u64,
    /// When the last try ended.
    tried: Option<Instant>,
    fleet: Option<(Arc<Fleet>, Instant)>,
    /// When the first of the tries that failed began, by both clocks.
    failing: Option<(Instant, u64, String)>,
}

impl Looks {
    /// Nothing is connected yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        let outlook = Outlook::named(settings, "startjobs:page");
        Self {
            questions: Outlook::named(settings, "startjobs:page-ask"),
            shared: Arc::new(Shared { outlook, looking: Mutex::default(), state: Mutex::default() }),
            behind: Mutex::default(),
            longer: Mutex::default(),
            loading: Mutex::default(),
        }
    }

    /// The fleet, seen within the last second where Redis answers. Where the last look has failed, what is known is the
    /// answer, and the next look goes on behind it.
    pub(crate) async fn seen(&self) -> Seen {
        if self.shared.state.lock().await.failing.is_some() {
            self.look_behind().await;
        } else {
            self.shared.renew(FRESH).await;
        }
        self.shared.state.lock().await.seen()
    }

    /// The fleet after a look that begins now: what was just changed is in it.
    pub(crate) async fn seen_anew(&self) -> Seen {
        self.shared.renew(Duration::ZERO).await;
        self.shared.state.lock().await.seen()
    }

    /// What is known without waiting for a look. What was seen too long ago does not say how the fleet is.
    pub(crate) async fn known(&self) -> Seen {
        self.look_behind().await;
        let state = self.shared.state.lock().await;
        let is_old = state.fleet.as_ref().is_none_or(|(_, at)| at.elapsed() > KNOWN_FOR);
        match state.seen() {
            seen if is_old && seen.failing.is_none() => Seen { fleet: None, ..seen },
            seen => seen,
        }
    }

    /// Looks, where it is time to, while requests are answered.
    async fn look_behind(&self) {
        let mut behind = self.behind.lock().await;
        while behind.try_join_next().is_some() {}
        if behind.is_empty() {
            let shared = Arc::clone(&self.shared);
            behind.spawn(async move { shared.renew(FRESH).await });
        }
    }

    /// A longer history, seen within the last while; none where it cannot be read. Where the last look has failed, the
    /// last one that was read.
    pub(crate) async fn longer(&self, range: Range, is_failing: bool) -> Option<Arc<Timeline>> {
        let kept = async || {
            let kept = self.longer.lock().await;
            let seen = kept.iter().find(|(of, at, _)| *of == range && (is_failing || at.elapsed() < LONGER_FRESH));
            seen.map(|(.., timeline)| Arc::clone(timeline))
        };
        if let Some(timeline) = kept().await {
            return Some(timeline);
        }
        if is_failing {
            return None;
        }
        let _loading = self.loading.lock().await;
        if let Some(timeline) = kept().await {
            return Some(timeline);
        }
        let timeline = Arc::new(self.ask(|view| Box::pin(view.history(range))).await.ok()?);
        let mut kept = self.longer.lock().await;
        kept.retain(|(of, ..)| *of != range);
        kept.push((range, Instant::now(), Arc::clone(&timeline)));
        Some(timeline)
    }

    /// Asks something else; questions wait for each other.
    pub(crate) async fn ask<T>(
        &self,
        question: impl for<'a> FnOnce(&'a View) -> Answer<'a, T>,
    ) -> Result<T, RedisError> {
        self.questions.ask(question).await
    }
}

impl Shared {
    /// Looks, unless a try has ended within this time; only one at a time.
    async fn renew(&self, fresh: Duration) {
        let _looking = self.looking.lock().await;
        let is_fresh = |tried: Instant| tried.elapsed() < fresh;
        if self.state.lock().await.tried.is_some_and(is_fresh) {
            return;
        }
        let began = (Instant::now(), wall_ms());
        let looked = self.look().await;
        let mut state = self.state.lock().await;
        match looked {
            Ok(fleet) => {
                state.fleet = Some((Arc::new(fleet), Instant::now()));
                state.failing = None;
            }
            Err(error) => {
                let since = state.failing.take().map_or(began, |(at, ms, _)| (at, ms));
                state.failing = Some((since.0, since.1, error.text));
            }
        }
        state.tries += 1;
        state.tried = Some(Instant::now());
    }

    async fn look(&self) -> Result<Fleet, RedisError> {
        let looking = self.outlook.ask(|view| Box::pin(fleet(view)));
        timeout(WITHIN, looking).await.unwrap_or_else(|_| {
            let within = humantime::format_duration(WITHIN);
            Err(RedisError::unreachable(format!("no answer within {within}")))
        })
    }
}

/// What matters most decides: jobs that back off and events may be missing.
async fn fleet(view: &View) -> Result<Fleet, RedisError> {
    let Whole { overview, alerts, replicas } = view.whole(COUNTED_MAX).await?;
    let open = view.open(&replicas, overview.at_ms).await.ok();
    let backing_off = open.map(|open| {
        let waiting = || open.values().filter(|one| one.backs_off());
        BackingOff { count: waiting().count() as u64, next_at_ms: waiting().filter_map(OpenView::next_at_ms).min() }
    });
    let events = view.events(None, EVENTS_MAX).await.ok().map(|page| page.events);
    let hour = view.history(Range::Hour).await.ok().map(Arc::new);
    Ok(Fleet { overview, alerts, replicas, backing_off, events, hour })
}

impl State {
    fn seen(&self) -> Seen {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let now_ms =
            self.fleet.as_ref().map_or_else(wall_ms, |(fleet, at)| fleet.overview.at_ms + millis(at.elapsed()));
        let failing = self.failing.as_ref().map(|(began, wall, why)| Failing {
            // By the server's clock, where that is known.
            since_ms: self
                .fleet
                .as_ref()
                .map_or(*wall, |(fleet, at)| fleet.overview.at_ms + millis(began.duration_since(*at))),
            why: why.clone(),
        });
        Seen { fleet: self.fleet.as_ref().map(|(fleet, _)| Arc::clone(fleet)), failing, now_ms, look: self.tries }
    }
}

/// This machine's clock, Unix milliseconds.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
