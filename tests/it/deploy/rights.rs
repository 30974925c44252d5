//! The users of deploy/redis/users.acl.in: they may do all they need, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use startjobs::embedded::redis_server::RedisServer;
use tempfile::TempDir;

use super::tools::passes;
use super::{Surroundings, files_below, has_extension, root, shown, temporary, text_of};
use crate::support::scrape::free_port;
use crate::support::servers;
use crate::support::world::PATIENCE;

pub(super) const TEMPLATE: &str = "deploy/redis/users.acl.in";

/// The stream of the setting game-events.
const EVENTS: &str = "runtime:game_events";

/// A redis-server with exactly these users, and an administrator of the test's own.
pub(super) struct Guarded {
    redis: RedisServer,
    secrets: TempDir,
}

fn make_secrets() -> Command {
    Command::new(root().join("deploy/redis/make-secrets.sh"))
}

impl Guarded {
    /// Of the version of the search path.
    fn start() -> Self {
        Self::start_version(Path::new("redis-server"), "7.0")
    }

    fn start_version(program: &Path, version: &str) -> Self {
        Self::start_with(program, version, &["--game-events", EVENTS])
    }

    /// With these options of the script besides.
    pub(super) fn start_with(program: &Path, version: &str, options: &[&str]) -> Self {
        let secrets = temporary();
        let make = || passes(make_secrets().args(["--redis", version]).args(options).arg(secrets.path()));
        make();
        let file = secrets.path().join("users.acl");
        let first = fs::read_to_string(&file).expect("the script makes it");
        make();
        assert_eq!(fs::read_to_string(&file).expect("text"), first, "a second run changes no password");

        // The simulated engine's further commands, which the template names.
        let template = text_of(TEMPLATE);
        let simulated = template.lines().find_map(|line| line.strip_prefix("#simulated ")).expect("a line of its own");
        let mut users: Vec<String> = first
            .lines()
            .map(|line| if line.starts_with("user startjobs ") { format!("{line} {simulated}") } else { line.into() })
            .collect();
        users.push("user admin on >admin allcommands allkeys allchannels".to_owned());
        let file = secrets.path().join("test.acl");
        fs::write(&file, users.join("\n")).expect("the folder is ours");
        let options = ["--aclfile", file.to_str().expect("text")];
        let redis = RedisServer::start_with(program, &options).expect("redis-server takes the file");
        Self { redis, secrets }
    }

    pub(super) fn url(&self, user: &str) -> String {
        format!("redis://{user}@127.0.0.1:{}", self.redis.port())
    }

    pub(super) fn password_file(&self, user: &str) -> PathBuf {
        self.secrets.path().join(format!("{user}-password"))
    }

