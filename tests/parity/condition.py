#!/usr/bin/env python3
"""Parity of recipes: penult.condition/1 against what the hosts make of the same prompts over the same towers. `make
parity-condition` runs it at full geometry, `make parity` with narrow towers, both in the reference environment.

    condition.py [--full] [--plugin build/penult.so] [--work build/parity/condition] [--only TEXT] [--record]

Prints a table and ends with "N passed, N failed"; the exit status is 1 if anything failed. --only: the cases whose key has
that text in it. --record writes RESULTS-CONDITION.md. README.md beside this says what is compared and why.
"""
import argparse
import collections
import gc
import importlib.metadata
import logging
import pathlib
import sys
import time

import apart  # noqa: F401 - before transformers, which imports torchvision
import numpy as np
import torch
import transformers

import compare
import condition_cases as cases
import condition_golden
import condition_measure as measure
import report
import towers
from condition_compel import Compels
from condition_diffusers import Pipelines
from condition_open_clip import Embedders
from condition_towers import Files, load
from plugin import penult

HERE = pathlib.Path(__file__).resolve().parent
PADS_WITH_END = ("cascade", "kandinsky")  # recipes whose bigG comes with a tokenizer that pads with the end token


class Reference:
    """The hosts that run here, over towers of one dtype."""

    def __init__(self, files, dtype):
        self.files, self.dtype, self.loaded = files, dtype, {}
        self.pipelines = Pipelines(self.load, files.tokenizer)
        self.hosts = {"diffusers": self.pipelines, "compel": Compels(self.pipelines),
                      "open_clip": Embedders(files, dtype, self.load, self.pipelines)}

    def load(self, key):
        if key not in self.loaded:
            self.loaded[key] = load(self.files, key, self.dtype)
        return self.loaded[key]

    def tensors(self, case):
        found = self.hosts[case.host].tensors(case)
        return {name: np.asarray(value.numpy() if torch.is_tensor(value) else value) for name, value in found.items()}


class Ours:
    def __init__(self, library, files):
        self.library, self.files, self.models, self.opened = library, files, {}, {}

    def model(self, key, pad):
        if (key, pad) not in self.models:
            self.models[key, pad] = penult.Model(self.files.place(key), tokenizer=self.files.tokenizers[pad], library=self.library)
        return self.models[key, pad]

    def pipeline(self, case):
        options = (case.recipe, case.options, case.files)
        if options not in self.opened:
            self.opened.clear()  # cases stand in order, and each pipeline has memory of its own
            row = next(row for row in penult.recipes(self.library) if row.name == case.recipe)
            pad = "end" if case.recipe.startswith(PADS_WITH_END) else "zero"
            models = {tower.name: self.model(dict(case.files).get(tower.name, tower.name), "end" if tower.name == "clip_l" else pad)
                      for tower in row.towers}
            self.opened[options] = penult.Pipeline(case.recipe, models, max_windows=32, **dict(case.options))
        return self.opened[options]

    def widths(self, case):
        return [self.files.geometries[tower.name].width for tower in self.pipeline(case).recipe.towers if tower.layer]

    def tensors(self, case):
        return self.pipeline(case).condition(
            case.prompt, case.negative, case.prompt_2, case.negative_2, clip_skip=case.clip_skip, **dict(case.sizes)).tensors


