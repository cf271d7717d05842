"""penult_pipeline.py - penult_condition.h for Python: prompts in, the tensors that a pipeline's sampler takes out.

    import penult
    with penult.Model("text_encoder") as clip_l, penult.Model("text_encoder_2") as clip_g, \\
            penult.Pipeline("sdxl", {"clip_l": clip_l, "clip_g": clip_g}) as pipeline:
        made = pipeline.condition("a photo of a cat", negative="blurry", target_size=(1024, 1024))
        made.tensors["prompt_embeds"]   # float32 [1,77,2048]
        made.tensors["vector"]          # float32 [1,2816]

Owns the translation between Python objects and the structs of penult_condition.h (penult_condition_abi.py), whose comments
say what each tensor, recipe and rule is; knows nothing of what is computed. Hosts import penult, not this.
"""
from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import c_uint64, c_void_p
from dataclasses import dataclass, fields
from inspect import signature
from typing import TYPE_CHECKING, Optional, Union

import numpy as np

from penult_abi import (ARITHMETIC, KERNELS, PADS_IN_TEXT, STATUS, TOKENIZER_MODES, Library, Progress, _bytes_of_text, _Callback,
                        _check, _count, _Error, _Handle, _sized, _Turns)
from penult_arrays import _pitches, _storage
from penult_condition_abi import (BF16, CLIP_SKIP, EMPHASIS, NEGATIVE_SIZES, NO_CACHE, POOLED, SKIP, SKIP_ALL, SPLIT,
                                  UNCONDITIONAL, WINDOW_CACHED, WINDOW_EMPTY, WINDOW_MASKED, WINDOW_PLAIN, _condition_api,
                                  _ConditionRequest, _ConditionResult, _ConditionSizes, _ConditionText, _ConditionToken,
                                  _ConditionWindow, _NamedModel, _NamedTensor, _PipelineInfo, _PipelineParams,
                                  _RecipeInfo, _RecipeTower, _TensorInfo)
if TYPE_CHECKING:
    from penult import Model

Text = Union[str, bytes]
Pair = Sequence[int]
Models = Union[Mapping[str, "Model"], Sequence["Model"]]

_TOKEN = np.dtype({"names": [name for name, _ in _ConditionToken._fields_ if name != "reserved"],
                   # chunk as int32: PENULT_CHUNK_CUT is -1 there
                   "formats": ["i4", "u4", "u4", "i4", "u4", "u8", "u8", "f8"],
                   "offsets": [getattr(_ConditionToken, name).offset for name, _ in _ConditionToken._fields_
                               if name != "reserved"],
                   "itemsize": ctypes.sizeof(_ConditionToken)})


# ---- values ---------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class RecipeTower:
    """A tower of a recipe, as penult_recipe_tower. layer None: no context is taken from it; pooled "none", "raw",
    "projected" or "projected_if_any"; skips "never", "always" or "if_asked" (skip_all). tokenizer_mode and pad_in_text: what
    Model takes under these names to read text as the recipe's host does. cut_to: blocks of a published export that ends
    where the context is taken, None: there is none."""
    name: str
    layer: Optional[int]
    final_norm: bool
    pooled: str
    pads_with_zero: bool
    key_mask: bool
    second_prompt: bool
    skips: str
    tokenizer_mode: str
    pad_in_text: str
    cut_to: Optional[int]


@dataclass(frozen=True)
class Recipe:
    """A row of the table, as penult_recipe_info. unconditional "encodes", "zero_if_absent", "zero_if_empty", "zero_always" or
    "none"; skip, how its host counts clip skip, "none", "more", "layer" or "index"."""
    name: str
    alias: Optional[str]
    source: str
    dialect: str
    context_width: int
    unconditional: str
    skip: str
    skip_negative: bool
    time_ids: int
    text_mask: bool
    towers: list[RecipeTower]


@dataclass(frozen=True)
class PipelineInfo:
    """What was opened, as penult_pipeline_info: tokens of a window, widths (0: there is no such tensor), bytes of memory."""
    recipe: str
    dialect: str
    tokens: int
    context_width: int
    pooled_width: int
    vector_width: int
    max_windows: int
    cache_windows: int
    bytes: int


