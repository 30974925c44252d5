//! Which requests are answered: those of browsers that were sent here by an address or an allowed name.

use super::{SCREENS, ask, exchange, get, served};
use crate::support::world::World;

/// The fleet as JSON.
const FLEET: [&str; 4] =
    ["/api/v1/status.json", "/api/v1/alerts.json", "/api/v1/replicas.json", "/api/v1/pending.json"];

#[tokio::test]
async fn a_name_that_is_not_ours_is_refused_and_probes_answer_to_every_name() {
    let mut world = World::new().await;
    let address = served(&mut world, &[("page-host", "ops.example, other.example")]).await;
    let port = address.rsplit_once(':').expect("a port").1;
    let evil = format!("evil.example:{port}");
    for path in SCREENS.iter().chain(&["/events?screen=overview", "/jobs/1-1", "/games/x"]) {
        let answer = ask(&address, "GET", path, &[("Host", &evil)]).await;
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.body.contains("page-host") && !answer.body.contains("<html"), "{path}: {answer:?}");
        assert!(answer.headers.contains_key("content-security-policy"), "{path}: {answer:?}");
    }
    for path in ["/livez", "/readyz", "/startupz", "/metrics", "/version"] {
        assert_eq!(ask(&address, "GET", path, &[("Host", &evil)]).await.status, 200, "{path}");
    }
    for path in FLEET {
        let answer = ask(&address, "GET", path, &[("Host", &evil)]).await;
        assert!(answer.status == 421 && answer.body.contains("page-host"), "{path}: {answer:?}");
        for host in [&*address, "localhost", "ops.example", "OTHER.example:8443", "[::1]:9"] {
            assert_eq!(ask(&address, "GET", path, &[("Host", host)]).await.status, 200, "{path} of {host}");
        }
        let old = exchange(&address, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        assert!(old.starts_with("HTTP/1.0 200 "), "a program without a Host is no browser: {old}");
    }
    let local = format!("localhost:{port}");
    for host in [&*address, &*local, "OPS.example", "other.example:8443", "10.1.2.3", "[::1]:9"] {
        assert_eq!(ask(&address, "GET", "/jobs", &[("Host", host)]).await.status, 200, "{host}");
    }
    assert_eq!(ask(&address, "GET", "/", &[("Host", &address), ("Host", &evil)]).await.status, 400);
    let old = exchange(&address, b"GET / HTTP/1.0\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.0 400 "), "{old}");
}

#[tokio::test]
async fn another_site_may_link_here_and_nothing_else() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    let own = format!("http://{address}");
    let of = async |path: &str, headers: &[(&str, &str)]| {
        ask(&address, "GET", path, &[&[("Host", address.as_str())], headers].concat()).await.status
    };
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        for path in ["/", "/events?screen=overview"] {
            assert_eq!(of(path, &[("Origin", origin)]).await, 403, "{path} from {origin}");
        }
    }
    assert_eq!(of("/", &[("Origin", &own)]).await, 200);
    assert_eq!(of("/", &[("Sec-Fetch-Site", "cross-site")]).await, 200, "a link in a chat");
    for site in ["cross-site", "same-site"] {
        assert_eq!(of("/events?screen=overview", &[("Sec-Fetch-Site", site)]).await, 403, "{site}");
    }
}

#[tokio::test]
async fn only_short_questions_without_a_body_are_answered() {
    let mut world = World::new().await;
    let address = served(&mut world, &[]).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let answer = ask(&address, method, "/dead", &[("Host", &address)]).await;
        assert_eq!((answer.status, answer.headers["allow"].as_str()), (405, "GET, HEAD"), "{method}");
    }
    let head = ask(&address, "HEAD", "/", &[("Host", &address)]).await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let body = ask(&address, "GET", "/", &[("Host", &address), ("Content-Length", "3")]).await;
    assert_eq!(body.status, 413);
    let long = format!("/jobs?q={}", "x".repeat(4_000));
    assert_eq!(get(&address, &long).await.status, 414);
    let long = format!("/games/{}", "x".repeat(3_000));
    let answer = get(&address, &long).await;
    assert!(answer.status == 404 && answer.body.len() < 64 * 1024, "{} bytes", answer.body.len());
    for path in ["/jobs/%ff", "/games/%00", "/jobs?after=%ff&q=%zz&state=%00", "/dead?after=x&since=y&reason=%22"] {
        let answer = get(&address, path).await;
        assert!([200, 400, 404].contains(&answer.status), "{path}: {answer:?}");
    }
    assert_eq!(get(&address, "/livez").await.status, 200);
}

#[tokio::test]
async fn the_page_is_served_where_the_setting_says_so() {
    let mut world = World::new().await;
    for (settings, status) in [
        (&[("page", "off")][..], 404),
        (&[("page", "on")][..], 200),
        (&[("http-addr", "0.0.0.0:0")][..], 404),
        (&[("http-addr", "0.0.0.0:0"), ("page", "on")][..], 200),
    ] {
        let address = served(&mut world, settings).await.replace("0.0.0.0", "127.0.0.1");
        for path in ["/", "/jobs", "/system"] {
            assert_eq!(get(&address, path).await.status, status, "{path} with {settings:?}");
        }
        assert_eq!(get(&address, "/readyz").await.status, 200, "{settings:?}");
    }
}

#[tokio::test]
async fn where_the_page_is_not_served_by_itself_the_log_says_once_which_setting_serves_it() {
    let mut world = World::new().await;
    for (settings, lines) in [
        (&[("http-addr", "0.0.0.0:0")][..], 1),
        (&[("http-addr", "0.0.0.0:0"), ("page", "on")][..], 0),
        (&[("http-addr", "0.0.0.0:0"), ("page", "off")][..], 0),
        (&[][..], 0),
    ] {
        let number = world.replica(&[&[super::SERVED], settings].concat());
        world.begun(number).await;
        let log = world.log(number);
        let said = log.text().matches("page = on serves it here").count();
        assert_eq!(said, lines, "{settings:?}: {}", log.text());
    }
}

#[tokio::test]
async fn a_token_that_others_can_read_is_warned_of_in_the_log_and_by_doctor() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::new().await;
    // A folder that nobody else may enter would close what is in it.
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    set(world.directory.path(), 0o755);
    let file = world.directory.path().join("token");
    std::fs::write(&file, "a-token-that-is-long-enough").expect("written");
    for (mode, is_open) in [(0o600, false), (0o644, true)] {
        set(&file, mode);
        let number = world.replica(&[super::SERVED, ("admin-token-file", file.to_str().expect("text"))]);
        world.begun(number).await;
        let address = super::address_of(&mut world, number).await;
        let log = world.log(number);
        let line = log.with("others may act on the page").next();
        assert_eq!(line.is_some(), is_open, "{mode:o}: {}", log.text());
        let system = get(&address, "/system").await.words();
        assert_eq!(system.contains("is open to other users (mode 0644)"), is_open, "{mode:o}: {system}");
        if let Some(line) = line {
            assert!(line["found"].as_str().is_some_and(|found| found.contains("mode 0644")), "{line}");
            assert_eq!(line["level"].as_str(), Some("WARN"), "{line}");
        }
    }
}
