"""test_python.py PLUGIN MODEL - penult.py on the real plugin and a real model: what goes in, what comes out. TAP.

Protects the Python face: that its structs are those of penult.h, that arrays of every legal layout get the right values
and nothing beside them, and that each error is the exception that a Python author expects. Needs NumPy only.
"""
import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from python_host import HERE, LIBRARY, MODEL, PROMPTS, main, opened, penult, raises, test
import penult_abi  # beside penult, whose folder python_host has put on the path
import penult_condition_abi


# ---- what is described ----------------------------------------------------------------------------------------------

@test
def structs_are_those_of_the_header():
    """Every size and offset that offsets.c and offsets_condition.c pin, and no struct forgotten."""
    pinned = (HERE / "offsets.c").read_text() + (HERE / "offsets_condition.c").read_text()
    python = {struct.__name__: struct for module in (penult_abi, penult_condition_abi) for struct in vars(module).values()
              if isinstance(struct, type) and issubclass(struct, ctypes.Structure)}
    sizes = re.findall(r"^SIZE\((\w+), (\d+)\)", pinned, re.M)
    members = re.findall(r"^AT\((\w+), (\w+), (\d+), (\d+)\)", pinned, re.M)
    assert len(sizes) > 10 and len(members) > 100
    for name, size in sizes:
        if name == "penult_span":  # an array [n,2] in Python
            continue
        assert ctypes.sizeof(python[name]) == int(size), name
        names = [member for owner, member, *_ in members if owner == name]
        assert [field[0] for field in python[name]._fields_] == names
    for name, member, offset, size in members:
        if name != "penult_span":
            field = getattr(python[name], member)
            assert (field.offset, field.size) == (int(offset), int(size)), f"{name}.{member}"


@test
def constants_are_those_of_the_header():
    pinned = dict(re.findall(r"^VALUE\(PENULT_(\w+), (\d+)\)", (HERE / "offsets.c").read_text(), re.M))
    statuses = {name[2:]: int(value) for name, value in pinned.items() if name.startswith("E_")}
    assert statuses == {name: number for number, name in enumerate(penult_abi.STATUS) if number}
    assert (int(pinned["ABI_MAJOR"]), int(pinned["ABI_MINOR"])) == penult_abi.ABI
    for word, name in (("float32", "F32"), ("float16", "F16"), ("bfloat16", "BF16")):
        assert penult_abi.DTYPES[word] == int(pinned[name])
    for word, name in (("quick_gelu", "QUICK_GELU"), ("gelu", "GELU")):
        assert penult_abi.ACTIVATIONS[word] == int(pinned[name])
    for word, name in (("transformers", "TRANSFORMERS"), ("open_clip", "OPEN_CLIP")):
        assert penult_abi.TOKENIZER_MODES[word] == int(pinned["TOKENIZER_" + name])
    for word, name in (("files", "AS_FILES_SAY"), ("text", "IS_TEXT"), ("special", "IS_SPECIAL")):
        assert penult_abi.PADS_IN_TEXT[word] == int(pinned["PAD_" + name])
    for word in ("scalar", "openblas", "avx2", "avx512", "amx"):
        assert penult_abi.KERNELS[word] == int(pinned["KERNELS_" + word.upper()])
    for word in ("exact", "bf16"):
        assert penult_abi.ARITHMETIC[word] == int(pinned["ARITHMETIC_" + word.upper()])
    for word, name in (("hidden", "HIDDEN"), ("raw", "POOLED_RAW"), ("projected", "POOLED_PROJECTED"),
                       ("normalised", "POOLED_NORMALISED")):
        assert penult_abi.KINDS[word] == int(pinned[name])
    assert penult_abi.FINAL_NORM == int(pinned["FINAL_NORM"]) and penult_abi.TOKENS_BODY == int(pinned["TOKENS_BODY"])
    assert [int(pinned["REPORT_" + name]) for name in ("NOTE", "WARNING", "ERROR")] == list(penult_abi.SEVERITIES)


