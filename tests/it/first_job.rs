//! The tutorial for a producer: its commands run here in order, and print what the page shows.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use startjobs::embedded::process::Process;
use tempfile::TempDir;

use crate::deploy::pypi;
use crate::support::scrape::free_port;
use crate::support::world::{PATIENCE, World};

const PAGE: &str = "docs/first-job.md";
/// The port that the page uses.
const PORT: &str = "6390";
/// The line that ends a block's output.
const END: &str = "-- end of the block --";
/// How many blocks with an output the page has at least.
const BLOCKS_MIN: usize = 8;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join(PAGE)).expect("the page is there")
}

/// The fenced blocks of the page in order: language and text.
pub fn fences(page: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in page.lines() {
        if let Some(language) = line.strip_prefix("```") {
            if !open {
                found.push((language.to_owned(), String::new()));
            }
            open = !open;
        } else if open {
            let (_, text) = found.last_mut().expect("it is open");
            text.push_str(line);
            text.push('\n');
        }
    }
    found
}

/// What a word of an output is, without the punctuation around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An entry's id, a container's or a consumer's: it differs between runs, and is the same wherever it is named.
    Name,
    /// A time or an age: it differs between runs.
    Time,
    Plain,
}

fn kind(word: &str) -> Kind {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_id = word.split_once('-').is_some_and(|(ms, sequence)| ms.len() == 13 && digits(ms) && digits(sequence));
    let is_uuid = word.len() >= 36
        && word.is_char_boundary(word.len() - 36)
        && uuid::Uuid::try_parse(&word[word.len() - 36..]).is_ok();
    let is_age = ["ms", "s", "m"]
        .iter()
        .any(|unit| word.strip_suffix(unit).is_some_and(|number| digits(&number.replacen('.', "", 1))));
    let is_date = word.len() == 24 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    if is_id || is_uuid || word.starts_with("simulated.rtm-") {
        Kind::Name
    } else if is_age || is_date || (word.len() == 13 && digits(word)) {
        Kind::Time
    } else {
        Kind::Plain
    }
}

/// Which name of this run the page's name means, and the other way round.
#[derive(Debug, Default)]
struct Names {
    real: BTreeMap<String, String>,
    shown: BTreeMap<String, String>,
}

impl Names {
    /// Whether a line that was printed is the line that the page shows.
    fn same_line(&mut self, shown: &str, real: &str) -> bool {
        let (shown, real): (Vec<&str>, Vec<&str>) =
            (shown.split_whitespace().collect(), real.split_whitespace().collect());
        shown.len() == real.len() && shown.into_iter().zip(real).all(|(shown, real)| self.same_word(shown, real))
    }

    fn same_word(&mut self, shown: &str, real: &str) -> bool {
        let is_around = |c: char| "\"(),:;".contains(c);
        let (shown, real) = (shown.trim_matches(is_around), real.trim_matches(is_around));
        match (kind(shown), kind(real)) {
            (Kind::Time, Kind::Time) => true,
            (Kind::Name, Kind::Name) => {
                let known = self.real.entry(shown.to_owned()).or_insert_with(|| real.to_owned());
                let back = self.shown.entry(real.to_owned()).or_insert_with(|| shown.to_owned());
                known == real && back == shown
            }
            _ => shown == real,
        }
    }

    /// Whether an output is what the page shows; a line of three dots stands for any number of lines.
    fn same(&mut self, shown: &str, real: &str) -> bool {
        let mut real = real.lines();
        let mut skips = false;
        for line in shown.lines() {
            if line == "..." {
                skips = true;
            } else if skips {
                if !real.any(|printed| self.same_line(line, printed)) {
                    return false;
                }
                skips = false;
            } else if !real.next().is_some_and(|printed| self.same_line(line, printed)) {
                return false;
            }
        }
        skips || real.next().is_none()
    }

    /// The page's commands with the names of this run.
    fn in_this_run(&self, commands: &str) -> String {
        self.real.iter().fold(commands.to_owned(), |text, (shown, real)| text.replace(shown, real))
    }
}