@dataclass(frozen=True)
class Window:
    """A row that a tower had to give. tower: its index in the recipe; layer None: only a pooled vector was wanted; negative
    and chunk of its first use; the rest as the PENULT_WINDOW_ flags."""
    tower: int
    negative: bool
    chunk: int
    layer: Optional[int]
    cached: bool
    empty: bool
    masked: bool
    plain: bool


@dataclass(frozen=True)
class Plan:
    """What becomes of prompts, as penult_condition_result.

    tokens    a structured array: id, tower, negative, chunk (-1: cut off), row, begin, end (bytes of the prompt), weight
    windows   rows that the towers have to give
    chunks    windows of prompt_embeds, whose T is 77 times that; negative_chunks of the negative's, 0: it has none;
              own_chunks before the shorter was filled up or repeated
    negative_zero  True: the negative's context and pooled vector are zeros, by the recipe's rule
    """
    tokens: np.ndarray
    windows: list[Window]
    chunks: int
    negative_chunks: int
    own_chunks: int
    negative_own_chunks: int
    cut_count: int
    negative_zero: bool


@dataclass(frozen=True)
class Conditioning(Plan):
    """A plan and what came of it. tensors: name -> array; cached_count: windows that the cache had; blocks_run: blocks
    computed, of all towers."""
    tensors: dict[str, np.ndarray]
    cached_count: int
    blocks_run: int


# ---- recipes --------------------------------------------------------------------------------------------------------

def _word(number: int, words: Mapping[str, int]) -> str:
    return next((word for word, value in words.items() if value == number), str(number))


def _utf8(text: Optional[bytes]) -> Optional[str]:
    return None if text is None else text.decode("utf-8", "replace")


def _tower(api: ctypes.Structure, recipe: bytes, index: int) -> RecipeTower:
    own, error = _sized(_RecipeTower), _Error()
    _check(api.recipe_tower(recipe, index, own, error), error)
    return RecipeTower(_utf8(own.name), own.layer or None, bool(own.final_norm), _word(own.pooled, POOLED),
                       bool(own.pads_with_zero), bool(own.key_mask), bool(own.second_prompt),
                       _word(own.skips, {"never": 0, "always": 1, "if_asked": 2}), _word(own.tokenizer_mode, TOKENIZER_MODES),
                       _word(own.pad_in_text, PADS_IN_TEXT), own.cut_to or None)


def recipes(library: Optional[Library] = None) -> list[Recipe]:
    """The table: what Penult can make, and as which host makes it. library None: Library.default()."""
    api = _condition_api(Library.default() if library is None else library)
    table = []
    while True:
        own, error = _sized(_RecipeInfo), _Error()
        status = api.recipe(len(table), None, own, error)
        if status == STATUS.index("NOT_FOUND"):
            return table
        _check(status, error)
        table.append(Recipe(_utf8(own.name), _utf8(own.alias), _utf8(own.source), _utf8(own.dialect), own.context_width,
                            _word(own.unconditional, UNCONDITIONAL), _word(own.skip, SKIP), bool(own.skip_negative),
                            own.time_ids, bool(own.text_mask),
                            [_tower(api, own.name, index) for index in range(own.tower_count)]))


# ---- parameters and requests ----------------------------------------------------------------------------------------

def _params(recipe: str, models: Models, dialect: Optional[str], emphasis: str, threads: int, max_windows: int, kernels: str,
            max_text_bytes: int, cache_bytes: int, cache: bool, skip_all: bool, split: bool,
            arithmetic: str) -> tuple[ctypes.Structure, Library, list[_Handle]]:
    """The params, the models' library, and handles to hold until the pipeline has references of its own."""
    for name, value, words in (("emphasis", emphasis, EMPHASIS), ("kernels", kernels, KERNELS),
                               ("arithmetic", arithmetic, ARITHMETIC)):
        if value not in words:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(words)}")
    named = list(models.items()) if isinstance(models, Mapping) else [(None, model) for model in models]
    libraries = {model.library.path: model.library for _, model in named}
    if len(libraries) != 1:
        raise ValueError("there are no models" if not named else
                         f"the models are of different libraries: {', '.join(libraries)}")
    held = [model._alive() for _, model in named]
    array = (_NamedModel * len(named))(*((None if name is None else name.encode(), handle._as_parameter_)
                                         for (name, _), handle in zip(named, held)))
    params = _sized(_PipelineParams, flags=(0 if cache else NO_CACHE) | SKIP_ALL * bool(skip_all) | SPLIT * bool(split) |
                    BF16 * ARITHMETIC[arithmetic],
                    recipe=recipe.encode(), model_count=len(named), model_stride=ctypes.sizeof(_NamedModel), models=array,
                    dialect=None if dialect is None else dialect.encode(), emphasis=EMPHASIS[emphasis],
                    threads=_count(threads, 2**32 - 1, "threads"), kernels=KERNELS[kernels],
                    max_windows=_count(max_windows, 2**32 - 1, "max_windows"),
                    max_text_bytes=_count(max_text_bytes, 2**64 - 1, "max_text_bytes"),
                    cache_bytes=_count(cache_bytes, 2**64 - 1, "cache_bytes"))
    return params, next(iter(libraries.values())), held


