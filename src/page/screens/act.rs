//! Changing something: first what it would do, then what came of it.

use maud::{Markup, html};
use tokio::time::Instant;

use super::refused::undone;
use crate::page::frame::confirm::{Question, confirm};
use crate::page::frame::icons::Icon;
use crate::page::frame::shell::Tab;
use crate::page::frame::strip::strip;
use crate::page::frame::tone::Tone;
use crate::page::query::Query;
use crate::page::site::{Asked, Frame, framed};
use crate::page::text;
use crate::page::token::Person;
use crate::redis::RedisError;
use crate::stream::dead_letters::{DeadLetters, Letter, Order, REMOVE_BATCH_MAX, REQUEUE_BATCH_MAX, Requeued};
use crate::stream::entry_id::EntryId;
use crate::stream::fleet_event::{FleetEvent, Happened};

/// Dead letters that one form may name.
pub(crate) const IDS_MAX: usize = 64;
/// From so many on the count must be typed before they are removed.
const TYPED_FROM: usize = 10;
/// Dead letters that a question names.
const NAMED_MAX: usize = 10;
/// Characters of a reason.
const REASON_MAX: usize = 200;

/// What is done to dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// They become jobs again.
    Requeue,
    /// They are deleted.
    Remove,
}

impl Verb {
    /// As the log and the commands call it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Requeue => "requeue",
            Self::Remove => "remove",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Requeue => "/dead/requeue",
            Self::Remove => "/dead/remove",
        }
    }
}

/// What a form of dead letters holds.
#[derive(Debug)]
struct Chosen {
    ids: Vec<EntryId>,
    reason: String,
    /// What was typed as their count.
    typed: String,
    /// The question was answered.
    is_confirmed: bool,
}

impl Chosen {
    fn of(form: &Query) -> Self {
        let mut ids: Vec<EntryId> = form.all("id").filter_map(|id| id.parse().ok()).take(IDS_MAX).collect();
        ids.sort_unstable();
        ids.dedup();
        let text = |name| form.get(name).unwrap_or_default();
        Self {
            ids,
            reason: text::line(text("reason"), REASON_MAX),
            typed: text("count").to_owned(),
            is_confirmed: text("confirmed") == "yes",
        }
    }

    /// Removing many needs their count in the person's own hand.
    fn may_go(&self, verb: Verb) -> bool {
        let is_typed = self.typed == self.ids.len().to_string();
        self.is_confirmed && (verb == Verb::Requeue || self.ids.len() < TYPED_FROM || is_typed)
    }
}

/// A form of dead letters: asks, or does it.
pub(crate) async fn dead(asked: &mut Asked, person: &Person, form: &Query, verb: Verb) -> Markup {
    let chosen = Chosen::of(form);
    if chosen.ids.is_empty() {
        let said = html! { "No dead letter was chosen. " a href="/dead" { "Choose some" } };
        return page(asked, Tab::Dead, "Dead letters", &strip(Tone::Info, Icon::Unknown, &said));
    }
    let content = if chosen.may_go(verb) {
        let content = match act(asked, person, &chosen.ids, verb).await {
            Ok(done) => {
                note(asked, person, &chosen, verb, &done).await;
                told(verb, &done)
            }
            Err(error) => broken_off(person, &chosen, verb, &error),
        };
        asked.anew().await;
        content
    } else {
        match read(asked, &chosen.ids).await {
            Ok(letters) => question(person, &chosen, verb, &letters),
            Err(error) => super::refused::unanswered(&error),
        }
    };
    page(asked, Tab::Dead, "Dead letters", &content)
}

fn page(asked: &Asked, tab: Tab, title: &str, content: &Markup) -> Markup {
    let frame =
        Frame { title: title.to_owned(), tab, command: "startjobs dead".to_owned(), live: "other", has_mini: true };
    framed(asked, frame, content)
}

async fn read(asked: &Asked, ids: &[EntryId]) -> Result<Vec<Letter>, RedisError> {
    let (ids, streams) = (ids.to_vec(), asked.site.settings.stream.clone());
    let reading = asked.ask(|view| {
        Box::pin(async move {
            let letters = DeadLetters::new(view.shared_connection(), &streams);
            let mut found = Vec::new();
            for id in ids {
                found.extend(letters.brief(&(id..=id), Order::OldestFirst).await?);
            }
            Ok(found)
        })
    });
    reading.await
}

