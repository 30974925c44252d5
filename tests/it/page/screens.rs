//! Every screen of a fleet at work.

use super::{SCREENS, get, says, served};
use crate::support::world::World;

/// Every element of HTML that has no content.
const VOID: [&str; 6] = ["<meta", "<link", "<input", "<!DOCTYPE", "<path", "<line"];

/// Each tag that is opened is closed, in order.
fn assert_nested(path: &str, html: &str) {
    let mut open: Vec<&str> = Vec::new();
    for (at, _) in html.match_indices('<') {
        let tag = &html[at..=at + html[at..].find('>').unwrap_or_else(|| panic!("{path}: a tag without its end"))];
        let name = tag.trim_start_matches(['<', '/']).split([' ', '>', '/']).next().unwrap_or_default();
        if let Some(closed) = tag.strip_prefix("</") {
            let opened = open.pop().unwrap_or_else(|| panic!("{path}: {closed} closes nothing"));
            assert_eq!(opened, name, "{path}: {}", &html[at.saturating_sub(200)..at]);
        } else if !tag.ends_with("/>") && !VOID.iter().any(|void| tag.starts_with(void)) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{path}: {open:?} stay open");
}

#[tokio::test]
async fn every_screen_is_a_whole_page_with_its_policy_and_without_script_or_style_inside() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    world.send("game-1", "galaxy/engine:1").await;
    let job = world.send("game-2", "sim/fail").await;
    world.send_malformed().await;
    world.settled().await;
    let more = [format!("/jobs/{job}"), "/games/game-1".to_owned()];
    for path in SCREENS.iter().copied().chain(more.iter().map(String::as_str)) {
        let answer = get(&address, path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let header = |name: &str| answer.headers.get(name).map(String::as_str).unwrap_or_default();
        let policy = header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert_eq!(header("refresh"), "", "{path} is loaded again only where that is asked for");
        let html = &answer.body;
        assert_eq!(html.matches("<h1").count(), 1, "{path} has one heading");
        for inside in [" style=", "<style", "onclick", "javascript:", "http://", "https://"] {
            let of_logo = html.replace("http://www.w3.org/2000/svg", "").replace("http://rtm-", "");
            assert!(!of_logo.contains(inside), "{path} has {inside}");
        }
        assert_eq!(html.matches("<script").count(), 1, "{path} has the one script, by its name");
        for part in ["<html lang=\"en\">", "class=\"skip\"", "<main id=\"main\"", "<nav ", "id=\"health\"", "<footer"] {
            assert!(html.contains(part), "{path} lacks {part}");
        }
        assert_nested(path, html);
    }
}

#[tokio::test]
async fn what_a_page_names_is_there_and_may_be_kept() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let page = get(&address, "/").await.body;
    let mut names = 0;
    for (at, _) in page.match_indices("\"/page.") {
        let path = page[at + 1..].split('"').next().expect("an end");
        let asset = get(&address, path).await;
        assert_eq!((asset.status, asset.headers["cache-control"].contains("immutable")), (200, true), "{path}");
        assert!(asset.headers.contains_key("content-security-policy") && asset.body.len() > 100, "{path}");
        names += 1;
    }
    assert_eq!(names, 3, "stylesheet, script and logo");
    assert_eq!(get(&address, "/page.0000000000000000.css").await.status, 404);
}

