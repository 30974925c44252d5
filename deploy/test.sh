#!/usr/bin/env bash
# Every check there is: format, lints, documentation, tests. Installs what the tests need and this machine lacks; starts
# no service. Further arguments go to the test runner: `deploy/test.sh fleet` runs the tests with `fleet` in their names.
#
# Tests that need Docker bring up a private dockerd. Where that is impossible they are left out, and named at the
# end; with CI or STARTJOBS_REQUIRE_DOCKER set they fail instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh
export PATH="$PATH:/usr/sbin:/sbin"

began_all=$SECONDS
log=$(mktemp)

# Runs a command under a name and says how long it took.
step() {
    local name=$1 began=$SECONDS code=0
    shift
    say "$name"
    "$@" || code=$?
    if [ "$code" -ne 0 ]; then
        say "$name: FAILED after $((SECONDS - began)) s"
        exit "$code"
    fi
    say "$name: done in $((SECONDS - began)) s"
}

prepare() {
    if install_missing cc redis-server dockerd docker-compose haproxy nft iptables ip openssl promtool \
        shellcheck systemd-analyze systemd-nspawn python3-venv; then
        # Their tests say what is missing where this fails.
        deploy/ci/tools.sh || true
        deploy/ci/servers.sh || true
        deploy/ci/newer-servers.sh || true
        # A browser for the page.
        install_missing chromium node npm pngquant || true
        deploy/ci/browser.sh || true
        # Servers of which tests make ordinary images.
        install_missing nginx lighttpd haproxy memcached dropbear busybox freeciv-server node || true
        return 0
    fi
    # Without Docker the rest can still be tested.
    has cc && has redis-server
}

document() {
    RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --document-private-items
}

# Everything goes to the terminal and into $log.
run_tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        # Most tests wait more than they work: half as many again as there are processors.
        cargo nextest run --locked --config-file deploy/ci/nextest.toml --test-threads $(($(nproc) * 3 / 2)) "$@"
    else
        say "cargo-nextest is missing: using cargo test"
        cargo test --locked -- "$@" 2> >(tee "$log" >&2)
    fi
}

# Names every test that was left out. Nextest keeps what passing tests said in its report alone.
say_left_out() {
    # Below target even where CARGO_TARGET_DIR is elsewhere.
    local report=target/nextest/default/junit.xml
    if [ "$report" -nt "$log" ]; then
        # The reason is in the output of its test.
        awk -F'"' '/<testcase / { name = $2 } /TEST LEFT OUT/ { sub(/.*TEST LEFT OUT: /, ""); print "  " name ": " $0 }' \
            "$report" | sort -u >"$log.names"
    else
        grep 'TEST LEFT OUT' "$log" | sort -u >"$log.names" || true
    fi
    if [ -s "$log.names" ]; then
        say "NOT EVERYTHING WAS TESTED. Left out:"
        cat "$log.names" >&2
    fi
    rm -f "$log.names"
}

trap 'say_left_out; rm -f "$log"' EXIT
step 'what the tests need' prepare
step 'cargo fmt' cargo fmt --check
step 'cargo clippy' cargo clippy --all-targets --locked -- -D warnings
step 'cargo doc' document
touch "$log"
step 'tests' run_tests "$@"
say "all done in $((SECONDS - began_all)) s"
