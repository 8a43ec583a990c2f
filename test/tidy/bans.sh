#!/bin/sh
# Calls that are not wanted, each with what to use instead (bans.awk). usage: bans.sh SOURCE_DIR
set -eu
cd "$1"
# shellcheck disable=SC2046 # file names have no spaces
exec awk -f test/tidy/bans.awk \
    $(find components port firmware tools test -name node_modules -prune -o -name '*.[ch]' -print)
