"""cases_conditioning_file.py - the conditioning file: its layout is that of samples/FILES.md, it is read back strictly, and what was
tampered with is refused with the reason. Files are taken apart here by hand, from the format's description."""
import copy
import json
import os
import struct

import numpy as np
from cases_condition import TENSORS, TOWERS, condition, models_of
from harness import MODEL, PROMPT, case, equal, fails, penult, read_safetensors, true

KEY = "penult.conditioning"


def take_apart(path):
    """(header, manifest, data)"""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + length])
    return header, json.loads(header["__metadata__"][KEY]), data[8 + length:]


def put_together(path, header, manifest, data, text=None):
    header = copy.deepcopy(header)
    if manifest is not None:
        header["__metadata__"][KEY] = manifest if isinstance(manifest, str) else json.dumps(manifest)
    text = json.dumps(header).encode() if text is None else text
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def make(folder, *arguments, recipe="sdxl"):
    condition(recipe, *arguments, "--out", folder / "c.safetensors", "--quiet")
    return folder / "c.safetensors"


def check(path, *arguments):
    return penult("condition", "--check", path, *arguments)


@case
def conditioning_layout(folder):
    """the file: tensors by name, and a manifest that says recipe, prompts, sizes, weights, tokens and windows, as FILES.md has it"""
    prompt = 'a "caf\u00e9" (\u732b:1.25)\n\\ \U0001f389'
    path = make(folder, prompt, "--negative", "ugly", "--prompt-2", "two", "--size", "640x512", "--crop", "1,2", "--clip-skip", 2,
                recipe="sdxl@a1111")
    tensors, metadata = read_safetensors(path)
    manifest = json.loads(metadata[KEY])
    equal(sorted(tensors), sorted(TENSORS))
    equal(sorted(metadata), ["penult", KEY])
    expected = {"format": 1, "penult": metadata["penult"], "recipe": "sdxl@a1111", "dialect": "a1111", "emphasis": "original",
                "clip_skip": 2, "split": False, "skip_all": False, "prompt": prompt, "prompt_2": "two", "negative": "ugly",
                "negative_2": None, "sizes": {"original": None, "crop": [1, 2], "target": [640, 512], "score": None},
                "negative_sizes": None, "dtype": "f32", "kernels": "best", "arithmetic": "exact", "open_clip": False, "pad_in_text": "files", "window": 77,
                "chunks": 1, "own_chunks": 1, "negative_chunks": 1, "negative_own_chunks": 1, "negative_zero": False, "cut": 0}
    equal({key: value for key, value in manifest.items() if key not in ("towers", "tensors")}, expected)
    equal(manifest["tensors"], {name: list(array.shape) for name, array in tensors.items()})
    equal([tower["name"] for tower in manifest["towers"]], ["clip_l", "clip_g"])
    info = penult("info", MODEL, "--hash", "--json").json()
    equal([tower["second_prompt"] for tower in manifest["towers"]], [False, True])
    for tower in manifest["towers"]:
        equal((tower["weights"], tower["width"], tower["projection"], tower["activation"], tower["computed_with"], tower["model"]),
              (info["values"], 128, 128, "gelu", info["model"]["kernels"], "model"))
        for side in ("tokens", "negative_tokens"):
            equal({len(column) for column in tower[side].values()}, {len(tower[side]["id"])})
            equal(sorted(tower[side]), ["begin", "chunk", "end", "id", "row", "weight"])
    columns, data = manifest["towers"][0]["tokens"], prompt.encode()
    cat = data.index("\u732b".encode())
    equal({w for w, b in zip(columns["weight"], columns["begin"]) if cat <= b < cat + 3}, {1.25})
    equal(columns["row"], list(range(1, len(columns["row"]) + 1)))


@case
def conditioning_read_back(folder):
    """a file that was written is sound; with its models, the same weights, tokens and bits, for every recipe, type and dialect"""
    recipes = [entry["name"] for entry in penult("recipes", "--json").json()["recipes"]]
    for number, recipe in enumerate(recipes):
        options = [["--dtype", "f16"], ["--dtype", "bf16"], ["--kernels", "scalar"]][number % 3]
        path = make(folder, "a (cat:1.2), dog++ and " + "horse " * 80, *options, *([] if number % 2 else ["--negative", "(ugly)"]),
                    recipe=recipe)
        run = check(path, *models_of(recipe))
        equal((run.status, run.err), (0, b""))
        true(b"the same weights, the same tokens, the same bits" in run.out and recipe.encode() in run.out, run.out)
    path = make(folder, PROMPT, "--dialect", "a1111", "--emphasis", "no-norm", "--negative", "", "--negative-2", "b", "--score", 3.25,
                "--negative-size", "8x9", "--negative-score", 1e-3, "--pad-in-text", "special", "--tensors", "vector,prompt_embeds",
                "--skip-all")
    report = check(path, *TOWERS, "--json").json()
    equal(report["models"], {"same_weights": True, "same_bits": True, "largest_difference": 0})
    equal((report["warnings"], report["tensors"], report["prompt"]), ([], ["prompt_embeds", "vector"], PROMPT))
    equal(check(path, "--json").json()["models"], None)
    true(b"-m PATH compares" in check(path).out)
    equal(check(path, "--quiet").out, b"")


