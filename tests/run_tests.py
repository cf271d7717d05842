#!/usr/bin/env python3
"""Runs test programs that speak TAP and adds up what they say.

usage: run_tests.py COMMAND [COMMAND ...] [--pairs COMMAND ...]      (each one string, split as a shell splits words)

One after the other; those behind --pairs two at a time: what measures neither time nor the machine's memory.
A line a program with its counts and seconds, the failing lines of it in full, and `N passed, N failed` at the very end. A
program that exits nonzero without a failing line, or that runs no test at all, counts as one failure: silence is no success.
"""
import os
import re
import shlex
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

# seconds a program may take; under valgrind some need more
LIMIT = int(os.environ.get("TEST_LIMIT", "600"))
LINE = re.compile(r"^(not )?ok\b[ \d]*(?:- )?(.*)$")


def run(command):
    began = time.monotonic()
    try:
        done = subprocess.run(shlex.split(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=LIMIT, env=None)
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = (late.stdout or b"").decode("utf-8", "replace"), f"no end after {LIMIT} s"
    except OSError as error:
        output, code = str(error), "not run"
    passed = failed = skipped = 0
    said = []
    for line in output.splitlines():
        match = LINE.match(line)
        if match and "# SKIP" in line.upper():
            skipped += 1
            said.append(f"  {line}")
        elif match and match.group(1):
            failed += 1
        elif match:
            passed += 1
    if code != 0 and failed == 0 or passed + failed + skipped == 0:
        failed += 1
        said.append(f"not ok - {command}: exit status {code}")
    if failed:
        # set in, as it may hold a sum of its own
        said.append(textwrap.indent(output, "    "))
    name = " ".join(shlex.split(command)[:2]) if command.startswith(("python", "sh ")) else shlex.split(command)[0]
    said.append(f"{'FAIL' if failed else 'ok':4} {name:50} {passed:6} passed {failed:3} failed"
                f"{f' {skipped} skipped' if skipped else '':12} {time.monotonic() - began:7.1f} s")
    print("\n".join(said) + "\n", end="", flush=True)
    return passed, failed, skipped


def main(commands):
    where = commands.index("--pairs") if "--pairs" in commands else len(commands)
    rows = list(map(run, commands[:where]))
    with ThreadPoolExecutor(max_workers=2) as pairs:
        rows += pairs.map(run, commands[where + 1:])
    counts = [sum(column) for column in zip(*rows)]
    print(f"{counts[0]} passed, {counts[1]} failed" + (f", {counts[2]} skipped" if counts[2] else ""))
    return 1 if counts[1] or not counts[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
