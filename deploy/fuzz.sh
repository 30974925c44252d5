#!/usr/bin/env bash
# Fuzzes what takes foreign bytes apart, from a bare Debian machine with nothing but Rust:
#   deploy/fuzz.sh                     every target for a minute; about ten minutes besides the build
#   deploy/fuzz.sh SECONDS             every target for so long
#   deploy/fuzz.sh SECONDS TARGET      one of them: docker, ids, images, jobs, pages, policies, records, settings, traces
# Inputs that are found go to target/fuzz/corpus and are used again by the next run; those in tests/fuzz/corpus are the ones to
# begin with, which ordinary tests try as well. An input that breaks a rule is printed, kept in target/fuzz/artifacts, and ends
# the run with code 1: put it into tests/fuzz/corpus with the mend.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

seconds=${1:-60}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { say "usage: deploy/fuzz.sh [SECONDS [TARGET]]"; exit 64; }
if [ -n "${2:-}" ]; then
    [ -e "tests/fuzz/fuzz_targets/$2.rs" ] || { say "there is no target $2"; exit 64; }
    targets=("$2")
else
    targets=()
    for program in tests/fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$program" .rs)"); done
fi
install_missing cc c++
cargo fuzz --version >/dev/null 2>&1 || patiently 'cargo install cargo-fuzz' cargo install --quiet --locked cargo-fuzz@0.13.2

# Without a sanitizer the stable compiler can build it, and safe Rust needs none.
fuzz() {
    cargo fuzz "$1" --fuzz-dir tests/fuzz --target-dir target/fuzz/build --sanitizer none "${@:2}"
}

patiently 'building the targets' fuzz build
failed=()
for target in "${targets[@]}"; do
    corpus=target/fuzz/corpus/$target
    mkdir -p "$corpus" "target/fuzz/artifacts/$target"
    say "$target for $seconds s"
    fuzz run "$target" "$corpus" "tests/fuzz/corpus/$target" -- -max_total_time="$seconds" -max_len=4096 -timeout=5 \
        -rss_limit_mb=1024 -artifact_prefix="target/fuzz/artifacts/$target/" -print_final_stats=1 2>&1 |
        grep -E '^(stat::number_of_executed_units|thread|assertion|  left|  right|SUMMARY|==[0-9]+== ERROR|MS:|artifact|Test unit)' ||
        true
    [ "${PIPESTATUS[0]}" -eq 0 ] || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
    say "BROKEN: ${failed[*]}; the inputs are in target/fuzz/artifacts"
    exit 1
fi
say "nothing found in $seconds s a target"
