//! The places where jobs are found, page by page: what is read is bounded by entries, by bytes and by time.

use bytes::Bytes;
use tokio::time::Instant;

use super::row::{JobRow, JobState, Looked};
use crate::ops::View;
use crate::redis::{RedisError, Value};
use crate::stream::entry_id::EntryId;

/// Entries in one step of the server.
const PAGE: u64 = 500;
/// Bytes of payloads behind which a step ends. Redis copies them, and serves no other client meanwhile.
const BYTES_MAX: u64 = 1_048_576;
/// Bytes of a game's or an image's name; a valid one is not longer.
const NAME_MAX: u64 = 256;
/// Bytes of an error text.
const TEXT_MAX: u64 = 256;

/// How far a walk may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Entries.
    pub(super) entries: u64,
    /// Until then.
    pub(super) until: Instant,
}

impl Limit {
    fn page(self, looked_at: u64) -> u64 {
        if Instant::now() >= self.until { 0 } else { PAGE.min(self.entries.saturating_sub(looked_at)) }
    }
}

type HeldRow = (String, Bytes, u64, u64, Bytes, Bytes);
/// The id of the outcome; then entry, game, image, code, text, attempt.
type FailedRow = (String, Vec<Bytes>);

impl View {
    /// Jobs behind this id that no replica has read, oldest first.
    pub(super) async fn walk_waiting(
        &self,
        (from, at_ms): (String, u64),
        limit: Limit,
        mut found: impl FnMut(JobRow),
    ) -> Result<Looked, RedisError> {
        let (mut from, mut looked) = (from, Looked { place: "waiting", looked_at: 0, of: None, is_whole: false });
        while let page @ 1.. = limit.page(looked.looked_at) {
            let args = words(&[&from, &page.to_string(), &BYTES_MAX.to_string(), &NAME_MAX.to_string()]);
            let reply = self.scripts.waiting.run(&self.connection, vec![self.keys.jobs.clone()], args).await?;
            let (is_over, rows): (u64, Vec<(String, Bytes, Bytes)>) = reply.convert()?;
            looked.looked_at += rows.len() as u64;
            if let Some((last, ..)) = rows.last() {
                from = format!("({last}");
            }
            let row = |(id, game, image)| job_row(Some(id), (&game, &image), JobState::Waiting, at_ms);
            rows.into_iter().map(row).for_each(&mut found);
            if is_over == 1 {
                looked.is_whole = true;
                break;
            }
        }
        Ok(looked)
    }

    /// Jobs that consumers hold, oldest first.
    pub(super) async fn walk_held(
        &self,
        at_ms: u64,
        limit: Limit,
        mut found: impl FnMut(JobRow),
    ) -> Result<Looked, RedisError> {
        let (mut from, mut looked) =
            ("-".to_owned(), Looked { place: "pending", looked_at: 0, of: None, is_whole: false });
        while let page @ 1.. = limit.page(looked.looked_at) {
            let (page, bytes, name) = (page.to_string(), BYTES_MAX.to_string(), NAME_MAX.to_string());
            let args = words(&[&self.group, &from, &page, &bytes, &name]);
            let reply = self.scripts.held.run(&self.connection, vec![self.keys.jobs.clone()], args).await?;
            let (is_over, rows): (u64, Vec<HeldRow>) = reply.convert()?;
            looked.looked_at += rows.len() as u64;
            if let Some((last, ..)) = rows.last() {
                from = format!("({last}");
            }
            for (id, owner, _idle_ms, deliveries, game, image) in rows {
                let row = job_row(Some(id), (&game, &image), JobState::InFlight, at_ms);
                found(JobRow { replica: text(&owner), deliveries: Some(deliveries), ..row });
            }
            if is_over == 1 {
                looked.is_whole = true;
                break;
            }
        }
        Ok(looked)
    }

    /// Jobs that were answered with a failure since then, newest first.
    pub(super) async fn walk_failed(
        &self,
        (oldest_ms, at_ms): (u64, u64),
        limit: Limit,
        mut found: impl FnMut(JobRow),
    ) -> Result<Looked, RedisError> {
        let mut looked = Looked { place: "results", looked_at: 0, of: None, is_whole: false };
        let (mut from, to) = ("+".to_owned(), format!("{oldest_ms}-0"));
        while let page @ 1.. = limit.page(looked.looked_at) {
            let [page, bytes, name, limit] = [page, BYTES_MAX, NAME_MAX, TEXT_MAX].map(|number| number.to_string());
            let args = words(&[&from, &to, &page, &bytes, &name, &limit]);
            let keys = vec![self.keys.results.clone(), self.keys.jobs.clone()];
            let reply = self.scripts.failed.run(&self.connection, keys, args).await?;
            let (is_over, count, last, rows): (u64, u64, String, Vec<FailedRow>) = reply.convert()?;
            looked.looked_at += count;
            from = format!("({last}");
            rows.into_iter().filter_map(|row| failed_row(row, at_ms)).for_each(&mut found);
            if is_over == 1 || count == 0 {
                looked.is_whole = true;
                break;
            }
        }
        Ok(looked)
    }
}

fn words(words: &[&str]) -> Vec<Value> {
    words.iter().map(|&word| word.into()).collect()
}

fn text(bytes: &Bytes) -> Option<String> {
    let text = String::from_utf8_lossy(bytes).trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}

fn failed_row((outcome, values): FailedRow, at_ms: u64) -> Option<JobRow> {
    let [source, game, image, code, message, attempt]: [Bytes; 6] = values.try_into().ok()?;
    let row = job_row(text(&source), (&game, &image), JobState::Failed, at_ms);
    let since_ms = outcome.parse::<EntryId>().map_or(0, |id| id.ms);
    Some(JobRow {
        since_ms,
        for_ms: at_ms.saturating_sub(since_ms),
        deliveries: text(&attempt).and_then(|attempt| attempt.parse().ok()),
        error_code: text(&code),
        error_message: text(&message),
        outcome_id: Some(outcome),
        ..row
    })
}

fn job_row(entry_id: Option<String>, (game, image): (&Bytes, &Bytes), state: JobState, at_ms: u64) -> JobRow {
    let appended_at_ms = entry_id.as_deref().and_then(|id| id.parse::<EntryId>().ok()).map(|id| id.ms);
    let since_ms = appended_at_ms.unwrap_or(at_ms);
    JobRow {
        entry_id,
        appended_at_ms,
        game_id: text(game),
        image_ref: text(image),
        state,
        since_ms,
        for_ms: at_ms.saturating_sub(since_ms),
        waits_outside: false,
        replica: None,
        replica_is_alive: None,
        deliveries: None,
        failures: None,
        error_code: None,
        error_message: None,
        next_at_ms: None,
        next_in_ms: None,
        outcome_id: None,
    }
}
