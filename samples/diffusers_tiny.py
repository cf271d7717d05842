"""diffusers_tiny.py - a seeded Stable Diffusion pipeline without training: a tiny UNet and VAE, and text towers of full size.

Owns what such a pipeline is made of. The towers' weights are drawn by samples/model/weights.py and behave like trained
ones, so that pictures depend on the prompt; what they show means nothing. Written by diffusers' and transformers' own
save_pretrained, the towers as float16, as the published ones are. Knows nothing of Penult.
"""
import dataclasses
import pathlib
import sys

import torch
from diffusers import (AutoencoderKL, DDIMScheduler, EulerDiscreteScheduler, StableDiffusionPipeline,
                       StableDiffusionXLPipeline, UNet2DConditionModel)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

SHIPPED = pathlib.Path(__file__).resolve().parent / "model"
sys.path.insert(0, str(SHIPPED))
from weights import Geometry, Recipe  # noqa: E402

END = "<|endoftext|>"
# Start and end are the tokenizer's, filled in when it is known.
CLIP_L = Geometry(name="CLIP-L", vocabulary=49408, width=768, heads=12, layers=12, mlp_width=3072, projection=768,
                  activation="quick_gelu", start_id=0, end_id=0, pad_id=0, last_rms=20.0)
BIG_G = Geometry(name="bigG", vocabulary=49408, width=1280, heads=20, layers=32, mlp_width=5120, projection=1280,
                 activation="gelu", start_id=0, end_id=0, pad_id=0, last_rms=25.0)
SMALL_L = dataclasses.replace(CLIP_L, name="small CLIP-L", width=128, heads=2, layers=4, mlp_width=256, projection=128)
SMALL_G = dataclasses.replace(BIG_G, name="small bigG", width=192, heads=3, layers=5, mlp_width=384, projection=192)
TIME_WIDTH = 8  # of each of SDXL's six sizes


def shipped_tokenizers():
    """The tokenizer of the model that ships, padding as SDXL's two do: with the end token, and with "!"."""
    return [CLIPTokenizer.from_pretrained(SHIPPED, pad_token=END), CLIPTokenizer.from_pretrained(SHIPPED, pad_token="!")]


def tower(geometry, tokenizer, seed, kind):
    """A CLIPTextModel or a CLIPTextModelWithProjection, in float16."""
    geometry = dataclasses.replace(geometry, start_id=tokenizer.bos_token_id, end_id=tokenizer.eos_token_id,
                                   pad_id=tokenizer.pad_token_id)
    with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
        model = kind(CLIPTextConfig(
            vocab_size=geometry.vocabulary, hidden_size=geometry.width, intermediate_size=geometry.mlp_width,
            projection_dim=geometry.projection, num_hidden_layers=geometry.layers, num_attention_heads=geometry.heads,
            max_position_embeddings=geometry.context, hidden_act=geometry.activation, bos_token_id=geometry.start_id,
            eos_token_id=geometry.end_id, pad_token_id=geometry.pad_id, dtype=torch.float16))
    names = model.state_dict().keys()
    prefix = "text_model." if "text_model.final_layer_norm.weight" in names else ""
    drawn = {name if name in names else prefix + name: torch.from_numpy(value).half()
             for name, value in Recipe(geometry, seed).tensors()}
    model.load_state_dict({name: drawn[name] for name in names}, assign=True)
    return model


def vae(seed):
    torch.manual_seed(seed)
    return AutoencoderKL(
        block_out_channels=(32, 64), in_channels=3, out_channels=3, latent_channels=4, sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2)


def unet(context, seed, vector=None):
    """context: the width of what it is conditioned on; vector: that of SDXL's pooled vector, None for SD 1.x."""
    torch.manual_seed(seed)
    options = {} if vector is None else dict(
        addition_embed_type="text_time", addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=vector + 6 * TIME_WIDTH, use_linear_projection=True)
    return UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=4, out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=(2, 4), cross_attention_dim=context, **options)


def make_sdxl(directory, seed=1, small=False, tokenizers=None):
    """Writes a StableDiffusionXLPipeline into `directory`, which is returned."""
    first, second = (SMALL_L, SMALL_G) if small else (CLIP_L, BIG_G)
    tokenizers = shipped_tokenizers() if tokenizers is None else tokenizers
    StableDiffusionXLPipeline(
        vae=vae(seed), unet=unet(first.width + second.width, seed, second.projection),
        text_encoder=tower(first, tokenizers[0], seed, CLIPTextModel),
        text_encoder_2=tower(second, tokenizers[1], seed + 1, CLIPTextModelWithProjection),
        tokenizer=tokenizers[0], tokenizer_2=tokenizers[1], add_watermarker=False,
        scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
                                         timestep_spacing="leading")).save_pretrained(directory)
    return pathlib.Path(directory)


def make_sd1(directory, seed=1, small=False, tokenizers=None):
    """Writes a StableDiffusionPipeline into `directory`, which is returned."""
    geometry = SMALL_L if small else CLIP_L
    tokenizer = (shipped_tokenizers() if tokenizers is None else tokenizers)[0]
    StableDiffusionPipeline(
        vae=vae(seed), unet=unet(geometry.width, seed), text_encoder=tower(geometry, tokenizer, seed, CLIPTextModel),
        tokenizer=tokenizer, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                                set_alpha_to_one=False, steps_offset=1)).save_pretrained(directory)
    return pathlib.Path(directory)