@test
def constants_are_those_of_the_extension():
    pinned = dict(re.findall(r"^VALUE\(PENULT_(\w+), (\d+)\)", (HERE / "offsets_condition.c").read_text(), re.M))
    core = dict(re.findall(r"^VALUE\(PENULT_(\w+), (\d+)\)", (HERE / "offsets.c").read_text(), re.M))
    for prefix, words in (("UNCONDITIONAL_", penult_condition_abi.UNCONDITIONAL), ("SKIP_", penult_condition_abi.SKIP),
                          ("EMPHASIS_", penult_condition_abi.EMPHASIS), ("POOLED_", penult_condition_abi.POOLED)):
        named = {name[len(prefix):].lower(): int(value) for name, value in pinned.items() if name.startswith(prefix)}
        for word in set(words) - set(named):  # raw and projected are penult.h's
            named[word] = int(core[prefix + word.upper()])
        assert named == words, prefix
    for name in ("PIPELINE_NO_CACHE", "PIPELINE_SKIP_ALL", "PIPELINE_SPLIT", "PIPELINE_BF16", "CONDITION_CLIP_SKIP",
                 "CONDITION_NEGATIVE_SIZES", "CHUNK_CUT", "WINDOW_CACHED", "WINDOW_EMPTY", "WINDOW_MASKED", "WINDOW_PLAIN"):
        word = re.sub("^(PIPELINE|CONDITION)_", "", name)
        assert getattr(penult_condition_abi, word) == int(pinned[name]), name


@test
def a_tokenizer_alone():
    with penult.Model(None, tokenizer=MODEL, library=LIBRARY) as alone, penult.Model(MODEL, library=LIBRARY) as whole:
        assert (alone.info.width, alone.info.dtype, alone.info.activation, alone.info.context) == (0, "none", "none", 77)
        assert alone.tokenize("a cat!").ids.tolist() == whole.tokenize("a cat!").ids.tolist()
        raises(penult.PenultError, lambda: penult.Session(alone), "only a tokenizer")
    with penult.Model(None, tokenizer=MODEL, library=LIBRARY, tokenizer_mode="open_clip") as cleaned:
        assert cleaned.tokenize("x&lt;", body=True).pieces == [b"x", b"&lt;"]
    ids = [penult.Model(None, tokenizer=MODEL, library=LIBRARY, pad_in_text=word).tokenize("!", body=True).ids.tolist()
           for word in ("files", "special", "text")]
    assert ids == [[0], [0], [256]]
    raises(ValueError, lambda: penult.Model(MODEL, library=LIBRARY, tokenizer_mode="oai"), "oai")
    raises(ValueError, lambda: penult.Model(MODEL, library=LIBRARY, pad_in_text="no"), "no")


@test
def wrong_libraries_are_named():
    raises(penult.LoadError, lambda: penult.Library("no/such/penult.so"), "no/such/penult.so", "could not be loaded")
    raises(penult.LoadError, lambda: penult.Library(__file__), __file__, "could not be loaded")
    raises(penult.LoadError, lambda: penult.Library(""), "empty")
    raises(ValueError, lambda: penult.Library("a\0b"), "NUL")
    other = next(str(path) for path in Path("/proc/self/maps").read_text().split() if "/libc.so" in path)
    raises(penult.LoadError, lambda: penult.Library(other), "is not a penult", "penult_entry")
    assert LIBRARY.version.startswith("0.5.")


@test
def the_library_is_found_where_it_is_installed():
    """`import penult` and nothing else works in the source tree and in an installation, whatever the folder."""
    sanitizer = {name: os.environ[name] for name in ("LD_PRELOAD", "ASAN_OPTIONS") if name in os.environ}
    def run(place):
        return subprocess.run([sys.executable, "-Bc", "import penult; print(penult.Library().path)"], cwd="/",
                              text=True, capture_output=True, env={"PYTHONPATH": str(place)} | sanitizer)
    for module, library in (("api", "build"), ("share/penult", "lib/penult"), ("bin", "lib/penult"),
                            ("lib/python3/site-packages", "lib/penult")):
        with tempfile.TemporaryDirectory() as root:
            for folder in (module, library):
                (Path(root) / folder).mkdir(parents=True)
            for file in Path(penult.__file__).parent.glob("*.py"):
                shutil.copy(file, Path(root) / module)
            lost = run(Path(root) / module)
            assert "LoadError" in lost.stderr and "penult.so was not found" in lost.stderr, lost
            (Path(root) / library / "penult.so").symlink_to(LIBRARY.path)
            found = run(Path(root) / module)
            assert found.stdout.strip() == LIBRARY.path, found


