//! `startjobs dead` as a process, on dead letters that real replicas made.

use std::fs;
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use serde_json::Value;
use startjobs::contract::Fields;
use startjobs::embedded::redis_server::RedisServer;
use startjobs::lobby::client::field;
use startjobs::stream::entry_id::EntryId;

use crate::support::world::World;

/// Runs `startjobs dead` with nothing of the user's environment and no terminal.
fn dead(world: &World, arguments: &[&str]) -> Output {
    at(&world.redis.url(), arguments).output().expect("the binary under test runs")
}

fn at(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_startjobs"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.arg("dead").args(arguments).args(["--redis-url", url]);
    command
}

/// What a command that ends with this code prints on stdout.
fn prints(world: &World, code: i32, arguments: &[&str]) -> String {
    let output = dead(world, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("stdout is text")
}

/// What a command that ends with this code says on stderr.
fn says(world: &World, code: i32, arguments: &[&str]) -> String {
    let output = dead(world, arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).expect("stderr is text")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn listed(world: &World, filters: &[&str]) -> Vec<String> {
    let text = prints(world, 0, &[&["list", "--json"], filters].concat());
    let list = json(&text);
    assert_eq!(list["schema_version"], 1, "{list}");
    let letters = list["dead_letters"].as_array().expect("a list");
    letters.iter().map(|letter| letter["source_ref"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A stream's entries as bytes.
async fn entries(world: &World, stream: &str) -> Vec<(String, Fields)> {
    world.lobby.entries(stream).await.expect("entries")
}

async fn dead_ids(world: &World) -> Vec<String> {
    entries(world, &world.settings.stream.dead).await.into_iter().map(|(id, _)| id).collect()
}

fn append(world: &World, stream: &str, pairs: &Fields) -> EntryId {
    let words: Vec<&[u8]> = pairs.iter().flat_map(|(name, value)| [&name[..], &value[..]]).collect();
    raw(world, &[&[&b"XADD"[..], stream.as_bytes(), b"*"], &words[..]].concat()).parse().expect("an id")
}

/// One command whose words may be any bytes; the bulk reply. Its own connection: the client takes texts only.
fn raw(world: &World, words: &[&[u8]]) -> String {
    use std::io::{Read, Write};
    let address = world.redis.url().trim_start_matches("redis://").trim_end_matches('/').to_owned();
    let mut stream = std::net::TcpStream::connect(address).expect("redis-server listens");
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend(format!("${}\r\n", word.len()).into_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    stream.write_all(&request).expect("sent");
    let mut reply = [0; 512];
    let read = stream.read(&mut reply).expect("an answer");
    let text = String::from_utf8_lossy(&reply[..read]).into_owned();
    assert!(text.starts_with('$'), "{text}");
    text.lines().nth(1).expect("a bulk reply").to_owned()
}

fn pair(name: &[u8], value: &[u8]) -> (Bytes, Bytes) {
    (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value))
}

/// No text at all, a control sequence, a repeated name, an empty name.
fn hostile(image: &str) -> Fields {
    vec![
        pair(b"game_id", b"first"),
        pair(b"blob", &(0..=255).collect::<Vec<u8>>()),
        pair(b"\xff\xfe", b"\x1b]0;owned\x07\x1b[2J"),
        pair(b"", b""),
        pair(b"image_ref", image.as_bytes()),
        pair(b"game_id", b"hostile"),
        pair(b"blob", b"again\r\n"),
    ]
}

/// A malformed entry, a job whose start service failed, and a hostile one that failed so too; in this order.
async fn with_dead_letters() -> (World, [EntryId; 3]) {
    let mut world = World::with(&[("retry-attempts", "1")]).await;
    let replica = world.replica(&[]);
    world.begun(replica).await;
    let mut sources = Vec::new();
    for step in 0..3 {
        sources.push(match step {
            0 => world.lobby.append_fields(&[("game_id", "g"), ("image_ref", " ")]).await.expect("appended"),
            1 => world.lobby.append("unlucky", "sim/retry", 17).await.expect("appended"),
            _ => append(&world, &world.settings.stream.jobs, &hostile("sim/retry")),
        });
        world.eventually("one more dead letter", async |world: &World| dead_ids(world).await.len() == step + 1).await;
    }
    (world, sources.try_into().expect("three"))
}

/// `{"base64": ...}` or a text, as bytes.
fn bytes_of(value: &Value) -> Vec<u8> {
    let Some(text) = value["base64"].as_str() else {
        return value.as_str().expect("a text").as_bytes().to_vec();
    };
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for four in text.as_bytes().chunks(4) {
        let used = four.iter().filter(|&&letter| letter != b'=').count();
        let bits = four
            .iter()
            .fold(0_u32, |bits, &letter| bits << 6 | u32::from(if letter == b'=' { 0 } else { digit(letter) }));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..used]);
    }
    bytes
}

fn original_of(letter: &Value) -> Fields {
    let pairs = letter["original"].as_array().expect("pairs");
    pairs.iter().map(|both| pair(&bytes_of(&both[0]), &bytes_of(&both[1]))).collect()
}

#[tokio::test]
async fn list_and_show_tell_everything_and_never_reach_the_terminal_raw() {
    let (world, [malformed, unlucky, hostile_id]) = with_dead_letters().await;
    let ids = dead_ids(&world).await;
    let list = prints(&world, 0, &["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 4, "{list}");
    assert!(lines[0].starts_with("ID ") && lines[3].starts_with(&ids[0]), "newest first: {list}");
    assert!(lines[3].contains(" malformed ") && lines[3].contains(&malformed.to_string()), "{list}");
    assert!(lines[3].contains("  missing "), "{list}");
    assert!(lines[2].contains(" retries_exhausted ") && lines[2].contains(" unlucky "), "{list}");
    assert!(lines[2].ends_with(" never succeeds"), "nothing is cut where no terminal is: {list}");
    assert_eq!(prints(&world, 0, &["list", "--no-headers"]).lines().count(), 3);
    let one = dead(&world, &["list", "--limit", "1"]);
    assert_eq!(String::from_utf8_lossy(&one.stdout).lines().count(), 2);
    assert!(String::from_utf8_lossy(&one.stderr).contains("2 more"), "{one:?}");

    let shown = prints(&world, 0, &["show", &ids[2]]);
    assert!(!shown.chars().any(|letter| letter.is_control() && letter != '\n'), "{shown:?}");
    assert!(shown.contains(r"\xff\xfe") && shown.contains(r"\x1b]0;owned\x07\x1b[2J"), "{shown}");
    let by_source = dead(&world, &["show", &unlucky.to_string(), "--json"]);
    assert!(String::from_utf8_lossy(&by_source.stderr).contains(&format!("source of dead letter {}", ids[1])));
    let letter = json(&String::from_utf8_lossy(&by_source.stdout));
    assert_eq!((&letter["schema_version"], &letter["id"]), (&1.into(), &ids[1].as_str().into()));
    assert_eq!(
        (&letter["reason"], &letter["failures"], &letter["game"]),
        (&"retries_exhausted".into(), &1.into(), &"unlucky".into())
    );
    assert!(letter["outcome_id"].as_str().is_some_and(|id| !id.is_empty()), "{letter}");
    assert!(says(&world, 1, &["show", "1-1"]).contains("1-1"));
    assert_eq!(listed(&world, &[]), [hostile_id, unlucky, malformed].map(|id| id.to_string()));
}

#[tokio::test]
async fn filters_let_through_what_they_say() {
    let (world, [malformed, unlucky, hostile]) = with_dead_letters().await;
    let names = |ids: &[EntryId]| ids.iter().map(EntryId::to_string).collect::<Vec<_>>();
    assert_eq!(listed(&world, &["--reason", "malformed"]), names(&[malformed]));
    assert_eq!(listed(&world, &["--reason", "poison"]), names(&[]));
    let both = ["--reason", "malformed", "--reason", "retries_exhausted"];
    assert_eq!(listed(&world, &both), names(&[hostile, unlucky, malformed]));
    assert_eq!(listed(&world, &["--game", "unlucky"]), names(&[unlucky]));
    assert_eq!(listed(&world, &["--game", "first"]), names(&[]), "the last of repeated fields counts");
    assert_eq!(listed(&world, &["--older-than", "1h"]), names(&[]));
    assert_eq!(listed(&world, &["--newer-than", "1h", "--limit", "1"]), names(&[hostile]));
    let old = ["XADD", &world.settings.stream.dead, "9999999999999-0", "note", "by hand"];
    world.redis(&old).await;
    let list = prints(&world, 0, &["list"]);
    assert!(list.contains("(foreign)"), "{list}");
    assert!(says(&world, 1, &["requeue", "9999999999999-0", "--yes"]).contains("not written by the fleet"));
}

#[tokio::test]
async fn a_binary_payload_survives_export_and_requeue_and_the_fleet_answers_the_new_job() {
    let (mut world, [_, unlucky, source]) = with_dead_letters().await;
    let streams = world.settings.stream.clone();
    let ids = dead_ids(&world).await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("dead.jsonl");
    let out = file.to_str().expect("a text");
    prints(&world, 0, &["export", "--out", out]);
    let text = fs::read_to_string(&file).expect("the export");
    assert_eq!(text, prints(&world, 0, &["export"]));
    let letters: Vec<Value> = text.lines().map(json).collect();
    assert_eq!(letters.iter().map(|letter| letter["id"].as_str().unwrap_or_default()).collect::<Vec<_>>(), ids);
    assert_eq!(original_of(&letters[2]), hostile("sim/retry"));
    assert!(says(&world, 1, &["export", "--out", out]).contains("cannot write"), "what is saved is not overwritten");

    let said = prints(&world, 0, &["requeue", &ids[2], &unlucky.to_string(), "--yes"]);
    assert_eq!(said.lines().count(), 2, "{said}");
    let jobs = entries(&world, &streams.jobs).await;
    assert_eq!(jobs.len(), 5);
    let (job, pairs) = &jobs[3];
    let expected = [hostile("sim/retry"), vec![pair(b"requeued_from", source.to_string().as_bytes())]].concat();
    assert_eq!(pairs, &expected);
    assert!(said.contains(&format!("{}  requeued as {job}  source {source}", ids[2])), "{said}");
    let links = entries(&world, &format!("{}:requeued", streams.dead)).await;
    let link = |name| field(&links[0].1, name).unwrap_or_default();
    assert_eq!(
        (link("dead_id"), link("source_ref"), link("job_id")),
        (ids[2].clone(), source.to_string(), job.clone())
    );

    // It fails as before, and with a count of its own.
    world.eventually("both are dead again", async |world: &World| dead_ids(world).await.len() == 3).await;
    let again = json(&prints(&world, 0, &["show", job, "--json"]));
    assert_eq!((&again["source_ref"], &again["failures"]), (&job.as_str().into(), &1.into()));
    let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
    let answered = outcomes.iter().filter(|outcome| outcome.source_ref.as_ref() == Some(job)).count();
    assert_eq!(answered, 1);
    assert!(says(&world, 1, &["requeue", &ids[2], "--yes"]).contains(&format!("requeued as {job}")));
}

#[tokio::test]
async fn a_requeued_job_succeeds_once_the_engine_works_again() {
    let mut world = World::with(&[("retry-attempts", "1")]).await;
    let broken = world.replica(&[("simulated-errors", "1")]);
    world.begun(broken).await;
    let source = world.lobby.append("late", "galaxy/engine:1", 17).await.expect("appended");
    world.eventually("a dead letter", async |world: &World| dead_ids(world).await.len() == 1).await;
    world.signal(broken, rustix::process::Signal::TERM);
    world.replica(&[]);
    prints(&world, 0, &["requeue", &source.to_string(), "--yes"]);
    world
        .eventually("a success", async |world: &World| {
            let outcomes = world.lobby.all_outcomes().await.expect("outcomes");
            outcomes.iter().any(|outcome| outcome.outcome == "success" && outcome.game_id == "late")
        })
        .await;
    assert!(dead_ids(&world).await.is_empty());
}

#[tokio::test]
async fn nothing_changes_without_a_yes_or_in_a_dry_run() {
    let (world, _) = with_dead_letters().await;
    let ids = dead_ids(&world).await;
    for verb in ["requeue", "remove"] {
        assert!(says(&world, 2, &[verb, &ids[0]]).contains("--yes"));
        assert!(says(&world, 2, &[verb, "--all"]).contains("--yes"));
        assert!(says(&world, 2, &[verb, "--reason", "poison", "--yes"]).contains("--all"));
        assert!(says(&world, 2, &[verb, &ids[0], "--reason", "poison", "--yes"]).contains("exclude"));
        assert_eq!(dead(&world, &[verb, "no-id", "--yes"]).status.code(), Some(2));
        let would = prints(&world, 0, &[verb, "--all", "--reason", "retries_exhausted", "--dry-run"]);
        let named: Vec<&str> = would.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(named, [ids[1].as_str(), ids[2].as_str()]);
    }
    assert_eq!(dead_ids(&world).await, ids);
    assert_eq!(entries(&world, &world.settings.stream.jobs).await.len(), 3);

    assert!(says(&world, 1, &["remove", "7-7", &ids[0], "--yes"]).contains("7-7"));
    assert_eq!(dead_ids(&world).await, ids[1..]);
    prints(&world, 0, &["remove", "--all", "--limit", "1", "--yes"]);
    assert_eq!(dead_ids(&world).await, ids[2..]);
    assert_eq!(entries(&world, &world.settings.stream.jobs).await.len(), 3, "the jobs are still there");
}

#[tokio::test]
async fn a_payload_that_is_gone_is_refused_and_left_alone() {
    let world = World::new().await;
    let head = [
        ("source_ref", "5-5"),
        ("reason", "entry_lost"),
        ("detail", "d"),
        ("deliveries", "1"),
        ("crashes", "0"),
        ("failures", "0"),
        ("dead_at_ms", "1"),
        ("consumer", "c"),
        ("outcome_id", ""),
    ];
    let lost = head.iter().map(|(name, value)| pair(name.as_bytes(), value.as_bytes())).collect();
    let lost = append(&world, &world.settings.stream.dead, &lost).to_string();
    assert!(says(&world, 1, &["requeue", &lost, "--yes"]).contains("payload was deleted"));
    assert!(says(&world, 0, &["requeue", "--all", "--yes"]).contains("payload was deleted"));
    assert!(says(&world, 2, &["requeue", "--all", "--reason", "entry_lost", "--yes"]).contains("entry_lost"));
    assert_eq!(dead_ids(&world).await, [lost]);
}

#[tokio::test]
async fn of_operators_at_the_same_time_one_requeues() {
    let (world, _) = with_dead_letters().await;
    let id = dead_ids(&world).await.remove(0);
    let url = world.redis.url();
    let operators: Vec<_> =
        (0..6).map(|_| at(&url, &["requeue", &id, "--yes"]).spawn().expect("the binary runs")).collect();
    let codes: Vec<_> =
        operators.into_iter().map(|one| one.wait_with_output().expect("it ends").status.code()).collect();
    assert_eq!(codes.iter().filter(|code| **code == Some(0)).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, Some(0 | 1))), "{codes:?}");
    let jobs = entries(&world, &world.settings.stream.jobs).await;
    assert_eq!(jobs.iter().filter(|(_, pairs)| field(pairs, "requeued_from").is_some()).count(), 1);
}

/// As many as `dead-max` allows by default, made in one step.
const FILL: &str = "
for i = ARGV[1], ARGV[1] + 1999 do
  redis.call('XADD', KEYS[1], i .. '-0', 'source_ref', i .. '-1', 'reason', i % 100 == 0 and 'poison' or 'malformed',
    'detail', 'd', 'deliveries', '1', 'crashes', '0', 'failures', '0', 'dead_at_ms', '1', 'consumer', 'c',
    'outcome_id', '', 'game_id', 'g' .. i, 'image_ref', 'i')
end";

#[tokio::test]
async fn a_full_stream_is_read_and_cleared() {
    let world = World::new().await;
    let dead_stream = world.settings.stream.dead.clone();
    // In parts: one script for all of them may take longer than a command may on a busy machine.
    for first in (1..100_000).step_by(2_000) {
        world.redis(&["EVAL", FILL, "1", &dead_stream, &first.to_string()]).await;
    }
    assert!(says(&world, 0, &["list"]).contains("99950 more"));
    assert_eq!(prints(&world, 0, &["list", "--all", "--no-headers"]).lines().count(), 100_000);
    let poison = dead(&world, &["list", "--reason", "poison", "--limit", "10"]);
    assert!(String::from_utf8_lossy(&poison.stderr).contains("990 more"), "{poison:?}");
    let by_source = dead(&world, &["show", "70000-1", "--json"]);
    assert_eq!(json(&String::from_utf8_lossy(&by_source.stdout))["id"], "70000-0");
    assert_eq!(prints(&world, 0, &["export"]).lines().count(), 100_000);
    assert_eq!(prints(&world, 0, &["requeue", "--all", "--reason", "poison", "--yes"]).lines().count(), 1_000);
    assert_eq!(entries(&world, &world.settings.stream.jobs).await.len(), 1_000);
    prints(&world, 0, &["remove", "--all", "--yes"]);
    assert!(dead_ids(&world).await.is_empty());
    assert!(says(&world, 0, &["list"]).contains("no dead letters"));
}

#[tokio::test]
async fn redis_that_is_away_and_settings_that_are_wrong_have_codes_of_their_own() {
    let redis = RedisServer::start().expect("redis-server starts");
    let url = redis.url();
    drop(redis);
    let began = std::time::Instant::now();
    let away = at(&url, &["list"]).output().expect("the binary runs");
    assert_eq!(away.status.code(), Some(69), "{away:?}");
    assert!(began.elapsed().as_secs() < 15, "bounded: {:?}", began.elapsed());
    let wrong = at("http://x", &["list"]).output().expect("the binary runs");
    assert_eq!(wrong.status.code(), Some(78), "{wrong:?}");
}

#[tokio::test]
async fn help_begins_with_the_description_and_examples() {
    for command in [vec!["--help"], vec!["list", "--help"], vec!["requeue", "--help"]] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_startjobs")).arg("dead").args(&command).output().expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let (description, rest) = text.split_once("\n\n").unwrap_or_default();
        assert!(!description.is_empty() && rest.starts_with("Examples:\n"), "{output:?}");
    }
}

#[tokio::test]
async fn without_the_right_to_remove_nothing_is_put_back() {
    let mut world = World::new().await;
    world.send_malformed().await;
    let replica = world.replica(&[]);
    world.settled().await;
    world.fleet.replica(replica).process().signal(rustix::process::Signal::TERM);
    world.redis(&["ACL", "SETUSER", "keeper", "on", ">sesame", "~*", "&*", "+@all", "-xdel"]).await;
    let url = world.redis.url().replace("redis://", "redis://keeper:sesame@");
    let before = (entries(&world, &world.settings.stream.jobs).await.len(), dead_ids(&world).await);
    for _ in 0..2 {
        let refused = at(&url, &["requeue", "--all", "--yes"]).output().expect("it runs");
        assert!(!refused.status.success(), "{refused:?}");
        let after = (entries(&world, &world.settings.stream.jobs).await.len(), dead_ids(&world).await);
        assert_eq!(after, before, "{refused:?}");
    }
    assert_eq!(before.1.len(), 1);
}
