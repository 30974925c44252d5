//! A dead letter that was put back: its story goes on with the new job, in both directions.

use super::{json, run, stdout, text};
use crate::support::world::World;

/// Puts back the only dead letter there is; the id of the new job.
fn requeue(world: &World, id: &str) -> String {
    let said = text(world, &["dead", "requeue", id, "--yes"]);
    said.split_whitespace().nth(3).expect("the new id").to_owned()
}

#[tokio::test]
async fn a_requeued_job_and_its_successors_name_each_other() {
    let mut world = World::new().await;
    world.replica(&[]);
    let first = world.send_malformed().await.to_string();
    world.settled().await;
    let second = requeue(&world, &first);
    world.eventually("it is dead again", async |world: &World| dead(world) == 1).await;
    let third = requeue(&world, &second);
    world.eventually("and again", async |world: &World| dead(world) == 1).await;

    let story = json(&world, &["inspect", &first]);
    assert_eq!(story["stage"], "settled", "{story}");
    let steps: Vec<&str> =
        story["requeued_as"].as_array().expect("a list").iter().filter_map(|step| step["to"].as_str()).collect();
    assert_eq!(steps, [&second, &third], "{story}");
    assert!(story["requeued_as"][0]["by"].as_str().is_some_and(|by| by.starts_with("op@")), "{story}");
    assert_eq!(
        (&story["requeued_as"][0]["reason"], &story["requeued_from"]),
        (&"malformed".into(), &serde_json::json!([]))
    );
    assert_eq!(
        (&story["successor"]["entry_id"], &story["successor"]["stage"]),
        (&third.as_str().into(), &"settled".into())
    );
    let told = text(&world, &["inspect", &first]);
    assert!(
        told.starts_with(&format!("{first}: it became a dead letter (malformed); requeued as {second} by op@")),
        "{told}"
    );
    assert!(told.contains(&format!(", and again as {third} by op@")), "{told}");
    assert!(told.contains(&format!("; {third}: not answered: dead letter malformed\n")), "{told}");
    assert!(!told.contains("its outcome was removed"), "{told}");

    let told = text(&world, &["inspect", &third]);
    assert!(told.contains(&format!("; it is {second} again, requeued by op@")), "{told}");
    let story = json(&world, &["inspect", &third]);
    let from: Vec<&str> =
        story["requeued_from"].as_array().expect("a list").iter().filter_map(|step| step["from"].as_str()).collect();
    assert_eq!(from, [&first, &second], "{story}");
    assert_eq!(story["successor"], serde_json::Value::Null);

    // The dead letter's own id leads there, too.
    let letter =
        json(&world, &["inspect", &first])["requeued_as"][0]["dead_letter_id"].as_str().expect("an id").to_owned();
    let told = text(&world, &["inspect", &letter]);
    assert!(
        told.starts_with(&format!("{letter}: a dead letter (malformed) of {first}; requeued as {second}")),
        "{told}"
    );

    // An audit follows the same links: each of the three is accounted for.
    let audit = json(&world, &["audit", "--engine", "simulated"]);
    assert_eq!((&audit["is_clean"], &audit["counts"]["requeued"]), (&true.into(), &2.into()), "{audit}");

    // Where the log is gone, the new job still says from where it came.
    world.redis(&["DEL", &format!("{}:requeued", world.settings.stream.dead)]).await;
    let told = text(&world, &["inspect", &third]);
    assert!(
        told.contains(&format!("; it is {first} again, requeued")) || told.contains(&format!("{second} again")),
        "{told}"
    );
}

fn dead(world: &World) -> usize {
    json(world, &["dead", "list"])["dead_letters"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn a_requeued_failure_keeps_its_answer_and_shows_the_new_one() {
    let mut world = World::with(&[("retry-attempts", "1")]).await;
    world.replica(&[]);
    let id = world.send("game-1", "sim/retry").await.to_string();
    world.settled().await;
    let next = requeue(&world, &id);
    world
        .eventually("the new one is answered", async |world: &World| {
            json(world, &["inspect", &next])["outcome"].is_object()
        })
        .await;
    let told = text(&world, &["inspect", &id]);
    assert!(told.starts_with(&format!("{id}: answered failure (")), "{told}");
    assert!(told.contains(&format!("; requeued as {next} by op@")), "{told}");
    assert!(told.contains(&format!("; {next}: answered failure (")), "{told}");
    assert!(told.contains("  requeued   ") || told.contains("  requeued  "), "a moment of its own: {told}");
    // Numbers are numbers.
    let story = json(&world, &["inspect", &next]);
    for (of, name) in [("outcome", "attempt"), ("outcome", "finished_at_ms"), ("dead_letter", "deliveries")] {
        assert!(story[of][name].is_u64(), "{of} {name}: {story}");
    }
}

#[tokio::test]
async fn a_log_of_links_that_is_none_hides_only_itself() {
    let mut world = World::new().await;
    world.replica(&[]);
    let id = world.send("game-1", "galaxy/engine:1").await.to_string();
    world.settled().await;
    let links = format!("{}:requeued", world.settings.stream.dead);
    world.redis(&["SET", &links, "x"]).await;
    let output = run(&world, &["inspect", &id]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(stdout(&output).starts_with(&format!("{id}: answered success after ")), "{output:?}");
    assert!(super::stderr(&output).contains(&format!("startjobs: {links} cannot be read: ")), "{output:?}");
}
