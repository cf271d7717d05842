"""Writes every layout of a checkpoint, by the library that people's files come from or by its own modules' names.

Owns which files there are. transformers and diffusers write theirs with save_pretrained, open_clip's is its model's
state_dict; an LDM file is those same tensors under the path of the module that holds them (layouts_names.py), beside a
UNet and a VAE. ComfyUI's files are transformers' names under its own prefixes. What is no text encoder is a hole.
"""
import dataclasses
import json
from collections.abc import Callable

import diffusers
import open_clip
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextModelWithProjection

import layouts_names as names
import layouts_sdxl as sdxl
import towers
from layouts_sparse import Hole, write

FORMAT = {"format": "pt"}
# Image towers, which no text encoder needs: (OpenCLIP's vision_cfg at full size, at the small one) by the text tower.
VISION = {
    "l": dict(image_size=224, layers=24, width=1024, patch_size=14),
    "h": dict(image_size=224, layers=32, width=1280, head_width=80, patch_size=14),
    "g": dict(image_size=224, layers=48, width=1664, head_width=104, mlp_ratio=4.9231, patch_size=14),
}
SMALL_VISION = dict(image_size=28, layers=1, width=64, head_width=32, patch_size=14)


@dataclasses.dataclass
class Drawn:
    """A tower's geometry and its tensors in the stored type."""
    key: str  # l, h or g
    geometry: object
    tensors: dict
    full: bool

    @property
    def vision(self):
        return VISION[self.key] if self.full else SMALL_VISION

    def model(self, kind=CLIPTextModelWithProjection, **changes):
        with torch.device("meta"):
            model = kind(towers.make_config(self.geometry, **changes))
        prefixed = "text_model." if any(name.startswith("text_model.") for name in model.state_dict()) else ""
        has = hasattr(model, "text_projection")
        model.load_state_dict({name if name == names.PROJECTION else prefixed + name: value
                               for name, value in self.tensors.items() if has or name != names.PROJECTION}, assign=True)
        model.config.dtype = next(iter(self.tensors.values())).dtype
        return model

    def ids(self, prefix):
        """position_ids, which older transformers stored; of another type and none of the tower's."""
        return {prefix + "text_model.embeddings.position_ids": torch.arange(self.geometry.context)[None]}


# ---- transformers ----

def folder(drawn, path, **options):
    drawn.model(eos_token_id=2, bos_token_id=0, pad_token_id=1).save_pretrained(path, **options)
    return path


def plain_folder(drawn, path):
    drawn.model(towers.CLIPTextModel).save_pretrained(path)
    return path


