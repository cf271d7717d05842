#!/bin/sh
# hardening.sh PLUGIN OBJECT... - what hardening-check and checksec show, asked of binutils; the objects are those of our own
# sources, without the static libraries.
#
# Protects the host: a plugin without these turns a small mistake of ours into a way into its process. What is about symbols
# and needed libraries stands in tests/abi/test_exports.sh. Prints TAP.
set -u
plugin=${1:?usage: hardening.sh PLUGIN OBJECT...}
shift
number=0
failed=0

check() { # name found: what is wrong, one per line
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
dynamic=$(LC_ALL=C readelf --wide --dynamic "$plugin") || dynamic=
segments=$(LC_ALL=C readelf --wide --program-headers "$plugin") || segments=
notes=$(LC_ALL=C readelf --notes "$plugin" 2>/dev/null) || notes=
machine=$(LC_ALL=C readelf --file-header "$plugin" | sed -n 's/ *Machine: *//p')
own=$([ $# -eq 0 ] || nm --undefined-only "$@" | sed -n 's/^ *[UwW] //p' | sort -u)
# Without these every check below would pass on an empty answer.
if [ -z "$dynamic" ] || [ -z "$segments" ] || [ -z "$notes" ] || [ -z "$own" ]; then
    echo "Bail out! $plugin or our objects cannot be read with readelf and nm"
    exit 1
fi

check "stack protected: our objects call __stack_chk_fail" \
    "$(echo "$own" | grep -q -x __stack_chk_fail || echo "none does")"
check "fortified: our objects call checked functions" "$(echo "$own" | grep -q '_chk$' || echo "none does")"
check "read-only relocations" "$(echo "$segments" | grep -q GNU_RELRO || echo "no GNU_RELRO segment")"
check "bound at once, so that the table of addresses is read-only too" \
    "$(echo "$dynamic" | grep -q 'FLAGS_1.*NOW' || echo "no NOW among FLAGS_1")"
check "never unmapped, whatever thread is still inside" \
    "$(echo "$dynamic" | grep -q 'FLAGS_1.*NODELETE' || echo "no NODELETE among FLAGS_1")"
check "no memory that can be written and executed" "$(echo "$segments" | grep -E '^ *[A-Z_]+ .* RWE ')"
check "a stack that cannot be executed" \
    "$(echo "$segments" | grep -q 'GNU_STACK.* RW ' || echo "no GNU_STACK segment that is only readable and writable")"
check "no static thread-local storage, no text relocations, no RPATH" \
    "$(echo "$dynamic" | grep -E 'STATIC_TLS|TEXTREL|\(RPATH\)|\(RUNPATH\)')"
check "a build id, so that a crash report can name the build" \
    "$(echo "$notes" | grep -q 'Build ID: [0-9a-f]' || echo "no build id")"

# The list is whole. libm drops out where the compiler makes instructions of all that the engine asks of it.
needed=$(echo "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v '^ld-linux-' | sort | paste -s -d ' ')
check "needs libc, and at most libm" \
    "$([ "$needed" = libc.so.6 ] || [ "$needed" = 'libc.so.6 libm.so.6' ] || echo "it needs: ${needed:-nothing}")"

case $machine in
*X86-64*)
    # Debian's crti.o, utf8proc and OpenBLAS do not say that they are ready for it, so the linker leaves the mark off the
    # whole; ours all say so.
    unmarked=
    for object in "$@"; do
        LC_ALL=C readelf --notes "$object" | grep -q 'x86 feature: IBT, SHSTK' || unmarked="$unmarked $object"
    done
    check "control flow: each of our objects is built for IBT and shadow stacks" "$unmarked"

    # The floating-point mode is the host's: it is loaded in the places that hold and give back a mode (base/fpu.h).
    loads() { objdump --disassemble --no-show-raw-insn "$1" | grep -c 'ldmxcsr'; }
    holders=
    ours=0
    for object in "$@"; do
        count=$(loads "$object")
        ours=$((ours + count))
        [ "$count" = 0 ] || holders="$holders ${object##*/}"
    done
    holders=$(echo "$holders" | tr ' ' '\n' | sort | paste -s -d ' ')
    check "the floating-point mode is loaded by config, digest, pipeline, weights and workers alone" \
        "$([ "$holders" = ' config.o digest.o pipeline.o weights.o workers.o' ] || echo "loaded by:$holders")"
    check "and by nothing that was linked in" \
        "$(all=$(loads "$plugin"); [ "$all" = "$ours" ] || echo "$all loads in the plugin, $ours of them ours")"
    ;;
esac

echo "1..$number"
[ "$failed" = 0 ]
