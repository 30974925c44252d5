//! Changing something on the page: with the token, after a question, and never for another site.

use std::fs;

use super::{Answer, encoded, exchange, get, holds, says, served};
use crate::support::world::World;

/// What the file holds.
pub const TOKEN: &str = "sesame-opens-this-door-0123456789";

/// A browser that keeps its cookie.
pub struct Browser {
    /// Where the page is.
    pub address: String,
    /// What it was given.
    pub cookie: String,
}

impl Browser {
    /// One that has not said the token yet.
    pub fn new(address: String) -> Self {
        Self { address, cookie: String::new() }
    }

    /// Sends a form.
    pub async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        let origin = format!("http://{}", self.address);
        let answer = self.post_from(&origin, path, form).await;
        if let Some(cookie) = answer.headers.get("set-cookie") {
            cookie.split(';').next().expect("a value").clone_into(&mut self.cookie);
        }
        answer
    }

    /// Says the token, as ann.
    pub async fn login(&mut self) {
        let answer = self.post("/login", &[("token", TOKEN), ("name", "ann")]).await;
        assert_eq!(answer.status, 303, "{}", answer.words());
    }

    async fn post_from(&self, origin: &str, path: &str, form: &[(&str, &str)]) -> Answer {
        let pairs: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let body = pairs.join("&");
        let (address, cookie) = (&self.address, &self.cookie);
        let origin = if origin.is_empty() { String::new() } else { format!("Origin: {origin}\r\n") };
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\n{origin}Cookie: {cookie}\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Answer::read(&exchange(address, request.as_bytes()).await)
    }

    /// Gets a path.
    pub async fn get(&self, path: &str) -> Answer {
        super::ask(&self.address, "GET", path, &[("Host", &self.address), ("Cookie", &self.cookie)]).await
    }

    /// The code that forms of this session hold.
    pub async fn code(&self) -> String {
        let page = self.get("/system").await.body;
        let (_, rest) = page.split_once("name=\"code\" value=\"").unwrap_or_else(|| panic!("no form: {page}"));
        rest.split('"').next().expect("an end").to_owned()
    }
}

/// A fleet whose page may be acted on, and a browser that has not said the token yet.
pub async fn begun(world: &mut World) -> Browser {
    let file = world.directory.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).expect("written");
    let address = served(world, &[("admin-token-file", file.to_str().expect("a path"))]).await;
    Browser::new(address)
}

/// What the line of health above a screen says.
fn banner(answer: &Answer) -> String {
    let (_, rest) = answer.body.split_once("class=\"mini\"").unwrap_or_else(|| panic!("no banner: {answer:?}"));
    let html = rest.split_once("</section>").expect("an end").0;
    Answer { status: 200, headers: answer.headers.clone(), body: format!("<p{html}") }.words()
}

async fn dead_ids(world: &World) -> Vec<String> {
    world.entries(&world.settings.stream.dead).await.into_iter().map(|entry| entry.id).collect()
}

#[tokio::test]
async fn without_the_token_nothing_is_offered_and_nothing_is_done() {
    let mut world = World::new().await;
    let mut browser = begun(&mut world).await;
    world.send_malformed().await;
    world.settled().await;
    let id = dead_ids(&world).await.remove(0);
    let dead = browser.get("/dead").await;
    assert!(!dead.body.contains("<form method=\"post\"") && dead.body.contains("Sign in"), "{}", dead.words());
    for path in ["/dead/requeue", "/dead/remove", "/fleet/pause", "/fleet/resume", "/logout"] {
        let form = [("id", id.as_str()), ("confirmed", "yes"), ("reason", "x"), ("code", "")];
        assert_eq!(browser.post(path, &form).await.status, 403, "{path}");
        assert_eq!(browser.get(path).await.status, 303, "{path} is no screen");
    }
    for (token, name) in [("wrong", "ann"), ("", "ann"), (TOKEN, " ")] {
        let answer = browser.post("/login", &[("token", token), ("name", name)]).await;
        assert_eq!((answer.status, browser.cookie.as_str()), (403, ""), "{}", answer.words());
    }
    assert_eq!(dead_ids(&world).await, [id]);
    assert!(!world.log(0).text().contains(TOKEN));
}

