//! What an attempt does next, given the container that has its game's name. Pure.

use super::game_id::GameId;
use super::host::Identity;
use super::ours::is_ours;
use crate::contract::error_code::{Class, ErrorCode};
use crate::contract::image_ref::ImageRef;
use crate::contract::job_result::Answer;
use crate::engine::{Container, ContainerState, label};

/// The next step of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// There is no container: create one and start it.
    Create,
    /// Start this one, which was created and never started.
    Start(String),
    /// Wait until the game engine in this one answers.
    AwaitReady(Container),
    /// Thaw this one, which an operator froze.
    Unpause(String),
    /// Remove this one and create another.
    Replace(Broken),
    /// Look again later: the engine is removing it.
    Wait,
    /// Touch nothing: this one is not ours.
    Foreign(String),
    /// Answer that the game runs another image: this one runs it, and the record did not know of it.
    Unrecorded(Container),
}

/// A container of ours that cannot be used, and the failure if no other may be created in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) container_id: String,
    pub(super) failure: Answer,
    /// Whether the failure says something about the game: it may be published as it is.
    pub(super) is_decided: bool,
}

impl Broken {
    pub(super) fn new(container_id: String, code: ErrorCode, message: impl Into<String>) -> Self {
        let is_decided = code.class() == Class::Permanent;
        Self { container_id, failure: Answer::failure(code, message.into()), is_decided }
    }
}

/// The step after a look at the container that has the game's name.
///
/// `fence` is that of the attempt.
pub(super) fn next_step(
    found: Option<Container>,
    game: &GameId,
    image: &ImageRef,
    identity: &Identity,
    fence: &str,
) -> Step {
    let Some(container) = found else { return Step::Create };
    if !is_ours(&container, game, identity) {
        return Step::Foreign(container.id);
    }
    if !has_image(&container, image) {
        let is_live = matches!(container.state, ContainerState::Running | ContainerState::Paused);
        if is_live && number(container.label(label::FENCE)) >= number(fence) {
            return Step::Unrecorded(container);
        }
        // The record says that the game does not run, so this is left over from an earlier job.
        return Step::Replace(Broken::new(container.id, ErrorCode::InternalError, "leftover of another image"));
    }
    match container.state {
        ContainerState::Created => Step::Start(container.id),
        // One that has exited is awaited too: its log says why, whether it exited before the first look or after.
        ContainerState::Running | ContainerState::Exited(_) => Step::AwaitReady(container),
        ContainerState::Paused => Step::Unpause(container.id),
        ContainerState::Removing => Step::Wait,
        ContainerState::StartFailed(message) => {
            Step::Replace(Broken::new(container.id, ErrorCode::ContainerStartFailed, message))
        }
    }
}

/// A fencing token as a number; of what is none, 0.
fn number(fence: &str) -> u64 {
    fence.parse().unwrap_or(0)
}

/// The answer to a job for a game that runs another image.
pub(super) fn image_conflict(running: &str, asked: &ImageRef) -> Answer {
    Answer::failure(ErrorCode::ImageConflict, format!("the game runs {running}, not {}", asked.as_str()))
}

/// Whether the container was created from this image.
pub(super) fn has_image(container: &Container, image: &ImageRef) -> bool {
    container.label(label::IMAGE_REF) == image.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "docker.io/galaxy/engine:1";

    fn container(state: ContainerState, labels: &[(&str, &str)]) -> Container {
        let labels = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Container { id: "c".to_owned(), state, labels, endpoint: None, ended_at_ms: None }
    }

    fn ours(state: ContainerState) -> Container {
        container(state, &[(label::GAME_ID, "g"), (label::OWNER, "o"), (label::FLEET, "f"), (label::IMAGE_REF, IMAGE)])
    }

    fn step(found: Option<Container>) -> Step {
        let (game, image) = (GameId::parse("g").expect("an id"), ImageRef::parse(IMAGE).expect("an image"));
        next_step(found, &game, &image, &Identity::of("f", "h"), "5")
    }

    fn broken(code: ErrorCode, message: &str) -> Step {
        Step::Replace(Broken::new("c".to_owned(), code, message))
    }

    #[test]
    fn every_state_of_our_container_has_its_step() {
        use ContainerState::{Created, Exited, Paused, Removing, Running, StartFailed};
        assert_eq!(step(None), Step::Create);
        assert_eq!(step(Some(ours(Created))), Step::Start("c".to_owned()));
        for state in [Running, Exited(0), Exited(137)] {
            assert_eq!(step(Some(ours(state.clone()))), Step::AwaitReady(ours(state)));
        }
        assert_eq!(step(Some(ours(Paused))), Step::Unpause("c".to_owned()));
        assert_eq!(step(Some(ours(Removing))), Step::Wait);
        let refused = broken(ErrorCode::ContainerStartFailed, "no such file");
        assert_eq!(step(Some(ours(StartFailed("no such file".to_owned())))), refused);
    }

    #[test]
    fn a_container_that_is_not_ours_is_never_touched() {
        for labels in [
            &[][..],
            &[(label::GAME_ID, "g")],
            &[(label::GAME_ID, "g"), (label::OWNER, "")],
            &[(label::GAME_ID, "other"), (label::OWNER, "o")],
            &[(label::OWNER, "o"), (label::IMAGE_REF, IMAGE)],
            // Another fleet's.
            &[(label::GAME_ID, "g"), (label::OWNER, "o"), (label::HOST, "h"), (label::FLEET, "other")],
            // Versions without fleets name a host.
            &[(label::GAME_ID, "g"), (label::OWNER, "o")],
        ] {
            for state in [ContainerState::Created, ContainerState::Running, ContainerState::Exited(1)] {
                assert_eq!(step(Some(container(state, labels))), Step::Foreign("c".to_owned()), "{labels:?}");
            }
        }
    }

    fn other_image(state: ContainerState, fence: &str) -> Container {
        let image = (label::IMAGE_REF, "docker.io/galaxy/engine:0");
        // As a version without fleets has created it.
        container(
            state,
            &[(label::GAME_ID, "g"), (label::OWNER, "o"), (label::HOST, "h"), (label::FENCE, fence), image],
        )
    }

    #[test]
    fn a_leftover_of_another_image_is_replaced_whatever_its_state() {
        for state in
            [ContainerState::Created, ContainerState::Running, ContainerState::Paused, ContainerState::Removing]
        {
            let expected = broken(ErrorCode::InternalError, "leftover of another image");
            assert_eq!(step(Some(other_image(state, "4"))), expected);
        }
    }

    #[test]
    fn a_game_that_runs_another_image_under_a_fence_that_the_record_has_not_reached_is_left_alone() {
        for fence in ["5", "6", "70"] {
            for state in [ContainerState::Running, ContainerState::Paused] {
                let running = other_image(state, fence);
                assert_eq!(step(Some(running.clone())), Step::Unrecorded(running), "{fence}");
            }
            let ended = other_image(ContainerState::Exited(1), fence);
            assert!(matches!(step(Some(ended)), Step::Replace(_)), "{fence}");
        }
    }
}
