#!/usr/bin/env bash
# Other workers on the same job, from a bare Debian machine with nothing but Rust: BullMQ, taskiq-redis, FastStream and a
# plain one-at-a-time worker, our worker, and the floor, in alternating rounds of one `startjobs bench drain` on a private
# redis-server without persistence. Every one of them publishes the same ten fields for each of JOBS (default 40000)
# entries and acknowledges it; ROUNDS (default 3). The peers are installed into a temporary folder, which goes at the
# end; with PEERS=folder they stay there, for the next time. Further arguments go to the bench (`--json`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

# Versions that the figures in docs/benchmarks.md were taken with.
npm_peers=(bullmq@6.7.0 ioredis@6.0.0)
python_peers=(taskiq-redis==1.2.4 taskiq==0.13.0 'faststream[redis]==0.7.8' redis==8.1.0)

install_missing redis-server cc npm python3-venv

if [ -n "${PEERS:-}" ]; then
    mkdir -p "$PEERS"
    peers=$(cd "$PEERS" && pwd)
else
    peers=$(mktemp -d)
    trap 'rm -rf "$peers"' EXIT
fi

say "building"
cargo build --release --locked --bin startjobs
startjobs="${CARGO_TARGET_DIR:-target}/release/startjobs"
cp -r deploy/peers/. "$peers"
CARGO_TARGET_DIR="$peers/target" cargo build --quiet --release --manifest-path "$peers/plain/Cargo.toml"

say "installing ${npm_peers[*]} ${python_peers[*]}"
npm install --silent --no-audit --no-fund --prefix "$peers" "${npm_peers[@]}"
[ -x "$peers/venv/bin/python" ] || python3 -m venv "$peers/venv"
"$peers/venv/bin/pip" install --quiet --disable-pip-version-check --no-input "${python_peers[@]}"
say "node $(node --version), $("$peers/venv/bin/python" --version)"

timeout --signal TERM --kill-after 30s 30m "$startjobs" bench drain --compare floor \
    --jobs "${JOBS:-40000}" --rounds "${ROUNDS:-3}" --limit 4m \
    --peer "plain=$peers/target/release/plain-peer" \
    --peer "bullmq=node $peers/bullmq.js" \
    --peer "taskiq-redis=$peers/venv/bin/python $peers/taskiq_peer.py" \
    --peer "faststream=$peers/venv/bin/python $peers/faststream_peer.py" \
    "$@"
