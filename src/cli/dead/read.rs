//! `dead list`, `dead show` and `dead export`.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use serde_json::{Map, Value};

use super::json;
use super::select::{Selection, Walk, game_of, look_up};
use super::text::{age, escaped};
use crate::cli::{exit, output};
use crate::ops::printable;
use crate::redis::RedisError;
use crate::stream::dead_letters::{DeadLetters, Letter, Order};
use crate::stream::entry_id::EntryId;

const COLUMNS: [&str; 7] = ["id", "age", "since", "reason", "source_ref", "game", "detail"];
/// A foreign name must not push everything else off the line.
const CELL_MAX: usize = 24;

/// How a list is shown.
#[derive(Debug)]
pub(super) struct Listing {
    pub(crate) json: bool,
    pub(crate) headers: bool,
}

/// Lists what the filters let through, newest first.
pub(super) async fn list(dead: &DeadLetters, selection: &Selection, listing: &Listing) -> Result<u8, RedisError> {
    let limit = selection.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let total = dead.count().await?;
    let mut walk = Walk::begin(dead, &selection.filters, Order::NewestFirst).await?;
    let mut shown: Vec<Letter> = Vec::new();
    let mut more = 0;
    while let Some(mut page) = walk.next().await? {
        let room = limit - shown.len();
        more += page.len().saturating_sub(room);
        page.truncate(room);
        shown.extend(page);
        if shown.len() == limit && selection.filters.is_open() {
            more = usize::try_from(total).unwrap_or(usize::MAX).saturating_sub(limit);
            break;
        }
    }
    if listing.json {
        let letters = shown.iter().map(|letter| Value::Object(json::letter(letter))).collect();
        let object = [("dead_letters", Value::Array(letters)), ("shown", shown.len().into()), ("more", more.into())];
        let object: Map<String, Value> = object.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        output::print(&printable::json(&json::versioned(object)));
        return Ok(exit::DONE);
    }
    if !shown.is_empty() {
        let now_ms = dead.now_ms().await?;
        let rows: Vec<[String; 7]> = shown.iter().map(|letter| row(letter, now_ms)).collect();
        let table = output::table(COLUMNS, &rows);
        let headings = table.split_once('\n').filter(|(first, _)| !listing.headers && first.starts_with("ID "));
        output::print(headings.map_or(&table, |(_, rows)| rows));
    }
    match more {
        0 if shown.is_empty() => {
            let like = if selection.filters.is_open() { "" } else { " like that" };
            output::note(&format!("no dead letters{like}"));
        }
        0 => {}
        more => output::complain(&format!("{more} more"), "--limit N or --all shows them"),
    }
    Ok(exit::DONE)
}

fn row(letter: &Letter, now_ms: u64) -> [String; 7] {
    let cell = |bytes: &[u8]| match bytes {
        b"" => "-".to_owned(),
        bytes => super::text::cut(&escaped(bytes), CELL_MAX),
    };
    let reason = if letter.head.is_some() { cell(letter.head("reason")) } else { "(foreign)".to_owned() };
    // An id is never cut.
    let source = letter.head("source_ref");
    let is_id = std::str::from_utf8(source).is_ok_and(|text| text.parse::<EntryId>().is_ok());
    [
        letter.id.to_string(),
        age(now_ms.saturating_sub(letter.id.ms)),
        printable::time(letter.id.ms),
        reason,
        if is_id { escaped(source) } else { cell(source) },
        cell(game_of(letter)),
        escaped(letter.head("detail")),
    ]
}

/// Shows everything about one.
pub(super) async fn show(dead: &DeadLetters, selection: &Selection, as_json: bool) -> Result<u8, RedisError> {
    let found = look_up(dead, &selection.ids).await?;
    say(&found.notes, &found.problems);
    for letter in &found.letters {
        let text = if as_json {
            printable::json(&json::versioned(json::letter(letter)))
        } else {
            plain(letter, dead.now_ms().await?)
        };
        output::print(&text);
    }
    Ok(if found.problems.is_empty() { exit::DONE } else { exit::FAILED })
}

