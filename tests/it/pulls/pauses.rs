//! A registry that has had too many requests and says how long it wants to be left alone.

use std::time::{Duration, Instant};

use super::{Games, Stage, name_of};
use crate::support::registry::RetryAfter;

const PAUSE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn a_registry_that_asks_for_a_pause_gets_it_from_every_replica_of_the_host() {
    let Some(mut stage) = Stage::new(1).await else { return };
    stage.registry.put("team/game", "1", Games::new().image("one"));
    stage.registry.limit("team/game", 1_000, RetryAfter::Seconds(PAUSE.as_secs()));
    for _ in 0..2 {
        stage.replica(0, &[]).await;
    }
    let image = stage.registry.image("team/game");
    let jobs = [stage.world.send("a", &image).await, stage.world.send("b", &image).await];

    // The limit is on the board: from here on the registry has room again.
    let (repository, board) = (format!("~{}/team/game", stage.registry.name()), format!("rtm:pulls:{}", name_of(0)));
    let began = Instant::now();
    while stage.world.redis(&["HEXISTS", &board, &repository]).await.as_i64() != Some(1) {
        assert!(began.elapsed() < super::PATIENCE, "{}", stage.world.logs());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.registry.limit("team/game", 0, RetryAfter::Unsaid);
    let story = stage.json(&["inspect", &jobs[0].to_string()]).await;
    assert_eq!(story["pull"]["state"], "limited", "{story}\n{}", stage.world.logs());
    let until = story["pull"]["not_before_ms"].as_u64().expect("a time");
    assert!(until > stage.world.now_ms().await, "{story}");
    // An operator's wish waits like the jobs.
    let (code, text, errors) = stage.run(&["runtime", "pull", &image, "--wait", "10ms"]).await;
    assert_eq!(code, Some(75), "{text}{errors}");
    assert!(text.contains("limited") && text.contains("not asked for before"), "{text}");

    stage.answered().await;
    for job in jobs {
        let outcome = stage.world.outcome(job).await;
        assert_eq!(outcome.get("outcome"), "success", "{outcome:?}\n{}", stage.world.logs());
    }
    let requests = stage.registry.manifests("team/game");
    let refused = requests.iter().filter(|request| request.status == Some(429)).map(|request| request.at).max();
    let answered = requests.iter().filter(|request| request.status == Some(200)).map(|request| request.at).min();
    let pause = answered.expect("it was pulled") - refused.expect("it was refused");
    // The registry counts from its answer, which comes a moment after the request.
    assert!(pause + Duration::from_millis(100) >= PAUSE, "{pause:?}: {requests:?}");
    assert!(pause < PAUSE + Duration::from_secs(10), "{pause:?}: {requests:?}");
    let asked_ourselves =
        requests.iter().filter(|request| request.status == Some(429) && request.method == "HEAD").count();
    assert!(asked_ourselves >= 1, "{requests:?}");
}
