"""diffusers_host.py - what diffusers_sdxl.py and diffusers_sd1.py share: options, pictures, and the comparison.

Owns the words of their command lines and what they print and write. Knows no pipeline by name.
"""
import argparse
import pathlib
import warnings

import numpy as np
import torch
import transformers
from diffusers.utils import logging

from diffusers_penult import PenultTextEncoder, condition, open_recipe, penult


def options(description, recipe, second_prompt):
    """The options given on the command line. recipe: of Penult's, by which a pipeline of this kind conditions itself."""
    parser = argparse.ArgumentParser(description=description, epilog="Exit status: 0; 1 if the pictures differ by more than "
                                     "1 of 255 anywhere, or for an error; 2 for wrong options.")
    parser.add_argument("words", nargs="+", metavar="PIPELINE PROMPT", help="the pipeline's directory, as diffusers' "
                        "save_pretrained writes it, and a prompt; with --tiny only the prompt")
    parser.add_argument("--tiny", action="store_true", help="a seeded pipeline of random weights, made under --out: tiny UNet "
                        "and VAE, text towers of full size (3 GB of memory for SDXL)")
    parser.add_argument("--small-towers", action="store_true", help="with --tiny: small towers too, for a quick run")
    parser.add_argument("--alone", action="store_true", help="only Penult's pictures; the pipeline's own encoders are not loaded")
    parser.add_argument("--negative", help="negative prompt")
    if second_prompt:
        parser.add_argument("--prompt-2", help="prompt of text_encoder_2")
    parser.add_argument("--recipe", default=recipe, help=f"of the picture that is drawn from tensors ({recipe}, which is what "
                        "the pipeline does itself); with another, prompts are in the words of its host, and that picture is not "
                        "compared")
    parser.add_argument("--clip-skip", type=int, help="as the pipeline takes it")
    parser.add_argument("--steps", type=int, help="of the sampler (20; 3 with --tiny)")
    parser.add_argument("--size", type=int, help="width and height of the picture (the pipeline's own; 64 with --tiny)")
    parser.add_argument("--guidance", type=float, default=5.0, help="guidance scale (5)")
    parser.add_argument("--seed", type=int, default=1, help="of the noise (1)")
    parser.add_argument("--device", default="cpu", help="for the UNet and VAE; Penult computes on the CPU (cpu)")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"], help="(float32)")
    parser.add_argument("--plugin", help="penult.so (the one that was built or installed beside api/penult.py)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), help="directory of the pictures (.)")
    given = parser.parse_args()
    if len(given.words) != (1 if given.tiny else 2):
        parser.error("expected a prompt and, without --tiny, a pipeline's directory before it")
    if given.small_towers and not given.tiny:
        parser.error("--small-towers goes with --tiny")
    given.compared, given.prompt_2 = given.recipe == recipe, getattr(given, "prompt_2", None)
    given.prompt, given.pipeline = given.words[-1], None if given.tiny else given.words[0]
    given.steps = given.steps or (3 if given.tiny else 20)
    given.size = given.size or (64 if given.tiny else None)
    return given


def quiet():
    """Leaves what goes wrong on the screen, and takes away the rest of what the two libraries say."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)


def draw(pipe, given, whose, **prompts):
    """Draws one picture, writes and returns it: an array [height,width,3] of 8 bits. Each begins with the same noise."""
    noise = torch.Generator("cpu").manual_seed(given.seed)
    pipe.set_progress_bar_config(disable=given.tiny)
    image = pipe(height=given.size, width=given.size, num_inference_steps=given.steps, generator=noise,
                 guidance_scale=given.guidance, **prompts).images[0]
    path, picture = given.out / f"{given.name}-{whose}.png", np.asarray(image)
    image.save(path)
    print(f"wrote {path}: {picture.shape[1]} x {picture.shape[0]}, mean {picture.mean():.1f}, spread {picture.std():.1f}",
          flush=True)
    return picture


def lend_text_model(encoder):
    """Where transformers 5 has no CLIPTextModel.text_model any more, diffusers 0.42's clip_skip for SD 1.x still asks for it:
    without this the pipeline's own encoder raises AttributeError. Penult's has one."""
    if encoder is not None and not hasattr(encoder, "text_model"):
        encoder.__dict__["text_model"] = encoder  # past torch's registry: a module must not be its own child


def tiny(given, make):
    """The directory of a tiny pipeline, made if it is not there."""
    directory = given.out / f"tiny-{given.name}{'-small' if given.small_towers else ''}"
    if not (directory / "model_index.json").exists():  # which save_pretrained writes last
        print(f"making {directory}", flush=True)
        make(directory, small=given.small_towers)
    return directory


def run(name, pipeline, make, towers, given):
    """Draws with the pipeline's own encoders, then with Penult's in their places, then from Penult's tensors.

    pipeline  its class; make(directory, small=) writes a tiny one; towers: its components that are text encoders. Returns the
    exit status.
    """
    quiet()
    given.name = name
    given.out.mkdir(parents=True, exist_ok=True)
    directory = tiny(given, make) if given.tiny else given.pipeline
    library = penult.Library(given.plugin) if given.plugin else None
    dtype = getattr(torch, given.dtype)
    prompts = dict(prompt=given.prompt, negative_prompt=given.negative, clip_skip=given.clip_skip)
    prompts |= dict(prompt_2=given.prompt_2) if given.prompt_2 is not None else {}

    encoders = {tower: PenultTextEncoder(directory, tower=tower, dtype=dtype, library=library) for tower in towers}
    pictures = {}
    if given.alone:
        pipe = pipeline.from_pretrained(directory, dtype=dtype, **encoders).to(given.device)
    else:
        pipe = pipeline.from_pretrained(directory, dtype=dtype).to(given.device)
        lend_text_model(pipe.text_encoder)
        own = draw(pipe, given, "own", **prompts)
        for tower, encoder in encoders.items():  # all that a host has to do
            setattr(pipe, tower, encoder)
    pictures["penult"] = draw(pipe, given, "penult", **prompts)

    for tower in towers:  # or, without any encoder in the pipeline
        setattr(pipe, tower, None)
    with open_recipe(given.recipe, directory, library) as recipe:
        pictures["tensors"] = draw(pipe, given, "tensors", **condition(
            pipe, recipe, given.prompt, negative=given.negative, prompt_2=given.prompt_2, clip_skip=given.clip_skip))
    return 0 if given.alone else compare(own, pictures, given.compared)


def compare(own, pictures, tensors_too):
    """Prints how far the pictures are from the pipeline's own; returns the exit status."""
    worst = 0
    for whose, picture in pictures.items():
        difference = int(np.abs(own.astype(int) - picture.astype(int)).max())
        print(f"maximal difference, own and {whose}: {difference} of 255")
        worst = max(worst, difference if whose == "penult" or tensors_too else 0)
    return 0 if worst <= 1 else 1
