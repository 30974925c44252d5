//! Records in Redis that others wrote.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| startjobs::fuzzed::run("records", bytes));
