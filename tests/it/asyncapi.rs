//! `docs/asyncapi.yaml` against the rules of AsyncAPI 3.0, against the code, and against real entries of all three
//! streams.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};
use startjobs::contract::Fields;
use startjobs::contract::dead_letter::{HEAD_FIELDS, OUTCOME_ID, Reason};
use startjobs::contract::error_code::{Class, ErrorCode};
use startjobs::contract::job_result::{FIELDS, ORIGINAL_FIELDS};
use startjobs::contract::start_job::StartJob;

use crate::support::world::{World, load};

/// The document, and what a test asks of it.
struct Document(Value);

/// The raw pairs of one entry, by its id.
type Entry = (String, Fields);

impl Document {
    fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/asyncapi.yaml");
        let text = std::fs::read_to_string(path).expect("docs/asyncapi.yaml can be read");
        Self(serde_saphyr::from_str(&text).expect("docs/asyncapi.yaml is YAML"))
    }

    fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or_else(|| panic!("the document has {pointer}"))
    }

    fn members(&self, pointer: &str) -> &Map<String, Value> {
        self.at(pointer).as_object().unwrap_or_else(|| panic!("{pointer} is an object"))
    }

    fn words(&self, pointer: &str) -> Vec<String> {
        let list = self.at(pointer).as_array().unwrap_or_else(|| panic!("{pointer} is a list"));
        list.iter().map(|word| word.as_str().expect("a text").to_owned()).collect()
    }

    /// The schema of one message's payload, with everything it refers to.
    fn validator(&self, message: &str) -> Validator {
        let payload = self.at(&format!("/components/messages/{message}/payload"));
        let schema = json!({ "allOf": [payload], "components": self.at("/components") });
        jsonschema::options().with_draft(Draft::Draft7).build(&schema).expect("the schema is valid")
    }

    fn field_order(&self, message: &str) -> Vec<String> {
        self.words(&format!("/components/messages/{message}/x-field-order"))
    }
}

/// Why a payload is not as the schema says; nothing where it is.
fn breaches(validator: &Validator, payload: &Value) -> Vec<String> {
    validator.iter_errors(payload).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn assert_valid(validator: &Validator, payload: &Value, what: &str) {
    let breaches = breaches(validator, payload);
    assert!(breaches.is_empty(), "{what}: {breaches:#?}\n{payload:#}");
}

/// Every `$ref` in a value.
fn refs<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| refs(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| refs(item, found)),
        _ => {}
    }
}

fn ref_of(value: &Value) -> &str {
    value["$ref"].as_str().unwrap_or_else(|| panic!("a $ref: {value}"))
}

/// The pairs as an object of texts; of repeated names the first wins.
fn object(pairs: &[(Bytes, Bytes)]) -> Value {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let mut members = Map::new();
    for (name, value) in pairs {
        members.entry(text(name)).or_insert_with(|| Value::String(text(value)));
    }
    Value::Object(members)
}

fn names(pairs: &[(Bytes, Bytes)]) -> Vec<String> {
    pairs.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect()
}

fn fields_of(payload: &Value) -> Fields {
    let members = payload.as_object().expect("a payload is an object");
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    members.iter().map(|(name, value)| (bytes(name), bytes(value.as_str().expect("a text")))).collect()
}

async fn entries(world: &World, stream: &str) -> Vec<Entry> {
    let reply = world.redis(&["XRANGE", stream, "-", "+"]).await;
    let entries: Vec<(String, Vec<Bytes>)> = reply.convert().expect("entries");
    let pairs = |flat: Vec<Bytes>| flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    entries.into_iter().map(|(id, flat)| (id, pairs(flat))).collect()
}

