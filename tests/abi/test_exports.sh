#!/bin/sh
# test_exports.sh PLUGIN OBJECT... - what penult.so gives to and wants from the process it is loaded into; the objects
# are those of our own sources in it, without the static libraries.
#
# Protects the host: a second exported symbol can bind to another library's calls, a dependency can be missing or be
# another version, and a function such as exit, puts or setenv acts on a process that is not ours. Prints TAP.
set -u
plugin=${1:?usage: test_exports.sh PLUGIN OBJECT...}
shift
number=0
failed=0

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
# Without these three every check below would pass on an empty answer.
dynamic=$(LC_ALL=C readelf --wide --dynamic "$plugin") || dynamic=
segments=$(LC_ALL=C readelf --wide --program-headers "$plugin") || segments=
wanted=$(nm -D --undefined-only "$plugin" | sed 's/.* //; s/@.*//' | sort -u) || wanted=
if [ -z "$dynamic" ] || [ -z "$segments" ] || [ -z "$wanted" ]; then
    echo "Bail out! $plugin cannot be read with readelf and nm"
    exit 1
fi

exported=$(nm -D --defined-only "$plugin" | sed 's/.* //')
check "exports penult_entry and nothing else" \
    "$([ "$exported" = penult_entry ] || echo "it exports: ${exported:-nothing}")"

check "needs nothing but libc and libm" \
    "$(echo "$dynamic" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
        grep -v -x -e libc.so.6 -e libm.so.6 -e 'ld-linux-.*')"

check "has no RPATH and no RUNPATH" "$(echo "$dynamic" | grep -e '(RPATH)' -e '(RUNPATH)')"
check "has no text relocations" "$(echo "$dynamic" | grep -e '(TEXTREL)' -e 'FLAGS.*TEXTREL')"
# Static TLS can be refused to a library that comes late; any other is allocated lazily, and a failure aborts.
check "has no thread-local storage" "$(echo "$dynamic" | grep STATIC_TLS; echo "$segments" | grep '^ *TLS ')"
check "is bound when it is loaded" \
    "$(echo "$dynamic" | grep -q -e BIND_NOW -e 'FLAGS_1.*NOW' || echo "BIND_NOW is not set")"
check "has relocations that become read-only" "$(echo "$segments" | grep -q GNU_RELRO || echo "no GNU_RELRO segment")"
check "has no executable stack" \
    "$(echo "$segments" | grep -q 'GNU_STACK.* RW ' || echo "no GNU_STACK segment that is only readable and writable")"

# What may not be called in somebody else's process: it ends, speaks for, reseeds or reconfigures it, depends on its
# locale or its environment, or has no bound. The fortified and the C99 names of the same functions count too.
forbidden='
exit _exit _Exit quick_exit abort __assert_fail __assert raise kill tgkill signal sigaction sigprocmask pthread_kill
printf vprintf puts putchar putc fputc fputs fprintf vfprintf stdin stdout stderr perror psignal error warn err syslog
setlocale uselocale strtod strtof strtold atof atoi atol scanf sscanf fscanf vsscanf
rand srand random srandom drand48 strtok getenv secure_getenv putenv setenv unsetenv clearenv environ __environ
system popen fork vfork execve posix_spawn pthread_atfork __register_atfork atexit __cxa_atexit at_quick_exit
chdir fchdir umask sleep alarm setitimer longjmp _longjmp siglongjmp setjmp _setjmp __sigsetjmp
gets strcpy strcat sprintf vsprintf stpcpy
fesetenv feenableexcept fedisableexcept fesetround feupdateenv setrlimit prctl dlopen dlsym dlclose
fwrite usleep nanosleep nice setpriority sched_setaffinity pthread_setaffinity_np sigaltstack mlockall mallopt malloc_trim
shmget shmat pthread_key_create __cxa_thread_atexit_impl'
names=
for name in $forbidden; do
    names="$names
$name
__${name}_chk
__isoc99_$name
__isoc23_$name"
done
among_forbidden() {
    while read -r symbol; do
        echo "$names" | grep -q -x -F -e "$symbol" && echo "$symbol"
    done
}

# Two come with OpenBLAS: fixed sentences, written into arrays that are large enough for them, with the bound checked.
check "calls nothing that changes, ends or speaks for the process" \
    "$(echo "$wanted" | among_forbidden | grep -v -x -e __sprintf_chk -e __strcat_chk)"

own=$([ $# -eq 0 ] || nm --undefined-only "$@" | sed -n 's/^ *[UwW] //p' | sort -u)
check "none of it in our own sources either" \
    "$([ $# -gt 0 ] && [ -n "$own" ] || echo "no objects were given"; echo "$own" | among_forbidden)"

# Older compilers answer -ffast-math at link time with code that changes the loading thread's floating-point mode.
check "has no fast-math start-up code" "$(nm "$plugin" 2>/dev/null | grep set_fast_math)"

echo "1..$number"
[ "$failed" = 0 ]
