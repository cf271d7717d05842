"""cases_options.py - every option does what help says, and help says it."""
import json
import os
import shutil
import sys

from harness import BUILD, MODEL, PENULT, PROMPT, ROOT, case, encode, equal, fails, penult, read_safetensors, same, true

sys.path.insert(0, str(ROOT / "tests" / "files"))
import small  # noqa: E402

OPTIONS = {
    "encode": ["--layer", "--final-norm", "--pooled", "--dtype", "--out", "--heatmap", "--json", "--quiet", "--threads", "--kernels",
               "--tokenizer", "--open-clip", "--pad-in-text", "--tower", "--heads", "--activation", "--copy", "--plugin", "--prompts"],
    "tokenize": ["--prompts", "--body", "--tokenizer", "--vocab", "--open-clip", "--pad-in-text", "--json", "--tower", "--heads",
                 "--activation", "--plugin", "--quiet"],
    "info": ["--json", "--hash", "--tensors", "--copy", "--tower", "--heads", "--tokenizer", "--open-clip", "--pad-in-text",
             "--activation", "--plugin", "--quiet"],
    "condition": ["-m", "--model", "--prompts", "--negative", "--prompt-2", "--negative-2", "--size", "--original", "--crop", "--score",
                  "--negative-size", "--negative-original", "--negative-crop", "--negative-score", "--dialect", "--emphasis", "--split",
                  "--clip-skip", "--skip-all", "--tensors", "--dtype", "--out", "--no-hash", "--json", "--quiet", "--check",
                  "--max-windows", "--cache", "--tokenizer", "--activation", "--threads", "--kernels", "--open-clip", "--pad-in-text",
                  "--copy", "--plugin"],
    "recipes": ["--json", "--plugin"],
}


def hidden(folder, *arguments):
    encode(PROMPT, *arguments, "--layer", -2, "--out", folder / "o.safetensors", "--quiet")
    return read_safetensors(folder / "o.safetensors")[0]["hidden_states.-2"]


@case
def help_teaches(folder):
    """help goes to stdout, explains the words, and names every option of each command"""
    overview = penult("help")
    equal((overview.status, overview.err), (0, b""))
    for word in (b"penultimate", b"SDXL", b"-2", b"tokenize", b"Where the numbers come from", b"Exit status"):
        true(word in overview.out, word)
    equal(penult("--help").out, overview.out)
    equal(penult("-h").out, overview.out)
    for command, options in OPTIONS.items():
        text = penult("help", command).out.decode()
        equal(penult(command, "--help").out.decode(), text)
        true("Example" in text, command)
        for option in options:
            true(option in text, f"{option} in help {command}")
        for line in text.splitlines():
            true(len(line) <= 79, line)
    fails(penult("help", "nonsense"), 2, "nonsense")


@case
def version(folder):
    """--version tells the command's version and the plugin's, also as JSON, also where there is no plugin"""
    run = penult("--version")
    equal((run.status, run.err), (0, b""))
    true(run.out.startswith(b"penult 0.") and b"plugin 0." in run.out and b"penult.so" in run.out, run.out)
    report = penult("--version", "--json").json()
    true(report["command_version"] and report["plugin"]["version"])
    shutil.copy(PENULT, folder / "penult")
    alone = penult("--version", command=folder / "penult")
    equal(alone.status, 0, alone.err)
    true(alone.out.startswith(b"penult 0.") and (b"not loaded" in alone.out or b" /usr/" in alone.out), alone.out)
    fails(penult("--version", "--plugin", folder / "no.so"), 1, "no.so")


