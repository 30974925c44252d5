//! Proofs by search: random sequences of the real scripts, step by step beside a model.

#![expect(unreachable_pub, reason = "a test binary exports nothing, so pub is as wide as pub(crate)")]
#![expect(clippy::cast_possible_truncation, reason = "counts and places here are small")]

#[expect(dead_code, reason = "the other tests use the rest")]
#[path = "../it/support/servers.rs"]
mod servers;

// a clock that stands still
mod clock;
// values, and the connection that they travel on
mod wire;
// entry ids
mod ids;
// one step with everything that it is called with
mod call;
// what must be
mod model;
// what is
mod real;
// the words of a call of a record's verb
mod record_words;
// sequences as texts, and what their steps mean
mod plan;
// both sides, step by step
mod run;
// sequences from seeds, and shorter ones
mod random;
// faults that must be found
mod mutants;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use mutants::Mutant;
use plan::Step;
use real::Real;

/// Sequences that have found a fault, the shortest part of each, with the fault that they found.
const FOUND: [(&str, Mutant); 3] = [
    (
        include_str!("found/withdrawn_and_lost.txt"),
        Mutant {
            file: "stream/scripts/claim.lua",
            from: " and (#declared > 0 or withdrawn > 0) then",
            to: " and #declared > 0 then",
            why: "crashes are withdrawn and not told",
        },
    ),
    (
        include_str!("found/lost_after_answered.txt"),
        Mutant {
            file: "stream/scripts/claim.lua",
            from: "  answered_before = in_ledger(lost)\n",
            to: "",
            why: "an answered job whose payload is gone counts as lost",
        },
    ),
    (
        include_str!("found/mirror_after_setid.txt"),
        Mutant {
            file: "stream/scripts/settle.lua",
            from: " and compare_ids(held, delivered) <= 0 then",
            to: " then",
            why: "the mirror stays beyond last-delivered",
        },
    ),
];

fn number_of(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

/// The failure of a sequence as a script that can be run again.
fn report(real: &mut Real, seed: u64, steps: Vec<Step>, why: &str) -> String {
    let short = random::shrink(real, steps);
    let why = run::run(real, &short).err().unwrap_or_else(|| why.to_owned());
    let lines: Vec<String> = short.iter().map(Step::to_string).collect();
    format!("seed {seed}: {why}\nThe shortest sequence found:\n{}\n", lines.join("\n"))
}

/// What a search came to.
#[derive(Default)]
struct Search {
    failures: Vec<String>,
    /// How often each answer was given.
    reached: BTreeMap<String, u64>,
}

/// Runs the sequences of these seeds on two servers.
fn search(program: &Path, seeds: std::ops::Range<u64>) -> Search {
    let (next, found) = (AtomicU64::new(seeds.start), Mutex::new(Search::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut real = Real::new(program);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || found.lock().expect("no panic").failures.len() > 3 {
                        return;
                    }
                    let steps = random::sequence(seed);
                    match run::run(&mut real, &steps) {
                        Ok(reached) => {
                            let mut found = found.lock().expect("no panic");
                            for (word, times) in reached {
                                *found.reached.entry(word).or_default() += times;
                            }
                        }
                        Err(why) => {
                            let text = report(&mut real, seed, steps, &why);
                            found.lock().expect("no panic").failures.push(text);
                        }
                    }
                }
            });
        }
    });
    found.into_inner().expect("no panic")
}

impl Search {
    fn assert_no_failure(&self) {
        let Self { failures, reached } = self;
        for (word, times) in reached {
            println!("{times:8} {word}");
        }
        assert!(failures.is_empty(), "{} sequences failed:\n{}", failures.len(), failures.join("\n"));
    }
}

/// The server that `STARTJOBS_REDIS` names by its version, or the one on PATH.
fn program() -> PathBuf {
    let version = std::env::var("STARTJOBS_REDIS").unwrap_or_default();
    if version.is_empty() {
        PathBuf::from("redis-server")
    } else {
        servers::fetched(&version).expect("this version is there")
    }
}

#[test]
fn the_scripts_do_what_the_model_says_in_random_sequences() {
    let (first, count) = (number_of("STARTJOBS_SEED", 1), number_of("STARTJOBS_SEEDS", 200));
    search(&program(), first..first + count).assert_no_failure();
}

#[test]
fn the_scripts_do_the_same_on_other_versions_of_redis() {
    for program in servers::FETCHED.into_iter().filter_map(servers::fetched) {
        search(&program, 1..41).assert_no_failure();
    }
}

/// A sequence of `STARTJOBS_SCRIPT`, a file of lines as a failure prints them.
#[test]
fn a_sequence_that_was_printed_does_what_the_model_says() {
    let Ok(file) = std::env::var("STARTJOBS_SCRIPT") else { return };
    let text = std::fs::read_to_string(&file).expect("a file");
    if let Err(why) = run::run(&mut Real::new(&program()), &steps_of(&text)) {
        panic!("{why}");
    }
}

#[test]
fn faults_that_were_found_stay_away() {
    let mut real = Real::new(&program());
    for (text, fault) in &FOUND {
        real.load(None);
        assert_eq!(run::run(&mut real, &steps_of(text)).err(), None, "{}", fault.why);
        real.load(Some(fault));
        assert!(run::run(&mut real, &steps_of(text)).is_err(), "{}: the sequence does not show it", fault.why);
    }
}

fn steps_of(text: &str) -> Vec<Step> {
    text.lines().map(|line| Step::parse(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

/// Sequences within which each mutant must be found.
const WITHIN: u64 = 120;

#[test]
fn every_fault_in_the_scripts_is_found() {
    let only = std::env::var("STARTJOBS_MUTANT").unwrap_or_default();
    let mutants: Vec<&Mutant> =
        mutants::all().into_iter().filter(|mutant| only.split('|').any(|part| mutant.why.contains(part))).collect();
    let (next, survivors) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut real = Real::new(&program());
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    real.load(Some(mutant));
                    let found = (1..=WITHIN).find(|&seed| run::run(&mut real, &random::sequence(seed)).is_err());
                    println!("{} {}", found.map_or("survives".to_owned(), |seed| format!("{seed:8}")), mutant.why);
                    if found.is_none() {
                        survivors.lock().expect("no panic").push(mutant.why);
                    }
                }
            });
        }
    });
    let survivors = survivors.into_inner().expect("no panic");
    assert!(survivors.is_empty(), "not found within {WITHIN} sequences: {survivors:?}");
}

#[test]
fn every_fault_changes_one_place_of_the_scripts() {
    for mutant in mutants::all().into_iter().chain(FOUND.iter().map(|(_, fault)| fault)) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(mutant.file);
        let text = std::fs::read_to_string(&file).expect("a script");
        assert_eq!(text.matches(mutant.from).count(), 1, "{}: {}", mutant.file, mutant.from);
    }
    assert!(mutants::all().len() >= 40);
}
