"""test_python_prompts.py PLUGIN MODEL - penult.Pipeline with prompts that have weights, parts or several windows. Prints TAP.

Protects: what is told of tokens is what was computed. Each dialect's formula, written out here in NumPy with the same
roundings, is applied to penult.Session's states of the windows that the tokens tell, and has to give the same bits. How each
dialect reads signs and cuts windows has tests of its own (tests/condition); a few facts of each are asked for here too.
"""
import math
import sys

import numpy as np

from python_host import main, penult, raises, test
from python_pipeline import (CLIP_G, END, MODELS, OTHER, PROMPT, RECIPES, TOKENS, agree, body, expected, mask_of, negative_of,
                             pipeline, pooled, row, same_bits, states)

def long(tokens):
    """A text of about that many tokens, no less, which does not repeat itself from window to window."""
    colours, things, text, at = ("red", "blue", "grey", "black", "white"), ("cat", "dogs", "tree", "fish"), "", 0
    while len(body(text)) < tokens:
        text += f"{colours[at % 5]} {things[at % 4]} {at}" + (". " if at % 6 == 5 else "; " if at % 6 == 3 else ", ")
        at += 1
    return text


# ---- references -----------------------------------------------------------------------------------------------------

def windows_of(made, recipe, tower, negative=0):
    """Rows of ids and their weights, as the told tokens have them; checks that they stand where they say."""
    pad = 0 if recipe.towers[tower].pads_with_zero else END
    told = made.tokens[(made.tokens["tower"] == tower) & (made.tokens["negative"] == negative) & (made.tokens["chunk"] >= 0)]
    count = int(told["chunk"].max()) + 1 if len(told) else 1
    rows, weights = [], np.ones((count, TOKENS))
    for chunk in range(count):
        own = told[told["chunk"] == chunk]
        assert own["row"].tolist() == list(range(1, len(own) + 1))
        rows.append(row(own["id"], pad))
        weights[chunk, 1:len(own) + 1] = own["weight"]
    return rows, weights


def from_empty(z, weights, empty):
    """ComfyUI's, and compel's above 1: (z - z0) w + z0 for each token that has a weight."""
    out = z.copy()
    for at in np.flatnonzero(weights != 1):
        out[at] = (z[at] - empty[at]) * np.float32(weights[at]) + empty[at]
    return out


def mean(z):
    return np.float32(np.cumsum(z.ravel().astype(np.float64))[-1] / z.size)


def multiplied(z, weights, restores):
    """A1111's: z w, and then the mean that there was before."""
    if (weights == 1).all():
        return z
    out = z * weights.astype(np.float32)[:, None]
    return out * (mean(z) / mean(out)) if restores else out


def context_of(made, recipe, rule, negative=0):
    """prompt_embeds: rule(model, layer, pad, rows, weights) of each tower, side by side."""
    sides = []
    for index, tower in enumerate(recipe.towers):
        rows, weights = windows_of(made, recipe, index, negative)
        pad = 0 if tower.pads_with_zero else END
        sides.append(np.concatenate(rule(MODELS[tower.name], (tower.layer, tower.final_norm), pad, rows, weights)))
    return np.concatenate(sides, axis=1)[None]


def rule_a1111(restores):
    return lambda model, layer, pad, rows, weights: [
        multiplied(z, w, restores) for z, w in zip(states(model, rows, *layer), weights)]


def rule_comfyui(model, layer, pad, rows, weights):
    empty = states(model, [row([], pad)], *layer)[0]
    return [from_empty(z, w, empty) for z, w in zip(states(model, rows, *layer), weights)]


# ---- what is told ---------------------------------------------------------------------------------------------------

