//! Which requests are answered: those of browsers that were sent here by an address or an allowed name.

use super::{SCREENS, ask, exchange, get, served};
use crate::support::world::World;

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
    for path in ["/livez", "/metrics", "/version", "/api/v1/status.json"] {
        assert_eq!(ask(&address, "GET", path, &[("Host", &evil)]).await.status, 200, "{path}");
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
