#!/usr/bin/env python3
"""Protects the layouts: the shipped weights under the names of every layout give the bits of the shipped model, whatever else the
file holds; what is assumed, left, missing or mixed is said. usage: test_layouts.py PLUGIN MODEL
"""
import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "abi"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from python_host import LIBRARY, MODEL, main, penult, raises, test  # noqa: E402
import folders  # noqa: E402

ROOT = pathlib.Path(tempfile.mkdtemp(prefix="penult-layouts-"))
SHIPPED = folders.read(pathlib.Path(MODEL) / "model.safetensors")
IDS = np.array([[998, 5, 6, 7, 999] + [0] * 72, [998, 11, 999] + [0] * 74], np.int32)
OPENCLIP = (("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
            ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
            ("text_model.final_layer_norm.", "ln_final."), ("text_model.encoder.layers.", "transformer.resblocks."),
            (".layer_norm1.", ".ln_1."), (".layer_norm2.", ".ln_2."), (".self_attn.out_proj.", ".attn.out_proj."),
            (".mlp.fc1.", ".mlp.c_fc."), (".mlp.fc2.", ".mlp.c_proj."))


def write(name, tensors):
    path = ROOT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    folders.write(path, tensors)
    return str(path)


def transformers(prefix="", inner="text_model.", tensors=SHIPPED):
    """transformers' names, behind a prefix; inner "" is the form without "text_model."."""
    return {prefix + name.replace("text_model.", inner, 1): value for name, value in tensors.items()}


def openclip(prefix="", tensors=SHIPPED):
    """OpenCLIP's names: q, k, v in one tensor, the projection the other way."""
    out, fused = {}, {}
    for name, (dtype, array) in tensors.items():
        for part in "qkv":
            name = name.replace(f".self_attn.{part}_proj.", f".attn.{part}.")
        for old, new in OPENCLIP:
            name = name.replace(old, new)
        if name == "text_projection.weight":
            out["text_projection"] = (dtype, np.ascontiguousarray(array.T))
        elif ".attn." in name and "out_proj" not in name:
            head, part, kind = name.rsplit(".", 2)
            fused.setdefault(f"{head}.in_proj_{kind}", {})[part] = (dtype, array)
        else:
            out[name] = (dtype, array)
    for name, parts in fused.items():
        out[name] = (parts["q"][0], np.concatenate([parts[p][1] for p in "qkv"]))
    return {prefix + name: value for name, value in out.items()}


def zeros(*shape):
    return ("F16", np.zeros(shape, np.float16))


def other_tower(prefix, width=64):
    """A narrower tower, so that the default is the one of the shipped weights."""
    out = {f"{prefix}text_model.embeddings.token_embedding.weight": zeros(20, width),
           f"{prefix}text_model.embeddings.position_embedding.weight": zeros(77, width)}
    return {**out, f"{prefix}text_model.encoder.layers.0.mlp.fc1.weight": zeros(width * 4, width)}


UNET = {"model.diffusion_model.input_blocks.0.0.weight": zeros(320, 4, 3, 3), "model.diffusion_model.out.2.bias": zeros(4),
        "first_stage_model.decoder.conv_in.weight": zeros(4, 4), "model_ema.decay": zeros(), "alphas_cumprod": zeros(1000)}
VISION = {"vision_model.embeddings.class_embedding": zeros(8), "visual_projection.weight": zeros(4, 8), "logit_scale": zeros()}
IDS64 = {"text_model.embeddings.position_ids": ("I64", np.arange(77).reshape(1, 77))}
LAYOUTS = {
    "transformers": ({**transformers(), **IDS64}, "transformers", "text"),
    "transformers without text_model.": (transformers(inner=""), "transformers, bare", "text"),
    "CLIPModel": ({**transformers(), **VISION}, "transformers", "text"),
    "OpenCLIP": ({**openclip(), "logit_scale": zeros(), "visual.proj": zeros(8, 4), "attn_mask": zeros(77, 77)}, "openclip", "text"),
    "OpenCLIP, custom text": ({**openclip("text."), "visual.conv1.weight": zeros(8, 3, 2, 2)}, "openclip, custom text", "text"),
    "OpenCLIP with a Linear": ({**{k: v for k, v in openclip().items() if k != "text_projection"},
                               "text_projection.weight": SHIPPED["text_projection.weight"]}, "openclip", "text"),
    "SD 1": ({**transformers("cond_stage_model.transformer."), **UNET}, "sd1 single file", "clip_l"),
    "SD 1 without text_model.": ({**transformers("cond_stage_model.transformer.", ""), **UNET}, "sd1 single file, bare", "clip_l"),
    "SD 2": ({**openclip("cond_stage_model.model."), **UNET}, "sd2 single file", "clip_h"),
    "SDXL": ({**openclip("conditioner.embedders.1.model."), **other_tower("conditioner.embedders.0.transformer."), **UNET},
             "sdxl single file", "clip_g"),
    "SDXL refiner": ({**openclip("conditioner.embedders.0.model."), **UNET}, "sdxl refiner single file", "clip_g"),
    "SD 3": ({**transformers("text_encoders.clip_g.transformer."), **other_tower("text_encoders.clip_l.transformer."),
              "text_encoders.t5xxl.transformer.shared.weight": zeros(3, 3)}, "sd3 single file", "clip_g"),
    "ComfyUI save": (transformers("clip_g.transformer."), "comfyui save", "clip_g"),
    "ComfyUI save, old": ({**{k: v for k, v in transformers("clip_g.transformer.").items() if "text_projection" not in k},
                           "clip_g.text_projection": ("F16", np.ascontiguousarray(SHIPPED["text_projection.weight"][1].T)),
                           "clip_g.logit_scale": zeros()}, "comfyui save", "clip_g"),
    "behind model.": (transformers("model."), "transformers", "text"),
    "behind module.": (openclip("module."), "openclip", "text"),
}


def encode(path, **options):
    with penult.Model(path, library=LIBRARY, **options) as model, penult.Session(model, threads=1, max_prompts=2) as session:
        return session.encode(IDS, layers=(-2, -1, 0), pooled=("raw", "projected"))


def same(a, b, pooled=True):
    for key in a.hidden:
        assert a.hidden[key].tobytes() == b.hidden[key].tobytes(), key
    for key in a.pooled if pooled else ():
        assert a.pooled[key].tobytes() == b.pooled[key].tobytes(), key


def refuses(path, status, *words, **options):
    error = raises(penult.PenultError, lambda: penult.Model(path, library=LIBRARY, **options), *words)
    assert error.name == status, f"{error.name} and not {status}: {error}"
    return error


def about(model, kind):
    return [f for f in model.findings if f.about == kind]


@test
def every_layout_gives_the_bits_and_the_hash_of_the_shipped_model():
    truth = encode(MODEL)
    with penult.Model(MODEL, library=LIBRARY) as model:
        fingerprint = model.hash()
    for number, (what, (tensors, layout, tower)) in enumerate(LAYOUTS.items()):
        path = write(f"{number}.safetensors", tensors)
        for copy in (False, True):
            same(encode(path, activation="gelu", copy=copy), truth)
        with penult.Model(path, library=LIBRARY, activation="gelu", tensors=True) as model:
            assert (model.info.layout, model.info.tower) == (layout, tower), (what, model.info)
            assert model.hash() == fingerprint, what
            assert not about(model, "unexpected"), (what, about(model, "unexpected"))
            used = about(model, "used")
            assert used[0].tensors == model.info.tensors_used == len(used) - 1, what
            assert sum(f.bytes for f in used[1:]) == used[0].bytes == model.info.bytes_used == 2 * model.info.parameters, what
            left = sum(f.tensors for f in about(model, "ignored"))
            assert left == len(tensors) - model.info.tensors_used, (what, about(model, "ignored"))


@test
def what_no_file_says_is_assumed_and_reported_and_can_be_overridden():
    path = write("assume.safetensors", SHIPPED)
    with penult.Model(path, library=LIBRARY) as model:
        subjects = {f.subject for f in about(model, "assumption")}
        assert subjects == {"heads", "activation"} and model.info.activation == "quick_gelu" and model.info.heads == 2
    with penult.Model(path, library=LIBRARY, heads=4, activation="gelu") as model:
        assert not about(model, "assumption") and model.info.heads == 4
    odd = {k: (d, a[..., :100] if a.shape[-1:] == (128,) else a) for k, (d, a) in SHIPPED.items()}
    refuses(write("odd.safetensors", odd), "UNSUPPORTED", "100 wide", "heads")
    refuses(path, "MISMATCH", "num_attention_heads", "3", heads=3)
    with penult.Model(write("open.safetensors", openclip()), library=LIBRARY) as model:  # both were published so narrow
        assert [f.severity for f in about(model, "assumption") if f.subject == "activation"] == ["warning"]
        assert model.info.activation == "gelu"


def wide(projection):
    """A tower as wide as CLIP-L, of one block."""
    draw, out = np.random.default_rng(3), {}
    shapes = {"embeddings.token_embedding.weight": (1000, 768), "embeddings.position_embedding.weight": (77, 768),
              "final_layer_norm.weight": (768,), "final_layer_norm.bias": (768,)}
    for part in ("layer_norm1", "layer_norm2"):
        shapes |= {f"encoder.layers.0.{part}.weight": (768,), f"encoder.layers.0.{part}.bias": (768,)}
    for part, rows, columns in [(f"self_attn.{p}_proj", 768, 768) for p in ("q", "k", "v", "out")] + \
            [("mlp.fc1", 3072, 768), ("mlp.fc2", 768, 3072)]:
        shapes |= {f"encoder.layers.0.{part}.weight": (rows, columns), f"encoder.layers.0.{part}.bias": (rows,)}
    for name, shape in shapes.items():
        out["text_model." + name] = ("F32", draw.normal(0, 0.02, shape).astype(np.float32))
    return {**out, "text_projection.weight": ("F32", projection)} if projection is not None else out


@test
def a_missing_projection_of_clip_l_is_the_identity():
    without, eye = write("l.safetensors", wide(None)), write("eye.safetensors", wide(np.eye(768, dtype=np.float32)))
    turned = write("turned.safetensors", wide(np.eye(768, dtype=np.float32)[::-1]))
    a, b = encode(without), encode(eye)
    same(a, b)
    assert np.array_equal(a.pooled["projected"], a.pooled["raw"])
    assert np.array_equal(encode(turned).pooled["projected"], a.pooled["raw"][:, ::-1])
    hashes = []
    for path in (without, eye, turned):
        with penult.Model(path, library=LIBRARY) as model:
            assert model.info.projection == 768 and model.info.tower == "clip_l" and model.info.activation == "quick_gelu"
            assert ("identity" in str(about(model, "assumption"))) == (path == without)
            hashes.append(model.hash())
    assert hashes[0] == hashes[1] != hashes[2]
    with penult.Model(write("none.safetensors", {k: v for k, v in SHIPPED.items() if "projection" not in k}),
                      library=LIBRARY) as model:  # any other has none
        assert model.info.projection == 0 and any(f.severity == "warning" for f in about(model, "assumption"))


@test
def towers_are_listed_and_named():
    path = write("two.safetensors", {**LAYOUTS["SDXL"][0]})
    with penult.Model(path, library=LIBRARY) as model:
        assert [f.subject for f in about(model, "tower")] == ["clip_l", "clip_g"] and model.info.width == 128
    assert refuses(path, "MISMATCH", "final_layer_norm", "missing", tower="clip_l").findings  # half of it is there
    refuses(path, "NOT_FOUND", "clip_h", "clip_l, clip_g", tower="clip_h")
    refuses(path, "ARGUMENT", "tower", tower="")
    mixed = write("mixed.safetensors", {**SHIPPED, **openclip()})
    refuses(mixed, "MISMATCH", "mixed", "text, text")
    refuses(write("nothing.safetensors", UNET), "MISMATCH", "no CLIP text tower")


@test
def every_stored_type_is_read():
    truth = encode(MODEL)
    f64 = {k: ("F64", a.astype(np.float64)) for k, (_, a) in SHIPPED.items()}
    f32 = {k: ("F32", a.astype(np.float32)) for k, (_, a) in SHIPPED.items()}
    hashes = set()
    for name, tensors in (("F64", f64), ("F32", f32), ("F16", SHIPPED)):
        path = write(f"{name}.safetensors", openclip(tensors=tensors))
        same(encode(path, activation="gelu"), truth)  # the same values
        with penult.Model(path, library=LIBRARY) as model:
            assert model.info.dtype == {"F64": "float64", "F32": "float32", "F16": "float16"}[name]
            hashes.add(model.hash())
    assert len(hashes) == 1


def e5m2(values):
    return (values.astype(np.float16).view(np.uint16) >> 8).astype(np.uint8)  # towards zero: any codes will do


def is_linear(name):
    return name.endswith("proj.weight") or ".mlp." in name and name.endswith("weight")


@test
def eight_bits_with_and_without_scales():
    """The file in 8 bits gives the bits of a float32 file that holds its values."""
    for scale in (None, 0.75):
        for tail in ("scale_weight", "weight_scale"):
            stored, values = {"scaled_fp8": ("F8_E5M2", np.zeros(0, np.uint8))}, {}
            for name, (dtype, array) in SHIPPED.items():
                if not is_linear(name) or "text_projection" in name:
                    stored[name] = values[name] = (dtype, array)
                    continue
                codes = e5m2(array)
                widened = (codes.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
                stored[name] = ("F8_E5M2", codes)
                values[name] = ("F32", widened * np.float32(scale or 1))
                if scale:
                    stored[name[:-6] + tail] = ("F32", np.float32([scale] if tail == "weight_scale" else scale))
                    stored[name[:-6] + "scale_input"] = ("F32", np.float32(1))
            path = write("f8.safetensors", stored)
            same(encode(path, activation="gelu"), encode(write("f8-truth.safetensors", values), activation="gelu"))
            with penult.Model(path, library=LIBRARY) as model:
                assert model.info.dtype == "float8_e5m2" and not about(model, "unexpected"), model.findings


@test
def scales_that_cannot_be_are_refused():
    q = "text_model.encoder.layers.0.self_attn.q_proj."
    for value, status, words in ((np.float32(0), "FORMAT", ("zero",)), (np.float32(np.nan), "FORMAT", ("no number",)),
                                 (np.ones(128, np.float32), "MISMATCH", ("[128]", "one number"))):
        refuses(write("scale.safetensors", {**SHIPPED, q + "scale_weight": ("F32", value)}), status, q, *words)
    name = "text_model.embeddings.token_embedding."
    refuses(write("scale.safetensors", {**SHIPPED, name + "weight_scale": ("F32", np.float32(2))}), "MISMATCH", name, "scale")


def shards(directory, tensors, count=3, **index):
    directory.mkdir(parents=True, exist_ok=True)
    names = sorted(tensors)
    parts = [names[i::count] for i in range(count)]
    where = {}
    for number, part in enumerate(parts):
        file = f"model-{number + 1:05}-of-{count:05}.safetensors"
        folders.write(directory / file, {n: tensors[n] for n in part})
        where |= {n: file for n in part}
    path = directory / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {"total_size": 1.5}, "weight_map": where, **index}))
    return path, where


