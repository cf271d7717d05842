"""cases_condition.py - `penult recipes` and `penult condition`: what they say is what the plugin did, and a command line that makes
no sense is told so. samples/model stands for every tower: small, but a real one."""
import os
import shutil
import signal
import subprocess

import numpy as np
from cases_terminal import OnTerminal
from harness import BUILD, MODEL, PROMPT, case, encode, equal, fails, penult, read_safetensors, same, true

TOWERS = ["-m", f"clip_l={MODEL}", "-m", f"clip_g={MODEL}"]
TENSORS = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds", "add_time_ids",
           "negative_add_time_ids", "vector", "negative_vector"]


def models_of(recipe):
    (entry,) = penult("recipes", recipe, "--json").json()["recipes"]
    return [word for tower in entry["towers"] for word in ("-m", f"{tower['name']}={MODEL}")]


def condition(recipe, *arguments, models=None, **options):
    """A run of condition that must succeed."""
    run = penult("condition", recipe, *(models_of(recipe) if models is None else models), *arguments, **options)
    equal(run.status, 0, run.err)
    return run


def tensors_of(folder, recipe, *arguments, **options):
    condition(recipe, *arguments, "--no-hash", "--out", folder / "o.safetensors", "--quiet", **options)
    return read_safetensors(folder / "o.safetensors")[0]


USAGE = [
    (["condition"], "which recipe"), (["condition", "sdxl"], "which models"), (["condition", "sdxl", *TOWERS], "no prompt"),
    (["condition", "sdxl", "-m"], "--model"), (["condition", "sdxl", "-m", f"clip_l={MODEL}", "x"], "clip_g"),
    (["condition", "sdxl", *TOWERS, "-m", f"clip_h={MODEL}", "x"], "clip_h"),
    (["condition", "sdxl", *TOWERS, "-m", f"text_encoder={MODEL}", "x"], "twice"),
    (["condition", "sdxl", "-m", MODEL, "-m", MODEL, "x"], "twice"),
    (["condition", "sdxl", *TOWERS, "x", "--tokenizer", f"clip_h={MODEL}"], "clip_h"),
    (["condition", "sdxl", *TOWERS, "x", "--activation", "clip_h=gelu"], "clip_h"),
    (["condition", "sdxl", *TOWERS, "x", "--activation", "clip_l=relu"], "relu"),
    (["condition", "sdxl", *TOWERS, "x", "--size", "1024"], "--size"), (["condition", "sdxl", *TOWERS, "x", "--size", "0x8"], "0x8"),
    (["condition", "sdxl", *TOWERS, "x", "--size", "8x9x7"], "8x9x7"), (["condition", "sdxl", *TOWERS, "x", "--size", "x8"], "x8"),
    (["condition", "sdxl", *TOWERS, "x", "--size", "12345678901234567890x8"], "--size"),
    (["condition", "sdxl", *TOWERS, "x", "--original", "1x-2"], "--original"), (["condition", "sdxl", *TOWERS, "x", "--crop", "1"], "--crop"),
    (["condition", "sdxl", *TOWERS, "x", "--negative-crop", "-1,0"], "--negative-crop"),
    (["condition", "sdxl", *TOWERS, "x", "--negative-size", "a"], "--negative-size"),
    (["condition", "sdxl", *TOWERS, "x", "--negative-original", "a"], "--negative-original"),
    (["condition", "sdxl", *TOWERS, "x", "--score", "high"], "high"), (["condition", "sdxl", *TOWERS, "x", "--score", "nan"], "nan"),
    (["condition", "sdxl", *TOWERS, "x", "--negative-score", "1e999"], "--negative-score"),
    (["condition", "sdxl", *TOWERS, "x", "--clip-skip", "two"], "two"), (["condition", "sdxl", *TOWERS, "x", "--emphasis", "some"], "some"),
    (["condition", "sdxl", *TOWERS, "x", "--max-windows", "0"], "--max-windows"),
    (["condition", "sdxl", *TOWERS, "x", "--max-windows", "1025"], "1025"), (["condition", "sdxl", *TOWERS, "x", "--cache", "-1"], "--cache"),
    (["condition", "sdxl", *TOWERS, "x", "--out", "o.npz"], "o.npz"), (["condition", "sdxl", *TOWERS, "x", "--out", "out"], "out"),
    (["condition", "sdxl", *TOWERS, "x", "--out", "a.safetensors", "--out", "b.safetensors"], "twice"),
    (["condition", "sdxl", *TOWERS, "x", "--layer", "-2"], "--layer"), (["condition", "sdxl", *TOWERS, "x", "--split=1"], "--split"),
    (["condition", "sdxl", *TOWERS, "x", "--tensors", "prompt_embeds,latents"], "latents"),
    (["condition", "sdxl", *TOWERS, "x", "--tensors", ""], "--tensors"),
    (["condition", "--check", "f", "sdxl"], "sdxl"), (["condition", "--check", "f", "--negative", "x"], "--negative"),
    (["condition", "--check", "f", "--dtype", "f16"], "--dtype"), (["condition", "--check"], "--check"),
    (["info", MODEL, "-m", MODEL], "--model"), (["encode", MODEL, "x", "--tensors"], "--tensors"),
    (["recipes", "sdxl", "sd1"], "sd1"), (["recipes", "--quiet"], "--quiet"),
]