@test
def the_model_describes_itself():
    with opened() as model, opened(copy=True) as copied:
        info = model.info
        assert info.context == 77 and info.layers > 1 and info.width % info.heads == 0
        assert info.activation in ("gelu", "quick_gelu") and info.dtype in ("float32", "float16", "bfloat16")
        assert info.start_id >= 0 and info.end_id >= 0 and info.layout == "transformers" and info.kernels
        assert (info.access, copied.info.access) == ("map", "copy")
        assert info.parameters == copied.info.parameters > 0 and info.bytes_file > info.parameters
        assert all(isinstance(finding, penult.Finding) for finding in model.findings)
    with opened(activation="quick_gelu") as other:
        assert other.info.activation == "quick_gelu"


@test
def errors_say_what_and_where():
    error = raises(penult.PenultError, lambda: penult.Model("no/such/model", library=LIBRARY), "no/such/model",
                   name="NOT_FOUND", status=3)
    assert isinstance(error.findings, list)
    raises(penult.PenultError, lambda: opened(tokenizer="no/such"), "no/such", name="NOT_FOUND")
    raises(ValueError, lambda: opened(activation="relu"), "relu", "quick_gelu")
    raises(ValueError, lambda: penult.Model("a\0b", library=LIBRARY), "NUL")


# ---- tokens ---------------------------------------------------------------------------------------------------------

@test
def tokens_have_ids_and_bytes():
    with opened() as model:
        tokens = model.tokenize("a cat, caf\u00e9")
        assert tokens.ids.dtype == np.int32 and tokens.ids.shape == (77,) and tokens.spans.shape == (77, 2)
        assert tokens.ids[0] == model.info.start_id and tokens.ids[tokens.end_position] == model.info.end_id
        assert tokens.end_position == tokens.body_count + 1 and tokens.cut_count == 0
        assert b"".join(tokens.pieces).replace(b" ", b"") == "acat,caf\u00e9".encode()
        body = model.tokenize("a cat, caf\u00e9", body=True)
        assert body.end_position is None and np.array_equal(body.ids, tokens.ids[1:tokens.end_position])
        assert np.array_equal(model.tokenize("a cat, caf\u00e9".encode()).ids, tokens.ids)


@test
def cut_text_is_accounted_for():
    with opened() as model:
        text = "zqxj " * 60
        tokens, body = model.tokenize(text), model.tokenize(text, body=True)
        assert tokens.body_count == 75 and tokens.cut_count == len(body.ids) - 75
        assert np.array_equal(tokens.ids[1:76], body.ids[:75]) and tokens.cut_begin == body.spans[75, 0]
        # More ids than bytes in the text at first sight: the buffer has to grow (one character, three when composed).
        grown = model.tokenize("\U0001d160" * 400, body=True)
        assert len(grown.ids) == grown.body_count > 400


@test
def text_that_is_no_text():
    with opened() as model:
        raises(penult.PenultError, lambda: model.tokenize(b"abc\xff"), "3", name="TEXT")
        raises(penult.PenultError, lambda: model.tokenize("abc\ud800"), "3", name="TEXT")
        assert np.array_equal(model.tokenize("a\0b").ids, model.tokenize(b"a\0b").ids)
        assert len(model.tokenize("a\0b").text) == 3


# ---- encoding -------------------------------------------------------------------------------------------------------

