"""Draws time against prompts, one panel for each number of threads, from the figures that bench.py --json keeps.

    plot.py FIGURES.json PICTURE.png

Floors are drawn in: reading the block weights once, which no batch can go below, and the arithmetic at the rate that fused
multiply-adds on registers reach. Knows nothing of how anything was measured.
"""
import io
import json
import pathlib
import sys

import matplotlib
import PIL.Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 - the backend is chosen first

import contest  # noqa: E402
import goals  # noqa: E402

# Okabe and Ito's colours, which people who see fewer of them tell apart; markers differ as well. Ours are solid.
STYLES = {
    "penult f32": ("#0072B2", "o", "-"), "penult f16": ("#009E73", "s", "-"), "penult bf16": ("#000000", "D", "-"),
    "penult f16 fast bf16": ("#56B4E9", "v", "-"), "penult bf16 fast bf16": ("#56B4E9", "^", "-"),
    "torch f32": ("#D55E00", "o", "--"), "torch bf16": ("#D55E00", "D", ":"),
    "onnxruntime f32": ("#CC79A7", "P", "--"), "sdcpp f16": ("#E69F00", "X", "--"),
}
NAMES = {"sdcpp f16": "stable-diffusion.cpp f16", "onnxruntime f32": "ONNX Runtime f32"}
GREY = "#777777"
INCHES, DPI = (11, 5.2), 110
COLOURS = 160  # of the file: enough for lines and their edges, and a third of the bytes


def series(facts, threads):
    """{name: [(prompts, seconds)]}, and {weights: seconds of reading them}"""
    found, floors = {}, {}
    for state in facts["contests"]:
        part, _, rest = state["name"].partition("/")
        if part != "encode" or int(rest.split("/")[0]) != threads:
            continue
        for row in state["rows"]:
            kind = row["kind"]
            if kind["program"] == "read":
                floors[kind["weights"]] = contest.seconds(row)
            elif row["name"] in STYLES:
                found.setdefault(row["name"], []).append((kind["batch"], contest.seconds(row)))
    return {name: sorted(found[name]) for name in STYLES if name in found}, floors


def peak(facts):
    """(GFLOP/s of one thread, with what), of the widest that the mask allows"""
    rows = [row for row in facts["kernels"] if "peak" in row]
    if goals.level(facts) == "avx2":
        rows = [row for row in rows if row["peak"] == "avx2"]
    best = max(rows, key=lambda row: row["gflops"], default=None)
    return (best["gflops"], best["peak"]) if best else (None, "")


def number(value):
    """Two digits, and no 0.50 where 0.5 is meant."""
    return f"{float(f'{value:.2g}'):g}"


def seconds_axis(axis, low, high):
    ticks = [step * 10.0 ** power for power in range(-3, 4) for step in (1, 2, 5)]
    axis.set_ylim(low / 1.35, high * 1.25)
    axis.set_yticks([tick for tick in ticks if low / 1.35 <= tick <= high * 1.25])
    axis.yaxis.set_major_formatter(lambda value, _position: number(value))
    axis.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())


def panel(axis, facts, threads):
    """Draws one number of threads; returns the least and the most seconds in it."""
    lines, floors = series(facts, threads)
    prompts = sorted({batch for line in lines.values() for batch, _seconds in line})
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    for name, line in lines.items():
        colour, marker, dashes = STYLES[name]
        axis.plot(*zip(*line), dashes, color=colour, marker=marker, markersize=6, linewidth=1.6, label=NAMES.get(name, name))
    values = [seconds for line in lines.values() for _batch, seconds in line]
    if not prompts:
        return 1e-2, 1
    span = (prompts[0] / 1.12, prompts[-1] * 1.12)
    # f16 and bf16 files are of one size: one line for both
    sizes = {"f32": floors.get("f32"), "16 bit": floors.get("bf16", floors.get("f16"))}
    for words, floor in sizes.items():
        if floor:
            values.append(floor)
            axis.plot(span, [floor, floor], color=GREY, linewidth=1.1)
            axis.annotate(f"reading the block weights once, {words}", (span[1], floor), (-3, 3), textcoords="offset points",
                          ha="right", fontsize=8, color="#444444")
    rate, width = peak(facts)
    if rate:
        ends = [(batch, batch * facts["flop_per_prompt"] / (rate * threads * 1e9)) for batch in span]
        values.append(ends[0][1])
        axis.plot(*zip(*ends), color=GREY, linewidth=1.1, linestyle=(0, (6, 2, 1, 2)),
                  label=f"float32 at the registers' peak\n({width}, {rate:.0f} GFLOP/s a thread)")
    axis.set_xlim(*span)
    axis.set_xticks(prompts)
    axis.xaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axis.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    axis.set_xlabel("prompts at once")
    axis.set_title(f"{threads} thread{'s' * (threads > 1)}", fontsize=11)
    axis.grid(True, color="#e4e4e4", linewidth=0.7)
    axis.set_axisbelow(True)
    return min(values), max(values)


def draw(facts, path):
    counts = sorted(facts["threads"])
    figure, axes = plt.subplots(1, len(counts), figsize=INCHES, dpi=DPI, sharey=True, squeeze=False, layout="constrained")
    limits = [panel(axis, facts, threads) for axis, threads in zip(axes[0], counts)]
    seconds_axis(axes[0][0], min(low for low, _high in limits), max(high for _low, high in limits))
    axes[0][0].set_ylabel("seconds for all of them")
    handles, labels = axes[0][-1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=9, frameon=False)
    cpu = facts["machine"]["cpu"] or "a CPU without a name"
    figure.suptitle(f"CLIP ViT-bigG/14 text tower, 77 tokens: {cpu}, {goals.level(facts)}"
                    + (" (masked)" if facts["mask"] else ""), fontsize=11)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    PIL.Image.open(drawn).convert("RGB").quantize(COLOURS, PIL.Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: plot.py FIGURES.json PICTURE.png")
    draw(json.loads(pathlib.Path(sys.argv[1]).read_text()), sys.argv[2])
