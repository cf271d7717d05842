"""The figures of the bench as tables for people. Computes nothing but medians and units."""
import os

import contest as figures
import machine

MIB = 1 << 10  # of the KiB that /proc counts in


def table(heads, rows):
    """Columns that line up: the first to the left, numbers to the right."""
    cells = [heads] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    for row in cells:
        print("  " + "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))))
    print(flush=True)


def head(facts, left_out):
    for line in machine.sentences(facts["machine"]):
        print(line)
    print(f"model     CLIP ViT-bigG/14 text tower, 32 x 1280, 77 tokens, random weights; medians of {facts['runs']} runs\n"
          f"work      {facts['flop_per_prompt'] * 1e-9:.2f} GFLOP a prompt: 2 x 77 x 629145600 block weights = "
          f"{facts['flop_products'] * 1e-9:.2f}, causal attention 32 x 4 x 1280 x 77 x 78 / 2 = "
          f"{facts['flop_attention'] * 1e-9:.2f}")
    if facts["mask"]:
        print(f"mask      both sides use {facts['mask']} and nothing above it")
    for name, why in left_out.items():
        print(f"left out  {name}: {why}")
    print(flush=True)


def kernels(rows):
    print("GEMM alone, one thread, GFLOP/s of CPU time")
    peaks = [row for row in rows if "peak" in row]
    if peaks:
        print("  fused multiply-adds on registers alone reach "
              + ", ".join(f"{row['gflops']:.0f} with {row['peak']}" for row in peaks))
    table(["kernels", "weights", "77x5120x1280", "77x1280x5120", "8x77x5120x1280", "8x77x1280x5120", "denormal / normal"],
          [[row["kernels"], row["dtype"].lower(), *(row[key] or "-" for key in ("fc1", "fc2", "fc1_batch8", "fc2_batch8")),
            f"{row['denormal']:.2f}" if "denormal" in row else "-"] for row in rows if "peak" not in row])


def ratio(rows, name, row):
    """How many times as long the row of that name took, round by round."""
    other = next((each for each in rows if each["name"] == name), None)
    if other is None or other is row:
        return "-"
    values = figures.ratios(other, row)
    return f"{figures.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def contest(state, flop):
    rows = [row for row in state["rows"] if row["runs"]]
    if not rows:
        return
    pieces = state["pieces"]
    print(f"{state['title']}: medians of {len(rows[0]['runs'])}   (load {max(piece['load'][0] for piece in pieces):.2f} at the start"
          + (f"; others used {max(piece['cpus_of_others'] for piece in pieces):.2f} of {os.cpu_count()} CPUs, the hypervisor "
             f"{max(piece['cpus_stolen'] for piece in pieces):.2f})" if "cpus_of_others" in pieces[0] else ")"))
    if state["name"].startswith("cold/"):
        return cold(rows)
    if state["name"] == "tokenizer":
        return tokenizers(rows)
    table(["", "seconds", "best", "CPU s", "GFLOP/s", "torch f32 / it", "torch bf16 / it", "/ floor", "private MiB", "- loaded",
           "measured", "mapped MiB", "difference"], [line(row, rows, flop) for row in rows])


def line(row, rows, flop):
    """Of one program; seconds are for all prompts of a run together."""
    kind, seconds = row["kind"], figures.seconds(row)
    ours, reading = kind["program"] == "penult", kind["program"] == "read"
    floor = next((each for each in rows if each["kind"]["program"] == "read" and each["kind"]["weights"] == kind["weights"]
                  and each["kind"]["threads"] == kind["threads"]), None)
    cells = [row["name"], f"{seconds:.3f}", f"{min(one['wall'] for one in row['runs']):.3f}",
             "-" if reading else f"{figures.median([one['cpu'] for one in row['runs']]):.3f}"]
    if reading:
        return cells + [f"{row['opened']['bytes'] / seconds / 1e9:.1f} GB/s"] + ["-"] * 8
    after, loaded, peak = row["memory_after"], row["memory_loaded"], row["memory_peak"]["RssAnon"]
    work = kind["batch"] * flop / seconds * 1e-9
    return cells + [
        f"{work:.0f}" if kind["task"] != "pooled" and ours or kind["task"] == "encode" else "-",
        ratio(rows, "torch f32", row), ratio(rows, "torch bf16", row),
        f"{figures.median(figures.ratios(row, floor)):.1f}" if floor else "-", f"{peak / MIB:.1f}",
        f"{(peak - loaded['RssAnon']) / MIB:.1f}" if ours else "-",
        f"{row['opened']['measured'] / 2**20:.1f}" if ours else "-", f"{after['RssFile'] / MIB:.0f}",
        f"{row['difference']:.1e}" if "difference" in row else "-"]


def cold(rows):
    def cell(row, key):
        values = [one[key] for one in row["runs"]]
        return f"{figures.median(values):.3f}" if None not in values else "-"
    keys = ("total", "load", "model_open", "session_open", "run", "warm")
    table(["seconds", "total", "start and load", "open model", "open session", "first encode", "warm encode"],
          [[row["name"], *(cell(row, key) for key in keys)] for row in rows])


def tokenizers(rows):
    table(["", "strings/s", "strings", "ms"],
          [[row["name"], f"{row['runs'][0]['strings'] / figures.seconds(row):.0f}", row["runs"][0]["strings"],
            f"{figures.seconds(row) * 1e3:.1f}"] for row in rows])


def goals(rows):
    """What was wanted and what was measured: the last table, for who reads one only."""
    print("Goals, with the most threads: median (least-most) of the rounds")
    met = {True: "met", False: "NOT MET", None: "-"}
    lines = [[row["what"], row["measured"], row["goal"], met[row["met"]], row["why"]] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    for line in lines:
        print(("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths)) + "  " + line[4]).rstrip())
    print(flush=True)


NOTES = """\
seconds         for all prompts of a run together
torch X / it    how many times as long transformers + torch with X weights and arithmetic takes: median of the rounds (least-most)
CPU s           CPU time of the process: far above seconds x threads: it spins; far below: it did not get its CPUs
/ floor         times as long as reading the block weights once, which "read" does
private MiB     the largest RssAnon from the start to the first result; "- loaded": beyond a process that only loaded the
                plugin; "measured": what session_measure says; "mapped MiB": RssFile, which processes share
difference      rms from the result of torch f32 (without it: of the first) over its rms, checked before a round counts; an f16,
                bf16 or f8 file holds other weights than the f32 one
sdcpp           stable-diffusion.cpp: 31 of the 32 blocks, as its graph for hidden state -2 has no pooled vector; prompts one by one"""


def foot(facts):
    print(NOTES)
    versions = {}
    for state in facts["contests"]:
        for row in state["rows"]:
            opened = row.get("opened", {})
            if "version" in opened:
                versions.setdefault(f"{row['kind']['program']} {opened['version']} ({opened['kernels'].strip()})")
            faults = sum(one["major_faults"] for one in row["runs"])
            if faults:
                print(f"note: {row['name']}, {state['title']}: {faults} pages were read from the disk while it was timed")
    if versions:
        print("versions        " + ", ".join(versions))
    print("load at the end " + " ".join(f"{load:.2f}" for load in facts["load_at_end"]))
