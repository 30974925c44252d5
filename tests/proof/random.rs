//! Sequences from seeds, and the shortest part of one that still fails.

use fastrand::Rng;

use crate::plan::{Step, WORDS};
use crate::real::Real;
use crate::run::run;

/// Runs that finding the shortest failing part may take.
const TRIES_MAX: usize = 600;

/// How often each word comes in an ordinary sequence.
const WEIGHTS: &[(&str, u32)] = &[
    ("append", 14),
    ("read", 12),
    ("settle", 12),
    ("fail", 3),
    ("withdraw", 2),
    ("ask", 4),
    ("renew", 8),
    ("sweep", 8),
    ("back", 3),
    ("over", 4),
    ("leave", 2),
    ("late", 2),
    ("adopt", 4),
    ("tidy", 5),
    ("destroy", 1),
    ("dropconsumer", 1),
    ("ack", 1),
    ("delete", 2),
    ("trim", 1),
    ("setid", 1),
    ("lower", 1),
    ("pass", 8),
    ("crash", 3),
    ("subscribe", 4),
    ("cut", 1),
    ("snapshot", 1),
    ("restore", 1),
    ("legacy", 1),
    ("requeue", 3),
    ("removedead", 1),
    ("cancel", 2),
    ("retry", 2),
    ("tell", 3),
    ("pause", 1),
    ("resume", 2),
    ("begin", 5),
    ("token", 7),
    ("container", 4),
    ("abandon", 1),
    ("stop", 1),
    ("fleet", 1),
];
/// Without these there is little to do.
const ALWAYS: [&str; 9] = ["append", "read", "settle", "renew", "sweep", "pass", "begin", "token", "container"];
const OF_RECORDS: [&str; 6] = ["begin", "token", "container", "abandon", "stop", "fleet"];

pub fn sequence(seed: u64) -> Vec<Step> {
    let mut random = Rng::with_seed(seed);
    let is_of_records = random.u32(0..3) == 0;
    // Each sequence leaves some words out and repeats others, so that rare things meet each other.
    let weights: Vec<u32> = WEIGHTS
        .iter()
        .map(|&(word, weight)| {
            let is_of_kind = OF_RECORDS.contains(&word) == is_of_records;
            let factor = match (is_of_records, is_of_kind) {
                (true, true) => 10,
                (false, false) => 0,
                _ => 2,
            };
            let often = if ALWAYS.contains(&word) { [1, 1, 2, 2, 3] } else { [0, 1, 1, 2, 5] };
            weight * factor * often[random.usize(0..5)]
        })
        .collect();
    let mut steps = vec![step(&mut random, "adopt")];
    steps.extend((0..4).map(|slot| Step { word: "renew", numbers: vec![slot, 1] }));
    let length = random.usize(40..160);
    while steps.len() < length {
        if !is_of_records && random.u32(0..12) == 0 {
            watch(&mut random, &mut steps);
        }
        if is_of_records {
            match random.u32(0..60) {
                0 => begin_twice(&mut random, &mut steps),
                1 => stop_and_revive(&mut random, &mut steps),
                _ => {}
            }
        } else {
            match random.u32(0..150) {
                5 => lose_payload(&mut random, &mut steps),
                9 => lose_job(&mut random, &mut steps),
                6..=8 => notice(&mut random, &mut steps),
                4 => go_back(&mut random, &mut steps),
                0 => grow_old(&mut random, &mut steps),
                1 | 2 => die_again(&mut random, &mut steps),
                3 => hand_all_over(&mut random, &mut steps),
                _ => {}
            }
        }
        let mut at = random.u32(0..weights.iter().sum::<u32>().max(1));
        let chosen = WEIGHTS.iter().zip(&weights).find(|(_, weight)| {
            let is_it = at < **weight;
            at = at.saturating_sub(**weight);
            is_it
        });
        let word = chosen.map_or("append", |((word, _), _)| word);
        steps.push(step(&mut random, word));
        // Replicas notice that, and make the group usable again.
        follow(&mut random, &mut steps);
        if word == "setid" && random.bool() {
            let slot = random.u64(0..4);
            steps.push(Step { word: "read", numbers: vec![slot, 3, 1] });
            steps.push(Step { word: "ask", numbers: vec![slot] });
        }
        if ["destroy", "lower", "restore", "legacy"].contains(&word) && random.u32(0..4) != 0 {
            steps.push(step(&mut random, "adopt"));
        }
    }
    steps
}