#[test]
fn the_document_keeps_the_rules_of_asyncapi_3() {
    let document = Document::read();
    assert_eq!(document.at("/asyncapi"), "3.0.0");
    for required in ["/info/title", "/info/version", "/defaultContentType"] {
        assert!(document.at(required).as_str().is_some_and(|text| !text.is_empty()), "{required}");
    }
    for (name, server) in document.members("/servers") {
        assert!(server["host"].is_string() && server["protocol"].is_string(), "server {name}");
    }

    let mut found = Vec::new();
    refs(&document.0, &mut found);
    assert!(found.len() > 10, "the document is made of references");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is in this document"));
        assert!(document.0.pointer(pointer).is_some(), "{reference} resolves");
    }

    for (name, channel) in document.members("/channels") {
        assert!(channel["address"].is_string(), "channel {name}");
        for message in channel["messages"].as_object().expect("messages").values() {
            assert!(ref_of(message).starts_with("#/components/messages/"), "channel {name}");
        }
    }
    for (name, operation) in document.members("/operations") {
        assert!(["send", "receive"].contains(&operation["action"].as_str().unwrap_or("")), "operation {name}");
        let channel = ref_of(&operation["channel"]);
        assert!(channel.starts_with("#/channels/"), "operation {name}");
        for message in operation["messages"].as_array().expect("messages") {
            assert!(
                ref_of(message).starts_with(&format!("{channel}/messages/")),
                "operation {name}: of its own channel"
            );
        }
    }
    for (name, message) in document.members("/components/messages") {
        assert_eq!(message["name"].as_str(), Some(name.as_str()));
        assert!(message["payload"].is_object(), "message {name}");
    }
    for (name, correlation) in document.members("/components/correlationIds") {
        let location = correlation["location"].as_str().unwrap_or("");
        assert!(location.starts_with("$message.payload#/"), "correlation id {name}");
    }
}

#[test]
fn the_document_names_what_the_code_names() {
    let document = Document::read();
    let settings = load(&[]);
    assert_eq!(document.at("/channels/startJobs/address"), settings.stream.jobs.as_str());
    assert_eq!(document.at("/channels/jobResults/address"), settings.stream.results.as_str());
    assert_eq!(document.at("/channels/deadLetters/address"), settings.stream.dead.as_str());
    let group = document.at("/operations/receiveStartJob/x-redis-stream/consumer-group");
    assert_eq!(group, settings.stream.group.as_str());

    assert_eq!(document.field_order("StartJob"), ["game_id", "image_ref", "requested_at_ms"]);
    assert_eq!(document.field_order("JobResult"), FIELDS);
    assert_eq!(document.at("/components/messages/JobResult/x-original-fields"), &json!(ORIGINAL_FIELDS));
    let head: Vec<&str> = HEAD_FIELDS.into_iter().chain([OUTCOME_ID]).collect();
    assert_eq!(document.field_order("DeadLetter"), head);

    let codes = |class| -> Vec<&str> {
        ErrorCode::ALL.iter().filter(|code| code.class() == class).map(|code| code.as_str()).collect()
    };
    let error_code = "/components/schemas/JobResult/properties/error_code";
    assert_eq!(document.words(&format!("{error_code}/x-permanent")), codes(Class::Permanent));
    assert_eq!(document.words(&format!("{error_code}/x-retryable")), codes(Class::Retryable));
    let reasons = Reason::ALL.map(Reason::as_str);
    assert_eq!(document.words("/components/schemas/DeadLetter/properties/reason/enum"), reasons);
}

#[test]
fn the_examples_are_what_they_are_examples_of() {
    let document = Document::read();
    let limit = load(&[]).stream.max_field_bytes;
    for (name, message) in document.members("/components/messages") {
        let validator = document.validator(name);
        let examples = message["examples"].as_array().unwrap_or_else(|| panic!("{name} has examples"));
        for example in examples {
            let what = format!("{name}, example {}", example["name"]);
            assert_valid(&validator, &example["payload"], &what);
            if name == "StartJob" {
                let job = StartJob::decode(&fields_of(&example["payload"]), limit);
                assert!(job.is_ok(), "{what}: {job:?}");
            }
        }
    }
}

