#!/bin/sh
# test_blas_inside.sh PLUGIN MAPPED MAP ARCHIVE OBJECT... - what the OpenBLAS inside the plugin would reach for in its host.
# MAPPED is the plugin linked once more with the map MAP; ARCHIVE is libopenblas.a; the objects are our own.
#
# Protects the host from functions of OpenBLAS that print, end the process, read the environment or take memory: each is
# sent to openblas.c by the linker, or never called by what we call; a new OpenBLAS that wants something else is noticed.
# tests/abi/test_exports.sh reads what the whole plugin imports; this reads what the archive's members want. Prints TAP.
set -u
plugin=${1:?usage: test_blas_inside.sh PLUGIN MAPPED MAP ARCHIVE OBJECT...}
mapped=$2 map=$3 archive=$4
shift 4
number=0
failed=0
scratch=$(mktemp -d) || exit 2
trap 'rm -rf "$scratch"' EXIT

check() { # name found: what should not be there, one per line
    number=$((number + 1))
    if [ -z "$2" ]; then
        echo "ok $number - $1"
    else
        failed=$((failed + 1))
        echo "not ok $number - $1"
        echo "$2" | sed 's/^/# /'
    fi
}

echo "TAP version 13"
if ! [ -e "$archive" ]; then
    echo "ok 1 - what OpenBLAS reaches for # SKIP this plugin was built without OpenBLAS"
    echo "1..1"
    exit 0
fi
check "the map is of this plugin" "$(cmp "$plugin" "$mapped" 2>&1)"

sed -n 's/.*libopenblas\.a(\([^)]*\)).*/\1/p' "$map" | sort -u >"$scratch/members"
# NAME MEMBER, for every symbol that a member in the plugin lacks and no other member has
LC_ALL=C nm -A "$archive" 2>/dev/null | awk -F: '
    NR == FNR { inside[$1] = 1; next }
    $2 in inside {
        fields = split($3, field, " ")
        if (field[fields - 1] == "U" || field[fields - 1] == "w") wants[field[fields] " " $2] = field[fields]
        else has[field[fields]] = 1
    }
    END { for (each in wants) if (!(wants[each] in has)) print each }' "$scratch/members" - | sort >"$scratch/wants"
cut -d' ' -f1 "$scratch/wants" | sort -u >"$scratch/names"
nm "$plugin" | sed -n 's/.* [tbBTdD] __wrap_//p' | sort -u >"$scratch/wrapped"
nm -D --undefined-only "$plugin" | sed 's/.* //; s/@.*//' | sort -u >"$scratch/imports"

# They act on the process or speak for it.
acts='abort __assert_fail atexit __cxa_atexit environ exit _exit fork __fprintf_chk fputs fwrite getenv secure_getenv kill perror
printf __printf_chk fprintf pthread_atfork pthread_create pthread_mutex_lock pthread_setaffinity_np putchar puts putenv raise
sched_setaffinity setenv setlocale setrlimit shmat shmget sigaction signal sleep stderr stdout syslog system __vfprintf_chk'
echo "$acts" | tr ' ' '\n' | sort >"$scratch/acts"
comm -12 "$scratch/acts" "$scratch/names" >"$scratch/acting"
check "OpenBLAS does reach for such functions ($(wc -w <"$scratch/acting"): $(tr '\n' ' ' <"$scratch/acting" | sed 's/ $//'))" \
    "$(for name in exit getenv puts; do grep -q -x "$name" "$scratch/acting" || echo "no member wants $name: was it read?"; done)"
check "each of them is sent to our own sources" "$(comm -23 "$scratch/acting" "$scratch/wrapped")"
check "and none is imported by the plugin" "$(comm -12 "$scratch/acting" "$scratch/imports")"

# Text and memory that is the caller's; formatted text goes into arrays with their bound.
harmless='__errno_location __snprintf_chk __sprintf_chk __stack_chk_fail __strcat_chk _GLOBAL_OFFSET_TABLE_ memcmp memcpy
memmove memset strcmp strlen strncasecmp strncmp strncpy strtol'
memory='malloc free mmap munmap sched_yield syscall'
echo "$harmless $memory" | tr ' ' '\n' | sort >"$scratch/known"
check "everything else that it wants is known to be harmless" \
    "$(sort -u "$scratch/known" "$scratch/acts" | comm -13 - "$scratch/names")"
# memory.o: its two entries are wrapped. The kernels of small products that are not transposed: ours are (openblas.c).
check "memory is taken nowhere but behind our wraps and in kernels that we never call" \
    "$(echo "$memory" | tr ' ' '\n' | while read -r name; do grep "^$name " "$scratch/wants"; done |
        grep -v -e ' memory\.o$' -e '^\(malloc\|free\) [sd]gemm_small_kernel_\(b0_\)\?nn_[A-Z]*\.o$')"
check "the entries to its memory and its end are wrapped" \
    "$(for name in blas_memory_alloc blas_memory_free gotoblas_dynamic_quit; do
        grep -q -x "$name" "$scratch/wrapped" || echo "$name"; done)"

# The host's floating-point mode: only fpu.h sets one, on our threads or for a few lines.
objdump -d --no-show-raw-insn "$plugin" | awk '
    /^[0-9a-f]+ <.*>:$/ { name = substr($2, 2, length($2) - 3) }
    $2 ~ /^v?(ldmxcsr|fldcw|fldenv|frstor|fninit|fxrstor|xrstor)/ { print name }' | sort -u >"$scratch/modes"
nm --defined-only "$@" | sed -n 's/^[0-9a-f]* [tT] //p' | sort -u >"$scratch/own"
check "no function of OpenBLAS sets a floating-point mode ($(tr '\n' ' ' <"$scratch/modes" | sed 's/ $//') do, ours)" \
    "$([ -s "$scratch/modes" ] || echo "not even ours: was it read?"
       sed 's/\..*//' "$scratch/modes" | sort -u | comm -23 - "$scratch/own")"

echo "1..$number"
[ "$failed" = 0 ]
