//! One job that has not started: it is cancelled, or tried again at once. What is offered, what is asked, and what became
//! of it.

use std::time::Duration;

use maud::{Markup, html};
use tokio::time::{Instant, sleep};

use super::refused::undone;
use crate::contract::error_code::ErrorCode;
use crate::ops::story::entry::{Bound, EntryStage, EntryStory};
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
use crate::stream::entry_id::EntryId;
use crate::stream::mark::{Cancel, Placed};

/// Characters of a reason.
const REASON_MAX: usize = 200;
/// Outcomes and dead letters that are looked at for a job.
const SCANNED_MAX: u64 = 100_000;
/// How long looking for them may take.
const SCAN_WITHIN: Duration = Duration::from_secs(2);
/// How long a person waits for what the replica that holds the job makes of it.
const DECIDED_WITHIN: Duration = Duration::from_secs(3);
/// How long after each look the next one follows.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(150);

/// What is wanted of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// It is answered as cancelled.
    Cancel,
    /// It waits no longer for its next attempt.
    Retry,
}

impl Verb {
    /// As the log and the commands call it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry => "retry-now",
        }
    }

    /// Does it make sense, as far as the job's story tells?
    fn fits(self, told: &EntryStory) -> bool {
        let is_job = told.payload.as_ref().is_some_and(|payload| payload.malformed.is_none());
        let is_open = matches!(told.stage, EntryStage::Waiting | EntryStage::Pending);
        is_job
            && is_open
            && told.cancel.is_none()
            && match self {
                Self::Cancel => true,
                Self::Retry => told.standstill.as_ref().is_some_and(|one| one.backs_off),
            }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Cancel => "Cancel it",
            Self::Retry => "Try it again now",
        }
    }

    fn said(self) -> &'static str {
        match self {
            Self::Cancel => "Lobby gets the failure cancelled. A start that is under way is not interrupted.",
            Self::Retry => "The replica that holds it does not wait for the end of the pause. The attempt counts.",
        }
    }
}

/// What can be done with a job in this state: buttons for those who may act, and commands for all others.
pub(crate) fn offers(asked: &Asked, told: &EntryStory) -> Markup {
    html! {
        @if let Some(cancel) = &told.cancel {
            li { h3 { "It is to be cancelled" } p { (text::words(&text::sentence(&cancel.message()))) } }
        }
        @for verb in [Verb::Retry, Verb::Cancel] {
            @if verb.fits(told) {
                li {
                    h3 { (verb.title()) }
                    p { (verb.said()) }
                    @if let Some(person) = asked.actor() {
                        form method="post" action={ "/jobs/" (text::encoded(&told.entry_id)) "/" (verb.as_str()) } {
                            input type="hidden" name="code" value=(person.form_code);
                            div.acts { button.b.bad[verb == Verb::Cancel] type="submit" { (verb.title()) "\u{2026}" } }
                        }
                    } @else {
                        code.cmd { "startjobs " (verb.as_str()) " " (told.entry_id) }
                    }
                }
            }
        }
    }
}

/// A form about a job: asks, or does it.
pub(crate) async fn wish(asked: &mut Asked, person: &Person, id: EntryId, form: &Query, verb: Verb) -> Markup {
    let reason = text::line(form.get("reason").unwrap_or_default(), REASON_MAX);
    let content = match story(asked, id).await {
        Err(error) => undone(&error),
        Ok(told) if !verb.fits(&told) => {
            answer(id, Tone::Info, Icon::Unknown, &format!("Nothing was changed. {}", sentence(&told)))
        }
        Ok(told) if form.get("confirmed") == Some("yes") => {
            let result = match verb {
                Verb::Cancel => cancel(asked, person, &told, (id, &reason)).await,
                Verb::Retry => retry(asked, person, id).await,
            };
            asked.anew().await;
            done(person, id, (verb, &reason), &result)
        }
        Ok(told) => question(person, &told, verb),
    };
    let frame = Frame {
        title: format!("Job {id}"),
        tab: Tab::Jobs,
        command: format!("startjobs {} {id}", verb.as_str()),
        live: "other",
        has_mini: true,
    };
    framed(asked, frame, &content)
}

async fn story(asked: &Asked, id: EntryId) -> Result<EntryStory, RedisError> {
    let bound = Bound { entries: SCANNED_MAX, until: Instant::now() + SCAN_WITHIN };
    asked.ask(|view| Box::pin(view.entry_story(id, bound))).await
}

/// What is known of the job, as a whole sentence.
fn sentence(told: &EntryStory) -> String {
    format!("The job is {}.", told.sentence.trim_end_matches('.'))
}

fn question(person: &Person, told: &EntryStory, verb: Verb) -> Markup {
    let game = told.payload.as_ref().and_then(|payload| payload.game_id.as_deref()).unwrap_or("no game");
    let (title, button, tone) = match verb {
        Verb::Cancel => ("Cancel this job?", "Cancel the job", Tone::Warn),
        Verb::Retry => ("Try this job again now?", "Try it again", Tone::Info),
    };
    let notes = vec![
        (Tone::None, Icon::User, html! { "Game " (text::name(game)) ", job " span.mono { (told.entry_id) } }),
        (Tone::None, Icon::Wait, html! { (text::words(&sentence(told))) }),
        (tone, if verb == Verb::Cancel { Icon::Warn } else { Icon::Retry }, html! { (verb.said()) }),
    ];
    let fields = html! {
        input type="hidden" name="code" value=(person.form_code);
        input type="hidden" name="confirmed" value="yes";
        @if verb == Verb::Cancel {
            label for="f-reason" { "Why (Lobby and the log get it)" }
            input #f-reason name="reason" type="text" maxlength=(REASON_MAX);
        }
    };
    confirm(&Question {
        title: title.to_owned(),
        notes,
        action: &format!("/jobs/{}/{}", text::encoded(&told.entry_id), verb.as_str()),
        fields,
        button: button.to_owned(),
        is_final: verb == Verb::Cancel,
        back: &format!("/jobs/{}", text::encoded(&told.entry_id)),
    })
}

