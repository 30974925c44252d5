//! Greetings as a kind of job: `name` is greeted, and `wish` says what happens on the way.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use startjobs::contract::Fields;
use startjobs::contract::error_code::ErrorCode;
use startjobs::metrics::labels::{OutcomeCode, OutcomeKind};
use startjobs::stream::settle::Outcome;
use startjobs::worker::handler::{Answer, Attempt, Blame, Condemned, Failure, GiveUp, Handler, Request};

use super::book::{Answered, Begun, Book};

/// The fields of an outcome, in wire order.
pub const OUTCOME_FIELDS: [&str; 5] = ["name", "result", "greeting", "error", "source_ref"];

/// How long a job that kills its process lives before.
const LAST_BREATH: Duration = Duration::from_millis(100);
/// The attempt of such a job that must be alone in its process: two deaths make it a suspect.
const ALONE_FROM: u64 = 3;

/// What happens on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// `hello`
    Hello,
    /// `wait <ms>`
    Wait(Duration),
    /// `fail <times>`
    Fail(u64),
    /// `panic <times>`
    Panic(u64),
    /// `busy <times>`
    Busy(u64),
    /// `abort`
    Abort,
}

impl Wish {
    fn of(text: &str) -> Option<Self> {
        let (verb, number) = text.split_once(' ').unwrap_or((text, "0"));
        let number = number.parse().ok()?;
        Some(match verb {
            "hello" => Self::Hello,
            "wait" => Self::Wait(Duration::from_millis(number)),
            "fail" => Self::Fail(number),
            "panic" => Self::Panic(number),
            "busy" => Self::Busy(number),
            "abort" => Self::Abort,
            _ => return None,
        })
    }
}

/// The handler.
#[derive(Debug)]
pub struct Greeter {
    desk: Arc<Desk>,
}

impl Greeter {
    /// A greeter whose engine is down while this file exists.
    pub fn new(book: Book, engine_down: PathBuf) -> Self {
        Self { desk: Arc::new(Desk { book, engine_down, greeted_now: Mutex::default() }) }
    }
}

/// What all jobs of one process share.
#[derive(Debug)]
struct Desk {
    book: Book,
    engine_down: PathBuf,
    /// How many attempts of each name are under way.
    greeted_now: Mutex<HashMap<String, usize>>,
}

impl Desk {
    fn engine(&self) -> Result<(), String> {
        if self.engine_down.exists() { Err("the greeter has lost its voice".to_owned()) } else { Ok(()) }
    }

    fn now(&self) -> std::sync::MutexGuard<'_, HashMap<String, usize>> {
        self.greeted_now.lock().expect("no attempt panics with the lock")
    }
}

/// An attempt is under way for as long as this lives.
struct Presence<'a> {
    desk: &'a Desk,
    name: &'a str,
}

impl<'a> Presence<'a> {
    fn of(desk: &'a Desk, name: &'a str) -> Self {
        *desk.now().entry(name.to_owned()).or_default() += 1;
        Self { desk, name }
    }

    /// How many attempts of this name, and how many names.
    fn company(&self) -> (usize, usize) {
        let now = self.desk.now();
        (now[self.name], now.values().filter(|&&attempts| attempts > 0).count())
    }
}

impl Drop for Presence<'_> {
    fn drop(&mut self) {
        *self.desk.now().get_mut(self.name).expect("entered before") -= 1;
    }
}

/// A wish on which decoding panics.
pub(super) const UNREADABLE: &str = "unreadable";

impl Handler for Greeter {
    fn decode(&self, fields: &Fields) -> Result<Arc<dyn Request>, String> {
        let text = |name: &str| {
            let value: Option<&Bytes> =
                fields.iter().find(|(field, _)| field == name.as_bytes()).map(|(_, value)| value);
            value.map(|value| String::from_utf8(value.to_vec()).map_err(|_| format!("{name} is no text"))).transpose()
        };
        let name = text("name")?.filter(|name| !name.is_empty()).ok_or("no name")?;
        let wish = text("wish")?.ok_or("no wish")?;
        assert_ne!(wish, UNREADABLE, "a handler with a bug");
        let wish = Wish::of(&wish).ok_or_else(|| format!("unknown wish {wish:?}"))?;
        let requested_at_ms = text("requested_at_ms")?.map_or(Ok(0), |ms| ms.parse());
        let requested_at_ms = requested_at_ms.map_err(|_| "requested_at_ms is no number")?;
        Ok(Arc::new(Greet { desk: Arc::clone(&self.desk), name, wish, requested_at_ms }))
    }

