"""The figures of the bench as tables for people. Computes nothing but medians and units."""
import os
import statistics

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


def head(facts):
    for line in machine.sentences(facts["machine"]):
        print(line)
    print(f"model     CLIP ViT-bigG/14 text tower, 32 x 1280, 77 tokens, random weights; medians of {facts['runs']} runs\n"
          f"work      {facts['flop_per_prompt'] * 1e-9:.2f} GFLOP a prompt: 2 x 77 x 629145600 block weights = "
          f"{facts['flop_products'] * 1e-9:.2f}, causal attention 32 x 4 x 1280 x 77 x 78 / 2 = "
          f"{facts['flop_attention'] * 1e-9:.2f}\n", flush=True)


def kernels(rows):
    print("GEMM alone, one thread, GFLOP/s of CPU time")
    peaks = [row for row in rows if "peak" in row]
    if peaks:
        print("  fused multiply-adds on registers alone reach "
              + ", ".join(f"{row['gflops']:.0f} with {row['peak']}" for row in peaks))
    table(["kernels", "weights", "77x5120x1280", "77x1280x5120", "8x77x5120x1280", "8x77x1280x5120", "denormal / normal"],
          [[row["kernels"], row["dtype"].lower(), row["fc1"], row["fc2"], row["fc1_batch8"] or "-", row["fc2_batch8"] or "-",
            f"{row['denormal']:.2f}"] for row in rows if "peak" not in row])


def read(rows):
    if not rows:
        return
    print("Reading the block weights once, from the page cache: the floor of any encode")
    table(["file", "threads", "MB", "ms", "best", "GB/s", "first pass ms"],
          [[row["weights"], row["threads"], f"{row['bytes'] / 1e6:.0f}", f"{statistics.median(row['seconds']) * 1e3:.1f}",
            f"{min(row['seconds']) * 1e3:.1f}", f"{row['bytes'] / statistics.median(row['seconds']) / 1e9:.1f}",
            f"{row['first'] * 1e3:.1f}"] for row in rows])


def ratio(row, name):
    beside = row["beside"].get(name)
    return f"{beside['median']:.2f} ({beside['least']:.2f}-{beside['most']:.2f})" if beside else "-"


def cell(cell, floors):
    threads, batch = cell["threads"], cell["batch"]
    print(f"{threads} thread{'s' * (threads > 1)}, batch {batch}: seconds per prompt   (load {cell['load'][0]:.2f} at the start;"
          f" others used {cell['cpus_of_others']:.2f} of {os.cpu_count()} CPUs, the hypervisor "
          f"{cell['cpus_stolen']:.2f})")
    rows = []
    for row in cell["rows"]:
        floor = next((statistics.median(each["seconds"]) / batch for each in floors
                      if each["weights"] == row["kind"]["weights"] and each["threads"] == threads), None)
        after, loaded = row["memory_after"], row["memory_loaded"]
        peak = row["memory_peak"]["RssAnon"]
        ours = row["kind"]["program"] == "penult"
        rows.append([row["name"], f"{row['seconds']:.3f}", f"{row['best']:.3f}", f"{row['cpu']:.3f}", f"{row['gflops']:.0f}",
                     ratio(row, "torch f32"), ratio(row, "torch bf16"),
                     f"{row['seconds'] / floor:.1f}" if floor else "-", f"{peak / MIB:.1f}",
                     f"{(peak - loaded['RssAnon']) / MIB:.1f}" if ours else "-",
                     f"{row['opened']['measured'] / 2**20:.1f}" if ours else "-", f"{after['RssFile'] / MIB:.0f}",
                     f"{row['difference']:.1e}"])
    table(["", "median", "best", "CPU s", "GFLOP/s", "torch f32 / it", "torch bf16 / it", "/ floor", "private MiB",
           "- loaded", "measured", "mapped MiB", "difference"], rows)


def cold(rows):
    if not rows:
        return
    print("Cold process to its first result (batch 1, file in the page cache), seconds")
    table(["", "threads", "total", "start and load", "open model", "open session", "encode"],
          [[row["name"], row["threads"], *(f"{row['median'][key]:.3f}" if row["median"][key] is not None else "-"
                                           for key in ("total", "load", "model_open", "session_open", "run"))]
           for row in rows])


NOTES = """\
torch X / it    how many times as long transformers + torch with X weights and arithmetic takes: median of the rounds (least-most)
CPU s           CPU time of the process per prompt: far above median x threads: it spins; far below: it did not get its CPUs
/ floor         times as long as reading the block weights once per batch
private MiB     the largest RssAnon from the start to the first result; "- loaded": beyond a process that only loaded the
                plugin; "measured": what session_measure says; "mapped MiB": RssFile, which processes share
difference      rms of hidden state -2 from torch f32's over its rms (without torch: from the first row's); an f16 or bf16 file
                holds other weights than the f32 one"""


def foot(facts):
    print(NOTES)
    versions = {}
    for cell in facts["cells"]:
        for row in cell["rows"]:
            opened = row["opened"]
            versions.setdefault(f"{row['kind']['program']} {opened['version']} ({opened['kernels']})")
            faults = row["major_faults"]
            if faults:
                print(f"note: {row['name']}, {cell['threads']} threads, batch {cell['batch']}: {faults} pages were read from the "
                      "disk while it was timed")
    if versions:
        print("versions        " + ", ".join(versions))
    print("load at the end " + " ".join(f"{load:.2f}" for load in facts["load_at_end"]))
