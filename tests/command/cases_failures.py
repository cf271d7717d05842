"""cases_failures.py - what goes wrong: exit status, one sentence, no file left, nothing old destroyed."""
import os
import shutil
import subprocess

from harness import MODEL, PENULT, PROMPT, case, equal, fails, penult, true

USAGE = [
    ([], "what is to be done"), (["frobnicate"], "frobnicate"), (["encode"], "which model"), (["info"], "which model"),
    (["encode", MODEL], "no prompt"), (["tokenize", MODEL], "no prompt"), (["info", MODEL, "extra"], "extra"),
    (["encode", MODEL, "x", "--nonsense"], "--nonsense"), (["encode", MODEL, "x", "-q"], "-q"),
    (["encode", MODEL, "x", "--layer"], "--layer"), (["encode", MODEL, "x", "--layer", "two"], "two"),
    (["encode", MODEL, "x", "--layer", ""], "--layer"), (["encode", MODEL, "x", "--layer", "-"], "--layer"),
    (["encode", MODEL, "x", "--layer", "1.5"], "1.5"), (["encode", MODEL, "x", "--layer", " 1"], "--layer"),
    (["encode", MODEL, "x", "--layer", "99999999999999999999"], "99999999999999999999"),
    (["encode", MODEL, "x", "--layer", "4294967294"], "4294967294"),
    (["encode", MODEL, "x", "--layer", "5"], "--layer 5"), (["encode", MODEL, "x", "--layer", "-6"], "--layer -6"),
    (["encode", MODEL, "x", "--layer", "-2", "--layer", "-2"], "twice"),
    (["encode", MODEL, "x", "--pooled", "mean"], "mean"),
    (["encode", MODEL, "x", "--pooled", "raw", "--pooled", "raw"], "twice"),
    (["encode", MODEL, "x", "--dtype", "f64"], "f64"),
    (["encode", MODEL, "x", "--threads", "-1"], "-1"), (["encode", MODEL, "x", "--threads", "257"], "257"),
    (["encode", MODEL, "x", "--activation", "relu"], "relu"),
    (["encode", MODEL, "x", "--kernels", "sse"], "sse"), (["encode", MODEL, "x", "--json=yes"], "--json"),
    (["encode", MODEL, "x", "--out", "o.txt"], "o.txt"), (["encode", MODEL, "x", "--out", "npy"], "npy"),
    (["encode", MODEL, "x", "--out", "o.npy", "--dtype", "bf16"], "bf16"),
    (["encode", MODEL, "x", "--out", "o.npz", "--dtype", "bf16"], "bf16"),
    (["encode", MODEL, "x", "--heatmap", "o.jpg"], "o.jpg"),
    (["encode", MODEL, "x", "--pooled", "raw", "--heatmap", "o.png"], "--heatmap"),
    (["encode", MODEL, "-", "-"], "standard input"),
    (["tokenize", MODEL, "x", "--layer", "1"], "--layer"), (["info", MODEL, "--out", "o.npy"], "--out"),
    (["encode", MODEL, "x", "--body"], "--body"),
]


@case
def usage_errors(folder):
    """a command line that makes no sense: status 2, one sentence that names the culprit, nothing on stdout"""
    for arguments, word in USAGE:
        run = penult(*arguments, cwd=folder)
        fails(run, 2, word)
        equal(run.err.count(b"\n"), 1, run.err)
    equal(list(folder.iterdir()), [])


@case
def models_that_cannot_be_opened(folder):
    """a model that is missing, incomplete or broken: status 1 and a sentence that names the file"""
    for command in (["encode", folder / "none", "x"], ["tokenize", folder / "none", "x"], ["info", folder / "none"]):
        fails(penult(*command), 1, "none")
        fails(penult(*command, "--json"), 1, "none")
    broken = folder / "broken"
    shutil.copytree(MODEL, broken, copy_function=shutil.copyfile)
    broken.chmod(0o755)
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[:-1])
    fails(penult("info", broken), 1, "model.safetensors")
    (broken / "model.safetensors").unlink()
    fails(penult("info", broken), 1, "model.safetensors")
    (broken / "model.safetensors").write_bytes(weights)
    (broken / "config.json").write_text("{")
    fails(penult("encode", broken, "x"), 1, "config.json")


