//! The second part: the same on a real Docker Engine, with this very program as the game engine.

use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::cli::dev::engines::ENGINE_IMAGE;
use crate::cli::fleet_settings;
use crate::cli::users_docker::{self, UsersDocker};
use crate::contract::job_result::REPLAY_NO_OP;
use crate::embedded::docker::DockerAdmin;
use crate::embedded::image;
use crate::embedded::leftovers::{Guard, Leftovers, OnEngine};
use crate::embedded::site::Site;
use crate::lobby::client::Outcome;

use super::plan::Entry;
use super::progress::Progress;
use super::stage::{Error, REPLICAS, Rest, Stage};

/// Waiting for all containers: this, and a while for each.
const PATIENCE: Duration = Duration::from_secs(60);
const PATIENCE_EACH: Duration = Duration::from_secs(5);
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// What the deployment files have too.
const STRICT_POLICY: &str = include_str!("../../../deploy/policy/policy.strict.toml");
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// What came of it.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum OnDocker {
    /// Nothing was started.
    LeftOut {
        /// Why.
        left_out: String,
    },
    /// Containers were started.
    Ran(Box<Ran>),
}

/// Containers that were started.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Ran {
    #[serde(flatten)]
    pub(super) rest: Rest,
    /// Where the engine answers.
    pub(super) docker_host: String,
    /// One line for each game.
    pub(super) games: Vec<Game>,
    /// From the first job to the last outcome.
    pub(super) starts_per_second: f64,
    /// The first game asked for again: found running, in the same container.
    pub(super) replay: Again,
    /// The first game asked for with another image.
    pub(super) conflict: Again,
}

/// One game's container, as seen from here.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Game {
    #[serde(rename = "game_id")]
    pub(super) id: String,
    pub(super) engine_endpoint: String,
    /// The HTTP status of its game engine; none where it did not answer.
    pub(super) http_status: Option<u16>,
    /// Where there is no container.
    pub(super) error_code: String,
    /// What its container is not kept from, although the policy says so.
    pub(super) unconfined: Vec<String>,
    #[serde(skip)]
    container_id: String,
}

/// A second job for a game.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Again {
    pub(super) game_id: String,
    pub(super) error_code: String,
    /// What was expected, container included.
    pub(super) as_expected: bool,
}

impl OnDocker {
    /// Did everything that was tried come out as promised?
    pub(super) fn is_exact(&self) -> bool {
        match self {
            Self::LeftOut { .. } => true,
            Self::Ran(ran) => {
                let answers = ran.games.iter().all(|game| game.http_status == Some(200) && game.unconfined.is_empty());
                ran.rest.exact && answers && ran.replay.as_expected && ran.conflict.as_expected
            }
        }
    }
}

/// Runs it where it can be run. What it brings to the engine goes with `guard`.
pub(super) async fn show(site: &mut Site, count: u16, guard: &mut Option<Guard>) -> Result<OnDocker, Error> {
    let left_out = |left_out: String| Ok(OnDocker::LeftOut { left_out });
    if count == 0 {
        return left_out("--docker-containers is 0".to_owned());
    }
    let UsersDocker { host: docker_host, tls, mut settings } = match users_docker::find() {
        Ok(docker) => docker,
        Err(report) => return left_out(report.to_string()),
    };
    let admin = match DockerAdmin::connect(&docker_host, tls.as_ref()).await {
        Ok(admin) => admin,
        Err(error) => {
            return left_out(format!("no Docker Engine answers at {docker_host}: {error}"));
        }
    };
    let program = image::own_program()?;
    if !image::is_static(&program) {
        let why =
            "this program is not statically linked, so it cannot be an image by itself; deploy/demo.sh builds it so";
        return left_out(why.to_owned());
    }
    eprintln!("{REPLICAS} replicas start {count} containers on the Docker Engine at {docker_host}");
    // Unique, so that container names cannot clash and no other container is ever removed.
    let run = Uuid::new_v4();
    let namespace = format!("startjobs-demo-{run}");
    let on_engine =
        OnEngine { docker_host: docker_host.clone(), host_id: namespace.clone(), image: Some(ENGINE_IMAGE.to_owned()) };
    *guard = Some(site.guard(&Leftovers { directory: None, engine: Some(on_engine) })?);
    if let Err(error) = admin.import(ENGINE_IMAGE, &program).await {
        return left_out(format!("the Docker Engine does not take the image {ENGINE_IMAGE}: {error}"));
    }
    let policy = site.directory().join("policy.toml");
    std::fs::write(&policy, STRICT_POLICY)?;
    settings.extend(fleet_settings::pairs([
        ("policy-file", policy.display().to_string().as_str()),
        ("engine", "docker"),
        ("engine-host-id", namespace.as_str()),
        ("fleet-id", namespace.as_str()),
        ("readiness", "http:/"),
    ]));
    let mut stage = Stage::open(site, &namespace, settings).await?;
    let ran = start_all(&mut stage, count, run, (docker_host, &admin)).await?;
    stage.fleet.stop(STOPPED_WITHIN).await;
    Ok(OnDocker::Ran(Box::new(ran)))
}

