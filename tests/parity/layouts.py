#!/usr/bin/env python3
"""Parity of every layout: the plugin against the reference library on the same file. `make parity` runs it small,
`make parity-layouts` at full size, both in the reference environment.

    layouts.py [--full] [--plugin build/penult.so] [--work build/parity/layouts] [--only TEXT] [--record] [--keep]

Prints a table and ends with "N passed, N failed"; the exit status is 1 if anything failed. --record writes
RESULTS-LAYOUTS.md. README.md beside this says what is compared and why.
"""
import argparse
import contextlib
import dataclasses
import gc
import io
import pathlib
import resource
import shutil
import subprocess
import sys
import time
import zlib

import apart  # noqa: F401 - before transformers, which imports torchvision
import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

import check_real
import clip_vocabulary
import compare
import layouts_dtypes as dtypes
import layouts_files as files
import layouts_names
import layouts_readers as readers
import layouts_sdxl
import layouts_sparse
import towers
from layouts_references import Memory, shortened
from plugin import encode, penult, same_bits
from report import Report, max_ratio, rms_ratio, versions

HERE = pathlib.Path(__file__).resolve().parent
SHIPPED_FILES = towers.ROOT / "samples" / "model"
FULL = {"g": towers.BIG_G, "h": towers.CLIP_H, "l": towers.CLIP_L}
# The widths by which towers are told apart, with few blocks, a short MLP and a small vocabulary.
SMALL = {key: dataclasses.replace(
    geometry, name=f"small {geometry.name}", vocabulary=towers.SHIPPED.vocabulary, layers=2 if key == "l" else 3,
    mlp_width=geometry.width, start_id=towers.SHIPPED.start_id, end_id=towers.SHIPPED.end_id, pad_id=0)
    for key, geometry in FULL.items()}
NAMES = {"g": "bigG", "h": "CLIP-H", "l": "CLIP-L"}
BODIES = (5, 75)  # ids of text in each of the rows
TIED = ("pooled projected", "pooled normalised")
DTYPE = {"f16": torch.float16, "f32": torch.float32, "bf16": torch.bfloat16}