@case
def conditioning_without_a_hash(folder):
    """--no-hash: the manifest says so, and reading it back warns but does not refuse; so does another version"""
    path = make(folder, PROMPT, "--no-hash")
    header, manifest, data = take_apart(path)
    equal([tower["weights"] for tower in manifest["towers"]], [None, None])
    run = check(path, *TOWERS)
    equal((run.status, run.err.count(b"warning: ")), (0, 2), run.err)
    true(b"without the hash of clip_g" in run.err and b"weights without a hash" in run.out, run.err + run.out)
    equal(len(check(path, "--json").json()["warnings"]), 2)
    equal(check(path, "--quiet").err, b"")
    manifest["penult"] = "0.0.1\x1b["
    put_together(path, header, manifest, data)
    run = check(path)
    equal(run.status, 0, run.err)
    true(b"made by penult 0.0.1?[" in run.err and b"\x1b" not in run.err + run.out, run.err)


@case
def conditioning_of_other_models(folder):
    """with other weights, another activation, other prompts or changed values: refused, by name; with other kernels: a warning"""
    path = make(folder, PROMPT, "--negative", "ugly")
    header, manifest, data = take_apart(path)
    fails(check(path, *TOWERS, "--activation", "clip_g=quick_gelu"), 1, "clip_g", "quick_gelu")
    fails(check(path, "-m", f"clip_l={MODEL}"), 2, "clip_g")
    fails(check(path, "-m", f"clip_l={folder}", "-m", f"clip_g={MODEL}"), 1, str(folder))
    for number, (where, value, word) in enumerate((
            (("towers", 1, "weights"), "0" * 64, "another model"), (("prompt",), PROMPT + "!", "other tokens"),
            (("towers", 0, "tokens", "id", 1), 7, "other tokens"), (("towers", 0, "tokens", "weight", 1), 1.5, "other tokens"),
            (("towers", 1, "negative_tokens", "end", 1), 99, "other tokens"), (("clip_skip",), 1, "prompt_embeds"),
            (("sizes",), {"original": None, "crop": [0, 1], "target": None, "score": None}, "add_time_ids"),
            (("kernels",), "scalar", "prompt_embeds"))):
        wrong = copy.deepcopy(manifest)
        at = wrong
        for key in where[:-1]:
            at = at[key]
        at[where[-1]] = value
        put_together(folder / f"w{number}.safetensors", header, wrong, data)
        fails(check(folder / f"w{number}.safetensors", *TOWERS), 1, f"w{number}.safetensors", word)
    other = bytearray(data)
    other[5] ^= 1
    put_together(path, header, manifest, bytes(other))
    equal(check(path).status, 0)
    fails(check(path, *TOWERS), 1, "prompt_embeds", "1 of 19712")
    for tower in manifest["towers"]:
        tower["computed_with"] = "abacus"
    put_together(path, header, manifest, bytes(other))
    run = check(path, *TOWERS)
    equal(run.status, 0, run.err)
    true(b"warning: " in run.err and b"differ by at most" in run.out, run.err + run.out)
    other[2:4] = b"\x80\x47"  # some 65536
    put_together(path, header, manifest, bytes(other))
    run = check(path, *TOWERS)
    equal((run.status, run.out), (1, b""))
    true(b"values of prompt_embeds are not those" in run.err, run.err)


