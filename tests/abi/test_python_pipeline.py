"""test_python_pipeline.py PLUGIN MODEL - penult.Pipeline on the real plugin: tensors by recipe, rules and arrays. Prints TAP.

Protects hosts that sample from these tensors: each has the bits that penult.Session gives for the rows that the recipe's row
of the table says, also in another dtype or inside a larger array; and every refusal leaves the caller's arrays alone. Prompts
with weights or of several windows are test_python_prompts.py's. Needs NumPy only.
"""
import json
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

from python_host import LIBRARY, MODEL, main, opened, penult, raises, test
from python_pipeline import (CLIP_G, CLIP_L, MODELS, OTHER, PROMPT, RECIPES, TOKENS, agree, expected, negative_of, pipeline,
                             same_bits)


# ---- recipes --------------------------------------------------------------------------------------------------------

@test
def the_table_can_be_read():
    assert len(RECIPES) == 13 and "sdxl@diffusers" in RECIPES
    for recipe in RECIPES.values():
        assert recipe.name.startswith(recipe.alias + "@") if recipe.alias else recipe.name.startswith("sdxl@")
        assert recipe.source and recipe.dialect in ("plain", "a1111", "comfyui", "compel")
        assert recipe.unconditional in ("encodes", "zero_if_absent", "zero_if_empty", "zero_always", "none")
        assert recipe.skip in ("none", "more", "layer", "index") and recipe.time_ids in (0, 5, 6)
        for tower in recipe.towers:
            assert tower.name in MODELS and (tower.layer is None or tower.layer in (-1, -2))
            assert tower.pooled in ("none", "raw", "projected", "projected_if_any")
            assert tower.skips in ("never", "always", "if_asked") and (tower.skips == "never" or recipe.skip != "none")
    assert [(tower.name, tower.layer, tower.final_norm, tower.pooled, tower.pads_with_zero, tower.second_prompt)
            for tower in RECIPES["sdxl@diffusers"].towers] == [("clip_l", -2, False, "none", False, False),
                                                               ("clip_g", -2, False, "projected", True, True)]


@test
def every_recipe_gives_what_its_row_says():
    for recipe in RECIPES.values():
        for name in filter(None, (recipe.name, recipe.alias)):
            with pipeline(name) as opened_as:
                assert opened_as.recipe == recipe and opened_as.info.recipe == recipe.name
                assert opened_as.info.dialect == recipe.dialect and opened_as.info.tokens == TOKENS
        with pipeline(recipe.name) as made_by:
            made = made_by.condition(PROMPT, negative=OTHER, prompt_2="a dog", negative_2="grey")
            texts = (PROMPT, "a dog"), (OTHER, "grey")
            agree(made.tensors, expected(recipe, texts[0]))
            if recipe.unconditional != "zero_always":
                agree(negative_of(made), expected(recipe, texts[1]))
            assert {name: array.shape for name, array in made.tensors.items()} == made_by.tensors()
            assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in made.tensors.values())
            wide = made_by.tensors(3)
            assert all(wide[name][1] == 3 * shape[1] if name.endswith(("prompt_embeds", "text_mask")) and "pooled" not in name
                       else wide[name] == shape for name, shape in made_by.tensors().items())
            widths = [made_by.tensors().get(name, (0,))[-1] for name in ("prompt_embeds", "pooled_prompt_embeds", "vector")]
            info = made_by.info
            assert widths == [info.context_width, info.pooled_width, info.vector_width]
            assert ("add_time_ids" in made.tensors) == (recipe.time_ids > 0)
            assert made.blocks_run == sum(max(
                0 if tower.layer is None else CLIP_G.info.layers + 1 + tower.layer,
                0 if tower.pooled == "none" else CLIP_G.info.layers) for tower in recipe.towers)


