//! The texts in Redis about a game: its record, and the answers of its jobs.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Answered;
use crate::contract::dead_letter::Reason;
use crate::contract::job_result::{Answer, REPLAY_NO_OP, SuccessKind};
use crate::redis::RedisError;

/// A record after its numbers, in the order in which it is stored (`scripts/record.lua`).
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct RecordText<'a> {
    /// `starting`, `running` or `failed`.
    pub(crate) state: &'a str,
    /// The image asked for.
    pub(crate) image_ref: &'a str,
    /// The stream of its job.
    pub(crate) stream: &'a str,
    /// Its job's bare entry id.
    pub(crate) source_ref: &'a str,
    /// What asked for the start.
    pub(crate) op_source: &'a str,
    /// The `engine-host-id` it is placed on.
    pub(crate) host: &'a str,
    /// The engine's kind.
    pub(crate) engine: &'a str,
    /// A container that must go.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) condemned: &'a str,
    /// The container that runs.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) container_id: &'a str,
    /// Where it answers.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) engine_endpoint: &'a str,
    /// What its job was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<AnswerText<'a>>,
}

/// The parts of an answer that the record does not hold elsewhere.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct AnswerText<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    error_code: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error_message: &'a str,
    /// The dead letter's reason, where the job was given up.
    #[serde(skip_serializing_if = "str::is_empty")]
    given_up: &'a str,
}

/// The beginning of a record whose attempt is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Numbers<'a> {
    /// Its very first bytes: `{"fence":1,"owner":"me",`.
    pub(crate) holder: &'a str,
    /// By the server's clock.
    pub(crate) updated_at_ms: u64,
    /// How many attempts there were.
    pub(crate) attempt: u64,
}

impl<'a> RecordText<'a> {
    /// The record with the answer of its job.
    pub(crate) fn answered(self, answer: &'a Answer, given_up: Option<Reason>) -> Self {
        let (state, container_id, engine_endpoint, error_message) = match answer {
            Answer::Success { container_id, engine_endpoint, .. } => {
                ("running", container_id.as_str(), engine_endpoint.as_str(), "")
            }
            Answer::Failure { message, .. } => ("failed", "", "", message.as_str()),
        };
        let given_up = given_up.map_or("", Reason::as_str);
        let answer = Some(AnswerText { error_code: answer.error_code(), error_message, given_up });
        Self { state, container_id, engine_endpoint, answer, ..self }
    }

    /// The record from the comma after the numbers on.
    pub(crate) fn without_numbers(&self) -> String {
        self.append_to(String::new())
    }

