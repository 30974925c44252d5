//! A fleet by hand whose replicas keep subscriptions: what their last renewals heard, what the last look noted, and looks at
//! them. All lengths are so long that nothing depends on how fast the machine is.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use startjobs::stream::claim::{Aim, Deaths, Sweep, SweepReply, SweepTerms, Swept, Watch};
use startjobs::stream::presence::About;
use startjobs::stream::renew::{Hearing, ReplicaState};

use super::{ATTEMPTS, GROUP, JOBS, REPLICAS, SWEEP, Stream};
use crate::support::world::PATIENCE;

/// The grace is the shortest of these: two thirds and one third of it are whole minutes off.
pub(super) const GRACE: Duration = Duration::from_secs(300);
pub(super) const INTERVAL: Duration = Duration::from_secs(600);
pub(super) const CLAIM_IDLE: Duration = Duration::from_secs(1_000);
pub(super) const CRASH_BUDGET: u64 = 4;
pub(super) const SECOND: i64 = 1_000;
const DAY: i64 = 86_400 * SECOND;

/// A presence record; times are seconds before now, negative ones in the future.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) seen: i64,
    pub(super) state: &'static str,
    pub(super) born: i64,
    /// When its subscription was first heard; none: its last renewal did not hear it.
    pub(super) heard: Option<i64>,
    pub(super) generation: u64,
    /// Whether the server still runs that heard it.
    pub(super) is_of_this_run: bool,
    /// When it was declared dead.
    pub(super) died: Option<i64>,
}

/// A replica that was heard and has been there for long.
pub(super) fn record(seen: i64) -> Record {
    Record {
        seen,
        state: "running",
        born: DAY / SECOND,
        heard: Some(DAY / SECOND),
        generation: 1,
        is_of_this_run: true,
        died: None,
    }
}

/// A replica that was declared dead so long ago, when it had been seen for the last time.
pub(super) fn dead(died: i64) -> Record {
    Record { state: "dead", died: Some(died), ..record(died) }
}

pub(super) fn about() -> About {
    About { claim_idle_ms: u64::try_from(CLAIM_IDLE.as_millis()).ok(), ..About::default() }
}

/// A server, the group on it, and the subscriptions of its replicas.
pub(super) struct Fleet {
    pub(super) stream: Stream,
    run: String,
    subscriptions: Mutex<BTreeMap<String, TcpStream>>,
}

