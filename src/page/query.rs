//! What a request asks for beyond its path: bounded, and never an error. A value that is none is as if it were not
//! there.

/// Bytes of a query that are looked at.
pub(crate) const QUERY_MAX: usize = 2_048;
/// Bytes of the query of a viewer, which names the rows of a list.
pub(crate) const WATCH_MAX: usize = 6_144;
/// Pairs of it.
const PAIRS_MAX: usize = 64;
/// Characters of one value.
const VALUE_MAX: usize = 256;

/// Names and values of a query or of a form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Of the part after the question mark, or of the body of a form of so many pairs. Everything beyond the limits is
    /// left out.
    pub(crate) fn read(text: &str) -> Self {
        Self::pairs(text, PAIRS_MAX)
    }

    /// The same with another limit of pairs.
    pub(crate) fn pairs(text: &str, most: usize) -> Self {
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value).chars().take(VALUE_MAX).collect())
        };
        Self(text.split('&').filter(|pair| !pair.is_empty()).take(most).map(pair).collect())
    }

    /// The first value of this name, trimmed; none where it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// All values of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(one, _)| one == name).map(|(_, value)| value.trim())
    }

    /// The same query with other values for some names, as the part of a link from the question mark on. An empty value
    /// takes the name out.
    pub(crate) fn with(&self, changes: &[(&str, &str)]) -> String {
        let changed = |name: &str| changes.iter().any(|&(one, _)| one == name);
        let kept = self.0.iter().filter(|(name, value)| !changed(name) && !value.is_empty());
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let new = changes.iter().copied().filter(|(_, value)| !value.is_empty());
        let pair = |(name, value)| format!("{}={}", super::text::encoded(name), super::text::encoded(value));
        format!("?{}", kept.chain(new).map(pair).collect::<Vec<_>>().join("&"))
    }

    /// The values of these names alone, as the part of a link from the question mark on.
    pub(crate) fn only(&self, names: &[&str]) -> String {
        let kept = self.0.iter().filter(|(name, _)| names.contains(&name.as_str()));
        Self(kept.cloned().collect()).with(&[])
    }
}

/// What percent-encoding means; what is no UTF-8 or no encoding becomes a mark.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => bytes.extend(u8::try_from(16 * high + low)),
                    _ => bytes.push(b'?'),
                }
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_decoded_trimmed_and_bounded() {
        let query = Query::read("q=+game%2D1+&empty=&x&q=second&bad=%zz%f");
        assert_eq!((query.get("q"), query.get("empty"), query.get("x")), (Some("game-1"), None, None));
        assert_eq!(query.all("q").collect::<Vec<_>>(), ["game-1", "second"]);
        assert_eq!(query.get("bad"), Some("??"));
        assert_eq!(Query::read(&format!("q={}", "x".repeat(9_999))).get("q").map(str::len), Some(VALUE_MAX));
        assert_eq!(Query::read(&"a=1&".repeat(999)).0.len(), PAIRS_MAX);
    }

    #[test]
    fn links_keep_what_they_do_not_change() {
        let query = Query::read("q=a%26b&after=5-0&times=utc");
        assert_eq!(query.with(&[("after", ""), ("state", "dead")]), "?q=a%26b&times=utc&state=dead");
        assert_eq!(Query::default().with(&[]), "?");
        assert_eq!(query.only(&["q", "state"]), "?q=a%26b");
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_what_is_written_is_read_again(text: String, value: String) {
            drop(Query::read(&text));
            let written = Query::default().with(&[("v", value.trim())]);
            let read = Query::read(&written[1..]);
            let expected: String = value.trim().chars().take(VALUE_MAX).collect();
            prop_assert_eq!(read.get("v").unwrap_or_default(), expected.trim());
        }
    }
}
