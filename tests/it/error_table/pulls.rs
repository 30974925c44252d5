//! A registry that fails in every way: each pull ends in time with its code and its words, and works when the registry is
//! mended.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use startjobs::contract::error_code::ErrorCode;
use startjobs::engine::docker::{DockerEngine, Limits};
use startjobs::engine::{Engine, EngineError};

use crate::support::dockerd::{Dockerd, archive};
use crate::support::registry::{Access, FakeRegistry, Fault, Image, RetryAfter, Scheme};
use crate::support::world::World;

/// Bytes of a layer.
const LAYER: usize = 300_000;
/// Longer than the engine waits between two tries, and than it waits between the first and the third.
const PATIENT: Duration = Duration::from_secs(40);
const HASTY: Duration = Duration::from_secs(2);
/// What a pull may take that has no limit of ours to wait for.
const SOON: Duration = Duration::from_secs(10);
/// What it may take where the engine tries again by itself.
const RETRIED: Duration = Duration::from_secs(30);

fn client(dockerd: &Dockerd, pull: Duration, pull_silence: Duration) -> DockerEngine {
    let limits = Limits { pull, pull_silence, ..Limits::default() };
    DockerEngine::connect(&dockerd.host(), 8080, 4).expect("a good URL").with_limits(limits)
}

/// Pulls; what it failed with, and how long it took.
async fn failure(engine: &DockerEngine, image: &str) -> (ErrorCode, String, Duration) {
    let began = Instant::now();
    match engine.ensure_image(image, &|_| ()).await {
        Err(EngineError::Failed { code, message }) => (code, message, began.elapsed()),
        other => panic!("{image}: {other:?}"),
    }
}

#[tokio::test]
async fn a_registry_fails_in_every_way_and_is_mended() {
    // As many downloads at once as there are pulls here: by default a fourth waits until one of three has ended.
    let Some(dockerd) = Dockerd::start_with(&["--max-concurrent-downloads", "20"]) else { return };
    let registry = FakeRegistry::start().await;
    futures_util::join!(pulls(&dockerd, &registry), guarded(&dockerd), jobs(&dockerd, &registry));
}

/// What a pull itself says.
async fn pulls(dockerd: &Dockerd, registry: &FakeRegistry) {
    use ErrorCode::{ImagePullFailed, ImagePullTimeout};
    let (patient, hasty) = (&client(dockerd, PATIENT, PATIENT), &client(dockerd, HASTY * 2, HASTY));
    let silent = "the pull received and unpacked nothing for 2s (pull-silence)";
    let drips = Fault::SlowLayer(LAYER / 40, Duration::from_millis(400));
    let rows = [
        (patient, Fault::LayerStatus(500), ImagePullFailed, "the engine tried 3 times", RETRIED),
        (patient, Fault::CutLayer, ImagePullFailed, "the engine tried 3 times", RETRIED),
        (patient, Fault::WrongLayer, ImagePullFailed, "layer verification failed", SOON),
        (patient, Fault::WrongConfig, ImagePullFailed, "image config verification failed", SOON),
        (patient, Fault::WrongManifest, ImagePullFailed, "manifest verification failed", SOON),
        (patient, Fault::EmptyManifest, ImagePullFailed, "mediaType in manifest should be", SOON),
        (hasty, Fault::Hang, ImagePullTimeout, silent, SOON),
        (hasty, Fault::HangInManifest, ImagePullTimeout, silent, SOON),
        (hasty, Fault::HangInLayer, ImagePullTimeout, silent, SOON),
        (hasty, Fault::SlowLayer(1, Duration::from_secs(1)), ImagePullTimeout, silent, SOON),
        // There is always some progress, and too little.
        (hasty, drips, ImagePullTimeout, "no answer to the pull (pull-timeout) within 4s", SOON),
    ];
    let each = rows.into_iter().enumerate().map(|(number, (engine, fault, want, words, limit))| {
        let name = format!("row/{number}");
        async move {
            let image = Image::of_layers(u64::try_from(number).expect("few") + 100, 1, LAYER);
            // A manifest is known by its digest.
            let reference = match fault {
                Fault::WrongManifest => registry.by_digest(&name, &image),
                _ => registry.image(&name),
            };
            registry.put(&name, "1", image);
            registry.fault(&name, fault);
            let (code, message, took) = failure(engine, &reference).await;
            assert_eq!(code, want, "{fault:?}: {message}");
            assert!(message.contains(words), "{fault:?}: {message}");
            assert!(took < limit, "{fault:?} took {took:?}");
            println!("{fault:?}: {took:?}: {message}");
            registry.mend(&name);
            patient.ensure_image(&reference, &|_| ()).await.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        }
    });
    join_all(each).await;
}