def tampered(header, manifest):
    """(what it is, header, manifest, words of the refusal)"""
    def changed(*where, to):
        other = copy.deepcopy(manifest)
        at = other
        for key in where[:-1]:
            at = at[key]
        if to is KeyError:
            del at[where[-1]]
        else:
            at[where[-1]] = to
        return other

    for key in manifest:
        if key != "arithmetic":  # which files from before 0.4.0 do not have
            yield f"without {key}", header, changed(key, to=KeyError), [{"tensors": "names other tensors"}.get(key, key)]
        yield f"{key} of another kind", header, changed(key, to=[[]] if key != "sizes" else 3), \
            [{"tensors": "names other tensors", "towers": "tower"}.get(key, key)]
    for where, to, word in (
            (("format",), 2, "format is 2"), (("format",), 0, "format"), (("format",), 1.5, "format"), (("chunks",), -1, "chunks"),
            (("chunks",), 5000, "chunks"), (("chunks",), 2, "prompt_embeds is 1 x 77 x 256"), (("chunks",), 0, "do not add up"),
            (("window",), 78, "1 x 78 x 256"), (("window",), 2, "do not add up"), (("window",), 1e300, "window"),
            (("negative_own_chunks",), 2, "do not add up"), (("cut",), 1, "cut"), (("negative_zero",), True, "zeros"),
            (("recipe",), "sd1@diffusers", "2 towers"), (("recipe",), "sdxl@nobody", "sdxl@nobody"), (("recipe",), "a\x1b", "a?"),
            (("recipe",), "flux@diffusers", "2 towers"), (("dialect",), "klingon", "klingon"), (("dialect",), "a1111", "emphasis"),
            (("emphasis",), "original", "emphasis"), (("emphasis",), "loud", "emphasis"), (("dtype",), "f16", "dtype"),
            (("dtype",), "f64", "dtype"), (("kernels",), "mmx", "kernels"), (("pad_in_text",), "x", "pad_in_text"),
            (("clip_skip",), 1.5, "clip_skip"), (("clip_skip",), 1 << 40, "clip_skip"), (("sizes", "original"), [0, 1], "original"),
            (("sizes", "crop"), None, "crop"), (("sizes", "crop"), [1], "crop"), (("sizes", "target"), [1, 1 << 31], "target"),
            (("sizes", "score"), "6", "score"), (("towers",), [], "towers"), (("towers", 0), 1, "tower"),
            (("towers", 0, "name"), "clip_g", "clip_g"), (("towers", 0, "name"), 1, "name"), (("towers", 0, "width"), 0, "width"),
            (("towers", 0, "width"), 64, "1 x 77 x 192"), (("towers", 1, "projection"), 0, "pooled"), (("towers", 0, "weights"), "00", "weights"),
            (("towers", 0, "weights"), "G" * 64, "weights"), (("towers", 0, "model"), None, "model"), (("towers", 0, "second_prompt"), None, "second_prompt"),
            (("towers", 0, "second_prompt"), True, "second_prompt"), (("towers", 1, "second_prompt"), False, "second_prompt"),
            (("towers", 0, "activation"), None, "activation"), (("towers", 0, "computed_with"), None, "computed_with"),
            (("towers", 0, "projection"), None, "projection"), (("towers", 0, "tokens"), KeyError, "column id"),
            (("towers", 0, "tokens", "row"), KeyError, "column row"), (("towers", 0, "tokens", "row"), [1], "columns of"),
            (("towers", 0, "tokens", "row", 0), 0, "token 0"), (("towers", 0, "tokens", "row", 0), 76, "token 0"),
            (("towers", 0, "tokens", "row", 0), None, "token 0"), (("towers", 0, "tokens", "chunk", 1), 1, "token 1"),
            (("towers", 0, "tokens", "id", 2), -1, "token 2"), (("towers", 0, "tokens", "id", 2), 1 << 31, "token 2"),
            (("towers", 0, "tokens", "weight", 2), "1", "token 2"), (("towers", 0, "tokens", "begin", 3), 1 << 30, "token 3"),
            (("towers", 0, "tokens", "end", 3), 0, "token 3"), (("towers", 0, "tokens", "end", 3), -1, "token 3"),
            (("towers", 1, "negative_tokens", "id", 0), 1.25, "negative_tokens"), (("tensors", "vector"), [1, 1665], "another shape"),
            (("tensors", "vector"), [1, 1664, 1], "another shape"), (("tensors", "vector"), [1] * 9, "another shape")):
        yield f"{where} {to!r}"[:60], header, changed(*where, to=to), [word]
    for text, word in (("", "is not JSON"), ("[]", "not an object"), ('{"a":1,"a":1}', "twice"), ("{} x", "behind"), ("[" * 2000, "not JSON"),
                       ("[" * 99 + "]" * 99, "too deep"), ('{"a":"\x01"}', "control"), ('{"a":"\\u0000"}', "NUL"),
                       ("{" + ",".join(f'"{i}":0' for i in range(99)) + "}", "too many"), ("1e999", "not an object"),
                       (" " * ((8 << 20) + 1), "expected at most")):
        yield f"manifest {text!r}"[:60], header, text, [word]
    for name, entry, word in (("vector", None, "dtype, shape"), ("vector", {"dtype": "F32"}, "dtype, shape"), ("vector", {"dtype": "F64"}, "F32"),
                              ("vector", {"shape": []}, "shape"), ("vector", {"shape": [1, -1]}, "shape"), ("vector", {"shape": [1] * 5}, "shape"),
                              ("vector", {"shape": [1 << 32] * 3}, "shape"), ("vector", {"shape": [(1 << 32) - 1] * 3}, "shape"),
                              ("vector", {"shape": [1, 0]}, "shape"), ("vector", {"shape": 1}, "shape"), ("vector", {"shape": [1, 832]}, "data of a tensor"),
                              ("vector", {"data_offsets": [0, 6656]}, "data of a tensor"), ("vector", {"data_offsets": [1]}, "data_offsets"),
                              ("vector", {"data_offsets": 1}, "data_offsets"), ("vector", {"data_offsets": [-1, 1]}, "data_offsets"),
                              ("vector", {"data_offsets": [0, 1.5]}, "data_offsets"), ("x" * 48, {}, "name"), ("latents", {}, "latents"),
                              ("pro\x1bmpt", {}, "pro?mpt")):
        other = copy.deepcopy(header)
        if name not in other:
            other = {name if key == "vector" else key: value for key, value in other.items()}
        other[name] = entry if entry == {"dtype": "F32"} or entry is None else {**other[name], **entry}
        fitting = manifest
        if name not in header and len(name) < 48:
            fitting = copy.deepcopy(manifest)
            fitting["tensors"][name] = fitting["tensors"].pop("vector")
        yield f"{name} {entry}"[:60], other, fitting, [word]