/// What makes something of the last step.
fn follow(random: &mut Rng, steps: &mut Vec<Step>) {
    let Some(Step { word, numbers }) = steps.last().cloned() else { return };
    let number = |position: usize| numbers.get(position).copied().unwrap_or(0);
    if random.bool() {
        return;
    }
    match word {
        "leave" => steps.push(Step { word: "late", numbers: vec![0, random.u64(0..6), 1] }),
        "delete" | "trim" => {
            let word = if random.bool() { "back" } else { "leave" };
            steps.push(Step { word, numbers: vec![random.u64(0..4), 0, 1] });
        }
        "retry" => {
            steps.extend((0..4).flat_map(|slot| [slot, slot]).map(|slot| Step { word: "tell", numbers: vec![slot] }));
        }
        "stop" => {
            let (kind, container) = (if random.bool() { 6 } else { random.u64(0..8) }, random.u64(0..40));
            steps.push(Step { word: "container", numbers: vec![number(0), number(1), kind, container] });
        }
        _ => {}
    }
}

/// What a process holds falls out of the pending list, grows older than the ledger, and is settled all the same.
fn grow_old(random: &mut Rng, steps: &mut Vec<Step>) {
    let slot = random.u64(0..4);
    steps.extend(["append", "append"].map(|word| step(random, word)));
    steps.push(Step { word: "read", numbers: vec![slot, 3, 1] });
    let loss = if random.bool() { "dropconsumer" } else { "destroy" };
    steps.push(Step { word: loss, numbers: vec![slot] });
    if loss == "destroy" {
        steps.push(Step { word: "adopt", numbers: vec![slot] });
        steps.push(Step { word: "read", numbers: vec![slot + 1, 3, 1] });
        steps.push(Step { word: "ack", numbers: vec![random.u64(0..4)] });
    }
    steps.push(Step { word: "pass", numbers: vec![11] });
    steps.push(Step { word: "settle", numbers: vec![slot, random.u64(0..16), 3, 1] });
}

/// One process after the other dies with the same jobs.
fn die_again(random: &mut Rng, steps: &mut Vec<Step>) {
    let numbers = |word, numbers: &[u64]| Step { word, numbers: numbers.to_vec() };
    let (mut dead, mut alive) = (random.u64(0..2), 2 + random.u64(0..2));
    steps.extend([numbers("append", &[1]), numbers("read", &[dead, 1, 1])]);
    for _ in 0..random.usize(2..5) {
        steps.push(numbers("crash", &[dead]));
        for _ in 0..5 {
            steps.extend([numbers("pass", &[3]), numbers("renew", &[alive, 1])]);
        }
        steps.extend([0, 4].map(|mode| numbers("sweep", &[alive, mode, 4, 1, 1])));
        if random.bool() {
            steps.push(numbers("fail", &[alive, random.u64(0..4), 1]));
        }
        std::mem::swap(&mut dead, &mut alive);
        steps.push(numbers("renew", &[alive, 1]));
    }
}

/// A payload goes while a replica that lives has the job.
fn lose_payload(random: &mut Rng, steps: &mut Vec<Step>) {
    let (one, other) = (random.u64(0..2), 2 + random.u64(0..2));
    let numbers = |word, numbers: &[u64]| Step { word, numbers: numbers.to_vec() };
    steps.extend([numbers("append", &[1]), numbers("read", &[one, 3, 1]), numbers("delete", &[2 * random.u64(0..8)])]);
    for _ in 0..random.usize(3..6) {
        steps.extend([numbers("pass", &[3]), numbers("renew", &[one, 1]), numbers("renew", &[other, 1])]);
    }
    steps.push(numbers("sweep", &[other, 0, 4, 1, 1]));
}

