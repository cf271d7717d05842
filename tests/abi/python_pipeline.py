"""python_pipeline.py - what the tests of penult.Pipeline share: two towers that differ, and what penult.Session, which has
tests of its own, makes of rows of ids. Knows no dialect and no recipe by name."""
import numpy as np

from python_host import LIBRARY, opened, penult

# The same weights under two activations: towers that no mistake can swap without a trace.
CLIP_L, CLIP_G = opened(activation="quick_gelu"), opened()
MODELS = {"clip_l": CLIP_L, "clip_g": CLIP_G, "clip_h": CLIP_G}
RECIPES = {recipe.name: recipe for recipe in penult.recipes(LIBRARY)}
START, END, TOKENS, WIDTH = CLIP_G.info.start_id, CLIP_G.info.end_id, CLIP_G.info.context, CLIP_G.info.width
SESSIONS = {id(model): penult.Session(model, max_prompts=16) for model in (CLIP_L, CLIP_G)}
PROMPT, OTHER = "a photo of a cat, 8k", "blurry caf\u00e9"


def pipeline(recipe="sdxl", **options):
    """A pipeline for that recipe, its towers' models by name."""
    found = next(each for each in RECIPES.values() if recipe in (each.name, each.alias))
    return penult.Pipeline(recipe, {tower.name: MODELS[tower.name] for tower in found.towers}, **{"threads": 1, **options})


def body(text):
    """The ids of a text alone."""
    return CLIP_G.tokenize(text, body=True).ids.tolist()


def row(ids, pad):
    """Those ids as a row of a tower, cut off at its end."""
    ids = list(ids)[:TOKENS - 2]
    return [START, *ids, END, *[pad] * (TOKENS - 2 - len(ids))]


def states(model, rows, layer, norm=False, masks=None):
    """[rows,T,D]"""
    key = (layer, norm)
    return SESSIONS[id(model)].encode(np.array(rows), layers=[key], pooled=(), key_masks=masks).hidden[key]


def pooled(model, ids, kind):
    """[1,P]"""
    return SESSIONS[id(model)].encode(np.array([ids]), layers=(), pooled=kind).pooled[kind]


def mask_of(ids):
    """1 for start, text and the first end id, 0 for what follows."""
    return (np.arange(TOKENS) <= 1 + ids[1:].index(END)).astype(np.uint8)


def expected(recipe, texts, layers=None, chunks=None):
    """What a recipe's row says of two texts (the second for towers that take one), unweighted: name -> array without the
    negative's prefix. chunks: rows of ids per text instead of the text's one."""
    contexts, vectors, masks = [], [], []
    for index, tower in enumerate(recipe.towers):
        model, pad = MODELS[tower.name], 0 if tower.pads_with_zero else END
        bodies = (chunks or [[body(text)] for text in texts])[tower.second_prompt]
        rows = [row(ids, pad) for ids in bodies]
        seen = [mask_of(ids) for ids in rows]
        layer, norm = layers[index] if layers else (tower.layer, tower.final_norm)
        if layer is not None:
            made = states(model, rows, layer, norm, seen if tower.key_mask else None)
            contexts.append(made.reshape(1, -1, WIDTH))
        if tower.pooled != "none":
            vectors.append(pooled(model, rows[0], "raw" if tower.pooled == "raw" else "projected"))
        masks.append(np.concatenate(seen)[None].astype(np.float32))
    made = {}
    if contexts:
        context = np.concatenate(contexts, axis=2)
        made["prompt_embeds"] = np.pad(context, ((0, 0), (0, 0), (0, max(0, recipe.context_width - context.shape[2]))))
    if vectors:
        made["pooled_prompt_embeds"] = np.concatenate(vectors, axis=1)
    if recipe.text_mask:
        made["text_mask"] = masks[0]
    return made


def negative_of(made):
    """The negative's tensors under the positive's names."""
    return {name[len("negative_"):]: array for name, array in made.tensors.items() if name.startswith("negative_")}


def agree(made, wanted):
    """Every wanted tensor is there with the same bits."""
    for name, array in wanted.items():
        assert made[name].shape == array.shape, f"{name}: {made[name].shape}, not {array.shape}"
        assert made[name].tobytes() == array.tobytes(), f"{name}: differs by {np.abs(made[name] - array).max()}"


def same_bits(one, other):
    assert list(one) == list(other)
    agree(one, other)
