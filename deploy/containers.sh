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
install_missing redis-server dockerd ip cc

host=$(rustc -vV | sed -n 's/^host: //p')
say "building a static binary for $host"
RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$host" --bin startjobs
startjobs="${CARGO_TARGET_DIR:-target}/$host/release/startjobs"

# Short, because a socket's path has at most 107 bytes.
dir=$(mktemp -d /tmp/sjc.XXXXXX)
bridge=
dockerd=

clean_up() {
    if [ -n "$dockerd" ]; then
        kill -TERM "$dockerd" 2>/dev/null || true
        wait "$dockerd" || true
    fi
    [ -z "$bridge" ] || ip link delete "$bridge" || true
    # What an engine that was killed left mounted.
    awk -v dir="$dir/" 'index($5, dir) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount --lazy || true
    rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The name is the claim: two runs cannot both create it.
for number in $(seq 0 99); do
    ip link add "sjc$number" type bridge 2>/dev/null && bridge=sjc$number && break
done
[ -n "$bridge" ] || { say "no free name for a bridge"; exit 1; }
ip address add "10.112.${bridge#sjc}.1/24" dev "$bridge"
ip link set "$bridge" up
# Its containerd writes its stacks to TMPDIR when a busy dockerd has waited too long for it.
TMPDIR=$dir setpriv --pdeathsig TERM dockerd --host "unix://$dir/sock" --data-root "$dir/data" --exec-root "$dir/exec" \
    --pidfile "$dir/pid" --iptables=false --ip6tables=false --bridge "$bridge" 2>"$dir/log" &
dockerd=$!
for _ in $(seq 200); do
    ! grep -q 'API listen on' "$dir/log" || break
    kill -0 "$dockerd" 2>/dev/null || { tail -n 5 "$dir/log" >&2; exit 1; }
    sleep 0.1
done

say "startjobs bench containers $*"
timeout --signal TERM --kill-after 1m 30m "$startjobs" bench containers --docker-host "unix://$dir/sock" "$@"
