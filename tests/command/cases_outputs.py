"""cases_outputs.py - what encode writes: names, values, formats, pictures."""
import json
import struct
import sys
import zlib

import numpy as np
from harness import BUILD, MODEL, PROMPT, ROOT, bf16, case, encode, equal, read_safetensors, same, true

CONFIG = json.loads((MODEL / "config.json").read_text())
LAYERS, WIDTH = CONFIG["num_hidden_layers"], CONFIG["hidden_size"]
CONTEXT, PROJECTION = CONFIG["max_position_embeddings"], CONFIG["projection_dim"]


def load(folder, *arguments):
    """The tensors of one safetensors file."""
    encode(*arguments, "--out", folder / "o.safetensors", "--quiet")
    return read_safetensors(folder / "o.safetensors")[0]


@case
def default_outputs(folder):
    """asked for nothing, encode gives the penultimate hidden state and the projected pooled vector"""
    tensors = load(folder, PROMPT)
    equal(sorted(tensors), ["hidden_states.-2", "input_ids", "pooled.projected"])
    equal(tensors["hidden_states.-2"].shape, (1, CONTEXT, WIDTH))
    equal(tensors["pooled.projected"].shape, (1, PROJECTION))
    equal((tensors["input_ids"].shape, tensors["input_ids"].dtype), ((1, CONTEXT), np.dtype("<i4")))
    for name in ("hidden_states.-2", "pooled.projected"):
        equal(tensors[name].dtype, np.dtype("<f4"))
        true(np.isfinite(tensors[name]).all() and tensors[name].std() > 0)


@case
def formats_agree(folder):
    """the three formats hold the same bits under the same names"""
    asked = [PROMPT, "", "--layer", -2, "--layer", 1, "--pooled", "raw", "--pooled", "projected"]
    run = encode(*asked, "--out", folder / "o.safetensors", "--out", folder / "o.npz", "--out",
                 folder / "o.npy", "--json")
    tensors, metadata = read_safetensors(folder / "o.safetensors")
    archive = np.load(folder / "o.npz", allow_pickle=False)
    equal(sorted(archive.files), sorted(tensors))
    for name, tensor in tensors.items():
        same(archive[name], tensor)
    tags = {"hidden_states.-2": "hidden-2", "hidden_states.1": "hidden1", "pooled.raw": "pooled-raw",
            "pooled.projected": "pooled-projected"}
    for name, tag in tags.items():
        same(np.load(folder / f"o.{tag}.npy", allow_pickle=False), tensors[name])
    equal(sorted(path.name for path in folder.iterdir()),
          sorted(["o.safetensors", "o.npz", *(f"o.{tag}.npy" for tag in tags.values())]))
    equal(metadata["model"], "model")
    true(metadata["penult"] and "penultimate" in metadata["layers"])
    true(str(ROOT) not in json.dumps(metadata), "a path of this machine in a file")
    for file in run.json()["files"]:
        equal((folder / file["path"]).stat().st_size, file["bytes"])


@case
def npy_names(folder):
    """one tensor goes to the very name given; several are told apart in the name, and the output says so"""
    encode(PROMPT, "--layer", -2, "--out", folder / "one.npy")
    out = encode(PROMPT, "--out", folder / "two.npy").out.decode()
    equal(sorted(path.name for path in folder.iterdir()), ["one.npy", "two.hidden-2.npy", "two.pooled.npy"])
    same(np.load(folder / "one.npy"), np.load(folder / "two.hidden-2.npy"))
    true("two.hidden-2.npy" in out and "added to the name" in out, out)


@case
def two_runs_write_equal_files(folder):
    """the same command writes the same bytes: no time, no path, no process id in a file"""
    for name in ("a", "b"):
        encode(PROMPT, "--out", folder / f"{name}.npz", "--out", folder / f"{name}.safetensors",
               "--heatmap", folder / f"{name}.png")
    for end in ("npz", "safetensors", "png"):
        true((folder / f"a.{end}").read_bytes() == (folder / f"b.{end}").read_bytes(), end)


@case
def small_floats(folder):
    """f16 and bf16 are the f32 values rounded to nearest even; NumPy's files hold f16"""
    asked = [PROMPT, "--layer", -2, "--pooled", "projected"]
    full = load(folder, *asked)
    half = load(folder, *asked, "--dtype", "f16")
    brain = load(folder, *asked, "--dtype", "bf16")
    encode(*asked, "--dtype", "f16", "--out", folder / "h.npz")
    archive = np.load(folder / "h.npz")
    for name in ("hidden_states.-2", "pooled.projected"):
        same(half[name], full[name].astype(np.float16))
        same(brain[name], bf16(full[name]))
        same(archive[name], half[name])
    same(load(folder, *asked, "--dtype", "f32")["hidden_states.-2"], full["hidden_states.-2"])


@case
def layers_from_both_ends(folder):
    """a layer has one value, counted from the front or from the end; different layers differ"""
    count = LAYERS + 1
    numbers = [n for k in range(count) for n in (k, k - count)]
    tensors = load(folder, PROMPT, *(word for n in numbers for word in ("--layer", n)))
    for k in range(count):
        same(tensors[f"hidden_states.{k}"], tensors[f"hidden_states.{k - count}"])
    equal(len({tensors[f"hidden_states.{k}"].tobytes() for k in range(count)}), count)