#[test]
fn the_schemas_refuse_what_the_contract_refuses() {
    let document = Document::read();
    let limit = load(&[]).stream.max_field_bytes;
    let job = document.validator("StartJob");
    for payload in [
        json!({ "image_ref": "i" }),
        json!({ "game_id": " ", "image_ref": "i" }),
        json!({ "game_id": "g", "image_ref": "" }),
        json!({ "game_id": "g", "image_ref": "i", "requested_at_ms": "soon" }),
        json!({ "game_id": "g", "image_ref": "i", "requested_at_ms": "1.5" }),
    ] {
        assert!(!breaches(&job, &payload).is_empty(), "{payload}");
        assert!(StartJob::decode(&fields_of(&payload), limit).is_err(), "{payload}");
    }

    let good = document.at("/components/messages/JobResult/examples/0/payload");
    let letter = document.at("/components/messages/DeadLetter/examples/0/payload");
    for (message, example, name, value) in [
        ("JobResult", good, "outcome", "done"),
        ("JobResult", good, "outcome", "failure"),
        ("JobResult", good, "container_id", ""),
        ("JobResult", good, "error_code", "image_not_found"),
        ("JobResult", good, "error_message", "x"),
        ("JobResult", good, "source_ref", "5"),
        ("DeadLetter", letter, "reason", "expired"),
        ("DeadLetter", letter, "outcome_id", "5-0"),
        ("DeadLetter", letter, "crashes", "-1"),
    ] {
        let mut payload = example.clone();
        payload[name] = json!(value);
        assert!(!breaches(&document.validator(message), &payload).is_empty(), "{message} with {name}={value}");
    }
    for name in FIELDS.iter().take(ORIGINAL_FIELDS).chain(["attempt"].iter()) {
        let mut payload = good.clone();
        payload.as_object_mut().expect("an object").remove(*name);
        assert!(!breaches(&document.validator("JobResult"), &payload).is_empty(), "an outcome without {name}");
    }
}

/// Jobs of every kind that are answered without a dead letter: game, image, and the code they are answered with.
const ANSWERED: &[(&str, &str, &str)] = &[
    ("game-1", "galaxy/engine:1", ""),
    ("game-1", "galaxy/engine:1", "replay_no_op"),
    ("game-1", "galaxy/engine:2", "image_conflict"),
    ("game-2", "sim/missing", "image_not_found"),
    ("game-3", "sim/exit", "engine_exited"),
    ("no such game", "galaxy/engine:1", "invalid_game_id"),
    ("game-4", "NO:such:image", "invalid_image_ref"),
];

/// Two start jobs that are none; the second uses a name of the dead letter's own.
const MALFORMED: [&[(&str, &str)]; 2] = [
    &[("game_id", "game-5"), ("image_ref", " ")],
    &[("game_id", "g"), ("source_ref", "mine"), ("game_id", "h"), ("image_ref", "i"), ("requested_at_ms", "soon")],
];

#[tokio::test]
async fn real_entries_are_as_the_document_says() {
    let document = Document::read();
    let mut world = World::with(&[("retry-attempts", "2"), ("crash-budget", "0")]).await;
    let stream = world.settings.stream.clone();
    let (jobs, group) = (stream.jobs.as_str(), stream.group.as_str());

    // An entry that is pending for somebody who is gone, and whose payload is gone too.
    world.redis(&["XGROUP", "CREATE", jobs, group, "0", "MKSTREAM"]).await;
    let lost = world.lobby.append("game-6", "galaxy/engine:1", 0).await.expect("appended").to_string();
    world.redis(&["XREADGROUP", "GROUP", group, "gone", "COUNT", "1", "STREAMS", jobs, ">"]).await;
    world.redis(&["XDEL", jobs, &lost]).await;

    for (game, image, _) in ANSWERED {
        world.lobby.append(game, image, 17).await.expect("appended");
    }
    world
        .lobby
        .append_fields(&[("game_id", " game-7 "), ("image_ref", "galaxy/engine"), ("x", "y")])
        .await
        .expect("appended");
    for fields in MALFORMED {
        world.lobby.append_fields(fields).await.expect("appended");
    }
    world.lobby.append("game-8", "sim/retry", 17).await.expect("appended");
    world.replica(&[]);
    await_counts(&mut world, ANSWERED.len() + 2, MALFORMED.len() + 2).await;

    // Kills the one replica there is; the next one finds that out, and has no budget for it.
    world.lobby.append("game-9", "sim/abort", 17).await.expect("appended");
    world
        .eventually("the job is pending", async |world: &World| {
            world.lobby.pending().await.is_ok_and(|pending| !pending.is_empty())
        })
        .await;
    world.replica(&[]);
    await_counts(&mut world, ANSWERED.len() + 3, MALFORMED.len() + 3).await;

    let jobs: BTreeMap<String, Fields> = entries(&world, jobs).await.into_iter().collect();
    let outcomes = entries(&world, &stream.results).await;
    check_jobs(&document, &jobs);
    check_outcomes(&document, &jobs, &outcomes);
    let outcomes: BTreeMap<String, Fields> = outcomes.into_iter().collect();
    check_dead_letters(&document, &jobs, &outcomes, &entries(&world, &stream.dead).await);
}

