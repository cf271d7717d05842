"""penult_arrays.py - NumPy arrays as the buffers that the library writes into. Knows shapes, strides and dtypes, and nothing
of what they are for. Hosts import penult, not this.
"""
from __future__ import annotations

import ctypes

import numpy as np

from penult_abi import DTYPES, _Buffer


def bfloat16_to_float32(array: np.ndarray) -> np.ndarray:
    """float32 copy of bfloat16 values held as uint16, which NumPy has no type for. Exact."""
    return (array.astype(np.uint32) << 16).view(np.float32)


def _storage(dtype: str) -> np.dtype:
    """NumPy's type for new arrays of that name: bfloat16 is held as uint16."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
    return np.dtype("uint16" if dtype == "bfloat16" else dtype)


def _pitches(array: np.ndarray, shape: tuple[int, ...], what: str) -> ctypes.Structure:
    """The buffer that describes a caller's array, or a ValueError that says why there is none."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"the output for {what} is a {type(array).__name__}; it must be a NumPy array")
    dtype = {"uint16": "bfloat16"}.get(array.dtype.name, array.dtype.name)
    if dtype not in DTYPES or not array.dtype.isnative:
        raise ValueError(f"the output for {what} is {array.dtype}; it must be float32, float16, or uint16 for bfloat16")
    if array.shape != shape:
        raise ValueError(f"the output for {what} has the shape {list(array.shape)}; it must be {list(shape)}")
    if not array.flags.writeable:
        raise ValueError(f"the output for {what} is read-only")
    # An axis of one element has no stride that matters; NumPy may put anything there.
    size, strides = array.itemsize, list(array.strides)
    if shape[-1] > 1 and strides[-1] != size:
        raise ValueError(f"the output for {what} has a last axis with a stride of {strides[-1]} bytes; it must be "
                         f"contiguous ({size})")
    for axis in range(len(shape) - 1):
        if shape[axis] > 1 and strides[axis] <= 0:
            raise ValueError(f"the output for {what} has the stride {strides[axis]} in axis {axis}; it must be "
                             "positive")
    row = shape[-1] * size
    row_pitch = strides[1] if len(shape) == 3 and shape[1] > 1 else row
    rows = (shape[1] - 1) * row_pitch + row if len(shape) == 3 else row
    batch_pitch = strides[0] if shape[0] > 1 else rows
    return _Buffer(data=array.ctypes.data, bytes=(shape[0] - 1) * batch_pitch + rows, batch_pitch=batch_pitch,
                   row_pitch=row_pitch if len(shape) == 3 else 0, dtype=DTYPES[dtype])
