"""penult.py - penult.h for Python: prompts in, NumPy arrays out. Needs NumPy and nothing else.

    import penult
    with penult.Model("text_encoder_2") as model, penult.Session(model) as session:
        encoded = session.encode(["a photo of a cat"])
        encoded.hidden[-2]            # float32 [B,T,D], what SDXL takes
        encoded.pooled["projected"]   # float32 [B,P]

Owns the translation between Python objects and the structs of penult.h, and the life of the handles; knows nothing of
what is computed. Letters: B prompts, T tokens, D width, P projection width, L blocks. Every array that is returned is
the caller's. The interpreter lock is released inside each call, so threads with a session each run side by side. Every
failure of the library is a PenultError.
"""
from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from ctypes import POINTER, c_char, c_char_p, c_double, c_int32, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Optional, Union

import numpy as np

__all__ = ["Cancelled", "Encoded", "Finding", "Library", "LoadError", "Model", "ModelInfo", "PenultError",
           "PromptResult", "Session", "Tokens", "bfloat16_to_float32"]

ABI = (0, 1)
STATUS = ("OK", "ARGUMENT", "UNSUPPORTED", "NOT_FOUND", "IO", "FORMAT", "TRUNCATED", "TRAILING", "MISMATCH",
          "NO_MEMORY", "TEXT", "LIMIT", "NO_TOKENIZER", "CANCELLED", "NON_FINITE", "CHANGED", "WRONG_PROCESS")
DTYPES = {"float32": 1, "float16": 2, "bfloat16": 3}
ACTIVATIONS = {"quick_gelu": 1, "gelu": 2}
KINDS = {"hidden": 1, "raw": 2, "projected": 3, "normalised": 4}
SEVERITIES = {1: "note", 2: "warning", 3: "error"}
FINAL_NORM, TOKENS_BODY, NOWHERE = 1, 1, 2**64 - 1

Progress = Callable[[int, int], object]
Layer = Union[int, "tuple[int, bool]"]


# ---- the structs of penult.h; tests/abi/test_python.py compares them with the pinned layout -------------------------

def _struct(name: str, *members: tuple) -> type:
    return type(name, (ctypes.Structure,), {"_fields_": list(members), "__slots__": ()})


_Error = _struct("penult_error", ("status", c_int32), ("message", c_char * 508))
_Report = _struct("penult_report", ("struct_size", c_uint32), ("severity", c_uint32), ("subject", c_char_p),
                  ("message", c_char_p))
_Progress = _struct("penult_progress", ("struct_size", c_uint32), ("stage", c_uint32), ("done", c_uint64),
                    ("total", c_uint64))
_ReportFunction = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_Report))
_ProgressFunction = ctypes.CFUNCTYPE(c_int32, c_void_p, POINTER(_Progress))
_OpenParams = _struct("penult_open_params", ("struct_size", c_uint32), ("access", c_uint32), ("path", c_char_p),
                      ("tokenizer_path", c_char_p), ("activation", c_uint32), ("reserved", c_uint32),
                      ("report", _ReportFunction), ("progress", _ProgressFunction), ("user", c_void_p))
_ModelInfo = _struct("penult_model_info", ("struct_size", c_uint32), ("width", c_uint32), ("layers", c_uint32),
                     ("heads", c_uint32), ("mlp_width", c_uint32), ("context", c_uint32), ("vocabulary", c_uint32),
                     ("projection", c_uint32), ("activation", c_uint32), ("dtype", c_uint32), ("start_id", c_int32),
                     ("end_id", c_int32), ("pad_id", c_int32), ("access", c_uint32), ("parameters", c_uint64),
                     ("bytes_file", c_uint64), ("bytes_mapped", c_uint64), ("norm_epsilon", c_double),
                     ("layout", c_char * 32), ("kernels", c_char * 96))
_TokenRequest = _struct("penult_token_request", ("struct_size", c_uint32), ("flags", c_uint32), ("text", c_char_p),
                        ("text_bytes", c_uint64))