@case
def info(folder):
    """info shows what config.json says and what the files weigh, as a table and as JSON with whole numbers"""
    config = json.loads((MODEL / "config.json").read_text())
    report = penult("info", MODEL, "--json").json()
    model = report["model"]
    pairs = {"width": "hidden_size", "layers": "num_hidden_layers", "heads": "num_attention_heads",
             "mlp_width": "intermediate_size", "context": "max_position_embeddings", "vocabulary": "vocab_size",
             "projection": "projection_dim", "activation": "hidden_act", "norm_epsilon": "layer_norm_eps",
             "start_id": "bos_token_id", "end_id": "eos_token_id", "pad_id": "pad_token_id"}
    for key, name in pairs.items():
        equal(model[key], config[name], key)
    equal(model["bytes_file"], (MODEL / "model.safetensors").stat().st_size)
    equal(model["dtype"], {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[config["dtype"]])
    for key in ("parameters", "bytes_mapped", "bytes_file", "width"):
        equal(type(model[key]), int, key)
    equal((model["access"], report["findings_complete"]), ("map", True))
    equal(penult("info", MODEL, "--copy", "--json").json()["model"]["access"], "copy")
    equal(penult("info", MODEL, "--activation", "quick_gelu", "--json").json()["model"]["activation"], "quick_gelu")
    table = penult("info", MODEL)
    equal((table.status, table.err), (0, b""))
    for word in ("width", "128", "gelu", "kernels", "pad id", f"{model['parameters']:,}"):
        true(word in table.out.decode(), word)


@case
def info_of_a_file(folder):
    """info of a file without a config says what was assumed, hashes its values and lists its tensors; --tower and --heads choose"""
    shutil.copy(MODEL / "model.safetensors", folder / "any.name")
    report = penult("info", folder / "any.name", "--hash", "--tensors", "--json").json()
    equal(report["values"], penult("info", MODEL, "--hash", "--json").json()["values"])
    equal((len(report["values"]), report["model"]["tower"], report["model"]["layout"]), (64, "text", "transformers"))
    about = [finding["about"] for finding in report["findings"]]
    equal((about.count("assumption"), about.count("used")), (2, 1 + report["model"]["tensors_used"]))
    table = penult("info", folder / "any.name", "--hash").out.decode()
    for word in (report["values"], "assumption", "severity", "1 file", "heads"):
        true(word in table, word)
    equal(penult("info", folder / "any.name", "--heads", 4, "--json").json()["model"]["heads"], 4)
    equal(penult("info", MODEL, "--tower", "text", "--json").json()["model"]["width"], 128)
    fails(penult("info", MODEL, "--tower", "clip_g"), 1, "clip_g", "text")
    fails(penult("info", MODEL, "--heads", 3), 1, "num_attention_heads")
    fails(penult("info", MODEL, "--heads", 0), 2, "--heads")
    fails(penult("encode", MODEL, PROMPT, "--hash"), 2, "--hash")


@case
def threads_and_copy(folder):
    """neither the number of threads nor --copy changes a bit"""
    expected = hidden(folder)
    for options in (["--threads", 1], ["--threads", 2], ["--threads=5"], ["--threads", 0], ["--copy"]):
        same(hidden(folder, *options), expected)


@case
def kernels(folder):
    """--kernels reaches the session: the plain kernels add in another order, the values agree"""
    expected, plain = hidden(folder), hidden(folder, "--kernels", "scalar")
    same(hidden(folder, "--kernels", "best"), expected)
    true(plain.tobytes() != expected.tobytes() and abs(plain - expected).max() < 1e-3 * abs(expected).max())


@case
def activation(folder):
    """--activation overrides config.json: naming its own changes nothing, the other one does"""
    own = json.loads((MODEL / "config.json").read_text())["hidden_act"]
    other = {"gelu": "quick_gelu", "quick_gelu": "gelu"}[own]
    expected = hidden(folder)
    same(hidden(folder, "--activation", own), expected)
    true(hidden(folder, "--activation", other).tobytes() != expected.tobytes())


@case
def tokenizer(folder):
    """a model without a tokenizer needs --tokenizer to take text, and gets the same values with it"""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(MODEL / name, folder / name)
    run = penult("encode", folder, PROMPT)
    fails(run, 1, "tokenizer")
    expected = hidden(folder)
    run = penult("encode", folder, PROMPT, "--tokenizer", MODEL, "--layer", -2, "--out", folder / "x.safetensors")
    equal(run.status, 0, run.err)
    same(read_safetensors(folder / "x.safetensors")[0]["hidden_states.-2"], expected)


HELLO = ((71, 68), (75, 75), (512, 513), (514, 334))  # h e, l l, he ll, hell o</w>


@case
def vocab_without_a_model(folder):
    """tokenize --vocab needs no model, wherever it stands; without a file it says what to run"""
    compact = folder / "any name"
    compact.write_bytes(small.clip_vocab(HELLO))
    expected = [516, 515, 256, 517]
    for arguments in ([f"--vocab={compact}", "hello!"], ["hello!", f"--vocab={compact}"],
                      ["--vocab", "--tokenizer", compact, "hello!"], ["--tokenizer", compact, "hello!", "--vocab"]):
        report = penult("tokenize", *arguments, "--json").json()
        equal(report["texts"][0]["ids"], expected + [517] * 73)
        equal((report["model"]["path"], report["model"]["width"], report["model"]["dtype"]), (None, 0, "none"))
    two = penult("tokenize", f"--vocab={compact}", "hello", "--", "--vocab", "--json")
    equal((two.status, two.err), (0, b""))
    equal(two.out.count(b" tokens, "), 3, two.out)
    shutil.copy(PENULT, folder / "penult")
    shutil.copy(BUILD / "penult.so", folder / "penult.so")
    there = dict(os.environ)
    if "PENULT_CONTRACT_PLUGIN" in there:  # that was the harness of the host contract: the plugin behind it comes along
        there["PENULT_CONTRACT_PLUGIN"] = str(shutil.copy(there["PENULT_CONTRACT_PLUGIN"], folder / "behind.so"))
    fails(penult("tokenize", "--vocab", "hello", command=folder / "penult", env=there), 1, "make vocab", "--tokenizer")
    (folder / "clip.vocab").write_bytes(small.clip_vocab(HELLO))
    found = penult("tokenize", "--vocab", "hello!", "--json", command=folder / "penult", env=there)
    equal(found.json()["texts"][0]["ids"][:4], expected)
    fails(penult("tokenize", f"--vocab={folder / 'penult'}", "hello"), 1, "tokenizer.json")
    fails(penult("tokenize", f"--vocab={folder / 'none'}", "hello"), 1, "none")
    fails(penult("tokenize", f"--vocab={compact}"), 2, "no prompt")
    fails(penult("encode", "--vocab", MODEL, "hello"), 2, "--vocab")


@case
def pad_in_text(folder):
    """--pad-in-text says whether "!" is text or what pads, against the files or where they are silent"""
    compact = folder / "clip.vocab"
    compact.write_bytes(small.clip_vocab(HELLO))
    for arguments, ids in ((["--pad-in-text", "special"], [515, 0, 517, 0]), (["--pad-in-text", "text"], [515, 256, 517, 517])):
        equal(penult("tokenize", f"--vocab={compact}", "hello!", "--json", *arguments).json()["texts"][0]["ids"][1:5], ids)
    (shipped,) = penult("tokenize", MODEL, "wow!", "--body", "--json").json()["texts"]
    (special,) = penult("tokenize", MODEL, "wow!", "--body", "--json", "--pad-in-text", "special").json()["texts"]
    text = penult("tokenize", MODEL, "wow!", "--body", "--json", "--pad-in-text", "text").json()
    equal((shipped["ids"], shipped["ids"][-1], text["texts"][0]["ids"][-1]), (special["ids"], 0, 256))
    equal(text["model"]["pad_in_text"], "text")
    fails(penult("tokenize", MODEL, "x", "--pad-in-text", "maybe"), 2, "maybe", "special")


@case
def open_clip(folder):
    """--open-clip cleans as open_clip does: an entity is one token and shown whole, its strings are special, zeros pad"""
    compact = folder / "clip.vocab"
    compact.write_bytes(small.clip_vocab(HELLO))
    text = "hello &lt; <start_of_text>"
    report = penult("tokenize", f"--vocab={compact}", "--open-clip", text, "--json").json()
    (entry,) = report["texts"]
    equal(entry["ids"], [516, 515, 283, 516, 517] + [0] * 72)
    equal([(token["begin"], token["end"], token["text"]) for token in entry["tokens"]],
          [(0, 5, "hello"), (6, 10, "&lt;"), (11, 26, "<start_of_text>")])
    equal((report["model"]["tokenizer_mode"], report["model"]["pad_id"]), ("open_clip", 0))
    table = penult("tokenize", f"--vocab={compact}", "--open-clip", text)
    true(b"&lt;" in table.out and b"<pad> 72 times" in table.out, table.out)
    fails(penult("tokenize", f"--vocab={compact}", "--open-clip", "--pad-in-text", "special", text), 1, "open_clip")
    hidden = [encode("&lt;", *options, "--json").json()["prompts"] for options in ([], ["--open-clip"])]
    true(hidden[0] != hidden[1])


@case
def plugin_places(folder):
    """the plugin is found beside the command, then in ../lib/penult; --plugin wins; no environment variable counts"""
    (folder / "bin").mkdir()
    (folder / "lib" / "penult").mkdir(parents=True)
    command = folder / "bin" / "penult"
    shutil.copy(PENULT, command)
    shutil.copy(BUILD / "penult.so", folder / "lib" / "penult" / "penult.so")

    def loaded(*options, **more):
        run = penult("--version", "--json", *options, command=command, **more)
        equal(run.status, 0, run.err)
        return run.json()["plugin"]["path"]

    equal(loaded(), str((folder / "lib" / "penult" / "penult.so").resolve()))
    equal(loaded(env={"LD_LIBRARY_PATH": str(BUILD), "PENULT_PLUGIN": "/nowhere"}), loaded(env={}))
    shutil.copy(BUILD / "penult.so", folder / "bin" / "penult.so")
    equal(loaded(), str((folder / "bin" / "penult.so").resolve()))
    shutil.copy(BUILD / "penult.so", folder / "mine.so")
    equal(loaded("--plugin", "mine.so", cwd=folder), str((folder / "mine.so").resolve()))
    linked = folder / "penult-by-link"
    os.symlink(command, linked)
    equal(penult("--version", "--json", command=linked).json()["plugin"]["path"],
          str((folder / "bin" / "penult.so").resolve()))


@case
def quiet(folder):
    """--quiet prints nothing and still writes; with --json the object stays"""
    run = encode(PROMPT, "--quiet", "--out", folder / "o.npz")
    equal((run.out, run.err), (b"", b""))
    true((folder / "o.npz").exists())
    equal(encode(PROMPT, "--quiet", "--json").json()["command"], "encode")
    for arguments in (["info", MODEL], ["tokenize", MODEL, PROMPT]):
        run = penult(*arguments, "--quiet")
        equal((run.status, run.out, run.err), (0, b"", b""))


@case
def option_forms(folder):
    """options may stand anywhere and be written with "="; after "--" everything is a prompt"""
    ids = [prompt["ids"] for prompt in encode("--json", "--layer=-2", "x", "--", "--layer", "-").json()["prompts"]]
    expected = [penult("tokenize", MODEL, "--json", "--", text).json()["texts"][0]["ids"]
                for text in ("x", "--layer", "-")]
    equal(ids, expected)


@case
def shown(folder):
    """the tables say tokens, shapes, first values, times and files"""
    run = encode(PROMPT, "--out", folder / "o.safetensors", "--heatmap", folder / "o.png")
    out = run.out.decode()
    for word in ("astronaut", "<start>", "<end>", "<pad>", "1 x 77 x 128", "hidden_states.-2", "pooled.projected",
                 "rms", "encode", " ms", str(folder / "o.safetensors"), str(folder / "o.png")):
        true(word in out, word)
    for line in out.splitlines():
        equal(line, line.rstrip(), "blanks at the end of a line")
