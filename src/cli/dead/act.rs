//! `dead requeue` and `dead remove`.

use std::fmt::Write as _;

use tokio::time::Instant;

use super::read::say;
use super::select::{Selection, Walk, game_of, look_up};
use super::text::{columns, escaped};
use crate::cli::session::who;
use crate::cli::{confirm, exit, output};
use crate::redis::RedisError;
use crate::stream::dead_letters::{DeadLetters, Letter, Order, REMOVE_BATCH_MAX, REQUEUE_BATCH_MAX, Requeued};
use crate::stream::entry_id::EntryId;
use crate::stream::fleet_event::{FleetEvent, Happened};

/// What is to be done.
#[derive(Debug)]
pub(super) struct Action {
    verb: Verb,
    dry_run: bool,
    /// On a terminal, without `--yes`.
    asks: bool,
}

/// What is done to the selected dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Requeue,
    Remove,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Remove => "remove",
        }
    }

    /// Why this selection may not be acted on.
    pub(crate) fn allows(self, selection: &Selection, is_all: bool) -> Result<(), String> {
        if selection.ids.is_empty() && !is_all {
            return Err(format!(
                "no dead letter is named\n  name ids, or give --all for everything that the filters select; see startjobs dead {} --help",
                self.as_str()
            ));
        }
        if self == Self::Requeue && selection.filters.reasons.iter().any(|reason| reason == "entry_lost") {
            return Err("entry_lost cannot be requeued: the payload was deleted before a replica worked on it\n  \
                 leave that --reason out"
                .to_owned());
        }
        Ok(())
    }
}

impl Action {
    /// The action, or why it may not begin.
    pub(crate) fn new(verb: Verb, dry_run: bool, yes: bool) -> Result<Self, String> {
        let asks = !dry_run && !yes;
        if asks && !confirm::can_ask() {
            return Err(format!(
                "dead {} asks before it changes anything, and there is no terminal to ask on\n  \
                 give --yes, or --dry-run to look first",
                verb.as_str()
            ));
        }
        Ok(Self { verb, dry_run, asks })
    }
}

/// A dead letter without its payload: there may be very many.
struct Target {
    id: EntryId,
    source_ref: String,
    reason: String,
    game: String,
    obstacle: Option<&'static str>,
}

const EMPTY: &str = "its payload was deleted before a replica worked on it, so there is nothing to requeue";
const FOREIGN: &str = "it was not written by the fleet";
const CUT: &str = "it did not keep the whole payload";
const GONE: &str = "no dead letter any more: another command requeued or removed it";

impl Target {
    fn of(letter: &Letter) -> Self {
        let obstacle = match letter {
            Letter { head: None, .. } => Some(FOREIGN),
            Letter { original, .. } if original.is_empty() => Some(EMPTY),
            letter if letter.is_cut() => Some(CUT),
            _ => None,
        };
        Self {
            id: letter.id,
            source_ref: escaped(letter.head("source_ref")),
            reason: escaped(letter.head("reason")),
            game: escaped(game_of(letter)),
            obstacle,
        }
    }
}

/// Requeues or removes what was selected, as it is now.
pub(super) async fn act(dead: &DeadLetters, selection: &Selection, action: &Action) -> Result<u8, RedisError> {
    let (mut targets, mut failed) = targets(dead, selection).await?;
    if action.verb == Verb::Requeue {
        let before = targets.len();
        targets.retain(|target| {
            let Some(obstacle) = target.obstacle else {
                return true;
            };
            output::note(&format!("{} is left alone: {obstacle}", target.id));
            false
        });
        // Filters did not ask for this very one.
        failed |= targets.len() < before && !selection.ids.is_empty();
    }
    if action.dry_run {
        print_targets(&targets);
        let verb = if action.verb == Verb::Requeue { "requeue" } else { "remove" };
        output::note(&format!("would {verb} {}; nothing was changed", dead_letters(targets.len())));
    } else if targets.is_empty() {
        output::note("nothing to do");
    } else if action.asks && !confirmed(action.verb, &targets).await {
        output::note("nothing was changed");
        return Ok(exit::FAILED);
    } else {
        failed |= match action.verb {
            Verb::Requeue => requeue(dead, &targets).await?,
            Verb::Remove => remove(dead, &targets).await?,
        };
    }
    Ok(if failed { exit::FAILED } else { exit::DONE })
}

/// What was selected, and whether some id led to nothing.
async fn targets(dead: &DeadLetters, selection: &Selection) -> Result<(Vec<Target>, bool), RedisError> {
    if !selection.ids.is_empty() {
        let found = look_up(dead, &selection.ids).await?;
        say(&found.notes, &found.problems);
        return Ok((found.letters.iter().map(Target::of).collect(), !found.problems.is_empty()));
    }
    let limit = selection.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let mut walk = Walk::begin(dead, &selection.filters, Order::OldestFirst).await?;
    let mut targets: Vec<Target> = Vec::new();
    while targets.len() < limit {
        let Some(page) = walk.next().await? else {
            break;
        };
        targets.extend(page.iter().take(limit - targets.len()).map(Target::of));
    }
    Ok((targets, false))
}

fn dead_letters(count: usize) -> String {
    if count == 1 { "1 dead letter".to_owned() } else { format!("{count} dead letters") }
}

