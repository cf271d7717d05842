"""What a parity run found: collected, printed while it runs, concluded, and written down as Markdown.

Owns the words and tables of a report. Knows nothing of what is compared.
"""
import importlib.metadata
import sys

import compare

BEHAVIOUR = ("tower", "rms after block 1", "after the last", "massive channels, times the rms", "spread of log gains",
             "distance of prompts", "of neighbouring tokens")


def versions():
    packages = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
    return ", ".join([*(f"{name} {importlib.metadata.version(name).split('+')[0]}" for name in packages),
                      f"Python {sys.version.split()[0]}"])


def ratio(ours, torch):
    """1 where neither has any error: hidden 0 is one addition, which both may have exact."""
    return ours / torch if torch else (1.0 if not ours else float("inf"))


def rms_ratio(line):
    return ratio(line.rms_ours, line.rms_torch)


def max_ratio(line):
    return ratio(line.max_ours, line.max_torch)


class Report:
    def __init__(self):
        self.lines, self.checks, self.behaviours = [], [], []
        self.kernels = None

    def add(self, lines):
        lines = list(lines)
        self.lines += lines
        failed = sum(not line.passed for line in lines)
        worst = max(lines, key=rms_ratio)
        print(f"  {lines[0].model} {lines[0].dtype}: {len(lines)} outputs, {failed} failed; largest rms ratio "
              f"{rms_ratio(worst):.2f} ({worst.output})", flush=True)

    def check(self, name, passed, detail=""):
        self.checks.append((name, bool(passed), detail))
        print(f"  {'ok' if passed else 'FAILED'}  {name}{': ' + detail if detail else ''}", flush=True)

    def extend(self, where, checks):
        for name, passed, detail in checks:
            self.check(f"{where}: {name}", passed, detail)

    def behaviour(self, geometry, behaviour):
        self.behaviours.append((geometry.name, behaviour))
        faults = behaviour.faults(geometry)
        self.check(f"{geometry.name}: behaves like a trained tower", not faults, "; ".join(faults))

    def largest_ratios(self):
        """One sentence: how near to the bounds the nearest line came."""
        parts = []
        for what, measure in (("rms", rms_ratio), ("maximum", max_ratio)):
            line = max(self.lines, key=measure)
            parts.append(f"{what} {measure(line):.2f} ({line.model} {line.dtype} {line.output})")
        return f"The largest ratios are: {', '.join(parts)}."

    def counts(self):
        verdicts = [line.passed for line in self.lines] + [passed for _, passed, _ in self.checks]
        return sum(verdicts), len(verdicts) - sum(verdicts)

    def conclude(self):
        """Prints the table and, again, what failed."""
        print()
        if self.lines:
            print(compare.table([line.cells() for line in self.lines]), end="\n\n")
            print(self.largest_ratios(), end="\n\n")
        for line in self.lines:
            if not line.passed:
                print("FAILED", *line.cells())
        for name, passed, detail in self.checks:
            if not passed:
                print("FAILED", name, detail)

    def verdict(self):
        """Prints the last line; returns the exit status."""
        passed, failed = self.counts()
        print(f"{passed} passed, {failed} failed")
        return 1 if failed or not passed else 0

    def document(self, title, *paragraphs, checks="Bits, ids and the rest"):
        passed, failed = self.counts()
        behaviours = [(name, f"{b.first_rms:.2f}", f"{b.last_rms:.2f}", f"{min(b.massive):.1f} to {max(b.massive):.1f}",
                       f"{b.gain_spread:.2f}", f"{b.prompt_distance:.2f}", f"{b.position_distance:.2f}")
                      for name, b in self.behaviours]
        rows = [(name, "ok" if passed else "FAILED", detail.replace("|", "\\|"))
                for name, passed, detail in self.checks]
        blocks = [f"# {title}", *paragraphs, f"{self.kernels}; {versions()}", f"{passed} passed, {failed} failed",
                  "## Values", compare.table([line.cells() for line in self.lines], rule="|"), self.largest_ratios(),
                  "## The towers", compare.table(behaviours, BEHAVIOUR, rule="|"),
                  f"## {checks}", compare.table(rows, ("what", "verdict", "detail"), rule="|")]
        return "\n\n".join(blocks) + "\n"
