//! The floor: a bare client that reads, answers and acknowledges with no safety at all. What a worker costs beyond
//! this is what its promises cost.

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::clock::now_ms;
use super::noop::{CONTAINER_ID, endpoint};
use super::target::Target;
use super::wire::{Receiver, Wire};
use crate::contract::job_result::FIELDS;
use crate::settings::Settings;
use crate::stream::OutcomeFields;

const SCRIPT: &str = include_str!("floor.lua");
/// Entries of one read, and so of one answer.
const BATCH: &str = "256";
const BLOCK_MS: &str = "1000";
const CONSUMER: &str = "floor";
/// More than the block.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a batch is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One script.
    Script,
    /// Pipelined commands.
    Pipeline,
}

/// One entry in the receiver's buffer.
struct Entry {
    id: Range<usize>,
    game: Range<usize>,
    requested: Range<usize>,
}

/// Answers entries until the connection ends.
pub(crate) fn run(settings: &Settings, manner: Manner) -> io::Result<()> {
    let mut wire = Wire::connect(&Target::of(&settings.redis)?, PATIENCE)?;
    let sha = wire.text(&[b"SCRIPT", b"LOAD", SCRIPT.as_bytes()])?.unwrap_or_default();
    let floor = Floor { settings, manner, sha };
    let mut replies = 0;
    loop {
        floor.read(&mut wire);
        wire.sender.flush()?;
        // What the previous batch was answered with comes first.
        for _ in 0..replies {
            wire.receiver.skip()?;
        }
        wire.receiver.forget();
        let entries = receive(&mut wire.receiver)?;
        replies = if entries.is_empty() { 0 } else { floor.answer(&mut wire, &entries) };
    }
}

struct Floor<'a> {
    settings: &'a Settings,
    manner: Manner,
    sha: String,
}

impl Floor<'_> {
    fn read(&self, wire: &mut Wire) {
        let stream = &self.settings.stream;
        wire.sender.command(&[
            b"XREADGROUP",
            b"GROUP",
            stream.group.as_bytes(),
            CONSUMER.as_bytes(),
            b"COUNT",
            BATCH.as_bytes(),
            b"BLOCK",
            BLOCK_MS.as_bytes(),
            b"STREAMS",
            stream.jobs.as_bytes(),
            b">",
        ]);
    }

    /// Puts the answer of a batch into the sender's buffer; answers how many replies will come.
    fn answer(&self, wire: &mut Wire, entries: &[Entry]) -> usize {
        let fields = match self.settings.stream.outcome_fields {
            OutcomeFields::Original => 6,
            OutcomeFields::Extended => FIELDS.len(),
        };
        match self.manner {
            Manner::Script => self.by_script(wire, entries, fields),
            Manner::Pipeline => self.by_pipeline(wire, entries, fields),
        }
    }

    fn by_script(&self, wire: &mut Wire, entries: &[Entry], fields: usize) -> usize {
        let Wire { sender, receiver } = wire;
        let stream = &self.settings.stream;
        sender.begin(8 + entries.len() * (1 + fields));
        for word in ["EVALSHA", &self.sha, "3", &stream.jobs, &stream.results, &stream.offset_key, &stream.group] {
            sender.word(word.as_bytes());
        }
        sender.word(fields.to_string().as_bytes());
        let finished = now_ms().to_string();
        for entry in entries {
            sender.word(receiver.bytes(&entry.id));
            let game = String::from_utf8_lossy(receiver.bytes(&entry.game));
            let endpoint = endpoint(&game);
            let values = values(entry, receiver, &endpoint, &finished);
            for value in &values[..fields] {
                sender.word(value);
            }
        }
        1
    }

    fn by_pipeline(&self, wire: &mut Wire, entries: &[Entry], fields: usize) -> usize {
        let Wire { sender, receiver } = wire;
        let stream = &self.settings.stream;
        let finished = now_ms().to_string();
        for entry in entries {
            let game = String::from_utf8_lossy(receiver.bytes(&entry.game));
            let endpoint = endpoint(&game);
            let values = values(entry, receiver, &endpoint, &finished);
            sender.begin(3 + 2 * fields);
            for word in ["XADD", &stream.results, "*"] {
                sender.word(word.as_bytes());
            }
            for (name, value) in FIELDS.iter().zip(values).take(fields) {
                sender.word(name.as_bytes());
                sender.word(value);
            }
        }
        sender.begin(3 + entries.len());
        for word in ["XACK", &stream.jobs, &stream.group] {
            sender.word(word.as_bytes());
        }
        for entry in entries {
            sender.word(receiver.bytes(&entry.id));
        }
        let last = entries.last().map_or(0..0, |entry| entry.id.clone());
        sender.command(&[b"SET", stream.offset_key.as_bytes(), receiver.bytes(&last)]);
        entries.len() + 2
    }
}

fn receive(receiver: &mut Receiver) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    if receiver.array()?.is_none() {
        return Ok(entries);
    }
    receiver.array()?;
    receiver.text()?;
    for _ in 0..receiver.array()?.unwrap_or_default() {
        receiver.array()?;
        let mut entry = Entry { id: receiver.text()?, game: 0..0, requested: 0..0 };
        for _ in 0..receiver.array()?.unwrap_or_default() / 2 {
            let (name, value) = (receiver.text()?, receiver.text()?);
            match receiver.bytes(&name) {
                b"game_id" => entry.game = value,
                b"requested_at_ms" => entry.requested = value,
                _ => {}
            }
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn values<'a>(entry: &Entry, receiver: &'a Receiver, endpoint: &'a str, finished: &'a str) -> [&'a [u8]; 10] {
    [
        receiver.bytes(&entry.game),
        b"success",
        CONTAINER_ID.as_bytes(),
        endpoint.as_bytes(),
        b"",
        b"",
        receiver.bytes(&entry.id),
        receiver.bytes(&entry.requested),
        finished.as_bytes(),
        b"1",
    ]
}