@test
def tokens_tell_where_they_came_from():
    prompt, second = "a (caf\u00e9:1.5) in \u6771\u4eac", "(two) dogs"
    with pipeline("sdxl@comfyui") as made_by:
        made = made_by.condition(prompt, negative="(grey:0.5)", prompt_2=second)
        assert made.tokens.dtype.names == ("id", "tower", "negative", "chunk", "row", "begin", "end", "weight")
        for tower, negative, text in ((0, 0, prompt), (0, 1, "(grey:0.5)"), (1, 0, second), (1, 1, "(grey:0.5)")):
            own = made.tokens[(made.tokens["tower"] == tower) & (made.tokens["negative"] == negative)]
            pieces = [(text.encode()[token["begin"]:token["end"]], token["weight"]) for token in own]
            said = {weight: b"".join(piece for piece, own in pieces if own == weight) for weight in {w for _, w in pieces}}
            assert said == {prompt: {1.0: "ain\u6771\u4eac".encode(), 1.5: "caf\u00e9".encode()},
                            second: {1.1: b"two", 1.0: b"dogs"}, "(grey:0.5)": {0.5: b"grey"}}[text], said
        order = list(zip(made.tokens["tower"].tolist(), made.tokens["negative"].tolist(), made.tokens["begin"].tolist()))
        assert order == sorted(order)
    with pipeline("sdxl") as made_by:  # what is cut off is told, with its bytes
        text = long(100)
        made, ids = made_by.condition(text), body(text)
        agree(made.tensors, expected(made_by.recipe, (text, text)))
        own = made.tokens[(made.tokens["tower"] == 1) & (made.tokens["negative"] == 0)]
        assert own["id"].tolist() == ids and (own["chunk"] == np.where(np.arange(len(ids)) < 75, 0, -1)).all()
        assert own["row"][:75].tolist() == list(range(1, 76)) and made.cut_count == 2 * (len(ids) - 75)
        assert text.encode()[own["begin"][0]:own["end"][-1]].decode() == text.rstrip()


@test
def a_plan_tells_what_condition_does():
    prompts = ("", PROMPT, long(300), "(a:1.2) [b] BREAK c", 'x("a cat", "a (red)0.5 dog").blend(1, 2)', "a cat-- and+ dog")
    for recipe in (RECIPES[name + "@diffusers"] for name in ("sd1", "sdxl", "flux", "kandinsky2.2-prior")):
        for dialect in ("plain", "a1111", "comfyui", "compel"):
            with pipeline(recipe.name, dialect=dialect, max_windows=24, split=dialect == "compel") as made_by:
                for prompt, negative in zip(prompts, (None, "", *prompts)):
                    plan, made = made_by.plan(prompt, negative), made_by.condition(prompt, negative)
                    assert plan.tokens.tolist() == made.tokens.tolist()
                    for name in ("chunks", "negative_chunks", "own_chunks", "negative_own_chunks", "cut_count",
                                 "negative_zero"):
                        assert getattr(plan, name) == getattr(made, name), name
                    wanted = [(w.tower, w.negative, w.chunk, w.layer, w.empty, w.masked, w.plain) for w in plan.windows]
                    assert wanted == [(w.tower, w.negative, w.chunk, w.layer, w.empty, w.masked, w.plain) for w in made.windows]
                    assert not any(window.cached for window in plan.windows)
                    assert sum(window.cached for window in made.windows) == made.cached_count
                    for name, array in made.tensors.items():
                        if name.endswith("prompt_embeds") and "pooled" not in name:
                            chunks = plan.negative_chunks if name.startswith("negative") else plan.chunks
                            assert array.shape[1] == TOKENS * chunks


# ---- long prompts ---------------------------------------------------------------------------------------------------

