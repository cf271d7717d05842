#!/usr/bin/env python3
"""diffusers_sdxl.py - a StableDiffusionXLPipeline whose text encoders are Penult's. Needs diffusers and what it needs.

    python3 samples/diffusers_sdxl.py sdxl "a photo of a cat" --negative "blurry"
    python3 samples/diffusers_sdxl.py --tiny --small-towers "a photo of a cat" --out build/diffusers

Draws one picture with the pipeline's own encoders, one with Penult's in their places, and one from the tensors of Penult's
recipe in the place of prompts, and says how far apart they are.
"""
import sys

from diffusers import StableDiffusionXLPipeline

import diffusers_host
import diffusers_tiny


def main():
    given = diffusers_host.options("Draws with StableDiffusionXLPipeline: with its own text encoders, with Penult's, and from "
                                   "Penult's tensors; compares the pictures.", "sdxl@diffusers", second_prompt=True)
    return diffusers_host.run("sdxl", StableDiffusionXLPipeline, diffusers_tiny.make_sdxl,
                              ("text_encoder", "text_encoder_2"), given)


if __name__ == "__main__":
    sys.exit(main())
