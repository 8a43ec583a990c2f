#!/bin/sh
# The include graph of the core: a component includes its own folder, the public headers (ptl_*.h)
# of the components named here, and of the C library only what a freestanding compiler has plus
# <string.h>. Prints every line that breaks this; usage: core_includes.sh COMPONENTS_DIR
set -eu
cd "$1"
failed=0

allowed() {
    case $1 in
    base) echo "" ;;
    record | queue | journal | breaker | realtime) echo "base" ;;
    batch) echo "base record" ;;
    adapter) echo "base record realtime" ;;
    agent) echo "base record queue journal batch breaker realtime adapter" ;;
    *) return 1 ;;
    esac
}

for part in */; do
    part=${part%/}
    if ! deps=$(allowed "$part"); then
        echo "components/$part: not part of the core's graph (test/tidy/core_includes.sh)"
        failed=1
        continue
    fi
    for file in "$part"/*.[ch]; do
        for header in $(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*\(["<][^">]*\).*/\1/p' "$file"); do
            name=${header#?}
            ok=no
            case $header in
            \<*)
                case $name in
                limits.h | stdarg.h | stdbool.h | stddef.h | stdint.h | string.h) ok=yes ;;
                esac
                ;;
            *)
                [ -f "$part/$name" ] && ok=yes
                for dep in $deps; do
                    case $name in
                    ptl_*_private.h) ;; # nobody else's business
                    ptl_*.h) [ -f "$dep/$name" ] && ok=yes ;;
                    esac
                done
                ;;
            esac
            if [ $ok = no ]; then
                echo "components/$file: must not include $name (may use: own folder $deps)"
                failed=1
            fi
        done
    done
done
exit $failed
