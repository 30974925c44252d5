#!/usr/bin/env bash
# Searches for failures in random sequences, far longer than an ordinary test run, from a bare Debian machine with nothing but
# Rust:
#   deploy/search.sh network [FIRST [COUNT]]   a network that is slow, held, cut, half-open or refused before three replicas;
#                                              50 seeds, about eight minutes
#   deploy/search.sh kills [FIRST [COUNT]]     kill storms over whole fleets; 200 seeds, about ten minutes
#   deploy/search.sh mixed [FIRST [COUNT]]     all at once: network, kills and stops of replicas, faults of Redis, large
#                                              entries; three seeds of ten minutes side by side
#   deploy/search.sh model [MILLIONS]          larger models of the protocol, so many million steps of each (10); about an hour
#   deploy/search.sh scripts [FIRST [COUNT]]   random calls of the scripts beside a model of what they promise; 10,000 seeds,
#                                              about ten minutes. STARTJOBS_REDIS=6.2 or 8.2 takes that server
#   deploy/search.sh sequence FILE             one sequence of calls, as the search before prints it
#   deploy/search.sh mutants                   faults put into the scripts, each of which that search must find
#   deploy/search.sh flaps [SECONDS]           subscriptions that are cut every 200 ms, for a minute or as long as it says
# Prints each seed before it runs. `deploy/search.sh network 17 1` runs seed 17 alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

search=${1:-}
target=it
case "$search" in
    network) tests=network:: ;;
    mixed) tests=mixed:: ;;
    kills) tests=claims::storms::no_innocent ;;
    flaps) tests=liveness::cuts:: ;;
    model) STARTJOBS_MODEL=${2:-10} exec cargo test --locked --profile demo --test model -- --ignored --nocapture ;;
    scripts) target=proof tests=the_scripts_do_what_the_model_says_in_random_sequences ;;
    sequence) target=proof tests=a_sequence_that_was_printed ;;
    mutants) target=proof tests=every_fault_in_the_scripts_is_found ;;
    *)
        say "usage: deploy/search.sh network|kills|mixed|scripts [FIRST [COUNT]], deploy/search.sh model [MILLIONS]," \
            "deploy/search.sh flaps [SECONDS], deploy/search.sh sequence FILE, or deploy/search.sh mutants"
        exit 64
        ;;
esac
export STARTJOBS_SEARCH=$search
if [ "$search" = flaps ]; then
    export STARTJOBS_FLAP_SECONDS=${2:-60}
elif [ "$search" = sequence ]; then
    STARTJOBS_SCRIPT=$(realpath "${2:?which file?}")
    export STARTJOBS_SCRIPT
elif [ -n "${2:-}" ]; then
    export STARTJOBS_SEED=$2
fi
if [ -n "${3:-}" ]; then
    export STARTJOBS_SEEDS=$3
elif [ "$search" = scripts ]; then
    export STARTJOBS_SEEDS=10000
fi
if [ -n "${STARTJOBS_REDIS:-}" ]; then deploy/ci/servers.sh; fi
install_missing redis-server cc
# Without the time limit that the ordinary runner sets.
exec cargo test --locked --test "$target" -- --nocapture "$tests"
