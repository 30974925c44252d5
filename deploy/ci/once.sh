# shellcheck shell=bash
# For scripts that fetch something into a folder below target, once, even if several callers run at the same time.
# Sourced with the folder, the name of its stamp and what is wanted; ends the script where exactly that is there already,
# and holds the others back otherwise. Afterwards the script fills the folder and calls `fetched`.
once_folder=$1 once_stamp=$1/$2 once_wanted=$3

mkdir -p "$(dirname "$once_folder")"
exec 9>"$once_folder.lock"
flock 9
[ "$(cat "$once_stamp" 2>/dev/null)" = "$once_wanted" ] && exit 0
rm -rf "$once_folder"

fetched() { printf '%s\n' "$once_wanted" >"$once_stamp"; }
