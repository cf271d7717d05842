"""penult_condition_abi.py - what stands between penult_pipeline.py and the extension "penult.condition/1": the structs of
penult_condition.h and its table. Knows no array. Hosts import penult, not this.
"""
from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_int32, c_uint32, c_uint64, c_void_p

from penult_abi import Library, LoadError, _Buffer, _Error, _function, _ProgressFunction, _struct

EXTENSION = "penult.condition/1"
POOLED = {"none": 0, "raw": 2, "projected": 3, "projected_if_any": 16}
UNCONDITIONAL = {"encodes": 0, "zero_if_absent": 1, "zero_if_empty": 2, "zero_always": 3, "none": 4}
SKIP = {"none": 0, "more": 1, "layer": 2, "index": 3}
EMPHASIS = {"original": 0, "no_norm": 1, "ignore": 2, "none": 3}
NO_CACHE, SKIP_ALL, SPLIT, BF16 = 1, 2, 4, 8
CLIP_SKIP, NEGATIVE_SIZES = 1, 2
WINDOW_CACHED, WINDOW_EMPTY, WINDOW_MASKED, WINDOW_PLAIN = 1, 2, 4, 8
CHUNK_CUT = 2**32 - 1


# ---- the structs of penult_condition.h; tests/abi/test_python.py compares them with the pinned layout ----------------

_RecipeInfo = _struct("penult_recipe_info", ("struct_size", c_uint32), ("tower_count", c_uint32), ("name", c_char_p),
                      ("alias", c_char_p), ("source", c_char_p), ("dialect", c_char_p), ("context_width", c_uint32),
                      ("unconditional", c_uint32), ("skip", c_uint32), ("skip_negative", c_uint32),
                      ("time_ids", c_uint32), ("text_mask", c_uint32))
_RecipeTower = _struct("penult_recipe_tower", ("struct_size", c_uint32), ("layer", c_int32), ("name", c_char_p),
                       ("final_norm", c_uint32), ("pooled", c_uint32), ("pads_with_zero", c_uint32),
                       ("key_mask", c_uint32), ("second_prompt", c_uint32), ("skips", c_uint32),
                       ("tokenizer_mode", c_uint32), ("pad_in_text", c_uint32), ("cut_to", c_uint32), ("reserved", c_uint32))
_NamedModel = _struct("penult_named_model", ("name", c_char_p), ("model", c_void_p))
_PipelineParams = _struct("penult_pipeline_params", ("struct_size", c_uint32), ("flags", c_uint32), ("recipe", c_char_p),
                          ("model_count", c_uint32), ("model_stride", c_uint32), ("models", POINTER(_NamedModel)),
                          ("dialect", c_char_p), ("emphasis", c_uint32), ("threads", c_uint32),
                          ("max_windows", c_uint32), ("kernels", c_uint32), ("max_text_bytes", c_uint64),
                          ("cache_bytes", c_uint64))
_PipelineInfo = _struct("penult_pipeline_info", ("struct_size", c_uint32), ("tokens", c_uint32), ("recipe", c_char_p),
                        ("dialect", c_char_p), ("context_width", c_uint32), ("pooled_width", c_uint32),
                        ("vector_width", c_uint32), ("tensors", c_uint32), ("max_windows", c_uint32),
                        ("cache_windows", c_uint32), ("bytes", c_uint64))
_ConditionText = _struct("penult_condition_text", ("text", c_char_p), ("text_bytes", c_uint64))
_NamedTensor = _struct("penult_named_tensor", ("name", c_char_p), ("to", _Buffer))
_ConditionSizes = _struct("penult_condition_sizes", ("original_height", c_uint32), ("original_width", c_uint32),
                          ("crop_top", c_uint32), ("crop_left", c_uint32), ("target_height", c_uint32),
                          ("target_width", c_uint32), ("aesthetic_score", c_double))
