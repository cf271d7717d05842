"""What was recorded of hosts that cannot run here, and how ours is held against it.

Of each block of a tensor (condition_measure.py) the goldens have some of its values in float64, as the host's code gave them over
a float64 tower, at positions drawn from the block's name; some sums of all of its values, each with a sign drawn for it; and
how far the host's code was off over a float32 tower, which is the unit. The sums see what the positions do not: the error of
one has the standard deviation of the block's rms error times the root of its size, however the errors go together.

A1111's mean restoration multiplies a block by the mean before over the mean after. Where the mean is near 0 that factor is what
the last bits of the tower make of it, in the host as here, and no bound in units of another program's luck is right. So the factor
is judged apart, against the most that errors of the elements can do to two means (a mean is off by no more than the elements' rms
error), and the block without its factor by the bounds of all others.

Owns the format, golden/condition-full.npz and -small.npz. record_hosts.py makes them.
"""
import hashlib
import json
import pathlib
import zlib

import numpy as np

import condition_measure as measure
from compare import rms

FOLDER = pathlib.Path(__file__).resolve().parent / "golden"
COUNTS = {"full": (48, 12, 8), "small": (20, 8, 4)}  # values of the text's rows, of the start row, sums
# A sum's rms over 8 or 4 of them is that of the block only to a third or a half.
SUMS_BOUND = 2 * measure.PART_RMS_BOUND
SIZES_BOUND = 1e-3  # cosines of angles up to some thousand, in float32


def path_of(size):
    return FOLDER / f"condition-{size}.npz"


def draws(label, text, start, counts):
    """Positions and signs for a block of these shapes."""
    rng = np.random.default_rng(zlib.crc32(f"{label} {text} {start}".encode()))
    values = rng.integers(0, text, counts[0])
    starts = rng.integers(0, start, counts[1]) if start else np.zeros(0, int)
    return values, starts, rng.integers(0, 2, (counts[2], text), dtype=np.int8) * 2.0 - 1


def split(block):
    """The values of the text's rows, and those of the start row if it is a window."""
    if block.shape[0] == 1:
        return block.ravel(), np.zeros(0)
    return block[1:].ravel(), block[0]


def factor(block, exact):
    """What a block has to be divided by to be nearest to the exact one."""
    return float(np.vdot(block, exact) / np.vdot(exact, exact))


class Writer:
    def __init__(self, size):
        self.counts, self.values, self.index, self.at = COUNTS[size], [], {}, {}

    def put(self, values):
        """Where some values are in the file; the same values once."""
        values = np.ascontiguousarray(values, np.float64)
        key = values.tobytes()
        if key not in self.at:
            self.at[key] = sum(map(len, self.values))
            self.values.append(values)
        return [self.at[key], len(values)]

    def tensor(self, case, name, exact, host, widths, factor_units=None):
        """factor_units: {label: unit} for tensors that A1111 restored."""
        kept = []
        for label, at in measure.blocks(name, exact.shape, widths):
            a, b = exact[at].astype(np.float64), host[at].astype(np.float64)
            a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
            if not a.any():
                kept.append({"label": label, "zeros": True})
                continue
            entry = {"label": label}
            if factor_units:
                entry["factor_unit"] = factor_units[label]
                b = b / factor(b[1:], a[1:])
            (text, start), (host_text, host_start) = split(a), split(b)
            scale = rms(text)
            positions, starts, signs = draws(label, text.size, start.size, self.counts)
            errors = (host_text - text) / scale
            entry |= {"scale": scale, "rms": rms(errors), "max": float(np.abs(errors).max()), "values": self.put(text[positions]),
                      "sums": self.put(signs @ text)}
            if start.size and not factor_units:
                errors = (host_start - start) / np.maximum(np.abs(start), scale)
                entry |= {"start": self.put(start[starts]), "start rms": rms(errors), "start max": float(np.abs(errors).max())}
            kept.append(entry)
        self.index.setdefault(case.key, {})[name] = {"shape": list(exact.shape), "blocks": kept}

    def sizes(self, case, name, host, pooled_width):
        """What is behind the pooled vector, as the host has it in float32."""
        behind = host[0, pooled_width:]
        positions = draws(name, behind.size, 0, (self.counts[0], 0, 1))[0]
        self.index.setdefault(case.key, {})[name] = {"shape": list(host.shape), "sizes": self.put(behind[positions])}

    def write(self, path, about):
        index = json.dumps({"about": about, "cases": self.index}).encode()
        np.savez_compressed(path, index=np.frombuffer(index, np.uint8), values=np.concatenate(self.values))


