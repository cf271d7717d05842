#!/usr/bin/env python3
"""Penult beside its competitors at the full geometry of bigG's text tower. See bench.mk for how to run it.

All processes of a contest (contests.py) are open at the same time and take turns, one encode each, there and back again: the
machine's drift hits all alike, and what counts is the ratio of two neighbours in one round, the median of RUNS rounds. Nothing is
refused on a busy machine; how busy it was is printed beside the figures.

With --json the figures are kept after each contest, and with --minutes the bench stops in time and goes on where it was when it
is called again.
"""
import argparse
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import contest
import contests
import goals
import machine
import report
from peers import KERNELS, MASKS, PeerFailed, Places

TOKENS, BLOCKS, WIDTH, MLP_WIDTH = 77, 32, 1280, 5120
BLOCK_MATRICES = BLOCKS * (4 * WIDTH * WIDTH + 2 * WIDTH * MLP_WIDTH)
# a multiplication and an addition for each block weight and token, and causal attention's two products: row i has i
FLOP_PRODUCTS = 2 * TOKENS * BLOCK_MATRICES
FLOP_ATTENTION = BLOCKS * 2 * 2 * WIDTH * (TOKENS * (TOKENS + 1) // 2)
FLOP_PER_PROMPT = FLOP_PRODUCTS + FLOP_ATTENTION

ROOT = pathlib.Path(__file__).resolve().parents[2]
FEWER = 3  # what only the plot shows has a third of the runs, but not less than this
GO_ON = 75  # exit status: stopped in time, call again


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


def warm(path):
    """Reads a file once, so that it is in the page cache."""
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


def run_kernels(options, places, progress):
    rows = []
    for name in ("kernels", "kernels_dnnl"):
        tool = places.build / "bench" / name
        if tool.exists():
            progress.say(f"{name}: products alone")
            done = subprocess.run([str(tool), "--json", str(options.runs)], check=True, capture_output=True, text=True,
                                  env=places.environment())
            rows += [json.loads(line) for line in done.stdout.splitlines()]
    return rows


# ---- options ------------------------------------------------------------------------------------------------------------

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


PARTS = ("kernels", *contests.PARTS)
PEERS = ("torch", "onnxruntime", "sdcpp", "tokenizers")


def parse_options(arguments):
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, required=True, help="the build folder with penult.so and bench/")
    parser.add_argument("--models", type=pathlib.Path, required=True, help="the folder with f32, f16, bf16, f8 and onnx")
    parser.add_argument("--torch", default="", metavar="PYTHON", help="an interpreter with transformers and torch; "
                        "without it Penult runs alone")
    parser.add_argument("--packages", default="", metavar="DIR", help="a folder with onnxruntime for that interpreter")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="default 1,2; goals are measured with the most")
    parser.add_argument("--batches", type=numbers, default=[1, 2, 4, 8], help="default 1,2,4,8")
    parser.add_argument("--dtypes", type=words(("f32", "f16", "bf16", "f8")), default=["f32", "f16", "bf16", "f8"])
    parser.add_argument("--kernels", type=words(tuple(KERNELS)), default=["best", "avx2", "openblas"],
                        help="Penult's kernel sets; those beside the best only with one prompt")
    parser.add_argument("--mask", choices=("none", *MASKS), default="none", help="hold both sides to these instructions: Penult by "
                        "its session's kernels, torch and oneDNN by the variables that they read")
    parser.add_argument("--peers", type=words(PEERS), default=list(PEERS), help="default: all that are there")
    parser.add_argument("--parts", type=words(PARTS), default=list(PARTS), help=f"default all: {','.join(PARTS)}")
    parser.add_argument("--skip", type=words(PARTS), default=[], help="parts to leave out")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="all figures, each run; what is there is not run again")
    parser.add_argument("--minutes", type=float, default=0, help=f"stop before these are over, with exit status {GO_ON}; "
                        "the same command goes on; needs --json")
    options = parser.parse_args(arguments)
    if options.runs < 1 or min(options.threads + options.batches) < 1:
        parser.error("runs, threads and batches are at least 1")
    if options.minutes and not options.json:
        parser.error("--minutes needs --json, which keeps what there is")
    options.mask = "" if options.mask == "none" else options.mask
    options.parts = [part for part in options.parts if part not in options.skip]
    return options