@case
def pooled_kinds(folder):
    """raw is the final-normed last state at the end token; normalised is projected at length one"""
    tensors = load(folder, PROMPT, "--layer=-1", "--final-norm", "--pooled", "raw", "--pooled", "projected", "--pooled",
                   "normalised")
    equal(sorted(tensors), ["hidden_states.-1.final_norm", "input_ids", "pooled.normalised", "pooled.projected",
                            "pooled.raw"])
    end = tensors["input_ids"][0].tolist().index(CONFIG["eos_token_id"])
    difference = tensors["hidden_states.-1.final_norm"][0, end] - tensors["pooled.raw"][0]
    true(np.abs(difference).max() < 1e-5, difference)
    projected = tensors["pooled.projected"].astype(np.float64)
    expected = projected / np.linalg.norm(projected)
    true(np.abs(tensors["pooled.normalised"] - expected).max() < 1e-6)
    plain = load(folder, PROMPT, "--layer=-1")["hidden_states.-1"]
    true(plain.tobytes() != tensors["hidden_states.-1.final_norm"].tobytes(), "--final-norm does nothing")


@case
def same_as_python(folder):
    """the command and api/penult.py, two hosts, get the same bits"""
    sys.path.insert(0, str(ROOT / "api"))
    import penult as api
    tensors = load(folder, PROMPT, "two", "--layer", -2, "--pooled", "raw")
    library = api.Library(BUILD / "penult.so")
    with api.Model(MODEL, library=library) as model, api.Session(model, max_prompts=2) as session:
        encoded = session.encode([PROMPT, "two"], layers=[-2], pooled=["raw"])
        ids = [model.tokenize(text).ids for text in (PROMPT, "two")]
    same(tensors["hidden_states.-2"], encoded.hidden[-2])
    same(tensors["pooled.raw"], encoded.pooled["raw"])
    same(tensors["input_ids"], np.stack(ids).astype(np.int32))


@case
def json_report(folder):
    """--json is one object whose numbers are those of the files"""
    run = encode(PROMPT, "--out", folder / "o.safetensors", "--heatmap", folder / "o.png", "--json")
    report, tensors = run.json(), read_safetensors(folder / "o.safetensors")[0]
    equal(report["command"], "encode")
    equal([output["name"] for output in report["outputs"]], ["hidden_states.-2", "pooled.projected"])
    for output in report["outputs"]:
        values = tensors[output["name"]].astype(np.float64)
        equal((output["shape"], output["dtype"], output["not_finite"]), (list(values.shape), "f32", 0))
        equal(np.float32(output["first"]).tolist(), tensors[output["name"]].ravel()[:4].tolist())
        for key, value in (("min", values.min()), ("max", values.max()), ("rms", np.sqrt((values ** 2).mean()))):
            true(abs(output[key] - value) <= 1e-7 * abs(value), key)
    hidden = report["outputs"][0]
    equal((hidden["kind"], hidden["layer"], hidden["final_norm"]), ("hidden", -2, False))
    (prompt,) = report["prompts"]
    equal(prompt["ids"], tensors["input_ids"][0].tolist())
    equal((prompt["text"], prompt["cut_count"]), (PROMPT, 0))
    equal([file["format"] for file in report["files"]], ["safetensors", "png"])
    true(all(value >= 0 for value in report["seconds"].values()))
    equal(report["model"]["width"], WIDTH)


def decode_png(path):
    """RGB pixels [height, width, 3]; checks every chunk's sum."""
    data, at, pieces = path.read_bytes(), 8, []
    equal(data[:8], b"\x89PNG\r\n\x1a\n")
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8:at + 8 + length]
        equal(zlib.crc32(kind + body), struct.unpack_from(">I", data, at + 8 + length)[0])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack_from(">IIBB", body)
            equal((depth, colour), (8, 2))
        pieces += [body] if kind == b"IDAT" else []
        at += 12 + length
    rows = np.frombuffer(zlib.decompress(b"".join(pieces)), np.uint8).reshape(height, 1 + 3 * width)
    picture, above = np.zeros((height, 3 * width), np.uint8), np.zeros(3 * width, np.uint8)
    for y in range(height):
        line = rows[y, 1:].reshape(width, 3).copy()
        kind, up = int(rows[y, 0]), above.reshape(width, 3).astype(int)
        if kind == 2:
            line = (line + up).astype(np.uint8)
        elif kind:
            left, corner = np.zeros(3, int), np.zeros(3, int)
            for x in range(width):
                near = left + up[x] - corner
                to_left, to_up, to_corner = abs(near - left), abs(near - up[x]), abs(near - corner)
                paeth = np.where((to_left <= to_up) & (to_left <= to_corner), left,
                                 np.where(to_up <= to_corner, up[x], corner))
                guess = left if kind == 1 else (left + up[x]) // 2 if kind == 3 else paeth
                left = (line[x] + guess) & 255
                line[x], corner = left, up[x]
        picture[y] = above = line.reshape(-1)
    return picture.reshape(height, width, 3)


@case
def heatmap(folder):
    """--heatmap writes a PNG with the colours of both signs; several prompts and layers get a picture each"""
    encode(PROMPT, "--heatmap", folder / "one.png")
    picture = decode_png(folder / "one.png").astype(int)
    red, blue = picture[..., 0] - picture[..., 2] > 60, picture[..., 2] - picture[..., 0] > 60
    true(red.mean() > 0.01 and blue.mean() > 0.01, (red.mean(), blue.mean()))
    true((picture == 255).all(axis=2).mean() > 0.05, "no margin")
    encode(PROMPT, "two", "--layer", -2, "--layer", -1, "--heatmap", folder / "m.png")
    equal(sorted(path.name for path in folder.iterdir()),
          ["m.hidden-1.0.png", "m.hidden-1.1.png", "m.hidden-2.0.png", "m.hidden-2.1.png", "one.png"])