fn plain(letter: &Letter, now_ms: u64) -> String {
    let mut lines =
        vec![("id".to_owned(), letter.id.to_string()), ("age".to_owned(), printable::since(letter.id.ms, now_ms))];
    match &letter.head {
        Some(head) => lines.extend(head.pairs().map(|(name, value)| (name.to_owned(), told(name, value, now_ms)))),
        None => lines.push(("reason".to_owned(), "(foreign: not written by the fleet)".to_owned())),
    }
    let mut text = output::aligned(&lines);
    if letter.original.is_empty() {
        text.push_str("\nno original fields: the payload is gone\n");
        return text;
    }
    text.push_str("\noriginal fields, in order:\n");
    let original: Vec<(String, String)> =
        letter.original.iter().map(|(name, value)| (format!("  {}", escaped(name)), escaped(value))).collect();
    text.push_str(&output::aligned(&original));
    text
}

/// A value of the fleet's own, a time as one.
fn told(name: &str, value: &[u8], now_ms: u64) -> String {
    let at = || std::str::from_utf8(value).ok()?.parse::<u64>().ok();
    let at = Some(name).filter(|name| name.ends_with("_at_ms")).and_then(|_| at());
    at.map_or_else(|| escaped(value), |at| format!("{at}  {}", printable::moment(at, now_ms)))
}

/// Says how ids were understood, and what is wrong with others.
pub(super) fn say(notes: &[String], problems: &[String]) {
    for note in notes {
        output::note(note);
    }
    for problem in problems {
        output::note(problem);
    }
}

/// Writes dead letters as JSON Lines.
pub(super) async fn export(dead: &DeadLetters, selection: &Selection, out: Option<&Path>) -> Result<u8, RedisError> {
    let mut sink = match Sink::open(out) {
        Ok(sink) => sink,
        Err(text) => {
            output::complain(&text, "name another --out, or a directory in which you may write");
            return Ok(exit::FAILED);
        }
    };
    let written = write_all(dead, selection, &mut sink).await;
    let finished = match written {
        Ok(Ok(failed)) => sink.finish().map(|()| failed),
        Ok(Err(error)) => Err(error),
        Err(error) => {
            sink.give_up();
            return Err(error);
        }
    };
    match finished {
        Ok(failed) => Ok(if failed { exit::FAILED } else { exit::DONE }),
        // The reader has seen enough: `dead export | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(exit::DONE),
        Err(error) => {
            output::complain(
                &format!("the export is not complete: {error}"),
                "make room, and give the same command again",
            );
            sink.give_up();
            Ok(exit::FAILED)
        }
    }
}

/// Answers whether some id led to nothing.
async fn write_all(
    dead: &DeadLetters,
    selection: &Selection,
    sink: &mut Sink<'_>,
) -> Result<io::Result<bool>, RedisError> {
    if !selection.ids.is_empty() {
        let found = look_up(dead, &selection.ids).await?;
        say(&found.notes, &found.problems);
        return Ok(sink.write(&found.letters).map(|()| !found.problems.is_empty()));
    }
    let mut left = selection.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut walk = Walk::begin(dead, &selection.filters, Order::OldestFirst).await?;
    while left > 0 {
        let Some(mut page) = walk.next().await? else {
            break;
        };
        page.truncate(left);
        left -= page.len();
        if let Err(error) = sink.write(&page) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(false))
}

struct Sink<'a> {
    writer: BufWriter<Box<dyn Write>>,
    /// A file of our own making, which must not stay behind half written.
    made: Option<&'a Path>,
}

impl<'a> Sink<'a> {
    fn open(out: Option<&'a Path>) -> Result<Self, String> {
        let Some(path) = out else {
            return Ok(Self { writer: BufWriter::new(Box::new(io::stdout())), made: None });
        };
        // A device or a pipe is written to; a file that exists already is not overwritten.
        let is_special = fs::metadata(path).is_ok_and(|about| !about.is_file());
        let file = if is_special { File::options().write(true).open(path) } else { File::create_new(path) };
        let file = file.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        Ok(Self { writer: BufWriter::new(Box::new(file)), made: Some(path).filter(|_| !is_special) })
    }

    fn write(&mut self, letters: &[Letter]) -> io::Result<()> {
        let line = |letter| printable::json(&json::versioned(json::letter(letter)));
        letters.iter().try_for_each(|letter| self.writer.write_all(line(letter).as_bytes()))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        self.made.map_or(Ok(()), |path| File::open(path)?.sync_all())
    }

    fn give_up(&self) {
        if let Some(path) = self.made
            && let Err(error) = fs::remove_file(path)
        {
            let what = format!("{} is half written and cannot be removed: {error}", path.display());
            output::complain(&what, "remove it yourself");
        }
    }
}