_ConditionRequest = _struct("penult_condition_request", ("struct_size", c_uint32), ("flags", c_uint32),
                            ("prompt", _ConditionText), ("prompt_2", _ConditionText), ("negative", _ConditionText),
                            ("negative_2", _ConditionText), ("sizes", _ConditionSizes),
                            ("negative_sizes", _ConditionSizes), ("clip_skip", c_int32), ("tensor_count", c_uint32),
                            ("tensor_stride", c_uint32), ("reserved", c_uint32), ("tensors", POINTER(_NamedTensor)),
                            ("progress", _ProgressFunction), ("user", c_void_p))
_ConditionToken = _struct("penult_condition_token", ("id", c_int32), ("tower", c_uint32), ("negative", c_uint32),
                          ("chunk", c_uint32), ("row", c_uint32), ("reserved", c_uint32), ("begin", c_uint64),
                          ("end", c_uint64), ("weight", c_double))
_ConditionWindow = _struct("penult_condition_window", ("tower", c_uint32), ("flags", c_uint32), ("negative", c_uint32),
                           ("chunk", c_uint32), ("layer", c_int32), ("reserved", c_uint32))
_ConditionResult = _struct("penult_condition_result", ("struct_size", c_uint32), ("token_stride", c_uint32),
                           ("tokens", c_void_p), ("token_capacity", c_uint64), ("token_count", c_uint64),
                           ("cut_count", c_uint64), ("windows", POINTER(_ConditionWindow)), ("window_stride", c_uint32),
                           ("window_capacity", c_uint32), ("window_count", c_uint32), ("cached_count", c_uint32),
                           ("chunks", c_uint32), ("negative_chunks", c_uint32), ("own_chunks", c_uint32),
                           ("negative_own_chunks", c_uint32), ("blocks_run", c_uint32), ("negative_zero", c_uint32))
_TensorInfo = _struct("penult_tensor_info", ("struct_size", c_uint32), ("rank", c_uint32), ("name", c_char_p),
                      ("shape", c_uint64 * 4))

_Call = _function(c_int32, c_void_p, POINTER(_ConditionRequest), POINTER(_ConditionResult), POINTER(_Error))
_ConditionApi = _struct(
    "penult_condition_api", ("struct_size", c_uint32), ("version", c_uint32),
    ("recipe", _function(c_int32, c_uint32, c_char_p, POINTER(_RecipeInfo), POINTER(_Error))),
    ("recipe_tower", _function(c_int32, c_char_p, c_uint32, POINTER(_RecipeTower), POINTER(_Error))),
    ("pipeline_measure", _function(c_int32, POINTER(_PipelineParams), POINTER(c_uint64), POINTER(_Error))),
    ("pipeline_open", _function(c_int32, POINTER(_PipelineParams), POINTER(c_void_p), POINTER(_Error))),
    ("pipeline_close", _function(None, c_void_p)),
    ("pipeline_describe", _function(c_int32, c_void_p, POINTER(_PipelineInfo), POINTER(_Error))),
    ("tensor", _function(c_int32, c_void_p, c_uint32, c_uint32, POINTER(_TensorInfo), POINTER(_Error))),
    ("plan", _Call), ("condition", _Call),
    ("pipeline_cancel", _function(None, c_void_p)))


def _condition_api(library: Library) -> ctypes.Structure:
    """The extension's table. LoadError where the library has none, or a shorter one than this file was written for."""
    address = library._api.extension(EXTENSION.encode()) if library._api.extension else None
    if not address:
        raise LoadError(2, f"{library.path} is penult {library.version}, which has no {EXTENSION}")
    table = ctypes.cast(address, POINTER(_ConditionApi)).contents
    if table.struct_size < ctypes.sizeof(_ConditionApi):
        raise LoadError(2, f"{library.path} has a table of {table.struct_size} bytes for {EXTENSION}; this binding needs "
                           f"{ctypes.sizeof(_ConditionApi)}")
    return table
