//! Queries, forms and foreign text on the page.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| startjobs::fuzzed::run("pages", bytes));