@case
def condition_usage_errors(folder):
    """condition, recipes: a command line that makes no sense is status 2, one sentence that names the culprit, no file"""
    for arguments, word in USAGE:
        run = penult(*arguments, cwd=folder)
        fails(run, 2, word)
        equal(run.err.count(b"\n"), 1, run.err)
    equal(list(folder.iterdir()), [])


@case
def recipes_are_listed(folder):
    """penult recipes: every recipe of the issue in lines of one grid; a name tells its source; --json parses and says the same"""
    run = penult("recipes")
    equal((run.status, run.err), (0, b""))
    table = run.out.decode().split("\n\n")[0].splitlines()
    report = penult("recipes", "--json").json()["recipes"]
    names = [entry["name"] for entry in report]
    for alias in ("sd1", "sd2", "sdxl", "sdxl-refiner", "sd3", "flux", "cascade-prior", "cascade-decoder", "kandinsky2.2-prior"):
        true(f"{alias}@diffusers" in names and any(entry["alias"] == alias for entry in report), alias)
    for host in ("sgm", "comfyui", "a1111", "compel"):
        true(f"sdxl@{host}" in names, host)
    equal(len(table), 1 + sum(len(entry["towers"]) for entry in report))
    column = {name: table[0].index(name) for name in ("tower", "layer", "pooled")}
    lines = iter(table[1:])
    for entry in report:
        for number, tower in enumerate(entry["towers"]):
            line = next(lines)
            equal(line.startswith(entry["name"] + " "), number == 0, line)
            equal(line[column["tower"]:].split()[0], tower["name"])
            equal(line[column["layer"]:].split()[0], str(tower["layer"]) if tower["layer"] else "-")
            equal(line[column["pooled"] - 2:column["pooled"]], "  ", line)
    for entry in report:
        for name in (entry["name"], entry["alias"]):
            if name:
                (one,) = penult("recipes", name, "--json").json()["recipes"]
                equal(one, entry)
                shown = penult("recipes", name).out.decode()
                true(entry["source"] in shown and all(tower["name"] in shown for tower in entry["towers"]), shown)
    fails(penult("recipes", "sdxl@nobody"), 1, "sdxl@nobody", "penult recipes")
    fails(penult("recipes", "--plugin", folder / "no.so"), 1, "no.so")