@test
def models_find_their_towers():
    raises(penult.PenultError, lambda: penult.Pipeline("sd1", [CLIP_L]), '"text"', "clip_l", name="MISMATCH")
    raises(penult.PenultError, lambda: penult.Pipeline("sdxl", {"clip_l": CLIP_L}), "found 1", "2 towers", name="ARGUMENT")
    raises(penult.PenultError, lambda: penult.Pipeline("sdxl", {"clip_l": CLIP_L, "t5": CLIP_G}), '"t5"', name="MISMATCH")
    raises(penult.PenultError, lambda: pipeline().__class__("sdxl9", {"clip_l": CLIP_L}), "sdxl9", name="NOT_FOUND")
    raises(ValueError, lambda: penult.Pipeline("sd1", {}), "no models")
    raises(penult.PenultError, lambda: penult.Pipeline("sd1", {"clip_l": CLIP_L}, dialect="novel"), "novel", name="NOT_FOUND")
    raises(ValueError, lambda: pipeline(emphasis="shout"), "shout", "no_norm")
    raises(ValueError, lambda: pipeline(kernels="mmx"), "mmx")
    raises(ValueError, lambda: pipeline(max_windows=-1), "max_windows")
    raises(penult.PenultError, lambda: pipeline(max_windows=1025), "1025", name="LIMIT")
    raises(penult.PenultError, lambda: pipeline(emphasis="ignore"), "a1111", name="ARGUMENT")
    with penult.Model(None, tokenizer=MODEL, library=LIBRARY) as alone:
        raises(penult.PenultError, lambda: penult.Pipeline("sd1", {"clip_l": alone}), "tokenizer alone", name="ARGUMENT")
    closed = opened()
    closed.close()
    raises(ValueError, lambda: penult.Pipeline("sd1", {"clip_l": closed}), "closed")
    # In the order of names or not; a file that says itself which tower it has needs no name at all.
    swapped = penult.Pipeline("sdxl", {"clip_g": CLIP_G, "clip_l": CLIP_L}).condition(PROMPT)
    same_bits(swapped.tensors, pipeline().condition(PROMPT).tensors)
    with tempfile.TemporaryDirectory() as folder:
        whole = (Path(MODEL) / "model.safetensors").read_bytes()
        size = struct.unpack("<Q", whole[:8])[0]
        header = {name if name == "__metadata__" else "conditioner.embedders.0.transformer." + name: value
                  for name, value in json.loads(whole[8:8 + size]).items() if name != "text_projection.weight"}
        data = whole[8 + size:]
        end = max(value["data_offsets"][1] for name, value in header.items() if name != "__metadata__")
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        path = Path(folder) / "sdxl.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[:end])
        with penult.Model(path, tokenizer=MODEL, library=LIBRARY, activation="quick_gelu", heads=2) as named:
            assert named.info.tower == "clip_l"
            agree(penult.Pipeline("sd1", [named]).condition(PROMPT).tensors, expected(RECIPES["sd1@diffusers"], [PROMPT]))


# ---- sizes ----------------------------------------------------------------------------------------------------------

def sinusoids(numbers):
    """spec.md 7.3: for each number 128 cosines, then 128 sines, in float32 but for the functions themselves."""
    exponents = -np.float32(9.210340371976184) * np.arange(128, dtype=np.float32) / np.float32(128)
    angles = [np.float32(number) * np.exp(exponents.astype(np.float64)).astype(np.float32) for number in numbers]
    return np.concatenate([f(angle.astype(np.float64)) for angle in angles for f in (np.cos, np.sin)]).astype(np.float32)


