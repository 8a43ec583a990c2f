# Prints calls that are not wanted, each with what to use instead. Comments and strings do not count.

BEGIN {
    # where (C: components, S: shipped code, A: all), what to use instead, names
    ban("C", "buffers of the caller (components never allocate)",
        "malloc calloc realloc free strdup alloca aligned_alloc")
    ban("C", "struct ptl_now, sampled by the driver",
        "time clock_gettime gettimeofday clock nanosleep usleep sleep")
    ban("C", "an adapter or port (components do no input or output)",
        "printf fprintf snprintf vsnprintf puts fopen open read write socket send recv poll select")
    ban("C", "the generator that is passed in (ptl_prng)", "rand random srand getrandom")
    ban("C", "PTL_ASSERT", "assert abort exit")
    ban("C", "the parsers of base (strict, bounded, no locale)",
        "strtol strtoul strtoll strtoull strtod sscanf")
    ban("C", "memcpy with a checked length", "strcpy strncpy strncat")
    ban("S", "snprintf, or memcpy with a checked length", "strcat sprintf vsprintf stpcpy gets")
    ban("S", "strtol and friends, with their errors looked at", "atoi atol atoll atof")
    ban("S", "posix_spawn or fork and exec, without a shell", "system popen")
    ban("A", "a loop over the text", "strtok")
    ban("A", "gmtime_r, localtime_r", "gmtime localtime asctime ctime")
    ban("A", "mkstemp, mkdtemp", "tmpnam mktemp tempnam")
}

function ban(where, instead, names,    list, i, n) {
    n = split(names, list, " ")
    for (i = 1; i <= n; i++) {
        places[list[i]] = where
        better[list[i]] = instead
    }
}

function applies(where) {
    if (where == "A") return 1
    if (where == "S") return FILENAME !~ /^test\//
    return FILENAME ~ /^components\//
}

{
    text = $0
    if (text ~ /(^|[^A-Za-z0-9_-])(TODO|FIXME|XXX|HACK)([^A-Za-z0-9_]|$)/) {
        printf "%s:%d: leftover marker: do it, or say in the docs that it is not done\n", FILENAME, FNR
        failed = 1
    }
    gsub(/\\\\/, "", text)
    gsub(/\\"/, "", text)
    gsub(/"[^"]*"/, "\"\"", text)
    sub(/\/\/.*/, "", text)
    # every name in front of a parenthesis, unless it is a member
    while (match(text, /[A-Za-z_][A-Za-z0-9_]*[ ]*\(/)) {
        before = RSTART > 1 ? substr(text, RSTART - 1, 1) : " "
        name = substr(text, RSTART, RLENGTH)
        sub(/[ ]*\($/, "", name)
        if (before != "." && before != ">" && before != "*" && (name in places) &&
            applies(places[name])) {
            printf "%s:%d: %s() is not used here; instead: %s\n", FILENAME, FNR, name, better[name]
            failed = 1
        }
        text = substr(text, RSTART + RLENGTH)
    }
}

END { exit failed }
