#!/usr/bin/env bash
# The demonstration, from a bare Debian machine with nothing but Rust: installs redis-server where it is missing, builds
# one static binary, target/startjobs, and runs `startjobs demo` with the arguments given here. Its summary tells how soon
# after the kill of one replica the others had answered that replica's jobs: within about a second. A Docker Engine is
# used where one answers; none is installed.
#
# The build takes about two and a half minutes on two idle cores. Its profile compiles quickly and runs slower than
# `cargo build --release`, which is the one for production and for figures.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

patiently 'installing packages' install_missing redis-server cc

# Static, so that the binary can also be the one file of a container image.
host=$(rustc -vV | sed -n 's/^host: //p')
say "building a static binary for $host"
RUSTFLAGS='-C target-feature=+crt-static' patiently 'building' \
    cargo build --profile demo --locked --target "$host" --bin startjobs

# Where the next commands find it, whatever the machine is called.
target=${CARGO_TARGET_DIR:-target}
ln -f "$target/$host/demo/startjobs" "$target/startjobs"

say "$target/startjobs demo $*"
exec "$target/startjobs" demo "$@"