@test
def vectors_are_pooled_and_sinusoids():
    def sizes_of(made, *wanted, vector="vector", ids="add_time_ids", pooled="pooled_prompt_embeds"):
        assert made.tensors[ids].tolist() == [list(wanted)]
        assert np.array_equal(made.tensors[vector][0, :-256 * len(wanted)], made.tensors[pooled][0])
        # cos and sin of the C library and of NumPy: one unit in the last place of 1 at most
        assert np.abs(made.tensors[vector][0, -256 * len(wanted):] - sinusoids(wanted)).max() < 1.2e-7

    def negative_sizes_of(made, *wanted):
        sizes_of(made, *wanted, vector="negative_vector", ids="negative_add_time_ids", pooled="negative_pooled_prompt_embeds")

    with pipeline() as base:
        sizes_of(base.condition(PROMPT), 1024, 1024, 0, 0, 1024, 1024)
        sizes_of(base.condition(PROMPT, target_size=(512, 768)), 512, 768, 0, 0, 512, 768)
        sizes_of(base.condition(PROMPT, original_size=(512, 768)), 512, 768, 0, 0, 512, 768)
        made = base.condition(PROMPT, negative=OTHER, original_size=(1, 2), crop=(3, 4), target_size=(5, 6))
        sizes_of(made, 1, 2, 3, 4, 5, 6)
        negative_sizes_of(made, 1, 2, 3, 4, 5, 6)
        made = base.condition(PROMPT, original_size=(1, 2), crop=(3, 4), target_size=(5, 6), negative_crop=(7, 8))
        sizes_of(made, 1, 2, 3, 4, 5, 6)
        negative_sizes_of(made, 1, 2, 7, 8, 5, 6)
        negative_sizes_of(base.condition(PROMPT, negative_original_size=(9, 10), negative_target_size=(11, 12)),
                          9, 10, 0, 0, 11, 12)
        # spec.md's own values
        vector = base.condition(PROMPT, original_size=(512, 1024), target_size=(6, 6)).tensors["vector"][0, -6 * 256:]
        assert np.allclose(vector[[0, 1, 2, 64, 127]], [-0.996833, 0.480827, -0.917452, 0.396417, 0.998487], atol=2e-4)
        assert np.allclose(vector[384:][[0, 1, 2, 64, 127]], [-0.158533, -0.843193, 0.730012, -0.727878, 0.109818], atol=2e-4)
        raises(ValueError, lambda: base.condition(PROMPT, crop=(1, 2, 3)), "crop", "two")
        raises(ValueError, lambda: base.condition(PROMPT, crop=(-1, 2)), "crop", "-1")
        raises(ValueError, lambda: base.condition(PROMPT, negative_target_size=(1, 2**32)), "negative_target_size")
    with pipeline("sdxl-refiner") as refiner:
        made = refiner.condition(PROMPT, original_size=(1, 2), crop=(3, 4))
        sizes_of(made, 1, 2, 3, 4, 6)
        negative_sizes_of(made, 1, 2, 3, 4, 2.5)
        made = refiner.condition(PROMPT, original_size=(1, 2), aesthetic_score=7.5, negative_aesthetic_score=1.25)
        sizes_of(made, 1, 2, 0, 0, 7.5)
        negative_sizes_of(made, 1, 2, 0, 0, 1.25)
        raises(penult.PenultError, lambda: refiner.condition(PROMPT, aesthetic_score=float("nan")), "a NaN",
               name="NON_FINITE")
    with pipeline("sd1") as plain:
        raises(penult.PenultError, lambda: plain.condition(PROMPT, crop=(1, 0)), "add_time_ids", name="ARGUMENT")
        raises(penult.PenultError, lambda: plain.condition(PROMPT, negative_crop=(1, 0)), "add_time_ids", name="ARGUMENT")


# ---- the negative prompt --------------------------------------------------------------------------------------------

@test
def the_unconditional_is_the_recipes():
    zeros = {"encodes": (0, 0, 0), "zero_if_absent": (1, 0, 0), "zero_if_empty": (1, 1, 0), "zero_always": (1, 1, 1)}
    seen = set()
    for recipe in RECIPES.values():
        if recipe.unconditional == "none":
            continue
        seen.add(recipe.unconditional)
        with pipeline(recipe.name) as made_by:
            for is_zero, negative in zip(zeros[recipe.unconditional], (None, "", OTHER)):
                made = made_by.condition(PROMPT, negative=negative)
                wanted = expected(recipe, (negative or "",) * 2)
                if is_zero:
                    wanted = {name: np.zeros_like(array) for name, array in wanted.items()}
                agree(negative_of(made), wanted)
                agree(made.tensors, expected(recipe, (PROMPT,) * 2))
                assert made.negative_zero == is_zero and made.negative_chunks == 1
                assert any(window.negative for window in made.windows) != is_zero
                if recipe.time_ids:  # sizes stay, whatever becomes of the text
                    assert np.array_equal(made.tensors["vector"][0, -1280:], made.tensors["negative_vector"][0, -1280:]) == (
                        recipe.time_ids == 6)
    assert seen == set(zeros)
    with pipeline("sdxl") as base:  # a second negative alone: diffusers asks for the first, and finds none
        assert base.condition(PROMPT, negative_2="grey").negative_zero
        agree(negative_of(base.condition(PROMPT, negative="", negative_2="grey")), expected(base.recipe, ("", "grey")))
    with pipeline("flux") as flux:
        made = flux.condition(PROMPT)
        assert list(made.tensors) == ["pooled_prompt_embeds"] and made.negative_chunks == 0 and not made.negative_zero
        raises(penult.PenultError, lambda: flux.condition(PROMPT, tensors="negative_pooled_prompt_embeds"),
               "negative_pooled_prompt_embeds", "negative prompt", name="ARGUMENT")
        agree(negative_of(flux.condition(PROMPT, negative="")), expected(flux.recipe, ("", "")))