@case
def conditioning_tampered(folder):
    """every member of a manifest and a header, left out, of another kind or out of range: status 1 and the reason, no crash"""
    path = make(folder, PROMPT, "--negative", "ugly things", "--size", "64x64")
    header, manifest, data = take_apart(path)
    count = 0
    for what, head, told, words in tampered(header, manifest):
        put_together(path, head, told, data)
        run = check(path)
        true(run.status == 1, (what, run.status, run.out[:60], run.err[:200]))
        fails(run, 1, "c.safetensors" if "nobody" not in what else "nobody")
        first = run.err.decode("utf-8", "replace").split("\n")[0]
        true(any(word in first for word in words), (what, words, first))
        true(b"\x1b" not in run.err, run.err)
        count += 1
    true(count > 120, count)


@case
def conditioning_damaged(folder):
    """files that are cut, longer, empty, no file, no conditioning: status 1 and the reason"""
    path = make(folder, PROMPT)
    header, manifest, data = take_apart(path)
    whole = path.read_bytes()
    for content, word in ((b"", "too short"), (whole[:7], "too short"), (whole[:100], "too short"), (whole[:-1], "data of a tensor"),
                          (whole + b"x", "holds"), (b"\xff" * 64, "too short"), (struct.pack("<Q", 2) + b"{}", "no conditioning file"),
                          (struct.pack("<Q", 2) + b"[]", "no conditioning file"), (struct.pack("<Q", 2) + b"\xff}", "UTF-8"),
                          (struct.pack("<Q", 3) + b"{}\0", "control"), (struct.pack("<Q", 21 << 20) + b" " * (21 << 20), "at most")):
        path.write_bytes(content)
        fails(check(path), 1, "c.safetensors", word)
    put_together(path, {"__metadata__": header["__metadata__"]}, manifest, b"")
    fails(check(path), 1, "no tensor")
    many = {f"t{i}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i in range(17)}
    put_together(path, {"__metadata__": header["__metadata__"], **many}, manifest, bytes(68))
    fails(check(path), 1, "more than 16")
    not_finite = bytearray(data)
    not_finite[2:4] = b"\x80\x7f"
    put_together(path, header, manifest, bytes(not_finite))
    fails(check(path), 1, "prompt_embeds", "not finite")
    fails(check(MODEL / "model.safetensors"), 1, "no conditioning file")
    fails(check(folder / "none"), 1, "none")
    fails(check(folder), 1, "regular file")
    os.mkfifo(folder / "pipe")
    fails(check(folder / "pipe"), 1, "regular file")
    with open(folder / "large", "wb") as file:
        file.truncate((1 << 32) + 1)
    fails(check(folder / "large"), 1, "4 GiB")
    path.write_bytes(whole)
    for step in range(0, len(whole), max(1, len(whole) // 150)):
        damaged = bytearray(whole)
        damaged[step] ^= 0x20
        path.write_bytes(damaged)
        true(check(path, "--quiet").status in (0, 1), step)


@case
def conditioning_values_survive(folder):
    """the tensors that a reader gets are those that --json speaks of, whatever their type"""
    for dtype, kind in (("f32", np.float32), ("f16", np.float16)):
        path = make(folder, PROMPT, "--dtype", dtype)
        tensors, _ = read_safetensors(path)
        equal({array.dtype for array in tensors.values()}, {np.dtype(kind)})
