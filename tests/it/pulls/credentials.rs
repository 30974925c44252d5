//! Who we are to a registry, through a real engine, for both ways in which registries ask.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use startjobs::contract::error_code::ErrorCode;
use startjobs::engine::docker::{CredentialSources, DockerEngine, DockerOptions};
use startjobs::engine::{Engine, EngineError, PullStep};
use tempfile::TempDir;

use super::{PATIENCE, Stage, name_of, variable};
use crate::docker_engine::code;
use crate::support::dockerd::Dockerd;
use crate::support::registry::{Access, FakeRegistry, Image, RetryAfter, Scheme};

const PASSWORD: &str = "open-sesame";
/// `ann:open-sesame` in Base64.
const AUTH: &str = "YW5uOm9wZW4tc2VzYW1l";

/// A registry that wants to know who reads, and files to tell it.
struct Bench<'a> {
    dockerd: &'a Dockerd,
    registry: FakeRegistry,
    folder: TempDir,
}

impl Bench<'_> {
    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).expect("the folder is ours");
    }

    /// The result of a pull with these files.
    async fn pull(&self, credentials: CredentialSources) -> Result<(), EngineError> {
        self.engine(credentials).pull(&self.registry.image("team/game"), &|_: PullStep| ()).await
    }

    fn engine(&self, credentials: CredentialSources) -> DockerEngine {
        let options = DockerOptions { credentials, ..DockerOptions::new(&self.dockerd.host(), 8080, 1) };
        DockerEngine::connect_with(options).expect("a good URL")
    }

    fn config(&self, name: &str) -> CredentialSources {
        CredentialSources { docker_config: Some(self.folder.path().join(name)), folder: None }
    }

    fn files(&self) -> CredentialSources {
        CredentialSources { docker_config: None, folder: Some(self.folder.path().to_owned()) }
    }
}

#[tokio::test]
async fn a_private_image_is_pulled_with_the_credentials_of_its_registry() {
    let Some(dockerd) = Dockerd::start() else { return };
    for scheme in [Scheme::Basic, Scheme::Bearer] {
        let registry = FakeRegistry::guarded(Access::new(scheme, "ann", PASSWORD)).await;
        registry.put("team/game", "1", Image::tiny());
        let folder = tempfile::tempdir().expect("a temporary directory");
        check(&Bench { dockerd: &dockerd, registry, folder }, scheme).await;
    }
}

