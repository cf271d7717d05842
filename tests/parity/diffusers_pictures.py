"""Pictures of one pipeline with its own text encoders and with Penult's in their places.

Owns the prompts, the ways to call a pipeline, and what "the same picture" means. Knows nothing of how results are told.
"""
import dataclasses

import numpy as np
import torch
from diffusers import (StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline,
                       StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline, StableDiffusionXLPipeline)

CAT, DOG = "a photo of a cat", "a red dog on the moon, oil painting!"
BLURRY, UGLY = "blurry, low quality", "text, watermark"
LONG = ", ".join(["a beautiful cinematic painting of a golden dragon above the dark forest"] * 12)  # of far more than 75 ids

CALLS = {
    "positive and negative": dict(prompt=CAT, negative_prompt=BLURRY),
    "no negative": dict(prompt=CAT),
    "empty negative": dict(prompt=CAT, negative_prompt=""),
    "empty prompt": dict(prompt="", negative_prompt=BLURRY),
    "without guidance": dict(prompt=CAT, guidance_scale=1.0),
    "clip_skip 1": dict(prompt=CAT, negative_prompt=BLURRY, clip_skip=1),
    "clip_skip 2": dict(prompt=CAT, negative_prompt=BLURRY, clip_skip=2),
    "two images": dict(prompt=CAT, negative_prompt=BLURRY, num_images_per_prompt=2),
    "a batch of two prompts": dict(prompt=[CAT, DOG], negative_prompt=[BLURRY, UGLY]),
    "long prompts, cut": dict(prompt=LONG, negative_prompt=LONG + BLURRY),
}
XL_CALLS = CALLS | {
    "second prompts": dict(prompt=CAT, prompt_2=DOG, negative_prompt=BLURRY, negative_prompt_2=UGLY),
}


@dataclasses.dataclass(frozen=True)
class Kind:
    """A pipeline, its siblings that begin with a picture, and which of its components are text encoders."""
    name: str
    pipeline: type
    siblings: dict
    towers: tuple
    calls: dict
    options: dict


SDXL = Kind("SDXL", StableDiffusionXLPipeline,
            {"image to image": StableDiffusionXLImg2ImgPipeline, "inpainting": StableDiffusionXLInpaintPipeline},
            ("text_encoder", "text_encoder_2"), XL_CALLS, dict(add_watermarker=False))
SD1 = Kind("SD 1.x", StableDiffusionPipeline,
           {"image to image": StableDiffusionImg2ImgPipeline, "inpainting": StableDiffusionInpaintPipeline},
           ("text_encoder",), CALLS, dict(requires_safety_checker=False))


@dataclasses.dataclass
class Drawn:
    latents: np.ndarray  # after the last step
    picture: np.ndarray  # [B,height,width,3], 0 to 1

    def bits(self):
        """As diffusers makes a PNG of it."""
        return (self.picture * 255).round().astype(int)


def draw(pipe, call, steps=3, size=64):
    """Three steps of the sampler from a seeded noise."""
    kept = {}

    def keep(_pipe, _step, _time, tensors):
        kept["latents"] = tensors["latents"].float().numpy().copy()
        return tensors

    sizes = {} if "image" in call else dict(height=size, width=size)
    pictures = pipe(**{"guidance_scale": 5.0, "num_inference_steps": steps, **sizes, **call}, output_type="np",
                    generator=torch.Generator().manual_seed(7), callback_on_step_end=keep).images
    return Drawn(kept["latents"], pictures)


def first_picture(size=64):
    """What the siblings begin with, and the half of it that inpainting fills."""
    image = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(8))
    mask = torch.zeros(1, 1, size, size)
    mask[..., size // 2:] = 1
    return image, mask


@dataclasses.dataclass(frozen=True)
class Distance:
    latents: float  # the largest difference of two
    floats: float   # of the pictures
    bits: int       # of the pictures in 8 bits

    def cells(self):
        return self.bits, f"{self.floats:.1e}", f"{self.latents:.1e}"

    def __str__(self):
        return "{} of 255 ({} of 1); latents {}".format(*self.cells())


def distance(one, other):
    return Distance(float(np.abs(one.latents - other.latents).max()), float(np.abs(one.picture - other.picture).max()),
                    int(np.abs(one.bits() - other.bits()).max()))
