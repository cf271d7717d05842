#!/bin/sh
# valgrind.sh PROGRAM ARGUMENT... - runs a test program under memcheck and passes on what it prints. Fails for what the
# program fails for, for any error or leak that memcheck finds, and for a descriptor left open: this memcheck lists those
# but does not count them. One line of TAP says so. No suppressions but the ones that come with valgrind.
set -u
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2016 # the inner shell's own number, which valgrind keeps
sh -c 'echo $$ >"$1"; shift; exec "$@"' sh "$log" valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,possible --track-fds=yes --fair-sched=yes \
    --log-file="$log.%p" "$@"
status=$?
own=$log.$(cat "$log")
# A program's own three streams and what it inherited are not its leaks; nor is what its forked children still had.
left=$(grep -A 1 'Open file descriptor [0-9]*:' "$own" | grep -v -e '^--$' | paste - - |
    grep -v -e '<inherited from parent>' -e 'descriptor [012]:')
cat "$log".* >"$log"
# A child that ends by a signal has no exit status of memcheck's: what it said counts all the same, but for what it lost: that is
# what glibc keeps for its parent's threads, which a fork leaves behind.
if [ "$status" = 0 ] && grep -q -e 'Invalid ' -e 'uninitialised' -e 'Mismatched' "$log"; then
    status=99
fi
rm -f "$log".*
if [ "$status" = 99 ]; then
    echo "not ok - memcheck: $1"
    sed 's/^/# /' "$log"
elif [ -n "$left" ]; then
    echo "not ok - descriptors are left open: $1"
    echo "$left" | sed 's/^/# /'
    status=1
else
    echo "ok - memcheck finds nothing, no descriptor is left open: $1"
fi
exit "$status"
