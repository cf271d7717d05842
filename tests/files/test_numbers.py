#!/usr/bin/env python3
"""test_numbers.py - protects a host from weights that are legal bytes and bad numbers: NaN, infinities, denormals, zeros
and huge values in each kind of tensor in turn, in each stored type, with each kernel set. What was asked for is either
right, judged by the tower in float64 NumPy, or the status is NON_FINITE; never a trap, though the host has unmasked every
one, and never a hang.

    test_numbers.py PLUGIN MODEL [all]      all: every value in every tensor in every type; else every fourth in one type
"""
import contextlib
import ctypes
import itertools
import pathlib
import shutil
import signal
import sys
import tempfile
import time

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
for room in ("../../api", "../model", "../parity", "../../samples/model"):
    sys.path.insert(0, str(HERE / room))
import folders  # noqa: E402
import numpy_block  # noqa: E402
import penult  # noqa: E402
import weights  # noqa: E402

G = weights.Geometry(name="tiny", vocabulary=50, width=32, heads=2, layers=2, mlp_width=48, projection=24, activation="gelu",
                     start_id=48, end_id=49, pad_id=49, last_rms=1.0, context=16)
IDS = np.array([[48, 3, 17, 3, 29, 49, 5, 6, 49, 49]], np.int32)
END, UNUSED_ID, UNUSED_ROW = 5, 40, 12
KERNELS = ("scalar", "openblas", "avx2", "avx512", "amx")
# what Session.encode is asked for -> what numpy_block.py calls it
OUTPUTS = {0: "hidden 0", 1: "hidden 1", 2: "hidden 2", (-1, True): "last", "raw": "pooled raw",
           "projected": "pooled projected", "normalised": "pooled normalised"}
LARGEST = {"F32": 3.4e38, "F16": 65504.0, "BF16": 3.38e38}
DENORMAL = {"F32": 1e-40, "F16": 3e-7, "BF16": 4e-39}
FLUSHED = 1e-25  # what may come of denormals that count as zeros: the least float over the least norm
ORDERS = 16  # of the features, in which NumPy's float32 adds where one order does not say what float32 can
HANG = 120  # seconds of one file: then it is one, and the end
SLOW = 1.35  # times the ordinary weights' CPU time: without flushing 1.85 on an EPYC, a hundred elsewhere

_libm = ctypes.CDLL("libm.so.6")
TRAPS = 1 | 4 | 8 | 16  # invalid, division by zero, overflow, underflow


@contextlib.contextmanager
def traps():
    """The host's traps are on, on this thread and on those that it makes."""
    _libm.feclearexcept(0x3D)
    _libm.feenableexcept(TRAPS)
    try:
        yield
    finally:
        _libm.feclearexcept(0x3D)
        _libm.fedisableexcept(TRAPS)


def draw():
    """The tiny tower in float32, names as in CLIPTextModel."""
    rng = np.random.default_rng(4)

    def normal(*shape, deviation):
        return (rng.standard_normal(shape) * deviation).astype(np.float32)
    tensors = {"embeddings.token_embedding.weight": normal(G.vocabulary, G.width, deviation=0.5),
               "embeddings.position_embedding.weight": normal(G.context, G.width, deviation=0.2)}
    for layer in range(G.layers):
        start = f"encoder.layers.{layer}."
        for part, rows, columns in (("self_attn.q_proj", G.width, G.width), ("self_attn.k_proj", G.width, G.width),
                                    ("self_attn.v_proj", G.width, G.width), ("self_attn.out_proj", G.width, G.width),
                                    ("mlp.fc1", G.mlp_width, G.width), ("mlp.fc2", G.width, G.mlp_width)):
            tensors[f"{start}{part}.weight"] = normal(rows, columns, deviation=columns ** -0.5)
            tensors[f"{start}{part}.bias"] = normal(rows, deviation=0.1)
        for part in ("layer_norm1", "layer_norm2"):
            tensors[f"{start}{part}.weight"] = 1 + normal(G.width, deviation=0.1)
            tensors[f"{start}{part}.bias"] = normal(G.width, deviation=0.1)
    tensors["final_layer_norm.weight"] = 1 + normal(G.width, deviation=0.1)
    tensors["final_layer_norm.bias"] = normal(G.width, deviation=0.1)
    tensors["text_projection.weight"] = normal(G.projection, G.width, deviation=G.width ** -0.5)
    return tensors


