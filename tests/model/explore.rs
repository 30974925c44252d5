//! Explores models, and says how far it came.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model};

use super::properties::PROPERTIES;
use super::protocol::Protocol;
use super::variants::Variant;

/// What was seen of a model.
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) depth: usize,
    pub(crate) took: Duration,
    /// Not every state was seen: there are more than there was room for.
    pub(crate) is_cut: bool,
    /// Violated properties, and the steps that lead there.
    pub(crate) violated: Vec<(&'static str, String)>,
}

/// Looks at every state, or at the nearest ones where there are more than `steps_max` steps between them. Ends early where this
/// property is violated.
pub(crate) fn explore(model: Protocol, steps_max: usize, until: Option<&'static str>) -> Explored {
    let began = Instant::now();
    let ends = until.map_or(HasDiscoveries::All, |name| HasDiscoveries::AllOf(BTreeSet::from([name])));
    let checker = model.checker().finish_when(ends).target_state_count(steps_max).spawn_bfs().join();
    let mut violated: Vec<_> = checker.discoveries().into_iter().collect();
    violated.sort_by_key(|(name, _)| *name);
    let told = violated.into_iter().map(|(name, path)| {
        let steps: Vec<String> = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
        (name, steps.join(" "))
    });
    Explored {
        violated: told.collect(),
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        is_cut: checker.state_count() >= steps_max,
    }
}

/// The whole model keeps every property.
pub(crate) fn keeps_all(what: &str, model: Protocol) {
    const STEPS_MAX: usize = 2_000_000;
    let explored = explore(model, STEPS_MAX, None);
    println!("{what}: {} states, {} steps deep, {:?}", explored.states, explored.depth, explored.took);
    assert!(explored.violated.is_empty(), "{what}: {:#?}", explored.violated);
    assert!(!explored.is_cut, "{what} has more states than are looked at here");
}

/// The protocol with this fault in it violates the property.
pub(crate) fn violates(variant: Variant, property: &'static str, model: Protocol) {
    const STEPS_MAX: usize = 500_000;
    assert!(PROPERTIES.iter().any(|&(name, _)| name == property), "there is no property {property:?}");
    let explored = explore(model.with(variant), STEPS_MAX, Some(property));
    let steps = explored.violated.iter().find(|(name, _)| *name == property);
    println!("{variant:?}: {} states, {:?}, {steps:?}", explored.states, explored.took);
    assert!(steps.is_some(), "{variant:?} violates only {:#?}", explored.violated);
}