#[tokio::test]
async fn the_way_of_a_job_is_found_from_the_page_alone() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let good = world.send("game-good", "galaxy/engine:1").await;
    let bad = world.send_malformed().await;
    let failed = world.send("game-failed", "sim/missing").await;
    world.settled().await;
    // What its code means is written, and on the page.
    let answered = says(&address, &format!("/jobs/{failed}"), "Answered: failure").await;
    assert!(answered.body.contains("href=\"/runbooks#error-codes\""), "{}", answered.words());
    let runbooks = get(&address, "/runbooks").await.body;
    assert!(runbooks.contains("id=\"error-codes\"") && runbooks.contains("image_not_found"));
    let story = says(&address, &format!("/jobs/{good}"), "Answered: success").await;
    assert!(story.words().contains("game-good") && story.body.contains("startjobs inspect"), "{}", story.words());
    // Its course: shapes without words.
    let (_, fall) = story.body.split_once("<svg class=\"fall\"").expect("it is drawn");
    let fall = fall.split_once("</svg>").expect("an end").0;
    assert!(fall.contains("class=\"w-work\"") && !fall.contains("<text"), "{fall}");
    assert!(fall.contains("<title>until it was answered with success, "), "{fall}");
    assert!(
        !get(&address, "/jobs/1-1").await.body.contains("<svg class=\"fall\""),
        "nothing is drawn of what is not known"
    );
    let game = get(&address, "/games/game-good").await;
    assert!(game.words().contains("running since") && game.body.contains(&format!("/jobs/{good}")), "{}", game.words());
    let dead = get(&address, "/dead").await;
    assert!(dead.words().contains("1 is malformed") && dead.body.contains(&format!("/jobs/{bad}")), "{}", dead.words());
    assert!(get(&address, &format!("/jobs/{bad}")).await.words().contains("Put it back"));
    let replicas = get(&address, "/replicas").await;
    assert!(replicas.words().contains("running") && replicas.words().contains("of 64"), "{}", replicas.words());
    // What a search leads to.
    let search = get(&address, "/jobs?q=game-good").await;
    assert!(search.body.contains("href=\"/games/game-good\""), "{}", search.words());
    let search = get(&address, &format!("/jobs?q={good}")).await;
    assert!(search.body.contains(&format!("href=\"/jobs/{good}\"")), "{}", search.words());
    for (path, words) in
        [("/jobs/1-1", "No such entry"), ("/jobs/nonsense", "is no id"), ("/games/unknown", "no record")]
    {
        let answer = get(&address, path).await;
        assert!(answer.status == 404 && answer.words().contains(words), "{path}: {}", answer.words());
    }
}

#[tokio::test]
async fn times_are_written_as_people_have_chosen_and_pages_are_loaded_again_only_when_asked() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let ages = get(&address, "/replicas").await;
    assert!(ages.body.contains("data-ago") && !ages.headers.contains_key("set-cookie"), "{ages:?}");
    let chosen = get(&address, "/replicas?times=utc").await;
    assert!(chosen.headers["set-cookie"].starts_with("times=utc; "), "{chosen:?}");
    let kept = super::ask(&address, "GET", "/replicas", &[("Host", &address), ("Cookie", "a=b; times=utc")]).await;
    for answer in [&chosen, &kept] {
        assert!(!answer.body.contains("data-ago") && answer.body.contains(" UTC</time>"), "{}", answer.words());
    }
    let again = get(&address, "/?refresh=10").await;
    assert_eq!(again.headers["refresh"], "10");
    assert!(!again.body.contains("data-events"), "a page that loads itself again is not told of changes");
    for (asked, given) in [("0", Some("5")), ("999999", Some("300")), ("x", None), ("-1", None)] {
        let answer = get(&address, &format!("/?refresh={asked}")).await;
        assert_eq!(answer.headers.get("refresh").map(String::as_str), given, "{asked}");
    }
}

#[tokio::test]
async fn every_alert_has_its_runbook_on_the_page() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let runbooks = get(&address, "/runbooks").await.body;
    let system = get(&address, "/system").await.body;
    let mut seen = 0;
    for (at, _) in system.match_indices("/runbooks#") {
        let anchor = system[at + "/runbooks#".len()..].split('"').next().expect("an end");
        assert!(runbooks.contains(&format!("id=\"{anchor}\"")), "no runbook {anchor}");
        seen += 1;
    }
    assert!(seen >= startjobs::ops::alerts::rules::ALL.len(), "each alert names its runbook: {seen}");
}
