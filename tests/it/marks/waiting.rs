//! Jobs that no replica has read: answered in the step that takes their entries out of the stream.

use super::{ends_with, nothing_is_left_of_attempts, operator, stdout, was_cancelled};
use crate::declared_keys::Watch;
use crate::support::world::World;

#[tokio::test]
async fn a_waiting_job_is_answered_at_once_and_never_started() {
    let mut world = World::new().await;
    let job = world.send("game", "galaxy/engine:1").await;
    let said = ends_with(&world, &format!("cancel {job} --reason typo"), 0);
    assert!(said.contains("before any replica had read it"), "{said}");
    was_cancelled(&world, job).await;
    assert!(world.outcome(job).await.get("error_message").ends_with(": typo"));
    let again = ends_with(&world, &format!("cancel {job}"), 0);
    assert!(again.contains("cancelled by ann@") && again.contains(": typo"), "{again}");

    // Another job of the game is a new job, and what was cancelled is never read.
    let a = world.replica(&[]);
    let next = world.send("game", "galaxy/engine:2").await;
    world.settled().await;
    world.at_rest().await;
    assert_eq!(world.outcome(next).await.get("outcome"), "success");
    assert_eq!(world.outcome(next).await.get("error_code"), "", "its image is the only one");
    assert_eq!(world.log(a).processed(), [next.to_string()]);
    assert_eq!(world.sim_log().await.created("game").len(), 1);
    was_cancelled(&world, job).await;
    nothing_is_left_of_attempts(&mut world).await;
    let story = ends_with(&world, &format!("inspect {job}"), 0);
    assert!(story.contains("answered failure (cancelled)") && story.contains("ann@"), "{story}");
    ends_with(&world, "audit", 0);
}

#[tokio::test]
async fn what_no_replica_has_read_is_counted_and_found_by_its_game() {
    let mut world = World::new().await;
    let job = world.send("game", "galaxy/engine:1").await;
    ends_with(&world, &format!("cancel {job} --reason typo"), 0);
    for range in ["1h", "30d"] {
        let history = ends_with(&world, &format!("history --range {range} --json"), 0);
        let history: serde_json::Value = serde_json::from_str(&history).expect("one JSON object");
        let total = &history["total"];
        assert_eq!((&total["failed"]["cancelled"], &total["started"]), (&1.into(), &0.into()), "{history}");
    }
    let game = ends_with(&world, "inspect game", 0);
    assert!(game.contains(&format!("job {job} was cancelled by ann@")), "{game}");
    assert!(game.contains(": typo before any replica had read it"), "{game}");
    let json: serde_json::Value = serde_json::from_str(&ends_with(&world, "inspect game --json", 0)).expect("JSON");
    let known = &json["jobs"][0];
    assert_eq!((&known["source_ref"], &known["error_code"]), (&job.to_string().into(), &"cancelled".into()), "{json}");
    ends_with(&world, "inspect another", 1);
}

#[tokio::test]
async fn nothing_is_decided_about_a_job_whose_record_is_damaged_and_the_command_says_so_at_once() {
    let mut world = World::new().await;
    let record = "rtm:{game}:rec";
    world.redis(&["SET", record, "x"]).await;
    let waiting = world.send("game", "galaxy/engine:1").await;
    let began = std::time::Instant::now();
    // It could be under way: the record that would tell cannot be read.
    let said = ends_with(&world, &format!("cancel {waiting} --wait 30s"), 75);
    assert!(said.contains("marked, and not decided before this is mended") && said.contains(record), "{said}");
    assert!(said.contains("then DEL the key") && said.contains("docs/runbooks.md, A damaged record"), "{said}");
    world.replica(&[]);
    let said = ends_with(&world, &format!("cancel {waiting} --wait 30s"), 75);
    assert!(said.contains("not decided before this is mended"), "{said}");
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "it does not wait");
    world.redis(&["DEL", record]).await;
    world.settled().await;
    was_cancelled(&world, waiting).await;
    assert_eq!(world.sim_log().await.existing(), 0);
    nothing_is_left_of_attempts(&mut world).await;
}

