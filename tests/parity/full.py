#!/usr/bin/env python3
"""Parity at full size: CLIP ViT-bigG/14's text tower at its true geometry, in every kernel set of this CPU.
`make parity-full` runs it in the reference environment.

    full.py [--plugin build/penult.so] [--haswell build/haswell/penult.so] [--work build/parity] [--record] [--keep]

Prints a table and ends with "N passed, N failed"; the exit status is 1 if anything failed. --record writes
RESULTS-FULL.md. README.md beside this says what is compared and why.
"""
import argparse
import gc
import json
import pathlib
import resource
import shutil
import sys
import time

import numpy as np
import torch
import transformers
from transformers import CLIPTokenizer

import bits_full
import clip_vocabulary
import compare
import numpy_block
import prompts
import reference
import towers
from plugin import encode, penult
from report import Report, max_ratio, rms_ratio

HERE = pathlib.Path(__file__).resolve().parent
SHIPPED_FILES = towers.ROOT / "samples" / "model"
PARAMETERS = 694_659_840
FEW_BLOCKS = 3
CHOSEN = (3, 0, 23, 12)  # of prompts.py: 5 tokens, none, cut at 77, Russian
PROMPTS = [prompts.PROMPTS[index] for index in CHOSEN]
LABELS = [prompts.names()[index] for index in CHOSEN]
SCALAR_PROMPT = 3  # of PROMPTS: the one that the scalar set is judged by; a whole batch would take it a minute
# The published config.json of SDXL's text_encoder_2 says this of the ids, and its vocabulary pads with "!".
PUBLISHED = dict(bos_token_id=0, eos_token_id=2, pad_token_id=1)