@test
def shards_are_one_model():
    directory = pathlib.Path(folders.Folder(MODEL, ROOT, "sharded").path)
    (directory / "model.safetensors").unlink()
    path, where = shards(directory, SHIPPED)
    truth = encode(MODEL)
    for target in (directory, path):
        for copy in (False, True):
            same(encode(str(target), copy=copy), truth)
    with penult.Model(str(directory), library=LIBRARY) as model, penult.Session(model) as session:
        assert model.info.files == 3 and model.info.bytes_file == sum(p.stat().st_size for p in directory.glob("*.safetensors"))
        session.encode("x")
        (directory / "model-00002-of-00003.safetensors").touch()
        assert raises(penult.PenultError, lambda: session.encode("x"), "model-00002").name == "CHANGED"


@test
def a_shard_that_nobody_needs_may_be_away():
    directory = ROOT / "away"
    extra = {"model.diffusion_model.a": zeros(4)}
    path, where = shards(directory, {**SHIPPED, **extra}, count=1)
    where |= {"model.diffusion_model.a": "model-00002-of-00002.safetensors"}
    path.write_text(json.dumps({"weight_map": where}))
    with penult.Model(str(path), library=LIBRARY, activation="gelu") as model:
        assert any(f.severity == "warning" and "model-00002" in f.subject for f in model.findings)
    where["text_model.final_layer_norm.bias"] = "model-00002-of-00002.safetensors"
    path.write_text(json.dumps({"weight_map": where}))
    refuses(str(path), "MISMATCH", "final_layer_norm.bias", "shard")


