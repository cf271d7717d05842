#!/usr/bin/env python3
"""Runs a test with contract.so as its plugin and adds what the harness of the host contract saw. Prints TAP.

usage: under_contract.py CONTRACT PLUGIN COMMAND...     a word of the command is or begins with CONTRACT, or holds it

Protects: the test passes over the harness, the harness was really called, and no call broke the contract. Knows neither
the test nor the contract: guard.c writes the log.
"""
import collections
import os
import struct
import subprocess
import sys
import tempfile

SHOWN = 20


def main(contract, plugin, command):
    with tempfile.TemporaryDirectory(prefix="penult-contract-") as folder:
        log = os.path.join(folder, "log")
        environment = dict(os.environ, PENULT_CONTRACT_LOG=log, PENULT_CONTRACT_PLUGIN=os.path.abspath(plugin),
                           OPENBLAS_NUM_THREADS="1")  # NumPy is then a host of one thread
        code = subprocess.run(command, env=environment).returncode
        breaches, counts = collections.Counter(), (0,) * 5
        if os.path.exists(log):
            with open(log, encoding="utf-8", errors="replace") as file:
                breaches.update(file.read().splitlines())
        if os.path.exists(log + ".counts"):
            with open(log + ".counts", "rb") as file:
                counts = struct.unpack("5Q", file.read())
    calls, alone, single, balanced, _ = counts
    good = calls > 0 and not breaches
    print(f"{'ok' if good else 'not ok'} - the host contract over {calls} calls ({alone} alone, {single} in a host of one "
          f"thread, {balanced} times all handles closed): {sum(breaches.values())} breaches")
    for line, times in breaches.most_common(SHOWN):
        print(f"# {times} x {line}")
    if contract not in " ".join(command):
        print("not ok - the command does not load the harness")
        return 1
    return code or (0 if good else 1)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
