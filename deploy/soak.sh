#!/usr/bin/env bash
# Ten minutes of load, twice, from a bare Debian machine with nothing but Rust: once in peace and once with a replica
# killed every 15 s. Each with real processes on a private redis-server (append-only file, flushed every second); the
# report tells memory and open files of every replica. Ends with 3 where an answer is missing or doubled, or a limit is
# missed. SOAK (default 10m) and RATE (default 200/s) change the load; JSON and pages are written to the folder given as
# the first argument, if any. Never more than SOAK and five minutes each, besides the build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

soak=${SOAK:-10m}
rate=${RATE:-200/s}
[[ $soak =~ ^[1-9][0-9]*[smh]$ ]] || { say "SOAK is a number with s, m or h, such as 10m"; exit 2; }
case $soak in
    *s) seconds=${soak%s} ;;
    *m) seconds=$((${soak%m} * 60)) ;;
    *) seconds=$((${soak%h} * 3600)) ;;
esac
folder=${1:-}
[ -z "$folder" ] || mkdir -p "$folder"

install_missing redis-server cc

say "building"
cargo build --release --locked --bin startjobs
startjobs="${CARGO_TARGET_DIR:-target}/release/startjobs"
code=0

# One load: its name, then further arguments.
load() {
    local name=$1 ended=0
    shift
    local arguments=(--profile "soak $rate $soak" --replicas 3 --slots 64 --engine-latency 20ms..60ms
        --slo 'errors<=0%' --slo 'rss<64MiB' "$@")
    [ -z "$folder" ] || arguments+=(--html "$folder/soak-$name.html" --csv "$folder/soak-$name.csv")
    say "startjobs bench ${arguments[*]}"
    timeout --signal TERM --kill-after 30s $((seconds + 300)) "$startjobs" bench "${arguments[@]}" || ended=$?
    if [ "$ended" -ne 0 ]; then
        say "ended with $ended"
        code=$ended
    fi
}

load peace --slo 'rss-growth<2MiB'
load kills --kill-replica 'every 15s' --slo 'recovery<6s'
exit "$code"