/// One hears its own subscription, others lose theirs, and it looks until it may be sure.
fn notice(random: &mut Rng, steps: &mut Vec<Step>) {
    let (judge, others) = (random.u64(0..4), random.u64(1..4));
    let numbers = |word, numbers: &[u64]| Step { word, numbers: numbers.to_vec() };
    steps.extend([numbers("resume", &[]), numbers("adopt", &[judge])]);
    for slot in 0..4 {
        steps.extend([numbers("subscribe", &[slot]), numbers("renew", &[slot, 1])]);
    }
    steps.push(numbers("append", &[3]));
    for other in 1..=others {
        steps.push(numbers("read", &[judge + other, random.u64(0..2), 1]));
    }
    steps.push(numbers("renew", &[judge, 1]));
    if random.bool() {
        steps.extend([2 * random.u64(0..8), 2 * random.u64(0..8)].map(|one| numbers("delete", &[one])));
    }
    for other in 1..=others {
        // Half of them are cut and live.
        let word = if random.bool() { "cut" } else { "crash" };
        steps.push(numbers(word, &[judge + other + 4 * random.u64(0..3)]));
    }
    // The judge loses its own, and may have another one before the others have renewed.
    match random.u32(0..5) {
        0 => steps.push(numbers("cut", &[judge + 4])),
        1 => {
            let again = [numbers("pass", &[1]), numbers("subscribe", &[judge]), numbers("renew", &[judge, 1])];
            steps.extend(again);
        }
        _ => {}
    }
    for _ in 0..random.usize(3..7) {
        steps.push(numbers("pass", &[12]));
        let other = judge + random.u64(1..4);
        match random.u32(0..8) {
            0 => steps.push(numbers("renew", &[other, 1])),
            // It is there again for a moment.
            1 | 2 => steps.extend([
                numbers("subscribe", &[other]),
                numbers("renew", &[other, 1]),
                numbers("cut", &[other + 4]),
            ]),
            _ => {}
        }
        steps.push(numbers("sweep", &[judge, if random.bool() { 6 } else { 0 }, 4, 1, 1]));
    }
    steps.extend([0, 4].map(|mode| numbers("sweep", &[judge, mode, 4, 1, 1])));
    for other in 1..=others {
        let slot = judge + other;
        match random.u32(0..5) {
            0 => steps.push(numbers("renew", &[slot, 1])),
            1 | 2 => steps.push(numbers("sweep", &[slot, 0, 4, 1, 1])),
            3 => steps.push(numbers("leave", &[slot])),
            _ => steps.extend([numbers("renew", &[slot, 1]), numbers("leave", &[slot])]),
        }
    }
}

/// The group is set back behind jobs that are answered.
fn go_back(random: &mut Rng, steps: &mut Vec<Step>) {
    let (one, other, ends) = (random.u64(0..4), random.u64(0..4), random.u64(0..16));
    let numbers = |word, numbers: &[u64]| Step { word, numbers: numbers.to_vec() };
    steps.extend([numbers("append", &[3]), numbers("read", &[one, 3, 1]), numbers("settle", &[one, ends, 4, 1])]);
    steps.extend([
        numbers("setid", &[random.u64(0..4)]),
        numbers("adopt", &[one]),
        numbers("read", &[other, 3, 1]),
        numbers("ask", &[other]),
    ]);
}

/// Redis loses a job that a process has.
fn lose_job(random: &mut Rng, steps: &mut Vec<Step>) {
    let slot = random.u64(0..4);
    let numbers = |word, numbers: &[u64]| Step { word, numbers: numbers.to_vec() };
    steps.extend([numbers("snapshot", &[]), numbers("append", &[0]), numbers("read", &[slot, 3, 1])]);
    steps.extend([numbers("restore", &[]), numbers("settle", &[slot, 0, random.u64(0..16), 1])]);
}

