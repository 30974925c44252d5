//! The load generator as a command: what it writes, what it survives, and that nothing of it stays.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use startjobs::embedded::redis_server::RedisServer;
use tempfile::TempDir;

use crate::support::dockerd::Dockerd;
use crate::support::world::PATIENCE;

/// Runs `startjobs bench` with its temporary files below `directory`, which is empty afterwards.
fn bench(directory: &Path, arguments: &[&str]) -> Output {
    let temporary = directory.join("tmp");
    std::fs::create_dir_all(&temporary).expect("a directory");
    let output = Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .arg("bench")
        .args(arguments)
        .env("TMPDIR", &temporary)
        .current_dir(directory)
        .output()
        .expect("the binary runs");
    let left: Vec<_> = std::fs::read_dir(&temporary).expect("a directory").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    output
}

fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}\n{said}"))
}

fn directory() -> TempDir {
    tempfile::Builder::new().prefix("startjobs-test-").tempdir().expect("a temporary directory")
}

/// Processes whose environment names this Redis.
fn processes_on(url: &str) -> Vec<String> {
    let mark = format!("STARTJOBS_REDIS_URL={url}");
    let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let holds = |path: &Path| {
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|pair| pair == mark.as_bytes())
    };
    processes.map(|entry| entry.path()).filter(|path| holds(path)).map(|path| path.display().to_string()).collect()
}

const FAST: [&str; 6] = ["--set", "claim-idle=600ms", "--set", "sweep-interval=100ms", "--engine-latency", "5ms"];

