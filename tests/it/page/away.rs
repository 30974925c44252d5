//! Redis does not answer: every screen is answered at once from what was seen last, and nothing can be changed.

use std::time::{Duration, Instant};

use super::acts::{Browser, begun};
use super::{SCREENS, address_of, get, says, served};
use crate::support::world::World;

/// What a person does not notice as waiting.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn every_screen_is_answered_at_once_while_redis_hangs_and_nothing_can_be_changed() {
    let mut world = World::new().await;
    let mut browser: Browser = begun(&mut world).await;
    world.send_malformed().await;
    world.settled().await;
    browser.login().await;
    let code = browser.code().await;
    let more = ["/jobs/1-1", "/games/x", "/?range=24h", "/?range=30d", "/system?times=utc", "/dead?q=x"];
    for path in SCREENS.iter().chain(&more) {
        browser.get(path).await;
    }
    world.redis.pause();
    says(&browser.address, "/", "Down: Redis has not answered since").await;
    for path in SCREENS.iter().chain(&more) {
        let began = Instant::now();
        let answer = browser.get(path).await;
        let (took, words) = (began.elapsed(), answer.words());
        assert!(took < AT_ONCE, "{path} took {took:?}");
        assert!(words.contains("Redis has not answered since") && words.contains(" UTC"), "{path}: {words}");
        assert!(words.contains("Everything below is as it was at"), "{path}: {words}");
        assert!(answer.body.contains("<body class=\"stale\""), "{path}");
        let forms = answer.body.replace("action=\"/logout\"", "");
        assert!(!forms.contains("method=\"post\" action="), "{path} offers nothing that cannot be done: {words}");
    }
    let began = Instant::now();
    let refused = browser.post("/fleet/pause", &[("code", &code), ("confirmed", "yes"), ("reason", "x")]).await;
    assert!(began.elapsed() < AT_ONCE, "a form took {:?}", began.elapsed());
    assert_eq!(refused.status, 503);
    assert!(refused.words().contains("Nothing was changed: Redis does not answer"), "{}", refused.words());
    // The last alerts and findings stay, and the first finding says what is wrong now.
    let system = browser.get("/system").await.words();
    assert!(system.contains("No connection to") && system.contains("as this process found it last"), "{system}");
    world.redis.resume();
    says(&browser.address, "/", "Dead letters 1 ").await;
    world
        .eventually("it is seen again", async |_: &World| {
            let page = browser.get("/system").await;
            !page.body.contains("<body class=\"stale\"") && page.body.contains("action=\"/fleet/pause\"")
        })
        .await;
    assert_eq!(world.redis(&["EXISTS", &format!("{}:paused", world.settings.stream.jobs)]).await.as_i64(), Some(0));
}

#[tokio::test]
async fn the_runbooks_never_wait_for_redis_and_call_nothing_healthy_that_was_not_seen() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    world.redis.pause();
    let began = Instant::now();
    let answer = get(&address, "/runbooks").await;
    assert!(began.elapsed() < AT_ONCE, "took {:?}", began.elapsed());
    let words = answer.words();
    assert!(words.contains("Not known: this replica has not looked at the fleet lately"), "{words}");
    assert!(answer.body.contains("id=\"redisdown\""), "{words}");
    says(&address, "/runbooks", "Redis has not answered since").await;
    world.redis.resume();
    says(&address, "/runbooks", "Healthy").await;
}

#[tokio::test]
async fn viewers_are_told_when_redis_goes_and_when_it_is_back() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let mut viewer = super::live::Viewer::new(&address, "screen=overview").await;
    viewer.until(|text| text.contains("event: seen")).await;
    world.redis.pause();
    viewer.until(|text| text.contains("\"stale\":true") && text.contains("Everything below is as it was at")).await;
    // The sentence has a time and no age, so it is not told every second; only what the last look said may change.
    let told = viewer.text.matches("Redis has not answered since").count();
    let seen = viewer.text.matches("event: seen").count();
    viewer.until(|text| text.matches("event: seen").count() >= seen + 3).await;
    let again = viewer.text.matches("Redis has not answered since").count() - told;
    assert!(again <= 1, "told {again} times more");
    let away = viewer.text.len();
    world.redis.resume();
    viewer.until(|text| text[away..].contains("\"stale\":false")).await;
    assert_eq!(viewer.part("asof").as_deref(), Some("<div id=\"asof\"></div>"));
}

#[tokio::test]
async fn before_redis_was_ever_there_screens_wait_for_one_look_and_then_for_none() {
    let mut world = World::new().await;
    world.redis.kill();
    let number = world.replica(&[super::SERVED]);
    let address = address_of(&mut world, number).await;
    says(&address, "/", "Redis has not answered since").await;
    for path in SCREENS {
        let began = Instant::now();
        let words = get(&address, path).await.words();
        assert!(began.elapsed() < AT_ONCE, "{path} took {:?}", began.elapsed());
        assert!(words.contains("Redis has not answered since"), "{path}: {words}");
    }
}
