"""How the reference libraries read a checkpoint that somebody has: which text towers are in it, and a model of each,
made by transformers, open_clip or diffusers' single-file conversion from that very file.

Owns the recognition, by names and shapes alone and independent of the plugin's, and what configuration a file without
one stands for. A Reading loads its model in the type that is stored, so that its tensors are the file's own.
"""
import contextlib
import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Callable
from unittest import mock

import open_clip
import torch
from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm, load_single_file_checkpoint
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

import layouts_names as names
from layouts_references import OpenClip

KINDS = {kind.__name__: kind for kind in (CLIPModel, CLIPTextModel, CLIPTextModelWithProjection)}
BY_WIDTH = {768: "clip_l", 1024: "clip_h", 1280: "clip_g"}
# Widths of OpenCLIP's image towers whose heads are not of 64: the head count is in no shape.
VISION_HEAD = {1280: 80, 1408: 88, 1664: 104}


@dataclasses.dataclass(frozen=True)
class Reading:
    tower: str                     # by what it is: clip_l, clip_h, clip_g or text; or a pipeline's text_encoder[_2]
    library: str                   # who reads, for the table
    load: Callable[..., object]    # a model for layouts_references.compute, in the stored type or the one given
    blocks: int
    width: int
    projected: bool                # whether a projection is stored
    shortened: bool = False        # diffusers' reading of SD 2.x leaves out the last block


# What draws a new model's parameters.
INIT = ("normal_", "uniform_", "trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_",
        "xavier_normal_", "zeros_", "ones_", "constant_")


@contextlib.contextmanager
def undrawn(dtype):
    """Models made herein have parameters of `dtype` and of whatever values: drawing bigG's takes a minute."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with contextlib.ExitStack() as stack:
            for name in INIT:
                stack.enter_context(mock.patch.object(torch.nn.init, name, lambda tensor, *_args, **_named: tensor))
            yield
    finally:
        torch.set_default_dtype(before)


def header(path):
    """{name: (shape, dtype as the file names it)}"""
    with safe_open(path, "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}
        return {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}


def activation_of(width, prefix, fused):
    """CLIP-L in a diffusion model is OpenAI's; all wider towers are OpenCLIP's, and its own files are gelu at any."""
    own = fused and prefix in ("", "text.")
    return "gelu" if own or width >= 1024 else "quick_gelu"


def of(path, activation=None):
    """All readings of a path, one per tower and library."""
    path = pathlib.Path(path)
    if path.name.endswith(".index.json"):
        path = path.parent
    if path.is_file():
        return list(_single(path, activation))
    if (path / "config.json").is_file():
        return [_folder(path, "")]
    for name in ("open_clip_model.safetensors", "model.safetensors"):
        if (path / name).is_file():
            return list(_single(path / name, activation))
    folders = [name for name in ("text_encoder", "text_encoder_2") if (path / name / "config.json").is_file()]
    return [_folder(path / name, name) for name in folders
            if json.loads((path / name / "config.json").read_text())["architectures"][0] in KINDS]


# ---- directories, which say what they are ----

def _folder(path, tower):
    config = json.loads((path / "config.json").read_text())
    kind = KINDS[config["architectures"][0]]
    text = config.get("text_config", config)

    def load(dtype="auto"):
        model, report = kind.from_pretrained(path, dtype=dtype, attn_implementation="sdpa", local_files_only=True,
                                             output_loading_info=True)
        if report["missing_keys"] or report["mismatched_keys"]:
            raise SystemExit(f"transformers loads {path} with complaints: {report}")
        return model

    return Reading(tower or BY_WIDTH.get(text["hidden_size"], "text"), f"transformers, {kind.__name__}", load,
                   text["num_hidden_layers"], text["hidden_size"], kind is not CLIPTextModel)


# ---- single files ----

# Prefix, and whether the names beneath are OpenCLIP's; who reads: diffusers by a class, open_clip, or transformers.
SINGLE = (
    (names.SDXL_L, False, CLIPTextModel), (names.SDXL_G, True, CLIPTextModelWithProjection),
    (names.REFINER_G, True, CLIPTextModelWithProjection),
    (names.SD3_L, False, CLIPTextModelWithProjection), (names.SD3_G, False, CLIPTextModelWithProjection),
    (names.SD1, False, CLIPTextModel), (names.SD2, True, CLIPTextModel), (names.SD2, True, None),
    (names.COMFY_L, False, None), (names.COMFY_G, False, None), ("text.", True, None), ("", True, None),
    ("", False, None),
)


def _single(path, activation):
    shapes = header(path)
    for prefix, fused, kind in SINGLE:
        embedding = prefix + ("token_embedding.weight" if fused else "text_model.embeddings.token_embedding.weight")
        if not prefix and not fused and embedding not in shapes:
            embedding = "embeddings.token_embedding.weight"  # CLIPTextModel as transformers 5 writes it
        if embedding in shapes:
            yield _reading(path, shapes, prefix, fused, kind, embedding, activation)


def _reading(path, shapes, prefix, fused, kind, embedding, activation):
    vocabulary, width = shapes[embedding][0]
    block = prefix + ("transformer.resblocks." if fused else embedding.removeprefix(prefix).partition("embeddings")[0]
                      + "encoder.layers.")
    blocks = 1 + max(int(name.removeprefix(block).partition(".")[0]) for name in shapes if name.startswith(block))
    projection = prefix + ("text_projection" if fused else names.PROJECTION)
    mlp = shapes[f"{block}0.mlp." + ("c_fc.weight" if fused else "fc1.weight")][0][0]
    positions = prefix + ("positional_embedding" if fused
                          else embedding.removeprefix(prefix).replace("token_", "position_"))
    shortened = prefix == names.SD2 and kind is not None and blocks == 24
    config = CLIPTextConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=mlp, num_attention_heads=width // 64,
        num_hidden_layers=blocks - shortened, max_position_embeddings=shapes[positions][0][0],
        hidden_act=activation or activation_of(width, prefix, fused), eos_token_id=vocabulary - 1,
        bos_token_id=vocabulary - 2,
        projection_dim=shapes[projection][0][1 if fused else 0] if projection in shapes else width)
    dtype = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}.get(
        shapes[embedding][1], torch.float32)
    if kind is not None:
        library, load = f"diffusers' single file, {kind.__name__}", lambda to=dtype: _diffusers(path, kind, config, to)
    elif fused:
        library, load = "open_clip", lambda to=dtype: _open_clip(path, shapes, prefix, config, to)
    else:
        library, load = "transformers, load_state_dict", lambda to=dtype: _transformers(path, prefix, config, to)
    return Reading(BY_WIDTH.get(width, "text"), library, load, blocks, width,
                   projection in shapes, shortened)


def _diffusers(path, kind, config, dtype):
    checkpoint = load_single_file_checkpoint(str(path))
    with tempfile.TemporaryDirectory() as folder, undrawn(dtype):
        config.save_pretrained(folder)
        return create_diffusers_clip_model_from_ldm(kind, checkpoint, config=folder, torch_dtype=dtype,
                                                    local_files_only=True)


def _transformers(path, prefix, config, dtype):
    tensors = decoded(names.stripped(load_file(path), prefix), dtype)
    kind = CLIPTextModelWithProjection if names.PROJECTION in tensors else CLIPTextModel
    with undrawn(dtype):
        model = kind(config)
    wanted = model.state_dict()
    bare = {name.removeprefix("text_model."): value for name, value in tensors.items()}
    model.load_state_dict({name: bare[name.removeprefix("text_model.")] for name in wanted}, strict=True)
    return model.eval()


def decoded(tensors, dtype):
    """ComfyUI's scaled float8: each weight times the scale beside it, in `dtype`."""
    values = {}
    for name, value in tensors.items():
        stem = name.removesuffix(".weight")
        scale = tensors.get(f"{stem}.scale_weight", tensors.get(f"{stem}.weight_scale"))
        if name.endswith(".weight") and scale is not None:
            value = value.to(dtype) * scale.to(dtype)
        elif value.dtype.itemsize == 1:
            value = value.to(dtype)
        values[name] = value
    return values