async fn start_all(
    stage: &mut Stage,
    count: u16,
    run: Uuid,
    (docker_host, admin): (String, &DockerAdmin),
) -> Result<Ran, Error> {
    let short = &run.simple().to_string()[..8];
    let names: Vec<String> = (1..=count).map(|number| format!("demo-{short}-{number}")).collect();
    let mut progress = Progress::new("docker", names.len());
    let patience = PATIENCE + PATIENCE_EACH * u32::from(count);
    let began = Instant::now();
    for game in &names {
        stage.send(&Entry::Job { game: game.clone(), image: ENGINE_IMAGE.to_owned() }).await?;
    }
    stage.rest(&mut progress, patience).await?;
    let starts_per_second = f64::from(count) / began.elapsed().as_secs_f64();
    let outcomes = stage.answers().await?.outcomes;
    let mut games = Vec::new();
    for outcome in outcomes {
        games.push(look_at(outcome, admin).await);
    }
    games.sort_by_key(|game| names.iter().position(|name| *name == game.id));
    drop(progress);

    let mut progress = Progress::new("docker", names.len() + 2);
    let first = names.first().cloned().unwrap_or_default();
    let mut again = async |image: &str| {
        let id = stage.send(&Entry::Job { game: first.clone(), image: image.to_owned() }).await?.to_string();
        let rest = stage.rest(&mut progress, patience).await?;
        let outcomes = stage.answers().await?.outcomes;
        let outcome = outcomes.into_iter().find(|outcome| outcome.source_ref.as_deref() == Some(id.as_str()));
        Ok::<_, Error>((outcome, rest))
    };
    let (replayed, _) = again(ENGINE_IMAGE).await?;
    let (refused, rest) = again("galaxy/engine:other").await?;
    let container = games.first().map(|game| game.container_id.clone()).unwrap_or_default();
    let replay =
        judge(&first, replayed, |outcome| outcome.error_code == REPLAY_NO_OP && outcome.container_id == container);
    let conflict = judge(&first, refused, |outcome| outcome.error_code == "image_conflict");
    Ok(Ran { rest, docker_host, games, starts_per_second, replay, conflict })
}

async fn look_at(outcome: Outcome, admin: &DockerAdmin) -> Game {
    let unconfined = match outcome.container_id.as_str() {
        "" => Vec::new(),
        id => admin.unconfined(id).await.unwrap_or_else(|error| vec![error]),
    };
    Game {
        unconfined,
        http_status: http_status(&outcome.engine_endpoint).await,
        id: outcome.game_id,
        engine_endpoint: outcome.engine_endpoint,
        error_code: outcome.error_code,
        container_id: outcome.container_id,
    }
}

fn judge(game: &str, outcome: Option<Outcome>, expected: impl Fn(&Outcome) -> bool) -> Again {
    Again {
        game_id: game.to_owned(),
        as_expected: outcome.as_ref().is_some_and(expected),
        error_code: outcome.map(|outcome| outcome.error_code).unwrap_or_default(),
    }
}

/// The status of `GET /`.
async fn http_status(endpoint: &str) -> Option<u16> {
    let authority = endpoint.strip_prefix("http://")?;
    let request = format!("GET / HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    let asked = async {
        let mut stream = TcpStream::connect(authority).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut start = [0; "HTTP/1.1 200".len()];
        stream.read_exact(&mut start).await.ok()?;
        std::str::from_utf8(&start).ok()?.rsplit_once(' ')?.1.parse().ok()
    };
    timeout(ANSWERS_WITHIN, asked).await.ok()?
}
