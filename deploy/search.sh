#!/usr/bin/env bash
# Searches for faults with many random runs, from a bare Debian machine with nothing but Rust. Each run prints its seed, and SEED=n
# repeats from there. `deploy/search.sh kills`: 200 kill storms over whole fleets (STORMS changes the number; about ten minutes).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

# Runs tests by name, without the time limit that the ordinary runner sets.
search() {
    install_missing redis-server cc
    cargo test --locked --test it -- --nocapture "$@"
}

case ${1:-} in
    kills) STORMS=${STORMS:-200} search claims::storms::no_innocent ;;
    *) say "usage: deploy/search.sh kills"; exit 2 ;;
esac