def _open_clip(path, shapes, prefix, config, dtype):
    """A whole file by open_clip's own load_checkpoint; a part of one (LDM's `model` is open_clip's, without an image
    tower) by its TextTransformer."""
    quick = config.hidden_act == "quick_gelu"
    ratio = config.intermediate_size / config.hidden_size
    text = dict(context_length=config.max_position_embeddings, vocab_size=config.vocab_size, width=config.hidden_size,
                heads=config.num_attention_heads, layers=config.num_hidden_layers, mlp_ratio=ratio)
    with undrawn(dtype):
        if "visual.conv1.weight" in shapes:
            kind = open_clip.CustomTextCLIP if prefix else open_clip.CLIP
            model = kind(config.projection_dim, _vision(shapes), text, quick_gelu=quick)
            open_clip.load_checkpoint(model, str(path))
            model.visual = None
        else:
            act = open_clip.transformer.QuickGELU if quick else torch.nn.GELU
            model = open_clip.transformer.TextTransformer(**text, output_dim=config.projection_dim, act_layer=act)
            tensors = names.stripped(load_file(path), prefix)
            model.load_state_dict({name: tensors[name] for name in model.state_dict()}, strict=True)
    return OpenClip(model.eval())


def _vision(shapes):
    width, _, _, patch = shapes["visual.conv1.weight"][0]
    blocks = "visual.transformer.resblocks."
    layers = 1 + max(int(name.removeprefix(blocks).partition(".")[0]) for name in shapes if name.startswith(blocks))
    side = round((shapes["visual.positional_embedding"][0][0] - 1) ** 0.5)
    return dict(layers=layers, width=width, head_width=VISION_HEAD.get(width, 64), patch_size=patch,
                image_size=side * patch, mlp_ratio=(shapes[f"{blocks}0.mlp.c_fc.weight"][0][0] + 0.5) / width)
