"""How far a recipe's tensors are from what a host makes, in units of the host's own error in float32.

Owns the blocks that a tensor is judged in, the measure and its bounds. A context is judged window by window and tower by tower,
as two towers have scales of their own; the start token's row is judged apart, for the reason that compare.py gives. A Part
is one of these. Knows no host.
"""
import dataclasses

import numpy as np

from compare import rms

# What must be the very same. Zeros are too: an exact part that is all zeros is compared by equality.
EQUAL = ("add_time_ids", "negative_add_time_ids", "text_mask", "negative_text_mask")
SIZE_EMBEDDING = 256

# One row's error is to some degree luck (compare.py): a single part may be twice as far off as the bounds of a whole recipe,
# which are those of the other parity runs.
RMS_BOUND, MAX_BOUND = 1.5, 3.0
PART_RMS_BOUND, PART_MAX_BOUND = 3.0, 6.0


@dataclasses.dataclass(frozen=True)
class Part:
    """One part of one tensor: errors against float64, over the rms of the exact values."""
    where: str
    rms_ours: float
    rms_host: float
    max_ours: float
    max_host: float
    count: int

    @property
    def rms_ratio(self):
        return ratio(self.rms_ours, self.rms_host)

    @property
    def max_ratio(self):
        return ratio(self.max_ours, self.max_host)

    @property
    def passed(self):
        return self.rms_ratio <= PART_RMS_BOUND and self.max_ratio <= PART_MAX_BOUND


def ratio(ours, host):
    if not np.isfinite(ours):
        return np.inf
    return ours / host if host else (1.0 if not ours else np.inf)


def blocks(name, shape, widths):
    """(label, slices) of a tensor: its windows and towers; what is right of the towers, and pooled vectors, as one."""
    if len(shape) == 2:
        yield name, (slice(None), slice(None))
        return
    for window in range(shape[1] // 77):
        rows, at = slice(77 * window, 77 * window + 77), 0
        for tower, width in enumerate(widths):
            yield f"{name} window {window} tower {tower}", (0, rows, slice(at, at + width))
            at += width
        if at < shape[2]:
            yield f"{name} window {window} right of the towers", (0, rows, slice(at, None))


def part(where, exact, host, ours):
    scale = rms(exact) or 1.0
    errors = [np.abs(np.asarray(got, np.float64) - exact) / scale for got in (ours, host)]
    return Part(where, rms(errors[0]), rms(errors[1]), float(errors[0].max()), float(errors[1].max()), exact.size)


def parts(name, exact, host, ours, widths):
    """Of a tensor that is not EQUAL. The three are of one shape."""
    for label, at in blocks(name, exact.shape, widths):
        a, b, c = exact[at], host[at], ours[at]
        if len(exact.shape) == 2 or not a.any():
            yield part(label, a, b, c)
            continue
        yield part(label, a[1:], b[1:], c[1:])
        # in units of each value where that is larger than the rms: three channels of this row dwarf all else
        unit = np.maximum(np.abs(a[:1]), rms(a[1:]))
        yield part(label + " start", a[:1] / unit, b[:1] / unit, c[:1] / unit)


def exact_sizes(ids):
    """What stands behind the pooled vector in `vector`, in float64."""
    frequencies = np.exp(-np.log(10000.0) * np.arange(SIZE_EMBEDDING // 2) / (SIZE_EMBEDDING // 2))
    angles = np.asarray(ids, np.float64).reshape(-1, 1) * frequencies
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1).reshape(1, -1)


def combined(parts_):
    """The ratios of a whole recipe: (rms, maximum)."""
    weigh = [(p.count, p.rms_ours, p.rms_host) for p in parts_ if p.rms_host]
    total = sum(count for count, _, _ in weigh)
    if not total:
        return max((p.rms_ratio for p in parts_), default=1.0), max((p.max_ratio for p in parts_), default=1.0)
    ours = sum(count * own**2 for count, own, _ in weigh) / total
    host = sum(count * own**2 for count, _, own in weigh) / total
    return float(np.sqrt(ours / host)), max(p.max_ratio for p in parts_)
