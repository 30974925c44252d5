//! Lists with a script: rows stay in their places, show what becomes of them, and newer ones are counted.

use super::live::Viewer;
use super::{get, holds, says, served};
use crate::support::world::World;

/// The query of the events of a page, as its script asks for them.
async fn events_of(address: &str, path: &str) -> String {
    let page = get(address, path).await.body;
    let (_, rest) = page.split_once("data-events=\"/events?").unwrap_or_else(|| panic!("{path}: {page}"));
    rest.split('"').next().expect("an end").replace("&amp;", "&")
}

async fn pause(world: &World, is_paused: bool) {
    let key = format!("{}:paused", world.settings.stream.jobs);
    if is_paused {
        world.redis(&["SET", &key, "x"]).await;
    } else {
        world.redis(&["DEL", &key]).await;
    }
}

#[tokio::test]
async fn rows_of_jobs_show_what_becomes_of_them_and_newer_ones_are_counted() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    pause(&world, true).await;
    holds(&mut world).await;
    let good = world.send("game-good", "galaxy/engine:1").await;
    let bad = world.send("game-bad", "sim/missing").await;
    let list = says(&address, "/jobs?state=waiting", "game-good").await;
    assert!(list.body.contains(&format!("id=\"state-{good}\"")) && list.body.contains("id=\"newer\""));
    let query = events_of(&address, "/jobs?state=waiting").await;
    assert!(query.contains("screen=jobs") && query.contains(&format!("&id={good}")), "{query}");
    let mut viewer = Viewer::new(&address, &query).await;
    viewer.until(|text| text.contains("\"id\":\"newer\"")).await;
    assert_eq!(viewer.part("newer").as_deref(), Some("<div class=\"end\" id=\"newer\"></div>"));
    let shown = viewer.part(&format!("state-{good}")).expect("the row is renewed");
    assert!(list.body.contains(&shown), "a cell is what the page has: {shown}");
    // What comes later moves nothing.
    world.send("game-later", "galaxy/engine:1").await;
    world.send("game-last", "galaxy/engine:1").await;
    viewer.until(|text| text.contains("2 newer: show")).await;
    assert!(!viewer.text.contains("game-later"), "rows do not come by themselves");
    assert!(viewer.part("newer").is_some_and(|part| part.contains("href=\"/jobs?state=waiting\"")));
    pause(&world, false).await;
    world.settled().await;
    viewer.until(|text| text.contains(">answered<") && text.contains(">failed<")).await;
    let part = |kind: &str, id| viewer.part(&format!("{kind}-{id}")).unwrap_or_default();
    assert!(part("state", good).contains("answered") && part("tell", good).contains(&format!("/jobs/{good}")));
    assert!(part("state", bad).contains("failed") && part("tell", bad).contains("image_not_found"));
    // Nothing comes again while nothing changes.
    let (told, seen) = (viewer.text.matches("event: part").count(), viewer.text.matches("event: seen").count());
    viewer.until(|text| text.matches("event: seen").count() >= seen + 5).await;
    let more: Vec<&str> = viewer.text.split("event: part").skip(told + 1).collect();
    assert!(!more.iter().any(|part| part.contains("state-") || part.contains("tell-")), "{more:?}");
}

#[tokio::test]
async fn rows_of_dead_letters_show_that_they_are_gone_and_newer_ones_are_counted() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    for _ in 0..3 {
        world.send_malformed().await;
    }
    world.settled().await;
    let ids: Vec<String> =
        world.entries(&world.settings.stream.dead).await.into_iter().map(|letter| letter.id).collect();
    let query = events_of(&address, "/dead?reason=malformed").await;
    let mut viewer = Viewer::new(&address, &query).await;
    viewer.until(|text| text.contains("\"id\":\"newer\"")).await;
    world.send_malformed().await;
    world.settled().await;
    viewer.until(|text| text.contains("1 newer: show")).await;
    assert!(!viewer.text.contains("not here any more"), "all are still there");
    world.redis(&["XDEL", &world.settings.stream.dead, &ids[1]]).await;
    viewer.until(|text| text.contains("not here any more")).await;
    assert!(viewer.part(&format!("state-{}", ids[1])).is_some() && viewer.part(&format!("state-{}", ids[0])).is_none());
    // A later page has no newer ones.
    let mut later = Viewer::new(&address, &format!("{query}&after={}", ids[0])).await;
    later.until(|text| text.contains("\"id\":\"newer\"")).await;
    assert!(!later.text.contains("newer: show"));
}

#[tokio::test]
async fn a_viewer_may_name_any_rows_and_breaks_nothing() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let many = "&id=1-1".repeat(300);
    for query in [
        format!("screen=jobs&from=x&id=x&id=%00&id=18446744073709551615-18446744073709551615{many}"),
        format!("screen=dead&from=18446744073709551615&id=0-0&reason=%22&q=%3Cb%3E{many}"),
        "screen=dead&from=-1".to_owned(),
    ] {
        let mut viewer = Viewer::new(&address, &query).await;
        viewer.until(|text| text.matches("event: seen").count() >= 2).await;
    }
    assert_eq!(get(&address, &format!("/events?screen=jobs&q={}", "x".repeat(7_000))).await.status, 414);
    assert_eq!(get(&address, "/livez").await.status, 200);
}