class Run:
    def __init__(self, options):
        self.options = options
        self.library = penult.Library(options.plugin)
        self.files = Files(options.work, options.full)
        self.live = [case for case in cases.every(cases.LIVE) if options.only in case.key]
        self.recorded = [case for case in cases.every(cases.RECORDED) if options.only in case.key]
        self.failures, self.rows, self.passed = [], [], 0
        self.of = collections.defaultdict(list)  # (recipe, host) -> parts

    # ---- one case ----

    def verdict(self, case, found):
        """found: (name of a tensor, parts or a sentence of what is wrong) pairs."""
        wrong, every = [], []
        for name, result in found:
            if isinstance(result, str):
                wrong.append(f"{name}: {result}")
                continue
            every += result
            wrong += [f"{part.where}: rms {part.rms_ratio:.2f}, maximum {part.max_ratio:.2f} units"
                      for part in result if not part.passed]
        self.of[case.recipe, case.host] += every
        together = measure.combined(every)
        self.rows.append((case.recipe, case.host, case.name, len(every), f"{together[0]:.2f}", f"{together[1]:.2f}",
                          "FAILED" if wrong else "ok"))
        self.passed += not wrong
        if wrong:
            self.failures.append(f"{case.key}: {'; '.join(wrong[:4])}{f'; and {len(wrong) - 4} more' if len(wrong) > 4 else ''}")
            print("  FAILED", self.failures[-1], flush=True)

    def compare(self, case, exact, single, ours, widths):
        names = case.tensors or sorted(exact)
        for name in names:
            if name not in ours:
                yield name, f"is not among ours, {', '.join(ours)}"
            elif ours[name].shape != exact[name].shape:
                yield name, f"has the shape {ours[name].shape}, expected {exact[name].shape}"
            elif name in measure.EQUAL:
                if not np.array_equal(ours[name], exact[name]):
                    yield name, f"is {ours[name].ravel()[:8]}, expected {exact[name].ravel()[:8]}"
            elif name.endswith("vector"):
                yield from self.vector(name, exact, single, ours)
            else:
                yield name, list(measure.parts(name, exact[name], single[name], ours[name], widths))

    @staticmethod
    def vector(name, exact, single, ours):
        """The pooled vector's own bits, and behind it the sizes against float64."""
        side = name.removesuffix("vector")
        pooled = ours[f"{side}pooled_prompt_embeds"]
        if not np.array_equal(ours[name][:, :pooled.shape[1]], pooled):
            yield name, "does not begin with the pooled vector"
        wanted = measure.exact_sizes(exact[f"{side}add_time_ids"])
        yield name, [measure.part(f"{name} sizes", wanted, *(each[name][:, pooled.shape[1]:] for each in (single, ours)))]

    # ---- everything ----

    def reference(self, dtype):
        """One large tower at a time: bigG is 5.6 GB in float64."""
        began, found = time.monotonic(), {}
        groups = collections.defaultdict(list)
        for case in self.live:
            groups[case.host == "open_clip", case.recipe.startswith("sd2@")].append(case)
        for group in groups.values():
            host = Reference(self.files, dtype)
            for case in group:
                found[case.key] = host.tensors(case)
            del host
            gc.collect()
        print(f"  hosts in {str(dtype).removeprefix('torch.')}: {len(found)} cases, {time.monotonic() - began:.0f} s", flush=True)
        return found

    def everything(self):
        exact, single = self.reference(torch.float64), self.reference(torch.float32)
        ours = Ours(self.library, self.files)
        for case in self.live:
            self.guarded(case, lambda case=case: self.compare(case, exact[case.key], single[case.key], ours.tensors(case),
                                                              ours.widths(case)))
        if self.recorded:
            self.against_recorded(ours)
        return self.conclude()

    def against_recorded(self, ours):
        """The narrow goldens are always there; full ones take half an hour to record, and are optional."""
        size = "full" if self.options.full else "small"
        if self.options.full and not condition_golden.path_of(size).exists():
            print("  sgm, comfyui and a1111: nothing is recorded at full geometry; make parity has them narrow", flush=True)
            return
        golden = condition_golden.Golden(size, self.files)
        for case in self.recorded:
            self.guarded(case, lambda case=case: golden.compare(case, ours.tensors(case), ours.widths(case)))

    def guarded(self, case, compare_):
        try:
            found = list(compare_())
        except penult.PenultError as error:
            found = [("", f"the plugin refused: {error}")]
        self.verdict(case, found)

    def table(self, rule=""):
        """Recipes x hosts."""
        hosts = [*cases.LIVE, *cases.RECORDED]
        recipes = sorted({recipe for recipe, _ in self.of}, key=[row.name for row in penult.recipes(self.library)].index)
        counts = collections.Counter((row[0], row[1]) for row in self.rows)
        lines = []
        for recipe in recipes:
            cells = [recipe]
            for host in hosts:
                parts = self.of.get((recipe, host))
                cells.append("" if not parts else "{:.2f} / {:.2f} ({})".format(*measure.combined(parts), counts[recipe, host]))
            lines.append(cells)
        return compare.table(lines, ("recipe", *hosts), rule)

    def conclude(self):
        for (recipe, host), parts in self.of.items():
            together = measure.combined(parts)
            if together[0] > measure.RMS_BOUND:
                self.failures.append(f"{recipe}, {host}: rms {together[0]:.2f} units over all cases, expected at most {measure.RMS_BOUND}")
            else:
                self.passed += 1
        print(self.table(), end="\n\n")
        for failure in self.failures:
            print("FAILED", failure)
        print(f"{self.passed} passed, {len(self.failures)} failed")
        if self.options.record:
            (HERE / "RESULTS-CONDITION.md").write_text(self.document(), encoding="utf-8")
        return 1 if self.failures or not self.passed else 0

    def document(self):
        with penult.Model(self.files.place("clip_l"), tokenizer=self.files.tokenizers["end"], library=self.library) as model:
            kernels = f"penult {self.library.version}: {model.info.kernels}"
        apart_ = [f"{name} {importlib.metadata.version(name)}" for name in ("diffusers", "open_clip_torch", "compel")]
        blocks = [
            "# The last run of recipes against hosts",
            f"Written by `condition.py{' --full' if self.options.full else ''} --record`; `README.md` says what is compared. rms / maximum error, in units of the "
            "host's own in float32 against float64 (number of cases). sgm, comfyui and a1111 from recorded values, where there are "
            "some for this geometry.",
            f"{kernels}; {report.versions()}, {', '.join(apart_)}",
            f"{self.passed} passed, {len(self.failures)} failed", "## Recipes and hosts", self.table("|"), "## Cases",
            compare.table(self.rows, ("recipe", "host", "case", "parts", "rms", "maximum", "verdict"), "|")]
        return "\n\n".join(blocks) + "\n"


def options():
    parser = argparse.ArgumentParser(description="Compares recipes with the hosts that make them.")
    parser.add_argument("--full", action="store_true", help="towers of full geometry: some 15 GB of memory")
    parser.add_argument("--plugin", default=str(towers.ROOT / "build" / "penult.so"))
    parser.add_argument("--work", default=str(towers.ROOT / "build" / "parity" / "condition"), help="for towers")
    parser.add_argument("--only", default="", help="cases whose key has this in it")
    parser.add_argument("--record", action="store_true", help="write RESULTS-CONDITION.md")
    return parser.parse_args()


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("diffusers").setLevel(logging.ERROR)
    sys.exit(Run(options()).everything())