#[tokio::test]
async fn one_of_many_waiting_jobs_is_cancelled_and_the_others_are_not() {
    let mut world = World::new().await;
    world.create_group().await;
    world.send_games("before", 20).await;
    let job = world.send("game", "galaxy/engine:1").await;
    world.send_games("after", 20).await;
    ends_with(&world, "pause", 0);
    let json = ends_with(&world, &format!("cancel {job} --json"), 0);
    let json: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!((&json["result"], &json["entry_id"]), (&"cancelled".into(), &job.to_string().into()));
    ends_with(&world, "resume", 0);
    let replicas = [world.replica(&[]), world.replica(&[])];
    world.settled().await;
    world.at_rest().await;
    was_cancelled(&world, job).await;
    let processed: usize = replicas.map(|replica| world.log(replica).processed().len()).iter().sum();
    assert_eq!((processed, world.sim_log().await.running()), (40, 40));
    assert!(world.sim_log().await.created("game").is_empty());
    ends_with(&world, "audit", 0);
}

#[tokio::test]
async fn outcomes_of_the_original_form_have_its_six_fields() {
    let mut world = World::with(&[("outcome-fields", "original")]).await;
    let job = world.send("game", "galaxy/engine:1").await;
    ends_with(&world, &format!("cancel {job} --outcome-fields original"), 0);
    let outcomes = world.entries(&world.settings.stream.results).await;
    assert_eq!(
        outcomes[0].names(),
        ["game_id", "outcome", "container_id", "engine_endpoint", "error_code", "error_message"]
    );
    assert_eq!((outcomes.len(), outcomes[0].get("error_code")), (1, "cancelled"));
}

#[tokio::test]
async fn what_cannot_be_cancelled_is_refused_in_words() {
    let mut world = World::new().await;
    for words in ["cancel g1", "cancel 17", "retry-now g1"] {
        let output = operator(&world, words);
        assert!(output.status.code() == Some(2) && stdout(&output).is_empty(), "{output:?}");
    }
    let unknown = ends_with(&world, "cancel 5-0", 1);
    assert!(unknown.contains("there is no such entry"), "{unknown}");
    let malformed = world.send_malformed().await;
    let said = ends_with(&world, &format!("cancel {malformed}"), 1);
    assert!(said.contains("it is no start job"), "{said}");
    let job = world.send("game", "galaxy/engine:1").await;
    let said = ends_with(&world, &format!("retry-now {job}"), 1);
    assert!(said.contains("no replica has read it yet"), "{said}");
    // The original worker has moved the offset past it.
    world.redis(&["SET", &world.settings.stream.offset_key, &job.to_string()]).await;
    let said = ends_with(&world, &format!("cancel {job}"), 1);
    assert!(said.contains("another program counts it as answered"), "{said}");
    world.redis(&["DEL", &world.settings.stream.offset_key]).await;

    world.replica(&[]);
    world.settled().await;
    let said = ends_with(&world, &format!("cancel {job}"), 1);
    assert!(said.contains("it had started before") && said.contains("runtime stop game"), "{said}");
    let said = ends_with(&world, &format!("retry-now {job}"), 1);
    assert!(said.contains("nothing to try again"), "{said}");
    assert_eq!(world.sim_log().await.running(), 1);
}

#[tokio::test]
async fn while_there_is_no_mark_nothing_asks_for_one() {
    let mut world = World::new().await;
    let watch = Watch::begin(world.redis.port());
    world.replica(&[]);
    world.send_games("game", 40).await;
    world.settled().await;
    world.at_rest().await;
    let seen = watch.end(world.lobby.connection()).await;
    assert!(seen.commands.len() > 40, "{}", seen.commands.len());
    let asks =
        |words: &Vec<String>| words.iter().any(|word| ["cancel:", "retry:"].iter().any(|kind| word.starts_with(kind)));
    let asking: Vec<_> = seen.commands.iter().filter(|words| asks(words)).collect();
    assert!(asking.is_empty(), "{asking:?}");
}
