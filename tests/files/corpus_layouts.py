"""corpus_layouts.py - classes I (an index of shards that lies) and L (layouts that are mixed, half there, or claim what no file
holds). Each case is a folder whose model.safetensors is away or replaced; the small model's own config.json stays or goes.
Knows the small model and both formats; nothing of the plugin.
"""
import json

import numpy as np

import small
from cases import Case, Sparse

INDEX, ONE, TWO = "model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
TOWER = {name: values.astype(np.float16) for name, values in small.tower().items()}
NAMES = sorted(TOWER)


def container(tensors):
    """name -> array, or (dtype, shape, bytes) where the shape is what matters."""
    entries, data = [], b""
    for name, value in tensors.items():
        dtype, shape, raw = value if isinstance(value, tuple) else ("F16", value.shape, value.tobytes())
        entries.append(f"{json.dumps(name)}:{small.entry(dtype, shape, len(data), len(data) + len(raw))}")
        data += raw
    return small.container(("{" + ",".join(entries) + "}").encode(), data)


FIRST, SECOND = {n: TOWER[n] for n in NAMES[::2]}, {n: TOWER[n] for n in NAMES[1::2]}
WHERE = {**{n: ONE for n in FIRST}, **{n: TWO for n in SECOND}}


def sharded(name, status, *words, index=None, where=None, **files):
    """The small model in two shards, with another index or other files."""
    text = index if index is not None else json.dumps({"metadata": {"total_size": 1}, "weight_map": where or WHERE})
    shards = {ONE: container(FIRST), TWO: container(SECOND), **{key.replace("__", "-"): value for key, value in files.items()}}
    return Case("I", name, status, (INDEX, *words) if status != "OK" else (),
                {"model.safetensors": None, INDEX: text.encode() if isinstance(text, str) else text, **shards})


def index_cases():
    yield sharded("right", "OK")
    yield sharded("white-space", "OK", index=" \n" + json.dumps({"weight_map": WHERE}, indent=3) + "\n ")
    yield sharded("other-keys", "OK", index=json.dumps({"x": [{"a": [1e3, None]}], "weight_map": WHERE}))
    yield sharded("no-map", "FORMAT", "weight_map is missing", index='{"metadata":{"total_size":1}}')
    yield sharded("two-maps", "FORMAT", "twice", index='{"weight_map":{},"weight_map":{}}')
    yield sharded("list", "FORMAT", "weight_map", index='{"weight_map":["a","b"]}')
    yield sharded("number", "FORMAT", "is not a string", index='{"weight_map":{"a":7}}')
    yield sharded("empty-map", "MISMATCH", "no CLIP text tower", index='{"weight_map":{}}')
    yield sharded("cut", "FORMAT", index=json.dumps({"weight_map": WHERE})[:-9])
    yield sharded("trailing", "FORMAT", index=json.dumps({"weight_map": WHERE}) + "x")
    yield sharded("deep", "FORMAT", index='{"a":' + "[" * 40 + "]" * 40 + "}")
    yield sharded("not-utf-8", "FORMAT", index=b'{"weight_map":{"\xff":"a.safetensors"}}')
    yield sharded("name-twice", "FORMAT", "stands in weight_map twice",
                  index='{"weight_map":{"a":"' + ONE + '","b":"' + ONE + '","a":"' + TWO + '"}}')
    for label, file in (("parent", "../base/model.safetensors"), ("absolute", "/etc/passwd"), ("dot", "."), ("dots", ".."),
                        ("hidden", ".model"), ("folder", "a/b.safetensors"), ("backslash", "a\\b"), ("nul", "a\0b"), ("empty", ""),
                        ("long", "n" * 256)):
        yield sharded(f"escapes-{label}", "FORMAT", "plain name", where={**WHERE, NAMES[0]: file})
    yield sharded("257-files", "LIMIT", "256", where={f"t{i}": f"f{i}.safetensors" for i in range(257)})
    yield sharded("ghost-tensor", "MISMATCH", "ghost", ONE, where={**WHERE, "ghost": ONE})
    yield sharded("wrong-shard", "MISMATCH", NAMES[0], TWO, where={**WHERE, NAMES[0]: TWO})
    big = 17 << 20
    yield sharded("too-large", "FORMAT", str(big), index=None, **{INDEX: Sparse(b'{"weight_map":{', big)})
    away = Case("I", "needed-shard-away", "MISMATCH", ("shard that is not there",),
                {"model.safetensors": None, INDEX: json.dumps({"weight_map": WHERE}).encode(), ONE: container(FIRST)})
    yield away
    unneeded = {**WHERE, "model.diffusion_model.x": "unet.safetensors"}
    yield sharded("other-shard-away", "OK", where=unneeded)
    for label, data, status, words in (("short", container(SECOND)[:-1], "TRUNCATED", (TWO,)), ("long", container(SECOND) + b"x", "TRAILING", (TWO,)),
                                       ("empty", b"", "TRUNCATED", (TWO,)), ("text", b"{}" * 20, "FORMAT", (TWO,))):
        case = sharded(f"shard-{label}", status, **{TWO: data})
        case.words = words
        yield case


