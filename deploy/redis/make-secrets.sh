#!/usr/bin/env bash
# Makes passwords for the users of Redis, and the file of their rights that redis-server takes as `aclfile`:
#
#   deploy/redis/make-secrets.sh [--redis VERSION] [--game-events STREAM] [--page] deploy/secrets
#
# writes users.acl, startjobs-password, operator-password and lobby-password. What is there already is kept, so a second
# run changes no password; it makes users.acl anew from deploy/redis/users.acl.in, with the SHA-256 of each password. A
# folder that is made is closed to others; one that is there keeps its mode. The files are not closed, because programs
# in containers read them under users of their own.
#
# With `--redis 6.2` the rights have the form that servers before 7.0 take. It cannot forbid Lobby to write outcomes. With
# `--game-events STREAM` the replicas may also write to the stream of the setting game-events, and Lobby may read it.
# With `--page` the replicas may also remove entries, as people do on a page with admin-token-file.
set -euo pipefail
usage() {
    echo 'usage: deploy/redis/make-secrets.sh [--redis VERSION] [--game-events STREAM] [--page] FOLDER' >&2
    exit 2
}
version=7.0 events='' has_page=''
while :; do
    case ${1-} in
    --redis) version=${2-} ;;
    --game-events) events=${2:-/} ;;
    --page)
        has_page=yes
        shift
        continue
        ;;
    *) break ;;
    esac
    shift 2 || usage
done
[ $# -eq 1 ] || usage
case $version in
6.2 | 6.2.*) has_selectors='' ;;
[789] | [789].* | [1-9][0-9]*) has_selectors=yes ;;
*) usage ;;
esac
# A pattern would give more than the stream.
case $events in
*[!A-Za-z0-9:._-]*) usage ;;
esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ -d "$1" ] || install -d -m 700 "$1"
cd "$1"

rights=$(sed -e '/^#/d' -e ':more' -e '/\\$/{N;s/ *\\\n */ /;b more' -e '}' "$here/users.acl.in" | sed '/^$/d')
# The rights of a setting that not all use: the lines that begin with its name.
with() {
    while read -r user more; do
        # A line in the middle of a text: bash cannot replace that by itself.
        # shellcheck disable=SC2001
        rights=$(sed "s|^user $user .*|& ${more//runtime:game_events/"$events"}|" <<<"$rights")
    done < <(sed -n "s/^#$1 //p" "$here/users.acl.in")
}
if [ -n "$events" ]; then with game-events; fi
if [ -n "$has_page" ]; then with page; fi
if [ -z "$has_selectors" ]; then
    rights=$(sed -e 's/[()]//g' -e 's/%R~/~/g' <<<"$rights")
    echo 'note: before Redis 7.0 rights cannot keep the user lobby from writing outcomes' >&2
fi
for user in startjobs operator lobby; do
    file=$user-password
    if [ ! -e "$file" ]; then
        # Hexadecimal: no URL, file or shell minds it.
        head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$file"
        chmod 444 "$file"
    fi
    [ -s "$file" ] || { echo "$PWD/$file is empty: remove it, or write a password into it" >&2; exit 1; }
    # A line end is not part of the password, as for redis-password-file.
    hash=$(tr -d '\r\n' <"$file" | sha256sum)
    rights=${rights//@${user^^}_SHA256@/${hash%% *}}
done
rm -f users.acl
printf '%s\n' "$rights" >users.acl
chmod 444 users.acl
case $(stat -c %A .) in
*[xt]) echo "note: other users can enter $PWD and read the passwords; chmod 700 closes it" >&2 ;;
esac
printf 'secrets are in %s\n' "$PWD" >&2