@test
def an_encode_has_every_shape():
    with opened() as model, penult.Session(model, threads=2, max_prompts=3) as session:
        info = model.info
        encoded = session.encode(PROMPTS, layers=[-2, 0, -1, (-1, True)], pooled=["raw", "projected", "normalised"])
        assert list(encoded.hidden) == [-2, 0, -1, (-1, True)]
        assert all(a.shape == (3, 77, info.width) and a.dtype == np.float32 for a in encoded.hidden.values())
        assert {name: a.shape[1] for name, a in encoded.pooled.items()} == {
            "raw": info.width, "projected": info.projection, "normalised": info.projection}
        assert encoded.tokens == 77 and encoded.blocks_run == info.layers
        assert all(np.isfinite(a).all() for a in (*encoded.hidden.values(), *encoded.pooled.values()))
        # Independent facts: the raw pooled vector is a row of the normed last state; the normalised one has length 1.
        for row, result in enumerate(encoded.prompts):
            assert np.array_equal(encoded.pooled["raw"][row], encoded.hidden[(-1, True)][row, result.end_position])
        assert np.allclose(np.linalg.norm(encoded.pooled["normalised"], axis=1), 1, atol=1e-6)
        single = session.encode(PROMPTS[0])
        assert np.array_equal(single.hidden[-2][0], encoded.hidden[-2][0])
        assert np.array_equal(single.pooled["projected"][0], encoded.pooled["projected"][0])
        early = session.encode(PROMPTS[0], layers=1, pooled=())
        assert early.blocks_run == 1 and not early.pooled
        normed = session.encode(PROMPTS[0], layers=-1, final_norm=True, pooled=())
        assert np.array_equal(normed.hidden[-1][0], encoded.hidden[(-1, True)][0])


@test
def ids_and_text_are_the_same_prompt():
    with opened() as model, penult.Session(model, max_prompts=3) as session:
        ids = np.stack([model.tokenize(prompt).ids for prompt in PROMPTS])
        by_text = session.encode(PROMPTS)
        for form in (ids, ids.astype(np.int64), np.asfortranarray(ids), list(ids), ids.tolist(),
                     [PROMPTS[0], *ids[1:]]):
            by_ids = session.encode(form)
            assert np.array_equal(by_ids.hidden[-2], by_text.hidden[-2])
            assert np.array_equal(by_ids.pooled["projected"], by_text.pooled["projected"])
        assert [p.end_position for p in by_ids.prompts] == [p.end_position for p in by_text.prompts]
        short = session.encode(ids[:1, :5], pooled=())
        assert short.hidden[-2].shape == (1, 5, model.info.width) and short.prompts[0].end_position is None
        raises(ValueError, lambda: session.encode([2**31 + np.arange(3)]), "32 bits")
        raises(ValueError, lambda: session.encode([[1.5, 2.5]]), "neither text nor one row")
        raises(penult.PenultError, lambda: session.encode([[-1, 2]], pooled=()), "-1", name="ARGUMENT")
        raises(penult.PenultError, lambda: session.encode([ids[0], ids[1, :9]]), name="ARGUMENT")
        raises(ValueError, lambda: session.encode([]), "no prompts")


@test
def key_masks_hide_tokens():
    with opened() as model, penult.Session(model, max_prompts=3) as session:
        plain = session.encode(PROMPTS)
        ends = [prompt.end_position for prompt in plain.prompts]
        masks = np.arange(77) <= np.array(ends)[:, None]
        hidden = session.encode(PROMPTS, key_masks=masks)
        for form in (masks.astype(np.int64), masks.tolist(), list(masks.astype(np.uint8)), np.asfortranarray(masks)):
            assert np.array_equal(session.encode(PROMPTS, key_masks=form).hidden[-2], hidden.hidden[-2])
        for index, end in enumerate(ends):
            assert np.array_equal(hidden.hidden[-2][index, :end + 1], plain.hidden[-2][index, :end + 1])
            assert end == 76 or not np.array_equal(hidden.hidden[-2][index, end + 1:], plain.hidden[-2][index, end + 1:])
        assert np.array_equal(hidden.pooled["projected"], plain.pooled["projected"])
        assert hidden.prompts == plain.prompts
        one = session.encode(PROMPTS, key_masks=[None, masks[1], None])
        assert np.array_equal(one.hidden[-2][::2], plain.hidden[-2][::2])
        assert np.array_equal(one.hidden[-2][1], hidden.hidden[-2][1])
        ids = model.tokenize(PROMPTS[0]).ids[:5]
        short = session.encode([ids], pooled=(), key_masks=[[1, 0, 1, 1, 1]])
        other = session.encode([[ids[0], 7, *ids[2:]]], pooled=(), key_masks=[[1, 0, 1, 1, 1]])
        assert np.array_equal(short.hidden[-2][0, 2:], other.hidden[-2][0, 2:])
        raises(ValueError, lambda: session.encode(PROMPTS, key_masks=masks[:2]), "2 key masks", "3 prompts")
        raises(ValueError, lambda: session.encode(PROMPTS, key_masks=masks[:, :76]), "prompt 0", "[76]", "[77]")
        raises(ValueError, lambda: session.encode([ids], key_masks=masks[:1]), "prompt 0", "[77]", "[5]")
        raises(ValueError, lambda: session.encode(PROMPTS, key_masks=masks * 1.0), "float64", "integers")
        raises(ValueError, lambda: session.encode(PROMPTS, key_masks=masks * 256), "prompt 0", "neither 0 nor 1")
        raises(penult.PenultError, lambda: session.encode(PROMPTS, key_masks=~masks), "prompt 0", "token 0", name="ARGUMENT")