def layout(name, status, *words, tensors, config=None, **more):
    """A folder with these tensors, and no config.json unless one is given: shapes alone tell."""
    return Case("L", name, status, ("model.safetensors", *words) if status != "OK" else (),
                {"model.safetensors": container(tensors), "config.json": config}, bits="any" if status == "OK" else "same", **more)


def renamed(prefix, tensors=None):
    return {prefix + name: value for name, value in (tensors or TOWER).items()}


def claims(name, shape, dtype="F16"):
    """A tensor of that shape whose bytes are none, as a dimension is zero."""
    return {name: (dtype, shape, b"")}


def layout_cases():
    wide = {name: np.zeros([64 if n == 4 else n for n in value.shape], np.float16) for name, value in TOWER.items()}
    token, position = "text_model.embeddings.token_embedding.weight", "text_model.embeddings.position_embedding.weight"
    fc1 = "text_model.encoder.layers.0.mlp.fc1.weight"
    yield layout("without-a-config", "OK", tensors=wide)
    for prefix in ("conditioner.embedders.0.transformer.", "cond_stage_model.transformer.", "text_encoders.clip_l.transformer.",
                   "clip_l.transformer.", "model."):
        yield layout(f"at-{prefix.rstrip('.')}", "OK", tensors=renamed(prefix, wide))
    yield layout("narrow", "UNSUPPORTED", "4 wide", "heads", tensors=TOWER)
    yield layout("nothing", "MISMATCH", "no CLIP text tower", tensors={"model.diffusion_model.x": np.zeros(3, np.float16)})
    yield layout("wrapped-half", "MISMATCH", "no CLIP text tower", tensors={**renamed("model.", wide), "x": np.zeros(1, np.float16)})
    openclip = {"token_embedding.weight": wide[token], "positional_embedding": wide[position],
                "transformer.resblocks.0.mlp.c_fc.weight": wide[fc1]}
    yield layout("two-layouts", "MISMATCH", "mixed", "text, text", tensors={**wide, **openclip})
    yield layout("half-openclip", "MISMATCH", "ln_final.weight", "missing", tensors=openclip)
    yield layout("embedding-alone", "MISMATCH", "position_embedding", "missing", tensors={token: wide[token]})
    yield layout("no-block", "MISMATCH", "fc1.weight", "missing", tensors={k: v for k, v in wide.items() if ".layers." not in k})
    for name in sorted(wide):
        if name not in (token, "text_projection.weight"):
            yield layout(f"without-{name.replace('text_model.', '').replace('encoder.layers.0.', '')}", "MISMATCH",
                         name, "missing", tensors={k: v for k, v in wide.items() if k != name})
    yield layout("256-blocks-and-more", "UNSUPPORTED", "num_hidden_layers is 1000000000",
                 tensors={**wide, **claims("text_model.encoder.layers.999999999.mlp.fc1.weight", [0])})
    yield layout("blocks-beyond-64-bits", "UNSUPPORTED", "num_hidden_layers",
                 tensors={**wide, **claims("text_model.encoder.layers.99999999999999999999999.mlp.fc1.weight", [0])})
    yield layout("a-gap-in-the-blocks", "MISMATCH", "layers.1.", "missing",
                 tensors={**wide, **{k.replace("layers.0.", "layers.2."): v for k, v in wide.items() if "layers.0." in k}})
    yield layout("billions-of-rows", "UNSUPPORTED", "0 wide", tensors={**wide, **claims(token, [1 << 40, 0])})
    yield layout("billions-of-positions", "UNSUPPORTED", "max_position_embeddings", tensors={**wide, **claims(position, [1 << 40, 0])})
    yield layout("billions-inside", "UNSUPPORTED", "intermediate_size", tensors={**wide, **claims(fc1, [1 << 40, 0])})
    yield layout("billions-projected", "UNSUPPORTED", "projection_dim", tensors={**wide, **claims("text_projection.weight", [1 << 40, 0])})
    yield layout("projected-to-nothing", "MISMATCH", "[0, 64]", tensors={**wide, **claims("text_projection.weight", [0, 64])})
    yield layout("a-vector-of-tokens", "MISMATCH", "two dimensions", tensors={**wide, **claims(token, [0])})
    scale = "text_model.encoder.layers.0.mlp.fc1.scale_weight"
    yield layout("a-scale", "OK", tensors={**wide, scale: ("F32", [], b"\0\0\0\x3f")})
    yield layout("a-scale-of-zero", "FORMAT", "is zero", tensors={**wide, scale: ("F32", [], bytes(4))})
    yield layout("a-scale-of-nan", "FORMAT", "no number", tensors={**wide, scale: ("F32", [], b"\0\0\xc0\x7f")})
    yield layout("a-scale-per-row", "MISMATCH", "one number", tensors={**wide, scale: ("F32", [2], bytes(8))})
    yield layout("a-scale-of-tokens", "MISMATCH", "has a scale", tensors={**wide, token.replace("weight", "scale_weight"): ("F32", [], b"\0\0\0\x3f")})


def cases():
    yield from index_cases()
    yield from layout_cases()