@test
def indices_that_lie_are_refused():
    directory = ROOT / "liars"
    path, where = shards(directory, SHIPPED)
    shutil.copy(pathlib.Path(MODEL) / "model.safetensors", ROOT / "outside.safetensors")
    first = sorted(where)[0]
    for file in ("../outside.safetensors", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "x\0y", "z" * 256):
        path.write_text(json.dumps({"weight_map": {**where, first: file}}))
        refuses(str(path), "FORMAT", "plain name")
    for text, words in (('{"metadata":{}}', ("weight_map", "missing")), ('{"weight_map":[]}', ("weight_map",)),
                        ('{"weight_map":{"a":1}}', ("not a string",)), ('{"weight_map":{},"weight_map":{}}', ("twice",)),
                        ('{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}', ("twice",)), ('{"weight_map":', ())):
        path.write_text(text)
        refuses(str(path), "FORMAT", path.name, *words)
    path.write_text(json.dumps({"weight_map": {f"t{i}": f"f{i}" for i in range(257)}}))
    refuses(str(path), "LIMIT", "256")
    path.write_text(json.dumps({"weight_map": {**where, "ghost": where[first]}}))
    refuses(str(path), "MISMATCH", "ghost", where[first])
    path.write_text(json.dumps({"weight_map": {}}))
    refuses(str(path), "MISMATCH", "no CLIP text tower")
    (directory / "dir.safetensors").mkdir(exist_ok=True)
    path.write_text(json.dumps({"weight_map": {**where, first: "dir.safetensors"}}))
    refuses(str(path), "IO", "directory")


