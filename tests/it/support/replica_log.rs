//! What a replica logged, line by line.

use std::collections::BTreeMap;

/// The lines of one replica's log.
#[derive(Debug)]
pub struct Log {
    lines: Vec<serde_json::Value>,
    text: String,
}

impl Log {
    /// The log of this text.
    pub fn new(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Self { lines, text: text.to_owned() }
    }

    /// Everything, also what is no log line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines with this message.
    pub fn with(&self, message: &str) -> impl Iterator<Item = &serde_json::Value> {
        self.lines.iter().filter(move |line| line["message"] == message)
    }

    /// How many lines have this message.
    pub fn count(&self, message: &str) -> usize {
        self.with(message).count()
    }

    /// The jobs whose outcome this replica published.
    pub fn processed(&self) -> Vec<String> {
        let id = |line: &serde_json::Value| line["stream_entry_id"].as_str().unwrap_or_default().to_owned();
        self.with("start job processed").map(id).collect()
    }

    /// How often each degraded and ended. Panics where one began twice without having ended, or the reverse.
    pub fn conditions(&self) -> BTreeMap<String, (usize, usize)> {
        let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for line in &self.lines {
            let Some(condition) = line["condition"].as_str() else {
                continue;
            };
            let (began, ended) = counts.entry(condition.to_owned()).or_default();
            match line["message"].as_str() {
                Some("degraded") => *began += 1,
                Some("recovered") => *ended += 1,
                _ => {}
            }
            assert!(*began == *ended || *began == *ended + 1, "{condition} was not said in turn: {}", self.text);
        }
        counts
    }

    /// How many lines warn or worse.
    pub fn warnings(&self) -> usize {
        self.lines.iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR").count()
    }
}
