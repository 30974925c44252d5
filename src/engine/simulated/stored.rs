//! A container as it is stored in Redis: `<id> <game> <state> <created at ms> <the other labels' values, a JSON array>`.
//! Without the fleet's label: one fleet has its own record prefix, and the version before reads an array of these five alone.
//!
//! Short, because Redis's Lua hashes every byte of every string it meets. Pure.

use std::collections::BTreeMap;

use crate::engine::{Container, ContainerState, ListedState, label};

/// The labels of which the array has the values, in this order.
const LABELS: [&str; 5] = [label::FENCE, label::HOST, label::IMAGE_REF, label::OWNER, label::SOURCE_REF];
/// What `sim/exit` exits with.
const EXIT_CODE: i64 = 1;

/// A container of this engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) state: State,
    pub(super) created_at_ms: u64,
    /// All of [`label`] but the fleet's, and no others.
    pub(super) labels: BTreeMap<String, String>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Created,
    Running,
    Exited,
}

impl State {
    const ALL: [Self; 3] = [Self::Created, Self::Running, Self::Exited];

    fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
        }
    }
}

impl Stored {
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// `<id> <game>`: what the log says of it, and what its text begins with.
    pub(super) fn who(&self) -> String {
        format!("{} {}", self.id, self.label(label::GAME_ID))
    }

    /// What follows the state.
    pub(super) fn rest(&self) -> String {
        let values = LABELS.map(|name| self.label(name));
        let array = serde_json::to_string(&values).expect("strings are always JSON");
        format!("{} {array}", self.created_at_ms)
    }

    /// Nothing where the text is anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, ' ');
        let (id, game, state) = (parts.next()?, parts.next()?, parts.next()?);
        let state = State::ALL.into_iter().find(|one| one.word() == state)?;
        let created_at_ms = parts.next()?.parse().ok()?;
        let values: [String; 5] = serde_json::from_str(parts.next()?).ok()?;
        let pairs = LABELS.into_iter().zip(values).chain([(label::GAME_ID, game.to_owned())]);
        let labels = pairs.map(|(name, value)| (name.to_owned(), value)).collect();
        Some(Self { id: id.to_owned(), state, created_at_ms, labels })
    }

    /// As an engine shows it; `name` is its name.
    pub(super) fn shown(self, name: &str) -> Container {
        let state = match self.state {
            State::Created => ContainerState::Created,
            State::Running => ContainerState::Running,
            State::Exited => ContainerState::Exited(EXIT_CODE),
        };
        Container { id: self.id, state, labels: self.labels, endpoint: Some(endpoint(name)), ended_at_ms: None }
    }

    /// Its state as in a list.
    pub(super) fn listed_state(&self) -> ListedState {
        match self.state {
            State::Created => ListedState::Other,
            State::Running => ListedState::Running,
            State::Exited => ListedState::Ended,
        }
    }
}

/// Where the game engine of this container answers: nowhere, by its name.
pub(super) fn endpoint(name: &str) -> String {
    format!("http://{name}.sim.invalid:8080")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_container_comes_back_whatever_its_labels_hold(
            values in proptest::array::uniform5(".{0,40}"), game in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
            created_at_ms in any::<u64>(), state in 0_usize..3,
        ) {
            let pairs = LABELS.into_iter().zip(values).chain([(label::GAME_ID, game.clone())]);
            let labels = pairs.map(|(name, value)| (name.to_owned(), value)).collect();
            let id = format!("simulated.rtm-{game}.0123456789ab");
            let stored = Stored { id, state: State::ALL[state], created_at_ms, labels };
            let text = format!("{} {} {}", stored.who(), stored.state.word(), stored.rest());
            prop_assert_eq!(Stored::parse(&text), Some(stored));
        }

        #[test]
        fn any_text_is_taken_apart_or_refused(text in ".{0,80}") {
            let _ = Stored::parse(&text);
        }
    }

    #[test]
    fn what_is_no_container_is_refused() {
        let good = r#"simulated.rtm-g.0 g running 17 ["1","default","docker.io/galaxy/engine:1","owner","17-0"]"#;
        assert_eq!(Stored::parse(good).map(|stored| stored.state), Some(State::Running));
        let bad = [
            "",
            "id g running 17",
            &good.replace("running", "ran"),
            &good.replace(" 17 ", " x "),
            &good.replace('[', r#"["1","#),
            &good.replace(r#""1","default","#, ""),
            &good[..good.len() - 1],
        ];
        for text in bad {
            assert_eq!(Stored::parse(text), None, "{text}");
        }
    }
}