@test
def a_pipeline_has_its_towers_and_tokenizers():
    pipeline = ROOT / "pipeline"
    folders.Folder(MODEL, pipeline, "text_encoder_2", tokenizer=False)
    folders.Folder(MODEL, pipeline, "tokenizer_2")
    small = pipeline / "text_encoder"
    small.mkdir()
    folders.write(small / "model.fp16.safetensors", wide(None))
    (pipeline / "text_encoder_3").mkdir()
    folders.write(pipeline / "text_encoder_3" / "model.safetensors", {"shared.weight": zeros(3, 3)})
    with penult.Model(str(pipeline), library=LIBRARY) as model:
        assert [f.subject for f in about(model, "tower")] == ["text_encoder", "text_encoder_2"]
        assert model.info.tower == "text_encoder" and model.info.width == 768  # the widest
    for name in ("text_encoder_2", "text"):
        with penult.Model(str(pipeline), library=LIBRARY, tower=name) as model:
            assert model.info.tower == "text_encoder_2" and model.info.start_id == 998
    same(encode(str(pipeline), tower="text_encoder_2"), encode(MODEL))
    (small / "model.fp16.safetensors").write_bytes(b"broken")
    with penult.Model(str(pipeline), library=LIBRARY) as model:  # what nobody asked for may be broken, and is said to be
        assert any(f.subject == "text_encoder" and f.severity == "warning" for f in model.findings)
    refuses(str(pipeline), "TRUNCATED", "model.fp16.safetensors", tower="text_encoder")


