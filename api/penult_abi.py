"""penult_abi.py - what stands between penult.py and the shared library: the structs of penult.h, finding and loading
the library, handles, callbacks, and statuses as exceptions. Knows no array. Hosts import penult, not this.
"""
from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ctypes import POINTER, c_char, c_char_p, c_double, c_int32, c_uint8, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

ABI = (0, 5)
STATUS = ("OK", "ARGUMENT", "UNSUPPORTED", "NOT_FOUND", "IO", "FORMAT", "TRUNCATED", "TRAILING", "MISMATCH",
          "NO_MEMORY", "TEXT", "LIMIT", "NO_TOKENIZER", "CANCELLED", "NON_FINITE", "CHANGED", "WRONG_PROCESS")
DTYPES = {"float32": 1, "float16": 2, "bfloat16": 3}
WEIGHT_DTYPES = {**DTYPES, "float64": 4, "float8_e4m3": 5, "float8_e5m2": 6}
ACTIVATIONS = {"quick_gelu": 1, "gelu": 2}
KERNELS = {"best": 0, "scalar": 1, "openblas": 2, "avx2": 3, "avx512": 4, "amx": 5}
ARITHMETIC = {"exact": 0, "bf16": 1}
TOKENIZER_MODES = {"transformers": 0, "open_clip": 1}
PADS_IN_TEXT = {"files": 0, "text": 1, "special": 2}
KINDS = {"hidden": 1, "raw": 2, "projected": 3, "normalised": 4}
SEVERITIES = {1: "note", 2: "warning", 3: "error"}
ABOUT = ("other", "format", "layout", "tower", "assumption", "used", "ignored", "missing", "wrong", "unexpected")
FINAL_NORM, TOKENS_BODY, NOWHERE, LIST_TENSORS = 1, 1, 2**64 - 1, 1

Progress = Callable[[int, int], object]


# ---- the structs of penult.h; tests/abi/test_python.py compares them with the pinned layout -------------------------

def _struct(name: str, *members: tuple) -> type:
    return type(name, (ctypes.Structure,), {"_fields_": list(members), "__slots__": ()})


_Error = _struct("penult_error", ("status", c_int32), ("message", c_char * 508))
_Report = _struct("penult_report", ("struct_size", c_uint32), ("severity", c_uint32), ("subject", c_char_p),
                  ("message", c_char_p), ("kind", c_uint32), ("reserved", c_uint32), ("tensors", c_uint64),
                  ("bytes", c_uint64))
_Progress = _struct("penult_progress", ("struct_size", c_uint32), ("stage", c_uint32), ("done", c_uint64),
                    ("total", c_uint64))
_ReportFunction = ctypes.CFUNCTYPE(None, c_void_p, POINTER(_Report))
_ProgressFunction = ctypes.CFUNCTYPE(c_int32, c_void_p, POINTER(_Progress))
_OpenParams = _struct("penult_open_params", ("struct_size", c_uint32), ("access", c_uint32), ("path", c_char_p),
                      ("tokenizer_path", c_char_p), ("activation", c_uint32), ("reserved", c_uint32),
                      ("report", _ReportFunction), ("progress", _ProgressFunction), ("user", c_void_p),
                      ("tower", c_char_p), ("heads", c_uint32), ("flags", c_uint32),
                      ("tokenizer_mode", c_uint32), ("pad_in_text", c_uint32))
_ModelInfo = _struct("penult_model_info", ("struct_size", c_uint32), ("width", c_uint32), ("layers", c_uint32),
                     ("heads", c_uint32), ("mlp_width", c_uint32), ("context", c_uint32), ("vocabulary", c_uint32),
                     ("projection", c_uint32), ("activation", c_uint32), ("dtype", c_uint32), ("start_id", c_int32),
                     ("end_id", c_int32), ("pad_id", c_int32), ("access", c_uint32), ("parameters", c_uint64),
                     ("bytes_file", c_uint64), ("bytes_mapped", c_uint64), ("norm_epsilon", c_double),
                     ("layout", c_char * 32), ("kernels", c_char * 96), ("tower", c_char * 32), ("bytes_used", c_uint64),
                     ("tensors_used", c_uint32), ("files", c_uint32))
