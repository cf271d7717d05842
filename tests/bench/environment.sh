#!/bin/sh
# Puts what the bench needs beyond the reference environment into a folder of its own, and prints the folder.
#
#     tests/bench/environment.sh DIRECTORY PYTHON
#
# onnxruntime, what exports a model for it, and matplotlib for the plot: pinned in requirements.txt, with all that they need and
# the reference environment (PYTHON's) does not have. They stand apart so that the reference environment stays what its own
# files say; the bench puts DIRECTORY on PYTHONPATH. When it is there already this takes no time. matplotlib and not Pillow,
# because axes, ticks and legends are what it is for.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: environment.sh DIRECTORY PYTHON" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
if [ ! -f "$1/complete" ] || ! cmp -s "$1/complete" "$here/requirements.txt"; then
    echo "putting onnxruntime and matplotlib into $1 (some 100 MB)" >&2
    rm -rf "$1"
    "$2" -m pip --no-input --disable-pip-version-check install --quiet --no-deps --target "$1" -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$1/complete"
fi
echo "$1"
