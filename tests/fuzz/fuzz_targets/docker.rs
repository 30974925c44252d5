//! What engines and registries say.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| startjobs::fuzzed::run("docker", bytes));
