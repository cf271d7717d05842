#!/usr/bin/env python3
"""The parity run: the plugin against transformers, on the same files. `make parity` runs it in the reference
environment.

    run.py [--plugin build/penult.so] [--work build/parity] [--only towers,bits,ids] [--strings N] [--record] [--keep]

Prints a table and ends with "N passed, N failed"; the exit status is 1 if anything failed. --record writes RESULTS.md.
README.md beside this says what is compared and why.
"""
import argparse
import pathlib
import shutil
import sys
import time

import numpy as np
import torch
import transformers
from transformers import CLIPTokenizer

HERE = pathlib.Path(__file__).resolve().parent
TOKENIZER_TESTS = HERE.parent / "tokenizer"
sys.path.insert(0, str(TOKENIZER_TESTS))

import bits
import clip_vocabulary
import compare
import ids
import ids_open_clip
import numpy_block
import reference
import towers
from plugin import encode, penult
from prompts import PROMPTS, names
from report import Report

SHIPPED_FILES = towers.ROOT / "samples" / "model"


def random_rows(count, length):
    """Ids of words only, the same each time."""
    return np.random.default_rng(1).integers(0, towers.SHIPPED.start_id, (count, length))


def numbers(rows):
    return [f"row {index}" for index in range(len(rows))]