#[tokio::test]
async fn dead_letters_are_put_back_and_removed_after_a_question() {
    let mut world = World::new().await;
    let mut browser = begun(&mut world).await;
    for _ in 0..3 {
        world.send_malformed().await;
    }
    world.settled().await;
    let ids = dead_ids(&world).await;
    let login = browser.post("/login", &[("token", TOKEN), ("name", "ann")]).await;
    assert_eq!((login.status, login.headers["location"].as_str()), (303, "/system#access"));
    let cookie = &login.headers["set-cookie"];
    assert!(cookie.contains("HttpOnly; SameSite=Strict") && !cookie.contains(TOKEN), "{cookie}");
    let code = browser.code().await;
    let dead = browser.get("/dead").await;
    assert!(
        dead.body.contains(&format!("value=\"{}\"", ids[0])) && dead.words().contains("Requeue"),
        "{}",
        dead.words()
    );
    // Asked first.
    let chosen = [("code", code.as_str()), ("id", ids[0].as_str())];
    let question = browser.post("/dead/requeue", &chosen).await;
    assert!(question.words().contains("Put 1 dead letter back?"), "{}", question.words());
    assert_eq!(dead_ids(&world).await.len(), 3, "nothing has changed yet");
    let confirmed = [("code", code.as_str()), ("id", ids[0].as_str()), ("confirmed", "yes"), ("reason", "INC-42")];
    let done = browser.post("/dead/requeue", &confirmed).await;
    assert!(done.words().contains("1 of 1 dead letter put back"), "{}", done.words());
    let again = browser.post("/dead/requeue", &confirmed).await;
    assert!(again.words().contains("0 of 1") && again.words().contains("no dead letter any more"), "{}", again.words());
    let confirmed = [("code", code.as_str()), ("id", ids[1].as_str()), ("id", ids[2].as_str()), ("confirmed", "yes")];
    let done = browser.post("/dead/remove", &confirmed).await;
    assert!(done.words().contains("2 of 2 dead letters removed"), "{}", done.words());
    let kept = dead_ids(&world).await;
    assert!(!kept.contains(&ids[0]) && !kept.contains(&ids[1]) && !kept.contains(&ids[2]), "{kept:?}");
    world.logged(0, "changed on the page", |log| log.count("changed on the page") >= 4).await;
    let log = world.log(0);
    let line = log.with("changed on the page").find(|line| line["action"] == "requeue").expect("an audit line");
    assert_eq!((line["by"].as_str(), line["reason"].as_str()), (Some("ann"), Some("INC-42")));
    assert!(line["ids"].as_str().is_some_and(|text| text == ids[0]), "{line}");
    assert!(!log.text().contains(TOKEN));
    says(&browser.address, "/", "ann@page requeued the dead letter").await;
}

#[tokio::test]
async fn many_are_removed_only_with_their_count_in_a_persons_own_hand() {
    let mut world = World::new().await;
    let mut browser = begun(&mut world).await;
    for _ in 0..10 {
        world.send_malformed().await;
    }
    world.settled().await;
    browser.login().await;
    let (code, ids) = (browser.code().await, dead_ids(&world).await);
    let mut form: Vec<(&str, &str)> = ids.iter().map(|id| ("id", id.as_str())).collect();
    form.extend([("code", code.as_str()), ("confirmed", "yes")]);
    let question = browser.post("/dead/remove", &form).await;
    assert!(question.words().contains("Type their number, 10"), "{}", question.words());
    assert_eq!(dead_ids(&world).await.len(), 10);
    form.push(("count", "10"));
    let done = browser.post("/dead/remove", &form).await;
    assert!(done.words().contains("10 of 10"), "{}", done.words());
    assert_eq!(dead_ids(&world).await.len(), 0);
}