    /// The whole record, with no lease.
    pub(crate) fn with_numbers(&self, numbers: Numbers<'_>) -> String {
        let Numbers { holder, updated_at_ms, attempt } = numbers;
        self.append_to(format!(r#"{holder}"lease_until_ms":0,"updated_at_ms":{updated_at_ms},"attempt":{attempt}"#))
    }

    fn append_to(&self, mut text: String) -> String {
        let from = text.len();
        text.push_str(&serde_json::to_string(self).expect("texts are always JSON"));
        text.replace_range(from..=from, ",");
        text
    }
}

/// A stored answer as the scripts return it, with the outcome's own field names.
#[derive(Deserialize)]
struct StoredAnswer<'a> {
    #[serde(borrow)]
    outcome: Cow<'a, str>,
    container_id: String,
    engine_endpoint: String,
    error_code: String,
    error_message: String,
    #[serde(borrow)]
    given_up: Cow<'a, str>,
}

/// Parses a stored answer.
pub(crate) fn answer_of(text: &str) -> Result<Answered, RedisError> {
    let stored: StoredAnswer<'_> =
        serde_json::from_str(text).map_err(|error| RedisError::unexpected(&format!("stored result: {error}")))?;
    let answer = match &*stored.outcome {
        "success" => Answer::Success {
            container_id: stored.container_id,
            engine_endpoint: stored.engine_endpoint,
            kind: if stored.error_code == REPLAY_NO_OP { SuccessKind::Replayed } else { SuccessKind::Started },
        },
        "failure" => Answer::Failure { code: stored.error_code, message: stored.error_message },
        other => return Err(RedisError::unexpected(&format!("stored outcome {other:?}"))),
    };
    let given_up = [Reason::Poison, Reason::RetriesExhausted, Reason::TooLarge]
        .into_iter()
        .find(|why| why.as_str() == stored.given_up);
    Ok(Answered { answer, given_up })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_is_written_in_the_order_of_the_scripts() {
        let record = RecordText {
            state: "starting",
            image_ref: "i",
            stream: "s",
            source_ref: "5-1",
            op_source: "o",
            host: "h",
            engine: "e",
            ..RecordText::default()
        };
        assert_eq!(
            record.without_numbers(),
            r#","state":"starting","image_ref":"i","stream":"s","source_ref":"5-1","op_source":"o","host":"h","engine":"e"}"#
        );
        let success = Answer::Success {
            container_id: "c".into(),
            engine_endpoint: "http://h:1".into(),
            kind: SuccessKind::Started,
        };
        let numbers = Numbers { holder: r#"{"fence":7,"owner":"w","#, updated_at_ms: 9, attempt: 8 };
        assert_eq!(
            record.clone().answered(&success, None).with_numbers(numbers),
            r#"{"fence":7,"owner":"w","lease_until_ms":0,"updated_at_ms":9,"attempt":8,"state":"running","image_ref":"i","stream":"s","source_ref":"5-1","op_source":"o","host":"h","engine":"e","container_id":"c","engine_endpoint":"http://h:1","answer":{}}"#
        );
        let failure = Answer::Failure { code: "engine_exited".into(), message: "\"no\"\n".into() };
        let record = RecordText { condemned: "d", ..record };
        assert!(record.answered(&failure, Some(Reason::Poison)).without_numbers().ends_with(
            r#","condemned":"d","answer":{"error_code":"engine_exited","error_message":"\"no\"\n","given_up":"poison"}}"#
        ));
    }

    proptest! {
        #[test]
        fn any_text_in_a_record_is_json(texts in proptest::collection::vec(any::<String>(), 8), attempt in any::<u64>()) {
            let failure = Answer::Failure { code: texts[6].clone(), message: texts[7].clone() };
            let record = RecordText {
                image_ref: &texts[0],
                stream: &texts[1],
                source_ref: &texts[2],
                host: &texts[4],
                condemned: &texts[5],
                ..RecordText::default()
            };
            let holder = format!(r#"{{"fence":1,"owner":{},"#, serde_json::to_string(&texts[3]).expect("JSON"));
            let text = record.answered(&failure, None).with_numbers(Numbers { holder: &holder, updated_at_ms: 2, attempt });
            let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(&read["image_ref"], &texts[0]);
            prop_assert_eq!(&read["owner"], &texts[3]);
            prop_assert_eq!(read["attempt"].as_u64(), Some(attempt));
            prop_assert_eq!(read["condemned"].as_str().unwrap_or_default(), &texts[5]);
            prop_assert_eq!(read["answer"]["error_message"].as_str().unwrap_or_default(), &texts[7]);
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let stored = |outcome: &str, code: &str, given_up: &str| {
            format!(
                r#"{{"outcome":"{outcome}","container_id":"c","engine_endpoint":"e","error_code":"{code}","error_message":"a\/b","given_up":"{given_up}"}}"#
            )
        };
        let success = |kind| Answer::Success { container_id: "c".into(), engine_endpoint: "e".into(), kind };
        assert_eq!(answer_of(&stored("success", "", "")), Ok(success(SuccessKind::Started).into()));
        assert_eq!(answer_of(&stored("success", REPLAY_NO_OP, "")), Ok(success(SuccessKind::Replayed).into()));
        let failure = Answer::Failure { code: "engine_exited".into(), message: "a/b".into() };
        for given_up in [None, Some(Reason::Poison), Some(Reason::RetriesExhausted), Some(Reason::TooLarge)] {
            let text = stored("failure", "engine_exited", given_up.map_or("", Reason::as_str));
            assert_eq!(answer_of(&text), Ok(Answered { answer: failure.clone(), given_up }));
        }
        for bad in ["", "{}", "[]", "null", &stored("maybe", "", "")] {
            assert!(answer_of(bad).is_err(), "{bad}");
        }
    }
}
