#!/bin/sh
# run.sh - one fuzz target for a while, and a line about it in the ledger. For fuzz.mk and for long runs.
#
#   [FUZZ_SECONDS=60] [FUZZ_RUNS=n] [FUZZ_SEED=n] [FUZZ_COMMIT=id] run.sh DIRECTORY TARGET
#
# DIRECTORY holds the program, the seeds and, from run to run, the corpus. Owns libFuzzer's options. The ledger is
# DIRECTORY/ledger.tsv: time, commit, target, seed, executions, seconds, exit status. Exit status 1: a finding, or a program
# that ended otherwise than libFuzzer ends.
set -eu
directory=$1
target=$2
home=$(dirname "$0")
seed=${FUZZ_SEED:-$(date +%s)}
commit=${FUZZ_COMMIT:-$(git -C "$home" rev-parse --short HEAD 2>/dev/null || echo none)}
corpus=$directory/corpus/$target
mkdir -p "$corpus" "$directory/findings/$target" "$directory/log"
log=$directory/log/$target.$seed.txt

case $target in
prompt | weights | condition) most=512 ;;
api) most=192 ;;
config) most=1024 ;;
layout) most=512 ;;
vocab) most=2048 ;;
*) most=4096 ;;
esac
set -- -max_len=$most -timeout=5 -rss_limit_mb=512 -seed="$seed" -print_final_stats=1 -reload=0 \
    -artifact_prefix="$directory/findings/$target/"
[ -e "$home/$target.dict" ] && set -- "$@" -dict="$home/$target.dict"
if [ -n "${FUZZ_RUNS:-}" ]; then
    set -- "$@" -runs="$FUZZ_RUNS"
else
    set -- "$@" -max_total_time="${FUZZ_SECONDS:-60}"
fi

begin=$(date +%s)
status=0
"$directory/$target" "$@" "$corpus" "$directory/seeds/$target" >"$log" 2>&1 || status=$?
runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(date -u +%FT%TZ)" "$commit" \
    "$target" "$seed" "${runs:-0}" "$(($(date +%s) - begin))" "$status" >>"$directory/ledger.tsv"
if [ "$status" -ne 0 ]; then
    tail -n 40 "$log"
    echo "not ok - $target: exit status $status after ${runs:-0} executions; see $log and $directory/findings/$target"
    exit 1
fi
echo "ok - $target: ${runs:-0} executions, nothing found; coverage $(sed -n 's/.*DONE *//p' "$log")"
rm -f "$log"
