"""How each layout names the tensors of a text tower, as plain tables. Nothing here is taken from the plugin.

Owns the names, and the two changes of form between them: OpenCLIP's fused in_proj, and its projection, which is the
transpose of a Linear's. A tower is a dictionary by the names of samples/model/weights.py, which are CLIPTextModel's.
"""
import re

import torch

PROJECTION = "text_projection.weight"

# CLIPTextModel's names -> OpenCLIP's, of what is outside the blocks.
OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
    PROJECTION: "text_projection",
}
# and within one.
OPEN_CLIP_BLOCK = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
}
BLOCK = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")

# Where each single file keeps each tower, and by which names.
SD1 = "cond_stage_model.transformer."                   # CLIP-L, transformers' names
SD2 = "cond_stage_model.model."                         # CLIP-H, OpenCLIP's
SDXL_L = "conditioner.embedders.0.transformer."         # transformers'
SDXL_G = "conditioner.embedders.1.model."               # OpenCLIP's
REFINER_G = "conditioner.embedders.0.model."            # OpenCLIP's
SD3_L, SD3_G = "text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer."  # transformers'
COMFY_L, COMFY_G = "clip_l.transformer.", "clip_g.transformer."                          # transformers'


def transformers(tensors, prefix="", projection=True):
    """`text_model.` before all names but the projection's."""
    return {prefix + (name if name == PROJECTION else "text_model." + name): value for name, value in tensors.items()
            if projection or name != PROJECTION}


def open_clip(tensors, prefix=""):
    """Fused in_proj, bare projection [D,P]."""
    named = {}
    for name, value in tensors.items():
        block = BLOCK.fullmatch(name)
        if block is None:
            named[OPEN_CLIP[name]] = value.T.contiguous() if name == PROJECTION else value
            continue
        number, part, kind = block.groups()
        where = f"transformer.resblocks.{number}."
        if part in OPEN_CLIP_BLOCK:
            named[f"{where}{OPEN_CLIP_BLOCK[part]}.{kind}"] = value
        elif part == "self_attn.q_proj":
            parts = [tensors[name.replace("q_proj", f"{which}_proj")] for which in "qkv"]
            named[f"{where}attn.in_proj_{kind}"] = torch.cat(parts)
    return {prefix + name: value for name, value in named.items()}


def stripped(tensors, prefix):
    """What is under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
