"""Pictures from Penult's tensors, by recipe, against those that a pipeline draws from prompts, or from compel's tensors.

Owns which recipes and prompts are tried. Called by test_diffusers.py; import `apart` first, where compel is.
"""
import contextlib
import io
import sys

import torch
from compel.convenience_wrappers import CompelForSD, CompelForSDXL

import diffusers_pictures as pictures
import towers

sys.path.insert(0, str(towers.ROOT / "samples"))
from diffusers_penult import condition, open_recipe  # noqa: E402

# What the recipe of plain diffusers is tried with: those of the pipeline's calls that are of one prompt.
PLAIN = ("positive and negative", "no negative", "empty negative", "empty prompt", "without guidance", "clip_skip 1",
         "clip_skip 2", "two images", "long prompts, cut", "second prompts")
ASKED = {"negative_prompt": "negative", "prompt_2": "prompt_2", "negative_prompt_2": "negative_2", "clip_skip": "clip_skip"}
ROOM = 64  # rows of a tower: compel has one for each weight below 1

WEIGHTED = {
    "weights above 1": ("a photo++++ of (a cat)1.6", "blurry"),
    "weights below 1": ("a photo of a cat-- on the (moon)0.5", "blurry"),
    "weights in both": ("a photo++ of a cat", "blurry+, (low quality)0.8"),
    "weights without a negative": ("a photo++ of a cat--", None),
    "a blend": ('("a photo of a cat++", "a red dog on the moon").blend(0.7, 0.5)', "blurry"),
    "long with weights": (f"a castle++, {pictures.LONG}, (river)0.7", "blurry"),
    "long in both": (pictures.LONG, f"{pictures.LONG}, blurry++"),
}


def judge(run, kind, directory, own, drawn):
    """drawn: what the pipeline itself drew, by the title of the call."""
    bare = kind.pipeline(**{**own.components, **dict.fromkeys(kind.towers)}, **kind.options)
    bare.set_progress_bar_config(disable=True)
    plain, compel = ("sdxl", "sdxl@compel") if kind is pictures.SDXL else ("sd1", "sd1")
    with open_recipe(plain, directory, run.library) as recipe:
        for title in [title for title in PLAIN if title in drawn]:
            call = kind.calls[title]
            asked = {ASKED[name]: value for name, value in call.items() if name in ASKED}
            more = {name: value for name, value in call.items() if name not in ASKED and name != "prompt"}
            tensors = condition(bare, recipe, call["prompt"], **asked)
            run.same(f"{kind.name}, {recipe.info.recipe}, {title}", drawn[title], pictures.draw(bare, tensors | more))
    options = {} if kind is pictures.SDXL else dict(dialect="compel", split=True)
    unweighted = drawn["positive and negative"]
    with open_recipe(compel, directory, run.library, max_windows=ROOM, **options) as recipe:
        for title, (prompt, negative) in WEIGHTED.items():
            theirs = pictures.draw(own, by_compel(kind, own, prompt, negative))
            ours = pictures.draw(bare, condition(bare, recipe, prompt, negative=negative))
            noise = run.same(f"{kind.name}, {recipe.info.recipe} by compel's signs, {title}", theirs, ours)
            # weights on a word or two move SD 1.x's picture by little: here the latents decide
            run.differs(f"{kind.name}, another picture than without: {title}", unweighted, theirs, noise, least=0)


def by_compel(kind, pipe, prompt, negative):
    """compel's tensors, over the pipeline's own encoders, as arguments of its call."""
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        made = (CompelForSDXL(pipe)(prompt, negative_prompt=negative) if kind is pictures.SDXL
                else CompelForSD(pipe)(prompt, negative or ""))
    found = dict(prompt_embeds=made.embeds, pooled_prompt_embeds=made.pooled_embeds,
                 negative_prompt_embeds=made.negative_embeds, negative_pooled_prompt_embeds=made.negative_pooled_embeds)
    return {name: value for name, value in found.items() if value is not None}
