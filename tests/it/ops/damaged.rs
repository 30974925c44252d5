//! What cannot be read is named with what to do, and the rest is shown.

use super::{json, run, stderr, stdout};
use crate::support::world::World;

/// What a command shows although something is damaged: stdout, after stderr named the key and what to do.
fn shown(world: &World, arguments: &[&str], key: &str) -> String {
    let output = run(world, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    let said = stderr(&output);
    let line = said.lines().position(|line| line.starts_with("startjobs: ") && line.contains(key));
    let line = line.unwrap_or_else(|| panic!("{arguments:?} does not name {key}: {said}"));
    let next = said.lines().nth(line + 1).unwrap_or_default();
    assert!(next.starts_with("  ") && next.len() > 20, "{arguments:?} does not say what to do: {said}");
    stdout(&output)
}

#[tokio::test]
async fn a_damaged_record_of_a_game_hides_only_itself() {
    let mut world = World::new().await;
    world.replica(&[]);
    let first = world.send("game-1", "sim/missing").await.to_string();
    world.settled().await;
    let second = world.send("game-1", "galaxy/engine:1").await.to_string();
    let other = world.send("game-2", "galaxy/engine:1").await.to_string();
    world.settled().await;
    let (record, answers) = ("rtm:{game-1}:rec", "rtm:{game-1}:res");
    for damaged in ["{\"fence\":1}", "x"] {
        world.redis(&["SET", record, damaged]).await;
        let game = shown(&world, &["inspect", "game-1"], record);
        assert!(game.starts_with("game game-1: its record cannot be read") && game.contains(&first), "{game}");
        let story = shown(&world, &["inspect", &second], record);
        assert!(story.starts_with(&format!("{second}: answered success after ")), "{story}");
        let listed = shown(&world, &["runtime", "list"], record);
        assert!(listed.contains("game-2") && !listed.contains("game-1"), "{listed}");
    }
    let listed = json(&world, &["runtime", "list"]);
    assert_eq!((&listed["unreadable"], &listed["damaged"][0]["key"]), (&1.into(), &record.into()), "{listed}");
    // Another type altogether.
    world.redis(&["DEL", record]).await;
    world.redis(&["RPUSH", record, "x"]).await;
    let game = shown(&world, &["runtime", "show", "game-1"], record);
    assert!(game.contains(&first), "{game}");
    world.redis(&["DEL", record]).await;

    let field = format!("{}/{first}", world.settings.stream.jobs);
    world.redis(&["HSET", answers, &field, "{"]).await;
    let game = shown(&world, &["inspect", "game-1"], &field);
    assert!(game.starts_with("game game-1: no record"), "{game}");
    world.redis(&["DEL", answers]).await;
    world.redis(&["SET", answers, "x"]).await;
    let story = shown(&world, &["inspect", &first], answers);
    assert!(story.starts_with(&format!("{first}: answered failure (image_not_found) after ")), "{story}");
    assert!(stderr(&run(&world, &["inspect", &other])).is_empty());
}

#[tokio::test]
async fn a_damaged_line_of_a_host_or_a_replica_hides_only_itself() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
    let replicas = format!("{}:replicas", world.settings.stream.jobs);
    world.redis(&["HSET", &replicas, "broken", "x"]).await;
    let listed = shown(&world, &["replicas"], &format!("field broken of {replicas}"));
    assert!(listed.contains("  running  "), "{listed}");
    assert_eq!(json(&world, &["replicas"])["damaged"][0]["field"], "broken");

    world.redis(&["HSET", "rtm:hosts", "odd", "x"]).await;
    let listed = shown(&world, &["runtime", "hosts"], "field odd of rtm:hosts");
    assert!(listed.contains("  alive  "), "{listed}");
    let host = json(&world, &["runtime", "hosts"])["hosts"][0]["host"].as_str().expect("a name").to_owned();
    let placed = format!("rtm:placed:{host}");
    world.redis(&["DEL", &placed]).await;
    world.redis(&["SET", &placed, "x"]).await;
    let listed = shown(&world, &["runtime", "hosts"], &placed);
    assert!(listed.contains(&host), "{listed}");
    world.redis(&["DEL", &placed, "rtm:hosts"]).await;
    world.redis(&["SET", "rtm:hosts", "x"]).await;
    let listed = shown(&world, &["runtime", "hosts"], "rtm:hosts");
    assert!(listed.starts_with("HOST"), "{listed}");
    // Neither keeps the fleet's overview from being shown.
    assert_eq!(run(&world, &["status"]).status.code(), Some(0));
}
