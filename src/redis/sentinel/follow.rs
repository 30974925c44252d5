//! Asks the sentinels for as long as anything is connected by what they say, and tells of each other master.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until, timeout};

use super::ask::{is_master, named_by};
use super::choose::Resolution;
use super::following::{Following, Teller};
use crate::redis::config::{Address, Config};
use crate::redis::place::HostPort;
use crate::redis::{Connection, Kind, RedisError, Role};

/// Between two rounds of questions, and at least where a call has failed: in an outage all calls of all replicas fail, and the
/// sentinels are to elect a master meanwhile.
const INTERVAL: Duration = Duration::from_millis(500);
const HURRIED_INTERVAL: Duration = Duration::from_millis(200);

/// Those that ask the sentinels of these settings; none where they name a server.
pub(in crate::redis) fn follow(settings: &Config) -> Result<Option<Arc<Following>>, RedisError> {
    let Address::Sentinel { sentinels, service } = &settings.address else { return Ok(None) };
    settings.sentinel.follower.join(|| begin(settings, sentinels, service)).map(Some)
}

fn begin(settings: &Config, sentinels: &[HostPort], service: &str) -> Result<Following, RedisError> {
    let asked = sentinels.iter().map(|at| {
        let settings = settings.of_sentinel(at);
        Ok((at.clone(), Connection::start_with(&settings, Role::Sentinel, "startjobs:sentinel", None)?))
    });
    let (sentinels, service) = (asked.collect::<Result<_, RedisError>>()?, service.to_owned());
    let (settings, resolution) = (settings.clone(), Resolution::default());
    Ok(Following::begin(|teller| Asker { settings, sentinels, service, resolution, teller }.run()))
}

/// The settings of the server that the sentinels of these settings name now; asks them for at most `limit`.
pub(crate) async fn resolved(settings: &Config, limit: Duration) -> Result<Config, RedisError> {
    let Some(following) = follow(settings)? else { return Ok(settings.clone()) };
    let (mut masters, troubles) = (following.masters(), following.troubles());
    let known = timeout(limit, masters.wait_for(Option::is_some)).await;
    if let Ok(Ok(master)) = known
        && let Some(master) = &*master
    {
        return Ok(settings.at(&master.at));
    }
    let trouble = troubles.borrow().clone();
    Err(trouble.unwrap_or_else(|| RedisError::unreachable("no sentinel has answered in time")))
}

/// The task that asks.
struct Asker {
    settings: Config,
    sentinels: Vec<(HostPort, Connection)>,
    service: String,
    resolution: Resolution,
    teller: Teller,
}

impl Asker {
    async fn run(mut self) {
        loop {
            let began = Instant::now();
            self.round().await;
            sleep_until(began + HURRIED_INTERVAL).await;
            tokio::select! {
                () = sleep_until(began + INTERVAL) => {}
                () = self.teller.hurried() => {}
            }
        }
    }

    async fn round(&mut self) {
        let answers = join_all(self.sentinels.iter().map(|(_, sentinel)| named_by(sentinel, &self.service))).await;
        let (mut said, mut failed) = (Vec::new(), Vec::new());
        for ((at, _), answer) in self.sentinels.iter().zip(answers) {
            match answer {
                Ok(master) => said.push(master),
                Err(error) => failed.push((at, error)),
            }
        }
        let mut trouble = if said.is_empty() { Some(of_silence(&failed)) } else { None };
        for master in self.resolution.hear(&said, self.sentinels.len(), Instant::now()) {
            match is_master(&self.settings.at(&master.at)).await {
                Ok(()) => {
                    self.resolution.found(master);
                    trouble = None;
                    break;
                }
                Err(RedisError { kind, text }) => {
                    let text = format!("the sentinels name {master} as the master: {text}");
                    trouble = Some(RedisError { kind, text });
                }
            }
        }
        self.teller.master(self.resolution.known());
        if let Some(trouble) = trouble {
            self.teller.trouble(trouble);
        }
    }
}

/// Of sentinels none of which has named a master.
fn of_silence(failed: &[(&HostPort, RedisError)]) -> RedisError {
    // What an operator has to correct comes before what may pass.
    let worst = failed.iter().min_by_key(|(_, error)| match error.kind {
        Kind::Denied => 0,
        Kind::Unexpected => 1,
        _ => 2,
    });
    let Some((at, RedisError { kind, text })) = worst else { return RedisError::unreachable("no sentinel is known") };
    let count = failed.len();
    let what = if count == 1 { "the sentinel names".to_owned() } else { format!("none of {count} sentinels names") };
    let negation = if count == 1 { " no" } else { " a" };
    RedisError { kind: *kind, text: format!("{what}{negation} master ({at}: {text})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_to_be_corrected_is_told_before_what_may_pass() {
        let at = |port| HostPort { host: "h".to_owned(), port };
        let (first, second) = (at(1), at(2));
        let refused = RedisError { kind: Kind::Denied, text: "asks for a password".to_owned() };
        let silent = || RedisError::unreachable("timed out");
        let told = of_silence(&[(&first, silent()), (&second, refused)]);
        assert_eq!(told.text, "none of 2 sentinels names a master (h:2: asks for a password)");
        assert_eq!(told.kind, Kind::Denied);
        assert_eq!(of_silence(&[(&first, silent())]).text, "the sentinel names no master (h:1: timed out)");
    }
}