@test
def a_config_of_both_towers_is_read():
    text = {k: v for k, v in json.loads((pathlib.Path(MODEL) / "config.json").read_text()).items()
            if k not in ("architectures", "projection_dim")}
    config = {"architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 128, "text_config": text,
              "vision_config": {"hidden_size": 8}}
    path = folders.Folder(MODEL, ROOT, "both")
    folders.write(path.path / "model.safetensors", {**SHIPPED, **VISION})
    for order in (config, dict(reversed(config.items()))):
        (path.path / "config.json").write_text(json.dumps(order))
        same(encode(str(path)), encode(MODEL))
    del config["text_config"]["num_hidden_layers"]  # the class's default, 12, which the file does not have
    (path.path / "config.json").write_text(json.dumps(config))
    refuses(str(path), "MISMATCH", "layers.4.")
    for change, words in (({"text_config": None}, "text_config"), ({"projection_dim": 0}, "projection_dim")):
        (path.path / "config.json").write_text(json.dumps({**config, **change}))
        refuses(str(path), "FORMAT", words)


@test
def a_claim_of_billions_in_a_kilobyte_is_refused():
    small = {"text_model.embeddings.token_embedding.weight": zeros(4, 64),
             "text_model.embeddings.position_embedding.weight": zeros(77, 64),
             "text_model.encoder.layers.0.mlp.fc1.weight": zeros(4, 64)}
    refuses(write("claim.safetensors", {**small, "text_model.encoder.layers.999999999.mlp.fc1.weight": zeros(1)}),
            "UNSUPPORTED", "num_hidden_layers")
    refuses(write("claim.safetensors", {**small, "text_model.encoder.layers.99999999999999.x": zeros(1)}),
            "UNSUPPORTED", "num_hidden_layers")
    refuses(write("claim.safetensors", {**small, "text_model.embeddings.token_embedding.weight": zeros(2**40, 0)}),
            "UNSUPPORTED", "0 wide")
    refuses(write("claim.safetensors", {**small, "text_projection.weight": zeros(2**40, 0)}), "UNSUPPORTED", "projection_dim")
    refuses(write("claim.safetensors", {**small, "text_projection.weight": zeros(0, 64)}), "MISMATCH", "text projection", "[0, 64]")
    refuses(write("claim.safetensors", {**small, "text_projection.weight": zeros(64)}), "MISMATCH", "two dimensions")
    refuses(write("claim.safetensors", {**small, "text_model.embeddings.position_embedding.weight": zeros(77)}), "MISMATCH",
            "two dimensions")


@test
def other_containers_are_named():
    for begin, words in ((b"PK\3\4" + bytes(60), "pickle"), (b"GGUF" + bytes(60), "GGUF")):
        (ROOT / "other.ckpt").write_bytes(begin)
        refuses(str(ROOT / "other.ckpt"), "UNSUPPORTED", "other.ckpt", words)


@test
def a_hash_can_be_cancelled_and_tells_values_apart():
    with penult.Model(MODEL, library=LIBRARY) as model:
        first = model.hash()
        assert len(first) == 64 and first == model.hash(lambda done, total: False)
    name = "text_model.encoder.layers.3.mlp.fc2.bias"
    changed = SHIPPED[name][1].copy()
    changed[-1] += 1
    with penult.Model(write("changed.safetensors", {**SHIPPED, name: ("F16", changed)}), library=LIBRARY) as model:
        assert model.hash() != first
    with penult.Model(write("big.safetensors", wide(None)), library=LIBRARY) as model:  # large enough for a step of progress
        raises(penult.Cancelled, lambda: model.hash(lambda done, total: True), "cancelled")


if __name__ == "__main__":
    try:
        status = main()
    finally:
        shutil.rmtree(ROOT, ignore_errors=True)
    sys.exit(status)
