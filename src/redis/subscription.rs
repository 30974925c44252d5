//! A subscription on a connection of its own. The server notices within milliseconds when this process dies, because the kernel
//! closes the connection, and PUBSUB NUMSUB then counts one subscriber less. Messages on the channel are hints, and what they
//! say is not looked at: anyone with the right may publish anything, and any message may be lost.

use std::time::Duration;

use fred::interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _};
use fred::types::{CustomCommand, Message, Value as Reply};
use futures_util::future::join;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::config::Config;
use super::connection::{Connection, Role};
use super::{FromValue as _, Kind, RedisError, Value};

/// A refused SUBSCRIBE is sent again after this long: each refusal adds an entry to the server's ACL log.
const REFUSED_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// A SUBSCRIBE that failed is sent again after a wait that doubles between these.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How the server's words begin when it does not allow SUBSCRIBE or does not have it.
const REFUSALS: [&str; 2] = ["NOPERM", "ERR unknown command"];
/// How often the client's task is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A subscription that is made again after each loss. Dropping it closes its connection.
#[derive(Debug)]
pub struct Subscription {
    standing: watch::Receiver<Standing>,
    messages: watch::Receiver<u64>,
    keeper: JoinHandle<()>,
}

/// How a subscription is at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// How many SUBSCRIBE have been sent. It rises before each of them, and each is executed at most once, so no two
    /// subscriptions have the same number.
    pub generation: u64,
    /// Whether the server counts it.
    pub state: SubscriptionState,
}

/// Whether the server counts a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionState {
    /// There is no subscription: the connection is gone, or SUBSCRIBE has not been answered yet.
    Down,
    /// The server has confirmed this generation, and its connection is not known to be lost.
    Subscribed,
    /// The server has refused SUBSCRIBE with these words. It is asked again after five minutes.
    Refused(String),
}

impl Subscription {
    /// Keeps a subscription to `channel` for as long as it lives: connects, subscribes, and does both again after each
    /// loss. Returns at once. `name` is what the connection is called in CLIENT LIST.
    pub fn keep(settings: &Config, name: &str, channel: &str) -> Result<Self, RedisError> {
        Self::keep_with(settings, name, channel, REFUSED_INTERVAL)
    }

    /// The same, with another interval after which a refused SUBSCRIBE is sent again.
    pub fn keep_with(
        settings: &Config,
        name: &str,
        channel: &str,
        refused_interval: Duration,
    ) -> Result<Self, RedisError> {
        let connection = Connection::start(settings, Role::Subscriber, name)?;
        let (teller, standing) = watch::channel(Standing { generation: 0, state: SubscriptionState::Down });
        let (counter, messages) = watch::channel(0);
        let channel = channel.to_owned();
        let keeper = Keeper { connection, channel, refused_interval, standing: teller, messages: counter };
        Ok(Self { standing, messages, keeper: tokio::spawn(keeper.run()) })
    }

    /// The present standing.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Changes when messages have come after this call; many may be one change. What is published while there is no subscription
    /// is lost.
    pub fn messages(&self) -> watch::Receiver<u64> {
        let mut messages = self.messages.clone();
        messages.mark_unchanged();
        messages
    }

    /// Changes with each loss, each subscription and each refusal after this call. A generation that rises is no change
    /// by itself: the answer to its SUBSCRIBE is.
    pub fn changes(&self) -> watch::Receiver<Standing> {
        let mut changes = self.standing.clone();
        changes.mark_unchanged();
        changes
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // It owns the connection.
        self.keeper.abort();
    }
}

/// The task that keeps a subscription.
struct Keeper {
    connection: Connection,
    channel: String,
    refused_interval: Duration,
    standing: watch::Sender<Standing>,
    messages: watch::Sender<u64>,
}

/// What became of a SUBSCRIBE.
enum Answer {
    Subscribed,
    Refused(String),
    /// The server cannot serve it now.
    Failed,
    /// It was not answered, or by something that is no answer to it. Later replies on this connection may be answers to
    /// earlier commands.
    Lost,
}

impl Keeper {
    async fn run(self) {
        tokio::select! {
            () = self.subscribe_for_ever() => {}
            () = self.check_client() => {}
        }
    }

    async fn check_client(&self) {
        loop {
            sleep(CHECK_INTERVAL).await;
            self.connection.replace_ended();
        }
    }

    async fn subscribe_for_ever(&self) {
        let (mut failures, mut next_try) = (0, Instant::now());
        loop {
            let number = self.connection.up().await;
            // A subscribed client can no longer set its name.
            // There is one as soon as there was a connection.
            let Ok(client) = self.connection.client() else { continue };
            let name = self.connection.set_name(&client);
            tokio::select! {
                () = self.connection.gone(number) => continue,
                _ = join(name, sleep_until(next_try)) => {}
            }
            // Before SUBSCRIBE, so that none is missed.
            let Ok(client) = self.connection.client() else { continue };
            let messages = client.message_rx();
            let answer = tokio::select! {
                () = self.connection.gone(number) => Answer::Lost,
                answer = self.subscribe() => answer,
            };
            let answered_at = Instant::now();
            match answer {
                Answer::Subscribed => {
                    self.tell(SubscriptionState::Subscribed);
                    tokio::select! {
                        () = self.connection.gone(number) => {}
                        () = self.pass_on(messages) => {}
                    }
                    self.tell(SubscriptionState::Down);
                    // A server that closes each subscription at once is not asked without a pause.
                    // It is not made to wait for long: while it is lost the death of this process would not be noticed.
                    failures = u32::from(answered_at.elapsed() < RETRY_MIN);
                    next_try = Instant::now() + wait_after(failures);
                }
                Answer::Refused(words) => {
                    failures = 0;
                    self.tell(SubscriptionState::Refused(words));
                    next_try = answered_at + self.refused_interval;
                }
                Answer::Failed | Answer::Lost => {
                    if matches!(answer, Answer::Lost) {
                        // With the client goes what it has not sent yet: a SUBSCRIBE of this generation must not reach
                        // the next connection.
                        self.connection.replace();
                    }
                    if self.standing.borrow().state != SubscriptionState::Down {
                        self.tell(SubscriptionState::Down);
                    }
                    failures += 1;
                    next_try = answered_at + wait_after(failures);
                }
            }
        }
    }

