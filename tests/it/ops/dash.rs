//! `dash` on a terminal: what it shows of a real fleet, and the terminal's state afterwards.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{json, run, stderr};
use crate::support::world::{FAST, PATIENCE, World};

/// A shell on a terminal of 80 columns, which `script` makes. It runs `dash`, then says with which code that has ended and how the
/// terminal is set.
struct Terminal {
    script: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn start(world: &World) -> Self {
        let variable = |name: &str| format!("STARTJOBS_{}", name.to_uppercase().replace('-', "_"));
        let program = env!("CARGO_BIN_EXE_startjobs");
        let dash = format!("sh -c 'echo pid=$$; exec \"{program}\" dash --interval 200ms --timeout 1s'");
        let shell = format!("stty cols 80 rows 24; {dash}; echo code=$?; stty -a");
        let mut script = Command::new("script")
            .args(["--quiet", "--return", "--flush", "--command", &shell, "/dev/null"])
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs([("TERM", "xterm"), ("LANG", "C.UTF-8"), ("SHELL", "/bin/sh")])
            .env("STARTJOBS_REDIS_URL", world.redis.url())
            .envs(FAST.iter().map(|&(name, value)| (variable(name), value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script is there");
        let keys = script.stdin.take().expect("a pipe");
        let mut output = script.stdout.take().expect("a pipe");
        let shown = Arc::new(Mutex::new(String::new()));
        let shown_too = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                shown_too.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Self { script, keys, shown }
    }

    fn raw(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was drawn, in its order: each movement of the cursor is a blank, and colours are left out.
    fn shown(&self) -> String {
        let raw = self.raw();
        let mut parts = raw.split("\u{1b}[");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let end = part.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(part.len());
            text.push_str(if part[end..].starts_with('H') { " " } else { "" });
            text.push_str(part.get(end + 1..).unwrap_or_default());
        }
        text
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("the terminal is there");
    }

    /// Waits until this text was drawn after the first so many bytes. What was there before at the same place is not drawn again.
    async fn shows(&self, text: &str, after: usize) {
        let began = Instant::now();
        while !self.shown().get(after..).is_some_and(|shown| shown.contains(text)) {
            assert!(began.elapsed() < PATIENCE, "never shown: {text}\n{:?}", self.shown());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The code with which it has ended; the terminal is as it was before.
    async fn left_with(mut self, code: &str) {
        self.shows(&format!("code={code}\r\n"), 0).await;
        self.shows("icanon", 0).await;
        self.shows(" echo ", 0).await;
        let ended = self.raw();
        let at = ended.find("code=").expect("a code");
        assert!(ended[..at].contains("\u{1b}[?1049l"), "the other screen is left: {ended:?}");
        assert!(!ended[at..].contains("-icanon") && !ended[at..].contains("-echo "), "{ended:?}");
        assert!(self.script.wait().expect("it ends").success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Its end closes the terminal, and what runs on it ends.
        _ = self.script.kill();
        _ = self.script.wait();
    }
}

#[tokio::test]
async fn it_shows_a_real_fleet_outlives_redis_and_gives_the_terminal_back() {
    let mut world = World::new().await;
    world.replica(&[]);
    world.begun(0).await;
    world.send_games("d", 5).await;
    world.settled().await;
    world
        .eventually("the jobs are in the history", async |world: &World| {
            json(world, &["history"])["total"]["started"].as_u64() == Some(5)
        })
        .await;
    let mut terminal = Terminal::start(&world);
    terminal.shows("Healthy", 0).await;
    terminal.shows("1 alive", 0).await;
    terminal.shows("started, 1h: 5", 0).await;
    let before = terminal.shown().len();
    terminal.types("3");
    terminal.shows("REPLICA", before).await;
    let before = terminal.shown().len();
    world.redis.kill();
    terminal.shows("numbers of ", before).await;
    let before = terminal.shown().len();
    terminal.types("1");
    terminal.shows("waiting", before).await;
    terminal.types("q");
    terminal.left_with("0").await;
}

#[tokio::test]
async fn a_signal_ends_it_and_the_terminal_is_as_before() {
    let world = World::new().await;
    let terminal = Terminal::start(&world);
    terminal.shows("q quit", 0).await;
    let shown = terminal.shown();
    let pid = shown.split_once("pid=").and_then(|(_, rest)| rest.split(['\r', '\n']).next()).expect("a pid");
    let pid = Pid::from_raw(pid.parse().expect("a number")).expect("a pid");
    kill_process(pid, Signal::TERM).expect("it runs");
    terminal.left_with("143").await;
}

#[tokio::test]
async fn without_a_terminal_it_names_the_command_that_needs_none() {
    let world = World::new().await;
    let refused = run(&world, &["dash"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("dash needs a terminal") && stderr(&refused).contains("status --watch 1s"));
    let refused = run(&world, &["dash", "--interval", "0s"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("the shortest interval is 100ms"), "{}", stderr(&refused));
}
