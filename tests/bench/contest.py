"""One contest: some processes side by side, in turn, there and back again, round after round.

Owns the rounds, the check of the results before a round counts, and going on where an earlier call stopped. Knows no table;
what a contest is for, contests.py says.
"""
import array
import dataclasses
import math
import os
import statistics
import time

import machine
import peers

# rms of the difference from the reference's result over its rms, above which it is another computation: the file's rounding,
# and stable-diffusion.cpp's activations in f16 and GELU by tanh
DIFFERENCES = {"f32": 1e-4, "f16": 1e-2, "bf16": 5e-2, "f8": 0.5}
SDCPP_DIFFERENCE = 2e-2


@dataclasses.dataclass(frozen=True)
class Contest:
    """name: where it stands among the figures; kinds: neighbours here are neighbours in time; reference: whose result the
    others are held to, where it takes part; cold: each turn is a process of its own; alike: their results are compared"""
    name: str
    title: str
    kinds: tuple
    reference: str = ""
    cold: bool = False
    alike: bool = True


class OutOfTime(Exception):
    """The time that one call may take is nearly over; what there is has been kept."""


class Clock:
    def __init__(self, minutes):
        self.began, self.limit = time.monotonic(), minutes * 60 if minutes else math.inf

    def need(self, seconds):
        if time.monotonic() - self.began + seconds > self.limit:
            raise OutOfTime


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


def bound(kind, reference):
    """How far a result may be from the reference's."""
    if kind["program"] in ("tokenizers", "penult-tokens"):
        return 0.0
    own = ("program", "weights", "kernels", "arithmetic", "task")
    if kind["program"] == "penult" and all(kind[key] == reference[key] for key in own):
        return 0.0  # the same bits, whatever the threads and the batch
    if kind["arithmetic"] != "exact":
        return DIFFERENCES["bf16"]
    return max(DIFFERENCES[kind["weights"]], DIFFERENCES[reference["weights"]],
               SDCPP_DIFFERENCE if kind["program"] == "sdcpp" else 0)


def check_results(contest, rows):
    """Adds how far each result is from the reference's; a result that is another computation's ends the bench."""
    saved = [row for row in rows if row["saved"]]
    if not saved:
        return
    reference = next((row for row in saved if row["name"] == contest.reference), saved[0])
    values = read_floats(reference["saved"])
    for row in saved:
        row["difference"], row["difference_from"] = distance(read_floats(row["saved"]), values), reference["name"]
        limit = bound(row["kind"], reference["kind"])
        if not row["difference"] <= limit:
            raise peers.PeerFailed(f"{contest.title}: the result of {row['name']} differs from that of {reference['name']} by "
                                   f"{row['difference']:.1e} of the rms; at most {limit:.0e} was expected")


def new_state(contest):
    return {"name": contest.name, "title": contest.title, "pieces": [],
            "rows": [{"name": kind.name, "kind": dataclasses.asdict(kind), "runs": []} for kind in contest.kinds]}


def turns(count, number):
    return range(count) if number % 2 == 0 else reversed(range(count))


def run(contest, state, runs, places, progress, clock):
    """Rounds until there are `runs` of them. The state is whole after each round."""
    have = len(state["rows"][0]["runs"])
    if have >= runs:
        return
    # opening is a round and more; before the first one is known a prompt counts for a second
    known = state["pieces"][-1]["seconds_a_round"] if state["pieces"] else sum(kind.batch for kind in contest.kinds)
    clock.need(2 * known + 15)
    if contest.cold:
        return run_cold(contest, state, runs, places, progress, clock)
    folder = places.build / "bench" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    open_peers, rows = [], state["rows"]
    try:
        for kind, row in zip(contest.kinds, rows):
            progress.say(f"{contest.title}: opening {kind.name}")
            saved = folder / kind.name.replace(" ", "-") if contest.alike and kind.program != "read" else None
            peer, facts = peers.prepare(places, kind, saved)
            open_peers.append(peer)
            row.update(facts, saved=saved)
        check_results(contest, rows)
        piece = {"load": os.getloadavg(), "rounds": 0, "cpus_of_others": 0, "cpus_stolen": 0, "seconds_a_round": 0.0}
        state["pieces"].append(piece)
        busy, began = machine.Busy(), time.monotonic()
        for number in range(have, runs):
            clock.need(piece["seconds_a_round"] or sum(row["first"]["wall"] for row in rows))
            round_of = {}
            for index in turns(len(open_peers), number):
                progress.say(f"{contest.title}: run {number + 1} of {runs}, {rows[index]['name']}")
                round_of[index] = open_peers[index].ask("run")
            for index, one in round_of.items():
                rows[index]["runs"].append(one)
            piece["rounds"] += 1
            piece["seconds_a_round"] = (time.monotonic() - began) / piece["rounds"]
            own = sum(one["cpu"] for row in rows for one in row["runs"][have:])
            piece["cpus_of_others"], piece["cpus_stolen"] = busy.since(own)
        for kind, peer, row in zip(contest.kinds, open_peers, rows):
            if kind.task == "suffix":
                row["same_bits"] = peer.ask("check")["same"]
    finally:
        for peer in open_peers:
            peer.end()
        for row in rows:
            row.pop("saved", None)


def run_cold(contest, state, runs, places, progress, clock):
    piece = {"load": os.getloadavg(), "rounds": 0, "seconds_a_round": 0}
    state["pieces"].append(piece)
    began = time.monotonic()
    for number in range(len(state["rows"][0]["runs"]), runs):
        clock.need(piece["seconds_a_round"])
        round_of = {}
        for index in turns(len(contest.kinds), number):
            progress.say(f"{contest.title}: start {number + 1} of {runs}, {contest.kinds[index].name}")
            round_of[index] = peers.cold(places, contest.kinds[index])
        for index, one in round_of.items():
            state["rows"][index]["runs"].append(one)
        piece["rounds"] += 1
        piece["seconds_a_round"] = (time.monotonic() - began) / piece["rounds"]


# ---- reading a state ---------------------------------------------------------------------------------------------------

def row_of(state, name):
    return next((row for row in state["rows"] if row["name"] == name and row["runs"]), None) if state else None


def median(values):
    return statistics.median(values)


def seconds(row):
    """Median of a run, for all its prompts together."""
    return median([one["wall"] for one in row["runs"]])


def ratios(over, under):
    """Round by round: how many times as long `over` took as `under`."""
    return [a["wall"] / b["wall"] for a, b in zip(over["runs"], under["runs"])]