@test
def a1111_fills_the_shorter_up():
    recipe = RECIPES["sdxl@a1111"]
    with pipeline(recipe.name) as made_by:
        for prompt, negative in ((long(190), OTHER), (OTHER, long(190)), (long(100), long(190))):
            made = made_by.condition(prompt, negative)
            assert made.chunks == made.negative_chunks == 3
            for side, tensors in enumerate((made.tensors, negative_of(made))):
                own = (made.own_chunks, made.negative_own_chunks)[side]
                bodies = []
                for chunk in range(3):
                    mine = (made.tokens["tower"] == 0) & (made.tokens["negative"] == side) & (made.tokens["chunk"] == chunk)
                    bodies.append(made.tokens["id"][mine].tolist())
                assert [bool(ids) for ids in bodies] == [True] * own + [False] * (3 - own)
                agree(tensors, expected(recipe, None, chunks=(bodies, bodies)))  # pooled of the first window among them
                assert sum(bodies, []) == body((prompt, negative)[side])  # nothing is lost
            assert made.cut_count == 0
        # A window ends behind a comma, if there is one near its end.
        made = made_by.condition("cat " * (70 // len(body("cat"))) + ", " + "dog " * 20)
        last = made.tokens[(made.tokens["tower"] == 0) & (made.tokens["chunk"] == 0) & (made.tokens["negative"] == 0)]["id"]
        assert made.chunks == 2 and [int(last[-1])] == body(",")
        made = made_by.condition("a cat BREAK a dog")
        agree(made.tensors, expected(recipe, None, chunks=([body("a cat"), body("a dog")],) * 2))
        made = made_by.condition("BREAK BREAK", negative="x")
        agree(made.tensors, expected(recipe, None, chunks=([[], []],) * 2))
        assert made.own_chunks == 2 and made.negative_chunks == 2
        # The negative that is empty is zeros of the positive's length.
        made = made_by.condition(long(100), "")
        assert made.negative_chunks == 2 and made.tensors["negative_prompt_embeds"].shape[1] == 154
        assert not made.tensors["negative_prompt_embeds"].any() and not made.tensors["negative_pooled_prompt_embeds"].any()


@test
def comfyui_repeats_both():
    recipe = RECIPES["sdxl@comfyui"]
    with pipeline(recipe.name, max_windows=16) as made_by:
        for texts, chunks in (((long(140), long(190)), (6, 6)), ((long(140), OTHER), (2, 2)), ((OTHER, long(260)), (4, 4)),
                              ((long(330), OTHER), (5, 1))):
            made = made_by.condition(*texts)
            assert (made.chunks, made.negative_chunks) == chunks, (made.chunks, made.negative_chunks)
            for side, name in enumerate(("prompt_embeds", "negative_prompt_embeds")):
                own = context_of(made, recipe, rule_comfyui, side)
                assert own.shape[1] == TOKENS * (made.own_chunks, made.negative_own_chunks)[side]
                agree(made.tensors, {name: np.tile(own, (1, chunks[side] * TOKENS // own.shape[1], 1))})
                first = windows_of(made, recipe, 1, side)[0][0]
                agree(made.tensors, {name.replace("prompt", "pooled_prompt"): pooled(CLIP_G, first, "projected")})
        # A tower whose prompt is shorter is filled up with the empty prompt's windows.
        made = made_by.condition(PROMPT, prompt_2=long(100), negative=OTHER)
        assert made.own_chunks == made.chunks == 2
        agree({"left": made.tensors["prompt_embeds"][:, :, :128]},
              {"left": np.concatenate(states(MODELS["clip_l"], [row(body(PROMPT), END), row([], END)], -2))[None]})


@test
def an_empty_second_prompt_is_absent_in_diffusers_alone():
    for recipe, dialect, falls_back in (("sdxl", None, True), ("sdxl", "compel", True), ("sdxl@comfyui", None, False)):
        with pipeline(recipe, dialect=dialect) as made_by:
            first, empty = made_by.condition(PROMPT), made_by.condition(PROMPT, prompt_2="")
            for name in ("prompt_embeds", "pooled_prompt_embeds"):
                same = first.tensors[name].tobytes() == empty.tensors[name].tobytes()
                assert same == falls_back, f"{recipe}, {dialect}: {name}"


@test
def compel_splits_if_asked():
    text = long(190)
    with pipeline("sd1", dialect="compel") as cut, pipeline("sd1", dialect="compel", split=True) as split:
        made = cut.condition(text)
        agree(made.tensors, expected(cut.recipe, (text,)))
        assert made.cut_count == len(body(text)) - 75
        made = split.condition(text, negative=OTHER)
        rows, _ = windows_of(made, split.recipe, 0)
        assert made.cut_count == 0 and made.chunks == made.negative_chunks == len(rows) >= 3
        z = states(MODELS["clip_l"], rows, -1, True)
        agree(made.tensors, {"prompt_embeds": z.reshape(1, -1, z.shape[2])})
        filled = states(MODELS["clip_l"], [row(body(OTHER), END)] + [row([], END)] * (len(rows) - 1), -1, True)
        agree(made.tensors, {"negative_prompt_embeds": filled.reshape(1, -1, z.shape[2])})
        assert all(ids[ids.index(END) - 1] in body(".") for ids in rows[:-1])  # behind a full stop
    with pipeline("sdxl@compel") as whole:
        assert whole.condition(text).cut_count == 0


# ---- weights --------------------------------------------------------------------------------------------------------

@test
def a1111_multiplies():
    recipe = RECIPES["sdxl@a1111"]
    prompt, negative = "a (red:1.3) cat, [grey] " + long(90), "((dog))"
    plain = pipeline(recipe.name, emphasis="ignore").condition(prompt, negative)
    assert (plain.tokens["weight"] == 1).all()
    agree(plain.tensors, {"prompt_embeds": context_of(plain, recipe, rule_a1111(False))})
    for emphasis in ("original", "no_norm"):
        with pipeline(recipe.name, emphasis=emphasis) as made_by:
            for _ in range(2):  # also from the cache
                made = made_by.condition(prompt, negative)
                rule = rule_a1111(emphasis == "original")
                agree(made.tensors, {"prompt_embeds": context_of(made, recipe, rule)})
                fills = np.ones((1, 2 * TOKENS, 1))
                assert made.chunks == made.negative_chunks == fills.shape[1] // TOKENS
                agree({"head": made.tensors["negative_prompt_embeds"][:, :TOKENS]}, {"head": context_of(made, recipe, rule, 1)})
                for name in ("pooled_prompt_embeds", "negative_pooled_prompt_embeds", "vector"):
                    agree(made.tensors, {name: plain.tensors[name]})  # weights have no part in what is pooled
            if emphasis == "no_norm":  # tokens without a weight are as they were
                _, weights = windows_of(made, recipe, 0)
                same = (made.tensors["prompt_embeds"] == plain.tensors["prompt_embeds"])[0].all(axis=1)
                assert same.tolist() == (weights.ravel() == 1).tolist() and 0 < same.sum() < same.size
    weights = sorted(set(made.tokens["weight"].tolist()))
    assert np.allclose(weights, [1 / 1.1, 1, 1.1 ** 2, 1.3], rtol=1e-12)
    with pipeline(recipe.name, emphasis="none") as made_by:  # brackets are text
        agree(made_by.condition("a (red:1.3) cat").tensors, expected(recipe, ("a (red:1.3) cat",) * 2))


@test
def comfyui_counts_from_the_empty_prompt():
    recipe = RECIPES["sdxl@comfyui"]
    with pipeline(recipe.name) as made_by:
        plain = made_by.condition("a red cat, 8k", "dog")
        for _ in range(2):
            made = made_by.condition("a (red:1.3) cat, (8k:-0.5)", "(dog:0)")
            agree(made.tensors, {"prompt_embeds": context_of(made, recipe, rule_comfyui),
                                 "negative_prompt_embeds": context_of(made, recipe, rule_comfyui, 1)})
            agree(made.tensors, {name: plain.tensors[name] for name in ("pooled_prompt_embeds", "vector", "negative_vector")})
        _, weights = windows_of(made, recipe, 0)
        same = (made.tensors["prompt_embeds"] == plain.tensors["prompt_embeds"])[0].all(axis=1)
        assert same.tolist() == (weights[0] == 1).tolist() and 0 < (~same).sum() < 8
        # a weight of 0 leaves the empty prompt's states
        _, weights = windows_of(made, recipe, 0, 1)
        nothing = made_by.condition("", tensors="prompt_embeds").tensors["prompt_embeds"][0]
        at = np.flatnonzero(weights[0] == 0)
        assert len(at) and np.array_equal(made.tensors["negative_prompt_embeds"][0][at], nothing[at])


def compel_part(model, layer, pad, ids, weights, fragments):
    """One part of one window: weighted from the empty prompt, mixed with what does not see each fragment below 1."""
    empty = states(model, [row([], pad)], *layer)[0]
    shares, made = [np.float32(1)], [from_empty(states(model, [ids], *layer)[0], weights, empty)]
    for fragment in fragments:
        mask = np.ones(TOKENS, np.uint8)
        mask[fragment] = 0
        made.append(from_empty(states(model, [ids], *layer, masks=[mask])[0], weights, empty))
        shares.append(np.float32(math.tan((1.0 - max(weights[fragment[0]], 1e-5)) * 3.141592653589793 / 2)))
    return mixed(made, shares, True) if fragments else made[0]


def mixed(parts, shares, normalised):
    shares = np.array(shares, np.float32)
    if normalised:
        total = np.float32(0)
        for share in shares:
            total += share
        shares = shares / total
    out = parts[0] * shares[0]
    for part, share in zip(parts[1:], shares[1:]):
        out = out + part * share
    return out


@test
def compel_hides_what_counts_less():
    recipe = RECIPES["sdxl@compel"]
    with pipeline(recipe.name, max_windows=16) as made_by:
        def check(prompt, fragments, told):
            for _ in range(2):
                made = made_by.condition(prompt, negative="")
                sides = []
                for index, tower in enumerate(recipe.towers):
                    rows, weights = windows_of(made, recipe, index)
                    below = [np.flatnonzero(weights[0] == weight).tolist() for weight in fragments]
                    assert all(below) and np.allclose(sorted(set(weights[0].tolist())), told, rtol=1e-6), set(weights[0])
                    sides.append(compel_part(MODELS[tower.name], (tower.layer, tower.final_norm),
                                             0 if tower.pads_with_zero else END, rows[0], weights[0], below))
                agree(made.tensors, {"prompt_embeds": np.concatenate(sides, axis=1)[None]})
                # pooled of the prompt as typed, signs and all
                agree(made.tensors, {"pooled_prompt_embeds": pooled(CLIP_G, row(body(prompt), 0), "projected")})
                assert sum(window.masked for window in made.windows) == 2 * len(fragments)

        check("a red++ cat", [], [1, 1.21])
        check("a red+ (blue and)1.5 cat", [], [1, 1.1, 1.5])
        check("a (red)0.5 cat", [0.5], [0.5, 1])
        check("a (red)0.5 cat (dog)0.25 tree", [0.5, 0.25], [0.25, 0.5, 1])
        check("a (red)0 cat", [0], [0, 1])


@test
def compel_joins_parts():
    recipe, texts = RECIPES["sdxl@compel"], ("a red cat", "dogs")
    with pipeline(recipe.name, max_windows=16) as made_by:
        parts = [expected(recipe, (text, text))["prompt_embeds"] for text in texts]
        empty = expected(recipe, ("", ""))["prompt_embeds"]
        for signs, shares, normalised in (("blend(0.7, 0.2)", (0.7, 0.2), True), ("blend(1, 1)", (1, 1), True),
                                          ("blend(1, -0.5, no_normalize)", (1, -0.5), False)):
            prompt = f'("{texts[0]}", "{texts[1]}").{signs}'
            for _ in range(2):
                made = made_by.condition(prompt)
                assert made.chunks == 1
                agree(made.tensors, {"prompt_embeds": mixed(parts, shares, normalised)})
                agree(made.tensors, {"pooled_prompt_embeds": pooled(CLIP_G, row(body(prompt), 0), "projected")})
        prompt = f'("{texts[0]}", "{texts[1]}").and(1, 0.5)'
        made = made_by.condition(prompt, negative=OTHER)
        weighted = from_empty(parts[1][0], np.full(TOKENS, 0.5), empty[0])[None]
        assert made.chunks == made.negative_chunks == 2
        agree(made.tensors, {"prompt_embeds": np.concatenate((parts[0], weighted), axis=1)})
        agree(made.tensors, {"negative_prompt_embeds": np.concatenate(
            (expected(recipe, (OTHER, OTHER))["prompt_embeds"], empty), axis=1)})
        # A blend of one window and two: the shorter is filled up.
        longer = long(100)
        made = made_by.condition(f'("{texts[0]}", "{longer}").blend(1, 1)')
        assert made.chunks == 2
        half = made_by.condition(longer).tensors["prompt_embeds"]
        agree(made.tensors, {"prompt_embeds": mixed([np.concatenate((parts[0], empty), axis=1), half], (1, 1), True)})


# ---- refusals -------------------------------------------------------------------------------------------------------

@test
def what_a_host_refuses_is_refused():
    outputs = {"prompt_embeds": np.full((1, TOKENS, 256), -7, np.float32)}
    for dialect, prompt, name, *words in (("a1111", "(a:1.2.3)", "FORMAT", "1.2.3"),
                                          ("compel", '("a", "b").blend(1)', "FORMAT"),
                                          ("compel", "a cat.swap(dog)", "UNSUPPORTED")):
        with pipeline("sdxl", dialect=dialect) as made_by:
            for negative in (False, True):
                texts = (PROMPT, prompt) if negative else (prompt, PROMPT)
                words = ("negative: ", *words) if negative else words
                try:
                    raises(penult.PenultError, lambda: made_by.condition(*texts, outputs=outputs), *words, name=name)
                    raises(penult.PenultError, lambda: made_by.plan(*texts), *words, name=name)
                except AssertionError as error:
                    raise AssertionError(f"{dialect} {prompt}") from error
    with pipeline("sdxl@comfyui") as made_by:
        right = made_by.condition(PROMPT).tensors
        for weight in ("1e999", "-1e999", "nan", "inf", "1e38"):
            raises(penult.PenultError, lambda: made_by.condition(f"(a:{weight})"), "prompt_embeds", name="NON_FINITE")
            raises(penult.PenultError, lambda: made_by.condition("a", f"(a:{weight})"), "negative_prompt_embeds",
                   name="NON_FINITE")
            assert made_by.plan(f"(a:{weight})").chunks == 1
        same_bits(made_by.condition(PROMPT).tensors, right)
        only = made_by.condition("(a:nan)", tensors="pooled_prompt_embeds")  # which has no weight in it
        assert np.isfinite(only.tensors["pooled_prompt_embeds"]).all()
    assert (outputs["prompt_embeds"] == -7).all()


@test
def windows_have_a_limit():
    text = long(190)
    with pipeline("sdxl@a1111", max_windows=5) as five, pipeline("sdxl@a1111", max_windows=4) as four:
        right = five.condition(text, OTHER)  # three windows, one, and the empty prompt's to fill it up
        assert [sum(window.tower == tower for window in right.windows) for tower in (0, 1)] == [5, 5]
        outputs = {name: np.full_like(array, -7) for name, array in right.tensors.items()}
        for call in (four.plan, lambda *texts: four.condition(*texts, outputs=outputs)):
            raises(penult.PenultError, lambda: call(text, OTHER), "clip_l", "max_windows", "4", name="LIMIT")
            raises(penult.PenultError, lambda: call(long(320)), "the prompt", "max_windows 4", name="LIMIT")
            raises(penult.PenultError, lambda: call("a", long(320)), "negative", "max_windows 4", name="LIMIT")
        assert all((array == -7).all() for array in outputs.values())
        same_bits(five.condition(text, OTHER, outputs=outputs).tensors, right.tensors)
        assert four.condition(text, "").chunks == 3  # zeros take no window
    with pipeline("sdxl", max_text_bytes=8) as short:
        raises(penult.PenultError, lambda: short.condition("nine byte"), "prompt", "9", "8", name="LIMIT")
        raises(penult.PenultError, lambda: short.condition("a", "nine byte"), "negative", name="LIMIT")
        raises(penult.PenultError, lambda: short.condition("a", prompt_2="nine byte"), "prompt_2", name="LIMIT")
        assert short.condition("8 bytes!").chunks == 1


@test
def brackets_by_the_hundred_thousand():
    count = 200000
    texts = ["(" * count, ")" * count, "[" * count, "(a" * (count // 2), "(" * (count // 2) + "a" + ")" * (count // 2),
             "a" + "+" * count, "\\(" * (count // 2), "(:1.1)" * (count // 6), '("a",' * (count // 5),
             "BREAK " * (count // 6), "a:" * (count // 2)]
    for dialect in ("plain", "a1111", "comfyui", "compel"):
        with pipeline("sd1", dialect=dialect, max_text_bytes=2**20, max_windows=2) as made_by:
            done = 0
            for text in texts:
                try:
                    made = made_by.condition(text)
                    assert made.chunks >= 1 and np.isfinite(made.tensors["prompt_embeds"]).all()
                    done += 1
                except penult.PenultError as error:
                    assert error.name in ("LIMIT", "FORMAT", "NON_FINITE", "UNSUPPORTED"), (dialect, text[:20], error)
            assert dialect != "plain" or done == len(texts)
            assert made_by.condition(PROMPT).chunks == 1


if __name__ == "__main__":
    sys.exit(main())