/// What it says of a registry that wants to know who reads.
async fn guarded(dockerd: &Dockerd) {
    let engine = client(dockerd, PATIENT, PATIENT);
    for (scheme, words) in [(Scheme::Basic, "no basic auth credentials"), (Scheme::Bearer, "unauthorized: ")] {
        let registry = FakeRegistry::guarded(Access::new(scheme, "me", "secret")).await;
        registry.put("team/game", "1", Image::tiny());
        let (code, message, _) = failure(&engine, &registry.image("team/game")).await;
        assert_eq!(code, ErrorCode::ImageAccessDenied, "{scheme:?}: {message}");
        assert!(message.contains(words), "{scheme:?}: {message}");
    }
}

/// What Lobby reads.
async fn jobs(dockerd: &Dockerd, registry: &FakeRegistry) {
    let program = archive(&[("program", Path::new(env!("CARGO_BIN_EXE_startjobs")))]);
    let image = Image::of_archive(program.clone(), &["/program", "engine"]);
    registry.put("job/idle", "1", Image::of_archive(program, &[]));
    let fleet = uuid::Uuid::new_v4().to_string();
    let settings = [
        ("engine", "docker"),
        ("fleet-id", fleet.as_str()),
        ("claim-idle", "1500ms"),
        ("retry-attempts", "1"),
        ("pull-silence", "2s"),
    ];
    let mut world = World::with(&[&settings[..], &dockerd.settings()].concat()).await;
    world.replica(&[]);
    let rows = [
        ("job/limited", "image_pull_rate_limited", "toomanyrequests"),
        ("job/empty", "image_pull_failed", "mediaType"),
        ("job/hangs", "image_pull_timeout", "pull-silence"),
    ];
    let mut sent = Vec::new();
    for (name, ..) in rows {
        registry.put(name, "1", image.clone());
    }
    registry.limit("job/limited", 2, RetryAfter::Seconds(1));
    registry.fault("job/empty", Fault::EmptyManifest);
    registry.fault("job/hangs", Fault::HangInManifest);
    for (name, ..) in rows {
        sent.push(world.send(&name.replace('/', "-"), &registry.image(name)).await);
    }
    let idle = world.send("job-idle", &registry.image("job/idle")).await;
    world.settled().await;
    // What the engine has pulled well it may still refuse.
    let outcome = world.outcome(idle).await;
    assert_eq!(outcome.get("error_code"), "container_config_invalid", "{outcome:?}");
    assert!(outcome.get("error_message").contains("No command specified"), "{outcome:?}");
    for ((name, code, words), job) in rows.into_iter().zip(sent) {
        let outcome = world.outcome(job).await;
        assert_eq!((outcome.get("outcome"), outcome.get("error_code")), ("failure", code), "{name}: {outcome:?}");
        assert!(outcome.get("error_message").contains(words), "{name}: {outcome:?}");
        registry.mend(name);
    }
    registry.limit("job/limited", 0, RetryAfter::Unsaid);
    let mut again = Vec::new();
    for (name, ..) in rows {
        again.push(world.send(&name.replace('/', "-"), &registry.image(name)).await);
    }
    world.settled().await;
    for job in again {
        let outcome = world.outcome(job).await;
        assert_eq!(outcome.get("outcome"), "success", "{outcome:?}\n{}", world.logs());
    }
    world.at_rest().await;
}