_TokenRequest = _struct("penult_token_request", ("struct_size", c_uint32), ("flags", c_uint32), ("text", c_char_p),
                        ("text_bytes", c_uint64))
_TokenResult = _struct("penult_token_result", ("struct_size", c_uint32), ("reserved", c_uint32), ("ids", c_void_p),
                       ("spans", c_void_p), ("capacity", c_uint64), ("id_count", c_uint64), ("body_count", c_uint64),
                       ("cut_count", c_uint64), ("cut_begin", c_uint64), ("end_position", c_uint64))
_SessionParams = _struct("penult_session_params", ("struct_size", c_uint32), ("flags", c_uint32), ("threads", c_uint32),
                         ("max_prompts", c_uint32), ("max_text_bytes", c_uint64), ("kernels", c_uint32),
                         ("arithmetic", c_uint32), ("kept_prompts", c_uint32), ("reserved", c_uint32))
_Prompt = _struct("penult_prompt", ("text", c_char_p), ("text_bytes", c_uint64), ("ids", c_void_p),
                  ("id_count", c_uint64), ("key_mask", c_void_p))
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
    ("extension", _function(c_void_p, c_char_p)),
    ("model_hash", _function(c_int32, c_void_p, POINTER(c_uint8), _ProgressFunction, c_void_p, POINTER(_Error))))
_EntryPoint = _struct("penult_entry_point", ("version", _function(c_char_p)),
                      ("get_api", _function(POINTER(_Api), c_uint32)))


# ---- errors ---------------------------------------------------------------------------------------------------------

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
    """One remark about a file: severity "note", "warning" or "error", the tensor, key or file, and the sentence; what it is
    about, one of ABOUT; the tensors and bytes it speaks of."""
    severity: str
    subject: str
    message: str
    about: str = "other"
    tensors: int = 0
    bytes: int = 0


# ---- the library ----------------------------------------------------------------------------------------------------

class Library:
    """A loaded penult.so. path None: it is in ../build, ../lib/penult, ../../lib/penult or ../../penult, seen from this
    file's folder. Not in the folder itself: there, `import penult` would take penult.so for the module.

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
                               "this binding was written for")
        if table.contents.struct_size < ctypes.sizeof(_Api) or table.contents.abi_minor != ABI[1]:
            raise LoadError(2, f"{self.path} is penult {self.version} with a table of {table.contents.struct_size} "
                               f"bytes; this binding needs the {ctypes.sizeof(_Api)} bytes of ABI {wanted}")
        self._api = table.contents

    @staticmethod
    def _find() -> str:
        # The source tree; an installation with this file in bin, share/penult or python3/site-packages.
        above = Path(__file__).resolve().parent.parent
        places = [above / "build", above / "lib" / "penult", above.parent / "lib" / "penult", above.parent / "penult"]
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


class _Turns:
    """Lets one thread after the other use a handle that takes one call at a time."""

    def __init__(self) -> None:
        self._lock, self._owner, self._process = threading.Lock(), 0, os.getpid()

    @contextmanager
    def take(self, refusal: str) -> Iterator[None]:
        if self._owner == threading.get_ident():
            raise RuntimeError(refusal)
        # In the child of a fork the lock may be held by a thread that is not there; the library refuses by itself.
        with self._lock if self._process == os.getpid() else threading.Lock():
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = 0


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
                                  (report.contents.message or b"").decode("utf-8", "replace"),
                                  ABOUT[report.contents.kind] if report.contents.kind < len(ABOUT) else "other",
                                  report.contents.tensors, report.contents.bytes)
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
