"""What the parity of recipes runs: for each recipe and each host that makes it, prompts and what is asked of them.

Owns the prompts and the list. Knows neither Penult nor a host: a Case says what is asked, in the words of api/penult.py's
Pipeline and its `condition`, and a clip skip in the recipe's own numbering. The recorded hosts' cases are in the goldens by
their keys: whoever changes one records again (record_hosts.py).
"""
import dataclasses

PLAIN = "a photo of an astronaut riding a horse on mars"
SECOND = "oil painting, thick brush strokes"
NEGATIVE = "blurry, low quality, watermark"
# 93 tokens: two windows of 75, however they are cut, and a full stop and commas where some hosts cut.
LONG = (", ".join(["a beautiful cinematic painting of a golden dragon above the dark forest"] * 4)
        + ". Dramatic evening light, " + ", ".join(["a castle on a hill beside the river"] * 4))
LONG_NEGATIVE = ", ".join(["bad hands and extra fingers, deformed face, text and logo of a company"] * 8)

# Each dialect's own signs: above 1, below 1, negative where the host has that, nested.
A1111 = "a (photo:1.3) of an [astronaut] riding ((a horse)) on (mars:0.6)"
A1111_LONG = f"(a castle:1.4) BREAK {LONG}, [[fog]] (river:0.7)"
A1111_NEGATIVE = "(blurry:1.2), [low quality], watermark"
COMFYUI = "a (photo:1.3) of an (astronaut:0.5) riding ((a horse)) on (mars:-0.4)"
COMFYUI_LONG = f"(a castle:1.4), {LONG}, (river:0.7)"
COMFYUI_NEGATIVE = "(blurry:1.2), (low quality:0.8), watermark"
COMPEL = "a photo++ of an astronaut riding (a horse)1.3 on mars+"
COMPEL_BELOW = "a photo-- of an astronaut riding (a horse)0.5 on mars+"
COMPEL_BLEND = '("a photo of an astronaut+", "a horse on mars").blend(0.7, 0.5)'
# CompelForSDXL fails where a part has a weight of its own: it takes the empty prompt's pooled vector for part of its states.
COMPEL_AND = '("a photo of an astronaut", "a horse on mars--").and()'
COMPEL_AND_WEIGHTED = '("a photo of an astronaut", "a horse on mars--").and(1, 0.8)'
COMPEL_LONG = f"a castle++ {LONG}"
COMPEL_NEGATIVE = "blurry+, (low quality)0.8, watermark"

SIZES = dict(original_size=(720, 1280), crop=(16, 32), target_size=(1024, 1536))
NEGATIVE_SIZES = dict(negative_original_size=(256, 256), negative_crop=(1, 2), negative_target_size=(1024, 512))


@dataclasses.dataclass(frozen=True)
class Case:
    recipe: str
    host: str
    name: str
    prompt: str = PLAIN
    negative: str | None = None
    prompt_2: str | None = None
    negative_2: str | None = None
    clip_skip: int | None = None
    sizes: tuple = ()     # items of the sizes given
    options: tuple = ()   # items of the pipeline's
    files: tuple = ()     # (tower, which file is opened for it), where that is not the tower's own
    restores: bool = False  # A1111's mean restoration is in the tensors: they have a factor of their own
    tensors: tuple = ()   # the only ones compared; empty: all

    @property
    def key(self):
        return f"{self.recipe}, {self.host}: {self.name}"


def _case(recipe, host, name, *, sizes=None, options=None, files=None, **asked):
    return Case(recipe, host, name, sizes=tuple((sizes or {}).items()), options=tuple((options or {}).items()),
                files=tuple((files or {}).items()), **asked)


def _usual(recipe, host, *, skip=True, long_negative=LONG_NEGATIVE, **common):
    """What every pipeline of diffusers is asked."""
    yield _case(recipe, host, "plain", **common)
    yield _case(recipe, host, "empty negative", negative="", **common)
    yield _case(recipe, host, "negative", negative=NEGATIVE, **common)
    yield _case(recipe, host, "long", prompt=LONG, negative=long_negative, **common)
    if skip:
        for skipped in (0, 1, 2):
            yield _case(recipe, host, f"clip skip {skipped}", negative=NEGATIVE, clip_skip=skipped, **common)


def _second(recipe, host):
    """What those with a second prompt are asked."""
    yield _case(recipe, host, "second prompts", prompt_2=SECOND, negative=NEGATIVE, negative_2="text")
    yield _case(recipe, host, "second prompt alone", prompt_2=SECOND, negative=NEGATIVE)
    yield _case(recipe, host, "second negative alone", negative_2=NEGATIVE)
    yield _case(recipe, host, "empty second prompts", prompt_2="", negative=NEGATIVE, negative_2="")
    yield _case(recipe, host, "empty prompt", prompt="", prompt_2=SECOND, negative="", negative_2=NEGATIVE)


