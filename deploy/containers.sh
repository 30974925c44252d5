#!/usr/bin/env bash
# The figures of real containers, from a bare Debian machine with nothing but Rust: builds one static binary, brings up a
# dockerd of its own (root is needed; socket, data and bridge are private and go with it), and runs
# `startjobs bench containers` on it with the arguments given here. Never more than half an hour besides the build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh
export PATH="$PATH:/usr/sbin:/sbin"

[ "$(id -u)" -eq 0 ] || { say "a dockerd of one's own needs root"; exit 1; }
missing=()
has redis-server || missing+=(redis-server)
has dockerd || missing+=(docker.io)
has ip || missing+=(iproute2)
has cc || missing+=(gcc libc6-dev)
if [ "${#missing[@]}" -gt 0 ]; then
    install_packages "${missing[@]}"
fi

host=$(rustc -vV | sed -n 's/^host: //p')
say "building a static binary for $host"
RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$host" --bin startjobs
startjobs="${CARGO_TARGET_DIR:-target}/$host/release/startjobs"

# Short, because a socket's path has at most 107 bytes.
dir=$(mktemp -d /tmp/sjc.XXXXXX)
bridge=sjc$((RANDOM % 1000))
dockerd=

clean_up() {
    if [ -n "$dockerd" ]; then
        kill -TERM "$dockerd" 2>/dev/null || true
        wait "$dockerd" || true
    fi
    ip link delete "$bridge" 2>/dev/null || true
    # What an engine that was killed left mounted.
    awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount --lazy || true
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

ip link add "$bridge" type bridge
ip address add "10.112.$((RANDOM % 256)).1/24" dev "$bridge"
ip link set "$bridge" up
setpriv --pdeathsig TERM dockerd --host "unix://$dir/sock" --data-root "$dir/data" --exec-root "$dir/exec" \
    --pidfile "$dir/pid" --iptables=false --ip6tables=false --bridge "$bridge" 2>"$dir/log" &
dockerd=$!
for _ in $(seq 200); do
    [ -S "$dir/sock" ] && DOCKER_HOST="unix://$dir/sock" docker version >/dev/null 2>&1 && break
    kill -0 "$dockerd" 2>/dev/null || { tail -n 5 "$dir/log" >&2; exit 1; }
    sleep 0.1
done

say "startjobs bench containers $*"
timeout --signal TERM --kill-after 1m 30m "$startjobs" bench containers --docker-host "unix://$dir/sock" "$@"