#[test]
fn an_open_loop_run_balances_and_writes_every_form() {
    let directory = directory();
    let mut arguments = vec!["--rate", "100/s", "--duration", "3s", "--warmup", "500ms", "--replicas", "2", "--json"];
    arguments.extend([
        "--csv",
        "run.csv",
        "--hdr",
        "run.hdr",
        "--html",
        "run.html",
        "--duplicate",
        "5%",
        "--malformed",
        "5%",
    ]);
    arguments.extend(["--slo", "rss-growth<20MiB", "--slo", "rss<200MiB"]);
    arguments.extend(FAST);
    let output = bench(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let run = json(&output);
    let memory = run["memory"].as_array().expect("a list");
    assert_eq!(memory.len(), 2, "{memory:?}");
    assert!(memory.iter().all(|one| one["max_mib"].as_f64() > Some(1.0) && one["max_files"].as_u64() > Some(3)));
    assert_eq!((&run["schema_version"], &run["kind"], &run["exact"]), (&1.into(), &"load".into(), &true.into()));
    assert_eq!(
        (run["sent"].as_u64(), run["answered"].as_u64(), run["failed"].as_u64()),
        (Some(300), Some(300), Some(0))
    );
    assert_eq!(run["redis"]["aof"], "everysec");
    assert!(run["cost"]["redis_us_per_entry"].as_f64().expect("a number") > 0.0);
    assert!(run["account"]["malformed"].as_u64().expect("a number") > 0);

    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).expect("the file was written");
    let sent: u64 = read("run.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(1).expect("sent").parse::<u64>().expect("a number"))
        .sum();
    assert_eq!(sent, 300);
    let log = read("run.hdr");
    assert!(
        log.starts_with("#startjobs bench") && log.lines().filter(|line| line.contains("HISTFAA")).count() >= 3,
        "{log}"
    );
    let page = read("run.html");
    assert!(
        page.contains("Memory of a replica")
            && page.contains("<svg")
            && page.contains("prefers-color-scheme: dark")
            && page.ends_with("</html>\n")
    );
    assert!(
        !page.contains("<script") && !page.contains("http://") && !page.contains("https://"),
        "the page stands alone"
    );
}

#[test]
fn a_run_with_killed_replicas_and_hostile_entries_balances() {
    let directory = directory();
    let mut arguments =
        vec!["--rate", "60/s", "--duration", "4s", "--warmup", "0s", "--replicas", "3", "--seed", "5", "--json"];
    arguments.extend([
        "--kill-replica",
        "every 1500ms",
        "--poison",
        "1%",
        "--binary",
        "3%",
        "--huge",
        "2%",
        "--conflict",
        "2%",
    ]);
    arguments.extend(FAST);
    let output = bench(directory.path(), &arguments);
    let run = json(&output);
    assert_eq!(output.status.code(), Some(0), "{run:#}");
    let kills = run["faults"].as_array().expect("a list").iter().filter(|fault| fault["kind"] == "kill").count();
    assert_eq!(kills, 2, "{:#}", run["faults"]);
    assert!(run["account"]["outcomes"]["poison"].as_u64() > Some(0), "{:#}", run["account"]);
    assert!(run["account"]["malformed"].as_u64() > Some(0), "{:#}", run["account"]);
}

#[test]
fn a_limit_that_is_missed_is_exit_code_3() {
    let directory = directory();
    let mut arguments = vec!["--rate", "50/s", "--duration", "1s", "--warmup", "0s", "--replicas", "1"];
    arguments.extend(["--slo", "errors<=0%", "--slo", "p50<1ms"]);
    arguments.extend(FAST);
    let output = bench(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("slo errors<=0% kept") && said.contains("slo p50<1ms MISSED"), "{said}");
}

#[test]
fn a_drain_is_compared_with_the_floor_and_runs_with_each_other() {
    let directory = directory();
    let arguments =
        ["drain", "--compare", "floor", "--compare", "floor-pipeline", "--jobs", "2000", "--rounds", "2", "--json"];
    let output = bench(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let run = json(&output);
    assert!(run["ratio_to_floor"].as_f64() > Some(0.0), "{run:#}");
    assert_eq!((run["exact"].as_bool(), run["redis"]["aof"].as_str()), (Some(true), Some("off")));
    let subjects: Vec<&str> =
        run["subjects"].as_array().expect("a list").iter().filter_map(|one| one["subject"].as_str()).collect();
    assert_eq!(subjects, ["noop", "floor", "floor-pipeline"]);
    for name in ["a.json", "b.json"] {
        std::fs::write(directory.path().join(name), &output.stdout).expect("it can be written");
    }
    let table = bench(directory.path(), &["report", "a.json", "b.json"]);
    let said = String::from_utf8_lossy(&table.stdout);
    assert!(table.status.success() && said.contains("ratio to floor") && said.contains("(+0.0 %)"), "{said}");
}

/// A script that is called as `startjobs bench drain --peer` calls another program.
fn peer(directory: &Path, fills: &str) -> String {
    let script = directory.join("peer.sh");
    let floor = format!("exec {} bench-subject floor", env!("CARGO_BIN_EXE_startjobs"));
    std::fs::write(&script, format!("case $1 in fill) {fills} ;; run) {floor} ;; esac\n")).expect("a script");
    format!("other=sh {}", script.display())
}

#[test]
fn another_program_is_drained_with_in_the_same_rounds() {
    let directory = directory();
    let drain_with = |fills| {
        let peer = peer(directory.path(), fills);
        let arguments = ["drain", "--subject", "noop", "--jobs", "20000", "--rounds", "2", "--peer", &peer, "--json"];
        bench(directory.path(), &arguments)
    };
    let output = drain_with("exit 0");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let run = json(&output);
    assert_eq!((run["subjects"][1]["subject"].as_str(), run["exact"].as_bool()), (Some("other"), Some(true)));
    assert!(run["subjects"][1]["median"]["entries_per_s"].as_f64() > Some(0.0), "{run:#}");

    let output = drain_with("echo no queue; exit 7");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("other did not take the backlog over") && said.contains("no queue"), "{said}");
}

#[test]
fn latency_is_compared_with_the_floor_at_every_rate() {
    let directory = directory();
    let mut arguments = vec!["latency", "--compare", "floor", "--rate", "100/s", "--rate", "400/s"];
    arguments.extend(["--rounds", "2", "--duration", "1s", "--warmup", "200ms", "--json"]);
    let output = bench(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let run = json(&output);
    assert_eq!((run["kind"].as_str(), run["exact"].as_bool()), (Some("latency"), Some(true)));
    let rates = run["rates"].as_array().expect("a list");
    assert_eq!(rates.iter().map(|at| at["rate"].as_f64()).collect::<Vec<_>>(), [Some(100.0), Some(400.0)]);
    for at in rates {
        assert!(
            at["p50_ratio_to_floor"].as_f64() > Some(0.0) && at["p99_ratio_to_floor"].as_f64() > Some(0.0),
            "{at:#}"
        );
        for (subject, name) in at["subjects"].as_array().expect("a list").iter().zip(["noop", "floor"]) {
            assert_eq!(subject["subject"], name, "{at:#}");
            assert_eq!(subject["rounds"].as_array().map(Vec::len), Some(2), "{at:#}");
            assert!(subject["p999_us"].as_f64() >= subject["p50_us"].as_f64(), "{at:#}");
        }
    }
}

#[test]
fn scale_out_has_a_line_for_every_number_of_replicas() {
    let directory = directory();
    let mut arguments = vec!["scale", "--replicas", "1,2", "--jobs", "200", "--start", "10ms", "--slots", "4"];
    arguments.push("--json");
    let output = bench(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let run = json(&output);
    assert_eq!((run["kind"].as_str(), run["exact"].as_bool()), (Some("scale"), Some(true)));
    let fleets = run["fleets"].as_array().expect("a list");
    assert_eq!(fleets.iter().map(|one| one["replicas"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    for fleet in fleets {
        let share = fleet["share_of_slots"].as_f64().expect("a number");
        assert!(share > 0.0 && share < 1.2, "{fleet:#}");
        assert!(fleet["machine_cores"].as_f64() > Some(0.0) && fleet["redis_us_per_job"].as_f64() > Some(0.0));
    }
}

/// Runs a few kills; answers what was printed. How long they took depends on what else the machine does, so a limit may
/// be missed.
fn recovery(arguments: &[&str]) -> String {
    let directory = directory();
    let mut all = vec!["recovery", "--slots", "4", "--set", "claim-idle=600ms", "--set", "sweep-interval=100ms"];
    all.extend(arguments);
    let output = bench(directory.path(), &all);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    assert!(said.contains("lost 0, answered twice 0, condemned 0"), "{output:?}");
    said
}

#[test]
fn killed_and_aborted_replicas_are_measured_beyond_the_start() {
    for (by, signal) in [("kill", "SIGKILL"), ("abort", "SIGABRT")] {
        let said = recovery(&["--kills", "2", "--by", by]);
        assert!(said.starts_with(&format!("{signal} of one replica of 3, 2 times, with all 4 slots")), "{said}");
        assert!(said.contains("beyond the start's own 100 ms") && said.contains("p99: 1000 ms"), "{said}");
    }
}

#[test]
fn a_stopped_replica_is_promised_claim_idle() {
    let said = recovery(&["--kills", "1", "--by", "stop", "--replicas", "2", "--pause-after-kill"]);
    assert!(said.starts_with("SIGSTOP of one replica of 2, 1 times"), "{said}");
    assert!(said.contains("promised at p99: 1500 ms"), "{said}");
}

#[test]
fn a_drain_runs_beside_the_kills() {
    let said = recovery(&["--kills", "2", "--replicas", "2", "--drain-beside=2000"]);
    let line = said.lines().find(|line| line.starts_with("beside it ")).unwrap_or_else(|| panic!("{said}"));
    let drained: u64 = line.split(' ').nth(2).and_then(|jobs| jobs.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    assert!(drained > 0 && line.ends_with("lost or answered twice 0"), "{line}");
}

#[test]
fn two_idle_fleets_are_compared_at_the_same_time() {
    let directory = directory();
    let program = env!("CARGO_BIN_EXE_startjobs");
    let mut arguments = vec!["idle", "--replicas", "1,2", "--rounds", "2", "--lasts", "500ms", "--json"];
    arguments.extend(["--old", program]);
    let output = bench(directory.path(), &arguments);
    // A moment's difference says nothing.
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    let run = json(&output);
    assert_eq!((run["kind"].as_str(), run["compared_with"].as_str()), (Some("idle"), Some(program)));
    let fleets = run["fleets"].as_array().expect("a list");
    assert_eq!(fleets.iter().map(|one| one["replicas"].as_u64()).collect::<Vec<_>>(), [Some(1), Some(2)]);
    for fleet in fleets {
        for side in ["before_percent", "percent"] {
            let rounds = fleet[side].as_array().expect("a list");
            assert!(rounds.len() == 2 && rounds.iter().all(|one| one.as_f64() > Some(0.0)), "{fleet:#}");
        }
        assert!(fleet["more_percent"].is_f64(), "{fleet:#}");
    }
}

#[test]
fn real_containers_are_started_by_both_and_all_are_removed() {
    const IMAGE: &str = "startjobs.test/game:1";
    let Some(dockerd) = Dockerd::start() else { return };
    dockerd.import_image(IMAGE, Path::new(env!("CARGO_BIN_EXE_startjobs")), &["engine"], &[]);
    let directory = directory();
    let host = dockerd.host();
    let mut arguments = vec!["containers", "--docker-host", &host, "--image", IMAGE, "--json"];
    arguments.extend(["--starts", "6", "--slots", "3", "--rounds", "2"]);
    let output = bench(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let run = json(&output);
    assert_eq!((run["kind"].as_str(), run["in_flight"].as_u64()), (Some("containers"), Some(3)));
    assert!(run["ratio_to_bare"].as_f64() > Some(0.0), "{run:#}");
    for (subject, name) in run["subjects"].as_array().expect("a list").iter().zip(["worker", "bare"]) {
        assert_eq!((subject["subject"].as_str(), subject["rounds"].as_array().map(Vec::len)), (Some(name), Some(2)));
        assert!(subject["p99_ms"].as_f64() >= subject["p50_ms"].as_f64(), "{run:#}");
    }
    assert_eq!(dockerd.containers(), Vec::<String>::new());
    let created = dockerd.events().iter().filter(|event| event["Action"] == "create").count();
    assert_eq!(created, 2 * 2 * 6);
}

#[test]
fn several_hosts_are_compared_with_one_in_the_same_rounds() {
    const IMAGE: &str = "startjobs.test/game:1";
    let Some(dockerd) = Dockerd::start() else { return };
    dockerd.import_image(IMAGE, Path::new(env!("CARGO_BIN_EXE_startjobs")), &["engine"], &[]);
    let directory = directory();
    let host = dockerd.host();
    let mut arguments = vec!["containers", "--hosts", "2", "--docker-host", &host, "--image", IMAGE, "--json"];
    arguments.extend(["--starts", "4", "--slots", "2", "--rounds", "2"]);
    let output = bench(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let run = json(&output);
    assert_eq!((run["hosts"].as_u64(), run["in_flight"].as_u64()), (Some(2), Some(2)));
    let subjects: Vec<(&str, usize)> = run["subjects"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["subject"].as_str().unwrap_or_default(), one["rounds"].as_array().map_or(0, Vec::len)))
        .collect();
    assert_eq!(subjects, [("worker", 2), ("bare", 2), ("worker-one-host", 2), ("bare-one-host", 2)]);
    assert!(run["ratio_to_bare"].as_f64() > Some(0.0), "{run:#}");
    for ratio in ["ratio_to_bare", "worker_gain", "bare_gain"] {
        assert!(run["one_host"][ratio].as_f64() > Some(0.0), "{run:#}");
    }
    // Only the image was taken from there.
    assert!(dockerd.events().is_empty(), "{:?}", dockerd.events());
}

#[test]
fn an_engine_that_does_not_answer_is_said_at_once() {
    let directory = directory();
    let output = bench(directory.path(), &["containers", "--docker-host", "unix:///nowhere.sock"]);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("unix:///nowhere.sock"), "{output:?}");
}

#[test]
fn nothing_stays_on_a_redis_that_was_given() {
    let redis = RedisServer::start().expect("redis-server starts");
    let directory = directory();
    let url = redis.url();
    for mode in [vec!["drain", "--jobs", "500"], vec!["--rate", "50/s", "--duration", "1s", "--replicas", "2"]] {
        let mut arguments = mode;
        arguments.extend(["--redis-url", &url, "--json", "--engine-latency", "1ms"]);
        let output = bench(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(json(&output)["redis"]["own"], false);
    }
    assert_eq!(processes_on(&url), Vec::<String>::new());
    let keys = Command::new("redis-cli").args(["-p", &redis.port().to_string(), "DBSIZE"]).output().expect("redis-cli");
    assert_eq!(String::from_utf8_lossy(&keys.stdout).trim(), "0");
}

#[test]
fn its_own_redis_asks_for_a_password_that_only_its_user_can_read() {
    let directory = directory();
    let mut run = Command::new(env!("CARGO_BIN_EXE_startjobs"))
        .args(["bench", "--rate", "20/s", "--duration", "60s", "--replicas", "1"])
        .env("TMPDIR", directory.path())
        .current_dir(directory.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let only = |folder: &Path, prefix: &str| -> Option<PathBuf> {
        let mut entries = std::fs::read_dir(folder).ok()?.flatten();
        entries.find(|entry| entry.file_name().to_string_lossy().starts_with(prefix)).map(|entry| entry.path())
    };
    let began = Instant::now();
    let place = loop {
        let place = only(directory.path(), "startjobs-bench-").and_then(|place| only(&place, "startjobs-redis-"));
        // The log of the server tells its port.
        let log = place.as_ref().and_then(|place| std::fs::read_to_string(place.join("redis.log")).ok());
        if let Some(place) = place.filter(|_| log.is_some_and(|log| log.contains("Ready to accept connections"))) {
            break place;
        }
        assert!(began.elapsed() < PATIENCE, "no redis-server below {}", directory.path().display());
        std::thread::sleep(Duration::from_millis(20));
    };
    let mode = |path: &Path| path.metadata().expect("it exists").permissions().mode() & 0o777;
    assert_eq!([mode(&place), mode(place.parent().expect("a folder"))], [0o700, 0o700]);
    let log = std::fs::read_to_string(place.join("redis.log")).expect("text");
    let port = log.split("port=").nth(1).and_then(|rest| rest.split(['.', ',']).next()).expect("a port");
    let ping = |login: &[&str]| {
        let output = Command::new("redis-cli").args(["-p", port]).args(login).arg("PING").output().expect("redis-cli");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(ping(&[]).contains("NOAUTH"), "{}", ping(&[]));
    let settings = std::fs::read_to_string(place.join("redis.conf")).expect("text");
    let password = settings.trim().strip_prefix("requirepass ").expect("a password");
    assert_eq!(ping(&["--no-auth-warning", "-a", password]).trim(), "PONG");
    // Nowhere among the arguments of a process, which every user can list.
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    // Those of redis-cli just now have ended.
    let told = processes.map(|process| std::fs::read(process.path().join("cmdline")).unwrap_or_default());
    assert!(told.into_iter().all(|words| !String::from_utf8_lossy(&words).contains(password)));
    drop(run.kill());
    drop(run.wait());
}

#[test]
fn what_cannot_be_run_is_said_before_anything_starts() {
    let directory = directory();
    for (arguments, said) in [
        (vec!["--warmup", "30s"], "nothing to measure"),
        (vec!["--profile", "hold 2m"], "at what rate"),
        (vec!["--slo", "p99=1s"], "p99<500ms"),
        (vec!["--slo", "rss-growth<2"], "rss-growth<2MiB"),
        (vec!["latency", "--warmup", "10s"], "nothing to measure"),
        (vec!["recovery"], "--kills, --poison and --rolling"),
        (vec!["recovery", "--poison", "3", "--by", "stop"], "cannot be used with"),
        (vec!["recovery", "--rolling", "5s", "--drain-beside"], "cannot be used with"),
        (vec!["scale", "--replicas", "0"], "0 is not in 1..=64"),
        (vec!["--poison", "60%", "--huge", "60%"], "more than 100 %"),
        (vec!["--subject", "floor", "--poison", "1%"], "plain jobs alone"),
        (vec!["--restart-redis", "5s", "--aof", "off"], "append-only"),
        (vec!["--jobs-stream", "runtime:start_jobs"], "--yes-real"),
        (vec!["--set", "engine=docker"], "lead out"),
    ] {
        let output = bench(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(said), "{arguments:?}: {text}");
    }
}
