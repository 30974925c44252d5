#!/usr/bin/env bash
# The figures of recovery, from a bare Debian machine with nothing but Rust: builds the release binary and runs four
# experiments, each with real processes on a private redis-server (append-only file, flushed every second):
#   100 kills of one of 3 replicas with all slots busy, at a claim idle of 1 s; 10 kills at the defaults;
#   3 jobs that kill their process among 500; a rolling restart of 4 replicas under 200 jobs a second.
# About six minutes besides the build, and never more than twenty. Ends with 3 where a promise is broken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

install_missing redis-server cc

say "building"
cargo build --release --locked --bin startjobs
startjobs="${CARGO_TARGET_DIR:-target}/release/startjobs"
code=0

# One experiment: its time limit, then the arguments.
measure() {
    local limit=$1 ended=0
    shift
    say "startjobs bench recovery $*"
    timeout --signal TERM --kill-after 10s "$limit" "$startjobs" bench recovery "$@" || ended=$?
    if [ "$ended" -ne 0 ]; then
        say "ended with $ended"
        code=$ended
    fi
}

measure 10m --kills 100 --replicas 3 --slots 16 --set claim-idle=1s
measure 5m --kills 10 --replicas 3 --slots 16
measure 2m --poison 3 --replicas 3 --slots 64 --set claim-idle=1s
measure 2m --rolling 24s --replicas 4 --slots 16
exit "$code"