@test
def arithmetic_has_a_name():
    """bf16 is near exact, is not it, and is itself whatever the threads and the batch; sessions and pipelines mean the same"""
    with opened() as model:
        def states(arithmetic, threads=1, prompts=PROMPTS):
            with penult.Session(model, threads=threads, max_prompts=3, arithmetic=arithmetic) as session:
                return session.encode(prompts, layers=[-2], pooled="projected")
        exact, fast = states("exact"), states("bf16")
        error = np.sqrt(np.mean((exact.hidden[-2] - fast.hidden[-2]) ** 2) / np.mean(exact.hidden[-2] ** 2))
        assert 1e-4 < error < 2e-2, error
        assert np.array_equal(states("bf16", threads=2).hidden[-2], fast.hidden[-2])
        assert np.array_equal(states("bf16", prompts=PROMPTS[1:2]).hidden[-2][0], fast.hidden[-2][1])
        assert np.array_equal(states("exact", threads=2).pooled["projected"], exact.pooled["projected"])
        assert model.measure(arithmetic="bf16") >= model.measure()
        raises(ValueError, lambda: penult.Session(model, arithmetic="f16"), "f16", "bf16")


@test
def kept_prompts_change_no_bit():
    """A prompt while it is being written: the same as from a session that keeps nothing; and what that costs is measured."""
    with opened() as model:
        with penult.Session(model) as plain, penult.Session(model, kept_prompts=1) as keeping:
            for text in ("a photo", "a photo of a cat", "a photo of a dog", "a photo of a dog", "dogs"):
                expected, found = (session.encode(text, layers=[-2, 0], pooled="projected") for session in (plain, keeping))
                assert all(np.array_equal(found.hidden[layer], expected.hidden[layer]) for layer in (-2, 0))
                assert np.array_equal(found.pooled["projected"], expected.pooled["projected"])
        assert model.measure(kept_prompts=2) - model.measure() > model.measure(kept_prompts=1) - model.measure() > 0
        raises(penult.PenultError, lambda: penult.Session(model, kept_prompts=65), "65", "64", name="LIMIT")


@test
def dtypes_are_the_rounded_float32():
    with opened() as model, penult.Session(model) as session:
        exact = session.encode(PROMPTS[0])
        half = session.encode(PROMPTS[0], dtype="float16")
        brain = session.encode(PROMPTS[0], dtype="bfloat16")
        assert half.hidden[-2].dtype == np.float16 and brain.hidden[-2].dtype == np.uint16
        for name, precise in (("hidden", exact.hidden[-2]), ("pooled", exact.pooled["projected"])):
            key = -2 if name == "hidden" else "projected"
            assert np.array_equal(getattr(half, name)[key], precise.astype(np.float16))
            bits = precise.view(np.uint32).astype(np.uint64)
            nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
            assert np.array_equal(getattr(brain, name)[key], nearest)
        widened = penult.bfloat16_to_float32(brain.hidden[-2])
        assert np.allclose(widened, exact.hidden[-2], rtol=2**-8, atol=0)
        raises(ValueError, lambda: session.encode("x", dtype="float64"), "float64", "bfloat16")


