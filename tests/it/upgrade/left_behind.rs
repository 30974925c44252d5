//! What the version before leaves behind, and what this one leaves to it, without its binary. The texts are those of a real
//! fleet of that version (`deploy/upgrade.sh` runs one), with other ids and times.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use startjobs::stream::entry_id::EntryId;

use crate::support::dockerd::Dockerd;
use crate::support::world::{PATIENCE, World, numbers};

/// The consumer that the dead replica was.
const OLD: &str = "vm-aedc5e6e-7036-4ed5-a9f0-5d3b9e783a5a";
/// Its ledger has a bucket for each hour.
const BUCKET_MS: u64 = 3_600_000;
const GAME: &str = "startjobs.test/game:1";
/// The members of its records, in their order.
const MEMBERS: [&str; 12] = [
    "fence",
    "owner",
    "lease_until_ms",
    "updated_at_ms",
    "attempt",
    "state",
    "image_ref",
    "stream",
    "source_ref",
    "op_source",
    "host",
    "engine",
];

/// How far the dead replica had come with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Its record says that it begins.
    Begun,
    /// A container was created.
    Created,
    /// It was started.
    Started,
    /// The success is in the record, and was not published.
    Committed,
    /// It was published: nothing is open.
    Answered,
}

impl Left {
    /// In the order of their jobs.
    const ALL: [Self; 5] = [Self::Answered, Self::Begun, Self::Created, Self::Started, Self::Committed];

    fn game(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// An engine as that version has used it.
struct Engine<'a> {
    world: &'a World,
    dockerd: Option<&'a Dockerd>,
}

impl Engine<'_> {
    fn kind(&self) -> &'static str {
        if self.dockerd.is_some() { "docker" } else { "simulated" }
    }

    fn image(&self) -> &'static str {
        if self.dockerd.is_some() { GAME } else { "docker.io/galaxy/engine:1" }
    }

    /// Makes the container of a game, with the labels that it has of that version. Answers its id and its endpoint.
    async fn make(&self, game: &str, job: EntryId, is_started: bool) -> (String, String) {
        let Some(dockerd) = self.dockerd else {
            let id = format!("simulated.rtm-{game}.0123456789ab");
            let state = if is_started { "running" } else { "created" };
            let labels = json!(["1", "default", self.image(), OLD, job.to_string()]);
            let text = format!("{id} {game} {state} 1795946621000 {labels}");
            self.world.redis(&["SET", &format!("rtm:sim:{{rtm-{game}}}"), &text]).await;
            return (id, format!("http://rtm-{game}.sim.invalid:8080"));
        };
        let labels = json!({
            "rtm.game_id": game, "rtm.image_ref": GAME, "rtm.source_ref": job.to_string(), "rtm.fence": "1",
            "rtm.owner": OLD, "rtm.host": "default",
        });
        let body = json!({
            "Image": GAME, "Env": [format!("GAME_ID={game}"), "PORT=8080"], "Labels": labels,
            "ExposedPorts": { "8080/tcp": {} },
            "HostConfig": { "PortBindings": { "8080/tcp": [{ "HostIp": dockerd.address(), "HostPort": "" }] } },
        });
        let path = format!("/containers/create?name=rtm-{game}");
        let (status, created) = dockerd.request("POST", &path, body.to_string().as_bytes()).expect("an answer");
        assert_eq!(status, 201, "{created}");
        let created: Value = serde_json::from_str(&created).expect("JSON");
        let id = created["Id"].as_str().expect("an id").to_owned();
        if !is_started {
            return (id, String::new());
        }
        let (status, body) = dockerd.request("POST", &format!("/containers/{id}/start"), b"").expect("an answer");
        assert_eq!(status, 204, "{body}");
        let (_, seen) = dockerd.request("GET", &format!("/containers/{id}/json"), b"").expect("an answer");
        let seen: Value = serde_json::from_str(&seen).expect("JSON");
        let port = seen["NetworkSettings"]["Ports"]["8080/tcp"][0]["HostPort"].as_str().expect("a port").to_owned();
        (id, format!("http://{}:{port}", dockerd.address()))
    }

    /// Which containers there are, by game.
    async fn containers(&self) -> BTreeMap<String, String> {
        let Some(dockerd) = self.dockerd else {
            let mut found = BTreeMap::new();
            for left in Left::ALL {
                let key = format!("rtm:sim:{{rtm-{}}}", left.game());
                let text = self.world.redis(&["GET", &key]).await.as_string().unwrap_or_default();
                let words: Vec<&str> = text.split(' ').collect();
                assert_eq!(words.get(2), Some(&"running"), "{left:?}: {text}");
                found.insert(left.game(), words[0].to_owned());
            }
            return found;
        };
        let listed = dockerd.list();
        let pairs = listed.iter().map(|one| {
            assert_eq!(one["State"], "running", "{one}");
            let text = |value: &Value| value.as_str().expect("text").to_owned();
            (text(&one["Labels"]["rtm.game_id"]), text(&one["Id"]))
        });
        let found: BTreeMap<String, String> = pairs.collect();
        assert_eq!(found.len(), listed.len(), "two of one game: {listed:?}");
        found
    }
}

