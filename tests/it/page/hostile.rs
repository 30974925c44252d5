//! What others wrote is text on every screen, and never anything else.

use super::{SCREENS, encoded, get, holds, says, served};
use crate::support::world::World;

/// Tries to be a tag, an attribute, an entity, and to turn the direction of writing.
const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&lt;\u{202e}\u{1b}[31m\u{7}\r\nx";

fn assert_tame(path: &str, html: &str) {
    let lower = html.to_lowercase();
    assert_eq!(lower.matches("<script").count(), 1, "{path} has one script of its own: {html}");
    assert!(!lower.contains("<img") && !lower.contains("alert(1)</script"), "{path}: {html}");
    let is_wild = |letter: char| (letter.is_control() && letter != '\n') || letter == '\u{202e}';
    assert!(!html.contains(is_wild), "{path} has what is not plainly visible");
}

/// A fleet with evil in every field; where its page is, and the paths at which it is.
pub async fn fleet(world: &mut World) -> (String, Vec<String>) {
    let address = served(world, &[]).await;
    let streams = world.settings.stream.clone();
    // A job that is held by a consumer of an evil name, with an evil presence, under an evil pause.
    world.redis(&["HSET", &format!("{}:paused", streams.jobs), "at_ms", "5", "by", EVIL, "reason", EVIL]).await;
    holds(world).await;
    let held = world.lobby.append(EVIL, EVIL, 17).await.expect("appended").to_string();
    world.read_as(EVIL, "1").await;
    let about = serde_json::json!({"host": EVIL, "version": EVIL, "engine": EVIL, "engine_host": EVIL, "pid": 1});
    let now = world.now_ms().await;
    for state in ["running", "left"] {
        let presence = format!("{now} {state} {about}");
        world.redis(&["HSET", &format!("{}:replicas", streams.jobs), &format!("{EVIL}{state}"), &presence]).await;
    }
    let lost = format!("1 running {about}");
    world.redis(&["HSET", &format!("{}:replicas", streams.jobs), EVIL, &lost]).await;
    // An answer and a dead letter with evil in every field.
    let answered = world.lobby.append("game-1", "galaxy/engine:1", 17).await.expect("appended").to_string();
    world.read_as("reader", "1").await;
    world.redis(&["XACK", &streams.jobs, &streams.group, &answered]).await;
    let outcome =
        ["source_ref", &answered, "game_id", EVIL, "outcome", EVIL, "error_code", EVIL, "error_message", EVIL];
    world.redis(&[&["XADD", streams.results.as_str(), "*"], &outcome[..]].concat()).await;
    let head = ["source_ref", &answered, "reason", EVIL, "detail", EVIL, "deliveries", EVIL, "crashes", EVIL];
    world.redis(&[&["XADD", streams.dead.as_str(), "*"], &head[..], &["game_id", EVIL]].concat()).await;
    let event = ["kind", EVIL, "job", &answered, "game_id", EVIL, "code", EVIL, "text", EVIL, "by", EVIL, "host", EVIL];
    world.redis(&[&["XADD", &format!("{}:events", streams.jobs), "*"], &event[..]].concat()).await;

    says(&address, "/", "1").await;
    let evil_path = encoded(EVIL);
    let more = [
        format!("/jobs/{held}"),
        format!("/jobs/{answered}"),
        format!("/jobs/{evil_path}"),
        format!("/games/{evil_path}"),
        format!("/jobs?q={evil_path}&state={evil_path}&after={evil_path}&image={evil_path}"),
        format!("/dead?q={evil_path}&reason={evil_path}&code={evil_path}"),
        format!("/?range={evil_path}&times={evil_path}"),
    ];
    (address, SCREENS.iter().map(|&path| path.to_owned()).chain(more).collect())
}

#[tokio::test]
async fn every_field_that_others_write_is_escaped_on_every_screen() {
    let mut world = World::new().await;
    let (address, paths) = fleet(&mut world).await;
    for path in &paths {
        assert_tame(path, &get(&address, path).await.body);
    }
    let jobs = get(&address, "/jobs").await.body;
    assert!(jobs.contains("<bdi") && jobs.contains("&lt;script&gt;") && jobs.contains("\\u{202e}"), "{jobs}");
}

#[tokio::test]
async fn very_many_and_very_long_things_make_no_endless_page() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let streams = world.settings.stream.clone();
    world.redis(&["SET", &format!("{}:paused", streams.jobs), "x"]).await;
    holds(&mut world).await;
    let long = "l".repeat(40_000);
    for number in 0..300 {
        world.lobby.append(&format!("{number}{long}"), &long, 17).await.expect("appended");
        world.redis(&["XADD", &streams.dead, "*", "game_id", &long]).await;
    }
    world.read_as("reader", "300").await;
    for path in SCREENS.iter().filter(|&&path| path != "/runbooks") {
        let answer = get(&address, path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.len() < 256 * 1024, "{path} has {} bytes", answer.body.len());
    }
    // From one page to the next, until all were seen.
    let (mut path, mut rows, mut pages) = ("/jobs".to_owned(), 0, 0);
    loop {
        let page = get(&address, &path).await.body;
        rows += page.matches("class=\"lead\"").count().checked_sub(1).unwrap_or_else(|| panic!("{path}: {page}"));
        pages += 1;
        let Some((before, _)) = page.split_once("\">The next ") else { break };
        let (_, query) = before.rsplit_once("href=\"").expect("it is a link");
        path = format!("/jobs{}", query.replace("&amp;", "&"));
    }
    assert_eq!((rows, pages), (300, 6));
}