class Full:
    def __init__(self, options):
        self.options = options
        self.work = pathlib.Path(options.work)
        self.libraries = {"": penult.Library(options.plugin), "openblas as AVX2": penult.Library(options.haswell)}
        self.report = Report()
        self.tokenizer = clip_vocabulary.write(self.work / "vocabulary", "!")[0]
        tok = CLIPTokenizer.from_pretrained(self.tokenizer)
        self.rows = np.array(tok(PROMPTS, padding="max_length", truncation=True, max_length=77).input_ids)
        self.sets = {}  # {label: (library, Session's kernels and arithmetic)}
        self.best = ()  # of the labels, the set that a session takes by itself, in each arithmetic

    def open(self, directory, library="", tokenizer=None):
        return penult.Model(directory, tokenizer=tokenizer or self.tokenizer, library=self.libraries[library])

    def find_sets(self):
        with self.open(SHIPPED_FILES, tokenizer=SHIPPED_FILES) as model:
            self.report.kernels = f"penult {self.libraries[''].version}: {model.info.kernels}; {cpu()}"
            names = bits_full.kernel_sets(model)
        for name in names:
            self.sets[name] = ("", {"kernels": name})
            self.sets[name + bits_full.NAMED] = ("", {"kernels": name, "arithmetic": "bf16"})
        self.best = names[-1], names[-1] + bits_full.NAMED
        self.sets["openblas as AVX2"] = ("openblas as AVX2", {"kernels": "openblas"})

    # ---- files ----

    def write(self):
        """All three files; returns their folders and the norm gains, which is what `measure` reads of the tensors."""
        self.work.mkdir(parents=True, exist_ok=True)
        needed, free = PARAMETERS * 8 + 2**28, shutil.disk_usage(self.work).free
        print(f"  three files, {PARAMETERS * 8 / 1e9:.1f} GB in all; {free / 1e9:.1f} GB of disk are free", flush=True)
        if free < needed:
            raise SystemExit(f"{self.work} has {free} bytes of free disk, expected {needed}")
        tower = towers.Tower(towers.BIG_G)
        places = {dtype: tower.write(self.work / f"big-g-{dtype}", dtype, **PUBLISHED) for dtype in towers.DTYPES}
        return places, {name: value for name, value in tower.tensors.items() if "norm" in name}

    def few_blocks(self, place):
        """The same file with a config.json that knows of fewer blocks: the others are reported and not used."""
        shallow = place.with_name(place.name + "-few")
        shallow.mkdir(exist_ok=True)
        config = json.loads((place / "config.json").read_text())
        config["num_hidden_layers"] = FEW_BLOCKS
        (shallow / "config.json").write_text(json.dumps(config))
        (shallow / "model.safetensors").unlink(missing_ok=True)
        (shallow / "model.safetensors").hardlink_to(place / "model.safetensors")
        return shallow

    # ---- values ----

    def values(self, dtype, place, gains):
        model = reference.load(place, torch.float64)
        exact = reference.outputs(model, self.rows)
        if dtype == "f16":
            worst = numpy_block.disagreement(model, towers.BIG_G, exact, self.rows, [SCALAR_PROMPT])
            self.report.check(f"float64: transformers and NumPy agree to {worst:.1e}", worst < 1e-13)
            self.behaves(exact, gains)
        del model
        gc.collect()
        others = {}  # torch in float32, and in bfloat16: what each arithmetic is held to
        for arithmetic in (torch.float32, torch.bfloat16):
            model = reference.load(place, arithmetic)
            others[arithmetic] = reference.outputs(model, self.rows)
            del model
            gc.collect()
        for label in self.sets:
            if dtype == "f16" or label in self.best:
                self.judge(label, dtype, place, exact, others[torch.bfloat16 if named(label) else torch.float32])

    def judge(self, label, dtype, place, exact, other):
        library, how = self.sets[label]
        some = slice(SCALAR_PROMPT, SCALAR_PROMPT + 1) if how["kernels"] == "scalar" else slice(None)
        with self.open(place, library) as model, penult.Session(model, max_prompts=len(PROMPTS), **how) as session:
            found = model.info.parameters, model.info.dtype
            wanted = PARAMETERS, {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[dtype]
            self.report.check(f"{label} {dtype}: {PARAMETERS:,} parameters", found == wanted,
                              "" if found == wanted else f"found {found}")
            ids = np.stack([model.tokenize(prompt).ids for prompt in PROMPTS])
            self.report.check(f"{label} {dtype}: ids of the prompts", np.array_equal(ids, self.rows))
            began = time.monotonic()
            ours = encode(session, PROMPTS[some])
            print(f"  {len(PROMPTS[some])} prompts in {time.monotonic() - began:.1f} s")
        exact, other = ({name: value[some] for name, value in of.items()} for of in (exact, other))
        self.report.add(compare.lines(f"bigG, {label}", dtype, exact, other, ours, LABELS[some],
                                      compare.NAMED if named(label) else compare.EXACT))

    def behaves(self, exact, gains):
        geometry = towers.BIG_G
        hidden = [exact[f"hidden {layer}"] for layer in range(geometry.layers + 1)]
        bodies = [list(row).index(geometry.end_id) - 1 for row in self.rows]
        self.report.behaviour(geometry, towers.measure(gains, hidden, bodies))

    # ---- bits ----

    def bits(self, dtype, place):
        place, results = self.few_blocks(place), {}
        for label, (library, how) in self.sets.items():
            if how["kernels"] == "scalar" and (dtype != "f16" or named(label)):
                continue
            began = time.monotonic()
            with self.open(place, library) as model:
                where = f"bits, {label}, {dtype}, {FEW_BLOCKS} blocks"
                self.report.extend(where, bits_full.at_full_width(model, how, dtype == "f16" and not named(label)))
                with penult.Session(model, **how) as session:
                    results[label] = encode(session, PROMPTS[:1])
                if dtype == "f16" and label == self.best[0]:
                    wanted = bits_full.alone(model, how)
                    self.report.extend(where, bits_full.calls(model, how, wanted, 1000, ["hidden 1"]))
            print(f"  {time.monotonic() - began:.0f} s", flush=True)
        self.report.extend(f"bits, {dtype}, {FEW_BLOCKS} blocks", bits_full.differ(results))
        shutil.rmtree(place)

    def small(self):
        for label, (library, how) in self.sets.items():
            with self.open(SHIPPED_FILES, library, SHIPPED_FILES) as model:
                self.report.extend(f"bits, {label}, the shipped model", bits_full.throughout(model, how))

    # ---- the run ----

    def part(self, title, function, *arguments):
        began = time.monotonic()
        print(title, flush=True)
        result = None
        try:
            result = function(*arguments)
        except penult.PenultError as error:
            self.report.check(title, False, f"the plugin refused: {error}")
        print(f"  {time.monotonic() - began:.0f} s", flush=True)
        return result

    def everything(self):
        began = time.monotonic()
        self.find_sets()
        self.part("bits, shipped model", self.small)
        places, gains = self.part("the tower, drawn and written", self.write)
        for dtype, place in places.items():
            gc.collect()  # transformers' models hold themselves: what was just written is still there
            self.part(f"values, {dtype}", self.values, dtype, place, gains)
            self.part(f"bits, {dtype}", self.bits, dtype, place)
            if not self.options.keep:
                shutil.rmtree(place)
        self.report.conclude()
        print(compare.table(self.summary(), SUMMARY), end="\n\n")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{time.monotonic() - began:.0f} s; at most {peak:.1f} GiB resident, the mapped files among them")
        if self.options.record:
            (HERE / "RESULTS-FULL.md").write_text(self.report.document(
                "The last parity run at full size",
                "Written by `full.py --record`; `README.md` says what the columns mean.",
                compare.table(self.summary(), SUMMARY, rule="|"), checks="Bits and the rest"), encoding="utf-8")
        return self.report.verdict()

    def summary(self):
        """Per file and set: how near to the bounds it came."""
        groups = {}
        for line in self.report.lines:
            groups.setdefault((line.model, line.dtype), []).append(line)
        for (model, dtype), lines in groups.items():
            largest = [max(lines, key=measure) for measure in (rms_ratio, max_ratio)]
            yield (model, dtype, len(lines), sum(not line.passed for line in lines), f"{rms_ratio(largest[0]):.2f}",
                   largest[0].output, f"{max_ratio(largest[1]):.2f}", largest[1].output)


SUMMARY = ("model", "dtype", "outputs", "failed", "largest rms ratio", "of", "largest maximum ratio", "of")


def named(label):
    return label.endswith(bits_full.NAMED)


def cpu():
    """The processor's name and how many of it this process may use."""
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    names = [line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, {torch.get_num_threads()} threads"


def options():
    parser = argparse.ArgumentParser(description="Compares the plugin with transformers at full size.")
    build = towers.ROOT / "build"
    parser.add_argument("--plugin", default=str(build / "penult.so"))
    parser.add_argument("--haswell", default=str(build / "haswell" / "penult.so"), help="its OpenBLAS forced to AVX2")
    parser.add_argument("--work", default=str(build / "parity"), help="for the vocabulary and 5.6 GB of towers")
    parser.add_argument("--record", action="store_true", help="write RESULTS-FULL.md")
    parser.add_argument("--keep", action="store_true", help="keep the towers")
    return parser.parse_args()


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(Full(options()).everything())
