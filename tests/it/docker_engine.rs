//! The Docker engine against a real `dockerd` of the test's own.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};

use startjobs::contract::error_code::ErrorCode;
use startjobs::engine::docker::{DockerEngine, DockerOptions, Limits};
use startjobs::engine::{
    Container, ContainerSpec, ContainerState, Engine, EngineError, PullStep, Readiness, Ready, Sandbox, label,
};

use crate::support::c_program::compile;
use crate::support::dockerd::Dockerd;
use crate::support::registry::FakeRegistry;

/// The port a game engine listens on inside its container.
pub const PORT: u16 = 8080;

/// How long a state may take to come about.
const PATIENCE: Duration = Duration::from_secs(20);

/// A game engine: answers `/healthz` on `$PORT`, or exits with `$ENGINE_EXIT_CODE` after some last words.
const GAME_ENGINE: &str = r#"
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void stop(int signal) { _exit(0); }

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[argc - 1], "--version")) return 0;
    if (getenv("ENGINE_EXIT_CODE")) {
        for (int line = 1; line <= 12; line++) printf("line %d\a\n", line);
        return atoi(getenv("ENGINE_EXIT_CODE"));
    }
    signal(SIGTERM, stop);
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_port = htons(getenv("PORT") ? atoi(getenv("PORT")) : 8080);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16)) return 1;
    for (;;) {
        int peer = accept(listener, 0, 0);
        char request[512] = {0};
        if (read(peer, request, sizeof request - 1) > 0)
            dprintf(peer, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n",
                    strncmp(request, "GET /healthz ", 13) ? "404 Not Found" : "200 OK");
        close(peer);
    }
}
"#;

/// An engine of the test's own that has the image [`Bench::IMAGE`].
pub struct Bench {
    pub dockerd: Dockerd,
    pub engine: DockerEngine,
}

impl Bench {
    pub const IMAGE: &str = "startjobs.test/game:1";

    /// None where there is no Docker.
    pub fn new() -> Option<Self> {
        let dockerd = Dockerd::start()?;
        let (_dir, program) = game_engine();
        // An image may carry labels of ours, and containers inherit an image's labels.
        let changes = ["LABEL rtm.game_id=forged rtm.other=kept"];
        dockerd.import_image(Self::IMAGE, &program, &["engine"], &changes);
        let engine = connect(&dockerd);
        Some(Self { dockerd, engine })
    }

    pub async fn find(&self, name_or_id: &str) -> Option<Container> {
        self.engine.find(name_or_id).await.expect("the engine answers")
    }

    /// Creates and starts a container; its id.
    pub async fn run(&self, spec: &ContainerSpec) -> String {
        let id = self.engine.create(spec).await.expect("the name is free");
        self.engine.start(&id).await.expect("the image has an entry point");
        id
    }

