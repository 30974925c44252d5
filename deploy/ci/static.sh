#!/usr/bin/env bash
# Builds the static release binary and prints its path; talk goes to stderr.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

host=$(rustc -vV | sed -n 's/^host: //p')
say "building a static binary for $host"
# No folder of this machine gets into it, so that another one builds the same. A separator that no path has.
flags=$(printf '%s\037' -C target-feature=+crt-static "--remap-path-prefix=$PWD=startjobs" \
    "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo")
CARGO_ENCODED_RUSTFLAGS=${flags%?} cargo build --release --locked --target "$host" --bin startjobs >&2
printf '%s\n' "${CARGO_TARGET_DIR:-target}/$host/release/startjobs"