@case
def condition_is_encode(folder):
    """sdxl's tensors are encode's own bits, side by side; the vector is the pooled one and sizes"""
    found = tensors_of(folder, "sdxl", PROMPT, "--negative", "blurry", "--size", "768x512", "--crop", "3,5", "--original", "800x600")
    equal(sorted(found), sorted(TENSORS))
    encode(PROMPT, "blurry", "--layer", -2, "--pooled", "projected", "--out", folder / "e.safetensors", "--quiet")
    encoded = read_safetensors(folder / "e.safetensors")[0]
    for side, name in enumerate(("", "negative_")):
        hidden = encoded["hidden_states.-2"][side:side + 1]
        # bigG's padding is the model's own, id 0; CLIP-L's is the end id, which only rows behind the prompt can tell
        same(np.ascontiguousarray(found[name + "prompt_embeds"][..., 128:]), hidden)
        same(np.ascontiguousarray(found[name + "prompt_embeds"][:, :5, :128]), np.ascontiguousarray(hidden[:, :5]))
        same(found[name + "pooled_prompt_embeds"], encoded["pooled.projected"][side:side + 1])
        equal(found[name + "add_time_ids"].tolist(), [[800, 600, 3, 5, 768, 512]])
        same(np.ascontiguousarray(found[name + "vector"][:, :128]), found[name + "pooled_prompt_embeds"])
        equal(found[name + "vector"].shape, (1, 128 + 6 * 256))
    absent = tensors_of(folder, "sdxl", PROMPT)
    equal(float(abs(absent["negative_prompt_embeds"]).max()), 0.0)
    same(absent["prompt_embeds"], found["prompt_embeds"])


@case
def condition_shows(folder):
    """the tables: tokens with weight, window and row, once where the towers agree; what was cut; windows, tensors, time, memory"""
    run = condition("sdxl@a1111", "a (cat:1.5), " + "horse " * 80, "--negative", "ugly")
    text = run.out.decode()
    equal(run.err, b"")
    for word in ("recipe   sdxl@a1111", "dialect a1111", "1.5  cat", "window", "weight", "clip_l, clip_g", "2 for the prompt",
                 "2 for the negative (1 its own)", "computed", "the empty prompt", "1 x 154 x 256", "mean", "rms", "time ", "memory "):
        true(word in text, f"{word} in {text}")
    equal(text.count("  cat\n"), 1)
    two = condition("sdxl", PROMPT, "--prompt-2", "another", "--dialect", "plain").out.decode()
    true("clip_l\n" in two and "clip_g\n" in two and two.count('prompt   "') == 2, two)
    cut = condition("sdxl", "horse " * 100).out.decode()
    true("  cut     -  " in cut and " cut; clip_l, clip_g" in cut, cut)
    equal(condition("sdxl", PROMPT, "--quiet").out, b"")


@case
def condition_json(folder):
    """--json: all of it, parseable: tokens with their bytes, windows, tensors with statistics that are the file's"""
    prompt = "a (\u732b:1.25) and BREAK a (dog:0.5)"
    report = condition("sdxl@a1111", prompt, "--negative", "", "--prompt-2", "two", "--out", folder / "o.safetensors",
                       "--json").json()
    tensors, _ = read_safetensors(folder / "o.safetensors")
    equal((report["command"], report["recipe"], report["dialect"], report["negative"], report["prompt_2"]),
          ("condition", "sdxl@a1111", "a1111", "", "two"))
    equal([tower["name"] for tower in report["towers"]], ["clip_l", "clip_g"])
    equal(report["towers"][0]["values"], penult("info", MODEL, "--hash", "--json").json()["values"])
    equal((report["pipeline"]["context_width"], report["pipeline"]["pooled_width"], report["pipeline"]["tokens"]), (256, 128, 77))
    (entry,) = report["prompts"]
    equal((entry["prompt"], entry["negative_zero"], entry["chunks"]), (prompt, True, 2))
    data = {"clip_l": prompt.encode(), "clip_g": b"two"}
    for token in entry["tokens"]:
        equal(token["text"], data[token["tower"]][token["begin"]:token["end"]].decode("utf-8", "replace"))
        true(token["cut"] or 1 <= token["row"] <= 75, token)
    dog = data["clip_l"].index(b"dog")
    equal({token["weight"] for token in entry["tokens"] if token["tower"] == "clip_l" and dog <= token["begin"] < dog + 3}, {0.5})
    equal({token["chunk"] for token in entry["tokens"] if token["tower"] == "clip_l"}, {0, 1})
    equal([row["name"] for row in entry["tensors"]], TENSORS)
    for row in entry["tensors"]:
        array = tensors[row["name"]].astype(np.float64)
        equal((row["shape"], row["dtype"]), (list(array.shape), "f32"))
        for key, value in (("mean", array.mean()), ("rms", np.sqrt((array ** 2).mean())), ("min", array.min()), ("max", array.max())):
            true(abs(row[key] - value) <= 1e-6 * max(1, abs(value)), (row["name"], key))
    equal((entry["file"], entry["file_bytes"]), (str(folder / "o.safetensors"), (folder / "o.safetensors").stat().st_size))


