//! `runtime evict`.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep};

use crate::cli::session::Session;
use crate::cli::{confirm, exit, output};
use crate::ops::games::Walk;
use crate::ops::printable::{printable, span};
use crate::redis::{Kind, RedisError};
use crate::start::change::GameEvents;
use crate::start::game_id::GameId;
use crate::start::record::{PLACED_PAGE, RecordView, Standing, StopWhere};
use crate::stream::fleet_event::{FleetEvent, Happened};

/// Calls at the same time: they travel as one.
const AT_ONCE: usize = 64;

/// No host is listened for longer than this.
const LISTEN_MAX: Duration = Duration::from_secs(30);

/// Which host, and who gives it up.
#[derive(Debug)]
pub(super) struct Evict {
    pub(super) host: String,
    /// Even if it is alive.
    pub(super) force: bool,
    pub(super) by: String,
    /// On a terminal, without `--yes`.
    pub(super) asks: bool,
}

/// What there is to do.
struct Plan {
    standing: Standing,
    /// For people: since when the host was not heard of.
    heard: String,
    /// The list of the host.
    listed: Vec<GameId>,
    /// Games that run or start there, or whose container must go there.
    bound: Vec<GameId>,
    /// Of those, how many run or start.
    live: usize,
}

/// Stops every game of a host, and forgets the host if it is dead.
pub(super) async fn run(session: &Session, evict: &Evict) -> u8 {
    let host = printable(&evict.host);
    if let Err(error) = listen(session, evict).await {
        return session.failed(&error);
    }
    let plan = match plan(session, evict).await {
        Ok(plan) => plan,
        Err(error) => return session.failed(&error),
    };
    let Plan { standing, heard, live, .. } = &plan;
    if *standing == Standing::Alive && !evict.force {
        let what = format!("host {host} is alive, {heard}: nothing was changed");
        output::complain(&what, &format!("--force stops its {} all the same", games(*live)));
        return exit::FAILED;
    }
    if *standing == Standing::Unknown && plan.listed.is_empty() && plan.bound.is_empty() {
        let what = format!("there is no host {host}, and no game is placed there");
        output::complain(&what, "`startjobs runtime hosts` lists the hosts");
        return exit::FAILED;
    }
    if evict.asks {
        let standing = match standing {
            Standing::Alive => format!("alive, {heard}"),
            Standing::Dead => format!("dead, {heard}"),
            Standing::Unknown => "unknown".to_owned(),
        };
        let question = format!("Stop {} of host {host}, which is {standing}.\n", games(*live));
        if !confirm::confirmed(question).await {
            output::note("nothing was changed");
            return exit::FAILED;
        }
    }
    match act(session, evict, &plan).await {
        Ok(text) => {
            let event = FleetEvent::new(Happened::Evicted, Instant::now()).of(&evict.host).saying("", text.trim_end());
            session.note(event).await;
            output::print(&text);
            exit::DONE
        }
        Err(error) => {
            output::note("broken off; the same command again goes on");
            session.failed(&error)
        }
    }
}

fn games(count: usize) -> String {
    if count == 1 { "1 game".to_owned() } else { format!("{count} games") }
}

/// A host says several times in one heartbeat that it is alive. One that seems dead because Redis itself was away is given the
/// time for that.
async fn listen(session: &Session, evict: &Evict) -> Result<(), RedisError> {
    let hosts = session.ask(session.view.host_lines()).await?;
    if hosts.standing(&evict.host, Duration::ZERO) == Standing::Dead {
        let heartbeat = hosts.hosts.get(&evict.host).map_or(0, |line| line.heartbeat_ms);
        sleep(Duration::from_millis(heartbeat / 4).min(LISTEN_MAX)).await;
    }
    Ok(())
}

