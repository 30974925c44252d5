//! What takes foreign bytes apart, each behind one function that takes any bytes: for the fuzzer in `tests/fuzz`, and for a
//! test that tries its inputs and mutations of them. A function panics where a rule is broken that must hold for every input.

use bytes::Bytes;

use crate::audit::id::Id;
use crate::audit::shape::{Shape, shape_of};
use crate::contract::Fields;
use crate::contract::image_ref::ImageRef;
use crate::contract::reference::Reference;
use crate::contract::start_job::StartJob;
use crate::contract::trace::parent_among;
use crate::page::fuzzed::pages;
use crate::policy::glob::Glob;
use crate::policy::read::parse;
use crate::settings::fuzzed::settings;
use crate::start::fuzzed::places;
use crate::stream::entry_id::EntryId;
use crate::stream::fuzzed::records;
use crate::telemetry::fuzzed::contexts;

/// What a target does with its bytes.
pub type Target = fn(&[u8]);

/// Every target, by the name of its file in `tests/fuzz/fuzz_targets` and of its folder in `tests/fuzz/corpus`.
pub const TARGETS: [(&str, Target); 9] = [
    ("docker", crate::engine::docker::fuzzed::replies),
    ("ids", ids),
    ("images", images),
    ("jobs", jobs),
    ("pages", |bytes| as_text(bytes, pages)),
    ("policies", |bytes| as_text(bytes, policies)),
    ("records", |bytes| {
        records(bytes);
        as_text(bytes, places);
    }),
    ("settings", |bytes| as_text(bytes, settings)),
    ("traces", |bytes| {
        let fields = vec![(Bytes::from_static(b"traceparent"), Bytes::copy_from_slice(bytes))];
        parent_among(&fields).into_iter().for_each(contexts);
    }),
];

/// Does with these bytes what the target of this name does.
pub fn run(target: &str, bytes: &[u8]) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of the table");
    run(bytes);
}

/// The largest value of a field, small enough for a fuzzer to exceed it.
const FIELD_BYTES_MAX: usize = 64;

fn as_text(bytes: &[u8], target: impl FnOnce(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        target(text);
    }
}

/// Names and values, each ended by a byte that no UTF-8 has.
fn fields_of(bytes: &[u8]) -> Fields {
    let parts: Vec<Bytes> = bytes.split(|&byte| byte == 0xff).map(Bytes::copy_from_slice).collect();
    parts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// An entry: the worker and the auditor read the contract alike.
fn jobs(bytes: &[u8]) {
    let fields = fields_of(bytes);
    let flat: Vec<&Bytes> = fields.iter().flat_map(|(name, value)| [name, value]).collect();
    let decoded = StartJob::decode(&fields, FIELD_BYTES_MAX);
    let shape = decoded.as_ref().map_or(Shape::Malformed, |job| Shape::Job(job.game_id.clone()));
    assert_eq!(shape_of(&flat, FIELD_BYTES_MAX), shape);
    if let Ok(job) = decoded {
        assert_eq!(parent_among(&fields), job.trace.parent.as_deref());
    }
}

/// The id of an entry: the worker and the auditor read it alike, and what is written is read again.
fn ids(bytes: &[u8]) {
    as_text(bytes, |text| {
        let read = text.parse::<EntryId>().ok();
        assert_eq!(read.map(|id| (id.ms, id.seq)), Id::parse(text).map(|id| (id.0, id.1)));
        if let Some(id) = read {
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(id.ledger_hour().to_string(), Id(id.ms, id.seq).hour());
        }
    });
}

/// An image and a pattern, a line each: a normalised reference stays what it is, and `**` matches all.
fn images(bytes: &[u8]) {
    as_text(bytes, |text| {
        let (image, pattern) = text.split_once('\n').unwrap_or((text, ""));
        let pattern = Glob::parse(pattern);
        if let Ok(image) = ImageRef::parse(image) {
            assert_eq!(ImageRef::parse(image.as_str()).as_ref(), Ok(&image));
            assert!(Reference::parse(image.as_str()).is_some(), "{image:?}");
            assert!(Glob::parse("**").is_ok_and(|all| all.matches(&image)), "{image:?}");
            if let Ok(pattern) = pattern {
                pattern.matches(&image);
            }
        }
    });
}

/// A policy: the same text means the same, and its terms can be asked for any image.
fn policies(text: &str) {
    let secret = |_: &str| Ok("secret-value".to_owned());
    let read = parse(text, &secret);
    assert_eq!(read.as_ref().ok(), parse(text, &secret).as_ref().ok());
    match read {
        Ok(read) => {
            for image in ["docker.io/library/redis:7", "registry.example:5000/team/engine@sha256:00"] {
                if let Ok(image) = ImageRef::parse(image) {
                    drop(read.policy.terms(&image));
                }
            }
        }
        Err(report) => assert!(!report.to_string().contains("secret-value"), "{report}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use fastrand::Rng;

    use super::*;

    /// Mutations of the inputs of one target.
    const MUTATIONS: usize = 2_000;
    /// No input is larger.
    const INPUT_MAX: usize = 4_096;

    fn inputs_of(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read(path).expect("it can be read")).collect()
    }

    /// Some bytes changed, left out, repeated, or taken from another input.
    fn mutated(inputs: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
        let mut bytes = inputs[random.usize(..inputs.len())].clone();
        for _ in 0..=random.usize(..4) {
            let at = random.usize(..=bytes.len());
            match random.u8(..5) {
                0 if at < bytes.len() => bytes[at] = random.u8(..),
                1 => bytes.insert(at, random.choice(*b"\0\n\"'-=%&<[{.:@/+ 09\xff").unwrap_or_default()),
                2 => bytes.truncate(at),
                3 => bytes.extend_from_within(at..),
                _ => {
                    let other = &inputs[random.usize(..inputs.len())];
                    bytes.extend_from_slice(&other[random.usize(..=other.len())..]);
                }
            }
            bytes.truncate(INPUT_MAX);
        }
        bytes
    }

    #[test]
    fn every_target_takes_its_inputs_and_their_mutations() {
        let seed = 17;
        for (name, target) in TARGETS {
            let (inputs, mut random) = (inputs_of(name), Rng::with_seed(seed));
            assert!(inputs.len() >= 3, "{name} has {} inputs", inputs.len());
            for input in &inputs {
                target(input);
            }
            for _ in 0..MUTATIONS {
                let input = mutated(&inputs, &mut random);
                let text = String::from_utf8_lossy(&input).into_owned();
                let outcome = std::panic::catch_unwind(|| target(&input));
                assert!(outcome.is_ok(), "{name} breaks on {text:?}");
            }
        }
    }

    #[test]
    fn every_target_has_a_program_and_every_program_a_target() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/fuzz_targets");
        let files = fs::read_dir(folder).expect("the folder of the programs");
        let programs: BTreeSet<String> = files
            .map(|file| file.expect("a file").path().file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        assert_eq!(programs, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}
