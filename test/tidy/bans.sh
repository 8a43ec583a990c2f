#!/bin/sh
# Calls that are not wanted, each with what to use instead. Comments and strings do not count.
# usage: bans.sh SOURCE_DIR
set -eu
cd "$1"
failed=0

code() { # file: its text without strings and comments
    sed -e 's/"\([^"\\]\|\\.\)*"/""/g' -e 's://.*::' -e 's:/\*.*\*/::g' "$1"
}

ban() { # instead, names, files...
    instead=$1
    names=$2
    shift 2
    for file in "$@"; do
        [ -f "$file" ] || continue
        hits=$(code "$file" | grep -nE "(^|[^A-Za-z0-9_.>])($names)[[:space:]]*\(" || true)
        if [ -n "$hits" ]; then
            echo "$hits" | sed "s|^|$file:|"
            echo "  not here; instead: $instead"
            failed=1
        fi
    done
}

core=$(find components -name '*.[ch]')
shipped=$(find components port firmware tools -name '*.[ch]')
all="$shipped $(find test -name node_modules -prune -o -name '*.[ch]' -print)"
# shellcheck disable=SC2086 # lists of files without spaces
{
    ban "buffers of the caller (components never allocate)" \
        "malloc|calloc|realloc|free|strdup|alloca|aligned_alloc" $core
    ban "struct ptl_now, sampled by the driver" \
        "time|clock_gettime|gettimeofday|clock|nanosleep|usleep|sleep" $core
    ban "an adapter or port; components do no input or output" \
        "printf|fprintf|snprintf|vsnprintf|puts|fopen|open|read|write|socket|send|recv|poll|select" \
        $core
    ban "the generator that is passed in (ptl_prng)" "rand|random|srand|getrandom" $core
    ban "PTL_ASSERT" "assert|abort|exit" $core
    ban "the parsers of base (strict, bounded, no locale)" \
        "atoi|atol|atof|strtol|strtoul|strtoll|strtoull|strtod|sscanf" $core
    ban "memcpy with a checked length" "strcpy|strcat|strncpy|strncat" $core
    ban "snprintf, or memcpy with a checked length" "strcat|sprintf|vsprintf|stpcpy|gets" $shipped
    ban "strtol and friends, with their errors looked at" "atoi|atol|atoll|atof" $shipped
    ban "a loop over the text" "strtok" $all
    ban "gmtime_r, localtime_r" "gmtime|localtime|asctime|ctime" $all
    ban "posix_spawn or fork and exec, without a shell" "system|popen" $shipped
    ban "mkstemp, mkdtemp" "tmpnam|mktemp|tempnam" $all
}
markers=$(grep -nE '\<(TODO|FIXME|XXX|HACK)\>' $all || true)
if [ -n "$markers" ]; then
    echo "$markers"
    echo "  leftover markers: do it, or say in the docs that it is not done"
    failed=1
fi
exit $failed
