"""cases_prompts.py - where prompts come from, what may be in them, and what tokenize says of them."""
import numpy as np
from harness import MODEL, PROMPT, case, encode, equal, fails, penult, read_safetensors, same, true


def texts(*arguments, **options):
    run = penult("tokenize", MODEL, "--json", *arguments, **options)
    equal(run.status, 0, run.err)
    return [entry["text"] for entry in run.json()["texts"]]


@case
def sources(folder):
    """prompts come from arguments, files and standard input, in the order of the command line"""
    (folder / "p").write_bytes(b"one\ntwo  \r\n\n four")
    expected = ["one", "two  ", "", " four"]
    equal(texts("--prompts", folder / "p"), expected)
    equal(texts("-", stdin=b"one\ntwo  \r\n\n four\n"), expected)
    equal(texts("--prompts", "-", stdin=b"one\n"), ["one"])
    equal(texts("a", "--prompts", folder / "p", "b", "-", "c", stdin=b"x\ny\n"), ["a", *expected, "b", "x", "y", "c"])
    equal(texts("-", stdin=b"\n"), [""])
    equal(texts("-", stdin=b"\r\n\rx\r"), ["", "\rx\r"])
    equal(texts(""), [""])
    fails(penult("tokenize", MODEL, "-", stdin=b""), 1, "standard input", "empty")
    fails(penult("encode", MODEL, "--prompts", folder / "none"), 1, "none")
    fails(penult("encode", MODEL, "--prompts", folder), 1, str(folder))


@case
def batches(folder):
    """a prompt's values do not depend on its company: 21 prompts in one run, bit for bit as alone"""
    prompts = [f"prompt number {number} " + "word " * number for number in range(21)]
    (folder / "p").write_text("\n".join(prompts))
    encode("--prompts", folder / "p", "--out", folder / "all.safetensors", "--quiet")
    together = read_safetensors(folder / "all.safetensors")[0]
    equal(together["hidden_states.-2"].shape[0], 21)
    for number in (0, 7, 8, 20):
        encode(prompts[number], "--out", folder / "one.safetensors", "--quiet")
        for name, tensor in read_safetensors(folder / "one.safetensors")[0].items():
            same(together[name][number:number + 1], tensor)


@case
def unicode_prompts(folder):
    """text of any language comes back byte for byte in the JSON, and each token's bytes are those of its span"""
    text = "un caf\u00e9 \u732b \U0001f389 \u0645\u0631\u062d\u0628\u0627 na\u00efve"
    (entry,) = penult("tokenize", MODEL, text, "--json").json()["texts"]
    data = text.encode()
    equal((entry["text"], entry["text_bytes"]), (text, len(data)))
    equal(entry["body_count"], len(entry["tokens"]))
    end = 0
    for token in entry["tokens"]:
        true(end <= token["begin"] <= token["end"] <= len(data), token)
        end = max(end, token["begin"])
        equal(token["text"], data[token["begin"]:token["end"]].decode("utf-8", "replace")
              if token["text"].count("\ufffd") == 0 else token["text"])
        equal(entry["ids"][token["position"]], token["id"])
    covered = b"".join(data[token["begin"]:token["end"]] for token in entry["tokens"])
    equal(covered.decode("utf-8", "ignore").replace(" ", ""), text.replace(" ", ""))


@case
def not_utf8(folder):
    """bytes that are not UTF-8 are an error that names the offset, and the prompt where there are several"""
    fails(penult("encode", MODEL, b"abc\xff", "--out", folder / "o.npz"), 1, "3")
    fails(penult("tokenize", MODEL, b"\xc3("), 1, "0")
    fails(penult("encode", MODEL, "fine", b"ab\xed\xa0\x80"), 1, "prompt 2", "2")
    equal(list(folder.iterdir()), [])


@case
def hostile_text_is_shown_harmlessly(folder):
    """control characters, direction marks and NULs of a prompt do not reach the terminal as such"""
    text = "a\x1b[31mred\x07 \u202eb\u200b".encode() + b"\0z"
    for command in ("tokenize", "encode"):
        run = penult(command, MODEL, "-", stdin=text + b"\n")
        equal(run.status, 0, run.err)
        for bad in (b"\x1b", b"\x07", b"\0", "\u202e".encode(), "\u200b".encode()):
            true(bad not in run.out, bad)
        true(b"U+001B" in run.out and b"U+202E" in run.out, run.out)
    (entry,) = penult("tokenize", MODEL, "-", "--json", stdin=text + b"\n").json()["texts"]
    equal(entry["text"], text.decode())


@case
def cut_prompts(folder):
    """what does not fit is said: how many tokens and from which byte; --body shows all of them"""
    text = " ".join(["horse"] * 200)
    (body,) = penult("tokenize", MODEL, text, "--body", "--json").json()["texts"]
    (framed,) = penult("tokenize", MODEL, text, "--json").json()["texts"]
    equal((body["cut_count"], body["cut_begin"], len(body["ids"])), (0, len(text), body["body_count"]))
    equal((len(framed["ids"]), framed["body_count"], framed["end_position"]), (77, 75, 76))
    equal(framed["cut_count"], body["body_count"] - 75)
    equal(framed["ids"][1:76], body["ids"][:75])
    true("end_position" not in body)
    true(framed["tokens"][-1]["end"] <= framed["cut_begin"] <= len(text))
    run = encode(text)
    true(f"cut: {framed['cut_count']} tokens" in run.out.decode(), run.out)
    equal(encode(text, "--json").json()["prompts"][0]["cut_begin"], framed["cut_begin"])


@case
def long_text(folder):
    """a prompt longer than a session takes by default still goes through, cut like any other"""
    text = "horse " * 20000
    encode("-", "--out", folder / "o.safetensors", "--quiet", stdin=text.encode())
    encode(text[:3000], "--out", folder / "p.safetensors", "--quiet")
    same(read_safetensors(folder / "o.safetensors")[0]["hidden_states.-2"],
         read_safetensors(folder / "p.safetensors")[0]["hidden_states.-2"])


@case
def empty_prompt(folder):
    """the empty prompt is a prompt: start, end, padding"""
    encode("", PROMPT, "--out", folder / "o.npz", "--quiet")
    archive = np.load(folder / "o.npz")
    model = penult("info", MODEL, "--json").json()["model"]
    equal(archive["input_ids"][0].tolist(), [model["start_id"], model["end_id"]] + [model["pad_id"]] * 75)
