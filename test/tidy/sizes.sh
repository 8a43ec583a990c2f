#!/bin/sh
# Sizes from the builds of tools/dev size (presets host, armhf, m4, m0plus, musl): code and constant
# data of each component at -Os, the RAM that the core asks for, the static agent. With --json one
# line of JSON comes last.
set -eu
cd "$(dirname "$0")/../.."
targets="host armhf m4 m0plus"
parts="base record queue journal batch breaker realtime adapter agent"

tool() { # target, name
    case $1 in
    host) echo "$2" ;;
    armhf) echo "arm-linux-gnueabihf-$2" ;;
    *) echo "arm-none-eabi-$2" ;;
    esac
}

archive() { # target, part
    echo "build/$1/components/$2/libpetrel_$2.a"
}

text() { # target, archives: code and constants, which are in flash (those with addresses too)
    t=$1
    shift
    "$(tool "$t" size)" -A "$@" | awk '
        $1 ~ /^\.(text|rodata|data\.rel\.ro)/ { sum += $2 }
        END { print sum + 0 }'
}

data() { # target, archives: what the core itself has in RAM
    t=$1
    shift
    "$(tool "$t" size)" -A "$@" | awk '
        $1 ~ /^\.(data|bss)/ && $1 !~ /^\.data\.rel\.ro/ { sum += $2 }
        END { print sum + 0 }'
}

state() { # target, object of port/size/core_state.c
    hex=$("$(tool "$1" nm)" -P "build/$1/port/size/libpetrel_core_state.a" |
        awk -v name="ptl_size_$2" '$1 == name { print $4 }')
    printf '%d\n' "0x$hex"
}

all() { # target: every archive
    for part in $parts; do
        archive "$1" "$part"
    done
}

{
    echo "Core, bytes of code and constant data (gcc -Os; host is $(uname -m))"
    printf '%-10s' component
    for target in $targets; do printf '%10s' "$target"; done
    echo
    for part in $parts; do
        printf '%-10s' "$part"
        for target in $targets; do printf '%10s' "$(text "$target" "$(archive "$target" "$part")")"; done
        echo
    done
    printf '%-10s' sum
    # shellcheck disable=SC2046 # a list
    for target in $targets; do printf '%10s' "$(text "$target" $(all "$target"))"; done
    echo
    echo
    echo "RAM the core asks its caller for (without queue, message and journal buffers)"
    for what in agent journal session flight; do
        printf '%-10s' "$what"
        for target in $targets; do printf '%10s' "$(state "$target" $what)"; done
        echo
    done
    printf '%-10s' "variables"
    # shellcheck disable=SC2046
    for target in $targets; do printf '%10s' "$(data "$target" $(all "$target"))"; done
    echo
    echo
}

binary=$(find build/musl/firmware -type f -name petrel -perm -u+x 2>/dev/null | head -n 1)
binary_bytes=null
if [ -n "$binary" ]; then
    binary_bytes=$(wc -c <"$binary" | tr -d ' ')
    echo "Static agent (musl, stripped): $binary_bytes bytes, $binary"
else
    echo "Static agent: not built"
fi

if [ "${1:-}" = --json ]; then
    # shellcheck disable=SC2046
    ram=$(($(state host agent) + $(state host journal) + $(state host session) + $(data host $(all host))))
    # shellcheck disable=SC2046
    printf '{"static_binary_bytes":%s,"core_text_bytes":%s,"core_static_ram_bytes":%s,"core_text_bytes_m0plus":%s,"core_text_bytes_m4":%s}\n' \
        "$binary_bytes" "$(text host $(all host))" "$ram" "$(text m0plus $(all m0plus))" \
        "$(text m4 $(all m4))"
fi