/// Why a dead letter cannot be put back.
fn obstacle(letter: &Letter) -> Option<&'static str> {
    match letter {
        Letter { head: None, .. } => Some("was not written by the fleet"),
        Letter { original, .. } if original.is_empty() => Some("has no payload"),
        letter if letter.is_cut() => Some("did not keep the whole payload"),
        letter if letter.head("reason") == b"poison" => Some("is poison: use the command, after reading its story"),
        _ => None,
    }
}

fn question(person: &Person, chosen: &Chosen, verb: Verb, letters: &[Letter]) -> Markup {
    let (out, of_use): (Vec<&Letter>, Vec<&Letter>) =
        letters.iter().partition(|letter| verb == Verb::Requeue && obstacle(letter).is_some());
    let count = of_use.len();
    if count == 0 {
        let said = html! {
            "None of these can be used: " (text::of(out.len() as u64, "one", "of them")) " cannot be put back, and "
            (chosen.ids.len() - letters.len()) " are no dead letters any more. " a href="/dead" { "Back to the list" }
        };
        return html! { h1 { "Dead letters" } (strip(Tone::Info, Icon::Unknown, &said)) };
    }
    let mut notes = vec![match verb {
        Verb::Requeue => (
            Tone::Info,
            Icon::Retry,
            html! { "Each runs again under a new id with a full budget, and Lobby gets a second answer for each." },
        ),
        Verb::Remove => (
            Tone::Crit,
            Icon::Crit,
            html! {
                "They cannot be brought back, and an audit reports each as a violation (no_dead_letter). To keep a copy \
                 first: "
                code { "startjobs dead export" }
            },
        ),
    }];
    notes.extend(of_use.iter().take(NAMED_MAX).map(|letter| (Tone::None, Icon::Dead, named(letter))));
    if count > NAMED_MAX {
        notes.push((Tone::None, Icon::Dead, html! { "and " (count - NAMED_MAX) " more" }));
    }
    notes.extend(out.iter().map(|letter| {
        let why = obstacle(letter).unwrap_or_default();
        (Tone::Warn, Icon::Warn, html! { (named(letter)) " is left out: it " (why) })
    }));
    let letters_of = text::of(count as u64, "dead letter", "dead letters");
    let (title, button) = match verb {
        Verb::Requeue => (format!("Put {letters_of} back?"), format!("Put {letters_of} back")),
        Verb::Remove => (format!("Remove {letters_of} for good?"), format!("Remove {letters_of} for good")),
    };
    confirm(&Question {
        title,
        notes,
        action: verb.path(),
        fields: fields(person, &of_use, verb),
        button,
        is_final: verb == Verb::Remove,
        back: "/dead",
    })
}

fn named(letter: &Letter) -> Markup {
    let game = letter.original("game_id").map(|game| String::from_utf8_lossy(game).trim().to_owned());
    let reason = String::from_utf8_lossy(letter.head("reason")).into_owned();
    html! {
        (text::name(game.as_deref().unwrap_or("no game"))) ", " (text::name(&reason)) ", " span.mono { (letter.id) }
    }
}

fn fields(person: &Person, letters: &[&Letter], verb: Verb) -> Markup {
    html! {
        input type="hidden" name="code" value=(person.form_code);
        input type="hidden" name="confirmed" value="yes";
        @for letter in letters { input type="hidden" name="id" value=(letter.id); }
        @if verb == Verb::Remove && letters.len() >= TYPED_FROM {
            label for="f-count" { "Type their number, " (letters.len()) }
            input #f-count name="count" type="text" inputmode="numeric" autocomplete="off" required;
        }
        label for="f-reason" { "Why (kept in the log)" }
        input #f-reason name="reason" type="text" maxlength=(REASON_MAX);
    }
}

/// What became of each: its id, and why it was not done.
type Done = Vec<(EntryId, Result<String, String>)>;

async fn act(asked: &Asked, person: &Person, ids: &[EntryId], verb: Verb) -> Result<Done, RedisError> {
    let (ids, streams) = (ids.to_vec(), asked.site.settings.stream.clone());
    let by = format!("{}@page", person.name);
    let acting = asked.ask(|view| {
        Box::pin(async move {
            let letters = DeadLetters::new(view.shared_connection(), &streams);
            let mut done = Done::new();
            match verb {
                Verb::Requeue => {
                    for batch in ids.chunks(REQUEUE_BATCH_MAX) {
                        let answers = letters.requeue(batch, &by).await?;
                        done.extend(batch.iter().copied().zip(answers.into_iter().map(requeued)));
                    }
                }
                Verb::Remove => {
                    for batch in ids.chunks(REMOVE_BATCH_MAX) {
                        let answers = letters.remove(batch).await?;
                        done.extend(batch.iter().copied().zip(answers.into_iter().map(removed)));
                    }
                }
            }
            Ok(done)
        })
    });
    acting.await
}