/// Looks for every game of the host: its list may be missing some, if the host is of an older version.
async fn plan(session: &Session, evict: &Evict) -> Result<Plan, RedisError> {
    let (view, host) = (&session.view, evict.host.as_str());
    let hosts = session.ask(view.host_lines()).await?;
    let standing = hosts.standing(host, Duration::ZERO);
    let line = hosts.hosts.get(host);
    let heard = line.map_or_else(String::new, |line| {
        format!("last heard of {} ago", span(hosts.now_ms.saturating_sub(line.seen_ms)))
    });
    let listed = listed(session, host).await?;
    let mut plan = Plan { standing, heard, listed, bound: Vec::new(), live: 0 };
    let mut seen: HashSet<GameId> = HashSet::new();
    let mut walk = Walk::default();
    while let Some(page) = session.ask(view.walk(&mut walk)).await? {
        for some in page.chunks(AT_ONCE) {
            for (game, record) in session.ask(records_of(session, some)).await? {
                let is_live = ["running", "starting"].contains(&record.state.as_str());
                let is_bound = record.host == host && (is_live || !record.condemned.is_empty());
                // A walk may come by a game twice.
                if is_bound && seen.insert(game.clone()) {
                    plan.live += usize::from(is_live);
                    plan.bound.push(game);
                }
            }
        }
    }
    Ok(plan)
}

async fn listed(session: &Session, host: &str) -> Result<Vec<GameId>, RedisError> {
    let (mut listed, mut from) = (Vec::new(), 0);
    loop {
        let page = session.ask(session.view.records().placed(host, from)).await?;
        let count = page.len() as u64;
        listed.extend(page);
        if count < PLACED_PAGE {
            return Ok(listed);
        }
        from += count;
    }
}

/// The records of these games; one that cannot be read is left alone.
async fn records_of(session: &Session, games: &[GameId]) -> Result<Vec<(GameId, RecordView)>, RedisError> {
    let look = async |game: &GameId| match session.view.records().view(game).await {
        Ok(record) => Ok(record.map(|record| (game.clone(), record))),
        Err(error) if error.kind == Kind::WrongType => Ok(None),
        Err(error) => Err(error),
    };
    let found: Vec<Option<(GameId, RecordView)>> =
        stream::iter(games.iter().map(look)).buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn act(session: &Session, evict: &Evict, plan: &Plan) -> Result<String, RedisError> {
    let is_alive = plan.standing == Standing::Alive;
    let mut stopped = 0;
    for some in plan.bound.chunks(AT_ONCE) {
        let stops = some.iter().map(|game| stop(session, evict, game, is_alive));
        let answers: Vec<bool> = session.ask(stream::iter(stops).buffered(AT_ONCE).try_collect()).await?;
        stopped += answers.into_iter().filter(|stopped| *stopped).count();
    }
    let host = printable(&evict.host);
    if is_alive {
        // Its replicas remove the containers, tell Lobby and take the games off the list.
        return Ok(format!("stopped {} of host {host}, which is alive and removes the containers\n", games(stopped)));
    }
    for some in plan.listed.iter().chain(&plan.bound).collect::<Vec<_>>().chunks(AT_ONCE) {
        let leaves = some.iter().map(|game| leave(session, evict, game));
        session.ask(stream::iter(leaves).buffered(AT_ONCE).try_collect::<()>()).await?;
    }
    let is_forgotten = session.ask(session.view.records().forget(&evict.host)).await?;
    let host_is = match (is_forgotten, plan.standing) {
        (true, _) => format!("host {host} is forgotten"),
        (false, Standing::Unknown) => format!("nothing was known of host {host}"),
        (false, _) => format!("host {host} has come back meanwhile"),
    };
    Ok(format!("stopped {} of host {host}; {host_is}\n", games(stopped)))
}

/// Whether a game that ran or started there was stopped.
async fn stop(session: &Session, evict: &Evict, game: &GameId, is_alive: bool) -> Result<bool, RedisError> {
    let (records, host) = (session.view.records(), evict.host.as_str());
    let place = if is_alive { StopWhere::On(host) } else { StopWhere::Gone(host) };
    let answer = records.stop(game, &evict.by, place).await?;
    Ok(["running", "starting"].contains(&answer.was.as_str()))
}

/// Takes a game off the list of a dead host, after Lobby has been told that it has ended: the host itself tells it nothing.
async fn leave(session: &Session, evict: &Evict, game: &GameId) -> Result<(), RedisError> {
    let records = session.view.records();
    if let Some(record) = records.view(game).await?
        && record.state == "stopped"
        && record.host == evict.host
    {
        GameEvents(session.view.game_events()).ended(records, game, &record).await?;
    }
    records.displace(game, &evict.host).await
}