fn print_targets(targets: &[Target]) {
    let row = |target: &Target| {
        vec![target.id.to_string(), target.reason.clone(), target.source_ref.clone(), target.game.clone()]
    };
    let rows: Vec<Vec<String>> = targets.iter().map(row).collect();
    output::print(&columns(&rows, usize::MAX));
}

// Writing to a String cannot fail, so those results are not looked at.

/// How many the question names.
const NAMED_MAX: usize = 10;

async fn confirmed(verb: Verb, targets: &[Target]) -> bool {
    let mut question = match verb {
        Verb::Requeue => format!("Append {} to the jobs stream again:\n", dead_letters(targets.len())),
        Verb::Remove => format!("Remove {} for good:\n", dead_letters(targets.len())),
    };
    for target in targets.iter().take(NAMED_MAX) {
        _ = writeln!(question, "  {}  {}  {}", target.id, target.reason, target.game);
    }
    if targets.len() > NAMED_MAX {
        _ = writeln!(question, "  and {} more", targets.len() - NAMED_MAX);
    }
    confirm::confirmed(question).await
}

/// Says how far a run came that Redis broke off.
fn say_broken_off(done: usize, batch: &[Target], left: usize) {
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else {
        return;
    };
    let batch = dead_letters(batch.len());
    output::complain(
        &format!(
            "broken off: {done} done, {batch} from {} to {} may or may not be, {left} not begun",
            first.id, last.id
        ),
        "the same command again goes on",
    );
}

/// Dead letters of which each has an event of its own; more have one together.
const NOTED_MAX: usize = 10;

/// Writes down what was done to one of few. Where Redis refuses that, it stays done.
async fn note_one(dead: &DeadLetters, what: Happened, (target, all): (&Target, usize), text: &str) {
    if all <= NOTED_MAX
        && let Ok(job) = target.source_ref.parse::<EntryId>()
    {
        let event = FleetEvent::new(what, Instant::now()).about(job, &target.game).saying(&target.reason, text);
        drop(dead.note(&event.done_by(&who())).await);
    }
}

/// The same of many together.
async fn note_all(dead: &DeadLetters, what: Happened, (done, all): (usize, usize)) {
    if all > NOTED_MAX && done > 0 {
        let event = FleetEvent::new(what, Instant::now()).times(done as u64).done_by(&who());
        drop(dead.note(&event).await);
    }
}

/// Answers whether something failed.
async fn requeue(dead: &DeadLetters, targets: &[Target]) -> Result<bool, RedisError> {
    let (mut done, mut begun, mut failed) = (0, 0, false);
    for batch in targets.chunks(REQUEUE_BATCH_MAX) {
        begun += batch.len();
        let ids: Vec<EntryId> = batch.iter().map(|target| target.id).collect();
        let answers = match dead.requeue(&ids, &who()).await {
            Ok(answers) => answers,
            Err(error) => {
                say_broken_off(done, batch, targets.len() - begun);
                return Err(error);
            }
        };
        let mut lines = String::new();
        let mut refused = None;
        for (target, answer) in batch.iter().zip(answers) {
            let obstacle = match answer {
                Requeued::As(job) => {
                    done += 1;
                    note_one(dead, Happened::Requeued, (target, targets.len()), &format!("as {job}")).await;
                    _ = writeln!(lines, "{}  requeued as {job}  source {}", target.id, target.source_ref);
                    continue;
                }
                Requeued::Gone => GONE,
                Requeued::Foreign => FOREIGN,
                Requeued::Empty => EMPTY,
                Requeued::Cut => CUT,
                Requeued::Refused(text) => {
                    refused = Some((target.id, text));
                    continue;
                }
                Requeued::Skipped => continue,
            };
            failed = true;
            output::note(&format!("{}: {obstacle}", target.id));
        }
        output::print(&lines);
        if let Some((id, text)) = refused {
            let left = targets.iter().filter(|target| target.id >= id).count();
            output::complain(
                &format!("{id}: Redis refused the job: {}", escaped(text.as_bytes())),
                &format!(
                    "{} left as they are from there on; repair that, and give the same command again",
                    dead_letters(left)
                ),
            );
            return Ok(true);
        }
    }
    note_all(dead, Happened::Requeued, (done, targets.len())).await;
    output::note(&format!("requeued {}", dead_letters(done)));
    Ok(failed)
}

/// Answers whether something failed.
async fn remove(dead: &DeadLetters, targets: &[Target]) -> Result<bool, RedisError> {
    let (mut done, mut begun, mut failed) = (0, 0, false);
    for batch in targets.chunks(REMOVE_BATCH_MAX) {
        begun += batch.len();
        let ids: Vec<EntryId> = batch.iter().map(|target| target.id).collect();
        let removed = match dead.remove(&ids).await {
            Ok(removed) => removed,
            Err(error) => {
                say_broken_off(done, batch, targets.len() - begun);
                return Err(error);
            }
        };
        let mut lines = String::new();
        for (target, was_there) in batch.iter().zip(removed) {
            if was_there {
                done += 1;
                note_one(dead, Happened::Removed, (target, targets.len()), "").await;
                _ = writeln!(lines, "{}  removed  source {}", target.id, target.source_ref);
            } else {
                failed = true;
                output::note(&format!("{}: {GONE}", target.id));
            }
        }
        output::print(&lines);
    }
    note_all(dead, Happened::Removed, (done, targets.len())).await;
    output::note(&format!("removed {}", dead_letters(done)));
    Ok(failed)
}
