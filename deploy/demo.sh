#!/usr/bin/env bash
# The demonstration, from a bare Debian machine with nothing but Rust: installs redis-server where it is missing, builds
# one static binary and runs `startjobs demo` with the arguments given here. A Docker Engine is used where one answers;
# none is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

install_missing redis-server cc

# Static, so that the binary can also be the one file of a container image.
host=$(rustc -vV | sed -n 's/^host: //p')
say "building a static binary for $host"
RUSTFLAGS='-C target-feature=+crt-static' cargo build --profile demo --locked --target "$host" --bin startjobs

say "startjobs demo $*"
exec "${CARGO_TARGET_DIR:-target}/$host/demo/startjobs" demo "$@"