def diffusers():
    host = "diffusers"
    yield from _usual("sd1@diffusers", host)
    yield from _usual("sd2@diffusers", host)
    # diffusers' own export of SD 2.x, which is what its pipeline has: 23 blocks of 24
    export = dict(files={"clip_h": "clip_h_23"})
    yield _case("sd2@diffusers", host, "export of 23 blocks", negative=NEGATIVE, **export)
    yield _case("sd2@diffusers", host, "export of 23 blocks, clip skip 1", negative=NEGATIVE, clip_skip=1, **export)
    yield from _usual("sdxl@diffusers", host)
    yield from _second("sdxl@diffusers", host)
    yield _case("sdxl@diffusers", host, "sizes", negative=NEGATIVE, sizes=SIZES)
    yield _case("sdxl@diffusers", host, "negative sizes", negative=NEGATIVE, sizes=SIZES | NEGATIVE_SIZES)
    yield from _usual("sdxl-refiner@diffusers", host)
    yield from _second("sdxl-refiner@diffusers", host)
    yield _case("sdxl-refiner@diffusers", host, "sizes", negative=NEGATIVE,
                sizes=SIZES | dict(aesthetic_score=7.5, negative_aesthetic_score=1.25))
    yield from _usual("sd3@diffusers", host)
    yield from _second("sd3@diffusers", host)
    yield _case("sd3@diffusers", host, "CLIP-L without projection", negative=NEGATIVE, files={"clip_l": "clip_l_plain"})
    yield _case("flux@diffusers", host, "plain")
    yield _case("flux@diffusers", host, "long, true CFG", prompt=LONG, negative=NEGATIVE)
    yield from _usual("cascade-prior@diffusers", host, skip=False)
    yield from _usual("cascade-decoder@diffusers", host, skip=False)
    yield from _usual("kandinsky2.2-prior@diffusers", host, skip=False)


def _compel(recipe, **common):
    yield _case(recipe, "compel", "plain", **common)
    yield _case(recipe, "compel", "negative", negative=NEGATIVE, **common)
    yield _case(recipe, "compel", "above 1", prompt=COMPEL, negative=COMPEL_NEGATIVE, **common)
    yield _case(recipe, "compel", "below 1", prompt=COMPEL_BELOW, negative="", **common)
    yield _case(recipe, "compel", "blend", prompt=COMPEL_BLEND, negative=COMPEL_NEGATIVE, **common)
    yield _case(recipe, "compel", "and", prompt=COMPEL_AND, negative=NEGATIVE, **common)
    yield _case(recipe, "compel", "long", prompt=LONG, negative=NEGATIVE, **common)
    yield _case(recipe, "compel", "long, weighted", prompt=COMPEL_LONG, negative=COMPEL_NEGATIVE, **common)
    yield _case(recipe, "compel", "long negative", prompt=COMPEL, negative=LONG_NEGATIVE, **common)


def compel():
    yield from _compel("sdxl@compel")
    yield _case("sdxl@compel", "compel", "second prompts", prompt_2=COMPEL_LONG, negative=NEGATIVE, negative_2="")
    yield from _compel("sd1@diffusers", options=dict(dialect="compel", split=True))
    yield _case("sd1@diffusers", "compel", "and, weighted", prompt=COMPEL_AND_WEIGHTED, negative=NEGATIVE, options=dict(dialect="compel"))
    yield _case("sd1@diffusers", "compel", "long, cut", prompt=COMPEL_LONG, negative=COMPEL_NEGATIVE, options=dict(dialect="compel"))


def open_clip():
    """open_clip's towers and tokenizer, used as the pipelines' own repositories use them (FrozenOpenCLIPEmbedder)."""
    for recipe in ("sd2@diffusers", "sdxl@sgm", "sdxl-refiner@diffusers"):
        yield _case(recipe, "open_clip", "plain", negative="")
        yield _case(recipe, "open_clip", "negative", negative=NEGATIVE)
        yield _case(recipe, "open_clip", "long", prompt=LONG, negative=LONG_NEGATIVE)


def sgm():
    for recipe in ("sdxl@sgm", "sdxl-refiner@diffusers"):
        yield _case(recipe, "sgm", "plain", negative="")
        yield _case(recipe, "sgm", "long, negative", prompt=LONG, negative=NEGATIVE)
        yield _case(recipe, "sgm", "sizes", negative=NEGATIVE, sizes=SIZES)


