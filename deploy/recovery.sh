#!/usr/bin/env bash
# The figures of recovery, from a bare Debian machine with nothing but Rust: builds the release binary and runs these
# experiments, each with real processes on a private redis-server (append-only file, flushed every second):
#   100 kills of one of 3 replicas with all slots busy, everything at its default; the same beside a drain;
#   10 aborts; 10 stops (SIGSTOP), which only claim-idle ends; 20 kills with disconnect-grace=off and a claim-idle of 1 s;
#   3 jobs that kill their process among 500; a rolling restart of 4 replicas under 200 jobs a second;
#   what an idle fleet of 3 and of 40 costs Redis with and without disconnect-grace.
# About twelve minutes besides the build, and never more than 45. Ends with 3 where a promise is broken.
# OLD=PROGRAM compares the idle fleet with another build of startjobs.
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
    say "startjobs bench $*"
    timeout --signal TERM --kill-after 10s "$limit" "$startjobs" bench "$@" || ended=$?
    if [ "$ended" -ne 0 ]; then
        say "ended with $ended"
        code=$ended
    fi
}

measure 8m recovery --kills 100
measure 10m recovery --kills 100 --drain-beside
measure 2m recovery --kills 10 --by abort
measure 3m recovery --kills 10 --by stop
measure 3m recovery --kills 20 --slots 16 --set disconnect-grace=off --set claim-idle=1s
measure 2m recovery --poison 3 --set claim-idle=1s
measure 2m recovery --rolling 24s --replicas 4 --slots 16
measure 10m idle --replicas 3,40 ${OLD:+--old "$OLD"}
exit "$code"
