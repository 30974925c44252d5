//! Dead letters that were put back: an entry's successors, and those whose successor it is.

use serde::Serialize;

use super::scan::Bound;
use super::{EntryStage, Moment};
use crate::ops::View;
use crate::ops::damaged::{Damaged, LINKS};
use crate::ops::printable::moment;
use crate::redis::commands::{Entry, Order};
use crate::redis::{Kind, RedisError};
use crate::stream::entry_id::EntryId;

/// Links in one page.
const PAGE: u64 = 500;
/// The log is kept to about 10,000 links.
const LINKS_MAX: usize = 12_000;
/// How often a job that was requeued and died again is followed, in either direction.
const STEPS_MAX: usize = 16;

/// One dead letter that was put back as a new entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Requeue {
    /// The dead letter; empty where only the new entry tells.
    pub(crate) dead_letter_id: String,
    /// The entry it was made of.
    pub(crate) from: String,
    /// The new entry.
    pub(crate) to: String,
    /// Why it was a dead letter; empty where only the new entry tells.
    pub(crate) reason: String,
    /// Who put it back, `user@host`; empty where a version did it that does not say.
    pub(crate) by: String,
    /// When, Unix milliseconds of the server's clock.
    pub(crate) at_ms: u64,
}

/// The newest entry that an entry has become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Successor {
    /// Its id.
    pub(crate) entry_id: String,
    /// What has happened to it so far.
    pub(crate) stage: EntryStage,
    /// What is known of it, for people.
    pub(crate) sentence: String,
}

/// The links that there are, newest first.
#[derive(Debug, Default)]
pub(super) struct Links {
    known: Vec<Requeue>,
    /// All were read.
    pub(super) is_whole: bool,
    /// They cannot be read.
    pub(super) damaged: Option<Damaged>,
}

impl View {
    /// The log of requeued dead letters, within the bound of time.
    pub(super) async fn links(&self, bound: Bound) -> Result<Links, RedisError> {
        let key = format!("{}:requeued", self.keys.dead);
        let mut links = Links { is_whole: true, ..Links::default() };
        let mut last = "+".to_owned();
        loop {
            if links.known.len() >= LINKS_MAX || tokio::time::Instant::now() >= bound.until {
                links.is_whole = false;
                return Ok(links);
            }
            let page = match self.connection.range(&key, ("-", &last), PAGE, Order::NewestFirst).await {
                Ok(page) => page,
                // A user who may not read the log still sees all the rest.
                Err(error) if matches!(error.kind, Kind::WrongType | Kind::Denied) => {
                    links.damaged = Some(Damaged::key(&key, error.text, LINKS));
                    return Ok(links);
                }
                Err(error) => return Err(error),
            };
            let is_last = (page.len() as u64) < PAGE;
            if let Some(oldest) = page.last() {
                last = format!("({}", oldest.id);
            }
            links.known.extend(page.iter().map(link));
            if is_last {
                return Ok(links);
            }
        }
    }
}

fn link(entry: &Entry) -> Requeue {
    let text = |name: &str| {
        let found = entry.fields.iter().find(|(field, _)| field == name.as_bytes());
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
    };
    Requeue {
        dead_letter_id: text("dead_id"),
        from: text("source_ref"),
        to: text("job_id"),
        reason: text("reason"),
        by: text("by"),
        at_ms: entry.id.parse::<EntryId>().map_or(0, |id| id.ms),
    }
}

impl Links {
    /// What has become of this entry, or of this dead letter, step by step.
    pub(super) fn after(&self, id: &str) -> Vec<Requeue> {
        let mut steps: Vec<Requeue> = Vec::new();
        let mut at = id.to_owned();
        while let Some(step) = self.known.iter().find(|link| link.from == at || link.dead_letter_id == at) {
            if steps.len() == STEPS_MAX || step.to == id || steps.iter().any(|earlier| earlier.to == step.to) {
                break;
            }
            at.clone_from(&step.to);
            steps.push(step.clone());
        }
        steps
    }

    /// How this entry came about, step by step, the oldest first. Where the log has forgotten it, the entry itself says from
    /// which one it was requeued.
    pub(super) fn before(&self, id: EntryId, says: Option<&str>) -> Vec<Requeue> {
        let mut steps: Vec<Requeue> = Vec::new();
        let mut at = id.to_string();
        while let Some(step) = self.known.iter().find(|link| link.to == at) {
            if steps.len() == STEPS_MAX || steps.iter().any(|later| later.from == step.from) {
                break;
            }
            at.clone_from(&step.from);
            steps.push(step.clone());
        }
        let told = says.and_then(|from| from.parse::<EntryId>().ok()).filter(|_| steps.is_empty());
        steps.extend(told.map(|from| Requeue {
            from: from.to_string(),
            to: id.to_string(),
            at_ms: id.ms,
            ..Requeue::default()
        }));
        steps.reverse();
        steps
    }
}

