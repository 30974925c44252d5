//! The registry of the tests does what its words say; what rests on it is only worth as much.

use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::registry::{Access, FakeRegistry, Fault, Image, RetryAfter, Scheme};

/// After this time without a byte nothing more is to come, on a busy machine too.
const SILENCE: Duration = Duration::from_secs(1);

/// The answer to one request on a connection of its own: all that came until its end, or until silence.
async fn ask(registry: &FakeRegistry, request: &str, headers: &str) -> String {
    ask_to_the_end(registry, request, headers).await.0
}

/// The same, and whether the registry ended the connection.
async fn ask_to_the_end(registry: &FakeRegistry, request: &str, headers: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(registry.name()).await.expect("it listens");
    let head = format!("{request} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    let has_ended = loop {
        let Ok(read) = tokio::time::timeout(SILENCE, stream.read(&mut piece)).await else { break false };
        let Ok(length @ 1..) = read else { break true };
        answer.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&answer);
        let is_whole = header(&text, "Content-Length").parse().is_ok_and(|length: usize| body(&text).len() >= length);
        if is_whole && !request.starts_with("HEAD ") {
            break false;
        }
    };
    (String::from_utf8_lossy(&answer).into_owned(), has_ended)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or("none")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

#[tokio::test]
async fn the_registry_limits_moves_and_remembers() {
    let registry = FakeRegistry::start().await;
    let (old, new) = (Image::of_layers(1, 2, 1000), Image::of_layers(2, 2, 1000));
    let manifest = "GET /v2/team/game/manifests/1";
    registry.put("team/game", "1", old.clone());
    assert_eq!(header(&ask(&registry, manifest, "").await, "Docker-Content-Digest"), old.digest());
    registry.put("team/game", "1", new.clone());
    let head = ask(&registry, "HEAD /v2/team/game/manifests/1", "").await;
    assert_eq!((header(&head, "Docker-Content-Digest"), body(&head)), (new.digest().as_str(), ""));
    let by_digest = ask(&registry, &format!("GET /v2/team/game/manifests/{}", old.digest()), "").await;
    assert_eq!(header(&by_digest, "Docker-Content-Digest"), old.digest());
    assert_eq!(registry.by_digest("team/game", &old), format!("{}/team/game@{}", registry.name(), old.digest()));
    assert_eq!(registry.tagged("team/game", "2"), format!("{}/team/game:2", registry.name()));

    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (retry_after, said) in [
        (RetryAfter::Unsaid, "none"),
        (RetryAfter::Seconds(7), "7"),
        (RetryAfter::At(at), "Sun, 06 Nov 1994 08:49:37 GMT"),
        (RetryAfter::At(SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_164_800)), "Thu, 29 Feb 2024 00:00:00 GMT"),
    ] {
        registry.limit("team/game", 2, retry_after);
        for want in ["429", "429", "200"] {
            let answer = ask(&registry, manifest, "").await;
            assert_eq!(status(&answer), want, "{answer}");
            assert!(want == "200" || header(&answer, "Retry-After") == said, "{answer}");
        }
    }
    let asked = registry.manifests("team/game");
    assert_eq!((asked.len(), registry.manifest_requests("team/game")), (15, 14));
    assert_eq!((asked[1].method.as_str(), asked[3].status), ("HEAD", Some(429)));
    assert!(asked.is_sorted_by_key(|request| request.at));
    assert_eq!(registry.requests().len(), 15);
    assert_eq!(registry.blobs("team/game").len(), 0);
}

