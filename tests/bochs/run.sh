#!/bin/bash
# run.sh - runs test programs on a CPU that this machine is not: Linux in Bochs, as a Skylake-X with AVX512-BF16 and AMX
# (bochs.patch) or whatever BOCHS_CPU names. For what is right, not for what is fast: some 50 million instructions a second.
#
# usage: run.sh [-t SECONDS] [-m MEGABYTES] [-f FILE]... [-k FOLDER] -- PROGRAM [ARGUMENT...] [-- PROGRAM [ARGUMENT...]]...
#
# By hand, one program, after `make check-emulated` or with Bochs at hand:
#     BOCHS=path/to/bochs tests/bochs/run.sh -- build/tests/kernels/test_kernels
#
# The guest has what a program needs at the same paths, and the same folder to run in: the program, each argument that is a file or
# a folder here, the libraries that they name, and each FILE; busybox does for a shell. Programs speak TAP; their lines are passed on,
# each program ends in a line with its counts and seconds, and all in `N passed, N failed`. A program that fails without
# a failing line, that runs no test, or that is not reached counts as one failure.
#   -t  CPU seconds that the emulator may take in all (900)     -m  memory of the guest (512)
#   -k  keep the machine's files and the serial port's text there
# Environment: BOCHS, the emulator (bochs in PATH; bochs.mk says how it is built); KERNEL and BUSYBOX (vmlinuz and busybox in
# $B/bochs, where fetch.sh puts them); B (build); BOCHS_CPU, one of those that `bochs --help cpu` lists (corei7_skylake_x);
# WANTED, the flags that /proc/cpuinfo must show; COMMAND_LINE, more words for Linux (loglevel=8 ignore_loglevel).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
limit=900 memory=512 keep='' extra=()
wanted=${WANTED-avx512f avx512bw avx512dq avx512vl avx512_bf16 amx_tile amx_bf16}
fetched=${B:-build}/bochs

cannot() {
    echo "run.sh: $*" >&2
    echo "0 passed, 1 failed"
    exit 1
}

usage() {
    sed -n 's/^# usage: /usage: /p' "$0" >&2
    exit 2
}

while getopts t:m:f:k: option; do
    case $option in
    t) limit=$OPTARG ;;
    m) memory=$OPTARG ;;
    f) extra+=("$OPTARG") ;;
    k) keep=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage

# ---- what is needed

bochs=$(command -v "${BOCHS:-bochs}") || cannot "there is no Bochs at ${BOCHS:-bochs, in PATH}: nothing was run" \
    "(BOCHS=PATH; tests/bochs/bochs.mk says how it is built)"
for tool in gcc ld ldd strip; do
    command -v $tool >/dev/null || cannot "there is no $tool here: nothing was run"
done
if [ -z "${KERNEL-}" ] || [ -z "${BUSYBOX-}" ]; then
    [ -s "$fetched/vmlinuz" ] && [ -s "$fetched/busybox" ] || "$here/fetch.sh" "$fetched" ||
        cannot "without a kernel and a busybox nothing was run"
fi
kernel=$(realpath "${KERNEL:-$fetched/vmlinuz}") busybox=$(realpath "${BUSYBOX:-$fetched/busybox}")
for file in "$kernel" "$busybox"; do
    [ -s "$file" ] || cannot "there is no $file: nothing was run"
done

work=$(mktemp -d)
emulator=
trap 'kill $emulator 2>/dev/null || true; [ -z "$keep" ] || { mkdir -p "$keep" && cp -r "$work"/. "$keep"; }; rm -rf "$work"' EXIT

# ---- the guest's files

guest=$work/guest
mkdir -p "$guest/bin" "$guest/tmp"
cp "$busybox" "$guest/bin/busybox"
ln -s busybox "$guest/bin/sh" # init is a script
cp "$here/guest.sh" "$guest/init"
chmod 755 "$guest/bin/busybox" "$guest/init"
pwd >"$guest/folder"
tr ' ' '\n' <<<"$wanted" >"$guest/wanted"
mkdir -p "$guest$PWD"

# an ELF file's libraries, as ldd finds them here
copy_libraries() {
    local library
    for library in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*'); do
        [ -e "$guest$library" ] || cp -L --parents "$library" "$guest"
    done
}

is_elf() {
    [ "$(head -c 4 "$1" | tr -d "\0")" = $'\x7fELF' ]
}

copy() {
    local path file
    path=$(realpath -s "$1")
    [ -e "$guest$path" ] && return
    cp -rL --parents "$path" "$guest"
    while IFS= read -r -d '' file; do
        is_elf "$file" || continue
        copy_libraries "$file"
        # OpenBLAS and debugging information are most of a test program; the latter need not be carried
        strip -s "$guest$file"
    done < <(find "$path" -type f -print0)
}

programs=0
line=
end_program() {
    [ -n "$line" ] || cannot "an empty program between -- and --"
    echo "$line" >>"$guest/programs"
    programs=$((programs + 1))
    line=
}
for file in "${extra[@]}"; do
    [ -e "$file" ] || cannot "there is no $file: nothing was run"
    copy "$file"
