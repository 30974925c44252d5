//! References of images, and patterns for them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| startjobs::fuzzed::run("images", bytes));
