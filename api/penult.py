"""penult.py - penult.h for Python: prompts in, NumPy arrays out. Needs NumPy and nothing else.

    import penult
    with penult.Model("text_encoder_2") as model, penult.Session(model) as session:
        encoded = session.encode(["a photo of a cat"])
        encoded.hidden[-2]            # float32 [B,T,D], what SDXL takes
        encoded.pooled["projected"]   # float32 [B,P]

Owns the translation between Python objects and the structs of penult.h (penult_abi.py); penult.Pipeline, which makes a
sampler's tensors of prompts, is in penult_pipeline.py. Knows nothing of what is computed. Letters: B prompts, T tokens, D
width, P projection width, L blocks. Every array that is returned is the caller's. The interpreter lock is released inside
each call, so threads with a session each run side by side. Every failure of the library is a PenultError.
"""
from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_uint8, c_uint64, c_void_p
from dataclasses import dataclass, fields
from typing import Optional, Union

import numpy as np

from penult_abi import (ACTIVATIONS, ARITHMETIC, FINAL_NORM, KERNELS, KINDS, LIST_TENSORS, NOWHERE, PADS_IN_TEXT, STATUS,
                        TOKENIZER_MODES, TOKENS_BODY, WEIGHT_DTYPES, Cancelled, Finding, Library, LoadError, PenultError,
                        Progress, _bytes_of_path, _bytes_of_text, _Callback, _check, _count, _Error, _Handle,
                        _ModelInfo, _OpenParams, _Output, _Prompt, _PromptResult, _SessionParams, _sized, _TextRequest,
                        _TextResult, _TokenRequest, _TokenResult, _Turns)
from penult_arrays import _pitches, _storage, bfloat16_to_float32
from penult_pipeline import Conditioning, Pipeline, PipelineInfo, Plan, Recipe, RecipeTower, Window, recipes

__all__ = ["Cancelled", "Conditioning", "Encoded", "Finding", "Library", "LoadError", "Model", "ModelInfo", "PenultError",
           "Pipeline", "PipelineInfo", "Plan", "PromptResult", "Recipe", "RecipeTower", "Session", "Tokens", "Window",
           "bfloat16_to_float32", "recipes"]

Layer = Union[int, "tuple[int, bool]"]


# ---- values ---------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class ModelInfo:
    """Geometry and origin of a model, as penult_model_info; None where the model has no such id. Without a tower its
    numbers are 0, activation and dtype "none"."""
    width: int
    layers: int
    heads: int
    mlp_width: int
    context: int
    vocabulary: int
    projection: int
    activation: str
    dtype: str
    start_id: Optional[int]
    end_id: Optional[int]
    pad_id: Optional[int]
    access: str
    parameters: int
    bytes_file: int
    bytes_mapped: int
    norm_epsilon: float
    layout: str
    kernels: str
    tower: str
    bytes_used: int
    tensors_used: int
    files: int


@dataclass(frozen=True)
class Tokens:
    """What a text became. ids int32 [n]; spans int64 [n,2], the bytes of the UTF-8 text that each id stands for (empty
    for start, end and padding); cut_begin the offset of the first byte that was cut away; end_position None for a
    body."""
    text: bytes
    ids: np.ndarray
    spans: np.ndarray
    body_count: int
    cut_count: int
    cut_begin: int
    end_position: Optional[int]

    @property
    def pieces(self) -> list[bytes]:
        """The bytes behind each id."""
        return [self.text[begin:end] for begin, end in self.spans.tolist()]


@dataclass(frozen=True)
class PromptResult:
    """What became of one prompt: as in Tokens; end_position is the row that pooling took, None if there was none."""
    body_count: int
    cut_count: int
    cut_begin: int
    end_position: Optional[int]


@dataclass(frozen=True)
class Encoded:
    """hidden: layer as asked for -> [B,T,D]; pooled: its name -> [B,D] for "raw", else [B,P]; prompts: one result each;
    tokens: T; blocks_run: how many blocks had to be computed."""
    hidden: dict[Layer, np.ndarray]
    pooled: dict[str, np.ndarray]
    prompts: list[PromptResult]
    tokens: int
    blocks_run: int