_TokenResult = _struct("penult_token_result", ("struct_size", c_uint32), ("reserved", c_uint32), ("ids", c_void_p),
                       ("spans", c_void_p), ("capacity", c_uint64), ("id_count", c_uint64), ("body_count", c_uint64),
                       ("cut_count", c_uint64), ("cut_begin", c_uint64), ("end_position", c_uint64))
_SessionParams = _struct("penult_session_params", ("struct_size", c_uint32), ("flags", c_uint32), ("threads", c_uint32),
                         ("max_prompts", c_uint32), ("max_text_bytes", c_uint64))
_Prompt = _struct("penult_prompt", ("text", c_char_p), ("text_bytes", c_uint64), ("ids", c_void_p),
                  ("id_count", c_uint64))
_Buffer = _struct("penult_buffer", ("data", c_void_p), ("bytes", c_uint64), ("batch_pitch", c_uint64),
                  ("row_pitch", c_uint64), ("dtype", c_uint32), ("reserved", c_uint32))
_Output = _struct("penult_output", ("kind", c_uint32), ("layer", c_int32), ("flags", c_uint32), ("reserved", c_uint32),
                  ("to", _Buffer))
_TextRequest = _struct("penult_text_request", ("struct_size", c_uint32), ("arithmetic", c_uint32),
                       ("prompt_count", c_uint32), ("prompt_stride", c_uint32), ("prompts", POINTER(_Prompt)),
                       ("output_count", c_uint32), ("output_stride", c_uint32), ("outputs", POINTER(_Output)),
                       ("progress", _ProgressFunction), ("user", c_void_p))
_PromptResult = _struct("penult_prompt_result", ("body_count", c_uint64), ("cut_count", c_uint64),
                        ("cut_begin", c_uint64), ("end_position", c_uint64))
_TextResult = _struct("penult_text_result", ("struct_size", c_uint32), ("tokens", c_uint32), ("prompt_count", c_uint32),
                      ("prompt_stride", c_uint32), ("prompts", POINTER(_PromptResult)), ("blocks_run", c_uint32),
                      ("reserved", c_uint32))


def _function(result: object, *parameters: object) -> type:
    return ctypes.CFUNCTYPE(result, *parameters)


_Api = _struct(
    "penult_api", ("struct_size", c_uint32), ("abi_minor", c_uint32),
    ("model_open", _function(c_int32, POINTER(_OpenParams), POINTER(c_void_p), POINTER(_Error))),
    ("model_close", _function(None, c_void_p)),
    ("model_describe", _function(c_int32, c_void_p, POINTER(_ModelInfo), POINTER(_Error))),
    ("tokenize", _function(c_int32, c_void_p, POINTER(_TokenRequest), POINTER(_TokenResult), POINTER(_Error))),
    ("session_measure", _function(c_int32, c_void_p, POINTER(_SessionParams), POINTER(c_uint64), POINTER(_Error))),
    ("session_open", _function(c_int32, c_void_p, POINTER(_SessionParams), POINTER(c_void_p), POINTER(_Error))),
    ("session_close", _function(None, c_void_p)),
    ("session_cancel", _function(None, c_void_p)),
    ("encode_text", _function(c_int32, c_void_p, POINTER(_TextRequest), POINTER(_TextResult), POINTER(_Error))),
    ("extension", _function(c_void_p, c_char_p)))
_EntryPoint = _struct("penult_entry_point", ("version", _function(c_char_p)),
                      ("get_api", _function(POINTER(_Api), c_uint32)))


# ---- errors and values ----------------------------------------------------------------------------------------------

