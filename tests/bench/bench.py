#!/usr/bin/env python3
"""Penult and transformers + torch side by side at the full geometry of bigG's text tower. See bench.mk for how to run it.

All processes of a cell (a number of threads, a batch) are open at the same time and take turns, one encode each, there
and back again: the machine's drift hits all alike, and what counts is the ratio of two neighbours in one round, the
median of RUNS rounds. Nothing is refused on a busy machine; how busy it was is printed beside the figures.
"""
import argparse
import array
import json
import math
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import sys
import time

import machine
import report
from peers import KERNELS, Kind, PeerFailed, Places, cold, prepare

TOKENS, BLOCKS, WIDTH, MLP_WIDTH = 77, 32, 1280, 5120
BLOCK_MATRICES = BLOCKS * (4 * WIDTH * WIDTH + 2 * WIDTH * MLP_WIDTH)
# a multiplication and an addition for each block weight and token, and causal attention's two products: row i has i
FLOP_PRODUCTS = 2 * TOKENS * BLOCK_MATRICES
FLOP_ATTENTION = BLOCKS * 2 * 2 * WIDTH * (TOKENS * (TOKENS + 1) // 2)
FLOP_PER_PROMPT = FLOP_PRODUCTS + FLOP_ATTENTION
# float32 arithmetic over the same weights twice: far above rounding, far below another model
SAME_MODEL = 1e-4

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Progress:
    """One line on a terminal; nothing elsewhere."""

    def __init__(self):
        self.shown, self.began = sys.stderr.isatty(), time.monotonic()

    def say(self, text):
        if self.shown:
            print(f"\r\033[K{time.monotonic() - self.began:6.0f} s  {text}", end="", file=sys.stderr, flush=True)

    def clear(self):
        if self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def kinds_of(batch, options, every):
    """Neighbours in this list are neighbours in time: torch stands beside what it is compared with."""
    torch = ["f32", "bf16"] if options.torch else []
    first = []
    for weights in ("f32", "bf16", "f16"):
        if weights in torch:
            first.append(Kind("torch", weights))
        if weights in options.dtypes:
            first.append(Kind("penult", weights))
    others = [Kind("penult", weights, kernels) for kernels in options.kernels if kernels != "best"
              for weights in options.dtypes if batch == 1 or every]
    return first + others


def warm(path):
    """Reads a file once, so that it is in the page cache."""
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


def block_range(path):
    """Where the block weights lie in the file: they are neighbours by name."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    offsets = [value["data_offsets"] for name, value in header.items() if ".layers." in name]
    begin, end = min(offset[0] for offset in offsets), max(offset[1] for offset in offsets)
    if end - begin != sum(offset[1] - offset[0] for offset in offsets):
        raise PeerFailed(f"{path}: other tensors lie between the block weights")
    return 8 + size + begin, 8 + size + end


def read_weights(options, places, threads):
    rows = []
    for weights in options.dtypes:
        path = places.models / weights / "model.safetensors"
        begin, end = block_range(path)
        done = subprocess.run([str(places.build / "bench" / "read_weights"), str(path), str(begin), str(end), str(threads),
                               str(options.runs)], check=True, capture_output=True, text=True)
        rows.append({"weights": weights, **json.loads(done.stdout)})
    return rows


def read_floats(path):
    values = array.array("f")
    values.frombytes(path.read_bytes())
    return values


def distance(a, b):
    """rms of the difference over the rms of b"""
    if len(a) != len(b):
        return math.inf
    squares = math.fsum(y * y for y in b)
    return math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(a, b)) / squares) if squares else math.inf


def run_cell(options, places, threads, batch, progress):
    """All peers of one number of threads and one batch, in turn."""
    kinds = kinds_of(batch, options, options.every)
    results = places.build / "bench" / "results"
    results.mkdir(parents=True, exist_ok=True)
    peers, rows, busy = [], [], None
    where = f"{threads} thread{'s' * (threads > 1)}, batch {batch}"
    try:
        for kind in kinds:
            progress.say(f"{where}: opening {kind.name}")
            saved = results / kind.name.replace(" ", "-")
            peer, facts = prepare(places, kind, threads, batch, saved)
            peers.append(peer)
            rows.append({"kind": kind.__dict__, "name": kind.name, "saved": saved, **facts, "runs": []})
        busy, load = machine.Busy(), os.getloadavg()
        for number in range(options.runs):
            order = range(len(peers)) if number % 2 == 0 else reversed(range(len(peers)))
            for index in order:
                progress.say(f"{where}: run {number + 1} of {options.runs}, {kinds[index].name}")
                rows[index]["runs"].append(peers[index].ask("run"))
        others, steal = busy.since(sum(run["cpu"] for row in rows for run in row["runs"]))
    finally:
        for peer in peers:
            peer.end()
    for row in rows:
        evaluate(row, rows, batch)
    return {"threads": threads, "batch": batch, "rows": rows, "load": load, "cpus_of_others": others, "cpus_stolen": steal}


def evaluate(row, rows, batch):
    """Adds the figures of a row: per prompt, and beside torch round by round."""
    walls = [run["wall"] / batch for run in row["runs"]]
    row["seconds"] = statistics.median(walls)
    row["best"] = min(walls)
    row["cpu"] = statistics.median(run["cpu"] / batch for run in row["runs"])
    row["major_faults"] = sum(run["major_faults"] for run in row["runs"])
    row["gflops"] = FLOP_PER_PROMPT / row["seconds"] * 1e-9
    row["beside"] = {}
    for other in rows:
        if other["kind"]["program"] == "torch" and other is not row:
            ratios = [theirs["wall"] / ours["wall"] for ours, theirs in zip(row["runs"], other["runs"])]
            row["beside"][other["name"]] = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios),
                                            "each": ratios}
    reference = next((other for other in rows if other["name"] == "torch f32"), rows[0])
    row["difference"] = distance(read_floats(row["saved"]), read_floats(reference["saved"]))
    row["difference_from"] = reference["name"]


def wrong_rows(cells):
    return [f"{row['name']}, {cell['threads']} threads, batch {cell['batch']}: differs from torch f32 by "
            f"{row['difference']:.1e} of the rms; the same weights in float32 give below {SAME_MODEL:.0e}"
            for cell in cells for row in cell["rows"]
            if row["name"] == "penult f32" and row["difference_from"] == "torch f32" and not row["difference"] < SAME_MODEL]


def run_cold(options, places, threads, progress):
    kinds = [kind for kind in kinds_of(1, options, False) if kind.kernels == "best"]
    rows = [{"name": kind.name, "threads": threads, "starts": []} for kind in kinds]
    for number in range(options.runs):
        for row, kind in zip(rows, kinds) if number % 2 == 0 else reversed(list(zip(rows, kinds))):
            progress.say(f"cold process, {threads} threads: start {number + 1} of {options.runs}, {kind.name}")
            row["starts"].append(cold(places, kind, threads))
    for row in rows:
        row["median"] = {key: statistics.median(start[key] for start in row["starts"])
                         for key in ("total", "load", "model_open", "run")}
        sessions = [start["session_open"] for start in row["starts"] if start["session_open"] is not None]
        row["median"]["session_open"] = statistics.median(sessions) if sessions else None
    return rows


def run_kernels(options, places, progress):
    progress.say("kernels alone")
    done = subprocess.run([str(places.build / "bench" / "kernels"), "--json", str(options.runs)], check=True,
                          capture_output=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def numbers(text):
    return [int(word) for word in text.split(",")]


def words(allowed):
    def parse(text):
        found = text.split(",")
        for word in found:
            if word not in allowed:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(allowed)}")
        return found
    return parse


def parse_options(arguments):
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, required=True, help="the build folder with penult.so and bench/")
    parser.add_argument("--models", type=pathlib.Path, required=True, help="the folder with f32, f16 and bf16")
    parser.add_argument("--torch", default="", metavar="PYTHON", help="an interpreter with transformers and torch; "
                        "without it Penult runs alone")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="default 1,2")
    parser.add_argument("--batches", type=numbers, default=[1, 8], help="default 1,8")
    parser.add_argument("--dtypes", type=words(("f32", "f16", "bf16")), default=["f32", "f16", "bf16"])
    parser.add_argument("--kernels", type=words(tuple(KERNELS)), default=["best", "avx2", "openblas"],
                        help="Penult's kernel sets; those beside the best only at batch 1, unless --every")
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--skip", type=words(("encode", "cold", "read", "kernels")), default=[], help="parts to leave out")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="all figures, each run")
    options = parser.parse_args(arguments)
    if options.runs < 1 or min(options.threads + options.batches) < 1:
        parser.error("runs, threads and batches are at least 1")
    return options


def main(arguments):
    options = parse_options(arguments)
    progress = Progress()
    # a copy: whoever builds while the bench runs does not change what is measured
    plugin = options.build / "bench" / "penult.so"
    shutil.copyfile(options.build / "penult.so", plugin)
    places = Places(options.build, options.models, plugin.resolve(), options.torch)
    facts = {"machine": machine.describe(ROOT), "runs": options.runs, "flop_per_prompt": FLOP_PER_PROMPT,
             "flop_products": FLOP_PRODUCTS, "flop_attention": FLOP_ATTENTION, "read": [], "cells": [], "cold": [],
             "kernels": [], "command": arguments}
    report.head(facts)
    try:
        for weights in sorted(set(options.dtypes) | ({"f32", "bf16"} if options.torch else set())):
            progress.say(f"reading the {weights} file into the page cache")
            warm(options.models / weights / "model.safetensors")
        if "kernels" not in options.skip:
            facts["kernels"] = run_kernels(options, places, progress)
            progress.clear()
            report.kernels(facts["kernels"])
        for threads in options.threads:
            if "read" not in options.skip:
                facts["read"] += read_weights(options, places, threads)
        progress.clear()
        report.read(facts["read"])
        for threads in options.threads:
            for batch in options.batches if "encode" not in options.skip else []:
                facts["cells"].append(run_cell(options, places, threads, batch, progress))
                progress.clear()
                report.cell(facts["cells"][-1], facts["read"])
        if "cold" not in options.skip:
            facts["cold"] = run_cold(options, places, max(options.threads), progress)
        progress.clear()
        report.cold(facts["cold"])
    except (PeerFailed, OSError, subprocess.CalledProcessError) as error:
        progress.clear()
        print(f"bench: {error}\n{getattr(error, 'stderr', None) or ''}".strip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress.clear()
        return 130
    finally:  # also what there is when a later part fails
        facts["load_at_end"] = os.getloadavg()
        if options.json:
            options.json.write_text(json.dumps(facts, indent=1, default=str) + "\n")
    report.foot(facts)
    wrong = wrong_rows(facts["cells"])
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