class Golden:
    def __init__(self, size, files):
        path = path_of(size)
        stored = np.load(path)
        index = json.loads(stored["index"].tobytes())
        self.counts, self.values, self.cases, self.about = COUNTS[size], stored["values"], index["cases"], index["about"]
        for key, digest in self.about["towers"].items():
            if files.digest(key) != digest:
                raise SystemExit(f"{path.name} was recorded over other weights of {key} than {files.place(key)}: record it again")

    def of(self, where):
        return self.values[where[0]:where[0] + where[1]]

    def compare(self, case, ours, widths):
        """Pairs for condition.Run.verdict."""
        if case.key not in self.cases:
            yield "", "was not recorded"
            return
        for name, kept in self.cases[case.key].items():
            if case.tensors and name not in case.tensors:
                continue
            if name not in ours or list(ours[name].shape) != kept["shape"]:
                yield name, f"has the shape {ours[name].shape if name in ours else None}, expected {kept['shape']}"
            elif "sizes" in kept:
                yield from self.sizes(name, kept, ours)
            else:
                for entry, (label, at) in zip(kept["blocks"], measure.blocks(name, ours[name].shape, widths), strict=True):
                    yield from self.block(entry, label, ours[name][at].astype(np.float64))

    def block(self, entry, label, ours):
        ours = ours.reshape(-1, ours.shape[-1])
        if entry.get("zeros"):
            if ours.any():
                yield label, "is not zero"
            return
        (text, start), exact, scale = split(ours), self.of(entry["values"]), entry["scale"]
        positions, starts, signs = draws(label, text.size, start.size, self.counts)
        if "factor_unit" in entry:
            # Of as many values as there are. It is not exact enough for the start row, whose largest values have the smallest
            # errors: that row is judged where the same window is not restored.
            found = factor(text[positions], exact)
            text = text / found
            allowed = measure.RMS_BOUND * entry["factor_unit"]
            if abs(found - 1) > allowed:
                yield label, f"has a factor off by {abs(found - 1):.1e}, expected at most {allowed:.1e}"
        errors = (text[positions] - exact) / scale
        parts = [measure.Part(label, rms(errors), entry["rms"], float(np.abs(errors).max()), entry["max"], text.size)]
        if "start" in entry:
            exact = self.of(entry["start"])
            errors = (start[starts] - exact) / np.maximum(np.abs(exact), scale)
            parts.append(measure.Part(label + " start", rms(errors), entry["start rms"], float(np.abs(errors).max()),
                                      entry["start max"], start.size))
        yield label, parts
        sums = measure.ratio(rms(signs @ text - self.of(entry["sums"])) / (scale * text.size**0.5), entry["rms"])
        if sums > SUMS_BOUND:
            yield label, f"has sums that are off as if all were, by {sums:.2f} units"

    def sizes(self, name, kept, ours):
        side = name.removesuffix("vector")
        pooled = ours[f"{side}pooled_prompt_embeds"].shape[1]
        behind = ours[name][0, pooled:]
        positions = draws(name, behind.size, 0, (self.counts[0], 0, 1))[0]
        exact, host = measure.exact_sizes(ours[f"{side}add_time_ids"])[0, positions], self.of(kept["sizes"])
        if np.abs(host - exact).max() > SIZES_BOUND:
            yield name, f"is of other sizes than the host's: off by {np.abs(host - exact).max():.2g}"
        else:
            yield name, [measure.part(f"{name} sizes", exact, host, behind[positions])]


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