async fn await_counts(world: &mut World, outcomes: usize, dead: usize) {
    world
        .eventually("every entry is answered", async |world: &World| {
            let answered = world.lobby.all_outcomes().await.map(|all| all.len()).unwrap_or_default();
            let buried = world.lobby.all_dead().await.map(|all| all.len()).unwrap_or_default();
            let at_rest = world.lobby.pending().await.is_ok_and(|pending| pending.is_empty());
            at_rest && (answered, buried) == (outcomes, dead)
        })
        .await;
}

fn check_jobs(document: &Document, jobs: &BTreeMap<String, Fields>) {
    let validator = document.validator("StartJob");
    let mut malformed = 0;
    for (id, pairs) in jobs {
        let decodes = StartJob::decode(pairs, load(&[]).stream.max_field_bytes).is_ok();
        // The document's object has one value of each name, and the last wins.
        let last: Fields = pairs.iter().rev().cloned().collect();
        let breaches = breaches(&validator, &object(&last));
        assert_eq!(breaches.is_empty(), decodes, "job {id}: {breaches:?}");
        malformed += usize::from(!decodes);
    }
    assert_eq!(malformed, MALFORMED.len());
}

fn check_outcomes(document: &Document, jobs: &BTreeMap<String, Fields>, outcomes: &[Entry]) {
    let (validator, order) = (document.validator("JobResult"), document.field_order("JobResult"));
    let mut codes = BTreeSet::new();
    for (id, pairs) in outcomes {
        assert_eq!(names(pairs), order, "outcome {id}");
        let outcome = object(pairs);
        assert_valid(&validator, &outcome, &format!("outcome {id}"));
        let text = |name: &str| outcome[name].as_str().expect("a text").to_owned();
        let job = object(&jobs[&text("source_ref")]);
        assert_eq!(text("game_id"), job["game_id"].as_str().unwrap_or("").trim(), "outcome {id}");
        codes.insert(text("error_code"));
    }
    let expected = ANSWERED.iter().map(|(_, _, code)| *code).chain(["simulated_error", "poison"]);
    assert_eq!(codes, expected.map(str::to_owned).collect());
}

fn check_dead_letters(
    document: &Document,
    jobs: &BTreeMap<String, Fields>,
    outcomes: &BTreeMap<String, Fields>,
    letters: &[Entry],
) {
    let (validator, order) = (document.validator("DeadLetter"), document.field_order("DeadLetter"));
    let mut reasons = BTreeMap::<String, usize>::new();
    for (id, pairs) in letters {
        let (ours, original) = pairs.split_at(order.len());
        assert_eq!(names(ours), order, "dead letter {id}");
        assert_valid(&validator, &object(pairs), &format!("dead letter {id}"));
        let letter = object(ours);
        let source = letter["source_ref"].as_str().expect("a text");
        assert_eq!(
            original,
            jobs.get(source).map_or(&[][..], Vec::as_slice),
            "dead letter {id}: the pairs as they came"
        );
        let outcome_id = letter["outcome_id"].as_str().expect("a text");
        if !outcome_id.is_empty() {
            assert_eq!(object(&outcomes[outcome_id])["source_ref"].as_str(), Some(source), "dead letter {id}");
        }
        *reasons.entry(letter["reason"].as_str().expect("a text").to_owned()).or_default() += 1;
    }
    let expected = [("malformed", 2), ("poison", 1), ("retries_exhausted", 1), ("entry_lost", 1)];
    assert_eq!(reasons, expected.map(|(reason, count)| (reason.to_owned(), count)).into());
}

#[tokio::test]
async fn with_original_fields_an_outcome_has_exactly_the_six_in_order() {
    let document = Document::read();
    let mut world = World::with(&[("outcome-fields", "original"), ("retry-attempts", "1")]).await;
    let results = world.settings.stream.results.clone();
    world.replica(&[]);
    for (game, image, _) in ANSWERED {
        world.lobby.append(game, image, 17).await.expect("appended");
    }
    world.lobby.append("game-8", "sim/retry", 17).await.expect("appended");
    await_counts(&mut world, ANSWERED.len() + 1, 1).await;
    let (validator, order) = (document.validator("JobResult"), document.field_order("JobResult"));
    for (id, pairs) in entries(&world, &results).await {
        assert_eq!(names(&pairs), order[..ORIGINAL_FIELDS], "outcome {id}");
        assert_valid(&validator, &object(&pairs), &format!("outcome {id}"));
    }
}
