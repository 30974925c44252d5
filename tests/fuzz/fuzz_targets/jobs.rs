//! Entries of the jobs stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| startjobs::fuzzed::run("jobs", bytes));