async fn check(bench: &Bench<'_>, scheme: Scheme) {
    let name = bench.registry.name();
    let denied = Some(ErrorCode::ImageAccessDenied);
    let anonymous = bench.pull(CredentialSources::default()).await;
    assert_eq!(code(&anonymous), denied, "{scheme:?} {anonymous:?}");

    // What is for another registry is not shown to this one.
    bench.write("config.json", &format!(r#"{{"auths":{{"other.example":{{"auth":"{AUTH}"}}}}}}"#));
    let other = bench.pull(bench.config("config.json")).await;
    assert_eq!(code(&other), denied, "{scheme:?} {other:?}");
    let shown: Vec<String> = bench.registry.requests().into_iter().map(|request| request.authorization).collect();
    assert!(shown.iter().all(|shown| !shown.starts_with("Basic ")), "{scheme:?} {shown:?}");

    bench.write(&name, "ann:wrong-sesame\n");
    let wrong = bench.pull(bench.files()).await;
    assert_eq!(code(&wrong), denied, "{scheme:?} {wrong:?}");
    assert!(!format!("{wrong:?}").contains("sesame"), "{wrong:?}");

    // Read again at each pull.
    bench.write(&name, &format!("ann:{PASSWORD}\n"));
    assert_eq!(bench.pull(bench.files()).await, Ok(()), "{scheme:?}");
    fs::remove_file(bench.folder.path().join(&name)).expect("it is there");
    bench.write(&name.replace(':', "_"), &format!(r#"{{"username":"ann","password":"{PASSWORD}"}}"#));
    assert_eq!(bench.pull(bench.files()).await, Ok(()), "{scheme:?}");

    bench.write("config.json", &format!(r#"{{"auths":{{"http://{name}/v2/":{{"auth":"{AUTH}"}}}}}}"#));
    assert_eq!(bench.pull(bench.config("config.json")).await, Ok(()), "{scheme:?}");
    assert_eq!(bench.pull(bench.config("")).await, Ok(()), "{scheme:?}: the folder of the file");
    if scheme == Scheme::Bearer {
        bench.write("token.json", &format!(r#"{{"auths":{{"{name}":{{"identitytoken":"{PASSWORD}"}}}}}}"#));
        assert_eq!(bench.pull(bench.config("token.json")).await, Ok(()));
    }

    bench.write("broken.json", &format!("{{\"auths\": {PASSWORD}"));
    let broken = bench.pull(bench.config("broken.json")).await;
    assert_eq!(code(&broken), Some(ErrorCode::ImagePullFailed), "{broken:?}");
    assert!(
        format!("{broken:?}").contains("broken.json is not JSON") && !format!("{broken:?}").contains(PASSWORD),
        "{broken:?}"
    );

    // The same credentials are used to ask how long the registry wants to be left alone.
    bench.registry.limit("team/game", 5, RetryAfter::Seconds(7));
    let (engine, image) = (bench.engine(bench.config("config.json")), bench.registry.image("team/game"));
    assert_eq!(
        engine.registry_wait(&image, "toomanyrequests: slow down").await,
        Some(Duration::from_secs(7)),
        "{scheme:?}"
    );
    let stranger = bench.engine(CredentialSources::default());
    assert_eq!(stranger.registry_wait(&image, "toomanyrequests: slow down").await, None, "{scheme:?}");
}

/// A program of this name that answers as a credential helper does.
fn helper(folder: &Path, name: &str) {
    let program = folder.join(name);
    let script = format!(
        "#!/bin/sh\nread server\necho \"$1 $server\" > {}\nprintf '{{\"Username\":\"ann\",\"Secret\":\"{PASSWORD}\"}}'\n",
        folder.join("asked").display()
    );
    fs::write(&program, script).expect("the folder is ours");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("it is ours");
}

#[tokio::test]
async fn a_credential_helper_is_asked_and_its_secret_is_shown_nowhere() {
    let Some(mut stage) = Stage::new(1).await else { return };
    stage.registry = FakeRegistry::guarded(Access::new(Scheme::Bearer, "ann", PASSWORD)).await;
    stage.registry.put("team/game", "1", Image::tiny());
    let folder = tempfile::tempdir().expect("a temporary directory");
    helper(folder.path(), "docker-credential-of-the-test");
    let config = folder.path().join("config.json");
    let registry = stage.registry.name();
    fs::write(&config, format!(r#"{{"credHelpers":{{"{registry}":"of-the-test"}}}}"#)).expect("the folder is ours");

    let log = fs::File::create(folder.path().join("log")).expect("the folder is ours");
    let mut worker = stage.command(&["worker"]);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", folder.path().display());
    worker
        .env("PATH", path)
        .env(variable("docker-host"), stage.dockerds[0].host())
        .env(variable("engine-host-id"), name_of(0))
        .env(variable("docker-config"), &config)
        .env(variable("retry-min"), "1m")
        .env(variable("retry-max"), "1m")
        .env("RUST_LOG", "debug")
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(Stdio::from(log));
    let mut worker = Ends(worker.spawn().expect("the binary under test runs"));
    stage.hosts_alive(1).await;
    let pulled = stage.json(&["runtime", "pull", &stage.registry.image("team/game")]).await;
    assert_eq!(pulled["hosts"][0]["state"], "done", "{pulled}");
    // A file that is broken later: the job backs off, and the reason is shown.
    fs::write(&config, format!("{{{PASSWORD}")).expect("the folder is ours");
    stage.world.send("game", &stage.registry.image("team/other")).await;
    let began = Instant::now();
    let mut story = stage.json(&["inspect", "game"]).await;
    while story["open_job"]["failures"] != 1 {
        assert!(began.elapsed() < PATIENCE, "{story}");
        story = stage.json(&["inspect", "game"]).await;
    }
    assert_eq!(story["pull"]["state"], "failed", "{story}");
    let (_, text, _) = stage.run(&["inspect", "game"]).await;
    assert!(text.contains("image_pull_failed: docker-config ") && text.contains("is not JSON"), "{text}");
    assert!(text.contains("attempts that failed so far: 1.") && !text.contains(PASSWORD), "{text}");
    worker.end();
    let asked = fs::read_to_string(folder.path().join("asked")).expect("it was asked");
    assert_eq!(asked.trim(), format!("get {registry}"));
    let log = fs::read_to_string(folder.path().join("log")).expect("there is a log");
    assert!(log.contains("consumer started") && !log.contains(PASSWORD) && !log.contains(AUTH), "{log}");
}

/// A process that ends with its test.
struct Ends(std::process::Child);

impl Ends {
    fn end(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.end();
    }
}
