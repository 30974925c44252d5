//! The settings file: flat TOML, one key a setting.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::{Spanned, Value};

use super::raw::{Origin, Raw};
use super::report::Problem;
use super::table::{self, TABLE};
use crate::files::{count_lines, read_text};
use crate::nearest::nearest;
use crate::secret::without_credentials;

/// Larger is no settings file, but a mistake in the path.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the file holds.
pub(super) struct Contents {
    pub(super) values: BTreeMap<&'static str, Raw>,
    pub(super) problems: Vec<Problem>,
}

/// Reads the file that the setting `config` names.
pub(super) fn read(config: &Raw) -> Contents {
    match read_text(&config.text, FILE_BYTES_MAX) {
        Ok(text) => of_text(config, &text),
        Err(why) => Contents { values: BTreeMap::new(), problems: vec![Problem::with("config", config, why)] },
    }
}

/// What a file with this text holds.
pub(super) fn of_text(config: &Raw, text: &str) -> Contents {
    let mut contents = Contents { values: BTreeMap::new(), problems: Vec::new() };
    let path = &config.text;
    let keys: BTreeMap<String, Spanned<Value>> = match toml::from_str(text) {
        Ok(keys) => keys,
        Err(error) => {
            // The error's own text quotes the line, which may hold a password: its message alone does not.
            let line = line_of(text, error.span());
            let message = without_credentials(first_line(error.message()));
            let advice = format!("is not TOML: line {line}: {message}");
            contents.problems.push(Problem::with("config", config, advice));
            return contents;
        }
    };
    for (key, value) in keys {
        let origin = Origin::File { path: without_credentials(path), line: line_of(text, Some(value.span())) };
        match understand(&key, value.get_ref()) {
            Ok((name, text)) => {
                contents.values.insert(name, Raw { text, origin });
            }
            Err(advice) => {
                // An unknown key may be anything, a pasted URL too.
                let setting = without_credentials(&key);
                contents.problems.push(Problem { setting, value: None, origin, advice });
            }
        }
    }
    contents
}

/// The setting a key names and its value as a text, or what is wrong with it.
fn understand(key: &str, value: &Value) -> Result<(&'static str, String), String> {
    let Some(row) = table::row(key) else {
        let known = TABLE.iter().filter(|row| row.reach.includes_files());
        return Err(match (nearest(key, known.map(|row| row.name)), value) {
            (Some(near), _) => format!("is not a setting; did you mean {near}?"),
            (None, Value::Table(_)) => {
                "is a section, but settings must be at the top level of the file; remove the heading".to_owned()
            }
            (None, _) => "is not a setting; `startjobs config show` lists all of them".to_owned(),
        });
    };
    if !row.reach.includes_files() {
        let variable = row.environment();
        return Err(format!("cannot be set in a file; use {variable}"));
    }
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(true) => "on".to_owned(),
        Value::Boolean(false) => "off".to_owned(),
        Value::Datetime(_) => return Err("is a date; write a text in quotes".to_owned()),
        Value::Array(_) => return Err("is a list; write one value".to_owned()),
        Value::Table(_) => return Err("is a section; write one value".to_owned()),
    };
    Ok((row.name, text))
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    count_lines(&text.as_bytes()[..start])
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
