#!/usr/bin/env python3
"""Asks the analysers about every source of the plugin, the engine and the samples; a finding is a failure.

    static.py BUILD [TOOL ...]      tools: flags, gcc, frames, clang-tidy, cppcheck, shellcheck; none: all of them

BUILD is an empty folder of its own. The commands are those of the Makefile, asked for with `make -n`, so that a tool sees each
file with the flags that it is built with. TAP on stdout. A tool that is not installed is named in a sentence and fails: a
check that was not made is not passed.
"""
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import stack

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
JOBS = len(os.sched_getaffinity(0))
PACKAGES = {"gcc": "gcc", "clang-tidy": "clang-tidy", "cppcheck": "cppcheck", "shellcheck": "shellcheck"}
# reliability.md 4.9; the linker's flags are seen in the plugin itself (hardening.sh)
FLAGS = ("-fPIC", "-fvisibility=hidden", "-fstack-protector-strong", "-fstack-clash-protection", "-fno-strict-overflow",
         "-fno-plt", "-Wvla", "-Werror")
FORBIDDEN_FLAGS = ("-ffast-math", "-Ofast", "-march=native", "-funsafe-math-optimizations")
number = failures = 0


def check(good, name, output=""):
    global number, failures
    number += 1
    failures += not good
    print(f"{'ok' if good else 'not ok'} {number} - {name}", flush=True)
    if not good:
        print("\n".join(f"# {line}" for line in output.strip().splitlines()), flush=True)


def compile_commands(build, compiler):
    """[(source, words of the command)] of everything that `make all` compiles."""
    listing = subprocess.run(["make", "-n", "-B", "V=1", f"B={build}", f"CC={compiler}", "all"], cwd=ROOT, check=True,
                             stdout=subprocess.PIPE, text=True).stdout
    commands = []
    for line in listing.splitlines():
        words = shlex.split(line) if " -c " in line else []
        if words and words[0] == compiler:
            commands.append((words[words.index("-c") + 1], words))
    return sorted(commands)


def run(words):
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout


def without_output(words):
    """The command, writing no object and no list of dependencies."""
    out = [w for w in words if w not in ("-MMD", "-MP")]
    at = out.index("-o")
    return out[:at] + out[at + 2:]


def each(jobs, name):
    """jobs: [(source, words)]; one check for each."""
    with ThreadPoolExecutor(JOBS) as pool:
        for (source, _words), (status, output) in zip(jobs, pool.map(lambda job: run(job[1]), jobs)):
            check(status == 0 and not output.strip(), f"{name}: {source}", output)


def flags(commands, _build):
    """A flag that is not there cannot be seen in a library whose small frames never needed it."""
    wanted = FLAGS + (("-fcf-protection=full",) if os.uname().machine == "x86_64" else ())
    missing = [f"{source}: {flag}" for source, words in commands for flag in wanted if flag not in words]
    check(commands and not missing, f"{len(commands)} files are compiled with every hardening flag", "\n".join(missing))
    fortified = [s for s, words in commands if not any(re.match(r"-D_FORTIFY_SOURCE=[23]$", w) for w in words)]
    check(not fortified, "and with _FORTIFY_SOURCE", "\n".join(fortified))
    wrong = [f"{s}: {w}" for s, words in commands for w in words if w in FORBIDDEN_FLAGS]
    check(not wrong, "none with a flag that changes the host's arithmetic or asks for this machine's CPU", "\n".join(wrong))


def gcc(commands, build):
    jobs = [(source, without_output(words) + ["-fanalyzer", "-o", f"{build}/analyzer-{i}.o"])
            for i, (source, words) in enumerate(commands)]
    each(jobs, "gcc -fanalyzer")


def frames(commands, build):
    """Every frame is under a page, and no function of the engine reaches itself again, through whatever file."""
    ours = [(s, w) for s, w in commands if s.startswith(("plugin/", "encoder/"))]
    jobs = [(source, without_output(words) + ["-Wframe-larger-than=4096", "-Walloca", "-fcallgraph-info=su", "-o",
                                              f"{build}/stack-{i}.o"]) for i, (source, words) in enumerate(ours)]
    each(jobs, "frames up to 4096 bytes, no alloca")
    graph = stack.read(pathlib.Path(ROOT, build).glob("stack-*.ci"))
    cycles = stack.cycles(graph)
    check(len(graph) > 200 and not cycles, f"none of {len(graph)} functions calls itself, also not by way of others",
          "\n".join(" -> ".join(cycle) for cycle in cycles) or f"only {len(graph)} functions were found")
    deepest, chain = stack.deepest(graph)
    print(f"# deepest chain of known calls: {deepest} bytes: {' > '.join(chain)}")


def clang_tidy(_commands, build):
    commands = compile_commands(build, "clang")
    entries = [{"directory": str(ROOT), "file": source, "arguments": without_output(words)} for source, words in commands]
    pathlib.Path(ROOT, build, "compile_commands.json").write_text(json.dumps(entries))
    jobs = [(source, ["clang-tidy", "-quiet", "-p", str(build), source]) for source, _words in commands]
    with ThreadPoolExecutor(JOBS) as pool:
        for (source, _words), (status, output) in zip(jobs, pool.map(lambda job: run(job[1]), jobs)):
            found = "\n".join(line for line in output.splitlines() if not re.match(r"\d+ warnings? ", line))
            check(status == 0, f"clang-tidy: {source}", found)


def cppcheck(_commands, _build):
    """Once over everything by one process, because which functions are used is a question about all files."""
    status, output = run(["cppcheck", "--enable=all", "--inconclusive", "--inline-suppr", "--std=c11", "--quiet",
                          "--error-exitcode=1", "--platform=unix64",
                          "--suppressions-list=tests/analysis/cppcheck.txt", "-D_GNU_SOURCE", "-D__x86_64__", "-D__GNUC__=12",
                          "-D__linux__", '-DPENULT_VERSION="0"', "-Iapi", "plugin", "encoder", "samples"])
    check(status == 0 and not output.strip(), "cppcheck: plugin, encoder, samples", output)


def shellcheck(_commands, _build):
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    scripts = [name for name in listed if (ROOT / name).is_file() and
               re.match(rb"#!.*\b(ba|da)?sh\b", (ROOT / name).read_bytes()[:64])]
    each([(name, ["shellcheck", name]) for name in scripts], "shellcheck")
    check(len(scripts) >= 4, f"{len(scripts)} scripts were found")


TOOLS = {"flags": (None, flags), "gcc": ("gcc", gcc), "frames": ("gcc", frames), "clang-tidy": ("clang-tidy", clang_tidy),
         "cppcheck": ("cppcheck", cppcheck), "shellcheck": ("shellcheck", shellcheck)}


def main(build, *names):
    pathlib.Path(ROOT, build).mkdir(parents=True, exist_ok=True)
    commands = compile_commands(build, "gcc")
    print("TAP version 13")
    for name in names or TOOLS:
        program, tool = TOOLS[name]
        if program and not shutil.which(program):
            check(False, f"{name}: {program} is not installed; on Debian: apt-get install {PACKAGES[program]}")
            continue
        tool(commands, build)
    print(f"1..{number}")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