/// How it went, and the words for it.
type Said = (Tone, Icon, String);

fn good(words: String) -> Said {
    (Tone::Ok, Icon::Ok, words)
}

fn open(words: String) -> Said {
    (Tone::Info, Icon::Wait, words)
}

fn not_done(words: &str) -> Said {
    (Tone::Warn, Icon::Warn, format!("Nothing was changed: {words}."))
}

async fn cancel(
    asked: &Asked,
    person: &Person,
    told: &EntryStory,
    (id, reason): (EntryId, &str),
) -> Result<Said, RedisError> {
    let has_begun = told.may_have_begun();
    let by = format!("{}@page", person.name);
    let cancel = Cancel::new(&by, reason);
    let placing = asked.ask(|view| Box::pin(async move { view.group().cancel(id, &cancel, has_begun).await }));
    match placing.await? {
        Placed::Answered { outcome_id } => {
            Ok(good(format!("Cancelled before any replica had read it. The outcome is {outcome_id}.")))
        }
        Placed::Marked { .. } | Placed::Before(_) => decided(asked, id).await,
        Placed::Settled => Ok(ending(&story(asked, id).await?)),
        other => Ok(not_done(refusal(&other))),
    }
}

/// Waits a little for what the replica that holds it makes of it.
async fn decided(asked: &Asked, id: EntryId) -> Result<Said, RedisError> {
    let until = Instant::now() + DECIDED_WITHIN;
    loop {
        let past = asked.ask(|view| Box::pin(async move { view.group().history(&[id]).await })).await?;
        if past.first().is_some_and(|past| past.is_settled) {
            return Ok(ending(&story(asked, id).await?));
        }
        if Instant::now() >= until {
            let held = if asked.seen.is_paused() {
                " The fleet is paused: a job that no replica holds any more is decided after that."
            } else {
                ""
            };
            let words = "Marked, and not decided yet. A start that is under way is not interrupted; if it fails, or the \
                         job is taken up anew, it is cancelled.";
            return Ok(open(format!("{words}{held}")));
        }
        sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// What a settled job was answered with.
fn ending(told: &EntryStory) -> Said {
    let code = told.outcome.as_ref().and_then(|outcome| outcome.get("error_code")).and_then(serde_json::Value::as_str);
    let stored = told.stored.as_ref().map(|stored| stored.error_code.as_str());
    if code.or(stored) == Some(ErrorCode::Cancelled.as_str()) {
        good(format!("Cancelled. {}", sentence(told)))
    } else {
        (Tone::Warn, Icon::Warn, format!("Not cancelled: it was answered before. {}", sentence(told)))
    }
}

async fn retry(asked: &Asked, person: &Person, id: EntryId) -> Result<Said, RedisError> {
    let by = format!("{}@page", person.name);
    let placing = asked.ask(|view| Box::pin(async move { view.group().retry_now(id, &by).await }));
    let holder = match placing.await? {
        Placed::Marked { replica: Some(replica) } => text::short_replica(&replica),
        Placed::Marked { replica: None } => "no replica".to_owned(),
        Placed::Before(_) => "a replica".to_owned(),
        other => return Ok(not_done(refusal(&other))),
    };
    let until = Instant::now() + DECIDED_WITHIN;
    while asked.ask(|view| Box::pin(async move { view.group().is_retry_untold(id).await })).await? {
        if Instant::now() >= until {
            return Ok(open(format!("Marked: {holder} holds it, and tries it again when it asks for its marks.")));
        }
        sleep(LOOK_AGAIN_AFTER).await;
    }
    Ok(good(format!("Told: {holder} holds it, and does not wait any longer if it did. A start under way goes on.")))
}

/// Why nothing was changed.
fn refusal(placed: &Placed) -> &'static str {
    match placed {
        Placed::Malformed(_) => "it is no start job, and becomes a dead letter",
        Placed::Settled => "it is answered",
        Placed::Waiting => "no replica has read it yet, so it waits for a free slot",
        Placed::Passed => "the offset is past it, so another program counts it as answered",
        Placed::Old => "it is older than ledger-ttl, and whether it was answered is not known any more",
        Placed::Gone => "it is not in the stream any more",
        Placed::Unknown | Placed::Marked { .. } | Placed::Answered { .. } | Placed::Before(_) => {
            "there is no such entry"
        }
    }
}

/// The log keeps who did it, and the person is told how it went.
fn done(person: &Person, id: EntryId, (verb, reason): (Verb, &str), result: &Result<Said, RedisError>) -> Markup {
    let words = result.as_ref().map_or_else(|error| format!("not known: {}", error.text), |(.., words)| words.clone());
    tracing::info!(
        by = %person.name,
        action = verb.as_str(),
        reason,
        ids = %id,
        result = %words,
        "changed on the page"
    );
    match result {
        Ok((tone, icon, words)) => answer(id, *tone, *icon, words),
        Err(error) => undone(error),
    }
}

fn answer(id: EntryId, tone: Tone, icon: Icon, words: &str) -> Markup {
    let said = html! { (text::words(words)) " " a href={ "/jobs/" (text::encoded(&id.to_string())) } { "Its story" } };
    html! { h1 { "Job " (id) } (strip(tone, icon, &said)) }
}