class PenultError(Exception):
    """What the library refused, in its own sentence.

    status    the PENULT_E_ number
    name      the same as a word, "FORMAT"
    findings  what was reported on the way, for an open
    """

    def __init__(self, status: int, message: str, findings: Sequence["Finding"] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.name = STATUS[status] if 0 <= status < len(STATUS) else f"STATUS_{status}"
        self.findings = list(findings)


class Cancelled(PenultError):
    """The encode or the open was cancelled, by cancel() or by a progress callable that returned something true."""


class LoadError(PenultError):
    """No penult.so, or none that this file can talk to."""


@dataclass(frozen=True)
class Finding:
    """One remark about a file: severity "note", "warning" or "error", the tensor, key or file, and the sentence."""
    severity: str
    subject: str
    message: str


@dataclass(frozen=True)
class ModelInfo:
    """Geometry and origin of a model, as penult_model_info; None where the model has no such id."""
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


def bfloat16_to_float32(array: np.ndarray) -> np.ndarray:
    """float32 copy of bfloat16 values held as uint16, which NumPy has no type for. Exact."""
    return (array.astype(np.uint32) << 16).view(np.float32)


# ---- the library ----------------------------------------------------------------------------------------------------

class Library:
    """A loaded penult.so. path None: beside this file, then in ../build, ../lib/penult and ../../lib/penult of it.

    version: the library's own; path: the file that was loaded. Errors: LoadError. Stays loaded until the process ends.
    """
    _default: Optional["Library"] = None
    _default_lock = threading.Lock()

    def __init__(self, path: Union[str, os.PathLike, None] = None) -> None:
        self.path = self._find() if path is None else os.fspath(path)
        _bytes_of_path(self.path, "the library's path")
        if not self.path:
            raise LoadError(1, "no penult was loaded: the path is empty")
        try:
            self._library = ctypes.CDLL(self.path)
        except OSError as error:
            raise LoadError(3, f"{self.path} could not be loaded: {error}") from None
        if os.sep in self.path:
            self.path = os.path.realpath(self.path)
        try:
            entry = self._library.penult_entry
        except AttributeError:
            raise LoadError(2, f"{self.path} is not a penult: it has no symbol penult_entry") from None
        entry.restype = POINTER(_EntryPoint)
        point = entry()
        if not point or not point.contents.version or not point.contents.get_api:
            raise LoadError(2, f"{self.path} is not a penult: its penult_entry returned nothing to call")
        self.version = (point.contents.version() or b"of unknown version").decode("utf-8", "replace")
        table = point.contents.get_api(ABI[0] << 16 | ABI[1])
        wanted = "{}.{}".format(*ABI)
        if not table:
            raise LoadError(2, f"{self.path} is penult {self.version}, which does not offer ABI {wanted}, the one that "
                               "penult.py was written for")
        if table.contents.struct_size < ctypes.sizeof(_Api) or table.contents.abi_minor != ABI[1]:
            raise LoadError(2, f"{self.path} is penult {self.version} with a table of {table.contents.struct_size} "
                               f"bytes; penult.py needs the {ctypes.sizeof(_Api)} bytes of ABI {wanted}")
        self._api = table.contents

    @staticmethod
    def _find() -> str:
        here = Path(__file__).resolve().parent
        places = [here, here.parent / "build", here.parent / "lib" / "penult", here.parent.parent / "lib" / "penult"]
        for place in places:
            if (place / "penult.so").is_file():
                return str(place / "penult.so")
        raise LoadError(3, "penult.so was not found in any of " + ", ".join(str(place) for place in places))

    @classmethod
    def default(cls) -> "Library":
        """The library that Model takes when it is given none; loaded once."""
        with cls._default_lock:
            if cls._default is None:
                cls._default = cls()
            return cls._default


class _Handle:
    """Closes a handle of the library once nobody uses it any more. It is passed to the functions itself, so ctypes
    holds it while a call runs, and a close on one thread never takes a handle from under another."""

    def __init__(self, close: Callable[[int], None], value: int) -> None:
        self._as_parameter_ = c_void_p(value)
        self._end = weakref.finalize(self, _Handle._close, close, value, os.getpid())
        self._end.atexit = False  # a thread may still be encoding when the interpreter goes; the system cleans up

    @staticmethod
    def _close(close: Callable[[int], None], value: int, process: int) -> None:
        if os.getpid() == process:  # the child of a fork has the number, but not the handle
            close(value)


class _Callback:
    """Runs a Python callable inside a C call. Its exception cannot cross C: it is kept, cancels, is raised after."""

    def __init__(self) -> None:
        self.exception: Optional[BaseException] = None

    def progress(self, function: Optional[Progress]) -> object:
        # Installed even without a function: Python handles Ctrl-C only between its own instructions.
        def call(_user: object, progress: object) -> int:
            try:
                return 1 if function and function(progress.contents.done, progress.contents.total) else 0
            except BaseException as exception:  # noqa: BLE001 - raised again by done()
                self.exception = exception
                return 1
        return _ProgressFunction(call)

    def report(self, findings: list[Finding], function: Optional[Callable[[Finding], object]]) -> object:
        def call(_user: object, report: object) -> None:
            try:
                finding = Finding(SEVERITIES.get(report.contents.severity, str(report.contents.severity)),
                                  (report.contents.subject or b"").decode("utf-8", "replace"),
                                  (report.contents.message or b"").decode("utf-8", "replace"))
                findings.append(finding)
                if function is not None and self.exception is None:
                    function(finding)
            except BaseException as exception:  # noqa: BLE001
                self.exception = self.exception or exception
        return _ReportFunction(call)

    def done(self) -> None:
        exception, self.exception = self.exception, None
        if exception is not None:
            raise exception


def _check(status: int, error: ctypes.Structure, findings: Sequence[Finding] = ()) -> None:
    if status != 0:
        kind = Cancelled if status == STATUS.index("CANCELLED") else PenultError
        raise kind(status, error.message.decode("utf-8", "replace"), findings)


def _bytes_of_path(path: Union[str, os.PathLike, None], what: str) -> Optional[bytes]:
    encoded = None if path is None else os.fsencode(path)
    if encoded is not None and b"\0" in encoded:
        raise ValueError(f"{what} has a NUL byte in it: {path!r}")
    return encoded


def _bytes_of_text(text: Union[str, bytes]) -> bytes:
    # A lone surrogate becomes bytes that are no UTF-8, so that the library's own error names the offset.
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)


