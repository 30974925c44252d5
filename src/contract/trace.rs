//! W3C trace context as an entry carries it. It becomes two variables of a container's environment, so only what has the
//! W3C's form is passed on.

use bytes::Bytes;

use super::Fields;

/// `traceparent` of version 00, and the least that one of a later version has.
const PARENT_LENGTH: usize = 55;
/// What a `traceparent` of a later version, or a `tracestate`, may have.
const LENGTH_MAX: usize = 512;

/// W3C trace context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// `traceparent`
    pub(crate) parent: Option<String>,
    /// `tracestate`, only with a parent: it means nothing without.
    pub(crate) state: Option<String>,
}

impl Trace {
    /// What of these two values has the form.
    pub(super) fn of(parent: Option<&Bytes>, state: Option<&Bytes>) -> Self {
        let text = |value: Option<&Bytes>, has_form: fn(&str) -> bool| {
            let text = std::str::from_utf8(value?).ok()?;
            (has_length(text) && has_form(text)).then(|| text.to_owned())
        };
        match text(parent, is_parent) {
            None => Self::default(),
            parent => Self { parent, state: text(state, |text| !text.is_empty()) },
        }
    }
}

/// The `traceparent` among the fields of an entry, if it has the form.
pub(crate) fn parent_among(fields: &Fields) -> Option<&str> {
    // Of repeated fields the last wins.
    let (_, value) = fields.iter().rfind(|(name, _)| &name[..] == b"traceparent")?;
    std::str::from_utf8(value).ok().filter(|text| has_length(text) && is_parent(text))
}

fn has_length(text: &str) -> bool {
    text.len() <= LENGTH_MAX && is_printable(text)
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// `version-trace id-parent id-flags`, all lower-case hexadecimal. A later version may have more behind another dash.
fn is_parent(text: &str) -> bool {
    let Some((known, more)) = text.split_at_checked(PARENT_LENGTH) else { return false };
    let parts: Vec<&str> = known.split('-').collect();
    let &[version, trace, parent, flags] = parts.as_slice() else { return false };
    let is_hex =
        |text: &str, length| text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |text: &str, length| is_hex(text, length) && text.bytes().any(|byte| byte != b'0');
    let ends_well = more.is_empty() || version != "00" && more.starts_with('-');
    is_hex(version, 2) && version != "ff" && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2) && ends_well
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn of(parent: &str, state: &str) -> Trace {
        Trace::of(Some(&Bytes::from(parent.to_owned())), Some(&Bytes::from(state.to_owned())))
    }

    #[test]
    fn a_parent_has_the_form_of_its_version() {
        let later = PARENT.replacen("00", "01", 1);
        for good in [PARENT, &later, &format!("{later}-more, of any form")] {
            assert_eq!(of(good, "").parent.as_deref(), Some(good));
        }
        for bad in [
            "",
            "00-a-b-01",
            &format!("{PARENT}\n"),
            &format!(" {PARENT}"),
            &format!("{PARENT}-more"),
            &format!("{later}more"),
            &format!("{later}-{}", "x".repeat(500)),
            &format!("{later}-\n"),
            &PARENT.to_uppercase(),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replace("b7ad6b7169203331", "0000000000000000"),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &PARENT.replacen('-', "_", 1),
            &PARENT.replacen('a', "g", 1),
        ] {
            assert_eq!(of(bad, "a=1"), Trace::default(), "{bad:?}");
        }
    }

    #[test]
    fn a_state_is_short_and_printable_and_needs_a_parent() {
        for (state, want) in [
            ("a=1,b=2", true),
            (&*"x".repeat(512), true),
            (&*"x".repeat(513), false),
            ("", false),
            ("a=1\nPATH=/nowhere", false),
            ("a=\u{e9}", false),
            ("a=\u{7f}", false),
        ] {
            assert_eq!(of(PARENT, state).state.as_deref(), want.then_some(state), "{state:?}");
        }
        assert_eq!(Trace::of(None, Some(&Bytes::from_static(b"a=1"))), Trace::default());
        assert_eq!(Trace::of(Some(&Bytes::from_static(b"\xff")), None), Trace::default());
    }

    #[test]
    fn the_last_parent_of_an_entry_counts() {
        let fields = |values: &[&str]| -> Fields {
            let field = |name: &'static str, value: &str| (Bytes::from(name), Bytes::from(value.to_owned()));
            values.iter().map(|value| field("traceparent", value)).chain([field("game_id", "g")]).collect()
        };
        assert_eq!(parent_among(&fields(&["bad", PARENT])), Some(PARENT));
        assert_eq!(parent_among(&fields(&[PARENT, "bad"])), None);
        assert_eq!(parent_among(&fields(&[])), None);
    }

    proptest! {
        #[test]
        fn what_is_passed_on_is_one_short_line(parent in any::<Vec<u8>>(), state in any::<Vec<u8>>()) {
            for parent in [Bytes::from(parent), Bytes::from_static(PARENT.as_bytes())] {
                let trace = Trace::of(Some(&parent), Some(&Bytes::from(state.clone())));
                for text in trace.parent.iter().chain(&trace.state) {
                    prop_assert!(!text.is_empty() && text.len() <= LENGTH_MAX && is_printable(text));
                }
            }
        }
    }
}