    fn job_fields(&self) -> (&'static [&'static str], usize) {
        (&["name", "wish", "requested_at_ms"], 1024)
    }

    fn outcome_fields(&self) -> &'static [&'static str] {
        &OUTCOME_FIELDS
    }

    fn engine(&self) -> &'static str {
        "voice"
    }

    fn host(&self) -> Option<String> {
        self.desk.book.host.clone()
    }

    fn is_up(&self) -> BoxFuture<'_, Result<(), String>> {
        std::future::ready(self.desk.engine()).boxed()
    }

    fn store_is_up(&self) -> BoxFuture<'_, Result<(), Failure>> {
        async { self.desk.book.is_open().await.map_err(Failure::Store) }.boxed()
    }
}

/// One greeting.
#[derive(Debug)]
struct Greet {
    desk: Arc<Desk>,
    name: String,
    wish: Wish,
    requested_at_ms: i64,
}

impl Request for Greet {
    fn lane(&self) -> &str {
        &self.name
    }

    fn requested_at_ms(&self) -> i64 {
        self.requested_at_ms
    }

    fn handle<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<Answer, Failure>> {
        async {
            let presence = Presence::of(&self.desk, &self.name);
            let book = &self.desk.book;
            if presence.company().0 > 1 {
                book.breach("two attempts of one name at once").await;
            }
            if let Err(message) = self.desk.engine() {
                return Err(Failure::Failed { code: ErrorCode::EngineUnavailable, message, blame: Blame::Unclear });
            }
            let call = match book.begin(attempt, &self.name).await.map_err(Failure::Store)? {
                Begun::Answered(answered) => return Ok(self.answer(answered, attempt)),
                Begun::Elsewhere(host) => return Err(Failure::Elsewhere { host: host.into() }),
                Begun::Taken(left) => return Err(Failure::InProgress { retry_after: Some(left) }),
                Begun::Ours(call) => call,
            };
            if let Err(failure) = self.on_the_way(call, &presence).await {
                book.release(attempt.id, &self.name).await.map_err(Failure::Store)?;
                return Err(failure);
            }
            let answered = book.finish(attempt.id, &self.name, None).await.map_err(Failure::Store)?;
            Ok(self.answer(answered, attempt))
        }
        .boxed()
    }

    fn give_up<'a>(&'a self, attempt: &'a Attempt, why: GiveUp) -> BoxFuture<'a, Result<Answer, Failure>> {
        async move {
            let refused = Answered {
                result: "refused".to_owned(),
                reason: why.reason,
                greeting: String::new(),
                error: format!("{}: {}", why.code, why.message),
            };
            let stored = self.desk.book.finish(attempt.id, &self.name, Some(refused)).await.map_err(Failure::Store)?;
            Ok(self.answer(stored, attempt))
        }
        .boxed()
    }
}

impl Greet {
    async fn on_the_way(&self, call: u64, presence: &Presence<'_>) -> Result<(), Failure> {
        let message = format!("hoarse, call {call}");
        let failed = || Failure::Failed { code: ErrorCode::InternalError, message: message.clone(), blame: Blame::Job };
        match self.wish {
            Wish::Wait(duration) => tokio::time::sleep(duration).await,
            Wish::Fail(times) if call <= times => return Err(failed()),
            Wish::Busy(times) if call <= times => return Err(Failure::InProgress { retry_after: None }),
            Wish::Panic(times) if call <= times => panic!("stage fright, call {call}"),
            Wish::Abort => {
                tokio::time::sleep(LAST_BREATH).await;
                if call >= ALONE_FROM && presence.company().1 > 1 {
                    self.desk.book.breach("a suspect was not alone").await;
                }
                std::process::abort();
            }
            Wish::Hello | Wish::Fail(_) | Wish::Busy(_) | Wish::Panic(_) => {}
        }
        Ok(())
    }

    fn answer(&self, answered: Answered, attempt: &Attempt) -> Answer {
        let Answered { result, reason, greeting, error } = answered;
        let source_ref = attempt.id.to_string();
        let outcome = Outcome::of(|push| {
            for value in [&self.name, &result, &greeting, &error, &source_ref] {
                push(value.as_bytes());
            }
        });
        let code = ErrorCode::ALL.into_iter().find(|code| error.starts_with(code.as_str()));
        Answer {
            outcome,
            kind: if error.is_empty() { OutcomeKind::Success } else { OutcomeKind::Failure },
            error_code: Cow::Borrowed(code.map_or("", |code| code.as_str())),
            label: code.map_or(OutcomeCode::Started, OutcomeCode::Failed),
            dead_letter: reason.map(|reason| Condemned { reason, detail: error }),
        }
    }
}