@case
def condition_options_reach_the_plugin(folder):
    """dialect, emphasis, clip skip, second prompts, sizes, types, kernels, threads, tensors: each changes what it should, and only that"""
    weighted = "a (cat:1.5) and a dog"
    plain = tensors_of(folder, "sdxl", weighted)["prompt_embeds"]
    original = tensors_of(folder, "sdxl", weighted, "--dialect", "a1111")["prompt_embeds"]
    different = [plain, original] + [tensors_of(folder, "sdxl", weighted, *options)["prompt_embeds"] for options in (
        ["--dialect", "comfyui"], ["--dialect", "a1111", "--emphasis", "no-norm"], ["--dialect", "a1111", "--emphasis", "ignore"],
        ["--clip-skip", 1], ["--prompt-2", "a house"])]
    for i, one in enumerate(different):
        for other in different[:i]:
            true(one.tobytes() != other.tobytes(), i)
    same(tensors_of(folder, "sdxl", weighted, "--dialect", "a1111", "--emphasis", "none")["prompt_embeds"], plain)
    same(tensors_of(folder, "sdxl", weighted, "--dialect", "a1111", "--emphasis", "original", "--threads", 1, "--cache", 0,
                    "--max-windows", 9)["prompt_embeds"], original)
    moved = [tensors_of(folder, "sdxl@a1111", "x", "--clip-skip", 3, *more)["prompt_embeds"] for more in ([], ["--skip-all"])]
    true(moved[0].tobytes() != moved[1].tobytes())
    split = [condition("sd1", "horse " * 100, "--dialect", "compel", *more, "--json").json()["prompts"][0] for more in ([], ["--split"])]
    equal([one["cut"] > 0 for one in split], [True, False])
    sizes = tensors_of(folder, "sdxl-refiner", "x", "--score", 7.5, "--negative-size", "64x32", "--negative-crop", "1,2",
                       "--negative-original", "70x80", "--negative-score", 1.25)
    equal(sizes["add_time_ids"].tolist(), [[1024, 1024, 0, 0, 7.5]])
    equal(sizes["negative_add_time_ids"].tolist(), [[70, 80, 1, 2, 1.25]])
    only = tensors_of(folder, "sdxl", weighted, "--tensors", "vector,prompt_embeds", "--dtype", "f16")
    equal(sorted(only), ["prompt_embeds", "vector"])
    same(only["prompt_embeds"], plain.astype(np.float16))
    scalar = tensors_of(folder, "sdxl", weighted, "--kernels", "scalar")["prompt_embeds"]
    true(scalar.tobytes() != plain.tobytes() and abs(scalar - plain).max() < 1e-3 * abs(plain).max())
    other = tensors_of(folder, "sdxl", weighted, "--activation", "clip_l=quick_gelu")["prompt_embeds"]
    true(other[..., :128].tobytes() != plain[..., :128].tobytes() and other[..., 128:].tobytes() == plain[..., 128:].tobytes())
    same(tensors_of(folder, "sdxl", weighted, "--copy", "--tokenizer", MODEL)["prompt_embeds"], plain)
    equal(sorted(tensors_of(folder, "flux", "x")), ["pooled_prompt_embeds"])
    equal(len(tensors_of(folder, "flux", "x", "--negative", "y")), 2)