fn requeued(answer: Requeued) -> Result<String, String> {
    Err(match answer {
        Requeued::As(job) => return Ok(job),
        Requeued::Gone => "it is no dead letter any more".to_owned(),
        Requeued::Foreign => "it was not written by the fleet".to_owned(),
        Requeued::Empty => "it has no payload".to_owned(),
        Requeued::Cut => "it did not keep the whole payload".to_owned(),
        Requeued::Refused(words) => format!("Redis refused the job: {words}"),
        Requeued::Skipped => "Redis refused one before it".to_owned(),
    })
}

fn removed(was_there: bool) -> Result<String, String> {
    if was_there { Ok(String::new()) } else { Err("it was not there any more".to_owned()) }
}

/// The log and the events of the fleet keep who did it.
async fn note(asked: &Asked, person: &Person, chosen: &Chosen, verb: Verb, done: &Done) {
    let count = done.iter().filter(|(_, result)| result.is_ok()).count();
    audit(person, chosen, verb, &format!("{count} of {} done", done.len()));
    let (by, now) = (format!("{}@page", person.name), Instant::now());
    let events: Vec<FleetEvent> = match verb {
        Verb::Requeue => {
            let jobs = done.iter().filter_map(|(_, result)| result.as_ref().ok()?.parse::<EntryId>().ok());
            jobs.map(|job| FleetEvent::new(Happened::Requeued, now).about(job, "")).collect()
        }
        Verb::Remove if count > 0 => vec![FleetEvent::new(Happened::Removed, now).times(count as u64)],
        Verb::Remove => Vec::new(),
    };
    let events: Vec<FleetEvent> =
        events.into_iter().map(|event| event.saying("", &chosen.reason).done_by(&by)).collect();
    let noting = asked.ask(|view| {
        Box::pin(async move {
            for event in &events {
                view.note(event).await;
            }
            Ok(())
        })
    });
    // What was done stays done, whether it is among the events or not.
    drop(noting.await);
}

fn told(verb: Verb, done: &Done) -> Markup {
    let count = done.iter().filter(|(_, result)| result.is_ok()).count();
    let what = match verb {
        Verb::Requeue => "put back",
        Verb::Remove => "removed",
    };
    let (tone, icon) = if count == done.len() { (Tone::Ok, Icon::Ok) } else { (Tone::Warn, Icon::Warn) };
    let said =
        html! { b { (count) " of " (text::of(done.len() as u64, "dead letter", "dead letters")) " " (what) "." } };
    html! {
        h1 { "Dead letters" }
        (strip(tone, icon, &said))
        section.panel aria-label="What became of each" {
            ul.events {
                @for (id, result) in done {
                    li {
                        span.mono { (id) }
                        (mark(result.is_ok()))
                        div {
                            @match result {
                                Ok(job) if job.is_empty() => (what),
                                Ok(job) => { (what) " as "
                                    a href={ "/jobs/" (text::encoded(job)) } { (text::name(job)) } }
                                Err(why) => { "not done: " (text::words(why)) }
                            }
                        }
                    }
                }
            }
            p.more { a href="/dead" { "Back to the dead letters" } }
        }
    }
}

fn mark(is_good: bool) -> Markup {
    use crate::page::frame::icons::inked;
    if is_good { inked(Icon::Ok, Tone::Ok) } else { inked(Icon::Warn, Tone::Warn) }
}

fn broken_off(person: &Person, chosen: &Chosen, verb: Verb, error: &RedisError) -> Markup {
    audit(person, chosen, verb, &format!("not known: {}", error.text));
    html! { (undone(error)) p.more { a href="/dead" { "Look at the dead letters" } } }
}

fn audit(person: &Person, chosen: &Chosen, verb: Verb, result: &str) {
    let ids: Vec<String> = chosen.ids.iter().map(EntryId::to_string).collect();
    tracing::info!(
        by = %person.name,
        action = verb.as_str(),
        reason = %chosen.reason,
        ids = %ids.join(" "),
        result,
        "changed on the page"
    );
}
