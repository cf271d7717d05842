#!/bin/sh
# Installs the Debian packages that building, testing, the parity run, `make vocab` or CI need; without root it names them in one
# sentence.
# usage: packages.sh build|test|parity|vocab|ci
set -eu

# build: the compiler, OpenBLAS's static serial build and utf8proc's static library (both end up inside penult.so), libpng
# and cJSON (in the command). test: cmocka for the C tests, NumPy for the Python ones, a C++ compiler for the header.
# ci: sanitizers and libFuzzer, llvm's symbolizer for what they report, the sources of the locales that hostile hosts set.
build='gcc libc6-dev libopenblas-serial-dev libutf8proc-dev libpng-dev libcjson-dev'
test="$build g++ libcmocka-dev python3 python3-numpy"
parity="$test python3-venv python3-pip"
vocab='python3 python3-pip'
ci="$parity clang libclang-rt-dev llvm locales"
case "${1:-}" in
build) wanted=$build ;;
test) wanted=$test ;;
parity) wanted=$parity ;;
vocab)
    # any Python that has pip will do
    python3 -m pip --version >/dev/null 2>&1 && exit 0
    wanted=$vocab ;;
ci) wanted=$ci ;;
*) echo "usage: packages.sh build|test|parity|vocab|ci" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "This is not Debian or Ubuntu: if the build fails, install what these Debian packages hold: $wanted" >&2
    exit 0
fi
missing=
for package in $wanted; do
    # the runtime of clang comes by version too
    case $package in libclang-rt-dev) names='libclang-rt*-dev' ;; *) names=$package ;; esac
    dpkg-query -W -f '${db:Status-Status}\n' "$names" 2>/dev/null | grep -q -x installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
    echo "Missing packages; install them with: sudo apt-get install$missing" >&2
    exit 1
fi
echo "Installing$missing"
# shellcheck disable=SC2086 # a list of words on purpose
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; }; then
    echo "apt-get could not install these packages:$missing" >&2
    exit 1
fi
