//! What was sent against what came back. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::client::{Dead, Outcome};

/// What a sender knows of one entry it appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// A well-formed job: exactly one outcome is due.
    Job,
    /// Not a job: exactly one dead letter is due, and no outcome.
    Malformed,
}

/// The account of a run. `lost` and `answered_twice` must be zero, and `unexpected` empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Entries appended.
    pub sent: usize,
    /// First outcomes by kind: `started`, `replay_no_op`, or a failure's code.
    pub outcomes: BTreeMap<String, usize>,
    /// Malformed entries with their one dead letter.
    pub malformed: usize,
    /// Entries without the answer that is due: ids.
    pub lost: Vec<String>,
    /// Entries that were sent and that the surviving jobs stream does not have, without an answer: Redis lost them, and
    /// no fleet can answer them. Ids.
    pub(crate) absent: Vec<String>,
    /// The same, and answered: a worker had read them before Redis lost them.
    pub(crate) absent_answered: usize,
    /// Entries with more than one: ids.
    pub answered_twice: Vec<String>,
    /// Outcomes or dead letters for entries that were not sent, outcomes for malformed ones, and outcomes that name no
    /// entry: what they are.
    pub unexpected: Vec<String>,
}

impl Account {
    /// The account of entries that all are in the jobs stream, or were until they were answered.
    pub fn draw(sent: &HashMap<String, Sent>, outcomes: &[Outcome], dead: &[Dead]) -> Self {
        Self::draw_without(sent, &HashSet::new(), outcomes, dead)
    }

    /// The account where the surviving jobs stream has not got some of what was `sent`: those are accounted for apart.
    pub(crate) fn draw_without(
        sent: &HashMap<String, Sent>,
        absent: &HashSet<String>,
        outcomes: &[Outcome],
        dead: &[Dead],
    ) -> Self {
        let mut account = Self { sent: sent.len(), ..Self::default() };
        let mut answered: HashSet<&str> = HashSet::new();
        for outcome in outcomes {
            let source = outcome.source_ref.as_deref().unwrap_or("");
            match sent.get(source) {
                Some(Sent::Job) if answered.insert(source) => {
                    *account.outcomes.entry(kind_of(outcome)).or_default() += 1;
                }
                Some(Sent::Job) => account.answered_twice.push(source.to_owned()),
                Some(Sent::Malformed) => {
                    account.unexpected.push(format!("outcome {} for malformed {source}", outcome.id));
                }
                None => account.unexpected.push(format!("outcome {} for unknown entry {source:?}", outcome.id)),
            }
        }
        let mut buried: HashSet<&str> = HashSet::new();
        for letter in dead {
            let source = letter.source_ref.as_str();
            match sent.get(source) {
                None => account.unexpected.push(format!("dead letter for unknown entry {source:?}")),
                Some(_) if !buried.insert(source) => account.answered_twice.push(source.to_owned()),
                Some(Sent::Malformed) => account.malformed += 1,
                Some(Sent::Job) => {}
            }
        }
        let is_answered = |(id, kind): &(&String, &Sent)| match kind {
            Sent::Job => answered.contains(id.as_str()),
            Sent::Malformed => buried.contains(id.as_str()),
        };
        let (found, mut missing): (Vec<_>, Vec<_>) = sent.iter().partition(is_answered);
        account.absent_answered = found.into_iter().filter(|(id, _)| absent.contains(*id)).count();
        missing.sort_unstable_by_key(|(id, _)| *id);
        let ids = missing.into_iter().map(|(id, _)| id.clone());
        (account.absent, account.lost) = ids.partition(|id| absent.contains(id));
        account
    }

    /// Does it balance?
    pub fn is_exact(&self) -> bool {
        self.lost.is_empty() && self.answered_twice.is_empty() && self.unexpected.is_empty()
    }
}

fn kind_of(outcome: &Outcome) -> String {
    match (outcome.outcome.as_str(), outcome.error_code.as_str()) {
        ("success", "") => "started".to_owned(),
        (_, code) => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(source: &str, code: &str) -> Outcome {
        Outcome {
            id: "1-0".into(),
            game_id: String::new(),
            outcome: if code.is_empty() { "success" } else { "failure" }.into(),
            container_id: String::new(),
            engine_endpoint: String::new(),
            error_code: code.into(),
            error_message: String::new(),
            source_ref: Some(source.into()),
            requested_at_ms: None,
            finished_at_ms: None,
            attempt: None,
        }
    }

    fn dead(source: &str) -> Dead {
        Dead { id: "1-0".into(), source_ref: source.into(), reason: "malformed".into(), outcome_id: String::new() }
    }

    #[test]
    fn an_exact_account_balances_and_every_breach_is_named() {
        let sent: HashMap<String, Sent> =
            [("1", Sent::Job), ("2", Sent::Job), ("3", Sent::Malformed)].map(|(id, kind)| (id.to_owned(), kind)).into();
        let good = Account::draw(&sent, &[outcome("1", ""), outcome("2", "image_not_found")], &[dead("3")]);
        assert!(good.is_exact(), "{good:?}");
        assert_eq!((good.outcomes["started"], good.outcomes["image_not_found"], good.malformed), (1, 1, 1));

        // A job that Redis has lost needs no answer; two answers are still a violation.
        let absent = HashSet::from(["2".to_owned()]);
        let lost = Account::draw_without(&sent, &absent, &[outcome("1", "")], &[dead("3")]);
        assert_eq!((lost.absent.as_slice(), lost.absent_answered), (&["2".to_owned()][..], 0));
        assert!(lost.is_exact(), "{lost:?}");
        let answered = Account::draw_without(&sent, &absent, &[outcome("1", ""), outcome("2", "")], &[dead("3")]);
        assert_eq!((answered.absent.len(), answered.absent_answered, answered.is_exact()), (0, 1, true));
        let twice = [outcome("1", ""), outcome("2", ""), outcome("2", "")];
        assert!(!Account::draw_without(&sent, &absent, &twice, &[dead("3")]).is_exact());

        let breaches = [
            (vec![outcome("1", "")], vec![dead("3")]),
            (vec![outcome("1", ""), outcome("2", "")], vec![]),
            (vec![outcome("1", ""), outcome("1", ""), outcome("2", "")], vec![dead("3")]),
            (vec![outcome("1", ""), outcome("2", ""), outcome("3", "")], vec![dead("3")]),
            (vec![outcome("1", ""), outcome("2", ""), outcome("9", "")], vec![dead("3")]),
            (vec![outcome("1", ""), outcome("2", "")], vec![dead("3"), dead("3")]),
        ];
        for (outcomes, letters) in breaches {
            let account = Account::draw(&sent, &outcomes, &letters);
            assert!(!account.is_exact(), "{account:?}");
        }
    }
}