impl Fleet {
    /// With a judge, `me`, that is subscribed and was heard.
    pub(super) async fn new(stream: Stream) -> Self {
        let info = stream.redis(&["INFO", "server"]).await.as_string().expect("text");
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).expect("its run").to_owned();
        let fleet = Self { stream, run, subscriptions: Mutex::default() };
        fleet.subscribe("me");
        fleet.is("me", record(0)).await;
        fleet
    }

    pub(super) fn subscribe(&self, name: &str) {
        let mut subscription = TcpStream::connect(("127.0.0.1", self.stream.server.port())).expect("a connection");
        let channel = format!("{JOBS}:alive:{name}");
        write!(subscription, "SUBSCRIBE {channel}\r\n").expect("sent");
        let mut reader = BufReader::new(subscription.try_clone().expect("the same connection"));
        // `*3`, `subscribe` and the channel with their lengths, `:1`.
        for _ in 0..6 {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line of the confirmation");
        }
        self.subscriptions.lock().expect("no test panics with it").insert(name.to_owned(), subscription);
    }

    /// Its connection is closed, and the server knows.
    pub(super) async fn unsubscribe(&self, name: &str) {
        drop(self.subscriptions.lock().expect("no test panics with it").remove(name));
        let began = std::time::Instant::now();
        while self.counted(name).await > 0 {
            assert!(began.elapsed() < PATIENCE, "{name} is still counted");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn counted(&self, name: &str) -> i64 {
        let reply = self.stream.redis(&["PUBSUB", "NUMSUB", &format!("{JOBS}:alive:{name}")]).await;
        let (_, count): (String, i64) = reply.convert().expect("a channel and its count");
        count
    }

    pub(super) async fn is(&self, name: &str, record: Record) {
        let now = self.stream.now().await;
        let Record { seen, state, born, heard, generation, is_of_this_run, died } = record;
        let at = |ago: i64| now - ago * SECOND;
        let run = if is_of_this_run { self.run.clone() } else { "0".repeat(40) };
        let died = died.map_or_else(String::new, |ago| format!("\"died_ms\":{},", at(ago)));
        let heard = heard.map_or_else(String::new, |ago| {
            format!(",\"heard_ms\":{},\"gen\":{generation},\"run\":\"{run}\"", at(ago))
        });
        let value = format!(
            "{} {state} {{{died}\"born_ms\":{},\"since_ms\":{}{heard},\"host\":\"h\",\"claim_idle_ms\":{}}}",
            at(seen),
            at(born),
            at(born),
            CLAIM_IDLE.as_millis()
        );
        self.stream.redis(&["HSET", REPLICAS, name, &value]).await;
    }

    /// The same of a replica that is subscribed, until it dies.
    pub(super) async fn lives(&self, name: &str, record: Record) {
        self.subscribe(name);
        self.is(name, record).await;
    }

    pub(super) async fn presence(&self, name: &str) -> String {
        self.stream.redis(&["HGET", REPLICAS, name]).await.as_string().unwrap_or_default()
    }

    /// Entries of this replica, the oldest first.
    pub(super) async fn holds(&self, name: &str, entries: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for _ in 0..entries {
            ids.push(self.stream.held(name, 0).await);
        }
        ids
    }

    /// Who holds this entry.
    pub(super) async fn owner(&self, id: &str) -> String {
        let rows: Vec<(String, String, u64, u64)> =
            self.stream.redis(&["XPENDING", JOBS, GROUP, id, id, "1"]).await.convert().expect("rows");
        rows.into_iter().next().map_or_else(String::new, |(_, owner, ..)| owner)
    }

    /// The last look was so many seconds ago, and these had been noted so many seconds ago.
    pub(super) async fn noted(&self, looked: i64, names: &[(&str, i64)]) {
        let now = self.stream.now().await;
        let notes = names.iter().map(|(name, ago)| format!(" {name}={}", now - ago * SECOND));
        let text = format!("{}{}", now - looked * SECOND, notes.collect::<String>());
        self.stream.redis(&["HSET", SWEEP, "noted", &text]).await;
    }

    pub(super) async fn notes(&self) -> String {
        self.stream.redis(&["HGET", SWEEP, "noted"]).await.as_string().unwrap_or_default()
    }

    /// When this one was noted, in milliseconds.
    pub(super) async fn noted_at(&self, name: &str) -> Option<i64> {
        let notes = self.notes().await;
        notes.split(' ').find_map(|word| word.strip_prefix(&format!("{name}=")).map(|ms| ms.parse().expect("ms")))
    }

    pub(super) async fn call(&self, name: &str, aim: Aim, terms: SweepTerms) -> SweepReply {
        self.stream.as_consumer(name).sweep(aim, terms).await.unwrap_or_else(|error| panic!("{aim:?}: {error}"))
    }

    /// A look that is due, by a replica that has a subscription of the first generation.
    pub(super) async fn watch_as(&self, name: &str) -> SweepReply {
        self.stream.redis(&["HDEL", SWEEP, "watch_due"]).await;
        self.call(name, Aim::Watch, terms(Some(1))).await
    }

    /// These are dead for the judge: they were noted a grace ago, and their subscriptions are gone. Answers what the look learned.
    pub(super) async fn dies(&self, names: &[&str]) -> Deaths {
        for name in names {
            self.unsubscribe(name).await;
        }
        let noted: Vec<(&str, i64)> = names.iter().map(|&name| (name, 310)).collect();
        self.noted(10, &noted).await;
        let deaths = self.watch_as("me").await.deaths;
        assert_eq!(deaths.declared, names);
        deaths
    }

    /// A sweep that is due; what it claimed.
    pub(super) async fn claims(&self, name: &str, aim: Aim) -> (Sweep, Deaths) {
        self.stream.due().await;
        let reply = self.call(name, aim, terms(Some(1))).await;
        let Swept::Done(sweep) = reply.swept else { panic!("{aim:?}: {reply:?}") };
        (sweep, reply.deaths)
    }

    pub(super) async fn renews(&self, name: &str, generation: Option<u64>) -> Hearing {
        let member = self.stream.as_consumer(name);
        member.renew(ReplicaState::Running, &about(), generation, &[]).await.expect("renewed").hearing
    }

    /// The entries that are charged to it.
    pub(super) async fn charges(&self, name: &str) -> Vec<String> {
        let listed = self.stream.redis(&["HGET", ATTEMPTS, &format!("charges:{name}")]).await.as_string();
        listed.map_or_else(Vec::new, |text| text.split(' ').skip(1).map(str::to_owned).collect())
    }

    pub(super) async fn crashes(&self, id: &str) -> u64 {
        self.stream.written(id).await.0
    }

    pub(super) async fn excuses(&self, id: &str) -> u64 {
        self.stream.written(id).await.2
    }
}

/// Of a replica that holds nothing and has room for many.
pub(super) fn terms(generation: Option<u64>) -> SweepTerms {
    let watch = Some(Watch { grace: GRACE, generation });
    SweepTerms {
        claim_idle: CLAIM_IDLE,
        interval: INTERVAL,
        want: 100,
        holds_nothing: true,
        watch,
        crash_budget: CRASH_BUDGET,
    }
}