# ---- model ----------------------------------------------------------------------------------------------------------

class Model:
    """An open text tower and its tokenizer, usable from any thread.

    path        a safetensors file, an index of shards, a directory as transformers writes it, or a pipeline's;
                None: no tower, only a tokenizer
    tokenizer   a directory, a tokenizer.json or a clip.vocab; None: beside the weights, beside the library, or none at all
    activation  "quick_gelu" or "gelu", to override config.json or what is assumed without one
    tower       "clip_l", "clip_g", "text_encoder", ... where `path` holds several; None: the widest
    heads       to override config.json or what is assumed without one
    tensors     True: a Finding for each tensor in use
    copy        True: read the weights into memory; False: map the file and use it in place
    report      called with each Finding as it is made; they are all in .findings afterwards too
    progress    called with (bytes done, bytes in all) while copying; something true cancels, as does an exception
    library     a Library; None: Library.default()
    tokenizer_mode  "transformers" or "open_clip": whose cleaning of texts, special strings and padding
    pad_in_text     "files", "text" or "special": what the padding token's string, SDXL's "!", is in a prompt

    .info is a ModelInfo. Errors: PenultError. close() or `with` ends it early; sessions keep what they need.
    """

    def __init__(self, path: Union[str, os.PathLike, None], tokenizer: Union[str, os.PathLike, None] = None,
                 activation: Optional[str] = None, copy: bool = False, tower: Optional[str] = None,
                 heads: Optional[int] = None, tensors: bool = False,
                 report: Optional[Callable[[Finding], object]] = None, progress: Optional[Progress] = None,
                 library: Optional[Library] = None, tokenizer_mode: str = "transformers",
                 pad_in_text: str = "files") -> None:
        if activation is not None and activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; it must be one of {', '.join(ACTIVATIONS)}, or None")
        for name, value, words in (("tokenizer_mode", tokenizer_mode, TOKENIZER_MODES),
                                   ("pad_in_text", pad_in_text, PADS_IN_TEXT)):
            if value not in words:
                raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(words)}")
        self.library = Library.default() if library is None else library
        self._api = self.library._api
        self.findings: list[Finding] = []
        callback, error, handle = _Callback(), _Error(), c_void_p()
        params = _sized(_OpenParams, access=1 if copy else 0, path=_bytes_of_path(path, "the model's path"),
                        tokenizer_path=_bytes_of_path(tokenizer, "the tokenizer's path"),
                        activation=ACTIVATIONS[activation] if activation else 0,
                        tower=None if tower is None else tower.encode(), heads=_count(heads or 0, 2**32 - 1, "heads"),
                        flags=LIST_TENSORS if tensors else 0,
                        report=callback.report(self.findings, report), progress=callback.progress(progress),
                        tokenizer_mode=TOKENIZER_MODES[tokenizer_mode], pad_in_text=PADS_IN_TEXT[pad_in_text])
        status = self._api.model_open(params, handle, error)
        self._handle = _Handle(self._api.model_close, handle.value) if status == 0 else None
        callback.done()
        _check(status, error, self.findings)
        self.info = self._describe()

    def _alive(self) -> _Handle:
        handle = self._handle
        if handle is None:
            raise ValueError("the model is closed")
        return handle

    def _describe(self) -> ModelInfo:
        info, error = _sized(_ModelInfo), _Error()
        _check(self._api.model_describe(self._alive(), info, error), error)
        values = {field.name: getattr(info, field.name) for field in fields(ModelInfo)}
        for name, words in (("activation", ACTIVATIONS), ("dtype", WEIGHT_DTYPES), ("access", {"map": 0, "copy": 1})):
            number = values[name]
            values[name] = {number: word for word, number in words.items()}.get(number, str(number) if number else "none")
        for name in ("start_id", "end_id", "pad_id"):
            values[name] = None if values[name] < 0 else values[name]
        for name in ("layout", "kernels", "tower"):
            values[name] = values[name].decode("utf-8", "replace")
        return ModelInfo(**values)

    def tokenize(self, text: Union[str, bytes], body: bool = False) -> Tokens:
        """The ids of a text: framed and padded to `context`, or with body=True those of the text alone and all of them.

        Errors: PenultError, among them TEXT with the offset for bytes that are no UTF-8, and NO_TOKENIZER.
        """
        error, data = _Error(), _bytes_of_text(text)
        request = _sized(_TokenRequest, flags=TOKENS_BODY if body else 0, text=data, text_bytes=len(data))
        capacity = len(data) + 16 if body else self.info.context
        while True:
            ids, spans = np.empty(capacity, np.int32), np.empty((capacity, 2), np.uint64)
            result = _sized(_TokenResult, ids=ids.ctypes.data, spans=spans.ctypes.data, capacity=capacity)
            status = self._api.tokenize(self._alive(), request, result, error)
            if status != STATUS.index("LIMIT") or result.id_count <= capacity:
                break
            capacity = result.id_count  # composed characters may come apart into more bytes than the text had
        _check(status, error)
        count = result.id_count
        return Tokens(data, ids[:count].copy(), spans[:count].astype(np.int64), result.body_count, result.cut_count,
                      result.cut_begin, None if body else result.end_position)

    def hash(self, progress: Optional[Progress] = None) -> str:
        """SHA-256 of the weights' values, in hex: the same whatever file they came from (encoder/model/digest.h has the
        rule). Takes seconds for a large model. progress is called with (bytes done, bytes in all); something true cancels."""
        callback, error, digest = _Callback(), _Error(), (c_uint8 * 32)()
        status = self._api.model_hash(self._alive(), digest, callback.progress(progress), None, error)
        callback.done()
        _check(status, error)
        return bytes(digest).hex()

    def measure(self, threads: int = 0, max_prompts: int = 1, max_text_bytes: int = 0, kernels: str = "best",
                arithmetic: str = "exact", kept_prompts: int = 0) -> int:
        """The bytes of memory that a Session of these parameters would take."""
        error, size = _Error(), c_uint64()
        params = _session_params(threads, max_prompts, max_text_bytes, kernels, arithmetic, kept_prompts)
        _check(self._api.session_measure(self._alive(), params, size, error), error)
        return size.value

    def close(self) -> None:
        """Drops the model; a call under way on another thread ends first. Twice is nothing."""
        self._handle = None

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


