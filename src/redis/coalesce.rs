//! Calls that are made at the same time travel as one: sixty calls of a script cost Redis and the client several times
//! what one call with sixty parts costs.
//!
//! Nothing waits for others to come: whatever is ready to call when the runtime has run every ready task goes, alone
//! where it is alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::packed::{Strings, arrays_of};
use super::{Connection, RedisError, Script, Source, Value};

const HEAD: &str = include_str!("scripts/coalesced_head.lua");
const TAIL: &str = include_str!("scripts/coalesced_tail.lua");
/// Words of one call, its verb among them.
const WORDS_MAX: usize = 8;
/// The whole script of these verbs.
pub(crate) fn script_of(verbs: &str) -> Script {
    Source::new().part(HEAD).part(verbs).part(TAIL).script()
}

/// Calls in one run. Beyond this nothing is gained, and Redis serves no other client meanwhile.
const BATCH_MAX: usize = 64;
/// What an ordinary call packs to, roughly.
const BYTES_EXPECTED: usize = 256;

/// A script of verbs, called for one key at a time and run for many.
#[derive(Debug, Clone)]
pub(crate) struct Coalescer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connection: Arc<Connection>,
    script: Script,
    waiting: Mutex<Waiting>,
}

/// Bounded by the callers, each of which waits for its one answer.
#[derive(Debug)]
struct Waiting {
    batch: Batch,
    /// A task that will take it has been spawned.
    is_taken_soon: bool,
}

#[derive(Debug)]
struct Batch {
    keys: Vec<String>,
    /// What else the verbs may touch.
    further: Vec<String>,
    calls: Strings,
    answers: Vec<oneshot::Sender<Result<Vec<String>, RedisError>>>,
}

impl Batch {
    fn new() -> Self {
        Self { keys: Vec::new(), further: Vec::new(), calls: Strings::expecting(BYTES_EXPECTED), answers: Vec::new() }
    }
}

impl Coalescer {
    /// A script whose verbs are defined by `verbs`: functions `verbs.<name>(key, ..)` that answer an array of strings.
    pub(crate) fn new(connection: Arc<Connection>, verbs: &str) -> Self {
        let script = script_of(verbs);
        let waiting = Mutex::new(Waiting { batch: Batch::new(), is_taken_soon: false });
        Self(Arc::new(Shared { connection, script, waiting }))
    }

    /// The connection the script runs on.
    pub(crate) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Calls a verb (the first word) for a key, and for others that it may touch, the ones that all calls share first. An error may
    /// leave it executed.
    pub(crate) async fn call(
        &self,
        key: String,
        further: impl IntoIterator<Item = String>,
        words: &[&str],
    ) -> Result<Vec<String>, RedisError> {
        debug_assert!(words.len() <= WORDS_MAX, "the tail of the script hands over no more");
        let (sender, answer) = oneshot::channel();
        {
            let mut waiting = self.0.lock();
            waiting.batch.keys.push(key);
            // One that all calls share is named once.
            for key in further {
                let named = &waiting.batch.further;
                if named.first() != Some(&key) && named.last() != Some(&key) {
                    waiting.batch.further.push(key);
                }
            }
            waiting.batch.calls.push_counted(words);
            waiting.batch.answers.push(sender);
            if waiting.batch.keys.len() >= BATCH_MAX {
                let batch = std::mem::replace(&mut waiting.batch, Batch::new());
                drop(waiting);
                drop(tokio::spawn(Arc::clone(&self.0).run(batch)));
            } else if !std::mem::replace(&mut waiting.is_taken_soon, true) {
                // Runs after every task that is ready now: what those call goes with it.
                drop(tokio::spawn(Arc::clone(&self.0).take()));
            }
        }
        answer.await.unwrap_or_else(|_| Err(RedisError::unreachable("the call was dropped: the process ends")))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn take(self: Arc<Self>) {
        let batch = {
            let mut waiting = self.lock();
            waiting.is_taken_soon = false;
            std::mem::replace(&mut waiting.batch, Batch::new())
        };
        if !batch.keys.is_empty() {
            self.run(batch).await;
        }
    }

    async fn run(self: Arc<Self>, batch: Batch) {
        let Batch { keys, further, calls, answers } = batch;
        // A caller that is gone by now does not want its answer.
        match self.answers(keys, further, calls).await {
            Ok(replies) => {
                for (answer, words) in answers.into_iter().zip(replies) {
                    drop(answer.send(reply_of(words)));
                }
            }
            Err(error) => {
                for answer in answers {
                    drop(answer.send(Err(error.clone())));
                }
            }
        }
    }

    async fn answers(
        &self,
        mut keys: Vec<String>,
        further: Vec<String>,
        calls: Strings,
    ) -> Result<Vec<Vec<String>>, RedisError> {
        let count = keys.len();
        let mut args = vec![Value::from(calls.into_array()?)];
        if !further.is_empty() {
            args.push(count.to_string().into());
            keys.extend(further);
        }
        let reply = self.script.run(&self.connection, keys, args).await?;
        let replies = reply.as_bytes().and_then(arrays_of).filter(|replies| replies.len() == count);
        replies.ok_or_else(|| RedisError::unexpected("a coalesced reply"))
    }
}

fn reply_of(words: Vec<String>) -> Result<Vec<String>, RedisError> {
    match words.as_slice() {
        [word, text] if word == "error" => Err(RedisError::of_server(text)),
        _ => Ok(words),
    }
}