    /// Sends SUBSCRIBE as a new generation. The library answers it when it is written, hides the server's confirmation,
    /// and hands a refusal to the next command. So a PING follows, and what answers that PING is the answer to both.
    async fn subscribe(&self) -> Answer {
        let mut generation = 0;
        self.standing.send_if_modified(|standing| {
            standing.generation += 1;
            generation = standing.generation;
            false
        });
        let (Ok(client), token) = (self.connection.client(), generation.to_string()) else { return Answer::Lost };
        let ping = CustomCommand::new_static("PING", None::<u16>, false);
        // Sent in this order, without a wait between them.
        let subscribe = client.subscribe(self.channel.as_str());
        let (_, answer) = join(subscribe, client.custom::<Reply, _>(ping, vec![token.as_str()])).await;
        match answer {
            Ok(reply) => understood(Value(reply), &token),
            Err(error) => meaning_of(error.details(), &RedisError::from(&error)),
        }
    }

    /// Says that messages have come, for as long as the subscription lasts. The library keeps a few of them, and drops the oldest.
    async fn pass_on(&self, mut messages: broadcast::Receiver<Message>) {
        loop {
            match messages.recv().await {
                Ok(_) | Err(RecvError::Lagged(_)) => self.messages.send_modify(|times| *times += 1),
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }

    fn tell(&self, state: SubscriptionState) {
        self.standing.send_modify(|standing| standing.state = state);
    }
}

/// Only a subscribed RESP2 client gets two words for a PING. Any other reply belongs to another command.
fn understood(reply: Value, token: &str) -> Answer {
    match <(String, String)>::from_value(reply) {
        Ok((word, echo)) if word == "pong" && echo == token => Answer::Subscribed,
        _ => Answer::Lost,
    }
}

/// The first error decides, and SUBSCRIBE is answered first: an error that only PING can have means that SUBSCRIBE had
/// none.
fn meaning_of(said: &str, error: &RedisError) -> Answer {
    // A server whose disk fails answers MISCONF to PING and to writes alone.
    if is_about_ping(said) || said.starts_with("MISCONF") {
        return Answer::Subscribed;
    }
    if REFUSALS.iter().any(|words| said.starts_with(words)) {
        return Answer::Refused(error.text.clone());
    }
    if error.kind == Kind::Unreachable { Answer::Lost } else { Answer::Failed }
}

/// The first word in quotes is the command; 6.2 has back quotes around one that it does not know.
fn is_about_ping(said: &str) -> bool {
    said.split(['\'', '`']).nth(1).is_some_and(|command| command.eq_ignore_ascii_case("ping"))
}

fn wait_after(failures: u32) -> Duration {
    match failures.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => RETRY_MIN.saturating_mul(1 << doublings.min(8)).min(RETRY_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an error text of the server means: none: subscribed.
    fn refused(said: &str) -> Option<bool> {
        match meaning_of(said, &RedisError::of_server(said)) {
            Answer::Subscribed => None,
            Answer::Refused(words) => {
                assert!(words.contains(said), "{words}");
                Some(true)
            }
            Answer::Failed | Answer::Lost => Some(false),
        }
    }

    #[test]
    fn the_first_error_tells_whether_it_was_subscribe_that_failed() {
        for (said, meaning) in [
            ("NOPERM this user has no permissions to run the 'subscribe' command or its subcommand", Some(true)),
            ("NOPERM User narrow has no permissions to run the 'subscribe' command", Some(true)),
            ("NOPERM this user has no permissions to access one of the channels used as arguments", Some(true)),
            ("NOPERM No permissions to access a channel", Some(true)),
            ("ERR unknown command 'SUBSCRIBE', with args beginning with: 'ping:alive:me' ", Some(true)),
            ("ERR unknown command `SUBSCRIBE`, with args beginning with: `ping:alive:me`, ", Some(true)),
            ("NOPERM this user has no permissions to run the 'ping' command", None),
            ("ERR unknown command `PING`, with args beginning with: `1`, ", None),
            ("MISCONF Errors writing to the AOF file: No space left on device", None),
            ("LOADING Redis is loading the dataset in memory", Some(false)),
            ("BUSY Redis is busy running a script.", Some(false)),
            ("ERR something new", Some(false)),
        ] {
            assert_eq!(refused(said), meaning, "{said}");
        }
    }

    #[test]
    fn only_the_answer_of_a_subscribed_client_confirms() {
        let array = |words: &[&str]| Value(Reply::Array(words.iter().map(|&word| word.into()).collect()));
        assert!(matches!(understood(array(&["pong", "7"]), "7"), Answer::Subscribed));
        // An earlier PING's, one of a client that is not subscribed, and one to CLIENT SETNAME.
        for other in [array(&["pong", "6"]), Value("7".into()), Value("OK".into())] {
            assert!(matches!(understood(other, "7"), Answer::Lost));
        }
    }

    #[test]
    fn the_wait_doubles_from_a_tenth_of_a_second_to_one() {
        let waits: Vec<u128> = (0..7).map(|failures| wait_after(failures).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(wait_after(u32::MAX), RETRY_MAX);
    }
}