def comfyui():
    host, dialect = "comfyui", dict(dialect="comfyui")
    sdxl = "sdxl@comfyui"
    yield _case(sdxl, host, "plain", negative="")
    yield _case(sdxl, host, "negative", negative=NEGATIVE)
    yield _case(sdxl, host, "weighted", prompt=COMFYUI, negative=COMFYUI_NEGATIVE)
    yield _case(sdxl, host, "long", prompt=LONG, negative=NEGATIVE)
    yield _case(sdxl, host, "long, weighted", prompt=COMFYUI_LONG, negative=COMFYUI_NEGATIVE)
    yield _case(sdxl, host, "long negative", prompt=COMFYUI, negative=LONG_NEGATIVE)
    yield _case(sdxl, host, "second prompts", prompt=COMFYUI_LONG, prompt_2=COMFYUI, negative="", negative_2=NEGATIVE)
    yield _case(sdxl, host, "sizes", negative=NEGATIVE, sizes=SIZES, tensors=("vector", "negative_vector"))
    for layer in (-1, -2, -3):
        yield _case(sdxl, host, f"clip layer {layer}", prompt=COMFYUI, negative=NEGATIVE, clip_skip=layer)
    refiner = "sdxl-refiner@diffusers"
    yield _case(refiner, host, "weighted", prompt=COMFYUI, negative=COMFYUI_NEGATIVE, options=dialect)
    yield _case(refiner, host, "long, sizes", prompt=LONG, negative="", options=dialect,
                sizes=SIZES | dict(aesthetic_score=7.5, negative_aesthetic_score=1.25))
    for recipe in ("cascade-prior@diffusers", "cascade-decoder@diffusers"):
        yield _case(recipe, host, "weighted", prompt=COMFYUI, negative="", options=dialect)
    for recipe, skip in (("sd1@diffusers", -2), ("sd2@diffusers", -3)):
        yield _case(recipe, host, "weighted", prompt=COMFYUI, negative=COMFYUI_NEGATIVE, options=dialect)
        yield _case(recipe, host, "long, weighted", prompt=COMFYUI_LONG, negative=NEGATIVE, options=dialect)
        # the recipe counts from its own layer, and the host from the last block
        yield _case(recipe, host, f"clip layer {skip}", prompt=COMFYUI, clip_skip=1, options=dialect, tensors=("prompt_embeds",))


def a1111():
    host, dialect = "a1111", dict(dialect="a1111")
    sdxl = "sdxl@a1111"
    yield _case(sdxl, host, "plain", negative="")
    yield _case(sdxl, host, "negative", negative=NEGATIVE)
    for emphasis in ("original", "no_norm", "ignore", "none"):
        yield _case(sdxl, host, f"weighted, {emphasis}", prompt=A1111, negative=A1111_NEGATIVE, options=dict(emphasis=emphasis),
                    restores=emphasis == "original")
    yield _case(sdxl, host, "long", prompt=LONG, negative=NEGATIVE)
    yield _case(sdxl, host, "long, weighted, BREAK", prompt=A1111_LONG, negative=A1111_NEGATIVE, restores=True)
    yield _case(sdxl, host, "long negative", prompt=A1111, negative=LONG_NEGATIVE, options=dict(emphasis="no_norm"))
    yield _case(sdxl, host, "sizes", negative="", sizes=dict(original_size=(720, 1280), target_size=(720, 1280)),
                tensors=("vector", "negative_vector"))
    yield _case(sdxl, host, "clip skip 3", negative=NEGATIVE, clip_skip=3)
    for skip in (1, 2, 3):
        yield _case(sdxl, host, f"clip skip {skip}, sdxl_clip_l_skip", negative=NEGATIVE, clip_skip=skip, options=dict(skip_all=True))
    yield _case("sdxl-refiner@diffusers", host, "weighted", prompt=A1111, negative=A1111_NEGATIVE, options=dialect, restores=True)
    yield _case("sd1@diffusers", host, "clip skip 2", prompt=A1111, clip_skip=1, options=dialect | dict(emphasis="no_norm"),
                tensors=("prompt_embeds",))
    for recipe in ("sd1@diffusers", "sd2@diffusers"):
        yield _case(recipe, host, "weighted", prompt=A1111, negative=A1111_NEGATIVE, options=dialect, restores=True)
        yield _case(recipe, host, "long, weighted, no_norm", prompt=A1111_LONG, negative=NEGATIVE,
                    options=dialect | dict(emphasis="no_norm"))


LIVE = {"diffusers": diffusers, "compel": compel, "open_clip": open_clip}
RECORDED = {"sgm": sgm, "comfyui": comfyui, "a1111": a1111}


def every(hosts):
    cases = [case for name, group in hosts.items() for case in group()]
    keys = [case.key for case in cases]
    if len(set(keys)) != len(keys):
        raise SystemExit("two cases of one key")
    return cases
