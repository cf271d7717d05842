"""SDXL's single file but for its text encoders: names and shapes of the UNet (1,680 tensors) and of the VAE (248), as
the checkpoint has them.

Owns the two lists, which follow from how the networks are built, and their proof: diffusers' own conversion of a file
with these names gives exactly the tensors that its UNet2DConditionModel and AutoencoderKL have. Holes, no values.
"""
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint

from layouts_sparse import Hole

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CONTEXT, EMBEDDING, VECTOR = 2048, 1280, 2816

UNET_CONFIG = dict(
    sample_size=128, in_channels=4, out_channels=4, block_out_channels=(320, 640, 1280), layers_per_block=2,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), transformer_layers_per_block=(1, 2, 10),
    attention_head_dim=(5, 10, 20), cross_attention_dim=CONTEXT, use_linear_projection=True,
    addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=VECTOR)
VAE_CONFIG = dict(
    in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(128, 256, 512, 512), layers_per_block=2,
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4)


class Names:
    """{name: shape}, filled layer by layer."""

    def __init__(self):
        self.shapes = {}

    def layer(self, name, *weight, bias=True):
        self.shapes[name + ".weight"] = weight
        if bias:
            self.shapes[name + ".bias"] = weight[:1]

    def residual(self, name, inputs, outputs):
        self.layer(f"{name}.in_layers.0", inputs)
        self.layer(f"{name}.in_layers.2", outputs, inputs, 3, 3)
        self.layer(f"{name}.emb_layers.1", outputs, EMBEDDING)
        self.layer(f"{name}.out_layers.0", outputs)
        self.layer(f"{name}.out_layers.3", outputs, outputs, 3, 3)
        if inputs != outputs:
            self.layer(f"{name}.skip_connection", outputs, inputs, 1, 1)

    def transformer(self, name, width, depth):
        self.layer(f"{name}.norm", width)
        self.layer(f"{name}.proj_in", width, width)
        for index in range(depth):
            block = f"{name}.transformer_blocks.{index}"
            for number, context in ((1, width), (2, CONTEXT)):
                for which, inputs in (("to_q", width), ("to_k", context), ("to_v", context)):
                    self.layer(f"{block}.attn{number}.{which}", width, inputs, bias=False)
                self.layer(f"{block}.attn{number}.to_out.0", width, width)
            self.layer(f"{block}.ff.net.0.proj", 8 * width, width)
            self.layer(f"{block}.ff.net.2", width, 4 * width)
            for number in (1, 2, 3):
                self.layer(f"{block}.norm{number}", width)
        self.layer(f"{name}.proj_out", width, width)

    def vae_block(self, name, inputs, outputs):
        for number, into in ((1, inputs), (2, outputs)):
            self.layer(f"{name}.norm{number}", into)
            self.layer(f"{name}.conv{number}", outputs, into, 3, 3)
        if inputs != outputs:
            self.layer(f"{name}.nin_shortcut", outputs, inputs, 1, 1)

    def vae_middle(self, name, width):
        self.vae_block(f"{name}.block_1", width, width)
        self.layer(f"{name}.attn_1.norm", width)
        for which in ("q", "k", "v", "proj_out"):
            self.layer(f"{name}.attn_1.{which}", width, width, 1, 1)
        self.vae_block(f"{name}.block_2", width, width)


def unet():
    names = Names()
    names.layer("time_embed.0", EMBEDDING, 320)
    names.layer("time_embed.2", EMBEDDING, EMBEDDING)
    names.layer("label_emb.0.0", EMBEDDING, VECTOR)
    names.layer("label_emb.0.2", EMBEDDING, EMBEDDING)
    names.layer("input_blocks.0.0", 320, 4, 3, 3)
    levels = ((320, 0), (640, 2), (1280, 10))  # width and depth of its transformers
    kept, width, at = [320], 320, 1            # the widths that the way up takes in again
    for level, (outputs, depth) in enumerate(levels):
        for _ in range(2):
            names.residual(f"input_blocks.{at}.0", width, outputs)
            if depth:
                names.transformer(f"input_blocks.{at}.1", outputs, depth)
            width, at = outputs, at + 1
            kept.append(width)
        if level < 2:
            names.layer(f"input_blocks.{at}.0.op", width, width, 3, 3)
            at += 1
            kept.append(width)
    names.residual("middle_block.0", width, width)
    names.transformer("middle_block.1", width, 10)
    names.residual("middle_block.2", width, width)
    at = 0
    for level, (outputs, depth) in reversed(list(enumerate(levels))):
        for index in range(3):
            names.residual(f"output_blocks.{at}.0", width + kept.pop(), outputs)
            width = outputs
            if depth:
                names.transformer(f"output_blocks.{at}.1", width, depth)
            if level and index == 2:
                names.layer(f"output_blocks.{at}.2.conv", width, width, 3, 3)
            at += 1
    names.layer("out.0", 320)
    names.layer("out.2", 4, 320, 3, 3)
    return {UNET + name: Hole(shape) for name, shape in names.shapes.items()}


def vae():
    names = Names()
    widths = (128, 256, 512, 512)
    names.layer("encoder.conv_in", 128, 3, 3, 3)
    width = 128
    for level, outputs in enumerate(widths):
        for index in range(2):
            names.vae_block(f"encoder.down.{level}.block.{index}", width, outputs)
            width = outputs
        if level < 3:
            names.layer(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    names.vae_middle("encoder.mid", 512)
    names.layer("encoder.norm_out", 512)
    names.layer("encoder.conv_out", 8, 512, 3, 3)
    names.layer("quant_conv", 8, 8, 1, 1)
    names.layer("post_quant_conv", 4, 4, 1, 1)
    names.layer("decoder.conv_in", 512, 4, 3, 3)
    names.vae_middle("decoder.mid", 512)
    for level, outputs in reversed(list(enumerate(widths))):
        for index in range(3):
            names.vae_block(f"decoder.up.{level}.block.{index}", width, outputs)
            width = outputs
        if level:
            names.layer(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    names.layer("decoder.norm_out", 128)
    names.layer("decoder.conv_out", 3, 128, 3, 3)
    return {VAE + name: Hole(shape) for name, shape in names.shapes.items()}


def _shapes(tensors):
    return {name: tuple(value.shape) for name, value in tensors.items()}


def proof(tensors):
    """Yields (name, passed, detail): what diffusers makes of the names in a file against its own models."""
    with torch.device("meta"):
        stored = {name: torch.empty(value.shape) for name, value in tensors.items() if name.startswith((UNET, VAE))}
        models = (("UNet", UNet2DConditionModel(**UNET_CONFIG), convert_ldm_unet_checkpoint, UNET_CONFIG),
                  ("VAE", AutoencoderKL(**VAE_CONFIG), convert_ldm_vae_checkpoint, VAE_CONFIG))
        for what, model, convert, config in models:
            found, wanted = _shapes(convert(dict(stored), config)), _shapes(model.state_dict())
            count = sum(value.numel() for value in model.parameters())
            wrong = sorted(set(found.items()) ^ set(wanted.items()))
            yield (f"SDXL's {what}: {len(wanted)} names, {count:,} parameters, as diffusers reads them", not wrong,
                   f"{len(wrong)} differ, first {wrong[:2]}" if wrong else "")
