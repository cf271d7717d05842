#!/bin/sh
# compile_matrix.sh - penult.h, penult_load.h and penult_condition.h compile alone, without a warning, as every C and C++ that
# a host may be written in, with gcc and with clang; offsets*.c (the pinned layouts) wherever the language has static
# assertions.
#
# Protects hosts: a header that needs a GNU dialect, a C11 keyword or another include breaks a program that we never
# see. Prints TAP; a compiler that is not installed is skipped and named. Writes to a temporary directory only.
set -u
here=$(cd "$(dirname "$0")" && pwd)
api=$here/../../api
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
warnings="-pedantic -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wundef -Wformat=2 -Wcast-align -Werror"
number=0
failed=0

# A translation unit that has nothing but the header, and one that uses what the header defines: an inline function that
# nobody calls is not compiled by every compiler.
printf '#include "penult.h"\n' >"$work/penult_h"
printf '#include "penult_condition.h"\n' >"$work/penult_condition_h"
cat >"$work/penult_load_h" <<'END'
#include "penult_load.h"
int use(struct penult_library *library, char *why);
int use(struct penult_library *library, char *why) {
    int has = penult_load(library, "./penult.so", why, 16) == 0 && PENULT_HAS(library->api, extension);
    penult_unload(library);
    return has;
}
END

# All headers in one unit, after other system headers, twice: guards, and no reliance on feature macros set in time.
cat >"$work/all_headers_twice" <<'END'
#include <stdio.h>
#include "penult_condition.h"
#include "penult.h"
#include "penult_load.h"
#include "penult.h"
#include "penult_load.h"
#include "penult_condition.h"
int one_unit_may_have_all(void);
int one_unit_may_have_all(void) { return 0; }
END

report() { # verdict name
    number=$((number + 1))
    if [ "$1" = 0 ]; then
        echo "ok $number - $2"
    else
        failed=$((failed + 1))
        echo "not ok $number - $2"
        sed 's/^/# /' "$work/log"
    fi
}

compile() { # compiler language standard source name
    # shellcheck disable=SC2086 # a list of words on purpose
    "$1" -x "$2" "-std=$3" -O1 $warnings -I"$api" -c "$4" -o "$work/out.o" >"$work/log" 2>&1
    report $? "$5 as $3 with $1"
}

try() { # compiler language standards...
    compiler=$1
    language=$2
    shift 2
    if ! command -v "$compiler" >/dev/null 2>&1; then
        for standard in "$@"; do
            number=$((number + 1))
            echo "ok $number - $standard with $compiler # SKIP $compiler is not installed"
        done
        return
    fi
    for standard in "$@"; do
        for unit in penult_h penult_load_h penult_condition_h all_headers_twice; do
            compile "$compiler" "$language" "$standard" "$work/$unit" "$unit"
        done
        case $standard in
        c99) ;; # no static assertions in that language
        *)
            for pinned in offsets offsets_condition; do
                compile "$compiler" "$language" "$standard" "$here/$pinned.c" "$pinned.c"
            done
            ;;
        esac
    done
}

# Debian installs clang without its plain name when only the versioned package is there.
clang=clang
for version in 14 19; do
    command -v "$clang" >/dev/null 2>&1 || clang=clang-$version
done
command -v "$clang" >/dev/null 2>&1 || clang=clang

echo "TAP version 13"
try gcc c c99 c11 c17 c2x
try g++ c++ c++11 c++14 c++17 c++20
try "$clang" c c99 c11 c17 c2x
try "clang++${clang#clang}" c++ c++11 c++14 c++17 c++20

# The matrix itself must be able to fail: a wrong offset is refused, or every line above means nothing.
for slot in offsets:penult_api,encode_text offsets_condition:penult_condition_api,condition; do
    pinned=${slot%%:*}
    member=$(echo "${slot#*:}" | sed 's/,/, /')
    sed "s/^AT($member, [0-9]*/AT($member, 1/" "$here/$pinned.c" >"$work/wrong.c"
    if cc -std=c11 -I"$api" -c "$work/wrong.c" -o "$work/out.o" >"$work/log" 2>&1; then
        echo "$pinned.c with a wrong offset compiled" >"$work/log"
        report 1 "a wrong offset in $pinned.c does not compile"
    else
        report 0 "a wrong offset in $pinned.c does not compile"
    fi
done

echo "1..$number"
[ "$failed" = 0 ]