class Run:
    def __init__(self, options):
        self.options = options
        self.work = pathlib.Path(options.work) / ("full" if options.full else "small")
        self.work.mkdir(parents=True, exist_ok=True)
        self.library = penult.Library(options.plugin)
        self.report, self.memory, self.mapped = Report(), Memory(), []
        self.drawn, self.exact, self.bits, self.hashes = {}, {}, {}, {}
        with penult.Model(SHIPPED_FILES, library=self.library) as model:
            self.report.kernels = f"penult {self.library.version}: {model.info.kernels}"

    # ---- what is written ----

    def tower(self, key):
        if key not in self.drawn:
            geometry = (FULL if self.options.full else SMALL)[key]
            # Drawing takes a minute or two, so it is kept, for as long as what draws stays as it is.
            recipe = zlib.crc32(pathlib.Path(towers.weights.__file__).read_bytes() + repr(geometry).encode())
            kept = self.work / f"drawn-{key}-{recipe:08x}.safetensors"
            if not kept.exists():
                tensors = {name: value.to(torch.float16) for name, value in towers.Tower(geometry).tensors.items()}
                save_file(tensors, kept)
            tensors = load_file(kept)
            self.drawn[key] = files.Drawn(key, geometry, tensors, self.options.full)
        return self.drawn[key]

    def rows(self, geometry):
        draw = np.random.default_rng(3)
        rows = np.full((len(BODIES), geometry.context), geometry.pad_id)
        for row, body in zip(rows, BODIES):
            row[:body + 2] = [geometry.start_id, *draw.integers(0, geometry.start_id, body), geometry.end_id]
        return rows

    def tokenizers(self):
        """What SDXL's pipeline pads with: tokenizer the end token, tokenizer_2 "!"."""
        if self.options.full:
            places = [clip_vocabulary.write(self.work.parent / "vocabulary", *pad)[0] for pad in ((), ("!",))]
            return [CLIPTokenizer.from_pretrained(place) for place in places]
        return [CLIPTokenizer.from_pretrained(SHIPPED_FILES, pad_token=pad) for pad in ("<|endoftext|>", "!")]

    # ---- one layout ----

    def layout(self, layout):
        drawn = [self.tower(key) for key in layout.towers]
        place = layout.write(*drawn, self.work / "".join(filter(str.isalnum, f"{layout.name}{layout.towers}")))
        try:
            self.judge_file(layout, place, drawn)
            if layout.write is files.sdxl_base:
                self.sdxl(place)
        finally:
            self.remove(place)

    def remove(self, place):
        place = place.parent if place.suffix == ".json" else place
        if not self.options.keep:
            shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)

    def judge_file(self, layout, place, drawn):
        # What a 768 wide tower by OpenCLIP's names is, LAION's gelu or OpenAI's, no file says: the host does.
        given = drawn[0].geometry.activation if layout.write in (files.root, files.custom) else None
        found = readers.of(place, given)
        expected = sorted(tower.geometry.width for tower in drawn)
        if sorted({reading.width for reading in found}) != expected:
            raise SystemExit(f"{place}: the reference readers find {found}, expected widths {expected}")
        for reading in found:
            tower = next(tower for tower in drawn if tower.geometry.width == reading.width)
            label = f"{layout.name}: {NAMES[tower.key]}"
            try:
                self.judge(label, place, reading, tower, given)
            except penult.PenultError as error:
                self.report.check(f"{label}: opens", False, f"the plugin refused: {error}")

    def judge(self, label, place, reading, tower, activation):
        geometry, rows = tower.geometry, self.rows(tower.geometry)
        model = reading.load()
        exact, single, known = self.memory.outputs(model, rows)
        del model
        gc.collect()
        ours = self.encode(label, place, reading, tower, rows, activation)
        if reading.shortened:
            exact, single = (shortened(result, geometry.layers) for result in (exact, single))
        self.agree(label, tower.key, reading, exact)
        self.report.add(compare.lines(label, reading.library, exact, single, ours, list(map(str, BODIES))))
        if known:
            print("    the same tensors as a file before", flush=True)
        self.same(label, tower.key, reading.projected, ours)

    def agree(self, label, key, reading, exact):
        """The references among themselves: in float64, whatever library reads whatever file computes the same. (SD3's
        CLIP-L has no projection; diffusers gives it the identity.)"""
        if TIED[0] in exact and np.array_equal(exact[TIED[0]], exact["pooled raw"]):
            exact = {name: value for name, value in exact.items() if name not in TIED}
        first = self.exact.setdefault(key, (label, exact))
        both = [name for name in exact if name in first[1]]
        worst = max(np.abs(exact[name] - first[1][name]).max() / compare.rms(exact[name]) for name in both)
        if first[0] != label:
            self.report.check(f"{label}: {reading.library} and the reader of {first[0]} agree in float64",
                              worst < 1e-12, f"to {worst:.1e}")

    def encode(self, label, place, reading, tower, rows, activation):
        with penult.Model(place, tower=reading.tower, activation=activation, library=self.library) as model:
            info = model.info
            wanted = (tower.geometry.width, tower.geometry.layers, tower.geometry.heads, tower.geometry.mlp_width,
                      tower.geometry.context, tower.geometry.vocabulary, tower.geometry.activation, "float16")
            found = (info.width, info.layers, info.heads, info.mlp_width, info.context, info.vocabulary,
                     info.activation, info.dtype)
            self.report.check(f"{label}: geometry, read as {info.layout!r}", found == wanted,
                              "" if found == wanted else f"found {found}, expected {wanted}")
            digest = model.hash()
            first = self.hashes.setdefault((tower.key, reading.projected), (label, digest))
            if first[0] != label:
                self.report.check(f"{label}: the hash of {first[0]}", digest == first[1])
            with penult.Session(model, max_prompts=len(rows)) as session:
                return encode(session, rows)

    def same(self, label, key, stored, ours):
        """Bit for bit what the first file of this tower gave. Where none is stored the projected vector is the raw
        one."""
        if not stored and TIED[0] in ours:
            self.report.check(f"{label}: without a projection, projected is raw",
                              ours["pooled raw"].tobytes() == ours[TIED[0]].tobytes())
        mine = {name: value for name, value in ours.items() if name not in TIED or stored}
        first = self.bits.setdefault(key, (label, mine))
        both = [name for name in mine if name in first[1]]
        if first[0] != label:
            self.report.check(f"{label}: the bits of {first[0]}, {len(both)} outputs",
                              same_bits({name: mine[name] for name in both}, {name: first[1][name] for name in both}))

    # ---- a pipeline ----

    def pipeline(self, unet):
        drawn = [self.tower(key) for key in "lg"]
        tokenizers = self.tokenizers()
        name = "diffusers, pipeline" if unet else "diffusers, pipeline without UNet"
        place = files.pipeline(*drawn, self.work / f"pipeline-{unet}", tokenizers, unet)
        try:
            self.judge_file(files.Layout(name, "lg", files.pipeline), place, drawn)
            for tower, tokenizer in zip(("text_encoder", "text_encoder_2"), tokenizers):
                self.tokenizer_of(name, place, tower, tokenizer)
        finally:
            self.remove(place)

    def tokenizer_of(self, name, place, tower, tokenizer):
        prompts = ["a photo of a cat!", "", "two dogs in the snow by a river " * 12]
        wanted = tokenizer(prompts, padding="max_length", truncation=True, max_length=77).input_ids
        with penult.Model(place, tower=tower, library=self.library) as model:
            found = [model.tokenize(prompt).ids.tolist() for prompt in prompts]
        self.report.check(f"{name}: {tower} takes its own tokenizer, pads {tokenizer.pad_token!r}", found == wanted,
                          "" if found == wanted else f"found {found[0][:10]}, expected {wanted[0][:10]}")

    # ---- SDXL's single file ----

    def sdxl(self, place):
        self.report.extend("SDXL base, one file", layouts_sdxl.proof(
            {**layouts_sdxl.unet(), **layouts_sdxl.vae()}))
        sizes = layouts_sparse.bytes_by_name(place)
        for tower, prefix in (("clip_g", layouts_names.SDXL_G), ("clip_l", layouts_names.SDXL_L)):
            own = sum(size for name, size in sizes.items() if name.startswith(prefix))
            script = [sys.executable, HERE / "layouts_memory.py", "--plugin", self.options.plugin, place, tower]
            done = subprocess.run(script, check=False, capture_output=True, text=True)
            if done.returncode:
                self.report.check(f"SDXL base, {tower}: memory", False, done.stderr.strip()[-300:])
                continue
            file, anonymous = map(int, done.stdout.split())
            self.mapped.append((tower, f"{place.stat().st_size / 2**20:.0f}", f"{own / 2**20:.1f}",
                                f"{file / 2**20:.1f}", f"{anonymous / 2**20:.1f}"))
            # What lies at a page's end beside a tensor comes in with it; and the header, which is read once.
            bound = own + 8 * 2**20
            self.report.check(f"SDXL base, {tower}: only what is used is in memory", file <= bound,
                              "" if file <= bound else f"RssFile grew by {file}, expected at most {bound}")

    # ---- check_real.py, which people run on their own files ----

    def check_real(self):
        """It passes a good file, knows SDXL's public numbers, and fails one whose projection was not transposed."""
        tower = self.tower("g")
        for what, change, status, words in (
                ("a good file", lambda matrix: matrix, 0, "PASS"),
                ("SDXL's public numbers", check_real.planted, 0, "the published one, in all"),
                ("a transposed projection", lambda matrix: check_real.planted(matrix).T.contiguous(), 1,
                 "FAIL: the projection in this file is the transpose")):
            tensors = tower.tensors | {layouts_names.PROJECTION: change(tower.tensors[layouts_names.PROJECTION])}
            place = files.refiner(dataclasses.replace(tower, tensors=tensors), self.work / "real")
            with contextlib.redirect_stdout(io.StringIO()) as said:
                found = check_real.main([str(place), "--plugin", self.options.plugin])
            passed = found == status and words in said.getvalue()
            self.report.check(f"check-real: {what}", passed, "" if passed else f"{found}: {said.getvalue()[-400:]}")
            self.remove(place)

    # ---- the run ----

    def everything(self):
        began = time.monotonic()
        parts = [(f"{layout.name}, {layout.towers}", lambda layout=layout: self.layout(layout))
                 for layout in files.LAYOUTS]
        parts += [("diffusers, pipeline", lambda: self.pipeline(True)),
                  ("diffusers, pipeline without UNet", lambda: self.pipeline(False))]
        parts += [(f"dtypes, {name}", lambda name=name: dtypes.judge(self, name)) for name in dtypes.FORMS]
        parts += [] if self.options.full else [("check-real", self.check_real)]
        parts += [("Long-CLIP's 248 positions", lambda: dtypes.long_clip(self))]
        for title, function in parts:
            if any(text in title for text in self.options.only.split(",")):
                start = time.monotonic()
                print(title, flush=True)
                try:
                    function()
                except penult.PenultError as error:
                    self.report.check(title, False, f"the plugin refused: {error}")
                print(f"  {time.monotonic() - start:.0f} s", flush=True)
        failed = [line for line in self.report.lines if not line.passed]
        for line in failed:
            print("FAILED", *line.cells())
        for name, passed, detail in self.report.checks:
            if not passed:
                print("FAILED", name, detail)
        print(compare.table(self.summary(), SUMMARY), end="\n\n")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{time.monotonic() - began:.0f} s; at most {peak:.1f} GiB resident, the mapped files among them")
        if self.options.record:
            (HERE / "RESULTS-LAYOUTS.md").write_text(self.document(), encoding="utf-8")
        return self.report.verdict()

    def summary(self):
        groups = {}
        for line in self.report.lines:
            groups.setdefault((line.model, line.dtype), []).append(line)
        for (model, library), lines in groups.items():
            largest = [max(lines, key=measure) for measure in (rms_ratio, max_ratio)]
            yield (model, library, len(lines), sum(not line.passed for line in lines), f"{rms_ratio(largest[0]):.2f}",
                   largest[0].output, f"{max_ratio(largest[1]):.2f}", largest[1].output)

    def document(self):
        passed, failed = self.report.counts()
        checks = [(name, "ok" if passed else "FAILED", detail.replace("|", "\\|"))
                  for name, passed, detail in self.report.checks]
        size = "full size" if self.options.full else "small size"
        blocks = ["# The last parity run of every layout", f"Written by `layouts.py --record`, at {size}; `README.md` "
                  "says what the columns mean.", f"{self.report.kernels}; {versions()}, {dtypes.more_versions()}",
                  f"{passed} passed, {failed} failed", compare.table(self.summary(), SUMMARY, rule="|"),
                  self.report.largest_ratios(), "## SDXL's single file in memory", "What opening it and encoding one "
                  "prompt adds to the process, in MiB: the file, the tensors under the tower's prefix, RssFile, "
                  "RssAnon.", compare.table(self.mapped, MAPPED, rule="|"), "## Bits, geometry and the rest",
                  compare.table(checks, ("what", "verdict", "detail"), rule="|")]
        return "\n\n".join(blocks) + "\n"


SUMMARY = ("file: tower", "read by", "outputs", "failed", "largest rms ratio", "of", "largest maximum ratio", "of")
MAPPED = ("tower", "file", "tower's tensors", "RssFile", "RssAnon")


def options():
    parser = argparse.ArgumentParser(description="Compares the plugin with the reference libraries in every layout.")
    build = towers.ROOT / "build"
    parser.add_argument("--plugin", default=str(build / "penult.so"))
    parser.add_argument("--work", default=str(build / "parity" / "layouts"),
                        help="for the files, which are removed, and 2.4 GB of drawn towers")
    parser.add_argument("--full", action="store_true", help="at the true geometries; else with few blocks")
    parser.add_argument("--only", default="", help="parts whose title has this in it; several with commas between")
    parser.add_argument("--record", action="store_true", help="write RESULTS-LAYOUTS.md")
    parser.add_argument("--keep", action="store_true", help="keep the files")
    return parser.parse_args()


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(Run(options()).everything())
