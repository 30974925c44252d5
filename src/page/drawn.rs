//! Parts of screens as viewers are told of them: drawn once a look for all who have the same screen before them.

use std::sync::Arc;

use maud::Markup;
use serde_json::json;
use tokio::sync::Mutex;

use super::when::unclocked;
use crate::ops::history::Range;

/// Forms of screens that are kept: more than there can be viewers are never needed.
const KEPT_MAX: usize = 16;

/// One part of a screen.
#[derive(Debug)]
pub(crate) struct Part {
    /// The id of its element.
    pub(crate) id: String,
    /// The event that tells of it.
    pub(crate) event: String,
    /// What it was drawn as, without what only counts on.
    kept: String,
}

impl Part {
    /// Of this element.
    pub(crate) fn new(id: impl Into<String>, part: Markup) -> Self {
        let (id, html) = (id.into(), part.into_string());
        let event = format!("event: part\ndata: {}\n\n", json!({ "id": id, "html": html }));
        Self { id, event, kept: unclocked(&html) }
    }

    /// Does it show the same as another one?
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.kept == other.kept
    }
}

/// What makes parts different from viewer to viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    /// The screen that they are of.
    pub(crate) screen: &'static str,
    /// Times are absolute.
    pub(crate) utc: bool,
    /// How far back charts go.
    pub(crate) range: Range,
    /// What can be done is offered.
    pub(crate) may_act: bool,
}

/// The parts of one look.
#[derive(Debug)]
struct Drawn {
    form: Form,
    look: u64,
    parts: Arc<Vec<Arc<Part>>>,
}

/// The parts that were drawn last, for all viewers of a process.
#[derive(Debug, Default)]
pub(crate) struct Drawings(Mutex<Vec<Drawn>>);

impl Drawings {
    /// The parts in this form of what was seen by this look, drawn by the first viewer who asks for them.
    pub(crate) async fn get(
        &self,
        (form, look): (Form, u64),
        draw: impl FnOnce() -> Vec<(&'static str, Markup)>,
    ) -> Arc<Vec<Arc<Part>>> {
        let mut all = self.0.lock().await;
        if let Some(drawn) = all.iter().find(|drawn| drawn.form == form && drawn.look == look) {
            return Arc::clone(&drawn.parts);
        }
        let parts = Arc::new(draw().into_iter().map(|(id, part)| Arc::new(Part::new(id, part))).collect());
        all.retain(|old| old.form != form);
        if all.len() >= KEPT_MAX {
            all.remove(0);
        }
        all.push(Drawn { form, look, parts: Arc::clone(&parts) });
        parts
    }
}

#[cfg(test)]
mod tests {
    use maud::html;

    use super::*;

    #[tokio::test]
    async fn all_viewers_of_a_form_share_what_is_drawn_once_a_look() {
        let (drawings, mut drawn) = (Drawings::default(), 0);
        let form = |may_act| Form { screen: "overview", utc: false, range: Range::Hour, may_act };
        for (form, look) in [(form(true), 1), (form(false), 1), (form(true), 2)] {
            for _ in 0..16 {
                let draw = || {
                    drawn += 1;
                    vec![("health", html! { p { (form.may_act) } })]
                };
                let parts = drawings.get((form, look), draw).await;
                assert!(parts[0].event.contains(&form.may_act.to_string()), "{parts:?}");
            }
        }
        assert_eq!(drawn, 3);
        assert_eq!(drawings.0.lock().await.len(), 2, "an old look is forgotten");
    }

    #[test]
    fn parts_are_alike_that_differ_in_how_long_ago_something_was() {
        let part = |words: &str| Part::new("x", html! { p { time datetime="t" { (words) } } });
        assert!(part("1 s ago").is_like(&part("2 s ago")));
        assert!(!part("1 s ago").is_like(&Part::new("x", html! { p { "gone" } })));
    }
}
