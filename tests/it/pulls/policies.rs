//! `pull-policy`, and the limits of pulls.

use std::time::Duration;

use rustix::process::Signal;

use super::{Games, Stage};
use crate::support::registry::{Fault, RetryAfter};
use crate::support::world::Entry;

/// The code of the one outcome of a new job.
async fn outcome(stage: &mut Stage, game: &str, image: &str) -> Entry {
    let job = stage.world.send(game, image).await;
    stage.answered().await;
    stage.world.outcome(job).await
}

/// The image that a game's container was made of.
fn image_of(stage: &Stage, game: &str) -> String {
    let (_, body) =
        stage.dockerds[0].request("GET", &format!("/containers/rtm-{game}/json"), b"").expect("the engine answers");
    let found: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    found["Image"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

async fn replace(stage: &mut Stage, replica: usize, settings: &[(&str, &str)]) -> usize {
    stage.world.signal(replica, Signal::TERM);
    stage.world.ended(replica, Duration::from_secs(20)).await;
    stage.replica(0, settings).await
}

#[tokio::test]
async fn the_registry_is_asked_when_the_policy_says_so() {
    let Some(mut stage) = Stage::new(1).await else { return };
    let games = Games::new();
    let (old, new) = (games.image("old"), games.image("new"));
    stage.registry.put("team/game", "1", old);
    let image = stage.registry.image("team/game");
    let asked = |stage: &Stage| stage.registry.manifests("team/game").len();

    // Always: a tag that was moved is noticed, and a digest cannot move.
    let replica = stage.replica(0, &[("pull-policy", "always"), ("retry-attempts", "2")]).await;
    assert_eq!(outcome(&mut stage, "first", &image).await.get("outcome"), "success");
    stage.registry.put("team/game", "1", new.clone());
    let before = asked(&stage);
    assert_eq!(outcome(&mut stage, "second", &image).await.get("outcome"), "success");
    assert!(asked(&stage) > before);
    assert_ne!(image_of(&stage, "first"), image_of(&stage, "second"));
    let before = asked(&stage);
    let fixed = stage.registry.by_digest("team/game", &new);
    assert_eq!(outcome(&mut stage, "fixed", &fixed).await.get("outcome"), "success", "{}", stage.world.logs());
    assert_eq!(asked(&stage), before, "a digest that is there is not asked for");
    // An image that may be an old one is not started.
    stage.registry.limit("team/game", 1_000, RetryAfter::Unsaid);
    let refused = outcome(&mut stage, "refused", &image).await;
    assert_eq!(refused.get("error_code"), "image_pull_rate_limited", "{refused:?}");

    // Missing: what is there is started.
    let replica = replace(&mut stage, replica, &[]).await;
    let before = asked(&stage);
    assert_eq!(outcome(&mut stage, "present", &image).await.get("outcome"), "success");
    assert_eq!(asked(&stage), before);

    // Never: nothing is asked, and what is not there fails at once.
    let replica = replace(&mut stage, replica, &[("pull-policy", "never")]).await;
    stage.registry.put("team/other", "1", games.image("other"));
    let absent = stage.registry.image("team/other");
    let failed = outcome(&mut stage, "absent", &absent).await;
    assert_eq!(failed.get("error_code"), "image_not_found", "{failed:?}");
    let expected = format!("the image {absent} is not on host host-0, and pull-policy is never");
    assert_eq!(failed.get("error_message"), expected);
    assert!(stage.registry.manifests("team/other").is_empty());
    // An operator may bring it all the same.
    let pulled = stage.json(&["runtime", "pull", &absent]).await;
    assert_eq!(pulled["hosts"][0]["state"], "done", "{pulled}");
    assert_eq!(outcome(&mut stage, "brought", &absent).await.get("outcome"), "success");

    // One at a time, and none that stands still for longer than a second.
    let limits = [("pull-concurrency", "1"), ("pull-silence", "1s"), ("retry-attempts", "1")];
    replace(&mut stage, replica, &limits).await;
    for name in ["team/stuck", "team/next"] {
        stage.registry.put(name, "1", games.image(name));
    }
    stage.registry.fault("team/stuck", Fault::HangInLayer);
    let (stuck, next) = (stage.registry.image("team/stuck"), stage.registry.image("team/next"));
    let stuck_job = stage.world.send("stuck", &stuck).await;
    // Its line on the board may not say so before it ends.
    let registry = &stage.registry;
    stage.world.eventually("it is asked for", async |_| !registry.manifests("team/stuck").is_empty()).await;
    let next_job = stage.world.send("next", &next).await;
    stage.answered().await;
    let failed = stage.world.outcome(stuck_job).await;
    assert_eq!(failed.get("error_code"), "image_pull_timeout", "{failed:?}");
    assert_eq!(failed.get("error_message"), "the pull received and unpacked nothing for 1s (pull-silence)");
    assert_eq!(stage.world.outcome(next_job).await.get("outcome"), "success");
    let first_at = |name: &str| stage.registry.manifests(name).first().expect("it was asked for").at;
    assert!(first_at("team/next") - first_at("team/stuck") >= Duration::from_secs(1));
}