@test
def outputs_go_into_views():
    with opened() as model, penult.Session(model, max_prompts=3) as session:
        width, projection = model.info.width, model.info.projection
        expected = session.encode(PROMPTS)
        for dtype, rounded in ((np.float32, lambda a: a), (np.float16, lambda a: a.astype(np.float16))):
            tensor = np.full((3, 77, 2048), -7, dtype)  # as SDXL's, this model's columns somewhere in the middle
            wide = np.full((3, projection + 33), -7, dtype)
            encoded = session.encode(PROMPTS, outputs={-2: tensor[:, :, 768:768 + width], "projected": wide[:, 1:-32]})
            assert np.array_equal(tensor[:, :, 768:768 + width], rounded(expected.hidden[-2]))
            assert (tensor[:, :, :768] == -7).all() and (tensor[:, :, 768 + width:] == -7).all()
            assert np.array_equal(wide[:, 1:-32], rounded(expected.pooled["projected"]))
            assert (wide[:, 0] == -7).all() and (wide[:, -32:] == -7).all()
            assert encoded.hidden[-2].base is tensor
        # Every second token of one array, every third prompt of another, the end of the very last row of a third.
        for view in (np.full((3, 154, width), -7, np.float32)[:, ::2],
                     np.full((9, 77, width), -7, np.float32)[::3],
                     np.full((3, 77, width + 8), -7, np.float32)[:, :, 8:],
                     np.full((3, 77, width + 8), -7, np.float32)[:, :, :-8],
                     np.full((77, 3, width), -7, np.float32).transpose(1, 0, 2)):  # prompts side by side
            session.encode(PROMPTS, outputs={-2: view})
            assert np.array_equal(view, expected.hidden[-2])
            whole = view.base
            assert (whole == -7).sum() == whole.size - view.size
        # Bytes at an odd address.
        odd = np.zeros(3 * 77 * width * 4 + 1, np.uint8)[1:].view(np.float32).reshape(3, 77, width)
        session.encode(PROMPTS, outputs={-2: odd})
        assert np.array_equal(odd, expected.hidden[-2])
        # The stride of an axis of one element means nothing and may be anything.
        single = np.lib.stride_tricks.as_strided(np.zeros((77, width), np.float32), (1, 77, width), (0, width * 4, 4))
        session.encode(PROMPTS[:1], outputs={-2: single})
        assert np.array_equal(single[0], expected.hidden[-2][0])


@test
def outputs_that_cannot_be_written():
    with opened() as model, penult.Session(model, max_prompts=3) as session:
        width = model.info.width
        right = np.zeros((3, 77, width), np.float32)

        def fails(array, *words, kind=ValueError):
            raises(kind, lambda: session.encode(PROMPTS, outputs={-2: array}), "-2", *words)

        fails(right[:2], "shape", "[3, 77", "[2, 77")
        fails(np.zeros((3, 77, 2 * width), np.float32)[:, :, ::2], "contiguous", "8 bytes")
        fails(right[:, :, ::-1], "contiguous")
        fails(right[:, ::-1], "stride", "axis 1")
        fails(right.astype(np.float64), "float64")
        fails(right.astype(">f4"), ">f4")
        fails(np.broadcast_to(right[:1], right.shape), "read-only")
        fails(np.lib.stride_tricks.as_strided(right, right.shape, (0, width * 4, 4)), "stride 0", "axis 0")
        frozen = right.copy()
        frozen.flags.writeable = False
        fails(frozen, "read-only")
        fails(right.tolist(), "list", kind=TypeError)
        assert not right.any()
        raises(ValueError, lambda: session.encode(PROMPTS, pooled="hidden"), "hidden")
        raises(TypeError, lambda: session.encode(PROMPTS, layers=-1, outputs={-2: right}), "outputs")
        # An error of the library leaves the caller's arrays as they were.
        right[:] = -7
        raises(penult.PenultError, lambda: session.encode([b"\xff", "b", "c"], outputs={-2: right}), name="TEXT")
        raises(penult.PenultError, lambda: session.encode(PROMPTS, layers=99), "99", name="ARGUMENT")
        raises(penult.PenultError, lambda: session.encode(PROMPTS * 2), "6", "3", name="LIMIT")
        assert (right == -7).all()


if __name__ == "__main__":
    sys.exit(main())
