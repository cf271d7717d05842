#!/usr/bin/env python3
"""diffusers_sd1.py - a StableDiffusionPipeline (SD 1.x) whose text encoder is Penult's. Needs diffusers and what it needs.

    python3 samples/diffusers_sd1.py stable-diffusion-v1-5 "a photo of a cat" --negative "blurry"
    python3 samples/diffusers_sd1.py --tiny --small-towers "a photo of a cat" --out build/diffusers

Draws one picture with the pipeline's own encoder, one with Penult's in its place, and one from the tensors of Penult's recipe
in the place of prompts, and says how far apart they are.
"""
import sys

from diffusers import StableDiffusionPipeline

import diffusers_host
import diffusers_tiny


def main():
    given = diffusers_host.options("Draws with StableDiffusionPipeline: with its own text encoder, with Penult's, and from "
                                   "Penult's tensors; compares the pictures.", "sd1@diffusers", second_prompt=False)
    return diffusers_host.run("sd1", StableDiffusionPipeline, diffusers_tiny.make_sd1, ("text_encoder",), given)


if __name__ == "__main__":
    sys.exit(main())