done
for word in "$@"; do
    if [ "$word" = -- ]; then
        end_program
        continue
    fi
    if [ -e "$word" ]; then
        copy "$word"
    elif [ -z "$line" ] && [[ $word = */* ]]; then
        cannot "there is no $word: nothing was run"
    fi
    line+="${line:+ }$(printf %q "$word")"
done
end_program

# ---- the machine

(cd "$guest" && find . | "$busybox" cpio -o -H newc 2>/dev/null) >"$work/initrd"
sectors=$(od -An -j 497 -N 1 -t u1 "$kernel")
tail -c +$(((sectors + 1) * 512 + 1)) "$kernel" >"$work/kernel"
command_line="console=ttyS0 quiet panic=-1 mitigations=off nokaslr nopti no5lvl nopku acpi=off pci=off init_on_alloc=0 nowatchdog \
kfence.sample_interval=0 audit=0 apparmor=0 random.trust_cpu=on transparent_hugepage=always ${COMMAND_LINE-}"
gcc -c -x assembler-with-cpp -DKERNEL="\"$kernel\"" -DCOMMAND_LINE="\"$command_line\"" \
    -DINITRD_BYTES="$(stat -c %s "$work/initrd")" -DMEMORY=$((memory << 20)) -o "$work/boot.o" "$here/boot.S"
ld -Ttext=0x10000 --oformat binary -o "$work/boot" "$work/boot.o"
# a BIOS for the screen, which nobody asks for anything: Bochs wants one
head -c 512 /dev/zero >"$work/vga"
cat >"$work/bochsrc" <<END
config_interface: textconfig
display_library: nogui
memory: guest=$memory, host=$memory
romimage: file="$work/boot", address=0xffff0000
vgaromimage: file="$work/vga"
optramimage1: file="$work/boot", address=0x10000
optramimage2: file="$work/kernel", address=0x100000
optramimage3: file="$work/initrd", address=0x8000000
cpu: model=${BOCHS_CPU-corei7_skylake_x}, count=1, ips=100000000, reset_on_triple_fault=0
clock: sync=none, time0=utc
pci: enabled=0
com1: enabled=1, mode=file, dev="$work/serial"
log: "$work/bochs.log"
panic: action=fatal
END

: >"$work/serial"
began=$EPOCHREALTIME
# CPU seconds, so that a machine that is busy or paused takes nothing away
(ulimit -c 0; ulimit -t "$limit"; exec "$bochs" -q -f "$work/bochsrc") >"$work/bochs.out" 2>&1 </dev/null &
emulator=$!

# ---- what the guest says

passed=0 failed=0 skipped=0 up='' ended='' ran=0
before_passed=0 before_failed=0 before_skipped=0 before=$EPOCHREALTIME

seconds_since() {
    local now=$EPOCHREALTIME
    local tenths=$(((${now/[.,]/} - ${1/[.,]/}) / 100000))
    echo "$((tenths / 10)).$((tenths % 10))"
}

program_ended() {
    local status=$1 name=$2
    local good=$((passed - before_passed)) bad=$((failed - before_failed)) over=$((skipped - before_skipped))
    if [ "$bad" = 0 ] && { [ "$status" != 0 ] || [ $((good + over)) = 0 ]; }; then
        echo "not ok - $name: exit status $status"
        bad=1 failed=$((failed + 1))
    fi
    printf '%-4s %-50s %6d passed %3d failed %8s s\n' "$([ "$bad" = 0 ] && echo ok || echo FAIL)" "$name" "$good" "$bad" \
        "$(seconds_since "$before")"
    before_passed=$passed before_failed=$failed before_skipped=$skipped before=$EPOCHREALTIME
}

while IFS= read -r text; do
    text=${text%$'\r'}
    case $text in
    '@@ up')
        up=1 before=$EPOCHREALTIME
        echo "# Linux is up after $(seconds_since "$began") s" ;;
    '@@ ran '*)
        text=${text#@@ ran }
        program_ended "${text%% *}" "${text#* }"
        ran=$((ran + 1)) ;;
    '@@ end') ended=1; break ;;
    '') ;;
    *)
        # nothing follows a panic, which would take all of the limit
        case $text in *'Kernel panic'*) echo "# Linux: $text"; kill $emulator; break ;; esac
        [ -n "$up" ] || { echo "# Linux: $text"; continue; }
        case ${text,,} in
        ok*'# skip'*) skipped=$((skipped + 1)) ;;
        ok|'ok '*) passed=$((passed + 1)) ;;
        'not ok'*) failed=$((failed + 1)) ;;
        esac
        printf '%s\n' "$text" ;;
    esac
done < <(tail --pid=$emulator -c +1 -s 0.2 -f "$work/serial" 2>/dev/null)

if [ -z "$ended" ]; then
    wait $emulator && status=0 || status=$?
    # SIGXCPU or, a second later, SIGKILL
    case $status in
    152|137) why="no end after $limit CPU seconds" ;;
    *) why="exit status $status" ;;
    esac
    left=$((programs + 1 - ran))
    [ "$left" -gt 0 ] || left=1
    echo "not ok - the emulated machine: $why; $left of $((programs + 1)) programs had no end"
    tail -n 5 "$work/bochs.log" "$work/bochs.out" 2>/dev/null | sed 's/^/# /'
    failed=$((failed + left))
fi
echo "# emulated for $(seconds_since "$began") s"
echo "$passed passed, $failed failed$([ "$skipped" = 0 ] || echo ", $skipped skipped")"
[ "$failed" = 0 ]
