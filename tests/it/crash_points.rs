//! A replica dies by SIGKILL at every place on an entry's way; another finishes what it left behind.

use startjobs::faults::Point;
use startjobs::stream::entry_id::EntryId;

use crate::declared_keys::Watch;
use crate::support::world::World;

macro_rules! at_every_point {
    ($($point:ident)+) => {
        const NAMED: &[&str] = &[$(stringify!($point)),+];

        $(mod $point {
            #[tokio::test]
            async fn a_lone_job_is_finished_by_a_replica_that_comes_later() {
                super::lone_job(stringify!($point)).await;
            }

            #[tokio::test]
            async fn eight_jobs_are_finished_by_a_replica_that_comes_later() {
                super::eight_jobs(stringify!($point)).await;
            }

            #[tokio::test]
            async fn jobs_are_finished_by_a_replica_that_lived_all_along() {
                super::with_a_living_replica(stringify!($point)).await;
            }
        })+
    };
}

at_every_point! {
    after_read after_begin before_pull in_pull before_create after_create after_start after_ready
    before_commit after_commit before_condemn after_condemn before_settle after_settle
}

#[test]
fn no_point_is_left_out() {
    let all: Vec<&str> = Point::ALL.iter().map(|point| point.as_str()).collect();
    assert_eq!(NAMED, all);
}

/// Containers are condemned only where a game engine exits.
fn condemns(point: &str) -> bool {
    point.ends_with("_condemn")
}

fn image(point: &str, number: usize) -> String {
    // An image of its own for every job, so that there is always something to pull.
    if condemns(point) { "sim/exit".to_owned() } else { format!("galaxy/engine:{number}") }
}

/// Answered before the crash, and kept beside the game's record.
fn is_stored(point: &str) -> bool {
    matches!(point, "after_commit" | "before_settle" | "after_settle")
}

/// What a lone job is answered with after a crash at this point.
fn code(point: &str) -> &'static str {
    match point {
        // The container is found running.
        "after_start" | "after_ready" | "before_commit" => "replay_no_op",
        "before_condemn" | "after_condemn" => "engine_exited",
        // The next attempt starts it, or the first one's answer had been stored.
        _ => "",
    }
}

async fn lone_job(point: &str) {
    let mut world = World::new().await;
    let a = world.replica(&[("crash-at", point)]);
    let job = world.send("game", &image(point, 1)).await;
    world.killed(a).await;
    assert!(world.log(a).text().contains(&format!("dying at {point}\n")));
    let stored = stored_answer(&world, "game", job).await;
    assert_eq!(stored.is_some(), is_stored(point), "{stored:?}");
    if condemns(point) {
        is_condemned_before_it_goes(&world, "game", point).await;
    }

    let b = world.replica(&[]);
    world.settled().await;
    world.at_rest().await;

    let outcome = world.outcome(job).await;
    assert_eq!(outcome.get("error_code"), code(point));
    let attempt = if point == "after_settle" { "1" } else { "2" };
    assert_eq!(outcome.get("attempt"), attempt, "{outcome:?}");
    let by_b = usize::from(point != "after_settle");
    world.logged(b, "the outcome", |log| log.processed().len() == by_b).await;
    if let Some(stored) = stored {
        let fields = ["outcome", "container_id", "engine_endpoint", "error_code", "error_message"];
        for field in fields {
            assert_eq!(outcome.get(field), stored[field], "{field} is not what was stored");
        }
    }
    let sim = world.sim_log().await;
    if condemns(point) {
        assert_eq!(sim.existing(), 0, "{sim:?}");
    } else {
        assert_eq!(outcome.get("container_id"), sim.the_only_container("game"));
        assert_eq!(sim.existing(), 1, "{sim:?}");
        assert_eq!(sim.created("game").len(), 1, "{sim:?}");
    }
}

/// The record names the container that is to go while the engine still has it: a process that dies between the two leaves
/// no container that another takes for the game's.
async fn is_condemned_before_it_goes(world: &World, game: &str, point: &str) {
    let sim = world.sim_log().await;
    assert_eq!(sim.existing(), 1, "the container is gone at {point}: {sim:?}");
    let key = format!("{}{{{game}}}:rec", world.settings.start.record_prefix);
    let json = world.redis(&["GET", &key]).await.as_string().expect("the game has a record");
    let record: serde_json::Value = serde_json::from_str(&json).expect("records are JSON");
    let condemned = record["condemned"].as_str().unwrap_or_default();
    let expected = if point == "after_condemn" { sim.created(game).last().expect("it was created") } else { "" };
    assert_eq!(condemned, expected, "{record}");
}