@case
def condition_makes_room(folder):
    """prompts of any number of windows go through by themselves; --max-windows is a promise that is kept"""
    long = "horse " * 75 * 11
    report = condition("sdxl@comfyui", long, "--json").json()
    (entry,) = report["prompts"]
    true(8 < entry["chunks"] < report["pipeline"]["max_windows"] and entry["cut"] == 0, entry["chunks"])
    equal(entry["tensors"][0]["shape"], [1, 77 * entry["chunks"], 256])
    fails(penult("condition", "sdxl@comfyui", *TOWERS, long, "--max-windows", 8), 1, "max_windows 8")
    fails(penult("condition", "sdxl@comfyui", *TOWERS, "fine", long, "--max-windows", 8), 1, "prompt 2: ")
    fails(penult("condition", "sdxl@comfyui", *TOWERS, "-", stdin=b"horse " * 75 * 1100), 1, "1024")


@case
def condition_of_many(folder):
    """several prompts: one file each, numbered; what they share comes from the cache with the same bits; long lists are one line each"""
    (folder / "p").write_text("\n".join(f"prompt number {i}" for i in range(11)))
    report = condition("sdxl", "--prompts", folder / "p", "--negative", "ugly", "--out", folder / "c.safetensors", "--json").json()
    equal(sorted(os.listdir(folder)), [f"c.{i:02d}.safetensors" for i in range(1, 12)] + ["p"])
    equal([entry["cached"] for entry in report["prompts"]], [0] + [2] * 10)
    equal([window["cached"] for window in report["prompts"][1]["windows"]], [window["negative"] for window in report["prompts"][1]["windows"]])
    same(read_safetensors(folder / "c.04.safetensors")[0]["negative_vector"], read_safetensors(folder / "c.01.safetensors")[0]["negative_vector"])
    for name, array in tensors_of(folder, "sdxl", "prompt number 6", "--negative", "ugly").items():
        same(array, read_safetensors(folder / "c.07.safetensors")[0][name])
    equal(condition("sdxl", "--prompts", folder / "p", "--negative", "ugly", "--cache", 0, "--json").json()["prompts"][9]["cached"], 0)
    lines = condition("sdxl", "--prompts", folder / "p").out.decode()
    equal(lines.count("\nprompt "), 11, lines)
    true("negative_vector" in condition("sdxl", "a", "b").out.decode())


@case
def condition_models(folder):
    """one -m serves every tower of a pipeline's directory, by its own names; a model of another tower is refused"""
    for name in ("text_encoder", "text_encoder_2"):
        shutil.copytree(MODEL, folder / "pipe" / name, copy_function=shutil.copyfile)
    (folder / "pipe" / "model_index.json").write_text("{}")
    expected = tensors_of(folder, "sdxl", PROMPT)
    for models in (["-m", folder / "pipe"], ["--model", f"text_encoder={folder / 'pipe'}", f"--model=text_encoder_2={MODEL}"],
                   ["-m", folder / "pipe", "-m", f"clip_g={MODEL}"]):
        found = tensors_of(folder, "sdxl", PROMPT, models=models)
        for name in TENSORS:
            same(found[name], expected[name])
    fails(penult("condition", "sdxl", "-m", MODEL, "x"), 1, "clip_l")
    fails(penult("condition", "sdxl", "-m", f"clip_l={MODEL}", "-m", f"clip_g={folder / 'none'}", "x"), 1, "none")
    report = condition("sdxl", "x", "--json", models=["-m", folder / "pipe"]).json()
    equal([tower["model"]["path"] for tower in report["towers"]], [str(folder / "pipe")] * 2)