impl Requeue {
    fn by(&self) -> String {
        if self.by.is_empty() { String::new() } else { format!(" by {}", self.by) }
    }

    fn reason(&self) -> String {
        if self.reason.is_empty() { String::new() } else { format!(" ({})", self.reason) }
    }

    /// As a moment of a story.
    pub(super) fn moment(&self) -> Moment {
        let dead = Some(&self.dead_letter_id).filter(|id| !id.is_empty());
        let dead = dead.map_or_else(String::new, |id| format!(", dead letter {id}"));
        let detail = format!("{}{dead}{} became {}{}", self.from, self.reason(), self.to, self.by());
        Moment { at_ms: self.at_ms, what: "requeued", detail }
    }
}

/// What is told of both directions, before and after, beside what is told of the entry itself.
pub(super) fn words((before, after): (&[Requeue], &[Requeue]), now: Option<&Successor>, now_ms: u64) -> String {
    let words =
        before.last().map_or_else(String::new, |step| format!("; it is {} again, requeued{}", step.from, step.by()));
    if after.is_empty() {
        return words;
    }
    let steps = after.iter().enumerate().map(|(at, step)| {
        let again = if at == 0 { "requeued as" } else { "and again as" };
        format!("{again} {}{} at {}", step.to, step.by(), moment(step.at_ms, now_ms))
    });
    let steps = steps.collect::<Vec<_>>().join(", ");
    let now = now.map_or_else(String::new, |now| format!("; {}: {}", now.entry_id, now.sentence));
    format!("{words}; {steps}{now}")
}

/// What is told of an entry whose own answer is not there, and that was requeued.
pub(super) fn ended(entry_id: &str, after: &[Requeue]) -> Option<String> {
    let step = after.first()?;
    let reason = step.reason();
    if step.dead_letter_id == entry_id && step.from != entry_id {
        return Some(format!("a dead letter{reason} of {}", step.from));
    }
    Some(format!("it became a dead letter{reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(steps: &[(&str, &str, &str)]) -> Links {
        let step = |&(dead, from, to): &(&str, &str, &str)| Requeue {
            dead_letter_id: dead.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            ..Requeue::default()
        };
        Links { known: steps.iter().rev().map(step).collect(), is_whole: true, damaged: None }
    }

    fn ids(steps: &[Requeue], of: impl Fn(&Requeue) -> &str) -> Vec<String> {
        steps.iter().map(|step| of(step).to_owned()).collect()
    }

    #[test]
    fn a_chain_is_followed_in_both_directions() {
        let links = links(&[("2-0", "1-0", "3-0"), ("4-0", "3-0", "5-0"), ("12-0", "11-0", "13-0")]);
        assert_eq!(ids(&links.after("1-0"), |step| &step.to), ["3-0", "5-0"]);
        assert_eq!(ids(&links.after("2-0"), |step| &step.to), ["3-0", "5-0"], "the dead letter's own id");
        assert_eq!(ids(&links.after("5-0"), |step| &step.to), [""; 0]);
        let id = |text: &str| text.parse::<EntryId>().expect("an id");
        assert_eq!(ids(&links.before(id("5-0"), Some("9-9")), |step| &step.from), ["1-0", "3-0"]);
        assert_eq!(ids(&links.before(id("8-0"), Some("7-0")), |step| &step.from), ["7-0"], "the log has forgotten it");
        assert_eq!(ids(&links.before(id("8-0"), Some("x")), |step| &step.from), [""; 0]);
    }

    #[test]
    fn a_circle_ends() {
        let links = links(&[("0-1", "1-0", "2-0"), ("0-2", "2-0", "3-0"), ("0-3", "3-0", "2-0")]);
        assert!(links.after("1-0").len() <= STEPS_MAX);
        assert!(links.before(EntryId { ms: 2, seq: 0 }, None).len() <= STEPS_MAX);
    }

    #[test]
    fn a_long_chain_is_cut() {
        let texts: Vec<[String; 3]> =
            (1..100).map(|at| [format!("{at}-5"), format!("{at}-0"), format!("{}-0", at + 1)]).collect();
        let steps: Vec<(&str, &str, &str)> =
            texts.iter().map(|[dead, from, to]| (dead.as_str(), from.as_str(), to.as_str())).collect();
        assert_eq!(links(&steps).after("1-0").len(), STEPS_MAX);
        assert_eq!(links(&steps).before(EntryId { ms: 100, seq: 0 }, None).len(), STEPS_MAX);
    }
}
