//! What an attempt does next, given the container that has its game's name. Pure.

use super::game_id::GameId;
use super::image_ref::ImageRef;
use crate::contract::error_code::ErrorCode;
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
}

/// A container of ours that cannot be used, and the failure if no other may be created in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) container_id: String,
    pub(super) failure: Answer,
}

impl Broken {
    pub(super) fn new(container_id: String, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { container_id, failure: Answer::failure(code, message.into()) }
    }
}

/// The step after a look at the container that has the game's name.
pub(super) fn next_step(found: Option<Container>, game: &GameId, image: &ImageRef) -> Step {
    let Some(container) = found else { return Step::Create };
    if !is_ours(&container, game) {
        return Step::Foreign(container.id);
    }
    if !has_image(&container, image) {
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

/// Whether we created this container for the game. An image may carry labels of our names, but not this game's id
/// together with an owner.
pub(super) fn is_ours(container: &Container, game: &GameId) -> bool {
    container.label(label::GAME_ID) == game.as_str() && !container.label(label::OWNER).is_empty()
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
        Container { id: "c".to_owned(), state, labels, endpoint: None }
    }

    fn ours(state: ContainerState) -> Container {
        container(state, &[(label::GAME_ID, "g"), (label::OWNER, "o"), (label::IMAGE_REF, IMAGE)])
    }

    fn step(found: Option<Container>) -> Step {
        let (game, image) = (GameId::parse("g").expect("an id"), ImageRef::parse(IMAGE).expect("an image"));
        next_step(found, &game, &image)
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
        ] {
            for state in [ContainerState::Created, ContainerState::Running, ContainerState::Exited(1)] {
                assert_eq!(step(Some(container(state, labels))), Step::Foreign("c".to_owned()), "{labels:?}");
            }
        }
    }

    #[test]
    fn a_leftover_of_another_image_is_replaced_whatever_its_state() {
        let labels = [(label::GAME_ID, "g"), (label::OWNER, "o"), (label::IMAGE_REF, "docker.io/galaxy/engine:0")];
        for state in [ContainerState::Created, ContainerState::Running, ContainerState::Removing] {
            let expected = broken(ErrorCode::InternalError, "leftover of another image");
            assert_eq!(step(Some(container(state, &labels))), expected);
        }
    }
}
