#!/bin/sh
# What the core needs from outside: memcpy memmove memset memcmp strlen, the assert hook, and the
# compiler's own helpers. Prints every other undefined symbol; usage: core_symbols.sh NM ARCHIVE...
set -eu
nm=$1
shift
"$nm" -P -g "$@" | awk '
    NF < 2 { next }
    $2 == "U" || $2 == "w" { wanted[$1] = 1; next }
    { have[$1] = 1 }
    END {
        split("memcpy memmove memset memcmp strlen ptl_assert_fail", list, " ")
        for (i in list) have[list[i]] = 1
        failed = 0
        defined = 0
        for (name in have) defined++
        if (defined < 20) { print "the archives define next to nothing: wrong files?"; failed = 1 }
        for (name in wanted) {
            if (name in have) continue
            # arithmetic and switch helpers of the compiler, stack protector
            if (name ~ /^__(aeabi_|gnu_thumb1_case_|stack_chk_)/) continue
            if (name ~ /^__(u?div|u?mod|mul|ashl|ashr|lshr|clz|ctz|popcount|bswap|cmp|ucmp)[sdt]i[234]*$/) continue
            print "the core must not need: " name
            failed = 1
        }
        exit failed
    }'
