//! One fleet over three hosts, each with an engine and replicas of its own: one container a game over all hosts, one outcome
//! a job, and no endpoint of another game, whatever happens to a host.

// what runs on all hosts, by asking their engines
mod observer;
// what each published endpoint says
mod published;
// many jobs from all sides
mod load;
// hosts that are killed, stopped, cut off, restarted and filled up
mod outages;
// replicas that die or stop at every point, while another host takes their jobs
mod deaths;
// records and endpoints after restarts of engines
mod restarts;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use startjobs::stream::entry_id::EntryId;

use self::observer::Observer;
use self::published::{Published, Says, who_is};
use crate::support::dockerd::{Dockerd, archive};
use crate::support::world::{Entry, World, numbers};

/// A game engine: our own binary. Games whose names begin with `slow` take a while until they answer.
const GAME: &str = "startjobs.test/game:1";
const ENTRY_POINT: &str = r#"ENTRYPOINT ["/sh", "-c", "trap 'exit 0' TERM; case $GAME_ID in slow*) /sleep 1.5 & wait;; esac; exec /program engine"]"#;

const HOSTS: usize = 3;
/// Far more than a whole load takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(100);
/// For ten seconds a record may say what is not so, and three times as long on a machine that runs three engines beside other
/// work.
const TRUE_WITHIN: Duration = Duration::from_secs(3 * 10);

/// Three engines, the fleet on them, and what is seen of both.
struct Hosts {
    world: World,
    observer: Observer,
    published: Published,
    dockerds: Vec<Dockerd>,
}

impl Hosts {
    /// No replica runs yet; none where there is no Docker.
    async fn start() -> Option<Self> {
        Self::start_with(|_| Dockerd::start(), &[]).await
    }

    /// The same, with engines made so and with further settings.
    async fn start_with(make: fn(usize) -> Option<Dockerd>, settings: &[(&str, &str)]) -> Option<Self> {
        let dockerds = engines(make)?;
        let fleet = uuid::Uuid::new_v4().to_string();
        let common = [
            ("engine", "docker"),
            ("fleet-id", fleet.as_str()),
            ("claim-idle", "1500ms"),
            ("host-heartbeat", "3s"),
            ("slots", "8"),
        ];
        let world = World::with(&[&common, settings].concat()).await;
        let (observer, published) = (Observer::start(&dockerds, &fleet), Published::start(&world.settings));
        Some(Self { world, observer, published, dockerds })
    }

    /// Starts a replica beside the engine of this host, with settings of its own.
    fn replica_on(&mut self, host: usize, settings: &[(&str, &str)]) -> usize {
        let own = settings_on(&self.dockerds[host], host);
        let own = own.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.world.replica(&[&own, settings].concat())
    }

    /// The same, as soon as it works.
    async fn working_on(&mut self, host: usize, settings: &[(&str, &str)]) -> usize {
        let replica = self.replica_on(host, settings);
        self.world.begun(replica).await;
        replica
    }

    async fn send(&mut self, games: &[String]) -> Vec<EntryId> {
        let mut jobs = Vec::new();
        for game in games {
            jobs.push(self.world.send(game, GAME).await);
        }
        jobs
    }

    async fn record(&self, game: &str) -> Value {
        let text = self.world.redis(&["GET", &format!("rtm:{{{game}}}:rec")]).await.as_string();
        text.map_or(Value::Null, |text| serde_json::from_str(&text).expect("JSON"))
    }

    /// Those of these games whose record says this, on this host.
    async fn are(&self, games: &[String], state: &str, host: usize) -> Vec<String> {
        let mut found = Vec::new();
        for game in games {
            let record = self.record(game).await;
            if record["state"] == state && record["host"] == name_of(host).as_str() {
                found.push(game.clone());
            }
        }
        found
    }

    /// Waits until everything that was sent is answered.
    async fn answered(&mut self) {
        self.world.answered_within(PATIENCE).await;
    }

    /// How long after this moment of the server's clock the job was answered.
    async fn answered_after(&self, job: EntryId, ms: u64) -> Duration {
        let outcome = self.world.outcome(job).await;
        Duration::from_millis(numbers(&outcome.id).0.saturating_sub(ms))
    }

    async fn took(&self, job: EntryId) -> Duration {
        self.answered_after(job, numbers(&job.to_string()).0).await
    }

    /// The success of a job; its container is that of the game's record.
    async fn success(&mut self, job: EntryId, code: &str) -> Entry {
        let outcome = self.world.outcome(job).await;
        let said = (outcome.get("outcome"), outcome.get("error_code"));
        assert_eq!(said, ("success", code), "{outcome:?}\n{}", self.world.logs());
        outcome
    }

    /// Waits until everything is answered once, nothing is pending, and no record and no container of any host says
    /// otherwise; answers how long it took until the last was true.
    async fn ends_well(&mut self) -> Duration {
        self.answered().await;
        self.world.settled().await;
        self.world.at_rest().await;
        let took = self.becomes_true().await;
        self.no_endpoint_was_of_another_game(&[]).await;
        took
    }