/// Both containers of a game engine that exits: the one that is made anew, and the one that ends the job.
#[tokio::test]
async fn every_container_is_condemned_before_it_goes() {
    let mut world = World::new().await;
    let watch = Watch::begin(world.redis.port());
    world.replica(&[]);
    world.send("game", "sim/exit").await;
    world.settled().await;
    let seen = watch.end(world.lobby.connection()).await;
    let (mut condemned, mut removed) = (String::new(), 0);
    for words in seen.commands {
        match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["MSET", ..] => condemned.push_str(&words.concat()),
            ["XADD", "rtm:sim:log", ..] => {
                for pair in words.windows(2).filter(|pair| pair[0] == "remove") {
                    let id = pair[1].split(' ').next().expect("split answers at least one");
                    assert!(condemned.contains(&format!("\"condemned\":\"{id}\"")), "{id} goes before {condemned}");
                    removed += 1;
                }
            }
            _ => {}
        }
    }
    assert_eq!(removed, 2);
}

/// The answer that the start service has stored for a job: its game's record, once it says that there is one.
async fn stored_answer(world: &World, game: &str, job: EntryId) -> Option<serde_json::Value> {
    let key = format!("{}{{{game}}}:rec", world.settings.start.record_prefix);
    let json = world.redis(&["GET", &key]).await.as_string()?;
    let record: serde_json::Value = serde_json::from_str(&json).expect("records are JSON");
    assert_eq!(record["source_ref"], job.to_string());
    let answer = record.get("answer")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Some(serde_json::json!({
        "outcome": if record["state"] == "running" { "success" } else { "failure" },
        "container_id": text(&record["container_id"]),
        "engine_endpoint": text(&record["engine_endpoint"]),
        "error_code": text(&answer["error_code"]),
        "error_message": text(&answer["error_message"]),
    }))
}

async fn eight_jobs(point: &str) {
    let mut world = World::new().await;
    let mut jobs = Vec::new();
    for number in 0..6 {
        let game = format!("game-{number}");
        jobs.push((game.clone(), world.send(&game, &image(point, number)).await));
    }
    for number in 0..2 {
        let game = format!("game-{number}");
        jobs.push((game.clone(), world.send(&game, &image(point, number)).await));
    }
    let a = world.replica(&[("crash-at", point)]);
    world.killed(a).await;
    let left = world.lobby.pending().await.expect("the group is there");
    // After the first settled batch as many are left as were not in it.
    assert!(left.len() > 4 || point == "after_settle", "too few in flight: {left:?}");
    assert!(left.len() < jobs.len() || point != "after_settle", "nothing was settled: {left:?}");

    world.replica(&[]);
    all_end_well(&mut world, point, &jobs).await;
}

async fn with_a_living_replica(point: &str) {
    let mut world = World::new().await;
    let a = world.replica(&[("crash-at", point)]);
    let b = world.replica(&[]);
    world.begun(a).await;
    world.begun(b).await;
    let mut jobs = Vec::new();
    while world.fleet.replica(a).process().ended().is_none() {
        assert!(jobs.len() < 500, "the replica does not die\n{}", world.logs());
        // Several at once, so that both replicas get some.
        for _ in 0..4 {
            let game = format!("game-{}", jobs.len());
            jobs.push((game.clone(), world.send(&game, &image(point, jobs.len())).await));
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    world.killed(a).await;
    all_end_well(&mut world, point, &jobs).await;
    world.logged(b, "an outcome", |log| !log.processed().is_empty()).await;
}

/// Every job has its one outcome, and every game its one container or none.
async fn all_end_well(world: &mut World, point: &str, jobs: &[(String, EntryId)]) {
    let account = world.settled().await;
    world.at_rest().await;
    let count = |kind: &str| account.outcomes.get(kind).copied().unwrap_or(0);
    let sim = world.sim_log().await;
    if condemns(point) {
        assert_eq!(count("engine_exited"), jobs.len(), "{account:?}");
        assert_eq!(sim.existing(), 0, "{sim:?}");
        return;
    }
    assert_eq!(count("started") + count("replay_no_op"), jobs.len(), "{account:?}");
    let mut games: Vec<&String> = jobs.iter().map(|(game, _)| game).collect();
    games.sort();
    games.dedup();
    assert_eq!(sim.existing(), games.len(), "{sim:?}");
    let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
    for outcome in outcomes {
        assert_eq!(outcome.container_id, sim.the_only_container(&outcome.game_id), "{outcome:?}");
    }
    let dead = world.lobby.all_dead().await.expect("dead letters");
    assert!(dead.is_empty(), "{dead:?}");
}
