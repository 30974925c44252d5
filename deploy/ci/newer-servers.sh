#!/usr/bin/env bash
# Fetches newer servers for the tests into a folder below target: Valkey 8.1 of Debian trixie, Valkey 9.1 of sid and Redis
# 8.6 of experimental, with the libraries they need. They are unpacked and not installed, through an apt configuration of
# their own that the system's never sees. Made once; any number of tests may call it at the same time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
servers=$PWD/target/newer-servers
libraries='libc6 libsystemd0 libjemalloc2 liblzf1 libssl3t64 libcap2 libatomic1 libzstd1 libgcc-s1 zlib1g libstdc++6'
wanted="valkey-8.1 of trixie, valkey-9.1 of sid, redis-8.6 of experimental"
# shellcheck source=deploy/ci/once.sh
. deploy/ci/once.sh "$servers" fetched "$wanted"

# NAME SUITE PACKAGE..: the packages of a suite, unpacked below NAME/root.
unpacked() {
    local folder=$servers/$1 suite=$2 archive
    shift 2
    mkdir -p "$folder"/{state/lists/partial,cache/archives/partial,packages,root}
    touch "$folder/status"
    for archive in "$suite" $([ "$suite" = experimental ] && echo sid); do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $archive main"
    done >"$folder/sources.list"
    cat >"$folder/apt.conf" <<CONF
Dir::State "$folder/state";
Dir::State::status "$folder/status";
Dir::Cache "$folder/cache";
Dir::Etc::sourcelist "$folder/sources.list";
Dir::Etc::sourceparts "-";
Acquire::Languages "none";
// The archive may be a frozen copy. Its signature is checked all the same.
Acquire::Check-Valid-Until "false";
CONF
    APT_CONFIG=$folder/apt.conf apt-get -qq update
    (cd "$folder/packages" && APT_CONFIG=$folder/apt.conf apt-get -qq download "$@")
    for archive in "$folder"/packages/*.deb; do dpkg-deb -x "$archive" "$folder/root"; done
    rm -rf "$folder/state" "$folder/cache" "$folder/packages"
}

# NAME PROGRAM: NAME/redis-server runs this program by its own loader, with its own libraries.
wrapped() {
    cat >"$servers/$1/redis-server" <<RUN
#!/bin/sh
root=$servers/$1/root
exec "\$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "\$root/usr/lib/x86_64-linux-gnu" "\$root/usr/bin/$2" "\$@"
RUN
    chmod 755 "$servers/$1/redis-server"
    "$servers/$1/redis-server" --version >&2
}

# shellcheck disable=SC2086 # a list of packages
{
    unpacked valkey-8.1 trixie valkey-server valkey-tools liblua5.1-0 libhiredis1.1.0 $libraries
    wrapped valkey-8.1 valkey-server
    unpacked valkey-9.1 sid valkey-server valkey-tools $libraries
    wrapped valkey-9.1 valkey-server
    unpacked redis-8.6 experimental redis-server/experimental redis-tools/experimental $libraries
    wrapped redis-8.6 redis-server
}
fetched