    /// Waits until no record lies and every container is named by its record.
    async fn becomes_true(&mut self) -> Duration {
        let began = Instant::now();
        loop {
            let lies = self.lies().await;
            if lies.is_empty() {
                return began.elapsed();
            }
            assert!(began.elapsed() < TRUE_WITHIN, "{lies:#?}\n{}", self.world.logs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What records say that engines do not, and the reverse.
    async fn lies(&self) -> Vec<String> {
        let (mut lies, mut running) = (Vec::new(), Vec::new());
        for (host, dockerd) in self.dockerds.iter().enumerate() {
            let listed = dockerd.api(Duration::from_secs(5)).running();
            let Some(listed) = listed else { return vec![format!("the engine of host {host} is silent")] };
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            running.extend(listed.iter().map(|found| {
                let labels = &found["Labels"];
                (text(&labels["rtm.game_id"]), name_of(host), text(&found["Id"]), text(&labels["rtm.fleet"]))
            }));
        }
        let fleet = self.world.redis(&["GET", "rtm:fleet"]).await.as_string().unwrap_or_default();
        running.retain(|(_, _, _, of)| *of == fleet);
        let keys: Vec<String> = self.world.redis(&["KEYS", "rtm:{*}:rec"]).await.convert().expect("names");
        for key in &keys {
            let game = key.trim_start_matches("rtm:{").trim_end_matches("}:rec");
            let record = self.record(game).await;
            let is_it = |(of, host, id, _): &&(String, String, String, String)| {
                of == game && record["host"] == host.as_str() && record["container_id"] == id.as_str()
            };
            // A container that started while the disk was full stays `created` in the engine's list: the list is made of what
            // could be written down.
            let is_there = running.iter().any(|one| is_it(&one)) || self.runs(&record);
            if record["state"] == "running" {
                let endpoint = record["engine_endpoint"].as_str().unwrap_or_default();
                let says = who_is(endpoint).await;
                if !is_there || says != Says::Game(game.to_owned()) {
                    lies.push(format!("{record}, and there: {is_there}, says {says:?}"));
                }
            }
            let is_extra = |one: &&(String, String, String, String)| {
                one.0 == game && !(record["state"] == "running" && is_it(one))
            };
            lies.extend(running.iter().filter(is_extra).map(|extra| format!("{extra:?} runs, and {record}")));
        }
        lies
    }

    /// Whether the engine of the record's host says that its container runs, asked for that alone.
    fn runs(&self, record: &Value) -> bool {
        let of_record = |host: &usize| record["host"] == name_of(*host).as_str();
        let Some(host) = (0..self.dockerds.len()).find(of_record) else { return false };
        let path = format!("/containers/{}/json", record["container_id"].as_str().unwrap_or_default());
        let answer = self.dockerds[host].api(Duration::from_secs(5)).request("GET", &path, b"");
        let seen = answer.ok().and_then(|(_, body)| serde_json::from_str::<Value>(&body).ok());
        seen.is_some_and(|seen| seen["State"]["Running"] == true)
    }

    /// No endpoint that was published was that of another game; only those of these hosts may have been silent.
    async fn no_endpoint_was_of_another_game(&self, may_be_silent: &[usize]) {
        let outcomes = self.world.lobby.all_outcomes().await.expect("outcomes");
        let successes = outcomes.iter().filter(|outcome| outcome.outcome == "success").count();
        for publication in self.published.all(successes).await {
            let (outcome, says) = (&publication.outcome, &publication.says);
            let is_excused = matches!(says, Says::Nothing(_))
                && may_be_silent.iter().any(|&host| outcome.engine_endpoint.contains(&address_of(host)));
            assert!(is_excused || *says == Says::Game(outcome.game_id.clone()), "{publication:?}");
        }
    }

    /// Never did two containers of one game run at the same time.
    fn never_ran_twice(&self) {
        let overlaps = self.observer.overlaps();
        assert!(overlaps.is_empty(), "{overlaps:#?}");
        assert!(self.observer.samples() > 3 * HOSTS, "the engines were hardly asked");
    }
}

/// Engines that have the image [`GAME`], made at the same time.
fn engines(make: fn(usize) -> Option<Dockerd>) -> Option<Vec<Dockerd>> {
    let program = Path::new(env!("CARGO_BIN_EXE_startjobs"));
    let image = archive(&[("program", program), ("sh", Path::new("/bin/sh")), ("sleep", Path::new("/bin/sleep"))]);
    std::thread::scope(|scope| {
        let image = &image;
        let made: Vec<_> = (0..HOSTS)
            .map(|host| {
                scope.spawn(move || {
                    let dockerd = make(host)?;
                    dockerd.import(GAME, image, &[ENTRY_POINT]);
                    Some(dockerd)
                })
            })
            .collect();
        made.into_iter().map(|engine| engine.join().expect("an engine, or a reason")).collect()
    })
}

/// What a replica beside this engine is told.
fn settings_on(dockerd: &Dockerd, host: usize) -> [(&'static str, String); 4] {
    // An address for each host, as real ones have it: engines look for free ports on their own.
    [
        ("docker-host", dockerd.host()),
        ("engine-host-id", name_of(host)),
        ("publish-address", address_of(host)),
        ("advertise-host", address_of(host)),
    ]
}

fn name_of(host: usize) -> String {
    format!("host-{host}")
}

/// Where the games of a host answer.
fn address_of(host: usize) -> String {
    format!("127.0.1.{}", host + 1)
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}-{number}")).collect()
}