@test
def clip_skip_counts_as_the_host_does():
    def layers(name, skip, positive, negative, **options):
        with pipeline(name, **options) as made_by:
            made = made_by.condition(PROMPT, negative=OTHER, clip_skip=skip)
            agree(made.tensors, expected(made_by.recipe, (PROMPT,) * 2, positive))
            agree(negative_of(made), expected(made_by.recipe, (OTHER,) * 2, negative))

    layers("sd1", 0, [(-1, True)], [(-1, True)])
    layers("sd1", 1, [(-2, True)], [(-1, True)])
    layers("sd2", 2, [(-4, True)], [(-2, True)])
    layers("sdxl", 1, [(-3, False)] * 2, [(-2, False)] * 2)
    layers("sd3", 2, [(-4, False)] * 2, [(-2, False)] * 2)
    layers("sdxl-refiner", 1, [(-3, False)], [(-2, False)])
    layers("sdxl@comfyui", -1, [(-1, False)] * 2, [(-1, False)] * 2)
    layers("sdxl@comfyui", -4, [(-4, False)] * 2, [(-4, False)] * 2)
    layers("sdxl@a1111", 3, [(-2, False)] * 2, [(-2, False)] * 2)
    for skip in (1, 3):  # only one of a1111's towers moves, and only if its option is on
        layers("sdxl@a1111", skip, [(-skip, False), (-2, False)], [(-skip, False), (-2, False)], skip_all=True)
    for name, skip in (("sd1", -1), ("sd1", 4), ("sdxl", 3), ("sdxl@comfyui", 0), ("sdxl@comfyui", -5),
                       ("sdxl@a1111", 0), ("sdxl@a1111", 5), ("sd1", -2**31), ("sdxl@comfyui", 2**31 - 1)):
        with pipeline(name) as made_by:
            raises(penult.PenultError, lambda: made_by.condition(PROMPT, clip_skip=skip), f"clip skip {skip}", name="ARGUMENT")
    for name in ("sdxl@sgm", "sdxl@compel", "flux", "cascade-prior", "kandinsky2.2-prior"):
        with pipeline(name) as made_by:
            raises(penult.PenultError, lambda: made_by.condition(PROMPT, clip_skip=1), "clip skip", name="UNSUPPORTED")
    with pipeline("sd1") as made_by:
        raises(ValueError, lambda: made_by.condition(PROMPT, clip_skip=2**31), "clip_skip")


# ---- arrays ---------------------------------------------------------------------------------------------------------

@test
def dtypes_are_the_rounded_float32():
    for name in ("sdxl", "sdxl@a1111", "sd3", "kandinsky2.2-prior"):
        with pipeline(name) as made_by:
            exact = made_by.condition("a (grey:1.3) cat", negative="dog", dtype="float32").tensors
            for cached in (False, True):
                with pipeline(name) as other:
                    for _ in range(1 + cached):
                        half = other.condition("a (grey:1.3) cat", negative="dog", dtype="float16").tensors
                        brain = other.condition("a (grey:1.3) cat", negative="dog", dtype="bfloat16").tensors
                assert list(half) == list(brain) == list(exact)
                for key, array in exact.items():
                    assert half[key].dtype == np.float16 and np.array_equal(half[key], array.astype(np.float16)), key
                    bits = array.view(np.uint32).astype(np.uint64)
                    nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
                    assert brain[key].dtype == np.uint16 and np.array_equal(brain[key], nearest), key
            raises(ValueError, lambda: made_by.condition("x", dtype="float64"), "float64")
    with pipeline() as base:  # the size is a number, but not one that float16 has
        raises(penult.PenultError, lambda: base.condition("x", target_size=(65520, 1), dtype="float16", tensors="add_time_ids"),
               "add_time_ids", name="NON_FINITE")