def _text(text: Optional[Text]) -> ctypes.Structure:
    data = None if text is None else _bytes_of_text(text)
    return _ConditionText(data, 0 if data is None else len(data))


def _pair(pair: Optional[Pair], what: str) -> tuple[int, int]:
    if pair is None:
        return 0, 0
    if len(pair) != 2:
        raise ValueError(f"{what} is {pair!r}; it must be two numbers")
    return _count(pair[0], 2**32 - 1, what), _count(pair[1], 2**32 - 1, what)


def _sizes(original: Optional[Pair], crop: Optional[Pair], target: Optional[Pair], score: Optional[float],
           which: str) -> ctypes.Structure:
    return _ConditionSizes(*_pair(original, which + "original_size"), *_pair(crop, which + "crop"),
                           *_pair(target, which + "target_size"), 0 if score is None else score)


# ---- pipeline -------------------------------------------------------------------------------------------------------

class Pipeline:
    """Models under one recipe, with the sessions, memory and cache that conditioning takes.

    recipe      a name or an alias of recipes(): "sdxl", "sdxl@a1111"
    models      a Model for each tower of the recipe, by the tower's name; or a list of Models whose own info.tower names it.
                They may be closed afterwards
    dialect     how weights in prompts are read: "plain", "a1111", "comfyui" or "compel"; None: as the recipe's host does
    emphasis    what a1111 does with weights: "original", "no_norm", "ignore" or "none"
    threads     of each tower; 0: the CPUs this process may use
    max_windows how many different rows a tower may have in one call, for all tensors there are
    kernels     the highest set to use, "scalar", "openblas", "avx2", "avx512" or "amx"
    arithmetic  "exact", or "bf16", which rounds what it multiplies
    max_text_bytes  the longest prompt; 0: 65536
    cache_bytes the largest memory for windows seen in earlier calls; 0: 16 MiB; cache False: none are kept
    skip_all    A1111's sdxl_clip_l_skip: clip skip moves towers that skip only if asked
    split       compel: long prompts become several windows

    .info is a PipelineInfo, .recipe the Recipe. One call at a time: a second thread waits. Errors: PenultError. close() or
    `with` ends it early.
    """

    def __init__(self, recipe: str, models: Models, dialect: Optional[str] = None, emphasis: str = "original",
                 threads: int = 0, max_windows: int = 8, kernels: str = "best", max_text_bytes: int = 0,
                 cache_bytes: int = 0, cache: bool = True, skip_all: bool = False, split: bool = False,
                 arithmetic: str = "exact") -> None:
        params, self.library, held = _params(recipe, models, dialect, emphasis, threads, max_windows, kernels,
                                             max_text_bytes, cache_bytes, cache, skip_all, split, arithmetic)
        self._api, error, handle = _condition_api(self.library), _Error(), c_void_p()
        _check(self._api.pipeline_open(params, handle, error), error)
        del held
        self._handle: Optional[_Handle] = _Handle(self._api.pipeline_close, handle.value)
        self._turns = _Turns()
        self.info = self._describe()
        self.recipe = next(row for row in recipes(self.library) if row.name == self.info.recipe)

    @classmethod
    def measure(cls, recipe: str, models: Models, **options: object) -> int:
        """The bytes of memory that a Pipeline of these parameters would take."""
        values = {name: parameter.default for name, parameter in signature(cls).parameters.items()}
        params, library, held = _params(**{**values, "recipe": recipe, "models": models, **options})
        error, size = _Error(), c_uint64()
        _check(_condition_api(library).pipeline_measure(params, size, error), error)
        del held
        return size.value

    def _describe(self) -> PipelineInfo:
        info, error = _sized(_PipelineInfo), _Error()
        _check(self._api.pipeline_describe(self._alive(), info, error), error)
        values = {field.name: getattr(info, field.name) for field in fields(PipelineInfo)}
        return PipelineInfo(**{name: _utf8(value) if isinstance(value, bytes) else value for name, value in values.items()})

    def tensors(self, chunks: int = 1) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor that the recipe has, by name, for prompts of that many windows."""
        return self._shapes(_count(chunks, 2**32 - 1, "chunks"), chunks)

    def _shapes(self, chunks: int, negative_chunks: int) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        while True:
            info, error = _sized(_TensorInfo), _Error()
            status = self._api.tensor(self._alive(), len(shapes), chunks, info, error)
            if status == STATUS.index("NOT_FOUND"):
                return shapes
            if status == 0 and info.name.startswith(b"negative_") and negative_chunks != chunks:
                # where the negative has none, the library itself says so once it is asked to fill that tensor
                status = self._api.tensor(self._alive(), len(shapes), negative_chunks or 1, info, error)
            _check(status, error)
            shapes[_utf8(info.name)] = tuple(info.shape[:info.rank])

    def plan(self, prompt: Text, negative: Optional[Text] = None, prompt_2: Optional[Text] = None,
             negative_2: Optional[Text] = None, clip_skip: Optional[int] = None) -> Plan:
        """What `condition` would do for all tensors there are, without the towers: tokens, windows (none of them cached) and
        chunks, which `tensors` makes shapes of. Errors: PenultError, as `condition`'s."""
        request = self._request((prompt, prompt_2, negative, negative_2), clip_skip)
        with self._turns.take("plan was called from inside a callback of the same pipeline"):
            return self._plan(request)

    def condition(self, prompt: Text, negative: Optional[Text] = None, prompt_2: Optional[Text] = None,
                  negative_2: Optional[Text] = None, original_size: Optional[Pair] = None, crop: Pair = (0, 0),
                  target_size: Optional[Pair] = None, aesthetic_score: Optional[float] = None,
                  negative_original_size: Optional[Pair] = None, negative_crop: Optional[Pair] = None,
                  negative_target_size: Optional[Pair] = None, negative_aesthetic_score: Optional[float] = None,
                  clip_skip: Optional[int] = None, tensors: Union[None, str, Sequence[str]] = None,
                  dtype: str = "float32", outputs: Optional[Mapping[str, np.ndarray]] = None,
                  progress: Optional[Progress] = None) -> Conditioning:
        """Fills the tensors of one prompt and its negative.

        prompt, negative   str, or bytes of UTF-8; negative None: not given, and the recipe's rule (Recipe.unconditional)
        prompt_2, negative_2   for towers that take a second prompt; None, and "" in diffusers' recipes: as the first
        original_size, crop, target_size   (height, width), (top, left), (height, width), for recipes with time ids. An
                           original or a target that is None is the other one, and (1024, 1024) where both are
        aesthetic_score    None: 6.0, and 2.5 for the negative
        negative_original_size, negative_crop, negative_target_size   None: the positive's
        clip_skip          as the recipe's host counts it: Recipe.skip
        tensors            names; None: all that there are for these prompts
        dtype              of the new arrays: "float32", "float16", or "bfloat16" (as uint16)
        outputs            instead of tensors and dtype: the caller's own arrays by name; they may be views, if their last
                           axis is contiguous
        progress           called with (blocks done, blocks in all towers); something true cancels; an exception cancels
                           and is raised

        Errors: PenultError (FORMAT for a prompt that the host itself refuses, LIMIT for more windows than max_windows,
        NON_FINITE for an infinite weight); Cancelled; ValueError or TypeError for an array that cannot be written into.
        What is found before the first block leaves `outputs` untouched.
        """
        if outputs is not None and tensors is not None:
            raise TypeError("outputs says itself which tensors are wanted; tensors must be None")
        storage = _storage(dtype)
        request = self._request((prompt, prompt_2, negative, negative_2), clip_skip)
        request.sizes = _sizes(original_size, crop, target_size, aesthetic_score, "")
        own = negative_original_size, negative_crop, negative_target_size, negative_aesthetic_score
        if any(each is not None for each in own):
            request.flags |= NEGATIVE_SIZES
            request.negative_sizes = _sizes(*(given if given is not None else positive for given, positive in zip(
                own, (original_size, crop, target_size, None))), "negative_")
        with self._turns.take("condition was called from inside a callback of the same pipeline"):
            plan = self._plan(request)
            shapes = self._shapes(plan.chunks, plan.negative_chunks)
            if outputs is not None:
                arrays = dict(outputs)
            else:
                names = [tensors] if isinstance(tensors, str) else tensors
                if names is None:
                    names = [name for name in shapes if plan.negative_chunks or not name.startswith("negative_")]
                arrays = {name: np.empty(shapes.get(name, ()), storage) for name in names}
            for name in arrays:
                if name not in shapes:
                    raise ValueError(f"{name!r} is no tensor of {self.info.recipe}; it has {', '.join(shapes)}")
            return self._run(request, plan, arrays, shapes, progress)

    def _request(self, texts: tuple, clip_skip: Optional[int]) -> ctypes.Structure:
        prompt, prompt_2, negative, negative_2 = map(_text, texts)
        request = _sized(_ConditionRequest, prompt=prompt, prompt_2=prompt_2, negative=negative, negative_2=negative_2)
        if clip_skip is not None:
            if not -2**31 <= clip_skip < 2**31:
                raise ValueError(f"clip_skip is {clip_skip}; no tower has such a layer")
            request.flags, request.clip_skip = CLIP_SKIP, clip_skip
        return request

    def _result(self, **members: object) -> ctypes.Structure:
        windows = (_ConditionWindow * (self.info.max_windows * len(self.recipe.towers)))()
        return _sized(_ConditionResult, windows=windows, window_stride=ctypes.sizeof(_ConditionWindow),
                      window_capacity=len(windows), token_stride=_TOKEN.itemsize, **members)

    @staticmethod
    def _told(result: ctypes.Structure, tokens: np.ndarray) -> dict:
        """What Plan and Conditioning have in common."""
        windows = [Window(own.tower, bool(own.negative), own.chunk, own.layer or None, bool(own.flags & WINDOW_CACHED),
                          bool(own.flags & WINDOW_EMPTY), bool(own.flags & WINDOW_MASKED), bool(own.flags & WINDOW_PLAIN))
                   for own in result.windows[:result.window_count]]
        return dict(tokens=tokens, windows=windows, chunks=result.chunks, negative_chunks=result.negative_chunks,
                    own_chunks=result.own_chunks, negative_own_chunks=result.negative_own_chunks,
                    cut_count=result.cut_count, negative_zero=bool(result.negative_zero))

    def _plan(self, request: ctypes.Structure) -> Plan:
        capacity = 1024
        while True:
            tokens, error = np.empty(capacity, _TOKEN), _Error()
            result = self._result(tokens=tokens.ctypes.data, token_capacity=capacity)
            _check(self._api.plan(self._alive(), request, result, error), error)
            if result.token_count <= capacity:
                return Plan(**self._told(result, tokens[:result.token_count].copy()))
            capacity = result.token_count

    def _run(self, request: ctypes.Structure, plan: Plan, arrays: dict[str, np.ndarray], shapes: dict,
             progress: Optional[Progress]) -> Conditioning:
        named = (_NamedTensor * len(arrays))(*((name.encode(), _pitches(array, shapes[name], repr(name)))
                                               for name, array in arrays.items()))
        tokens = np.empty(len(plan.tokens), _TOKEN)
        callback, error = _Callback(), _Error()
        result = self._result(tokens=tokens.ctypes.data, token_capacity=len(tokens))
        request.tensors, request.tensor_count, request.tensor_stride = named, len(named), ctypes.sizeof(_NamedTensor)
        request.progress = callback.progress(progress)
        status = self._api.condition(self._alive(), request, result, error)
        callback.done()
        _check(status, error)
        return Conditioning(**self._told(result, tokens), tensors=arrays, cached_count=result.cached_count,
                            blocks_run=result.blocks_run)

    def cancel(self) -> None:
        """Ends the call in progress, if there is one, at its next block. From any thread; idle: nothing happens."""
        handle = self._handle
        if handle is not None:
            self._api.pipeline_cancel(handle)

    def _alive(self) -> _Handle:
        handle = self._handle
        if handle is None:
            raise ValueError("the pipeline is closed")
        return handle

    def close(self) -> None:
        """Ends the pipeline; a call under way on another thread ends first. Twice is nothing."""
        self._handle = None

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