#[tokio::test]
async fn the_fleet_is_paused_with_a_reason_and_resumed() {
    let mut world = World::new().await;
    let mut browser = begun(&mut world).await;
    browser.login().await;
    let code = browser.code().await;
    let unreasoned = browser.post("/fleet/pause", &[("code", &code), ("confirmed", "yes")]).await;
    assert!(unreasoned.words().contains("Pause the whole fleet?"), "{}", unreasoned.words());
    let paused = browser.post("/fleet/pause", &[("code", &code), ("confirmed", "yes"), ("reason", "INC-42")]).await;
    assert!(paused.words().contains("The fleet is paused."), "{}", paused.words());
    assert!(banner(&paused).starts_with("Paused by ann@page"), "{}", banner(&paused));
    let overview = says(&browser.address, "/", "Paused by ann@page").await;
    assert!(overview.words().contains("INC-42"), "{}", overview.words());
    let asked = browser.post("/fleet/resume", &[("code", &code)]).await;
    assert!(asked.words().contains("Resume the fleet?"), "{}", asked.words());
    let resumed = browser.post("/fleet/resume", &[("code", &code), ("confirmed", "yes")]).await;
    assert!(!banner(&resumed).contains("Paused"), "{}", banner(&resumed));
    says(&browser.address, "/", "ann@page resumed the fleet").await;
    world.send("game-1", "galaxy/engine:1").await;
    world.settled().await;
}

#[tokio::test]
async fn a_job_that_backs_off_is_tried_again_and_one_is_cancelled_with_who_did_it_in_the_story() {
    let mut world = World::with(&[("retry-min", "10m"), ("retry-max", "10m"), ("retry-attempts", "3")]).await;
    let mut browser = begun(&mut world).await;
    browser.login().await;
    let code = browser.code().await;
    let job = world.send("stuck", "sim/retry").await;
    let story = format!("/jobs/{job}");
    says(&browser.address, &story, "backing off").await;
    let shown = browser.get(&story).await.words();
    assert!(shown.contains("Try it again now\u{2026}") && shown.contains("Cancel it\u{2026}"), "{shown}");
    let (retry, cancel) = (format!("{story}/retry-now"), format!("{story}/cancel"));
    let asked = browser.post(&retry, &[("code", &code)]).await.words();
    assert!(asked.contains("Try this job again now?"), "{asked}");
    let told = browser.post(&retry, &[("code", &code), ("confirmed", "yes")]).await.words();
    assert!(told.contains("does not wait any longer"), "{told}");
    says(&browser.address, &story, "failed 2 times").await;
    says(&browser.address, &story, "ann@page had the job tried again at once").await;
    let attempts = browser.get(&story).await.words().matches("An attempt failed").count();
    assert_eq!(attempts, 2, "each attempt is told once");
    let drawn = browser.get(&story).await.body;
    assert!(
        drawn.matches("<rect class=\"w-fail\"").count() >= 2 && drawn.contains("<rect class=\"w-pause\""),
        "{drawn}"
    );
    assert!(drawn.contains("<title>until attempt 2 failed, "), "{drawn}");
    let asked = browser.post(&cancel, &[("code", &code)]).await.words();
    assert!(asked.contains("Cancel this job?") && asked.contains("stuck"), "{asked}");
    let confirmed = [("code", code.as_str()), ("confirmed", "yes"), ("reason", "INC-42")];
    let told = browser.post(&cancel, &confirmed).await.words();
    assert!(told.contains("Cancelled."), "{told}");
    assert_eq!(world.outcome(job).await.get("error_code"), "cancelled");
    says(&browser.address, &story, "ann@page asked to cancel the job (INC-42)").await;
    let again = browser.post(&cancel, &confirmed).await.words();
    assert!(again.contains("Nothing was changed."), "{again}");
    let over = browser.get(&story).await.words();
    assert!(!over.contains("Try it again now") && !over.contains("Cancel it"), "{over}");
    let log = world.log(0);
    let line = log.with("changed on the page").find(|line| line["action"] == "cancel").expect("an audit line");
    assert_eq!((line["by"].as_str(), line["reason"].as_str()), (Some("ann"), Some("INC-42")));
}

