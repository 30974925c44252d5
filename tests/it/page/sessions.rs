//! Who acts: until when a session lasts, and how a name and a reason are kept.

use super::acts::{Browser, TOKEN, begun};
use super::{get, says};
use crate::support::world::World;

/// A quote, an invisible mark, and control characters.
const AWKWARD: &str = "an\"n\u{202e}\u{7}\nx";

#[tokio::test]
async fn a_copy_of_a_cookie_is_refused_after_signing_out() {
    let mut world = World::new().await;
    let mut browser = begun(&mut world).await;
    browser.login().await;
    let (code, mut copy) = (browser.code().await, Browser::new(browser.address.clone()));
    copy.cookie.clone_from(&browser.cookie);
    let pause = [("code", code.as_str()), ("reason", "x")];
    assert_eq!(copy.post("/fleet/pause", &pause).await.status, 200, "a copy is as good as the cookie");
    // Another session of the same person goes on.
    let mut other = Browser::new(browser.address.clone());
    other.login().await;
    let answer = browser.post("/logout", &[("code", &code)]).await;
    assert!(answer.headers["set-cookie"].contains("Max-Age=0"), "{answer:?}");
    assert_eq!(browser.post("/fleet/pause", &pause).await.status, 403);
    assert_eq!(copy.post("/fleet/pause", &pause).await.status, 403, "the session has ended");
    assert!(copy.get("/system").await.words().contains("Reading needs nothing"));
    let code = other.code().await;
    assert_eq!(other.post("/fleet/pause", &[("code", &code)]).await.status, 200);
    assert_eq!(get(&browser.address, "/livez").await.status, 200);
}

#[tokio::test]
async fn a_name_and_a_reason_are_escaped_once_wherever_they_are_shown() {
    let mut world = World::new().await;
    let mut browser = begun(&mut world).await;
    let login = browser.post("/login", &[("token", TOKEN), ("name", AWKWARD)]).await;
    assert_eq!(login.status, 303, "{}", login.words());
    let code = browser.code().await;
    let reason = format!("why {AWKWARD}");
    let form = [("code", code.as_str()), ("confirmed", "yes"), ("reason", &reason)];
    let paused = browser.post("/fleet/pause", &form).await;
    assert!(paused.words().contains("The fleet is paused."), "{}", paused.words());
    // In Redis it is what was given, on one line; so commands and pages escape it once.
    let key = format!("{}:paused", world.settings.stream.jobs);
    let kept = world.redis(&["HVALS", &key]).await.convert::<Vec<String>>().expect("texts").remove(0);
    let kept: serde_json::Value = serde_json::from_str(&kept).expect("an object");
    assert_eq!(kept["by"], "an\"n\u{202e}  x@page");
    assert_eq!(kept["reason"], "why an\"n\u{202e}  x");
    let events = world.entries(&format!("{}:events", world.settings.stream.jobs)).await;
    let event = events.iter().find(|event| event.get("kind") == "paused").expect("an event");
    assert_eq!((event.get("by"), event.get("text")), ("an\"n\u{202e}  x@page", "why an\"n\u{202e}  x"));
    world.logged(0, "an audit line", |log| log.with("changed on the page").any(|line| line["action"] == "pause")).await;
    let log = world.log(0);
    let line = log.with("changed on the page").find(|line| line["action"] == "pause").expect("an audit line");
    assert_eq!(
        (line["by"].as_str(), line["reason"].as_str()),
        (Some("an\"n\u{202e}  x"), Some("why an\"n\u{202e}  x"))
    );
    assert!(!log.text().contains('\u{202e}') && !log.text().contains("\\\\u"), "JSON escapes it, once");
    let shown = says(&browser.address, "/", "Paused by an").await;
    assert!(shown.body.contains("an&quot;n\\u{202e}  x@page"), "{}", shown.body);
    assert!(!shown.body.contains("&amp;quot;") && !shown.body.contains("\\\\u"), "{}", shown.body);
}
