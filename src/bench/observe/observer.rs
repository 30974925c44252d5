//! The observing side: one thread, blocked in a read of the results and the dead letters on a connection of its own, as
//! Lobby would be.

use std::io;
use std::time::Duration;

use super::books::Answer;
use super::shared::Shared;
use crate::bench::rig::target::Target;
use crate::bench::rig::wire::{Receiver, Token, Wire};
use crate::stream::entry_id::EntryId;

/// From where on the two streams are followed.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    /// Where.
    pub(crate) target: Target,
    /// Results and dead letters, each with the last id that is of no interest.
    pub(crate) streams: [(String, String); 2],
}

const BLOCK_MS: &str = "200";
const PAGE: &str = "1000";
const PATIENCE: Duration = Duration::from_secs(5);
const CONNECT_AGAIN_AFTER: Duration = Duration::from_millis(20);

impl Observer {
    /// Follows both streams until the run is stopped. Where the connection is lost it goes on from where it was.
    pub(crate) fn run(mut self, shared: &Shared) {
        while !shared.is_stopped() {
            if self.follow(shared).is_err() {
                std::thread::sleep(CONNECT_AGAIN_AFTER);
            }
        }
    }

    fn follow(&mut self, shared: &Shared) -> io::Result<()> {
        let mut wire = Wire::connect(&self.target, PATIENCE)?;
        while !shared.is_stopped() {
            let [(results, results_id), (dead, dead_id)] = &self.streams;
            let words = ["XREAD", "COUNT", PAGE, "BLOCK", BLOCK_MS, "STREAMS", results, dead, results_id, dead_id]
                .map(str::as_bytes);
            wire.sender.command(&words);
            wire.sender.flush()?;
            let Some(streams) = wire.receiver.array()? else { continue };
            let seen = shared.now();
            let mut answers = Vec::new();
            for _ in 0..streams {
                self.take_stream(&mut wire.receiver, seen, &mut answers)?;
            }
            wire.receiver.forget();
            let mut books = shared.books();
            for answer in &answers {
                books.saw(answer);
            }
        }
        Ok(())
    }

    fn take_stream(&mut self, receiver: &mut Receiver, seen: Duration, answers: &mut Vec<Answer>) -> io::Result<()> {
        receiver.array()?;
        let name = receiver.text()?;
        let is_dead_letter = receiver.bytes(&name) == self.streams[1].0.as_bytes();
        for _ in 0..receiver.array()?.unwrap_or_default() {
            receiver.array()?;
            let id = receiver.text()?;
            let id = String::from_utf8_lossy(receiver.bytes(&id)).into_owned();
            let mut source = None;
            let mut answer = Answer {
                source: EntryId::ZERO,
                seen,
                settled_ms: id.parse().map_or(0, |id: EntryId| id.ms),
                finished_ms: None,
                is_success: false,
                is_dead_letter,
            };
            for _ in 0..receiver.array()?.unwrap_or_default() / 2 {
                let (name, value) = (receiver.text()?, receiver.text()?);
                let text = || String::from_utf8_lossy(receiver.bytes(&value));
                match receiver.bytes(&name) {
                    b"source_ref" if source.is_none() => source = text().parse().ok(),
                    b"finished_at_ms" => answer.finished_ms = text().parse().ok(),
                    b"outcome" if !is_dead_letter => answer.is_success = receiver.bytes(&value) == b"success",
                    _ => {}
                }
            }
            let stream = usize::from(is_dead_letter);
            self.streams[stream].1 = id;
            answers.extend(source.map(|source| Answer { source, ..answer }));
        }
        Ok(())
    }
}

/// The id of a stream's newest entry, or the one before all.
pub(crate) fn end_of(wire: &mut Wire, stream: &str) -> io::Result<String> {
    wire.sender.command(&[b"XREVRANGE", stream.as_bytes(), b"+", b"-", b"COUNT", b"1"]);
    wire.sender.flush()?;
    let mut end = "0-0".to_owned();
    if wire.receiver.array()?.unwrap_or_default() > 0 {
        wire.receiver.array()?;
        if let Token::Text(id) = wire.receiver.token()? {
            end = String::from_utf8_lossy(wire.receiver.bytes(&id)).into_owned();
        }
        wire.receiver.skip()?;
    }
    wire.receiver.forget();
    Ok(end)
}
