//! The sending side: one thread that sends what is due, one that reads Redis's replies.
//!
//! Nothing here waits for an answer, so a slow system does not slow the load (an open loop). The closed loop waits for
//! room among the entries in flight instead, and its latencies hide the queue it does not let arise.

use std::io;
use std::sync::mpsc::{self, Receiver as Queue, Sender as Enqueue};
use std::thread::JoinHandle;
use std::time::Duration;

use super::mix::Mix;
use super::profile::Profile;
use crate::bench::observe::books::Entry;
use crate::bench::observe::shared::Shared;
use crate::bench::rig::clock::now_ms;
use crate::bench::rig::target::Target;
use crate::bench::rig::wire::{Receiver, Sender, Wire};

/// When entries are sent.
#[derive(Debug, Clone)]
pub(crate) enum Loop {
    /// By the clock.
    Open(Profile),
    /// Whenever fewer than so many are unanswered, for so long.
    Closed(u64, Duration),
}

impl Loop {
    /// How long entries are sent.
    pub(crate) fn length(&self) -> Duration {
        match self {
            Self::Open(profile) => profile.length(),
            Self::Closed(_, length) => *length,
        }
    }
}

/// What the sending side needs.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Where to.
    pub(crate) target: Target,
    /// Into which stream.
    pub(crate) stream: String,
    /// When.
    pub(crate) pace: Loop,
    /// What.
    pub(crate) mix: Mix,
    /// What the mix is drawn from.
    pub(crate) seed: u64,
    /// At most so many.
    pub(crate) jobs_max: u64,
    /// A send is late when it leaves so long after it was due.
    pub(crate) late_after: Duration,
}

/// Entries of one write.
const TOGETHER_MAX: usize = 256;
/// The longest sleep, so that a stop is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// How often the closed loop looks for room.
const ROOM_INTERVAL: Duration = Duration::from_micros(100);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long Redis's reply to an XADD may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// An established connection and the thread that reads its replies.
struct Line {
    sender: Sender,
    queue: Enqueue<Entry>,
    replies: JoinHandle<()>,
}

/// Sends until everything has been sent or the run is stopped; returns when every reply has been read.
pub(crate) fn run(load: &Load, shared: &Shared) {
    let mut line = connect(load, shared);
    let mut next_try = Duration::ZERO;
    let mut due = Due::of(&load.pace);
    let mut number = 0;
    while number < load.jobs_max && !shared.is_stopped() {
        let batch = match due.next_batch(shared, load.jobs_max - number) {
            Next::Send(batch) => batch,
            Next::Wait(time) => {
                std::thread::sleep(time.min(SLEEP_MAX));
                continue;
            }
            Next::Over => break,
        };
        if line.as_ref().is_none_or(|line| line.replies.is_finished()) {
            if let Some(dead) = line.take() {
                end(dead);
            }
            if shared.now() >= next_try {
                next_try = shared.now() + CONNECT_AGAIN_AFTER;
                line = connect(load, shared);
            }
        }
        send(load, shared, &mut line, number, &batch);
        number += batch.len() as u64;
    }
    if let Some(line) = line {
        end(line);
    }
}

/// Closes the queue and waits until every reply that was due has been read.
fn end(line: Line) {
    drop(line.queue);
    // A panic there would have been a bug; its entries count as without an answer.
    drop(line.replies.join());
}

fn send(load: &Load, shared: &Shared, line: &mut Option<Line>, number: u64, batch: &[Duration]) {
    let count = batch.len() as u64;
    let Some(Line { sender, queue, .. }) = line else {
        let mut books = shared.books();
        books.departed(shared.now(), count, 0);
        books.failed += count;
        return;
    };
    let left = shared.now();
    let mut late = 0;
    for (number, intended) in (number..).zip(batch) {
        let message = load.mix.message(load.seed, number);
        message.put(sender, &load.stream, now_ms(), number);
        late += u64::from(left.saturating_sub(*intended) > load.late_after);
        let entry = Entry { due: message.due, intended: *intended, left, seen: None };
        // Before the write, so that a reply always finds its entry. Without a reader the write fails too.
        queue.send(entry).ok();
    }
    shared.books().departed(left, count, late);
    if sender.flush().is_err() {
        // The reading side sees the same end, and counts what was not answered.
        sender.close();
    }
}

fn connect(load: &Load, shared: &Shared) -> Option<Line> {
    let Wire { sender, receiver } = Wire::connect(&load.target, PATIENCE).ok()?;
    let (queue, entries) = mpsc::channel();
    let shared = shared.clone();
    let replies = std::thread::spawn(move || take_replies(receiver, &entries, &shared));
    Some(Line { sender, queue, replies })
}

/// Replies come in the order of the sends. After the first that is lost, all are.
fn take_replies(mut receiver: Receiver, entries: &Queue<Entry>, shared: &Shared) {
    let mut is_lost = false;
    while let Ok(entry) = entries.recv() {
        if is_lost {
            shared.books().failed += 1;
            continue;
        }
        match take_reply(&mut receiver) {
            Ok(id) => {
                let at = shared.now();
                shared.books().appended(id, entry, at);
            }
            Err(error) => {
                shared.books().failed += 1;
                is_lost = error.kind() != io::ErrorKind::Other;
                if is_lost {
                    // What has been queued is counted; what comes later goes through a new connection.
                    while entries.try_recv().is_ok() {
                        shared.books().failed += 1;
                    }
                    return;
                }
            }
        }
    }
}

fn take_reply(receiver: &mut Receiver) -> io::Result<crate::stream::entry_id::EntryId> {
    let id = receiver.text();
    let id = id.and_then(|id| {
        let text = String::from_utf8_lossy(receiver.bytes(&id)).into_owned();
        text.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    });
    receiver.forget();
    id
}

enum Next {
    Send(Vec<Duration>),
    Wait(Duration),
    Over,
}

/// What is due when.
enum Due {
    Open(std::iter::Peekable<Box<dyn Iterator<Item = Duration> + Send>>),
    Closed(u64, Duration),
}

impl Due {
    fn of(pace: &Loop) -> Self {
        match pace {
            Loop::Open(profile) => {
                let schedule: Box<dyn Iterator<Item = Duration> + Send> = Box::new(profile.schedule());
                Self::Open(schedule.peekable())
            }
            Loop::Closed(in_flight, length) => Self::Closed(*in_flight, *length),
        }
    }

    fn next_batch(&mut self, shared: &Shared, at_most: u64) -> Next {
        let now = shared.now();
        let room = usize::try_from(at_most).unwrap_or(usize::MAX).min(TOGETHER_MAX);
        match self {
            Self::Open(schedule) => {
                let batch: Vec<Duration> =
                    std::iter::from_fn(|| schedule.next_if(|at| *at <= now)).take(room).collect();
                match (batch.is_empty(), schedule.peek()) {
                    (false, _) => Next::Send(batch),
                    (true, Some(at)) => Next::Wait(at.saturating_sub(now)),
                    (true, None) => Next::Over,
                }
            }
            Self::Closed(_, length) if now >= *length => Next::Over,
            Self::Closed(in_flight, _) => {
                let free = in_flight.saturating_sub(shared.books().in_flight());
                if free == 0 {
                    return Next::Wait(ROOM_INTERVAL);
                }
                Next::Send(vec![now; room.min(usize::try_from(free).unwrap_or(usize::MAX))])
            }
        }
    }
}