def sharded(drawn, path):
    """Five or more shards, so that a block's tensors lie in two of them."""
    total = sum(value.nbytes for value in drawn.tensors.values())
    folder(drawn, path, max_shard_size=max(total // 6, 1))
    if len(list(path.glob("model-*.safetensors"))) < 4:
        raise SystemExit(f"transformers wrote {sorted(path.iterdir())}, expected shards")
    return path


def sharded_index(drawn, path):
    return sharded(drawn, path) / "model.safetensors.index.json"


def clip_model(drawn, path):
    """CLIPModel, with an image tower of zeros."""
    vision = drawn.vision
    config = CLIPConfig(
        text_config=towers.make_config(drawn.geometry).to_dict(), projection_dim=drawn.geometry.projection,
        vision_config=dict(hidden_size=vision["width"], num_hidden_layers=vision["layers"],
                           num_attention_heads=vision["width"] // vision.get("head_width", 64),
                           intermediate_size=4 * vision["width"], image_size=vision["image_size"],
                           patch_size=vision["patch_size"], projection_dim=drawn.geometry.projection))
    with torch.device("meta"):
        model = CLIPModel(config)
    dtype = next(iter(drawn.tensors.values())).dtype
    tensors = {name: torch.zeros(value.shape, dtype=dtype) for name, value in model.state_dict().items()}
    tensors |= names.transformers(drawn.tensors)
    model.load_state_dict(tensors, assign=True)
    model.config.dtype = dtype
    model.save_pretrained(path)
    return path


# ---- open_clip ----

def _open_clip_model(drawn, kind):
    geometry = drawn.geometry
    text = dict(context_length=geometry.context, vocab_size=geometry.vocabulary, width=geometry.width,
                heads=geometry.heads, layers=geometry.layers, mlp_ratio=geometry.mlp_width / geometry.width)
    with torch.device("meta"):
        return kind(geometry.projection, drawn.vision, text)


def root(drawn, path, kind=open_clip.CLIP):
    """The state_dict of open_clip's model, image tower and all."""
    prefix = "text." if kind is open_clip.CustomTextCLIP else ""
    mine = names.open_clip(drawn.tensors, prefix)
    tensors = {}
    for name, value in _open_clip_model(drawn, kind).state_dict().items():
        tensors[name] = mine.pop(name) if name in mine else Hole(tuple(value.shape))
        if tuple(tensors[name].shape) != tuple(value.shape):
            raise SystemExit(f"open_clip's {name} is {tuple(value.shape)}, expected {tuple(tensors[name].shape)}")
    if mine:
        raise SystemExit(f"open_clip's model has no {sorted(mine)[:3]}")
    return write(path.with_suffix(".safetensors"), tensors, FORMAT)


def custom(drawn, path):
    return root(drawn, path, open_clip.CustomTextCLIP)


# ---- single files of diffusion models ----

UNET_OF_1 = {"model.diffusion_model.input_blocks.0.0.weight": Hole((320, 4, 3, 3)),
             "model.diffusion_model.time_embed.0.weight": Hole((1280, 320)),
             "first_stage_model.encoder.conv_in.weight": Hole((128, 3, 3, 3)),
             "alphas_cumprod": Hole((1000,), torch.float32), "model_ema.num_updates": Hole((), torch.int64)}


def _ldm(path, *parts):
    tensors = {}
    for part in parts:
        tensors |= part
    return write(path.with_suffix(".safetensors"), tensors)


def _scale(prefix):
    return {prefix + "logit_scale": Hole(())}


def sd1(drawn, path):
    return _ldm(path, names.transformers(drawn.tensors, names.SD1, projection=False), drawn.ids(names.SD1), UNET_OF_1)


def sd2(drawn, path):
    return _ldm(path, names.open_clip(drawn.tensors, names.SD2), _scale(names.SD2), UNET_OF_1,
                {names.SD2 + "attn_mask": Hole((77, 77))})


def sdxl_base(small, large, path):
    """True in every name and shape: 6.9 GB, of which the UNet and the VAE take no disk."""
    return _ldm(path, names.transformers(small.tensors, names.SDXL_L, projection=False), small.ids(names.SDXL_L),
                names.open_clip(large.tensors, names.SDXL_G), _scale(names.SDXL_G), sdxl.unet(), sdxl.vae())


def refiner(drawn, path):
    return _ldm(path, names.open_clip(drawn.tensors, names.REFINER_G), _scale(names.REFINER_G),
                {"model.diffusion_model.input_blocks.0.0.weight": Hole((384, 4, 3, 3)),
                 "model.diffusion_model.label_emb.0.0.weight": Hole((1536, 2560))})


def sd3(small, large, path):
    return _ldm(path, names.transformers(small.tensors, names.SD3_L, projection=False),
                names.transformers(large.tensors, names.SD3_G),
                {"model.diffusion_model.x_embedder.proj.weight": Hole((1536, 16, 2, 2)),
                 "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight": Hole((4608, 1536)),
                 "text_encoders.t5xxl.transformer.shared.weight": Hole((32128, 4096))})


# ---- ComfyUI ----

def comfy(drawn, path):
    """clip_l.safetensors, clip_g.safetensors: transformers' names in one file, without a config.json."""
    tensors = names.transformers(drawn.tensors) | {"logit_scale": torch.tensor(4.6)}
    path = path.with_suffix(".safetensors")
    save_file(tensors | drawn.ids(""), path, FORMAT)
    return path


def bare(drawn, path):
    """CLIPTextModel's file as transformers 5 writes it, on its own: no prefix, no projection, no config.json."""
    path = path.with_suffix(".safetensors")
    save_file({name: value for name, value in drawn.tensors.items() if name != names.PROJECTION}, path, FORMAT)
    return path


def clip_save(small, large, path):
    return _ldm(path, names.transformers(small.tensors, names.COMFY_L),
                names.transformers(large.tensors, names.COMFY_G),
                {"clip_l.logit_scale": torch.tensor(4.6), "clip_g.logit_scale": torch.tensor(4.6)})


# ---- diffusers ----

def pipeline(small, large, path, tokenizers, unet=True):
    """StableDiffusionXLPipeline as diffusers writes it; its UNet and VAE are the least that it accepts."""
    torch.manual_seed(1)
    parts = dict(
        vae=diffusers.AutoencoderKL(block_out_channels=(32,), down_block_types=("DownEncoderBlock2D",),
                                    up_block_types=("UpDecoderBlock2D",)),
        unet=diffusers.UNet2DConditionModel(
            block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=64, attention_head_dim=(2, 4),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D")),
        scheduler=diffusers.EulerDiscreteScheduler(), tokenizer=tokenizers[0], tokenizer_2=tokenizers[1],
        text_encoder=small.model(towers.CLIPTextModel), text_encoder_2=large.model(eos_token_id=2))
    diffusers.StableDiffusionXLPipeline(**parts).save_pretrained(path)
    if not unet:
        for name in ("unet", "vae", "scheduler"):
            for file in (path / name).iterdir():
                file.unlink()
            (path / name).rmdir()
        index = json.loads((path / "model_index.json").read_text())
        (path / "model_index.json").write_text(json.dumps(
            {name: value for name, value in index.items() if name not in ("unet", "vae", "scheduler")}))
    return path


@dataclasses.dataclass(frozen=True)
class Layout:
    name: str
    towers: str  # l, h, g: whose files these are, in the order of the writer's arguments
    write: Callable
    at_full_size: bool = True


LAYOUTS = (
    Layout("transformers, CLIPTextModelWithProjection", "g", folder),
    Layout("transformers, CLIPTextModelWithProjection", "l", folder),
    Layout("transformers, CLIPTextModelWithProjection", "h", folder),
    Layout("transformers, CLIPTextModel", "l", plain_folder),
    Layout("transformers, sharded", "g", sharded),
    Layout("transformers, sharded, by its index", "l", sharded_index),
    Layout("transformers, CLIPModel", "l", clip_model),
    Layout("transformers, CLIPModel", "h", clip_model),
    Layout("one file, CLIPTextModel's names", "l", bare),
    Layout("open_clip, root", "g", root),
    Layout("open_clip, root", "h", root),
    Layout("open_clip, root", "l", root),
    Layout("open_clip, custom text", "g", custom),
    Layout("open_clip, custom text", "h", custom),
    Layout("SD 1.x, one file", "l", sd1),
    Layout("SD 2.x, one file", "h", sd2),
    Layout("SDXL base, one file", "lg", sdxl_base),
    Layout("SDXL refiner, one file", "g", refiner),
    Layout("SD3, one file", "lg", sd3),
    Layout("ComfyUI, clip_l", "l", comfy),
    Layout("ComfyUI, clip_g", "g", comfy),
    Layout("ComfyUI, CLIPSave", "lg", clip_save),
)
