#!/usr/bin/env bash
# Makes the pictures of the page in docs/screenshots: starts three replicas with the simulated engine on a private redis-server,
# gives them jobs of every kind, kills one of them, and drives Chromium over the page. Everything else is removed at the end.
#
#   deploy/screenshots.sh                   writes docs/screenshots
#   deploy/screenshots.sh --out DIR         writes them there
#   deploy/screenshots.sh --binary FILE     takes this binary; otherwise target/startjobs or target/debug/startjobs
#
# The fleet is some seconds old, so the hour before it in the charts is made up: copies of its first minute, with other counts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=deploy/ci/prepare.sh
. deploy/ci/prepare.sh

out=docs/screenshots binary=''
read_out_and_binary "$@"
target=${CARGO_TARGET_DIR:-target}
for built in "$target/startjobs" "$target/debug/startjobs"; do
    [ -n "$binary" ] || { [ -x "$built" ] && binary=$built; }
done
[ -x "$binary" ] || { say "there is no binary: build one with cargo build --locked, or name it with --binary"; exit 1; }
install_missing redis-server chromium node npm pngquant
deploy/ci/browser.sh

work=$(mktemp -d)
started=()
# Nothing of it is needed any more, and replicas that drain would wait for the jobs in their hands.
clean_up() {
    local process
    for process in "${started[@]}"; do
        kill -9 "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap clean_up EXIT

# Waits until a command succeeds, a minute at most.
eventually() {
    local what=$1 until=$((SECONDS + 60))
    shift
    while [ "$SECONDS" -lt "$until" ]; do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    say "never came true: $what"
    tail -n 3 "$work"/*.log >&2
    exit 1
}

redis() { redis-cli -e -s "$work/redis.sock" "$@"; }
startjobs() { "$binary" "$@"; }

say 'a private redis-server and three replicas'
redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" --save '' --appendonly yes >"$work/redis.log" &
started+=("$!")
eventually 'redis-server answers' redis PING
# Nothing of the caller's settings gets into the pictures.
for name in $(compgen -v STARTJOBS_ || true); do unset "$name"; done
export STARTJOBS_REDIS_URL=redis+unix://$work/redis.sock STARTJOBS_ENGINE=simulated
for number in 1 2 3; do
    # Not by the function: the process is to be killed, and no shell around it.
    "$binary" worker --http-addr 127.0.0.1:0 --retry-min 4m --retry-max 10m >"$work/replica-$number.log" 2>&1 &
    started+=("$!")
    eventually "replica $number serves its page" grep -q 'probes and metrics are served' "$work/replica-$number.log"
done
address=$(sed -n 's/.*"http_addr":"\([^"]*\)".*/\1/p' "$work/replica-1.log" | head -n 1)

say 'jobs of every kind'
job() { printf '{"game_id":"%s","image_ref":"%s"}\n' "$1" "$2"; }
{
    for number in $(seq 60); do job "arena-$number" galaxy/engine:1; done
    for number in 7 12 31; do job "duel-$number" sim/exit; done
    job quest-4 sim/missing
    for number in 2 9; do job "siege-$number" sim/retry; done
} | startjobs send --file - >"$work/sent"
for _ in 1 2 3; do redis XADD runtime:start_jobs '*' game_id lobby-test image_ref ' ' >/dev/null; done
# One by one, so that each replica gets some of them.
for number in $(seq 9); do startjobs send --game "raid-$number" --image sim/slow:5m >/dev/null; done
# Malformed ones are dead letters and have no outcome.
answered() { [ "$(redis XLEN runtime:job_results)" -ge 64 ] && startjobs jobs --state backing_off --json | grep -q siege-9; }
eventually 'the jobs are answered' answered
failed=$(startjobs jobs --game quest-4 --json | sed -n 's/.*"entry_id": *"\([0-9]*-[0-9]*\)".*/\1/p' | head -n 1)

say 'one replica is killed'
kill -9 "${started[3]}"
is_dead() { startjobs replicas | grep -q ' dead '; }
eventually 'its death is noticed' is_dead

say 'an hour before it'
told() { redis HLEN runtime:start_jobs:history:m | grep -qv '^[01]$'; }
eventually 'the fleet has told what it did' told
redis EVAL "
local key, kept, now, first = KEYS[1], 1440, nil, nil
for _, value in ipairs(redis.call('HVALS', key)) do
  local minute = tonumber(string.match(value, '^1 (%d+) .*started='))
  if minute then now = minute; first = value end
end
for ago = 1, 58 do
  local wave = 1 + math.sin(ago / 6) * 0.5 + (ago * 7 % 5) / 8
  local minute = now - ago
  local words = string.gsub(string.gsub(first, '^1 %d+', ''), '=(%d+)', function(count)
    return string.format('=%d', math.floor(tonumber(count) * wave))
  end)
  redis.call('HSET', key, string.format('%d', minute % kept), string.format('1 %d', minute) .. words)
end" 1 runtime:start_jobs:history:m >/dev/null

say "pictures of http://$address"
mkdir -p "$work/pictures" "$out"
printf '{"base":"http://%s","pictures":"%s","shots":[%s,%s,%s]}' "$address" "$work/pictures" \
    '{"name":"overview","path":"/","colorScheme":"light","width":1180,"height":860}' \
    "{\"name\":\"job-dark\",\"path\":\"/jobs/$failed\",\"colorScheme\":\"dark\",\"width\":1000,\"height\":700}" \
    '{"name":"overview-narrow","path":"/","colorScheme":"light","width":360,"height":700}' |
    node tests/it/browser/drive.mjs target/browser "$(command -v chromium)" >"$work/answer.json"
grep -q '"problems":\[\]' "$work/answer.json" || { cat "$work/answer.json" >&2; exit 1; }
for picture in "$work"/pictures/*.png; do
    pngquant --strip --speed 1 --force --output "$out/$(basename "$picture")" 64 "$picture"
    printf '%s %s bytes\n' "$out/$(basename "$picture")" "$(stat --format %s "$out/$(basename "$picture")")"
done
