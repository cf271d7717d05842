#!/usr/bin/env python3
"""diffusers_sdxl.py - a StableDiffusionXLPipeline whose text encoders are Penult's. Needs diffusers and what it needs.

    python3 samples/diffusers_sdxl.py sdxl "a photo of a cat" --negative "blurry"
    python3 samples/diffusers_sdxl.py --tiny --small-towers "a photo of a cat" --out build/diffusers

Draws one picture with the pipeline's own encoders and one with Penult's in their places, and says how far apart they are.
"""
import sys

from diffusers import StableDiffusionXLPipeline

import diffusers_host
import diffusers_tiny


def main():
    given = diffusers_host.options("Draws with StableDiffusionXLPipeline, with its own text encoders and with Penult's, and "
                                   "compares the pictures.", second_prompt=True)
    return diffusers_host.run("sdxl", StableDiffusionXLPipeline, diffusers_tiny.make_sdxl,
                              ("text_encoder", "text_encoder_2"), given, prompt_2=given.prompt_2)


if __name__ == "__main__":
    sys.exit(main())
