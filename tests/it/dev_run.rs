//! The recorded run of `startjobs dev`: its commands run here, in order, and print the words that the page shows.
//! With `STARTJOBS_TEST_RECORD` set the page is written anew with what they print.

use std::fs;
use std::io::BufRead;
use std::path::Path;

use rustix::process::Signal;

use crate::first_job::{Terminal, fences};
use crate::support::dev::{Dev, signal};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dev-run.md");
/// The server of the page.
const URL: &str = "redis+unix:///tmp/startjobs-dev/redis.sock";
/// Lines that `startjobs dev` prints when a replica has ended.
const DEATH_LINES: usize = 6;
/// How many outputs the page has at least.
const OUTPUTS_MIN: usize = 7;

/// The words of a line that are the same in each run: no numbers, names with numbers, or paths.
fn kept(line: &str) -> Vec<&str> {
    let is_kept = |word: &&str| {
        word.contains(|c: char| c.is_ascii_alphabetic())
            && !word.contains(|c: char| c.is_ascii_digit())
            && !word.contains("/tmp/")
    };
    line.split_whitespace().filter(is_kept).collect()
}

/// The first line of the page that was not printed.
fn missing<'a>(shown: &'a str, printed: &str) -> Option<&'a str> {
    let printed: Vec<Vec<&str>> = printed.lines().map(kept).collect();
    let has = |line: &&str| printed.iter().any(|words| kept(line).iter().all(|word| words.contains(word)));
    shown.lines().find(|line| !has(line))
}

/// What was printed, with the names of the page for what is this machine's own.
fn as_on_the_page(printed: &str, dev: &Dev) -> String {
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy();
    let names = [
        (env!("CARGO_BIN_EXE_startjobs").to_owned(), "startjobs"),
        (dev.url.clone(), URL),
        (dev.socket().to_owned(), "/tmp/startjobs-dev/redis.sock"),
        (dev.directory().display().to_string(), "/tmp"),
        (format!("{machine}-"), "h1-"),
        (format!(" {machine} "), " h1 "),
        (format!("(on {machine},"), "(on h1,"),
    ];
    let text = names.iter().fold(printed.to_owned(), |text, (real, shown)| text.replace(real, shown));
    text.lines().flat_map(|line| [line.trim_end(), "\n"]).collect()
}

/// Runs the page's commands; its outputs, in order.
fn run(page: &str) -> Vec<String> {
    let mut dev = Dev::start(3);
    let program = Path::new(env!("CARGO_BIN_EXE_startjobs")).parent().expect("it is in a folder").display();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap_or_default());
    let folder = tempfile::tempdir().expect("a folder");
    let mut terminal = Terminal::open(folder.path(), &path);
    let (mut printed, mut outputs) = (None, Vec::new());
    for (language, text) in fences(page) {
        match language.as_str() {
            "sh" if text.starts_with("# Terminal 1") => printed = Some(dev.banner.clone()),
            "sh" => {
                let said = terminal.run(&text.replace(URL, &dev.url));
                // A block that prints nothing is followed by what the first terminal says.
                printed = Some(said).filter(|said| !said.is_empty());
            }
            "text" => {
                let said = printed.take().unwrap_or_else(|| {
                    let mut said = String::new();
                    for _ in 0..DEATH_LINES {
                        dev.stderr.read_line(&mut said).expect("text");
                    }
                    said
                });
                outputs.push(as_on_the_page(&said, &dev));
            }
            other => panic!("a block of {other}"),
        }
    }
    signal(dev.child.id(), Signal::INT);
    assert_eq!(dev.child.wait().expect("it ends").code(), Some(0));
    dev.assert_gone();
    outputs
}

/// The page with these outputs.
fn recorded(page: &str, outputs: &[String]) -> String {
    let mut parts = page.split("```text\n");
    let mut written = parts.next().unwrap_or_default().to_owned();
    for (part, output) in parts.zip(outputs) {
        let (_, after) = part.split_once("```").expect("a block ends");
        written.extend(["```text\n", output, "```", after]);
    }
    written
}

#[test]
fn the_recorded_run_is_what_the_commands_print() {
    let page = fs::read_to_string(PAGE).expect("the page is there");
    let outputs = run(&page);
    if std::env::var_os("STARTJOBS_TEST_RECORD").is_some() {
        fs::write(PAGE, recorded(&page, &outputs)).expect("the page can be written");
        return;
    }
    let shown: Vec<String> =
        fences(&page).into_iter().filter(|(language, _)| language == "text").map(|(_, text)| text).collect();
    assert!(shown.len() >= OUTPUTS_MIN && shown.len() == outputs.len(), "{} outputs", shown.len());
    for (shown, printed) in shown.iter().zip(&outputs) {
        assert!(shown.lines().count() > 1, "nothing is recorded: {shown:?}");
        let missing = missing(shown, printed);
        assert!(missing.is_none(), "not printed any more: {missing:?}\nprinted:\n{printed}");
    }
}

#[test]
fn outputs_are_compared_by_their_lasting_words() {
    let printed = "replicas  2 alive, 1 dead\nat /tmp/x/redis.sock for 3s\n";
    assert_eq!(missing("replicas  7 alive, 3 dead\nat /tmp/y for 4s\n", printed), None);
    assert_eq!(missing("replicas 2 alive, 1 lost\n", printed), Some("replicas 2 alive, 1 lost"));
    assert_eq!(missing("for 3s dead\n", printed), Some("for 3s dead"), "words of two lines");
    let page = "a\n```text\nold\n```\nb\n```text\n```\nc\n";
    assert_eq!(recorded(page, &["x\n".to_owned(), "y\n".to_owned()]), "a\n```text\nx\n```\nb\n```text\ny\n```\nc\n");
}