/// A reader's terminal: one shell, which keeps its variables from block to block.
pub struct Terminal {
    shell: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Terminal {
    /// Opens one in this folder, with no variable but PATH.
    pub fn open(folder: &Path, path: &str) -> Self {
        let mut shell = Command::new("bash")
            .args(["-euo", "pipefail"])
            .current_dir(folder)
            .env_clear()
            .env("PATH", path)
            // Then redis-cli prints what a reader sees on a terminal.
            .env("FAKETTY", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("bash is there");
        let stdin = shell.stdin.take().expect("it is piped");
        let stdout = BufReader::new(shell.stdout.take().expect("it is piped"));
        Self { shell, stdin, stdout }
    }

    /// Runs a block, which must succeed; what it printed.
    pub fn run(&mut self, block: &str) -> String {
        writeln!(self.stdin, "{{ {block}\n}} </dev/null\necho '{END}'").expect("the shell listens");
        let mut said = String::new();
        loop {
            let before = said.len();
            let read = self.stdout.read_line(&mut said).expect("text");
            assert!(read > 0, "this block fails:\n{block}\nIt printed:\n{said}");
            if said[before..].trim_end() == END {
                said.truncate(before);
                return said;
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.shell.kill());
        drop(self.shell.wait());
    }
}

/// A command that runs until the end, in a terminal of its own.
fn in_the_background(block: &str, number: usize, folder: &Path, path: &str) -> (Process, PathBuf) {
    let log = folder.join(format!("terminal-{number}.log"));
    let command = block.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let arguments = ["-c".to_owned(), format!("exec {command}")];
    let environment = [("PATH".to_owned(), path.to_owned()), ("TMPDIR".to_owned(), folder.display().to_string())];
    let process = Process::start(Path::new("bash"), &arguments, &environment, &log).expect("bash is there");
    (process, log)
}

fn await_logged(log: &Path, text: &str) {
    let began = Instant::now();
    while !fs::read_to_string(log).unwrap_or_default().contains(text) {
        let printed = fs::read_to_string(log).unwrap_or_default();
        assert!(began.elapsed() < PATIENCE, "it never says {text}:\n{printed}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn every_command_of_the_page_runs_and_prints_what_the_page_shows() {
    // It has redis-py.
    if pypi("python3").is_none() {
        return;
    }
    let folder: TempDir = tempfile::Builder::new().prefix("startjobs-first-").tempdir().expect("a folder");
    let program = Path::new(env!("CARGO_BIN_EXE_startjobs")).parent().expect("it is in a folder").display();
    let python = root().join("target/deploy-tools/bin");
    let path = format!("{program}:{}:{}", python.display(), std::env::var("PATH").unwrap_or_default());
    let port = free_port().to_string();
    let blocks = fences(&page().replace(PORT, &port));

    let mut terminal = Terminal::open(folder.path(), &path);
    let (mut names, mut behind, mut compared) = (Names::default(), Vec::new(), 0);
    let mut said: Option<String> = None;
    for (number, (language, text)) in blocks.iter().enumerate() {
        match language.as_str() {
            "sh" if text.starts_with("# Terminal 1") || text.starts_with("# Terminal 2") => {
                let (process, log) = in_the_background(text, number, folder.path(), &path);
                let ready =
                    if behind.is_empty() { "Ready to accept connections" } else { "start jobs consumer started" };
                await_logged(&log, ready);
                behind.push(process);
            }
            "sh" => said = Some(terminal.run(&names.in_this_run(text))),
            "text" => {
                let printed = said.take().unwrap_or_else(|| panic!("no command before this output:\n{text}"));
                assert!(names.same(text, &printed), "{PAGE} shows\n{text}\nand this was printed:\n{printed}");
                compared += 1;
            }
            "python" => fs::write(folder.path().join("first_job.py"), text).expect("written"),
            other => panic!("a block of {other:?}"),
        }
    }
    assert!(page().contains("It is ready when it logs `start jobs consumer started`."));
    assert!(compared >= BLOCKS_MIN, "the blocks are found: {compared}");

    // As Ctrl-C does it, the replica first.
    let mut redis = behind.remove(0);
    for process in behind.iter_mut().chain([&mut redis]) {
        process.signal(rustix::process::Signal::INT);
        let status = process.wait(PATIENCE).expect("it ends");
        assert_eq!(status.code(), Some(0), "{status}");
    }
}

/// The texts in double quotes, as redis-cli prints the names and values of entries.
fn quoted(text: &str) -> Vec<&str> {
    text.split('"').skip(1).step_by(2).collect()
}

#[test]
fn the_readme_shows_the_first_job_and_its_outcome_as_they_are_on_the_wire() {
    let (page, readme) = (page(), fs::read_to_string(root().join("README.md")).expect("the README"));
    let outputs = |text: &str| -> Vec<String> {
        let blocks = fences(text).into_iter().filter(|(language, text)| language == "text" && text.contains("1) \""));
        blocks.map(|(_, text)| text).collect()
    };
    let (of_page, of_readme) = (outputs(&page), outputs(&readme));
    let outcome = quoted(of_page.iter().find(|text| text.contains("runtime:job_results")).expect("the outcome"));
    let value = |name: &str| outcome[outcome.iter().position(|&word| word == name).expect("a field") + 1];
    let shown = of_readme.iter().flat_map(|text| quoted(text)).collect::<Vec<_>>();
    let (id, asked) = (value("source_ref"), value("requested_at_ms"));
    let job = [id, "game_id", "g1", "image_ref", "galaxy/engine:1", "requested_at_ms", asked];
    // The page's begins with the stream's name.
    assert_eq!(shown, [&job[..], &outcome[1..]].concat());
}

#[test]
fn an_output_is_compared_word_by_word_and_names_stay_the_same() {
    let mut names = Names::default();
    assert!(names.same("\"1795907150580-0\"\n", "\"1801234567890-1\"\n"));
    assert!(names.same("1) \"1795907150580-0\"\n", "1)   \"1801234567890-1\"\n"), "spaces may differ");
    assert!(!names.same("\"1795907150580-0\"\n", "\"1801234567891-0\"\n"), "another id");
    assert!(!names.same("\"1795907150999-0\"\n", "\"1801234567890-1\"\n"), "one id for two");
    assert!(names.same("a\n...\nd 2s\n", "a\nb\nc\nd 13ms\n") && names.same("a\n...\n", "a\nb\n"));
    assert!(!names.same("a\n...\nd\n", "a\nb\n") && !names.same("a\n", "a\nb\n") && !names.same("a\nb\n", "a\n"));
    assert!(!names.same("success\n", "failure\n"));
    assert_eq!(names.in_this_run("XREAD 1795907150580-0"), "XREAD 1801234567890-1");
}

/// A row of the page's table of images: the images, and the code and the dead letter's reason of their outcome.
struct Row {
    images: Vec<String>,
    code: String,
    dead: Option<String>,
}

fn in_code_spans(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn table_of_images() -> Vec<Row> {
    let rows = page();
    let rows = rows.lines().filter(|line| line.starts_with("| `sim/"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [images, _, outcome] = cells[..] else { panic!("three cells: {row}") };
        let (outcome, dead) = outcome.split_once("dead letter").unwrap_or((outcome, ""));
        let words = in_code_spans(outcome);
        assert_eq!(words[0], if words.len() == 1 { "success" } else { "failure" }, "{row}");
        Row {
            images: in_code_spans(images),
            code: words.get(1).cloned().unwrap_or_default(),
            dead: in_code_spans(dead).pop(),
        }
    })
    .collect()
}

#[test]
fn the_page_names_every_image_that_the_simulated_engine_knows() {
    let source = fs::read_to_string(root().join("src/engine/simulated/behaviour.rs")).expect("the engine's source");
    let known: Vec<String> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" => Self::"))
        .map(|(name, _)| format!("sim/{name}"))
        .collect();
    let mut shown: Vec<String> = table_of_images().iter().map(|row| row.images[0].clone()).collect();
    shown.sort();
    assert!(known.len() >= 5, "the names are found: {known:?}");
    assert_eq!(shown, known);
}

#[tokio::test]
async fn the_images_of_the_page_end_as_it_says() {
    let mut world = World::with(&[("crash-budget", "1")]).await;
    let mut replica = world.replica(&[]);
    let (mut sent, mut number) = (Vec::new(), 0);
    // The image that kills replicas comes alone and last: its deaths would count against the others.
    let (ordinary, deadly): (Vec<Row>, Vec<Row>) =
        table_of_images().into_iter().partition(|row| row.dead.as_deref() != Some("poison"));
    for rows in [ordinary, deadly] {
        for row in rows {
            for image in &row.images {
                number += 1;
                let job = world.send(&format!("game-{number}"), image).await;
                sent.push((job, image.clone(), row.code.clone(), row.dead.clone()));
            }
        }
        let began = Instant::now();
        while !world.account().await.lost.is_empty() {
            assert!(began.elapsed() < PATIENCE, "still without an answer\n{}", world.logs());
            if world.fleet.replica(replica).process().ended().is_some() {
                replica = world.replica(&[]);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let letters = world.entries(&world.settings.stream.dead).await;
    for (job, image, code, dead) in sent {
        let outcome = world.outcome(job).await;
        let expected = if code.is_empty() { "success" } else { "failure" };
        assert_eq!(
            (outcome.get("outcome"), outcome.get("error_code")),
            (expected, code.as_str()),
            "{image}: {outcome:?}"
        );
        let letter = letters.iter().find(|letter| letter.get("source_ref") == job.to_string());
        assert_eq!(letter.map(|letter| letter.get("reason").to_owned()), dead, "{image}: {letter:?}");
    }
}
