#!/usr/bin/env bash
# Makes an authority of one's own with a server and a client certificate, for trying TLS out with Redis or a Docker Engine:
#
#   deploy/tls/make-certificates.sh FOLDER HOST...
#
# HOST is each name or IP address that the server is reached under; one that is not named is refused by the clients. The
# names of the files are those that Docker looks for: ca.pem, server-cert.pem and server-key.pem for the server, ca.pem,
# cert.pem and key.pem for the clients. The authority's own key stays in FOLDER as ca-key.pem: keep it elsewhere, or remove
# it. The authority and what it signed is kept on a second run; remove a certificate to have it made anew. DAYS (365) is
# how long certificates are valid.
set -euo pipefail
[ $# -ge 2 ] || { echo 'usage: deploy/tls/make-certificates.sh FOLDER HOST...' >&2; exit 2; }
command -v openssl >/dev/null || { echo 'openssl is missing: install the package openssl' >&2; exit 1; }
folder=$1 days=${DAYS:-365}
shift
[ -d "$folder" ] || install -d -m 700 "$folder"
cd "$folder"
umask 077

names=
for host in "$@"; do
    kind=DNS
    case $host in *:*) kind=IP ;; *[!0-9.]*) ;; *.*.*.*) kind=IP ;; esac
    names=$names${names:+,}$kind:$host
done

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

# A certificate of that name and use, signed by the authority: NAME SUBJECT EXTENSIONS
sign() {
    [ ! -e "$1-cert.pem" ] || return 0
    key "$1-key.pem"
    openssl req -new -key "$1-key.pem" -subj "/CN=$2" -out request.pem
    openssl x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -set_serial "0x$(openssl rand -hex 16)" -sha256 \
        -days "$days" -extfile <(printf '%s\n' 'basicConstraints=critical,CA:FALSE' "$3") -out "$1-cert.pem" 2>/dev/null
    rm request.pem
}

if [ ! -e ca.pem ]; then
    key ca-key.pem
    openssl req -x509 -new -key ca-key.pem -sha256 -days 3650 -subj '/CN=an authority for startjobs' -out ca.pem \
        -addext 'keyUsage=critical,keyCertSign,cRLSign'
fi
sign server "$1" "extendedKeyUsage=serverAuth
subjectAltName=$names"
if [ ! -e cert.pem ]; then
    sign client startjobs extendedKeyUsage=clientAuth
    mv client-cert.pem cert.pem
    mv client-key.pem key.pem
fi
printf 'certificates are in %s\n' "$PWD" >&2