/// Leaves behind what a replica of the version before leaves that was killed with four jobs in hand: the group, its pending
/// entries, its presence, records and containers. Answers the containers by game.
async fn leave(engine: &Engine<'_>, jobs: &[(Left, EntryId)]) -> BTreeMap<String, (String, String)> {
    let world = engine.world;
    let now = world.now_ms().await;
    let mut made = BTreeMap::new();
    for &(left, job) in jobs {
        let game = left.game();
        let is_running = matches!(left, Left::Committed | Left::Answered);
        let (id, endpoint) = match left {
            Left::Begun => (String::new(), String::new()),
            Left::Created => engine.make(&game, job, false).await,
            Left::Started | Left::Committed | Left::Answered => engine.make(&game, job, true).await,
        };
        let state = if is_running { "running" } else { "starting" };
        // The lease of an attempt is over only after claim idle.
        let lease = if is_running { 0 } else { now + 600 };
        let mut record = format!(
            concat!(
                r#"{{"fence":1,"owner":"{}","lease_until_ms":{},"updated_at_ms":{},"attempt":1,"state":"{}","image_ref":"{}","#,
                r#""stream":"runtime:start_jobs","source_ref":"{}","op_source":"lobby_stream","host":"default","engine":"{}""#
            ),
            OLD,
            lease,
            now,
            state,
            // As a script writes it that changes a record, and as the replica does.
            if is_running { engine.image().to_owned() } else { engine.image().replace('/', r"\/") },
            job,
            engine.kind(),
        );
        if is_running {
            let success = [r#","container_id":""#, &id, r#"","engine_endpoint":""#, &endpoint, r#"","answer":{}"#];
            record.extend(success);
        }
        record.push('}');
        world.redis(&["SET", &format!("rtm:{{{game}}}:rec"), &record]).await;
        if left != Left::Begun {
            made.insert(game, (id, endpoint));
        }
    }
    let presence = format!(
        concat!(
            r#"{} running {{"born_ms":{},"since_ms":{},"heard_ms":{},"gen":1,"run":"2aa4b9c8f7bc2e7c7f46321c415a325fb5c56b13","#,
            r#""claim_idle_ms":600,"disconnect_grace_ms":300,"engine":"{}","host":"vm","max_run_ms":900000,"pid":19124,"#,
            r#""started_at_ms":{},"version":"0.1.0","serves":true,"slots":64,"in_flight":4,"held":4}}"#
        ),
        now,
        now - 9_000,
        now - 9_000,
        now - 8_900,
        engine.kind(),
        now - 9_000,
    );
    world.redis(&["HSET", "runtime:start_jobs:replicas", OLD, &presence]).await;
    made
}

/// The first job was answered: its outcome, its acknowledgement, the ledger and the offset came in one step.
async fn was_answered(world: &World, job: EntryId, (id, endpoint): &(String, String)) {
    let job = job.to_string();
    let now = world.now_ms().await;
    let fields = ["game_id", "answered", "outcome", "success", "container_id", id, "engine_endpoint", endpoint];
    let rest = ["error_code", "", "error_message", "", "source_ref", &job, "requested_at_ms", "17"];
    let times = ["finished_at_ms", &now.to_string(), "attempt", "1"];
    world.redis(&[&["XADD", "runtime:job_results", "*"][..], &fields, &rest, &times].concat()).await;
    world.redis(&["XACK", "runtime:start_jobs", "rtmanager.startjobs", &job]).await;
    let (appended_ms, _) = numbers(&job);
    let bucket = format!("runtime:start_jobs:ledger:{}", appended_ms / BUCKET_MS);
    world.redis(&["SADD", &bucket, "-", &job]).await;
    world.redis(&["ZADD", "runtime:start_jobs:ledgers", &now.to_string(), &bucket]).await;
    world.redis(&["SET", "rtmanager:stream_offsets:startjobs", &job]).await;
    world.redis(&["SET", "rtmanager:stream_offsets:startjobs:shadow", &job]).await;
    let sweep = ["walked_to", "0-0", "watched", "", "by", OLD, "cursor", "-"];
    let due = now.to_string();
    let dues = ["janitor_due", &due, "watch_due", &due, "due", &due];
    world.redis(&[&["HSET", "runtime:start_jobs:sweep"][..], &sweep, &dues].concat()).await;
    world.redis(&["SET", "runtime:start_jobs:verified", "0-0"]).await;
}

async fn is_taken_over(mut world: World, dockerd: Option<Dockerd>) {
    world.create_group().await;
    let image = if dockerd.is_some() { GAME } else { "galaxy/engine:1" };
    let mut jobs = Vec::new();
    for left in Left::ALL {
        let job = world.send(&left.game(), image).await;
        jobs.push((left, job));
    }
    world.read_as(OLD, "5").await;
    let engine = Engine { world: &world, dockerd: dockerd.as_ref() };
    let made = leave(&engine, &jobs).await;
    let (_, first) = jobs[0];
    was_answered(&world, first, &made["answered"]).await;

    let replica = world.replica(&[("reconcile-grace", "1ms"), ("reconcile-interval", "100ms")]);
    world.begun(replica).await;
    let again = world.send("answered", image).await;
    world.settled().await;
    let replay = world.outcome(again).await;
    assert_eq!((replay.get("error_code"), replay.get("container_id")), ("replay_no_op", made["answered"].0.as_str()));
    let engine = Engine { world: &world, dockerd: dockerd.as_ref() };
    let containers = engine.containers().await;
    assert_eq!(containers.len(), Left::ALL.len(), "{containers:?}\n{}", world.logs());
    for (left, job) in jobs {
        let (game, outcome) = (left.game(), world.outcome(job).await);
        assert_eq!(outcome.get("outcome"), "success", "{left:?}: {outcome:?}\n{}", world.logs());
        assert_eq!(outcome.get("container_id"), containers[&game], "{left:?}: {outcome:?}");
        if let Some((id, endpoint)) = made.get(&game) {
            assert_eq!(containers[&game], *id, "{left:?} was created again\n{}", world.logs());
            assert!(endpoint.is_empty() || outcome.get("engine_endpoint") == endpoint, "{left:?}: {outcome:?}");
        }
        let code = if left == Left::Started { "replay_no_op" } else { "" };
        assert_eq!(outcome.get("error_code"), code, "{left:?}: {outcome:?}");
    }
    // Host and fleet are written down, and the games are on the host's list.
    let hosts: Vec<String> = world.redis(&["HKEYS", "rtm:hosts"]).await.convert().expect("names");
    assert_eq!(hosts, ["default"]);
    let all: Vec<String> = Left::ALL.map(Left::game).to_vec();
    world
        .eventually("every game is on the list of its host", async |world: &World| {
            let placed = world.redis(&["ZRANGEBYSCORE", "rtm:placed:default", "-inf", "+inf"]).await;
            let mut placed: Vec<String> = placed.convert().unwrap_or_default();
            placed.sort();
            let mut all = all.clone();
            all.sort();
            placed == all
        })
        .await;
}

#[tokio::test]
async fn what_a_simulated_fleet_left_is_taken_over() {
    is_taken_over(World::new().await, None).await;
}

#[tokio::test]
async fn what_a_fleet_on_a_docker_engine_left_is_taken_over() {
    let Some(dockerd) = Dockerd::start() else { return };
    dockerd.import_image(GAME, Path::new(env!("CARGO_BIN_EXE_startjobs")), &["engine"], &[]);
    let settings = [("engine", "docker"), ("claim-idle", "1500ms")];
    let world = World::with(&[&settings[..], &dockerd.settings()].concat()).await;
    is_taken_over(world, Some(dockerd)).await;
}

/// The version before takes these for what its own are.
#[tokio::test]
async fn what_this_version_leaves_has_the_form_of_the_version_before() {
    let mut world = World::with(&[("reconcile-interval", "50ms")]).await;
    let replica = world.replica(&[]);
    for (game, image) in [("runs", "galaxy/engine:1"), ("fails", "sim/exit"), ("ends", "galaxy/engine:1")] {
        world.send(game, image).await;
    }
    world.settled().await;
    world.remove_container("ends").await;
    let record = async |world: &World, game: &str| {
        let text = world.redis(&["GET", &format!("rtm:{{{game}}}:rec")]).await.as_string().expect("a record");
        serde_json::from_str::<serde_json::Map<String, Value>>(&text).expect("an object")
    };
    world.eventually("it has ended", async |world: &World| record(world, "ends").await["state"] == "stopped").await;
    for (game, state) in [("runs", "running"), ("fails", "failed"), ("ends", "stopped")] {
        let text = world.redis(&["GET", &format!("rtm:{{{game}}}:rec")]).await.as_string().expect("a record");
        let record = record(&world, game).await;
        assert_eq!(record["state"], state, "{text}");
        // It tells its own records by how they begin, and passes over members that it does not have.
        let mut at = 0;
        for member in MEMBERS {
            let found = text[at..].find(&format!("\"{member}\":")).unwrap_or_else(|| panic!("{member}: {text}"));
            at += found;
        }
        let known = ["container_id", "engine_endpoint", "condemned", "answer"];
        let new = ["exit_code", "ended_at_ms", "stopped_by"];
        let is_known = |name: &str| MEMBERS.contains(&name) || known.contains(&name);
        let others: Vec<&String> = record.keys().filter(|name| !is_known(name)).collect();
        let are_allowed = others.iter().all(|name| state == "stopped" && new.contains(&name.as_str()));
        assert!(are_allowed, "{others:?}: {text}");
        assert!(MEMBERS[5..].iter().all(|name| record[*name].is_string()), "{text}");
        assert_eq!(record["host"], "default", "{text}");
    }
    let text = world.redis(&["GET", "rtm:sim:{rtm-runs}"]).await.as_string().expect("a container");
    let (_, labels) = text.split_once(" [").expect("an array of labels");
    assert!(serde_json::from_str::<[String; 5]>(&format!("[{labels}")).is_ok(), "{text}");
    world.signal(replica, rustix::process::Signal::TERM);
    world.ended(replica, PATIENCE).await;
}
