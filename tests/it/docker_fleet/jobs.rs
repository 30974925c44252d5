//! One job at a time by `startjobs send --wait`, as a person would.

use startjobs::embedded::process::own_variables;
use startjobs::lobby::accounting::Sent;

use super::{
    GAME, OTHER_GAME, Value, World, assert_answers, binary, containers_of, docker, ends_well, inspect, remove,
    the_only_container, world,
};

/// Sends a job by the command and waits for its outcome: the exit code, and what it printed.
async fn send(world: &mut World, game: &str, image: &str) -> (i32, Value) {
    let mut command = tokio::process::Command::new(binary());
    for variable in own_variables() {
        command.env_remove(variable);
    }
    let url = world.redis.url();
    command.args(["send", "--game", game, "--image", image, "--wait", "--json", "--redis-url", &url]);
    let output = command.kill_on_drop(true).output().await.expect("the command runs");
    let text = String::from_utf8(output.stdout).expect("JSON is text");
    let printed: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text:?} {}", String::from_utf8_lossy(&output.stderr)));
    let id = printed["entry_id"].as_str().expect("an entry id");
    world.sent.insert(id.to_owned(), Sent::Job);
    (output.status.code().expect("it ended by itself"), printed)
}

/// A success: its code, its container and its endpoint.
fn success((exit, printed): &(i32, Value)) -> (&str, &str, &str) {
    assert_eq!((*exit, printed["outcome"].as_str()), (0, Some("success")), "{printed}");
    let text = |name: &str| printed[name].as_str().expect("every field is there");
    (text("error_code"), text("container_id"), text("engine_endpoint"))
}

#[tokio::test]
async fn a_job_sent_by_hand_answers_with_a_container_that_serves() {
    let Some(dockerd) = docker() else { return };
    let mut world = world(&dockerd, &[]).await;
    world.replica(&[]);
    let sent = send(&mut world, "game", GAME).await;
    let (code, container, endpoint) = success(&sent);
    assert_eq!(code, "");
    assert_answers(endpoint, "game").await;
    assert_eq!(the_only_container(&dockerd, "game"), container);

    let seen = inspect(&dockerd, container);
    let presences = world.presences().await;
    let owner = presences.keys().next().expect("the replica says that it is there");
    let labels = serde_json::json!({
        "rtm.game_id": "game",
        "rtm.image_ref": GAME,
        "rtm.source_ref": sent.1["entry_id"],
        "rtm.fence": "1",
        "rtm.owner": owner,
        "rtm.host": "default",
        "rtm.fleet": world.redis(&["GET", "rtm:fleet"]).await.as_string(),
    });
    assert_eq!(seen["Config"]["Labels"], labels);

    let again = send(&mut world, "game", GAME).await;
    assert_eq!(success(&again), ("replay_no_op", container, endpoint));

    let (exit, refused) = send(&mut world, "game", OTHER_GAME).await;
    assert_eq!((exit, refused["outcome"].as_str()), (1, Some("failure")), "{refused}");
    assert_eq!(refused["error_code"], "image_conflict", "{refused}");
    let message = refused["error_message"].as_str().expect("a message");
    assert!(message.contains(GAME) && message.contains(OTHER_GAME), "{message}");
    // Nothing of all this touched it.
    assert_eq!(inspect(&dockerd, container)["State"], seen["State"]);
    ends_well(&mut world).await;
}

#[tokio::test]
async fn a_game_whose_container_is_gone_can_be_started_again_with_any_image() {
    let Some(dockerd) = docker() else { return };
    let mut world = world(&dockerd, &[]).await;
    world.replica(&[]);
    let mut before = String::new();
    for image in [GAME, GAME, OTHER_GAME, GAME] {
        let sent = send(&mut world, "game", image).await;
        let (code, container, endpoint) = success(&sent);
        assert_eq!(code, "", "{image} after {before:?}");
        assert_ne!(container, before);
        assert_answers(endpoint, "game").await;
        assert_eq!(the_only_container(&dockerd, "game"), container);
        assert_eq!(inspect(&dockerd, container)["Config"]["Image"], image);
        remove(&dockerd, container);
        before = container.to_owned();
    }

    // One that has ended and is still there is replaced.
    let sent = send(&mut world, "game", GAME).await;
    let (_, ended, _) = success(&sent);
    let kill = dockerd.request("POST", &format!("/containers/{ended}/kill"), b"").expect("the engine answers");
    assert_eq!(kill.0, 204, "{kill:?}");
    let sent = send(&mut world, "game", OTHER_GAME).await;
    let (code, container, endpoint) = success(&sent);
    assert_eq!(code, "");
    assert_answers(endpoint, "game").await;
    assert_eq!(the_only_container(&dockerd, "game"), container);
    assert_eq!(containers_of(&dockerd, "game").len(), 1);
    ends_well(&mut world).await;
}
