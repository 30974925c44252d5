//! A new user's first night: `startjobs dev`, one replica killed while it works, and nothing but a terminal to find out
//! what became of a job and which alert that raises. Runs the very blocks of docs/operations.md.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use startjobs::lobby::client::Lobby;

use crate::deploy::{Block, blocks};
use crate::support::dev::{Dev, signal, startjobs};
use crate::support::world::{PATIENCE, load};

/// What the operator of the issue has.
const WITHIN: Duration = Duration::from_secs(60);

struct Terminal {
    url: String,
    /// What a block left for the next one.
    job: String,
}

impl Terminal {
    fn command(&self, arguments: &[&str]) -> Output {
        startjobs().env("STARTJOBS_REDIS_URL", &self.url).args(arguments).output().expect("the binary under test runs")
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.command(&[arguments, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output:?}"))
    }

    /// A block as a user pastes it.
    fn paste(&self, block: &Block) -> String {
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_startjobs"));
        let folder = program.parent().expect("it is in a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &format!("{}\necho \"job=$job\"", block.text)])
            .env_clear()
            .env("PATH", format!("{folder}:{path}"))
            .env("STARTJOBS_REDIS_URL", &self.url)
            .env("job", &self.job)
            .output()
            .expect("bash is there");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}\n{said}{}", block.text, String::from_utf8_lossy(&output.stderr));
        said
    }
}

async fn eventually(what: &str, mut state: impl FnMut() -> bool) {
    let began = Instant::now();
    while !state() {
        assert!(began.elapsed() < PATIENCE, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The line that begins like this.
fn line<'a>(text: &'a str, begin: &str) -> &'a str {
    text.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("no line {begin} in\n{text}"))
}

#[tokio::test]
async fn the_terminal_tells_what_became_of_a_job_and_which_alert_its_replicas_death_raises() {
    let blocks: Vec<Block> = blocks("docs/operations.md");
    let is_ours = |block: &&Block| block.needs.as_ref().is_some_and(|needs| needs.starts_with("`startjobs dev`"));
    let [kill, look] = &blocks.iter().filter(is_ours).collect::<Vec<_>>()[..] else { panic!("two blocks") };

    let mut dev = Dev::start(3);
    let mut terminal = Terminal { url: dev.url.clone(), job: String::new() };
    assert_eq!(terminal.command(&["alerts"]).status.code(), Some(0), "{:?}", terminal.command(&["alerts"]));
    assert!(!String::from_utf8_lossy(&terminal.command(&["status"]).stdout).contains("alerts"), "nothing to point at");

    // Other jobs come in all the while.
    let settings = load(&[("redis-url".to_owned(), dev.url.clone())]);
    let lobby = Lobby::connect(&settings.redis, &settings.stream).await.expect("a connection");
    let mut others = Vec::new();
    for number in 0..200 {
        others.push(lobby.append(&format!("other-{number}"), "galaxy/engine:1", 17).await.expect("appended"));
    }
    let said = terminal.paste(kill);
    let began = Instant::now();
    line(&said, "job=")["job=".len()..].clone_into(&mut terminal.job);
    for number in 200..400 {
        others.push(lobby.append(&format!("other-{number}"), "galaxy/engine:1", 17).await.expect("appended"));
    }

    // The first terminal says it at once, and which commands go on from there.
    let mut first = String::new();
    for _ in 0..6 {
        std::io::BufRead::read_line(&mut dev.stderr, &mut first).expect("text");
    }
    for part in ["signal: 9", "export STARTJOBS_REDIS_URL=", " alerts ", " inspect "] {
        assert!(first.contains(part), "{part} in {first}");
    }

    eventually("the alert is raised", || terminal.command(&["alerts"]).status.code() == Some(3)).await;
    eventually("somebody has taken over", || {
        terminal.json(&["inspect", &terminal.job])["pending"]["deliveries"].as_u64() == Some(2)
    })
    .await;
    let said = terminal.paste(look);
    let alerts = line(&said, "ReplicaLost  ");
    let words: Vec<&str> = alerts.split_whitespace().collect();
    assert_eq!(words[..7], ["ReplicaLost", "pending", "warning", "1", ">", "0", "for"], "{said}");
    assert!(alerts.ends_with("docs/runbooks.md#replicalost"), "{alerts}");
    assert!(said.contains("no alert fires yet; about to fire: ReplicaLost in "), "{said}");
    let status = line(&said, "alerts  ");
    assert!(status.contains("ReplicaLost in ") && status.ends_with(": see `startjobs alerts`"), "{status}");
    assert_eq!(
        said.lines().filter(|line| line.contains("  dead  ") && line.contains("  disconnect, ")).count(),
        1,
        "{said}"
    );
    let story = line(&said, &terminal.job);
    assert!(story.contains("in flight for ") && story.contains(" (on "), "{story}");
    assert!(story.contains(" died"), "{story}");
    assert!(began.elapsed() < WITHIN, "it took {:?}", began.elapsed());

    // And when it is answered.
    let known = terminal.json(&["replicas"]);
    let of_state = |state: &str| -> Vec<&str> {
        let all = known["replicas"].as_array().expect("a list").iter();
        all.filter(|replica| replica["state"] == state).filter_map(|replica| replica["name"].as_str()).collect()
    };
    let dead = of_state("dead");
    eventually("the job is answered", || terminal.json(&["inspect", &terminal.job])["stage"] == "settled").await;
    let story = terminal.json(&["inspect", &terminal.job]);
    assert_eq!(story["outcome"]["outcome"], "success", "{story}");
    assert_eq!(story["takeover"]["from"][0]["replica"], dead[0], "{story}");
    let heir = story["takeover"]["to"].as_str().expect("it is known");
    assert!(of_state("running").contains(&heir), "{story}");
    let text = String::from_utf8(terminal.command(&["inspect", &terminal.job]).stdout).expect("text");
    assert!(text.contains(": answered success after ") && text.contains(&format!("; {} (on ", dead[0])), "{text}");
    assert!(
        text.contains(&format!(
            ", which died, may have had it before, then {heir} had it (noticed by its closed connection)\n"
        )),
        "{text}"
    );
    eventually("everything else is answered", || {
        terminal.json(&["status"])["outcomes"].as_u64() == Some(others.len() as u64 + 1)
    })
    .await;
    // Nothing of it concerned a job that nobody died with.
    let other = terminal.json(&["inspect", &others[0].to_string()]);
    assert_eq!((&other["stage"], &other["takeover"]), (&"settled".into(), &Value::Null), "{other}");
    let alerts = terminal.json(&["alerts"]);
    let raised: Vec<&Value> = alerts["alerts"].as_array().expect("a list").iter().take(2).collect();
    assert_eq!((&raised[0]["name"], &raised[0]["metric"]), (&"ReplicaLost".into(), &"startjobs_replicas_lost".into()));
    assert_ne!(raised[1]["state"], "pending", "{alerts}");

    signal(dev.child.id(), Signal::TERM);
    assert_eq!(dev.child.wait().expect("it ends").code(), Some(0));
    dev.assert_gone();
}