    /// Looks again and again until the container is as wanted.
    pub async fn wait_for(&self, id: &str, wanted: impl Fn(&Container) -> bool) -> Container {
        let patience = Instant::now() + PATIENCE;
        loop {
            let container = self.find(id).await.expect("the container exists");
            if wanted(&container) {
                return container;
            }
            assert!(Instant::now() < patience, "still {container:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_until_ready(&self, container: &Container, readiness: &Readiness) {
        wait_until_ready(&self.engine, container, readiness).await;
    }
}

pub async fn wait_until_ready(engine: &DockerEngine, container: &Container, readiness: &Readiness) {
    let patience = Instant::now() + PATIENCE;
    while engine.is_ready(container, readiness).await != Ready::Yes {
        assert!(Instant::now() < patience, "not {readiness:?}: {container:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Creates and starts a container.
pub async fn create_and_start(engine: &DockerEngine, spec: &ContainerSpec) -> Result<String, EngineError> {
    let id = engine.create(spec).await?;
    engine.start(&id).await.map(|_| id)
}

pub fn connect(dockerd: &Dockerd) -> DockerEngine {
    DockerEngine::connect_with(dockerd.options(PORT, 4)).expect("a good URL")
}

/// The compiled game engine, in a directory that goes when the guard does.
pub fn game_engine() -> (tempfile::TempDir, PathBuf) {
    compile("game_engine", GAME_ENGINE)
}

pub fn spec(name: &str, env: &[&str]) -> ContainerSpec {
    let labels = [
        (label::GAME_ID, name.trim_start_matches("rtm-")),
        (label::IMAGE_REF, Bench::IMAGE),
        (label::SOURCE_REF, "1-0"),
        (label::FENCE, "7"),
        (label::OWNER, "replica-a"),
        (label::HOST, "default"),
    ];
    ContainerSpec {
        name: name.to_owned(),
        image: Bench::IMAGE.to_owned(),
        port: PORT,
        env: env.iter().map(|pair| (*pair).to_owned()).collect(),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        sandbox: Sandbox::default(),
    }
}

pub fn code<T: std::fmt::Debug>(result: &Result<T, EngineError>) -> Option<ErrorCode> {
    match result {
        Err(EngineError::Failed { code, .. }) => Some(*code),
        _ => None,
    }
}

fn ignore(_: PullStep) {}

#[tokio::test]
async fn a_game_engine_is_started_found_and_removed() {
    let Some(bench) = Bench::new() else { return };
    bench.engine.ping().await.expect("it is up");
    bench.engine.ensure_image(Bench::IMAGE, &|step| panic!("nothing is pulled: {step:?}")).await.expect("it is there");
    assert_eq!(bench.find("rtm-a").await, None);

    let spec = spec("rtm-a", &[]);
    let id = bench.engine.create(&spec).await.expect("the name is free");
    let created = bench.find("rtm-a").await.expect("it was created");
    assert_eq!((&created.id, &created.state, created.endpoint.as_deref()), (&id, &ContainerState::Created, None));
    let mut labels = spec.labels.clone();
    labels.insert("rtm.other".to_owned(), "kept".to_owned());
    assert_eq!(created.labels, labels, "our labels override the image's");

    bench.engine.start(&id).await.expect("it can be started");
    bench.engine.start(&id).await.expect("one that runs is a success");
    let running = bench.find(&id).await.expect("it runs");
    assert_eq!(running.state, ContainerState::Running);
    let endpoint = running.endpoint.as_deref().expect("its port is published");
    assert!(endpoint.starts_with(&format!("http://{}:", bench.dockerd.address())), "{endpoint}");
    bench.wait_until_ready(&running, &Readiness::Tcp).await;
    bench.wait_until_ready(&running, &Readiness::Http("/healthz".into())).await;
    assert_eq!(bench.engine.is_ready(&running, &Readiness::Http("/nowhere".into())).await, Ready::NotYet);
    let never = Ready::Never("the image has no health check, and readiness is `health`".to_owned());
    assert_eq!(bench.engine.is_ready(&running, &Readiness::Health).await, never);

    bench.engine.unpause(&id).await.expect("one that is not paused is a success");
    bench.dockerd.request("POST", "/containers/rtm-a/pause", b"").expect("it can be paused");
    assert_eq!(bench.find(&id).await.expect("it exists").state, ContainerState::Paused);
    bench.engine.unpause(&id).await.expect("it is thawed");
    assert_eq!(bench.find(&id).await.expect("it exists").state, ContainerState::Running);

    bench.engine.remove(&id).await.expect("it is removed");
    assert_eq!(bench.find(&id).await, None);
    bench.engine.remove(&id).await.expect("one that is gone is a success");
    assert_eq!(bench.engine.start(&id).await, Err(EngineError::NoSuchContainer));
    assert_eq!(bench.engine.unpause(&id).await, Err(EngineError::NoSuchContainer));
    assert_eq!(bench.engine.log_tail(&id).await, "");
}

#[tokio::test]
async fn one_name_is_one_container() {
    let Some(bench) = Bench::new() else { return };
    let spec = spec("rtm-b", &[]);
    let created = join_all((0..6).map(|_| bench.engine.create(&spec))).await;
    let (created, refused): (Vec<_>, Vec<_>) = created.into_iter().partition(Result::is_ok);
    assert_eq!(created.len(), 1, "{created:?}");
    assert!(refused.iter().all(|result| *result == Err(EngineError::NameTaken)), "{refused:?}");

    let id = created[0].clone().expect("partitioned");
    bench.engine.start(&id).await.expect("it can be started");
    let removed = join_all((0..4).map(|_| bench.engine.remove(&id))).await;
    assert!(removed.iter().all(Result::is_ok), "{removed:?}");
    assert_eq!(bench.find("rtm-b").await, None);
}

#[tokio::test]
async fn what_cannot_be_created() {
    let Some(bench) = Bench::new() else { return };
    let with_image = |image: &str| ContainerSpec { image: image.to_owned(), ..spec("rtm-c", &[]) };
    let missing = bench.engine.create(&with_image("startjobs.test/absent:1")).await;
    assert_eq!(missing, Err(EngineError::ImageMissing));
    let refused = bench.engine.create(&with_image("startjobs.test/Upper:1")).await;
    assert_eq!(code(&refused), Some(ErrorCode::InvalidImageRef), "{refused:?}");
    let refused = bench.engine.ensure_image("startjobs.test/Upper:1", &ignore).await;
    assert_eq!(code(&refused), Some(ErrorCode::InvalidImageRef), "{refused:?}");
    let nameless = bench.engine.create(&spec("", &[])).await;
    assert_eq!(code(&nameless), Some(ErrorCode::InternalError), "{nameless:?}");
    let reserved = ContainerSpec { env: vec!["=".to_owned()], ..spec("rtm-c", &[]) };
    let reserved = bench.engine.create(&reserved).await;
    assert_eq!(code(&reserved), Some(ErrorCode::ContainerConfigInvalid), "{reserved:?}");
    assert_eq!(bench.dockerd.containers(), Vec::<String>::new());
}

#[tokio::test]
async fn a_container_that_cannot_start_says_why() {
    let Some(bench) = Bench::new() else { return };
    let (_dir, program) = game_engine();
    let broken = "startjobs.test/broken:1";
    // The last entry point of an image counts.
    bench.dockerd.import_image(broken, &program, &[], &[r#"ENTRYPOINT ["/nowhere"]"#]);
    let spec = ContainerSpec { image: broken.to_owned(), ..spec("rtm-d", &[]) };
    let id = bench.engine.create(&spec).await.expect("it can be created");
    let started = bench.engine.start(&id).await;
    assert_eq!(code(&started), Some(ErrorCode::ContainerStartFailed), "{started:?}");
    let state = bench.find(&id).await.expect("it is still there").state;
    assert!(matches!(&state, ContainerState::StartFailed(text) if text.contains("/nowhere")), "{state:?}");
    bench.engine.remove(&id).await.expect("it is removed");

    // A network that goes away between create and start.
    let id = bench.engine.create(&self::spec("rtm-net", &[])).await.expect("it can be created");
    let request = |method, path: &str, body: &str| {
        let (status, answer) = bench.dockerd.request(method, path, body.as_bytes()).expect("the engine answers");
        assert!(status < 300, "{method} {path}: {status} {answer}");
    };
    request("POST", "/networks/create", r#"{"Name": "games"}"#);
    request("POST", "/networks/games/connect", r#"{"Container": "rtm-net"}"#);
    request("DELETE", "/networks/games", "");
    let started = bench.engine.start(&id).await;
    assert_eq!(code(&started), Some(ErrorCode::NetworkNotFound), "{started:?}");
}

#[tokio::test]
async fn a_container_that_exits_leaves_its_code_and_last_words() {
    let Some(bench) = Bench::new() else { return };
    let id = bench.run(&spec("rtm-e", &["ENGINE_EXIT_CODE=7"])).await;
    let exited = bench.wait_for(&id, |container| matches!(container.state, ContainerState::Exited(_))).await;
    assert_eq!((exited.state.clone(), exited.endpoint.clone()), (ContainerState::Exited(7), None));
    assert_eq!(bench.engine.is_ready(&exited, &Readiness::Tcp).await, Ready::NotYet);
    let tail = bench.engine.log_tail(&id).await;
    let lines: Vec<&str> = tail.lines().map(str::trim).collect();
    assert_eq!((lines.len(), lines.first(), lines.last()), (10, Some(&"line 3"), Some(&"line 12")), "{tail:?}");
    assert!(!tail.contains('\u{7}'));
}

#[tokio::test]
async fn a_published_port_alone_is_not_readiness() {
    let Some(bench) = Bench::new() else { return };
    // It listens, but not where its port is published: what accepts the connection is the engine's own proxy.
    let id = bench.run(&spec("rtm-f", &["PORT=9999"])).await;
    let running = bench.find(&id).await.expect("it runs");
    assert!(running.endpoint.is_some(), "{running:?}");
    for _ in 0..5 {
        assert_eq!(bench.engine.is_ready(&running, &Readiness::Tcp).await, Ready::NotYet);
        assert_eq!(bench.engine.is_ready(&running, &Readiness::Http("/healthz".into())).await, Ready::NotYet);
    }
}

#[tokio::test]
async fn an_images_health_check_can_decide() {
    let Some(bench) = Bench::new() else { return };
    let (_dir, program) = game_engine();
    for (image, command) in [("startjobs.test/well:1", "/program"), ("startjobs.test/ill:1", "/nowhere")] {
        let check = format!(r#"HEALTHCHECK --interval=1s --timeout=5s CMD ["{command}", "--version"]"#);
        bench.dockerd.import_image(image, &program, &["engine"], &[&check]);
    }
    let with_image = |name, image: &str| ContainerSpec { image: image.to_owned(), ..spec(name, &[]) };
    let well = bench.run(&with_image("rtm-well", "startjobs.test/well:1")).await;
    let ill = bench.run(&with_image("rtm-ill", "startjobs.test/ill:1")).await;
    let [well, ill] = [bench.find(&well).await, bench.find(&ill).await].map(|found| found.expect("it runs"));
    bench.wait_until_ready(&well, &Readiness::Health).await;
    assert_eq!(bench.engine.is_ready(&ill, &Readiness::Health).await, Ready::NotYet);
}

#[tokio::test]
async fn pulls_fail_with_a_code() {
    let Some(dockerd) = Dockerd::start() else { return };
    let registry = FakeRegistry::start().await;
    let limits = Limits { pull_silence: Duration::from_secs(2), ..Limits::default() };
    let engine = connect(&dockerd).with_limits(limits);
    let rows = [
        ("s401/x", ErrorCode::ImageAccessDenied),
        ("s403/x", ErrorCode::ImageAccessDenied),
        ("s404/x", ErrorCode::ImageNotFound),
        ("s429/x", ErrorCode::ImagePullRateLimited),
        ("s500/x", ErrorCode::ImagePullFailed),
        ("s503/x", ErrorCode::ImagePullFailed),
        ("corrupt/x", ErrorCode::ImagePullFailed),
        ("hang/x", ErrorCode::ImagePullTimeout),
    ];
    for (name, want) in rows {
        let steps = Mutex::new(Vec::new());
        let record = |step| steps.lock().expect("no panic while it is held").push(step);
        let begun = Instant::now();
        let result = engine.ensure_image(&registry.image(name), &record).await;
        assert_eq!(code(&result), Some(want), "{name}: {result:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{name} took {:?}", begun.elapsed());
        let steps = steps.into_inner().expect("no panic while it was held");
        assert_eq!(steps.first(), Some(&PullStep::Starting), "{name}");
    }
    // Nobody listens on port 1.
    let result = engine.ensure_image("127.0.0.1:1/x:1", &ignore).await;
    assert_eq!(code(&result), Some(ErrorCode::ImagePullFailed), "{result:?}");
}

#[tokio::test]
async fn an_engine_that_goes_down_is_found_again() {
    let Some(mut bench) = Bench::new() else { return };
    let id = bench.run(&spec("rtm-g", &[])).await;
    let before = bench.find(&id).await.expect("it runs").endpoint.expect("its port is published");

    bench.dockerd.stop();
    // One that knew the engine, and one that comes when there is not even a socket.
    let newcomer = connect(&bench.dockerd);
    for engine in [&bench.engine, &newcomer] {
        let spec = spec("rtm-h", &[]);
        let codes = [
            code(&engine.ping().await),
            code(&engine.find(&id).await),
            code(&engine.create(&spec).await),
            code(&engine.start(&id).await),
            code(&engine.unpause(&id).await),
            code(&engine.remove(&id).await),
            code(&engine.ensure_image(Bench::IMAGE, &ignore).await),
        ];
        assert_eq!(codes, [Some(ErrorCode::EngineUnavailable); 7]);
    }

    bench.dockerd.restart();
    for engine in [&bench.engine, &newcomer] {
        engine.ping().await.expect("it is back");
    }
    let stopped = bench.find(&id).await.expect("its data stayed");
    assert!(matches!(stopped.state, ContainerState::Exited(_)), "{stopped:?}");
    assert_eq!(stopped.endpoint, None);

    // Somebody else has taken the port in between; the endpoint is always the one of now.
    let authority = before.strip_prefix("http://").expect("an endpoint is a URL");
    let taken = std::net::TcpListener::bind(authority);
    newcomer.start(&id).await.expect("it can be started again");
    let running = bench.find(&id).await.expect("it runs");
    assert_ne!(running.endpoint, Some(before));
    bench.wait_until_ready(&running, &Readiness::Http("/healthz".into())).await;
    drop(taken);
}

#[tokio::test]
async fn an_engine_reached_by_tcp_that_is_not_there() {
    let engine = DockerEngine::connect("tcp://127.0.0.1:1", PORT, 4).expect("a good URL");
    let result = engine.ping().await;
    assert_eq!(code(&result), Some(ErrorCode::EngineUnavailable), "{result:?}");
}

#[tokio::test]
async fn an_engine_reached_by_tcp_publishes_for_others() {
    let Some(bench) = Bench::new() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let socket = bench.dockerd.host().replace("unix://", "");
    tokio::spawn(async move {
        while let Ok((mut outer, _)) = listener.accept().await {
            let mut inner = UnixStream::connect(&socket).await.expect("the engine is up");
            tokio::spawn(async move { copy_bidirectional(&mut outer, &mut inner).await });
        }
    });
    let host = format!("tcp://localhost:{}", address.port());
    // On all addresses: out of the way of other tests, which publish where the system begins to give out ports.
    let options = DockerOptions { port_range: Some((19_100, 19_199)), ..DockerOptions::new(&host, PORT, 4) };
    let engine = DockerEngine::connect_with(options).expect("a good URL");
    let id = engine.create(&spec("rtm-j", &[])).await.expect("the name is free");
    engine.start(&id).await.expect("it can be started");
    let running = engine.find(&id).await.expect("the engine answers").expect("it runs");
    let endpoint = running.endpoint.as_deref().expect("its port is published");
    assert!(endpoint.starts_with("http://localhost:"), "{endpoint}");
    bench.wait_until_ready(&running, &Readiness::Http("/healthz".into())).await;
    let (_, seen) = bench.dockerd.request("GET", "/containers/rtm-j/json", b"").expect("the engine answers");
    assert!(seen.contains(r#""HostIp":"0.0.0.0""#), "{seen}");
}

/// An engine that says the same to everybody; `None`: nothing.
async fn parrot(answer: Option<&'static str>) -> DockerEngine {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(answer) = answer else {
                silent.push(stream);
                continue;
            };
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok() {
                drop(stream.write_all(answer.as_bytes()).await);
            }
        }
    });
    let short = Duration::from_millis(300);
    let limits = Limits { look: short, create: short, start: short, remove: short, pull: short, pull_silence: short };
    let engine = DockerEngine::connect(&format!("tcp://{address}"), PORT, 4).expect("a good URL");
    engine.with_limits(limits)
}

#[tokio::test]
async fn whatever_an_engine_answers_is_an_error_and_no_panic() {
    use ErrorCode::{EngineUnavailable, InternalError};
    let rows = [
        (None, EngineUnavailable),
        (Some(""), EngineUnavailable),
        (Some("SSH-2.0-x\r\n"), EngineUnavailable),
        (Some("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), EngineUnavailable),
        (Some("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), EngineUnavailable),
        (Some("HTTP/1.1 502 Oops\r\nContent-Length: 6\r\n\r\n<html>"), EngineUnavailable),
        (Some("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), InternalError),
        (Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"), InternalError),
        (Some("HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"ApiVersion\": \"many\"}"), InternalError),
        (Some("HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"ApiVersion\":\"1.41\"}   "), InternalError),
        (Some("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}"), EngineUnavailable),
    ];
    for (answer, want) in rows {
        let engine = parrot(answer).await;
        let created = engine.create(&spec("rtm-k", &[])).await;
        assert_eq!(code(&created), Some(want), "{answer:?}: {created:?}");
        assert!(engine.log_tail("7").await.len() <= 1024);
        let found = engine.find("rtm-k").await;
        assert_eq!(code(&found), Some(want), "{answer:?}: {found:?}");
    }
}

#[tokio::test]
async fn permits_are_as_many_as_asked_for() {
    let engine = Arc::new(DockerEngine::connect("unix:///nowhere", PORT, 2).expect("a good URL"));
    let held = [engine.permit().await, engine.permit().await];
    let third = tokio::spawn({
        let engine = Arc::clone(&engine);
        async move { engine.permit().await }
    });
    tokio::task::yield_now().await;
    assert!(!third.is_finished());
    drop(held);
    drop(third.await.expect("a permit came free"));
}
