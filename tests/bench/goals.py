"""The goals that the bench measures against, each with what was measured. Pure: figures in, rows out; prints nothing.

A row: what, measured (text), goal (text), met (True, False or None: not measured here, or only reported), and why not.
"""
from contest import median, ratios, row_of

MIB = 1 << 10  # of the KiB that /proc counts in
NOISE = 1.02  # "no slower": two equal programs differ by as much
COLD_ALLOWANCE = 0.05
SUFFIX_GAIN = 1.2  # 18 of 77 rows stay: 77 / 59 is 1.3
MEMORY_LIMIT = 1.25  # this near to reading the weights once, a second thread has nothing to win


def level(facts):
    """The highest kernel set that both sides may use here."""
    flags, mask = facts["machine"]["flags"], facts["mask"]
    if mask:
        return mask
    if "amx_bf16" in flags:
        return "amx"
    return "avx512" if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= set(flags) else "avx2"


def spread(values):
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


class Goals:
    def __init__(self, facts):
        self.facts, self.rows = facts, []
        self.contests = {state["name"]: state for state in facts["contests"]}
        self.most = max(facts["threads"])
        self.encode = self.contests.get(f"encode/{self.most}/1")

    def add(self, what, values, goal, good, why=""):
        self.rows.append({"what": what, "measured": spread(values) if values else "-", "goal": goal, "runs": len(values or []),
                          "median": median(values) if values else None,
                          "met": None if good is None or not values else good(median(values)), "why": why})

    def ratio(self, what, state, over, under, goal, good, why=""):
        a, b = row_of(state, over), row_of(state, under)
        missing = " and ".join(name for name, row in ((over, a), (under, b)) if not row)
        self.add(what, ratios(a, b) if not missing else None, goal, good, why or (f"without {missing}" if missing else ""))

    def at_least(self, what, over, under, least, applies=True, why=""):
        self.ratio(what, self.encode, over, under, f"at least {least}", (lambda value: value >= least) if applies else None, why)

    def towers(self):
        here = level(self.facts)
        amx, why = here == "amx", "" if here == "amx" else "no AMX here"
        self.at_least("exact, 1 prompt, bf16 file, AMX: torch f32 / penult", "torch f32", "penult bf16", 4, amx, why)
        self.at_least("exact, 1 prompt, bf16 file, AMX: torch bf16 / penult", "torch bf16", "penult bf16", 1, amx, why)
        self.at_least("exact, 1 prompt, f16 file, AMX: torch f32 / penult", "torch f32", "penult f16", 3, amx, why)
        self.ratio("exact, 1 prompt, f16 file: torch bf16 / penult", self.encode, "torch bf16", "penult f16", "reported", None)
        for name, words in (("avx512", "AVX-512"), ("avx2", "AVX2")):
            self.at_least(f"exact, f32 file, {words} on both sides: torch f32 / penult", "torch f32", "penult f32", 1.15,
                          here == name, "" if here == name else f"both sides are {here} here; --mask {name}")
        self.ratio("fast bf16, 1 prompt: penult / reading the block weights once", self.encode, "penult bf16 fast bf16", "read bf16",
                   "at most 1.4", lambda value: value <= 1.4)
        self.at_least("exact, f16 file: onnxruntime f32 / penult", "onnxruntime f32", "penult f16", 2.5)
        self.at_least("exact, f16 file: stable-diffusion.cpp's graph f16 / penult", "sdcpp f16", "penult f16", 4)

    def pairs(self):
        state = self.contests.get(f"pair/{self.most}")
        for name, most in (("bf16", 1.3), ("exact", 1.8)):
            self.ratio(f"positive + negative / one prompt, {name}", state, f"{name} positive + negative", f"{name} prompt",
                       f"at most {most}", lambda value, most=most: value <= most)

    def pooled(self):
        state = self.contests.get(f"pooled/{self.most}")
        for padding, least in (("max_length", 8), ("longest", 1.5)):
            self.ratio(f"pooled only, 64 short prompts: transformers padding=\"{padding}\" / penult", state, f"torch {padding}",
                       "penult f32", f"at least {least}", lambda value, least=least: value >= least)

    def cold(self):
        state = self.contests.get(f"cold/{self.most}")
        for weights in ("f32", "f16", "bf16"):
            row = row_of(state, f"penult {weights}")
            values = [(one["total"] - COLD_ALLOWANCE) / one["warm"] for one in row["runs"]] if row else None
            self.add(f"cold process to its first result, less 50 ms, / a warm encode, {weights}", values, "at most 1.5",
                     lambda value: value <= 1.5)

    def memory(self):
        rows = [row for row in self.encode["rows"] if row["kind"]["program"] == "penult" and "memory_peak" in row] if self.encode else []
        used = [(row["memory_peak"]["RssAnon"] - row["memory_loaded"]["RssAnon"]) / MIB for row in rows]
        self.add("private memory beyond the mapping, 1 prompt, the most of all penult rows, MiB", [max(used)] if used else None,
                 "at most 96", lambda value: value <= 96)

    def others(self):
        self.ratio("f8 file / f16 file", self.encode, "penult f8", "penult f16", f"at most 1, {NOISE} for noise",
                   lambda value: value <= NOISE)
        self.ratio("tokenizer: Rust tokenizers / penult, time of the same strings", self.contests.get("tokenizer"), "Rust tokenizers",
                   "penult's tokenizer", "at least 5", lambda value: value >= 5)
        state = self.contests.get("threads")
        for name, weights in (("exact", "f16"), ("bf16", "bf16")):
            floor, two = row_of(state, f"read {weights} 2 threads"), row_of(state, f"{name} 2 threads")
            at_limit = bool(floor and two) and median(ratios(two, floor)) <= MEMORY_LIMIT
            self.ratio(f"1 thread / 2 threads, {name}", state, f"{name} 1 thread", f"{name} 2 threads",
                       f"at least 1.9, or 2 threads within {MEMORY_LIMIT} of reading the weights",
                       lambda value, at_limit=at_limit: value >= 1.9 or at_limit)
        state = self.contests.get(f"suffix/{self.most}")
        row = row_of(state, "another suffix")
        bits = "" if not row or "same_bits" not in row else "same bits" if row["same_bits"] else "OTHER BITS"
        self.ratio("another prompt / another suffix of it alone", state, "another prompt", "another suffix",
                   f"at least {SUFFIX_GAIN}, same bits", lambda value: value >= SUFFIX_GAIN and bits == "same bits", bits)


def rows(facts):
    goals = Goals(facts)
    for part in (goals.towers, goals.pairs, goals.pooled, goals.cold, goals.memory, goals.others):
        part()
    return goals.rows