def rounded(values, dtype):
    """float32 values as `dtype` holds them."""
    if dtype == "F16":
        return np.clip(values, -65504, 65504).astype(np.float16).astype(np.float32) if np.isfinite(values).all() else \
            values.astype(np.float16).astype(np.float32)
    return values if dtype == "F32" else folders.widen("BF16", bf16(values))


def bf16(values):
    """Rounded, but a NaN stays one."""
    return np.where(np.isnan(values), np.uint16(0x7FC0), folders.to_bf16(values))


def stored(values, dtype):
    return dtype, bf16(values) if dtype == "BF16" else values.astype(folders.TYPES[dtype])


# ---- what is put where ------------------------------------------------------------------------------------------------

TENSORS = draw()
# one of each kind; the blocks are alike, so the first block's stand for them, and two of the last block's
PLACES = [name for name in TENSORS if ".layers.1." not in name or name.endswith(("v_proj.weight", "fc2.bias"))]


def one(values, value, row=None):
    values = values.copy()
    flat = values.reshape(-1)
    flat[flat.size // 2 if row is None else row * values.shape[-1] + 3] = value
    return values


def cases():
    """(title, tensor's name or None for all, dtype -> what becomes of its values)."""
    for name in PLACES:
        row = {"embeddings.token_embedding.weight": int(IDS[0, 2]), "embeddings.position_embedding.weight": 4}.get(name)
        for word, value in (("nan", np.nan), ("inf", np.inf), ("-inf", -np.inf)):
            yield f"{word} in {name}", name, lambda values, dtype, value=value, row=row: one(values, value, row)
        for word, factor in (("largest", 1), ("-largest", -1)):
            yield (f"{word} in {name}", name,
                   lambda values, dtype, factor=factor, row=row: one(values, factor * LARGEST[dtype], row))
        yield f"{name} all huge", name, lambda values, dtype: values * np.float32(LARGEST[dtype] / 1e3)
        yield f"{name} all denormal", name, lambda values, dtype: np.sign(values) * np.float32(DENORMAL[dtype])
        yield f"{name} all zero", name, lambda values, dtype: values * 0
        yield f"{name} all minus zero", name, lambda values, dtype: values * 0 * np.float32(-1)
    table, positions = "embeddings.token_embedding.weight", "embeddings.position_embedding.weight"
    yield "nan in a row of the table that no id takes", table, lambda values, dtype: one(values, np.nan, UNUSED_ID)
    yield "nan in a position beyond the row", positions, lambda values, dtype: one(values, np.nan, UNUSED_ROW)
    yield "nan in a position behind the end", positions, lambda values, dtype: one(values, np.nan, END + 1)
    yield "inf in the last position of the row", positions, lambda values, dtype: one(values, np.inf, IDS.shape[1] - 1)
    yield "a signalling nan in a bias", "encoder.layers.0.mlp.fc1.bias", lambda values, dtype: one(values, SIGNALLING)
    for word, value in (("zero", 0.0), ("one", 1.0)):
        yield f"every tensor all {word}", None, lambda values, dtype, value=value: np.full_like(values, value)
    yield "every tensor all nan", None, lambda values, dtype: np.full_like(values, np.nan)
    yield "every tensor denormal", None, lambda values, dtype: np.sign(values) * np.float32(DENORMAL[dtype])


SIGNALLING = np.array([0x7FA00000], np.uint32).view(np.float32)[0]


def write(root, dtype, change, name):
    """A folder with that change, and the float32 values that its file holds."""
    held, files = {}, {}
    for own, values in TENSORS.items():
        values = rounded(values, dtype)
        if name in (None, own):
            values = change(values, dtype).astype(np.float32)
        dtype_name, array = stored(values, dtype)
        files[own if own == "text_projection.weight" else "text_model." + own] = (dtype_name, array)
        held[own] = folders.widen(dtype_name, array)
    folders.write(root / "model.safetensors", files)
    return held


def config():
    return ('{"architectures": ["CLIPTextModelWithProjection"], "hidden_size": %d, "num_hidden_layers": %d, '
            '"num_attention_heads": %d, "intermediate_size": %d, "max_position_embeddings": %d, "vocab_size": %d, '
            '"projection_dim": %d, "hidden_act": "%s", "layer_norm_eps": %g, "eos_token_id": %d}' % (
                G.width, G.layers, G.heads, G.mlp_width, G.context, G.vocabulary, G.projection, G.activation, G.epsilon,
                G.end_id))


# ---- judging ----------------------------------------------------------------------------------------------------------

def expected(held, dtype):
    """Each output by the tower in NumPy. A pooled row does not depend on what stands behind it."""
    with np.errstate(all="ignore"):
        whole = numpy_block.tower(held, IDS, G, np.array([END]), dtype)
        pooled = numpy_block.tower(held, IDS[:, :END + 1], G, np.array([END]), dtype)
        # torch.nn.functional.normalize takes a norm for at least 1e-12: a zero vector stays one
        projected = pooled["pooled projected"]
        pooled["pooled normalised"] = projected / np.maximum(np.sqrt(np.sum(projected ** 2, -1, keepdims=True)), 1e-12)
    return {key: (pooled if isinstance(key, str) else whole)[name] for key, name in OUTPUTS.items()}


def reordered(held, generator):
    """The same tower with its features, and those within a head and of the MLP, in another order; and the order."""
    features, inner = generator.permutation(G.width), generator.permutation(G.mlp_width)
    size = G.width // G.heads
    heads = np.concatenate([head * size + generator.permutation(size) for head in range(G.heads)])
    result = {}
    for name, values in held.items():
        written, read = (heads, features) if name.split(".")[-2] in ("q_proj", "k_proj", "v_proj") else \
            (features, heads) if "out_proj" in name else (inner, features) if "fc1" in name else \
            (features, inner) if "fc2" in name else (slice(None), features)
        result[name] = values[written][:, read] if values.ndim == 2 else \
            values[features if "layer_norm" in name else written]
    return result, features


def rounding(held, key, exact):
    """The largest difference that float32 itself makes in this output, over several orders of its sums. Scores of 1e8
    are rounded to a multiple of 8 before they are an exponent: one order can miss by luck what the next one meets."""
    generator, largest = np.random.default_rng(7), 0.0
    for _ in range(ORDERS):
        tensors, order = reordered(held, generator)
        single = expected(tensors, np.float32)[key]
        with np.errstate(all="ignore"):
            off = np.abs(single - (exact if "projected" in OUTPUTS[key] or "normalised" in OUTPUTS[key] else
                                   exact[..., order])).max()
        largest = max(largest, off if np.isfinite(off) else 0.0)
    return largest


def judge(found, exact, single, held, key):
    """None, or what is wrong. found: an array, or None for NON_FINITE; exact in float64, single in float32; held and key:
    the weights, and which output this is."""
    if not np.isfinite(exact).all() or np.abs(exact).max() > LARGEST["F32"]:
        return None if found is None else "expected NON_FINITE"
    if found is None:
        # overflows on the way are float32's own: the same formulas in NumPy's float32 meet one as well
        with np.errstate(all="ignore"):
            near = np.isfinite(single).all() and np.abs(single - exact).max() <= 1e-3 * weights.rms(exact) + FLUSHED
        return "expected numbers" if near and np.abs(exact).max() < 1e15 else None
    if not np.isfinite(found).all():
        return "OK with what is not finite"
    with np.errstate(all="ignore"):
        slack = np.abs(single.astype(np.float64) - exact).max() if np.isfinite(single).all() else 0.01 * weights.rms(exact)
        off = np.abs(found - exact).max()
    bound = 1e-4 * weights.rms(exact) + FLUSHED
    return None if off <= bound + 16 * slack or off <= bound + 2 * rounding(held, key, exact) else f"off by {off:g} of {weights.rms(exact):g}"


def encode(session, key):
    layers, pooled = ([], [key]) if isinstance(key, str) else ([key], [])
    try:
        with traps():
            encoded = session.encode(IDS, layers=layers, pooled=pooled)
    except penult.PenultError as error:
        if error.name != "NON_FINITE":
            raise
        return None
    return (encoded.pooled if isinstance(key, str) else encoded.hidden)[key]


def try_case(library, root, dtype, change, name):
    """(wrong sentences, finite, not finite) of one folder."""
    held = write(root, dtype, change, name)
    exact, single = expected(held, np.float64), expected(held, np.float32)
    wrong, counts, bits = [], [0, 0], {}
    with contextlib.ExitStack() as stack:
        with traps():
            model = stack.enter_context(penult.Model(root, library=library))
        for kernels in KERNELS:
            with traps():
                session = stack.enter_context(penult.Session(model, threads=2, kernels=kernels))
            for key in OUTPUTS:
                found = encode(session, key)
                counts[found is None] += 1
                trouble = judge(found, exact[key], single[key], held, key)
                if trouble:
                    wrong.append(f"{kernels}, {OUTPUTS[key]}: {trouble}")
                again = encode(session, key)  # and the session is as good as before
                if (found is None) != (again is None) or (found is not None and found.tobytes() != again.tobytes()):
                    wrong.append(f"{kernels}, {OUTPUTS[key]}: another answer the second time")
                bits.setdefault(key, set()).add(found is None)
    wrong += [f"{OUTPUTS[key]}: NON_FINITE with some kernels and numbers with others" for key in bits if len(bits[key]) > 1
              and np.isfinite(single[key]).all() == np.isfinite(exact[key]).all()]
    return wrong, counts


def slowness(library, root, source):
    """How many times as long an encode takes when the shipped model's matrices hold denormals, and its norms what they
    held: the products are denormals too then, where they are not flushed."""
    took = []
    for name, change in (("ordinary", lambda values: values),
                         ("denormal", lambda values: np.sign(values) * np.float32(DENORMAL["F32"]))):
        def tensors(loaded, change=change):
            return {key: ("F32", change(folders.widen(*value)) if "_proj.weight" in key or ".fc" in key else
                          folders.widen(*value)) for key, value in loaded.items()}
        path = folders.Folder(source, root, name, tensors=tensors)
        # the scalar set multiplies with the plain instructions, which show it on every CPU
        with penult.Model(str(path), library=library) as model, \
                penult.Session(model, threads=1, kernels="scalar") as session:
            times = []
            for _ in range(7):
                began = time.process_time()
                session.encode("a castle at dawn", layers=(-1,), pooled=())
                times.append(time.process_time() - began)
        took.append(min(times))
    return took[1] / took[0]


def main(plugin, source, extent=""):
    library, number, failed = penult.Library(plugin), 0, 0
    root = pathlib.Path(tempfile.mkdtemp(prefix="penult-numbers-"))
    (root / "config.json").write_text(config())
    groups, turn = {}, itertools.cycle(LARGEST)
    try:
        for title, name, change in itertools.islice(cases(), 0, None, 1 if extent == "all" else 4):
            for dtype in LARGEST if extent == "all" else (next(turn),):
                signal.alarm(HANG)
                group = groups.setdefault(name or "every tensor", [0, 0, 0, []])
                wrong, counts = try_case(library, root, dtype, change, name)
                group[0] += 1
                group[1] += counts[0]
                group[2] += counts[1]
                group[3] += [f"{title}, {dtype}: {each}" for each in wrong]
        for name, (folders_tried, finite, not_finite, wrong) in groups.items():
            number += 1
            failed += bool(wrong)
            for line in wrong[:8]:
                print("# " + line)
            print(f"{'not ' if wrong else ''}ok {number} - {name}: {folders_tried} files, {finite} outputs right, {not_finite} "
                  f"NON_FINITE{f', {len(wrong)} wrong' if wrong else ''}", flush=True)
        signal.alarm(HANG)
        ratio = slowness(library, root, source)
        failed += ratio > SLOW
        print(f"{'not ' if ratio > SLOW else ''}ok {number + 1} - denormal weights take {ratio:.2f} times as long, expected less "
              f"than {SLOW}\n1..{number + 1}")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return failed > 0


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
