#!/usr/bin/env bash
# Searches for failures in random sequences, far longer than an ordinary test run:
#   deploy/search.sh network [FIRST [COUNT]]   a network that is slow, held, cut, half-open or refused before three
#                                              replicas; 50 seeds, about eight minutes
# Prints each seed before it runs. `deploy/search.sh network 17 1` runs seed 17 alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

search=${1:-}
case "$search" in
    network) tests=network:: ;;
    *)
        echo "usage: deploy/search.sh network [FIRST [COUNT]]" >&2
        exit 64
        ;;
esac
export STARTJOBS_SEARCH=$search
if [ -n "${2:-}" ]; then export STARTJOBS_SEED=$2; fi
if [ -n "${3:-}" ]; then export STARTJOBS_SEEDS=$3; fi
exec cargo test --locked --test it -- --nocapture "$tests"
