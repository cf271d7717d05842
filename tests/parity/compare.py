"""Two results against float64, and the verdict.

Owns the measure, the bounds and the table. A result is a dictionary of arrays by the names of reference.py; ours is
judged against torch's error in float32 arithmetic on the same weights: rms at most RMS_BOUND times, maximum at most
MAX_BOUND times. What comes of the arithmetic named bf16 is judged against torch's error in bfloat16, by NAMED.

A hidden state is judged three times: whole, and apart into the text's rows and the start token's. The start row is
the same in every prompt, and three of its channels stand at 50 times the rms of all others: one rounding of one neuron
decides how far off those are, and as part of the whole they are its maximum and hide whatever the text's rows do. So
the text is judged by plain errors too, and the start row by errors in units of the value itself, where that is larger
than the rms.
"""
import dataclasses

import numpy as np

RMS_BOUND, MAX_BOUND = 1.5, 3.0
EXACT = RMS_BOUND, MAX_BOUND
NAMED = 1.0, 3.0  # of bfloat16 arithmetic, times the error of torch in bfloat16


def rms(x):
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


@dataclasses.dataclass(frozen=True)
class Line:
    model: str
    dtype: str
    output: str
    rms_ours: float
    rms_torch: float
    max_ours: float
    max_torch: float
    worst: str  # the prompt with the largest rms error of ours
    bounds: tuple = EXACT  # times torch's rms, times torch's maximum

    @property
    def passed(self):
        return self.rms_ours <= self.bounds[0] * self.rms_torch and self.max_ours <= self.bounds[1] * self.max_torch

    def cells(self):
        def ratio(ours, torch):
            return f"{ours / torch:.2f}" if torch else ("exact" if not ours else "inf")
        return (self.model, self.dtype, self.output, f"{self.rms_ours:.2e}", f"{self.rms_torch:.2e}",
                ratio(self.rms_ours, self.rms_torch), f"{self.max_ours:.2e}", f"{self.max_torch:.2e}",
                ratio(self.max_ours, self.max_torch), "ok" if self.passed else "FAILED", self.worst)


HEADER = ("model", "dtype", "output", "rms ours", "torch", "ratio", "max ours", "torch", "ratio", "verdict",
          "worst prompt")


def lines(model, dtype, exact, torch, ours, labels, bounds=EXACT):
    """A Line for each output; [B,T,D] outputs give two more, `NAME text` without the start row and `NAME start`."""
    for name, wanted in exact.items():
        for got in (torch[name], ours[name]):
            if got.shape != wanted.shape or got.dtype != np.float32:
                raise SystemExit(f"{model} {dtype} {name}: {got.dtype} {got.shape}, expected float32 {wanted.shape}")
        error_torch, error_ours = (np.abs(got - wanted) for got in (torch[name], ours[name]))
        yield _line(model, dtype, name, error_ours, error_torch, labels, bounds)
        if wanted.ndim == 3:
            yield _line(model, dtype, name + " text", error_ours[:, 1:], error_torch[:, 1:], labels, bounds)
            unit = np.maximum(np.abs(wanted[:1, 0]), rms(wanted[:, 1:]))
            yield _line(model, dtype, name + " start", error_ours[:1, 0] / unit, error_torch[:1, 0] / unit, ["all"], bounds)


def _line(model, dtype, output, ours, torch, labels, bounds):
    worst = max(range(len(ours)), key=lambda row: rms(ours[row]))
    # A NaN would compare as neither worse nor better; infinity fails.
    values = [float(value) if np.isfinite(value) else np.inf
              for value in (rms(ours), rms(torch), ours.max(), torch.max())]
    return Line(model, dtype, output, *values, labels[worst] if any(values) else "-", bounds)


def table(rows, header=HEADER, rule=""):
    """Rows of cells, lined up. rule "|" makes it Markdown."""
    rows = [tuple(str(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    numeric = [all(row[column][:1].isdigit() or row[column] in ("exact", "inf") for row in rows)
               for column in range(len(header))]

    def put(row):
        cells = [cell.rjust(width) if right else cell.ljust(width) for cell, width, right in zip(row, widths, numeric)]
        return f"| {' | '.join(cells)} |" if rule else "  ".join(cells).rstrip()

    between = "| " + " | ".join("-" * (width - right) + ":" * right for width, right in zip(widths, numeric)) + " |"
    return "\n".join([put(header), *([between] if rule else []), *map(put, rows)])