def leave_out(options, places):
    """Peers that are not there, and why: one sentence each."""
    reasons = {}
    if not options.torch:
        reasons |= {name: "make bench runs it; this call has no --torch" for name in ("torch", "onnxruntime", "tokenizers")}
    elif not options.packages or not (options.models / "onnx" / "complete").exists():
        reasons["onnxruntime"] = "its packages or its model could not be made; see above"
    if not (places.build / "bench" / "peer_sdcpp").exists():
        reasons["sdcpp"] = "give a checkout of stable-diffusion.cpp with its submodule ggml: make bench SDCPP=DIR"
    if options.mask:
        reasons |= {name: "nothing masks it" for name in ("onnxruntime", "sdcpp") if name not in reasons}
    options.left_out = {name: why for name, why in reasons.items() if name in options.peers}
    options.peers = [name for name in options.peers if name not in reasons]


def narrow(options, facts):
    """Kernel sets that are the best one by another name here, or above a mask, are not run beside it."""
    order = list(KERNELS)
    top = goals.level(facts)
    highest = order.index(top) if top in order else len(order)
    options.kernels = [name for name in options.kernels if name == "best" or order.index(name) < highest]


# ---- the figures ----------------------------------------------------------------------------------------------------------

def identity(options, places):
    """What two calls must have alike for the figures of one to go on in the other."""
    return {"plugin": hashlib.sha256(places.plugin.read_bytes()).hexdigest(), "mask": options.mask,
            "models": str(options.models.resolve())}


def begin(options, places, arguments):
    facts = {"machine": machine.describe(ROOT), "flop_per_prompt": FLOP_PER_PROMPT, "flop_products": FLOP_PRODUCTS,
             "flop_attention": FLOP_ATTENTION, "contests": [], "kernels": [], "command": arguments,
             "identity": identity(options, places), "mask": options.mask}
    if options.json and options.json.exists():
        kept = json.loads(options.json.read_text())
        if kept.get("identity") != facts["identity"]:
            raise PeerFailed(f"{options.json}: figures of another plugin, mask or folder of models; expected those of this one. "
                             "Remove it, or name another file")
        facts |= {"contests": kept["contests"], "kernels": kept["kernels"]}
    return facts | {"runs": options.runs, "threads": options.threads, "batches": options.batches}


def keep(options, facts):
    facts["load_at_end"] = os.getloadavg()
    facts["goals"] = goals.rows(facts)
    if options.json:
        fresh = options.json.with_suffix(".new")
        fresh.write_text(json.dumps(facts, indent=1, default=str) + "\n")
        fresh.replace(options.json)


def state_of(facts, one):
    """What there is of this contest; a contest of other peers than last time begins anew."""
    for state in facts["contests"]:
        if state["name"] == one.name:
            if [row["name"] for row in state["rows"]] == [kind.name for kind in one.kinds]:
                return state
            facts["contests"].remove(state)
            break
    facts["contests"].append(contest.new_state(one))
    return facts["contests"][-1]


def runs_of(options, one):
    goal = not one.name.startswith("encode/") or one.name.endswith("/1")
    return options.runs if goal else min(options.runs, max(FEWER, options.runs // 3))


def run_all(options, places, facts, progress, clock):
    chosen = contests.chosen(options)
    for weights in sorted({kind.weights for one in chosen for kind in one.kinds if kind.weights}):
        progress.say(f"reading the {weights} file into the page cache")
        warm(options.models / weights / "model.safetensors")
    if "kernels" in options.parts:
        facts["kernels"] = facts["kernels"] or run_kernels(options, places, progress)
        progress.clear()
        report.kernels(facts["kernels"])
    for one in chosen:
        state = state_of(facts, one)
        try:
            contest.run(one, state, runs_of(options, one), places, progress, clock)
        finally:
            progress.clear()
            facts["contests"] = [kept for kept in facts["contests"] if kept["rows"][0]["runs"]]
            keep(options, facts)
        report.contest(state, FLOP_PER_PROMPT)


def main(arguments):
    options = parse_options(arguments)
    progress, clock = Progress(), contest.Clock(options.minutes)
    # a copy: whoever builds while the bench runs does not change what is measured
    plugin = options.build / "bench" / "penult.so"
    shutil.copyfile(options.build / "penult.so", plugin)
    places = Places(options.build, options.models, plugin.resolve(), options.torch, options.packages, options.mask)
    facts = None
    try:
        facts = begin(options, places, arguments)
        leave_out(options, places)
        narrow(options, facts)
        options.arithmetics = places.arithmetics()
        report.head(facts, options.left_out)
        run_all(options, places, facts, progress, clock)
    except contest.OutOfTime:
        report.goals(facts["goals"])
        print(f"bench: stopped before {options.minutes:g} minutes were over; the same command goes on where it was")
        return GO_ON
    except (PeerFailed, OSError, subprocess.CalledProcessError) as error:
        progress.clear()
        print(f"bench: {error}\n{getattr(error, 'stderr', None) or ''}".strip(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        progress.clear()
        return 130
    keep(options, facts)
    report.goals(facts["goals"])
    report.foot(facts)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
