#!/usr/bin/env bash
# Makes passwords for the users of Redis, and the file of their rights that redis-server takes as `aclfile`:
#
#   deploy/redis/make-secrets.sh deploy/secrets
#
# writes users.acl, startjobs-password, operator-password and lobby-password. What is there already is kept, so a second
# run changes no password; it makes users.acl anew from deploy/redis/users.acl.in. The folder is closed to others; the
# files are not, because programs in containers read them under users of their own.
set -euo pipefail
[ $# -eq 1 ] || { echo 'usage: deploy/redis/make-secrets.sh FOLDER' >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
install -d -m 700 "$1"
cd "$1"

rights=$(sed -e '/^#/d' -e ':more' -e '/\\$/{N;s/ *\\\n */ /;b more' -e '}' "$here/users.acl.in" | sed '/^$/d')
for user in startjobs operator lobby; do
    file=$user-password
    if [ ! -e "$file" ]; then
        # Hexadecimal: no URL, file or shell minds it.
        head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$file"
        chmod 444 "$file"
    fi
    rights=${rights//@${user^^}_PASSWORD@/$(cat "$file")}
done
rm -f users.acl
printf '%s\n' "$rights" >users.acl
chmod 444 users.acl
printf 'secrets are in %s\n' "$PWD" >&2