#[tokio::test]
async fn the_registry_wants_to_know_who_reads() {
    let manifest = "GET /v2/team/game/manifests/1";
    // `me:secret`, `me:wrong`.
    let (right, wrong) = ("Authorization: Basic bWU6c2VjcmV0\r\n", "Authorization: Basic bWU6d3Jvbmc=\r\n");
    let mut access = Access::new(Scheme::Basic, "me", "secret");
    access.refusal = 403;
    let registry = FakeRegistry::guarded(access).await;
    registry.put("team/game", "1", Image::tiny());
    let refused = ask(&registry, "GET /v2/", "").await;
    assert_eq!((status(&refused), header(&refused, "WWW-Authenticate")), ("401", r#"Basic realm="made up""#));
    for (headers, want) in [(right, "200"), (wrong, "403"), ("", "401")] {
        assert_eq!(status(&ask(&registry, manifest, headers).await), want, "{headers}");
    }
    let shown: Vec<String> = registry.requests().into_iter().map(|request| request.authorization).collect();
    assert_eq!(shown, ["", "Basic bWU6c2VjcmV0", "Basic bWU6d3Jvbmc=", ""]);

    let registry = FakeRegistry::guarded(Access::new(Scheme::Bearer, "me", "secret")).await;
    registry.put("team/game", "1", Image::tiny());
    let refused = ask(&registry, manifest, "").await;
    let challenge = format!(r#"Bearer realm="http://{}/token",service="made-up""#, registry.name());
    assert_eq!((status(&refused), header(&refused, "WWW-Authenticate")), ("401", challenge.as_str()));
    let token = "GET /token?service=made-up&scope=repository%3Ateam%2Fgame%3Apull";
    assert_eq!(status(&ask(&registry, token, wrong).await), "401");
    for (headers, want) in [(right, "200"), ("", "401")] {
        let answer = ask(&registry, token, headers).await;
        let token: serde_json::Value = serde_json::from_str(body(&answer)).expect("a token");
        let header = format!("Authorization: Bearer {}\r\n", token["token"].as_str().expect("text"));
        assert_eq!(status(&ask(&registry, manifest, &header).await), want);
        assert_eq!(status(&ask(&registry, "GET /v2/", &header).await), "200");
        assert_eq!(status(&ask(&registry, "GET /v2/team/other/manifests/1", &header).await), "401");
    }
    let form = "grant_type=refresh_token&service=made-up&scope=repository:team/game:pull&refresh_token=secret";
    let post = format!("Content-Length: {}\r\n\r\n{form}", form.len());
    let answer = ask(&registry, "POST /token", post.trim_end_matches("\r\n")).await;
    assert!(answer.contains("may-read-team-game"), "{answer}");
}

#[tokio::test]
async fn the_registry_has_every_fault() {
    let registry = FakeRegistry::start().await;
    let image = Image::of_layers(3, 1, 1000);
    registry.put("team/game", "1", image.clone());
    let manifest = ask(&registry, "GET /v2/team/game/manifests/1", "").await;
    let manifest: serde_json::Value = serde_json::from_str(body(&manifest)).expect("a manifest");
    let blob = |part: &serde_json::Value| format!("GET /v2/team/game/blobs/{}", part["digest"].as_str().expect("text"));
    let (config, layer) = (blob(&manifest["config"]), blob(&manifest["layers"][0]));
    let size = manifest["layers"][0]["size"].as_u64().expect("a number");
    let length = |answer: &str| header(answer, "Content-Length").parse::<u64>().expect("a number");

    let whole = ask(&registry, &layer, "").await;
    assert_eq!((status(&whole), length(&whole)), ("200", size));
    let rest = ask(&registry, &layer, "Range: bytes=2000-\r\n").await;
    assert_eq!((status(&rest), length(&rest)), ("206", size - 2000));
    assert_eq!(header(&rest, "Content-Range"), format!("bytes 2000-{}/{size}", size - 1));

    registry.fault("team/game", Fault::LayerStatus(500));
    assert_eq!(status(&ask(&registry, &layer, "").await), "500");
    registry.fault("team/game", Fault::EmptyManifest);
    assert_eq!(body(&ask(&registry, "GET /v2/team/game/manifests/1", "").await), "{}");
    for (fault, request) in [
        (Fault::WrongLayer, layer.as_str()),
        (Fault::WrongConfig, config.as_str()),
        (Fault::WrongManifest, "GET /v2/team/game/manifests/1"),
    ] {
        registry.mend("team/game");
        let right = ask(&registry, request, "").await;
        registry.fault("team/game", fault);
        let wrong = ask(&registry, request, "").await;
        let digest = "Docker-Content-Digest";
        assert_ne!(header(&right, digest), header(&wrong, digest), "{fault:?}");
    }
    for (fault, request) in [
        (Fault::Hang, layer.as_str()),
        (Fault::HangInLayer, layer.as_str()),
        (Fault::HangInManifest, "GET /v2/team/game/manifests/1"),
        (Fault::CutLayer, layer.as_str()),
        (Fault::SlowLayer(1, Duration::from_millis(100)), layer.as_str()),
    ] {
        registry.fault("team/game", fault);
        let asked = ask_to_the_end(&registry, request, "");
        if matches!(fault, Fault::SlowLayer(..)) {
            let asked = tokio::time::timeout(Duration::from_millis(400), asked).await;
            assert!(asked.is_err(), "it goes on and on");
            continue;
        }
        let (answer, has_ended) = asked.await;
        assert_eq!(answer.contains("Content-Length"), fault != Fault::Hang, "{fault:?} {answer}");
        assert_eq!(has_ended, fault == Fault::CutLayer, "{fault:?}");
    }
    // What hangs goes on when it is mended.
    registry.fault("team/game", Fault::HangInLayer);
    let (answer, ()) = tokio::join!(ask(&registry, &layer, ""), async {
        while registry.blobs("team/game").last().and_then(|request| request.status).is_none() {
            tokio::task::yield_now().await;
        }
        registry.mend("team/game");
    });
    assert_eq!(length(&answer), size);
    assert!(answer.ends_with("\0\0\0\0"), "the end of the archive");
}