    /// What redis-cli says as this user.
    pub(super) fn asks(&self, user: &str, words: &[&str]) -> String {
        let password = match user {
            "admin" => "admin".to_owned(),
            _ => fs::read_to_string(self.password_file(user)).expect("the script made it"),
        };
        let output = Command::new("redis-cli")
            .args(["-p", &self.redis.port().to_string(), "--user", user, "--no-auth-warning"])
            .args(words)
            .env("REDISCLI_AUTH", password)
            .output()
            .expect("redis-cli comes with redis-server");
        assert!(output.status.success(), "{words:?}: {}", shown(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Waits until no replica reads. A read that began before the pause may still wait for entries.
    pub(super) fn await_hold(&self, fleet: &Surroundings) {
        await_that(fleet, "the fleet holds", || fleet.logs().contains("nothing is read or claimed"));
        let clients = || self.asks("admin", &["INFO", "clients"]);
        await_that(fleet, "no read waits any more", || clients().contains("blocked_clients:0"));
    }

    /// The commands that were refused to somebody, from the server's own log: `user: reason object`.
    pub(super) fn refused(&self) -> BTreeSet<String> {
        let log = self.asks("admin", &["ACL", "LOG", "128"]);
        let lines: Vec<&str> = log.lines().map(str::trim).collect();
        let value = |at: usize, name: &str| {
            let entry = &lines[at..];
            entry.iter().position(|line| *line == name).and_then(|at| entry.get(at + 1)).copied().unwrap_or_default()
        };
        let starts = lines.iter().enumerate().filter(|(_, line)| **line == "count").map(|(at, _)| at);
        starts.map(|at| format!("{}: {} {}", value(at, "username"), value(at, "reason"), value(at, "object"))).collect()
    }
}

/// What commands of people ask although an ordinary user may not, and do without.
const MAY_BE_REFUSED: [&str; 3] = ["operator: command acl|dryrun", "operator: command acl", "lobby: command info"];

#[test]
fn replicas_and_people_have_the_rights_they_need_and_no_others() {
    rights_are_enough_and_not_too_much(&Guarded::start());
}

#[test]
fn they_are_the_same_in_the_form_for_older_servers() {
    let Some(program) = servers::fetched("6.2") else { return };
    rights_are_enough_and_not_too_much(&Guarded::start_version(&program, "6.2"));
}

#[test]
fn they_are_the_same_on_newer_servers() {
    let Some(program) = servers::fetched("8.2") else { return };
    rights_are_enough_and_not_too_much(&Guarded::start_version(&program, "8.2"));
}

fn rights_are_enough_and_not_too_much(guarded: &Guarded) {
    let (url, password) = (guarded.url("startjobs"), guarded.password_file("startjobs"));
    let mut fleet = Surroundings::new(&[
        ("redis-url", &url),
        ("redis-password-file", password.to_str().expect("text")),
        ("strict", "on"),
        ("trim-jobs", "on"),
        ("results-retention", "1h"),
        ("janitor-interval", "100ms"),
        ("consumer-idle", "700ms"),
        ("reconcile-interval", "200ms"),
        ("reconcile-grace", "1s"),
        ("retry-attempts", "2"),
        ("game-events", EVENTS),
        ("host-heartbeat", "1s"),
    ]);
    fleet.replica();
    // One that is asked for metrics, and so looks at the streams for them.
    let http = format!("127.0.0.1:{}", free_port());
    fleet.replica_with(&[("http-addr", &http)]);
    let (url, password) = (guarded.url("operator"), guarded.password_file("operator"));
    let operator = [("redis-url", url.as_str()), ("redis-password-file", password.to_str().expect("text"))];
    let runs = |fleet: &Surroundings, line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        fleet.succeeds(&words, &operator)
    };

    runs(&fleet, "send --game g1 --image galaxy/engine:1 --wait");
    let again = runs(&fleet, "send --game g1 --image galaxy/engine:1 --wait");
    assert!(again.contains("replay_no_op"), "{again}");
    // A game that ends: Lobby is told, and the record says so.
    guarded.asks("admin", &["DEL", "rtm:sim:{rtm-g1}"]);
    let told = || guarded.asks("lobby", &["XRANGE", EVENTS, "-", "+"]);
    await_that(&fleet, "the end of g1 is announced", || told().contains("ended"));
    assert!(guarded.asks("admin", &["GET", "rtm:{g1}:rec"]).contains(r#""state":"stopped""#));
    // Lobby's own way, malformed: a dead letter.
    guarded.asks("lobby", &["XADD", "runtime:start_jobs", "*", "game_id", "g2"]);
    // One that is tried again until its budget is spent: a failure and another dead letter.
    let spent = fleet.command(&["send", "--game", "g3", "--image", "sim/retry:1000", "--wait"], &operator);
    assert!([Some(0), Some(1)].contains(&spent.status.code()), "{}", shown(&spent));
    // One whose replica dies: claimed by the other, and the consumer removed later.
    runs(&fleet, "send --game g4 --image sim/slow:2s");
    await_that(&fleet, "g4 is held", || runs(&fleet, "pending").contains("g4"));
    fleet.replicas[0].kill();
    let lone = runs(&fleet, "send --game g5 --image galaxy/engine:1 --wait");
    assert!(lone.contains("success"), "{lone}");
    await_that(&fleet, "g4 is answered", || runs(&fleet, "inspect g4").contains("success"));
    single_jobs(guarded, &fleet, &operator, |line| runs(&fleet, line));

    for line in ["inspect g1", "dead list", "audit", "doctor", "check --max-waiting 10"] {
        runs(&fleet, line);
    }
    for line in [
        "runtime list",
        "runtime list --state failed",
        "runtime hosts",
        "runtime show g1",
        "runtime reconcile --dry-run",
    ] {
        runs(&fleet, line);
    }
    runs(&fleet, "runtime stop g5 --yes");
    runs(&fleet, "runtime evict default --yes --force");
    // These are shown with the rights of a replica, too.
    for line in ["status", "replicas", "pending", "jobs"] {
        runs(&fleet, line);
        fleet.succeeds(&[line], &[]);
    }
    let dead = runs(&fleet, "dead list --json");
    assert!(dead.contains("malformed"), "{dead}");
    assert!(guarded.asks("lobby", &["XREAD", "STREAMS", "runtime:job_results", "0"]).contains("success"));
    // Long enough for janitor and reconciler to have run more than once.
    let consumers = || guarded.asks("startjobs", &["XINFO", "CONSUMERS", "runtime:start_jobs", "rtmanager.startjobs"]);
    await_that(&fleet, "the dead consumer is removed", || consumers().matches("pending").count() == 1);
    await_that(&fleet, "the backlog is exported", || page(&http, "/metrics").contains("\nstartjobs_backlog 0\n"));
    fleet.replicas.remove(0);
    // The only one that runs; it ends as on SIGTERM.
    let replicas = runs(&fleet, "replicas");
    let replica = replicas.lines().find(|line| line.contains(" running ")).expect("a replica");
    runs(&fleet, &format!("drain {}", replica.split_whitespace().next().unwrap_or_default()));
    fleet.drain();

    let refused: Vec<String> =
        guarded.refused().into_iter().filter(|one| !MAY_BE_REFUSED.contains(&one.as_str())).collect();
    assert!(refused.is_empty(), "refused, and needed: {refused:?}");

    // And no others.
    let too_much: [(&str, &[&str]); 17] = [
        ("startjobs", &["FLUSHALL"]),
        ("startjobs", &["CONFIG", "GET", "*"]),
        ("startjobs", &["KEYS", "*"]),
        ("startjobs", &["XDEL", "runtime:start_jobs", "1-1"]),
        ("startjobs", &["MEMORY", "DOCTOR"]),
        ("startjobs", &["GET", "somebody:else"]),
        ("startjobs", &["XADD", "runtime:other", "*", "a", "b"]),
        ("startjobs", &["ACL", "LIST"]),
        ("startjobs", &["PUBLISH", "runtime:start_jobs:other", "x"]),
        ("startjobs", &["SUBSCRIBE", "runtime:start_jobs:other"]),
        ("startjobs", &["PUBSUB", "CHANNELS"]),
        ("operator", &["SUBSCRIBE", "runtime:start_jobs:alive:c"]),
        ("operator", &["XACK", "runtime:start_jobs", "rtmanager.startjobs", "1-1"]),
        ("operator", &["FLUSHDB"]),
        ("operator", &["SHUTDOWN"]),
        ("lobby", &["XREADGROUP", "GROUP", "rtmanager.startjobs", "c", "STREAMS", "runtime:start_jobs", ">"]),
        ("lobby", &["GET", "rtmanager:stream_offsets:startjobs"]),
    ];
    for (user, words) in too_much {
        let said = guarded.asks(user, words);
        assert!(said.starts_with("NOPERM"), "{user} may {words:?}: {said}");
    }
}

/// Marks of operators: at a job that nothing reads, and at one that is held.
fn single_jobs(guarded: &Guarded, fleet: &Surroundings, operator: &[(&str, &str)], runs: impl Fn(&str) -> String) {
    runs("pause --reason rehearsal");
    guarded.await_hold(fleet);
    let sent = |line: &str| runs(line).split_whitespace().next().unwrap_or_default().to_owned();
    let waiting = sent("send --game g6 --image galaxy/engine:1");
    runs(&format!("cancel {waiting} --reason rehearsal"));
    runs("resume");
    let held = sent("send --game g7 --image sim/slow:2s");
    await_that(fleet, "g7 is held", || runs("pending").contains("g7"));
    runs(&format!("retry-now {held}"));
    let started = fleet.command(&["cancel", &held], operator);
    assert_eq!(started.status.code(), Some(1), "{}", shown(&started));
}

#[test]
fn a_script_of_a_stolen_password_has_no_more_rights_than_its_user() {
    let guarded = Guarded::start();
    for (script, key) in [
        ("return redis.call('GET', KEYS[1])", "somebody:else"),
        ("return redis.call('CONFIG', 'GET', 'requirepass')", "rtm:x"),
        ("return redis.call('FLUSHALL')", "rtm:x"),
    ] {
        let loaded = guarded.asks("startjobs", &["SCRIPT", "LOAD", script]);
        let said = guarded.asks("startjobs", &["EVALSHA", loaded.trim(), "1", key]);
        assert!(
            said.contains("NOPERM") || ["ACL failure", "not allowed", "can't run"].iter().any(|one| said.contains(one)),
            "{script}: {said}"
        );
    }
}

#[test]
fn lobby_appends_jobs_and_follows_outcomes_and_writes_none() {
    for (version, can_forbid) in [("6.2", false), ("7.0", true), ("8.2", true)] {
        let program = if version == "7.0" { Some(PathBuf::from("redis-server")) } else { servers::fetched(version) };
        let Some(program) = program else { continue };
        let guarded = Guarded::start_version(&program, version);
        let login = |user: &str| (guarded.url(user), guarded.password_file(user).to_string_lossy().into_owned());
        let ((url, password), (lobby_url, lobby_password)) = (login("startjobs"), login("lobby"));
        let mut fleet = Surroundings::new(&[("redis-url", &url), ("redis-password-file", &password)]);
        fleet.replica();
        let lobby = [("redis-url", lobby_url.as_str()), ("redis-password-file", &lobby_password)];
        let send: Vec<&str> = "send --game g1 --image galaxy/engine:1".split(' ').collect();
        let said = fleet.succeeds(&[send.as_slice(), &["--wait"]].concat(), &lobby);
        assert!(said.contains("success"), "{version}: {said}");
        fleet.succeeds(&send, &lobby);
        for words in [
            &["XADD", "runtime:start_jobs", "*", "game_id", "g2"][..],
            &["XLEN", "runtime:start_jobs"],
            &["XLEN", "runtime:job_results"],
            &["XRANGE", "runtime:job_results", "-", "+"],
            &["XREAD", "STREAMS", "runtime:job_results", "0"],
        ] {
            let said = guarded.asks("lobby", words);
            assert!(!said.contains("NOPERM"), "{version}: lobby may not {words:?}: {said}");
        }
        let needed: Vec<String> =
            guarded.refused().into_iter().filter(|one| !MAY_BE_REFUSED.contains(&one.as_str())).collect();
        assert!(needed.is_empty(), "{version}: refused, and needed: {needed:?}");

        let forged = ["XADD", "runtime:job_results", "*", "outcome", "success"];
        assert_eq!(guarded.asks("lobby", &forged).starts_with("NOPERM"), can_forbid, "{version}");
        for words in [&["XREAD", "STREAMS", "runtime:start_jobs", "0"][..], &["XRANGE", "runtime:start_jobs", "-", "+"]]
        {
            assert_eq!(guarded.asks("lobby", words).starts_with("NOPERM"), can_forbid, "{version}: {words:?}");
        }
        for words in [&["XDEL", "runtime:start_jobs", "1-1"][..], &["DEL", "runtime:job_results"], &["KEYS", "*"]] {
            assert!(guarded.asks("lobby", words).starts_with("NOPERM"), "{version}: {words:?}");
        }
        fleet.drain();
    }
}

#[test]
fn the_file_of_users_holds_no_password_and_a_folder_keeps_its_mode() {
    let parent = temporary();
    let mode = |path: &Path| path.metadata().expect("it exists").permissions().mode() & 0o777;
    let (made, given) = (parent.path().join("made"), parent.path().join("given"));
    passes(make_secrets().arg(&made));
    assert_eq!(mode(&made), 0o700);
    let users = fs::read_to_string(made.join("users.acl")).expect("text");
    for user in ["startjobs", "operator", "lobby"] {
        let password = fs::read_to_string(made.join(format!("{user}-password"))).expect("text");
        assert!(password.len() == 48 && !users.contains(&password), "{user}");
        assert!(users.contains(&format!("user {user} on #")), "{users}");
    }
    assert!(!users.contains('>') && !users.contains("_SHA256@"), "{users}");

    fs::create_dir(&given).expect("a folder");
    fs::set_permissions(&given, fs::Permissions::from_mode(0o750)).expect("it is ours");
    // One that is there is kept, its line end no part of the password.
    fs::write(given.join("lobby-password"), "sesame\n").expect("the folder is ours");
    passes(make_secrets().arg(&given));
    assert_eq!(mode(&given), 0o750);
    let of_sesame = "#d0c04f4b1951e4aeaaec8223ed2039e542f3aae805a6fa7f6d794e5afff5d272";
    let users = fs::read_to_string(given.join("users.acl")).expect("text");
    let line = users.lines().find(|line| line.starts_with("user lobby ")).expect("a line");
    assert!(line.contains(of_sesame), "{line}");
}

/// What a replica serves.
fn page(address: &str, path: &str) -> String {
    let mut answer = String::new();
    let asked = TcpStream::connect(address).and_then(|mut stream| {
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    asked.map_or_else(|error| error.to_string(), |_| answer)
}

pub(super) fn await_that(fleet: &Surroundings, what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never came true: {what}\n{}", fleet.logs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The rules of one user, as words.
pub(super) fn rules(user: &str) -> BTreeSet<String> {
    let joined = text_of(TEMPLATE).replace("\\\n", "");
    let line = joined.lines().find(|line| line.starts_with(&format!("user {user} "))).expect("a user of the file");
    line.split_whitespace().map(str::to_owned).collect()
}

/// The commands that a script calls, as rules.
fn calls_of(script: &str) -> BTreeSet<String> {
    let text = text_of(script);
    let mut found = BTreeSet::new();
    for (at, opening) in text.match_indices("call('") {
        let mut words = text[at + opening.len()..].split('\'');
        let name = words.next().expect("split answers at least one").to_lowercase();
        let next = words.nth(1).filter(|_| text[at..].contains(", '")).map(str::to_lowercase).unwrap_or_default();
        let with_word = ["pubsub", "xgroup", "xinfo"].contains(&name.as_str());
        found.insert(if with_word { format!("+{name}|{next}") } else { format!("+{name}") });
    }
    found
}

#[test]
fn every_command_of_a_script_is_allowed_to_whoever_runs_it() {
    let (replica, operator) = (rules("startjobs"), rules("operator"));
    let mut seen = 0;
    for script in files_below("src").into_iter().filter(|path| has_extension(path, "lua")) {
        // The bench runs on a server of its own, the simulated engine has a line of its own.
        let people = script.starts_with("src/ops/") || script.starts_with("src/audit/");
        let of_people =
            ["/requeue.lua", "/remove_dead.lua", "/place_mark.lua"].iter().any(|name| script.ends_with(name));
        let runs = if people || of_people { &operator } else { &replica };
        if script.starts_with("src/bench/") || script.starts_with("src/engine/") {
            continue;
        }
        for call in calls_of(&script) {
            assert!(runs.contains(&call), "{script} calls {call}, which its user may not");
            seen += 1;
        }
    }
    assert!(seen > 50, "the calls are found: {seen}");
}

/// What the client itself says when it connects, and what selects a database.
const HANDSHAKE: &[&str] = &["auth", "hello", "select", "client|id"];
/// What `doctor` tries out, in the file that also lists what a replica needs.
const TRIED: &[&str] = &["acl|whoami", "eval"];

#[test]
fn no_user_may_what_no_code_asks_for() {
    let code: Vec<String> = files_below("src")
        .iter()
        .filter(|path| !path.starts_with("src/bench/") && !path.ends_with("/doctor/rights.rs"))
        .map(|path| text_of(path).replace('\'', "\""))
        .collect();
    for user in ["startjobs", "operator"] {
        for rule in rules(user).iter().filter_map(|rule| rule.strip_prefix('+')) {
            let words: Vec<String> = rule.split('|').map(|word| format!("\"{}\"", word.to_uppercase())).collect();
            // As words of a command, or as a typed call.
            let typed = match rule {
                "client|setname" => "client_setname::<".to_owned(),
                "script|load" => "script_load".to_owned(),
                "xgroup|create" => "xgroup_create".to_owned(),
                _ => format!(".{rule}("),
            };
            let typed_with_type = typed.replace('(', "::<");
            let asks = |text: &String| {
                words.iter().all(|word| text.contains(word)) || text.contains(&typed) || text.contains(&typed_with_type)
            };
            let is_known = HANDSHAKE.contains(&rule) || (user == "operator" && TRIED.contains(&rule));
            assert!(is_known || code.iter().any(asks), "nobody asks for {rule}, which {user} may");
        }
    }
}