@test
def outputs_go_into_views():
    for name in ("sdxl", "sd3", "sdxl@comfyui", "kandinsky2.2-prior"):
        with pipeline(name) as made_by:
            for prompt in (PROMPT, "a (grey:1.3) cat"):
                right = made_by.condition(prompt, negative=OTHER).tensors
                whole, views = {}, {}
                for key, array in right.items():
                    if array.ndim == 3:  # every second token of one of two prompts, between other columns
                        whole[key] = np.full((2, 2 * array.shape[1], array.shape[2] + 5), -7, np.float32)
                        views[key] = whole[key][1:, 1::2, 2:-3]
                    else:
                        whole[key] = np.full((3, array.shape[1] + 5), -7, np.float32)
                        views[key] = whole[key][1:2, 2:-3]
                with pipeline(name) as fresh:
                    for _ in range(2):  # straight from the towers, then from the cache
                        made = fresh.condition(prompt, negative=OTHER, outputs=views)
                        same_bits(made.tensors, right)
                        assert all(made.tensors[key] is views[key] for key in views)
                        for key, array in whole.items():
                            assert (array == -7).sum() == array.size - views[key].size, key


@test
def outputs_that_cannot_be_written():
    with pipeline() as base:
        right = {name: np.full(shape, -7, np.float32) for name, shape in base.tensors().items()}
        wrong = right["prompt_embeds"]

        def fails(array, *words, kind=ValueError):
            raises(kind, lambda: base.condition(PROMPT, outputs={**right, "prompt_embeds": array}), "prompt_embeds", *words)

        fails(wrong[:, :76], "shape", "[1, 77, 256]")
        fails(np.zeros((1, 154, 256), np.float32), "[1, 154, 256]")
        fails(wrong.astype(np.float64), "float64")
        fails(wrong[:, :, ::-1], "contiguous")
        fails(np.broadcast_to(wrong[:, :1], wrong.shape), "read-only")
        fails(wrong.tolist(), "list", kind=TypeError)
        raises(ValueError, lambda: base.condition(PROMPT, outputs={"text_mask": wrong}), "text_mask", "sdxl@diffusers",
               "vector")
        raises(ValueError, lambda: base.condition(PROMPT, tensors=["promt_embeds"]), "promt_embeds")
        raises(TypeError, lambda: base.condition(PROMPT, tensors="vector", outputs=right), "outputs")
        raises(penult.PenultError, lambda: base.condition(PROMPT, tensors=()), "nothing", name="ARGUMENT")
        for error, call in (("TEXT", lambda: base.condition(b"a\xff", outputs=right)),
                            ("TEXT", lambda: base.condition(PROMPT, negative="\ud800", outputs=right)),
                            ("LIMIT", lambda: base.condition("a" * 65537, outputs=right)),
                            ("ARGUMENT", lambda: base.condition(PROMPT, clip_skip=9, outputs=right))):
            raises(penult.PenultError, call, name=error)
            assert all((array == -7).all() for array in right.values()), error
        only = base.condition(PROMPT, tensors=["vector"])
        assert list(only.tensors) == ["vector"] and [window.tower for window in only.windows] == [1]
        one = base.condition(PROMPT, tensors="prompt_embeds")
        assert list(one.tensors) == ["prompt_embeds"] and not any(window.negative for window in one.windows)
        same_bits(base.condition(PROMPT, outputs=right).tensors, base.condition(PROMPT).tensors)


if __name__ == "__main__":
    sys.exit(main())
