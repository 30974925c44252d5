//! Whether what the engine runs is what the record of its game says. Pure.

use super::record::{Here, RecordView};
use crate::engine::{Container, ContainerState, Listed, ListedState};

/// A container of ours, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown<'a> {
    /// The engine's id.
    pub(super) id: &'a str,
    /// How far it has come.
    pub(super) state: ListedState,
    /// Where its game answers.
    pub(super) endpoint: Option<&'a str>,
}

impl<'a> From<&'a Listed> for Shown<'a> {
    fn from(listed: &'a Listed) -> Self {
        Self { id: &listed.id, state: listed.state, endpoint: listed.endpoint.as_deref() }
    }
}

impl<'a> From<&'a Container> for Shown<'a> {
    fn from(container: &'a Container) -> Self {
        let state = match container.state {
            ContainerState::Running => ListedState::Running,
            ContainerState::Paused => ListedState::Paused,
            ContainerState::Exited(_) => ListedState::Ended,
            ContainerState::Created | ContainerState::StartFailed(_) | ContainerState::Removing => ListedState::Other,
        };
        Self { id: &container.id, state, endpoint: container.endpoint.as_deref() }
    }
}

/// What a look at one container came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding<'a> {
    /// The record is right.
    Fine,
    /// The record says that it runs, and it does not.
    Ended,
    /// It answers here now.
    Moved(&'a str),
    /// It had ended by itself, and runs again, here.
    Revived(&'a str),
    /// It runs, and there is no record.
    Unrecorded,
    /// The record names another container, or none.
    Unnamed,
}

/// Compares one container with the record of its game.
pub(super) fn compare<'a>(shown: Shown<'a>, record: Option<&RecordView>, here: &Here) -> Finding<'a> {
    let is_live = matches!(shown.state, ListedState::Running | ListedState::Paused);
    let Some(record) = record else {
        // What has ended tells nothing that would be worth a record.
        return if is_live && shown.endpoint.is_some() { Finding::Unrecorded } else { Finding::Fine };
    };
    let is_named = record.container_id == shown.id;
    match record.state.as_str() {
        // The attempt adopts it, or removes it.
        "starting" if here.is(&record.host) => Finding::Fine,
        "running" if is_named && !is_live => Finding::Ended,
        "running" if is_named => match shown.endpoint {
            // Its host may have got another name, or none was known to the version that has written the record.
            Some(endpoint) if endpoint != record.engine_endpoint || !here.is(&record.host) => Finding::Moved(endpoint),
            // A container without networks for a moment: the next look tells more.
            Some(_) | None => Finding::Fine,
        },
        "stopped" if is_named && record.stopped_by.is_empty() && record.condemned != shown.id => {
            match (shown.state, shown.endpoint) {
                (ListedState::Running, Some(endpoint)) => Finding::Revived(endpoint),
                // Its log tells why it ended, until the game is started again.
                _ => Finding::Fine,
            }
        }
        _ => Finding::Unnamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: &str, container_id: &str) -> RecordView {
        RecordView {
            state: state.to_owned(),
            container_id: container_id.to_owned(),
            engine_endpoint: "http://h:1".to_owned(),
            host: "here".to_owned(),
            ..RecordView::default()
        }
    }

    fn found(state: ListedState, endpoint: Option<&'static str>, record: Option<&RecordView>) -> Finding<'static> {
        compare(Shown { id: "c", state, endpoint }, record, &Here::new("here", ["before"]))
    }

    const AT: Option<&str> = Some("http://h:1");

    #[test]
    fn a_record_that_says_running_is_held_against_the_container() {
        use ListedState::{Ended, Other, Paused, Running};
        let running = record("running", "c");
        for (state, endpoint, expected) in [
            (Running, AT, Finding::Fine),
            (Paused, AT, Finding::Fine),
            (Running, None, Finding::Fine),
            (Running, Some("http://h:2"), Finding::Moved("http://h:2")),
            (Ended, None, Finding::Ended),
            (Other, None, Finding::Ended),
        ] {
            assert_eq!(found(state, endpoint, Some(&running)), expected, "{state:?} {endpoint:?}");
        }
        assert_eq!(found(Running, AT, Some(&record("running", "d"))), Finding::Unnamed);
        let renamed = RecordView { host: "another name".to_owned(), ..record("running", "c") };
        assert_eq!(found(Running, AT, Some(&renamed)), Finding::Moved("http://h:1"));
    }

    #[test]
    fn what_an_attempt_works_on_here_is_left_to_it() {
        for host in ["here", "before"] {
            let starting = RecordView { host: host.to_owned(), ..record("starting", "") };
            assert_eq!(found(ListedState::Running, AT, Some(&starting)), Finding::Fine, "{host}");
        }
        let elsewhere = RecordView { host: "there".to_owned(), ..record("starting", "") };
        assert_eq!(found(ListedState::Running, AT, Some(&elsewhere)), Finding::Unnamed);
    }

    #[test]
    fn a_container_that_ended_by_itself_and_runs_again_is_running() {
        let ended = record("stopped", "c");
        assert_eq!(found(ListedState::Ended, None, Some(&ended)), Finding::Fine);
        assert_eq!(found(ListedState::Running, Some("http://h:2"), Some(&ended)), Finding::Revived("http://h:2"));
        let halted = RecordView { stopped_by: "ann".to_owned(), ..ended.clone() };
        // An operator stopped it: on a host that was dead then, nothing is condemned.
        assert_eq!(found(ListedState::Running, AT, Some(&halted)), Finding::Unnamed);
        let condemned = RecordView { condemned: "c".to_owned(), ..halted };
        assert_eq!(found(ListedState::Running, AT, Some(&condemned)), Finding::Unnamed);
        assert_eq!(found(ListedState::Running, AT, Some(&record("stopped", "d"))), Finding::Unnamed);
    }

    #[test]
    fn a_running_game_without_a_record_gets_one() {
        assert_eq!(found(ListedState::Running, AT, None), Finding::Unrecorded);
        assert_eq!(found(ListedState::Paused, AT, None), Finding::Unrecorded);
        assert_eq!(found(ListedState::Ended, None, None), Finding::Fine);
        assert_eq!(found(ListedState::Running, None, None), Finding::Fine);
    }
}