#[tokio::test]
async fn a_job_that_nothing_reads_is_cancelled_on_the_page_and_offers_no_retry() {
    let mut world = World::new().await;
    let mut browser = begun(&mut world).await;
    browser.login().await;
    let code = browser.code().await;
    browser.post("/fleet/pause", &[("code", &code), ("confirmed", "yes"), ("reason", "INC-42")]).await;
    holds(&mut world).await;
    let job = world.send("waits", "galaxy/engine:1").await;
    let story = format!("/jobs/{job}");
    let shown = browser.get(&story).await.words();
    assert!(shown.contains("Cancel it\u{2026}") && !shown.contains("Try it again now"), "{shown}");
    let refused = browser.post(&format!("{story}/retry-now"), &[("code", &code), ("confirmed", "yes")]).await.words();
    assert!(refused.contains("Nothing was changed."), "{refused}");
    let confirmed = [("code", code.as_str()), ("confirmed", "yes"), ("reason", "typo")];
    let told = browser.post(&format!("{story}/cancel"), &confirmed).await.words();
    assert!(told.contains("Cancelled before any replica had read it."), "{told}");
    assert_eq!(world.outcome(job).await.get("error_message"), "cancelled by ann@page: typo");
    says(&browser.address, &story, "ann@page asked to cancel the job (typo)").await;
    let unknown = browser.post("/jobs/1-1/cancel", &confirmed).await.words();
    assert!(unknown.contains("Nothing was changed."), "{unknown}");
}

#[tokio::test]
async fn a_form_of_another_site_or_of_another_session_does_nothing() {
    let mut world = World::new().await;
    let mut browser = begun(&mut world).await;
    browser.login().await;
    let code = browser.code().await;
    let form = [("code", code.as_str()), ("confirmed", "yes"), ("reason", "evil")];
    for origin in ["", "null", "http://evil.example", "http://127.0.0.1:1"] {
        assert_eq!(browser.post_from(origin, "/fleet/pause", &form).await.status, 403, "{origin:?}");
    }
    let own = format!("http://{}", browser.address);
    for code in ["", "x", &code[1..]] {
        let form = [("code", code), ("confirmed", "yes"), ("reason", "evil")];
        assert_eq!(browser.post_from(&own, "/fleet/pause", &form).await.status, 403, "{code}");
    }
    let long = "x".repeat(20_000);
    let answer = browser.post_from(&own, "/fleet/pause", &[("code", &code), ("reason", &long)]).await;
    assert_eq!(answer.status, 413);
    let key = format!("{}:paused", world.settings.stream.jobs);
    assert_eq!(world.redis(&["EXISTS", &key]).await.as_i64(), Some(0));
    assert_eq!(get(&browser.address, "/livez").await.status, 200);
}

#[tokio::test]
async fn a_token_file_that_cannot_be_used_ends_the_process_at_its_start() {
    let mut world = World::new().await;
    let short = world.directory.path().join("short");
    fs::write(&short, "too-short\n").expect("written");
    for (path, words) in [(short.to_str().expect("a path"), "fewer than 16 bytes"), ("/no/such/file", "cannot be read")]
    {
        let number = world.replica(&[super::SERVED, ("admin-token-file", path)]);
        let status = world.ended(number, std::time::Duration::from_secs(20)).await;
        assert_eq!(status.code(), Some(78), "{path}");
        assert!(world.log(number).text().contains(words), "{path}: {}", world.log(number).text());
    }
}