# ---- session --------------------------------------------------------------------------------------------------------

def _session_params(threads: int, max_prompts: int, max_text_bytes: int, kernels: str, arithmetic: str,
                    kept_prompts: int) -> ctypes.Structure:
    for name, value, words in (("kernels", kernels, KERNELS), ("arithmetic", arithmetic, ARITHMETIC)):
        if value not in words:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(words)}")
    return _sized(_SessionParams, threads=_count(threads, 2**32 - 1, "threads"),
                  max_prompts=_count(max_prompts, 2**32 - 1, "max_prompts"),
                  max_text_bytes=_count(max_text_bytes, 2**64 - 1, "max_text_bytes"), kernels=KERNELS[kernels],
                  arithmetic=ARITHMETIC[arithmetic], kept_prompts=_count(kept_prompts, 2**32 - 1, "kept_prompts"))


class Session:
    """Scratch memory and worker threads for encoding with one model.

    threads 0: the CPUs this process may use; max_prompts: the largest B; max_text_bytes 0: 65536; kernels: the highest
    set to use, "scalar", "openblas", "avx2", "avx512" or "amx" ("best" and "amx" ask Linux for AMX where there is one:
    penult.h); arithmetic: "exact", or "bf16", which rounds what it multiplies; kept_prompts: so many prompts' rows stay from
    one encode to the next, and one that begins as they did computes only what is new, the same bits (40 MB each for bigG:
    penult.h). One encode at a time: a second thread waits.
    close() or `with` ends it early.
    """

    def __init__(self, model: Model, threads: int = 0, max_prompts: int = 1, max_text_bytes: int = 0,
                 kernels: str = "best", arithmetic: str = "exact", kept_prompts: int = 0) -> None:
        handle, error = c_void_p(), _Error()
        self.info, self._api = model.info, model._api
        params = _session_params(threads, max_prompts, max_text_bytes, kernels, arithmetic, kept_prompts)
        _check(self._api.session_open(model._alive(), params, handle, error), error)
        self._handle: Optional[_Handle] = _Handle(self._api.session_close, handle.value)
        self._turns = _Turns()

    def encode(self, prompts: Union[str, Sequence, np.ndarray], layers: Union[None, Layer, Sequence[Layer]] = None,
               final_norm: bool = False, pooled: Union[None, str, Sequence[str]] = None, dtype: str = "float32",
               outputs: Optional[Mapping[Union[Layer, str], np.ndarray]] = None,
               progress: Optional[Progress] = None,
               key_masks: Union[None, Sequence, np.ndarray] = None) -> Encoded:
        """Encodes B prompts in one pass.

        prompts     texts (str, or bytes of UTF-8), rows of ids (start and end included), or an integer array [B,T]
        layers      -1 the last block, -2 the one before; 0 the embeddings, 1.. from the front; (layer, True) with the
                    final norm. None: -2
        final_norm  for every layer that does not say it itself
        pooled      "raw", "projected", "normalised". None: "projected", or "raw" for a model without a projection
        dtype       of the new arrays: "float32", "float16", or "bfloat16" (as uint16)
        outputs     instead of layers, pooled and dtype: the caller's own arrays by layer or pooled name; they may be
                    views, as tensor[:, :, 768:] of a [B,77,2048] array, if their last axis is contiguous
        progress    called with (blocks done, blocks in all); something true cancels; an exception cancels and is raised
        key_masks   which tokens are seen: an array [B,T] of 0 and 1 as transformers' attention_mask, or a row of T or None
                    for each prompt. The first token of each must be. None: all are

        Errors: PenultError; Cancelled, after which the contents of `outputs` are unspecified; ValueError or TypeError
        for an array that cannot be written into. Other errors leave `outputs` untouched.
        """
        if outputs is not None and not (layers is None and pooled is None):
            raise TypeError("outputs says itself which layers and pooled vectors are wanted; layers and pooled must be "
                            "None")
        rows, keep, tokens = self._prompts(prompts)
        if len(rows) == 0:
            raise ValueError("there are no prompts")
        keep += self._key_masks(rows, key_masks)
        arrays = dict(outputs) if outputs is not None else self._allocate(len(rows), tokens, layers, pooled, dtype)
        request_outputs = (_Output * len(arrays))(*(
            self._output(key, array, len(rows), tokens, final_norm) for key, array in arrays.items()))
        results = (_PromptResult * len(rows))()
        result = _sized(_TextResult, prompt_count=len(rows), prompt_stride=ctypes.sizeof(_PromptResult),
                        prompts=results)
        callback, error = _Callback(), _Error()
        request = _sized(_TextRequest, prompt_count=len(rows), prompt_stride=ctypes.sizeof(_Prompt), prompts=rows,
                         output_count=len(arrays), output_stride=ctypes.sizeof(_Output), outputs=request_outputs,
                         progress=callback.progress(progress))
        with self._turns.take("encode was called from inside a callback of the same session"):
            status = self._api.encode_text(self._alive(), request, result, error)
        del keep
        callback.done()
        _check(status, error)
        return Encoded({key: array for key, array in arrays.items() if not isinstance(key, str)},
                       {key: array for key, array in arrays.items() if isinstance(key, str)},
                       [PromptResult(each.body_count, each.cut_count, each.cut_begin,
                                     None if each.end_position == NOWHERE else each.end_position) for each in results],
                       result.tokens, result.blocks_run)

    def _prompts(self, prompts: Union[str, Sequence, np.ndarray]) -> tuple[ctypes.Array, list, int]:
        """The array of penult_prompt, what it points into, and T by its first prompt."""
        if isinstance(prompts, (str, bytes)):
            prompts = [prompts]
        rows, keep, tokens = (_Prompt * len(prompts))(), [], self.info.context
        for index, prompt in enumerate(prompts):
            if isinstance(prompt, (str, bytes)):
                keep.append(_bytes_of_text(prompt))
                rows[index].text, rows[index].text_bytes = keep[-1], len(keep[-1])
                continue
            ids = np.asarray(prompt)
            if ids.ndim != 1 or ids.dtype.kind not in "iu" or ids.size == 0:
                raise ValueError(f"prompt {index} is neither text nor one row of ids: an array {list(ids.shape)} of "
                                 f"{ids.dtype}")
            if int(ids.min()) < -2**31 or int(ids.max()) >= 2**31:
                raise ValueError(f"prompt {index} has an id that does not fit into 32 bits")
            keep.append(np.ascontiguousarray(ids, np.int32))
            rows[index].ids, rows[index].id_count = keep[-1].ctypes.data, ids.size
            tokens = ids.size if index == 0 else tokens
        return rows, keep, tokens

    def _key_masks(self, rows: ctypes.Array, masks: Union[None, Sequence, np.ndarray]) -> list:
        """Puts the masks into the array of penult_prompt; returns what it points into."""
        if masks is None:
            return []
        if len(masks) != len(rows):
            raise ValueError(f"there are {len(masks)} key masks for {len(rows)} prompts")
        keep = []
        for index, (row, given) in enumerate(zip(rows, masks)):
            if given is None:
                continue
            mask, tokens = np.asarray(given), row.id_count if row.ids else self.info.context
            if mask.shape != (tokens,) or mask.dtype.kind not in "biu":
                raise ValueError(f"the key mask of prompt {index} is an array {list(mask.shape)} of {mask.dtype}; it must be "
                                 f"[{tokens}] of integers or booleans")
            if not ((mask == 0) | (mask == 1)).all():
                raise ValueError(f"the key mask of prompt {index} has a value that is neither 0 nor 1")
            keep.append(np.ascontiguousarray(mask, np.uint8))
            row.key_mask = keep[-1].ctypes.data
        return keep

    def _allocate(self, batch: int, tokens: int, layers: Union[None, Layer, Sequence[Layer]],
                  pooled: Union[None, str, Sequence[str]], dtype: str) -> dict:
        storage = _storage(dtype)
        layers = -2 if layers is None else layers
        layers = [layers] if isinstance(layers, (int, np.integer)) else layers
        pooled = ("projected" if self.info.projection else "raw") if pooled is None else pooled
        keys = [*layers, *([pooled] if isinstance(pooled, str) else pooled)]
        return {key: np.empty(self._shape(key, batch, tokens), storage) for key in keys}

    def _shape(self, key: Union[Layer, str], batch: int, tokens: int) -> tuple[int, ...]:
        if not isinstance(key, str):
            return batch, tokens, self.info.width
        if key not in KINDS or key == "hidden":
            raise ValueError(f"{key!r} is no pooled vector; it must be raw, projected or normalised")
        return batch, self.info.width if key == "raw" else self.info.projection

    def _output(self, key: Union[Layer, str], array: np.ndarray, batch: int, tokens: int,
                final_norm: bool) -> ctypes.Structure:
        to = _pitches(array, self._shape(key, batch, tokens), repr(key))
        if isinstance(key, str):
            return _Output(kind=KINDS[key], to=to)
        layer, norm = key if isinstance(key, tuple) else (key, final_norm)
        if not -2**31 <= layer < 2**31:
            raise ValueError(f"layer {layer} is no layer of a model with {self.info.layers} blocks")
        return _Output(kind=KINDS["hidden"], layer=int(layer), flags=FINAL_NORM if norm else 0, to=to)

    def cancel(self) -> None:
        """Ends the encode in progress, if there is one, at its next block. From any thread; idle: nothing happens."""
        handle = self._handle
        if handle is not None:
            self._api.session_cancel(handle)

    def _alive(self) -> _Handle:
        handle = self._handle
        if handle is None:
            raise ValueError("the session is closed")
        return handle

    def close(self) -> None:
        """Ends the session; an encode under way on another thread ends first. Twice is nothing."""
        self._handle = None

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