@case
def condition_failures(folder):
    """what the plugin refuses, what is not there, what is not UTF-8: status 1, a sentence, no file"""
    out = ["--out", folder / "o.safetensors"]
    for arguments, words in (
            (["nonsense", *TOWERS, "x"], ["nonsense", "penult recipes"]), (["sdxl", *TOWERS, "x", "--dialect", "klingon"], ["klingon"]),
            (["sdxl", *TOWERS, "x", "--emphasis", "ignore"], ["a1111"]), (["sdxl", *TOWERS, "x", "--clip-skip", "-1"], ["clip skip -1"]),
            (["sdxl@sgm", *TOWERS, "x", "--clip-skip", "1"], ["clip skip"]),
            (["sd1", "-m", f"clip_l={MODEL}", "x", "--size", "8x8"], ["add_time_ids"]), (["sdxl", *TOWERS, b"ab\xff"], ["2"]),
            (["sdxl", *TOWERS, "fine", b"\xff"], ["prompt 2"]), (["sdxl@comfyui", *TOWERS, "(a:1e999)"], ["prompt_embeds"]),
            (["flux", "-m", f"clip_l={MODEL}", "x", "--tensors", "negative_pooled_prompt_embeds"], ["negative"]),
            (["sdxl", *TOWERS, "--prompts", folder / "none"], ["none"]), (["sdxl", *TOWERS, "x", "--plugin", folder / "no.so"], ["no.so"]),
            (["sdxl", *TOWERS, "x", "--tokenizer", folder / "no"], ["no"])):
        fails(penult("condition", *arguments, *out), 1, *words)
        equal(os.listdir(folder), [])
    fails(penult("condition", "sdxl", *TOWERS, "-", *out, stdin=b"a\0b\n"), 1, "NUL", "byte 1")
    fails(penult("condition", "sdxl", *TOWERS, "x", "--out", folder / "no" / "o.safetensors"), 1, "o.safetensors")
    equal(os.listdir(folder), [])
    with open("/dev/full", "wb") as full:
        run = subprocess.run([str(BUILD / "penult"), "condition", "sdxl", *TOWERS, "x"], stdout=full, stderr=subprocess.PIPE, timeout=60)
    equal(run.returncode, 1, run.stderr)


@case
def condition_interrupted(folder):
    """progress on a terminal; Ctrl-C ends it as that signal and leaves no file"""
    (folder / "p").write_text("\n".join(f"prompt number {i} with some words behind it" for i in range(5000)))
    with OnTerminal("condition", "sdxl", *TOWERS, "--prompts", folder / "p", "--no-hash", "--out", folder / "o.safetensors") as run:
        true(run.read_until(b"conditioning ["), run.seen)
        run.process.send_signal(signal.SIGINT)
        equal(run.end(), -signal.SIGINT, run.seen)
        true(b"interrupted; nothing was written" in run.seen, run.seen)
    equal(os.listdir(folder), ["p"])


@case
def condition_shown_harmlessly(folder):
    """control characters of a prompt do not reach the terminal"""
    for count in (1, 9):
        run = condition("sdxl", "-", stdin=b"a\x1b[31mred\x07\n" * count)
        true(b"\x1b" not in run.out and b"\x07" not in run.out and b"U+001B" in run.out, run.out)


@case
def the_sample_host(folder):
    """samples/condition_host.c conditions and samples: the same numbers each time, others for another negative, failures said"""
    def host(*words):
        return subprocess.run([str(BUILD / "condition_host"), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60, check=False)

    start = [BUILD / "penult.so", MODEL, MODEL]
    first = host(*start, PROMPT, "blurry")
    equal((first.returncode, first.stderr), (0, b""))
    true(b"1 x 77 x 256" in first.stdout and b"vector 1 x 1664" in first.stdout and b"20 steps" in first.stdout, first.stdout)
    equal(host(*start, PROMPT, "blurry").stdout, first.stdout)
    absent = host(*start, PROMPT)
    true(b"negative zeros" in absent.stdout and absent.stdout.splitlines()[1] != first.stdout.splitlines()[1], absent.stdout)
    equal(host(*start).returncode, 2)
    for words in ([folder / "no.so", MODEL, MODEL, "x"], [BUILD / "penult.so", MODEL, folder / "no", "x"], [*start, "\udcff"]):
        run = host(*words)
        equal((run.returncode, run.stdout), (1, b""), run.stderr)
        true(run.stderr.startswith(b"condition_host: "), run.stderr)