/// A game on a host that is given up is stopped, and its container is seen to run.
fn stop_and_revive(random: &mut Rng, steps: &mut Vec<Step>) {
    let (slot, game) = (random.u64(0..4), random.u64(0..2));
    let numbers = |word, numbers: &[u64]| Step { word, numbers: numbers.to_vec() };
    steps.extend([numbers("append", &[0]), numbers("pass", &[7]), numbers("begin", &[slot, game, 0, 0, 0, 0])]);
    steps.push(numbers("token", &[slot, game, 1, 4, random.u64(0..3)]));
    steps.extend([numbers("stop", &[slot, game, 0]), numbers("container", &[slot, game, 6, 1])]);
}

/// Redis loses the beginning of an attempt, and another process is given the same token.
fn begin_twice(random: &mut Rng, steps: &mut Vec<Step>) {
    let (game, job) = (random.u64(0..2), 2 * random.u64(0..8));
    let numbers = |word, numbers: &[u64]| Step { word, numbers: numbers.to_vec() };
    let (one, other) = (random.u64(0..2), 2 + random.u64(0..2));
    steps.extend([numbers("append", &[0]), numbers("pass", &[7]), numbers("snapshot", &[])]);
    steps.extend([numbers("begin", &[one, game, job, 0, 0, 0]), numbers("restore", &[])]);
    steps.push(numbers("begin", &[other, game, job, 0, 0, 0]));
    for _ in 0..4 {
        let older = 3 * random.u64(0..8);
        steps.push(numbers("token", &[one, game, older, random.u64(0..12), random.u64(0..9)]));
    }
}

/// One process gives others more than they may have.
fn hand_all_over(random: &mut Rng, steps: &mut Vec<Step>) {
    let (giver, host) = (random.u64(0..4), random.u64(0..3));
    let slots = (0..4).map(|slot| Step { word: "renew", numbers: vec![slot, 1] });
    steps.extend(slots);
    for _ in 0..3 {
        steps.extend([Step { word: "append", numbers: vec![3] }, Step { word: "read", numbers: vec![giver, 3, 1] }]);
        steps.push(Step { word: "over", numbers: vec![giver, 65_535, host] });
    }
    let lost = random.u64(0..4);
    steps.push(Step { word: "over", numbers: vec![giver, lost, host + 1] });
}

/// One or two replicas renew for so long that the silence of the others says something, and one looks.
fn watch(random: &mut Rng, steps: &mut Vec<Step>) {
    let (one, other) = (random.u64(0..4), random.u64(0..8));
    for _ in 0..random.usize(3..6) {
        steps.push(Step { word: "pass", numbers: vec![3] });
        steps.push(Step { word: "renew", numbers: vec![one, 1] });
        if other < 4 {
            steps.push(Step { word: "renew", numbers: vec![other, 1] });
        }
    }
    let mut sweep = step(random, "sweep");
    sweep.numbers[0] = one;
    sweep.numbers[1] = if random.bool() { 0 } else { 4 };
    steps.push(sweep);
    if random.bool() {
        steps.push(Step { word: "back", numbers: vec![random.u64(0..4), 0, 1] });
    }
}

fn step(random: &mut Rng, word: &'static str) -> Step {
    let &(word, count) = WORDS.iter().find(|(known, _)| *known == word).expect("a word");
    let mut numbers: Vec<u64> = (0..count).map(|_| random.u64(0..1_000)).collect();
    // Days pass rarely.
    if word == "pass" {
        numbers[0] = if random.u32(0..12) == 0 { random.u64(0..13) } else { random.u64(0..9) };
    }
    Step { word, numbers }
}

/// The same failure, or another one, with as few steps as are found.
pub fn shrink(real: &mut Real, mut steps: Vec<Step>) -> Vec<Step> {
    let (mut tries, mut size) = (0, steps.len() / 2);
    while size > 0 && tries < TRIES_MAX {
        let (mut from, mut has_changed) = (0, false);
        while from < steps.len() && tries < TRIES_MAX {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + size).min(steps.len()));
            tries += 1;
            if run(real, &fewer).is_err() {
                (steps, has_changed) = (fewer, true);
            } else {
                from += size;
            }
        }
        if !(size == 1 && has_changed) {
            size /= 2;
        }
    }
    steps
}
