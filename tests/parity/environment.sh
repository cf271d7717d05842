#!/bin/sh
# Makes the reference environment and prints the path of its Python, the only line on standard output.
#
#     tests/parity/environment.sh DIRECTORY [PYTHON]
#
# DIRECTORY becomes a virtual environment with the pinned packages of requirements-torch.txt and requirements.txt, and
# with those of requirements-apart.txt in DIRECTORY/apart (apart.py says why); when it already is that, this takes no
# time. With PYTHON (an interpreter that has the packages) nothing is built: its versions are checked and it is used as
# it is.
#
# torch goes first and alone, as any other package that requires it would let pip choose another version. pip finds it
# through its own configuration. On an index that offers a CUDA build under this version (PyPI does, gigabytes of it),
# point pip to CPU builds: PIP_INDEX_URL=https://download.pytorch.org/whl/cpu for requirements-torch.txt.
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: environment.sh DIRECTORY [PYTHON]" >&2
    exit 2
fi
directory=$1
given=${2:-}
here=$(cd "$(dirname "$0")" && pwd)

# One line per package that is missing or has another version than the files pin.
disagreements() {
    PYTHONPATH="$directory/apart" "$1" - "$here"/requirements*.txt <<'PYTHON'
import importlib.metadata, sys

for path in sys.argv[1:]:
    for line in open(path, encoding="ascii"):
        name, wanted = line.strip().split("==")
        try:
            found = importlib.metadata.version(name).split("+")[0]
        except importlib.metadata.PackageNotFoundError:
            found = "not installed"
        if found != wanted:
            print(f"{name}: {found}, expected {wanted}")
PYTHON
}

if [ -n "$given" ]; then
    wrong=$(disagreements "$given")
    if [ -n "$wrong" ]; then
        printf '%s is not the reference environment:\n%s\n' "$given" "$wrong" >&2
        exit 1
    fi
    echo "$given"
    exit 0
fi

python=$directory/bin/python
stamp=$directory/complete
wanted=$(cat "$here"/requirements*.txt)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && "$python" -c "" 2>/dev/null; then
    echo "$python"
    exit 0
fi

if ! python3 -c "import ensurepip, venv" 2>/dev/null; then
    echo "environment.sh: this Python cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
    exit 1
fi
if [ -e "$directory" ] && [ ! -e "$directory/pyvenv.cfg" ]; then
    echo "environment.sh: $directory is there and is no virtual environment; expected one, or nothing" >&2
    exit 1
fi
echo "making the reference environment in $directory (torch is some 200 MB)" >&2
rm -rf "$directory"
python3 -m venv "$directory" >&2
# --no-input and the version check off: this runs unattended.
pip() {
    "$python" -m pip --no-input --disable-pip-version-check install --quiet "$@" >&2
}
pip -r "$here/requirements-torch.txt"
pip -r "$here/requirements.txt"
# Without what they depend on: that is in the environment, and torchvision is not to be seen there.
pip --no-deps --target "$directory/apart" -r "$here/requirements-apart.txt"
wrong=$(disagreements "$python")
if [ -n "$wrong" ]; then
    printf 'the reference environment came out wrong:\n%s\n' "$wrong" >&2
    exit 1
fi
printf '%s\n' "$wanted" >"$stamp"
echo "$python"