class Run:
    def __init__(self, options):
        self.options = options
        self.work = pathlib.Path(options.work)
        self.library = penult.Library(options.plugin)
        self.report = Report()
        self._clip = None

    @property
    def clip(self):
        """CLIP's tokenizer files: {"end": (new form, old form), "bang": ...} by what pads."""
        if self._clip is None:
            where = self.work / "vocabulary"
            self._clip = {"end": clip_vocabulary.write(where), "bang": clip_vocabulary.write(where, "!")}
        return self._clip

    def model(self, directory, tokenizer=None):
        return penult.Model(directory, tokenizer=tokenizer, library=self.library)

    # ---- towers ----

    def tower(self, label, dtype, directory, tokenizer, bodies=None):
        """Compares every output of one file on all prompts; returns the float64 hidden states."""
        tok = CLIPTokenizer.from_pretrained(tokenizer)
        rows = np.array(tok(list(PROMPTS), padding="max_length", truncation=True, max_length=77).input_ids)
        with self.model(directory, tokenizer) as model, penult.Session(model, max_prompts=len(PROMPTS)) as session:
            self.report.kernels = f"penult {self.library.version}: {model.info.kernels}"
            found = np.stack([model.tokenize(prompt).ids for prompt in PROMPTS])
            self.report.check(f"{label} {dtype}: ids of the prompts", np.array_equal(found, rows))
            if model.info.dtype != {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[dtype]:
                raise SystemExit(f"{directory} opened as {model.info.dtype}, expected {dtype}")
            ours = encode(session, PROMPTS)
        exact = self.judge(label, dtype, directory, rows, ours)
        return exact, rows

    def named(self, label, dtype, directory, tokenizer, exact, rows):
        """The same in the arithmetic named bf16, held to torch's error in bfloat16."""
        with self.model(directory, tokenizer) as model, \
                penult.Session(model, max_prompts=len(PROMPTS), arithmetic="bf16") as session:
            ours = encode(session, PROMPTS)
        rough = reference.outputs(reference.load(directory, torch.bfloat16), rows)
        self.report.add(compare.lines(f"{label}, bf16 arithmetic", dtype, exact, rough, ours, names(), compare.NAMED))

    def judge(self, label, dtype, directory, rows, ours, labels=None, masks=None):
        model = reference.load(directory, torch.float64)
        exact = reference.outputs(model, rows, masks)
        del model
        single = reference.outputs(reference.load(directory, torch.float32), rows, masks)
        self.report.add(compare.lines(label, dtype, exact, single, ours, labels or names()))
        return exact

    def shipped(self):
        tower = towers.Tower(towers.SHIPPED)
        for dtype in towers.DTYPES:
            places = {form: tower.write(self.work / f"tower-{form}", dtype, form) for form in towers.FORMS}
            if dtype == "f16":
                same = all((places["projection"] / name).read_bytes() == (SHIPPED_FILES / name).read_bytes()
                           for name in ("config.json", "model.safetensors"))
                self.report.check("samples/model is what its script makes", same)
                exact, rows = self.tower("shipped", dtype, SHIPPED_FILES, SHIPPED_FILES)
                self.behaves(tower, exact, rows)
                self.named("shipped", dtype, SHIPPED_FILES, SHIPPED_FILES, exact, rows)
            else:
                self.tower("shipped", dtype, places["projection"], SHIPPED_FILES)
            self.tower("shipped plain", dtype, places["plain"], SHIPPED_FILES)
            self.report.extend(f"shipped {dtype}", bits.forms(places, SHIPPED_FILES, self.library))
        self.short_rows()
        self.masked()
        self.legacy_end(tower)
        for place in places.values():
            shutil.rmtree(place)

    def clip_l(self):
        tower = towers.Tower(towers.CLIP_L)
        tokenizer = self.clip["end"][0]
        for dtype in towers.DTYPES:
            place = self.work / f"clip-l-{dtype}"
            exact, rows = self.tower("CLIP-L", dtype, tower.write(place, dtype), tokenizer)
            if dtype == "f16":
                self.behaves(tower, exact, rows)
                self.judge_the_judge(place, exact, rows)
                self.named("CLIP-L", dtype, place, tokenizer, exact, rows)
                if self.options.wants("bits"):
                    self.bits_of("CLIP-L f16", place, tokenizer, prompts=1)
                    others = {form: tower.write(self.work / f"clip-l-{form}", dtype, form) for form in towers.FORMS[1:]}
                    forms = {"projection": place, **others}
                    self.report.extend("CLIP-L f16", bits.forms(forms, tokenizer, self.library))
                    for other in others.values():
                        shutil.rmtree(other)
            if not self.options.keep:
                shutil.rmtree(place)

    def behaves(self, tower, exact, rows):
        """That the tower is worth judging by: it acts like a trained one."""
        geometry = tower.geometry
        hidden = [exact[f"hidden {layer}"] for layer in range(geometry.layers + 1)]
        bodies = [list(row).index(geometry.end_id) - 1 for row in rows]
        self.report.behaviour(geometry, towers.measure(tower.tensors, hidden, bodies))

    def judge_the_judge(self, directory, exact, rows):
        """The float64 reference against NumPy's float64, on three prompts."""
        some = [0, 5, len(rows) - 1]
        worst = numpy_block.disagreement(reference.load(directory, torch.float64), towers.CLIP_L, exact, rows, some)
        self.report.check(f"float64: transformers and NumPy agree to {worst:.1e}", worst < 1e-13)

    def short_rows(self):
        """Rows of ids that are shorter than the context."""
        rows = random_rows(24, 9)
        rows[:, 0], rows[:, 6] = towers.SHIPPED.start_id, towers.SHIPPED.end_id
        with self.model(SHIPPED_FILES) as model, penult.Session(model, max_prompts=len(rows)) as session:
            self.judge("shipped, 9 ids", "f16", SHIPPED_FILES, rows, encode(session, rows), numbers(rows))

    def masked(self):
        """Key masks: the tokenizer's own attention_mask, as Stable Cascade passes it, and gaps, as compel makes them."""
        tok = CLIPTokenizer.from_pretrained(SHIPPED_FILES)
        batch = tok(list(PROMPTS), padding="max_length", truncation=True, max_length=77)
        rows, padding = np.array(batch.input_ids), np.array(batch.attention_mask)
        gaps = np.random.default_rng(2).random(rows.shape) < 0.7
        gaps[:, 0] = True
        with self.model(SHIPPED_FILES) as model, penult.Session(model, max_prompts=len(rows)) as session:
            plain = encode(session, PROMPTS)
            for label, masks in (("shipped, padding hidden", padding), ("shipped, gaps", gaps)):
                ours = encode(session, PROMPTS, key_masks=masks)
                exact = self.judge(label, "f16", SHIPPED_FILES, rows, ours, masks=masks)
                far = compare.rms(exact["last"] - plain["last"]) / compare.rms(exact["last"])
                self.report.check(f"{label}: the last states differ by {far:.2f} from those without a mask", far > 0.05)

    def legacy_end(self, tower):
        """config.json with eos_token_id 2, as most published ones have it: the largest id is the end, so that a row
        of ids without an end id still has a pooled vector."""
        place = tower.write(self.work / "tower-legacy", "f16", eos_token_id=2)
        rows = random_rows(24, 9)
        rows[:8, 5] = rows[4:8, 7] = towers.SHIPPED.end_id  # one end, then two; the other rows have none
        with self.model(place, SHIPPED_FILES) as model, penult.Session(model, max_prompts=len(rows)) as session:
            self.judge("shipped, legacy end", "f16", place, rows, encode(session, rows), numbers(rows))
        shutil.rmtree(place)

    # ---- bits and ids ----

    def bits_of(self, label, directory, tokenizer, prompts=2):
        self.report.extend(label, bits.checks(directory, tokenizer, self.library, bits.CHOSEN[:prompts]))

    def ids(self):
        import corpus
        texts = list(corpus.texts(self.options.strings))
        tok = CLIPTokenizer.from_pretrained(SHIPPED_FILES)
        with self.model(SHIPPED_FILES) as model:
            self.report.extend("shipped vocabulary", ids.compare("body", model, tok, texts[::10]))
            self.report.extend("shipped vocabulary", ids.framed("rows", model, tok, [*PROMPTS, *texts[::200]]))
        carrier = towers.Tower(towers.CARRIER).write(self.work / "carrier", "f16")
        recorded = TOKENIZER_TESTS / "tokenizer_vectors.json"
        for pad, field in (("end", "hf_fast"), ("bang", "hf_fast_pad_bang")):
            for form, directory in zip(("tokenizer.json", "vocab.json and merges.txt"), self.clip[pad]):
                tok = CLIPTokenizer.from_pretrained(directory)
                some = texts if (pad, form) == ("end", "tokenizer.json") else texts[::20]
                with self.model(carrier, directory) as model:
                    where = f"CLIP vocabulary, {form}, pads with {tok.pad_token!r}"
                    self.report.extend(where, ids.compare("body", model, tok, some))
                    self.report.extend(where, ids.framed("rows", model, tok, [*PROMPTS, *texts[::200]]))
                    self.report.extend(where, ids.vectors(recorded, field, model))
        shutil.rmtree(carrier)
        compact = clip_vocabulary.write_compact(self.work / "vocabulary")
        for pad, field, pad_in_text, some in (("end", "hf_fast", "files", texts),
                                              ("bang", "hf_fast_pad_bang", "special", texts[::20])):
            tok = CLIPTokenizer.from_pretrained(self.clip[pad][0])
            with penult.Model(None, compact, library=self.library, pad_in_text=pad_in_text) as model:
                where = f"CLIP vocabulary, clip.vocab, pads with {tok.pad_token!r}"
                self.report.extend(where, ids.compare("body", model, tok, some))
                self.report.extend(where, ids.framed("rows", model, tok, [*PROMPTS, *texts[::200]]))
                self.report.extend(where, ids.vectors(recorded, field, model))
        with penult.Model(None, compact, library=self.library, tokenizer_mode="open_clip") as model:
            where = "CLIP vocabulary, clip.vocab, open_clip's mode"
            strings = ids_open_clip.texts(corpus, self.options.strings)
            self.report.extend(where, ids_open_clip.checks(model, strings))
            self.report.extend(where, ids_open_clip.vectors(recorded, model))

    # ---- the end ----

    def everything(self):
        parts = (("towers", "towers, shipped geometry", self.shipped), ("towers", "towers, CLIP-L", self.clip_l),
                 ("bits", "bits", lambda: self.bits_of("shipped", SHIPPED_FILES, None)), ("ids", "ids", self.ids))
        for part, title, function in parts:
            if self.options.wants(part):
                began = time.monotonic()
                print(title, flush=True)
                try:
                    function()
                except penult.PenultError as error:
                    self.report.check(title, False, f"the plugin refused: {error}")
                print(f"  {time.monotonic() - began:.0f} s", flush=True)
        self.report.conclude()
        if self.options.record:
            (HERE / "RESULTS.md").write_text(self.report.document(
                "The last parity run", "Written by `run.py --record`; `README.md` says what the columns mean."),
                encoding="utf-8")
        return self.report.verdict()


def options():
    parser = argparse.ArgumentParser(description="Compares the plugin with transformers.")
    parser.add_argument("--plugin", default=str(towers.ROOT / "build" / "penult.so"))
    parser.add_argument("--work", default=str(towers.ROOT / "build" / "parity"), help="for vocabularies and towers")
    parser.add_argument("--only", default="towers,bits,ids", help="some of towers,bits,ids")
    parser.add_argument("--strings", type=int, default=200000, help="how many strings are tokenized")
    parser.add_argument("--record", action="store_true", help="write RESULTS.md")
    parser.add_argument("--keep", action="store_true", help="keep CLIP-L's towers")
    chosen = parser.parse_args()
    parts = set(chosen.only.split(","))
    if not parts <= {"towers", "bits", "ids"}:
        parser.error(f"--only {chosen.only}: expected some of towers,bits,ids")
    chosen.wants = parts.__contains__
    return chosen


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    sys.exit(Run(options()).everything())
