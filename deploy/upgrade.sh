#!/usr/bin/env bash
# Upgrades a fleet from another version of this repository and rolls it back, on real servers, from a bare Debian machine with
# nothing but Rust:
#   deploy/upgrade.sh REVISION    builds that revision in target/upgrade, then runs tests/it/upgrade with both binaries
# Replicas of both versions share one Redis and one engine (the simulated one, and a private dockerd), replica by replica, with
# games that run and jobs in hand. No game may be restarted and no job answered twice. About two minutes besides the builds.
# OLD=PROGRAM takes a binary that is there already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

if [ -z "${OLD:-}" ] && [ $# -ne 1 ]; then
    say "usage: deploy/upgrade.sh REVISION, or OLD=PROGRAM deploy/upgrade.sh"
    exit 64
fi
install_missing cc redis-server dockerd ip

if [ -n "${OLD:-}" ]; then
    old=$(realpath "$OLD")
else
    revision=$(git rev-parse --verify --quiet "$1^{commit}") || { say "there is no revision $1"; exit 64; }
    tree=$PWD/target/upgrade/tree
    mkdir -p target/upgrade
    git worktree prune
    # The builds of earlier runs are kept beside it.
    trap 'git worktree remove --force "$tree" 2>/dev/null || true' EXIT
    git worktree remove --force "$tree" 2>/dev/null || true
    say "building $1 ($revision)"
    git worktree add --quiet --detach "$tree" "$revision"
    (cd "$tree" && CARGO_TARGET_DIR=$PWD/../build cargo build --locked --bin startjobs)
    old=$PWD/target/upgrade/build/debug/startjobs
fi
say "the version before: $("$old" --version | head -n 1)"

# The tests are left out of ordinary runs, because they need the other binary. One after the other: each is a whole fleet.
export STARTJOBS_OLD=$old
cargo test --locked --test it -- --ignored --nocapture --test-threads 1 upgrade::rolling