@case
def wrong_geometry_is_explained(folder):
    """a config that contradicts the tensors: the sentence, then what was found wrong, each on a line of its own"""
    broken = folder / "broken"
    shutil.copytree(MODEL, broken, copy_function=shutil.copyfile)
    broken.chmod(0o755)
    text = (broken / "config.json").read_text()
    (broken / "config.json").write_text(text.replace('"intermediate_size": 512', '"intermediate_size": 640'))
    run = penult("info", broken)
    fails(run, 1)
    lines = run.err.decode().splitlines()
    true(len(lines) > 1 and all(line.startswith("penult: ") for line in lines), lines)
    true(any("error: " in line and "mlp" in line for line in lines[1:]), lines)


@case
def plugins_that_cannot_be_loaded(folder):
    """no plugin, or a file that is none: status 1 and a sentence that names it"""
    fails(penult("info", MODEL, "--plugin", folder / "no.so"), 1, "no.so")
    (folder / "text.so").write_text("not a library")
    fails(penult("encode", MODEL, "x", "--plugin", folder / "text.so"), 1, "text.so")
    fails(penult("info", MODEL, "--plugin", "libm.so.6"), 1, "libm.so.6", "penult")
    fails(penult("info", MODEL, "--plugin", ""), 1, "empty")
    shutil.copy(PENULT, folder / "penult")
    run = penult("info", MODEL, command=folder / "penult")
    if not os.path.exists("/usr/lib/penult/penult.so") and not os.path.exists("/usr/local/lib/penult/penult.so"):
        fails(run, 1, "penult.so", "--plugin")


@case
def stdout_that_takes_nothing(folder):
    """a full or closed standard output is a failure, not a success without output"""
    commands = [["encode", MODEL, PROMPT], ["encode", MODEL, PROMPT, "--json"], ["info", MODEL],
                ["info", MODEL, "--json"], ["tokenize", MODEL, PROMPT], ["help"], ["help", "encode"], ["--version"]]
    for command in commands:
        words = [str(word) for word in [PENULT, *command]]
        with open("/dev/full", "wb") as full:
            run = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, timeout=60)
        equal(run.returncode, 1, run.stderr)
        true(b"standard output" in run.stderr, run.stderr)
        run = subprocess.run(["/bin/sh", "-c", 'exec "$@" >&-', "sh", *words], stderr=subprocess.PIPE, timeout=60)
        equal(run.returncode, 1, run.stderr)
        true(b"standard output" in run.stderr, run.stderr)


@case
def closed_stdout_does_not_reach_a_file(folder):
    """with standard output closed, no file that is written gets its number and the text that was meant for it"""
    words = [str(word) for word in [PENULT, "encode", MODEL, PROMPT, "--layer", -2, "--out", folder / "o.npy"]]
    subprocess.run(["/bin/sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh", *words], timeout=60)
    if (folder / "o.npy").exists():
        equal((folder / "o.npy").stat().st_size, 128 + 77 * 128 * 4)


@case
def a_reader_that_goes_away(folder):
    """a pipe whose reader has gone ends the command without success"""
    reading, writing = os.pipe()
    os.close(reading)
    run = subprocess.run([str(PENULT), "help"], stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    true(run.returncode != 0, run.returncode)


@case
def all_files_or_none(folder):
    """if one of the files cannot be written none appears, and what stood there before still stands"""
    (folder / "old.npz").write_bytes(b"precious")
    os.symlink("/dev/full", folder / "full.safetensors")
    os.symlink("/dev/full", folder / "full.npy")
    os.symlink("/dev/full", folder / "full.png")
    before = sorted(os.listdir(folder))
    for bad in (["--out", folder / "full.safetensors"], ["--layer", -2, "--out", folder / "full.npy"],
                ["--heatmap", folder / "full.png"], ["--out", folder / "no" / "o.npz"], ["--out", folder / "old.npz"]):
        run = penult("encode", MODEL, PROMPT, "--out", folder / "old.npz", "--out", folder / "new.safetensors", *bad)
        fails(run, 1, str(bad[-1])[:-4])
        equal(sorted(os.listdir(folder)), before)
        equal((folder / "old.npz").read_bytes(), b"precious")
    equal(penult("encode", MODEL, PROMPT, "--out", folder / "old.npz", "--quiet").status, 0)
    true((folder / "old.npz").read_bytes()[:2] == b"PK")


@case
def a_directory_in_the_way(folder):
    """a directory where a file should go is an error and stays a directory"""
    (folder / "o.npz").mkdir()
    fails(penult("encode", MODEL, PROMPT, "--out", folder / "o.npz"), 1, "o.npz")
    equal(os.listdir(folder), ["o.npz"])
