"""What the plugin gives, by the names of reference.py. A host like any other: through api/penult.py."""
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "api"))
import penult  # noqa: E402

POOLED = {"pooled raw": "raw", "pooled projected": "projected", "pooled normalised": "normalised"}


def keys(info):
    """{name of reference.py: what Session.encode calls it}"""
    wanted = {f"hidden {layer}": layer for layer in range(info.layers + 1)}
    wanted |= {"skip": (-2, True), "last": (-1, True)}
    return wanted | {name: key for name, key in POOLED.items() if info.projection or key == "raw"}


def encode(session, prompts, names=None, dtype="float32", key_masks=None):
    """{name: array}; all names of the model if none are given."""
    wanted = keys(session.info)
    wanted = {name: wanted[name] for name in names} if names is not None else wanted
    encoded = session.encode(prompts, layers=[key for key in wanted.values() if not isinstance(key, str)],
                             pooled=[key for key in wanted.values() if isinstance(key, str)], dtype=dtype,
                             key_masks=key_masks)
    return {name: (encoded.pooled if isinstance(key, str) else encoded.hidden)[key] for name, key in wanted.items()}


def same_bits(a, b):
    """Whether two results have the same outputs and each the same bytes; NaN payloads and zero signs count."""
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and a[name].shape == b[name].shape
        and np.ascontiguousarray(a[name]).tobytes() == np.ascontiguousarray(b[name]).tobytes() for name in a)
