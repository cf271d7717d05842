"""Which parts of a result the goldens keep; the recorder and the test both take them from here."""
import numpy as np

HIDDEN = ("hidden 3", "last")  # the penultimate state of the shipped model's four blocks, and the final-normed last one
POOLED = ("pooled raw", "pooled projected", "pooled normalised")


def signs(width):
    """A fixed pattern of +1 and -1 without a period: the parity of the bits of 19 n."""
    return np.array([1 - 2 * ((19 * channel).bit_count() & 1) for channel in range(width)], np.float64)


def parts(results, ends):
    """results: by the names of reference.py. Of each hidden state: the rows 0, 1, the end's and the last one [B,4,D],
    and one signed sum per row but the start's [B,T-1]; pooled vectors whole."""
    kept = {}
    for name in HIDDEN:
        value = results[name]
        batch, tokens, width = value.shape
        rows = np.stack([np.zeros(batch, int), np.ones(batch, int), ends, np.full(batch, tokens - 1)], 1)
        kept[name] = value[np.arange(batch)[:, None], rows]
        kept[name + " sums"] = (value[:, 1:].astype(np.float64) @ signs(width)).astype(value.dtype)
    return kept | {name: results[name] for name in POOLED}