def _sized(struct: type, **members: object) -> ctypes.Structure:
    return struct(struct_size=ctypes.sizeof(struct), **members)


def _count(value: int, most: int, what: str) -> int:
    # ctypes would take the lower bits of whatever it is given.
    if not 0 <= value <= most:
        raise ValueError(f"{what} is {value}; it must be 0 to {most}")
    return int(value)


# ---- model ----------------------------------------------------------------------------------------------------------

class Model:
    """An open text tower and its tokenizer, usable from any thread.

    path        a directory as transformers writes it
    tokenizer   a directory or a tokenizer.json; None: in `path`, or none at all
    activation  "quick_gelu" or "gelu", to override config.json
    copy        True: read the weights into memory; False: map the file and use it in place
    report      called with each Finding as it is made; they are all in .findings afterwards too
    progress    called with (bytes done, bytes in all) while copying; something true cancels, as does an exception
    library     a Library; None: Library.default()

    .info is a ModelInfo. Errors: PenultError. close() or `with` ends it early; sessions keep what they need.
    """

    def __init__(self, path: Union[str, os.PathLike], tokenizer: Union[str, os.PathLike, None] = None,
                 activation: Optional[str] = None, copy: bool = False,
                 report: Optional[Callable[[Finding], object]] = None, progress: Optional[Progress] = None,
                 library: Optional[Library] = None) -> None:
        if activation is not None and activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}; it must be one of {', '.join(ACTIVATIONS)}, or None")
        self.library = Library.default() if library is None else library
        self._api = self.library._api
        self.findings: list[Finding] = []
        callback, error, handle = _Callback(), _Error(), c_void_p()
        params = _sized(_OpenParams, access=1 if copy else 0, path=_bytes_of_path(path, "the model's path"),
                        tokenizer_path=_bytes_of_path(tokenizer, "the tokenizer's path"),
                        activation=ACTIVATIONS[activation] if activation else 0,
                        report=callback.report(self.findings, report), progress=callback.progress(progress))
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
        for name, words in (("activation", ACTIVATIONS), ("dtype", DTYPES), ("access", {"map": 0, "copy": 1})):
            values[name] = {number: word for word, number in words.items()}.get(values[name], str(values[name]))
        for name in ("start_id", "end_id", "pad_id"):
            values[name] = None if values[name] < 0 else values[name]
        for name in ("layout", "kernels"):
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

    def measure(self, threads: int = 0, max_prompts: int = 1, max_text_bytes: int = 0) -> int:
        """The bytes of memory that a Session of these parameters would take."""
        error, size = _Error(), c_uint64()
        params = _session_params(threads, max_prompts, max_text_bytes)
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

def _session_params(threads: int, max_prompts: int, max_text_bytes: int) -> ctypes.Structure:
    return _sized(_SessionParams, threads=_count(threads, 2**32 - 1, "threads"),
                  max_prompts=_count(max_prompts, 2**32 - 1, "max_prompts"),
                  max_text_bytes=_count(max_text_bytes, 2**64 - 1, "max_text_bytes"))


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


class Session:
    """Scratch memory and worker threads for encoding with one model.

    threads 0: the CPUs this process may use; max_prompts: the largest B; max_text_bytes 0: 65536. One encode at a time:
    a second thread waits. close() or `with` ends it early.
    """

    def __init__(self, model: Model, threads: int = 0, max_prompts: int = 1, max_text_bytes: int = 0) -> None:
        handle, error = c_void_p(), _Error()
        self.info, self._api = model.info, model._api
        params = _session_params(threads, max_prompts, max_text_bytes)
        _check(self._api.session_open(model._alive(), params, handle, error), error)
        self._handle: Optional[_Handle] = _Handle(self._api.session_close, handle.value)
        self._lock, self._owner, self._process = threading.Lock(), 0, os.getpid()

    def encode(self, prompts: Union[str, Sequence, np.ndarray], layers: Union[None, Layer, Sequence[Layer]] = None,
               final_norm: bool = False, pooled: Union[None, str, Sequence[str]] = None, dtype: str = "float32",
               outputs: Optional[Mapping[Union[Layer, str], np.ndarray]] = None,
               progress: Optional[Progress] = None) -> Encoded:
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

        Errors: PenultError; Cancelled, after which the contents of `outputs` are unspecified; ValueError or TypeError
        for an array that cannot be written into. Other errors leave `outputs` untouched.
        """
        if outputs is not None and not (layers is None and pooled is None):
            raise TypeError("outputs says itself which layers and pooled vectors are wanted; layers and pooled must be "
                            "None")
        rows, keep, tokens = self._prompts(prompts)
        if len(rows) == 0:
            raise ValueError("there are no prompts")
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
        if self._owner == threading.get_ident():
            raise RuntimeError("encode was called from inside a callback of the same session")
        # In the child of a fork the lock may be held by a thread that is not there; the library refuses by itself.
        with self._lock if self._process == os.getpid() else threading.Lock():
            self._owner = threading.get_ident()
            try:
                status = self._api.encode_text(self._alive(), request, result, error)
            finally:
                self._owner = 0
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

    def _allocate(self, batch: int, tokens: int, layers: Union[None, Layer, Sequence[Layer]],
                  pooled: Union[None, str, Sequence[str]], dtype: str) -> dict:
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}; it must be one of {', '.join(DTYPES)}")
        storage = np.dtype("uint16" if dtype == "bfloat16" else dtype)
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
