"""small.py - the smallest model that the plugin opens, in pieces that a malformed file can be made of.

Owns the tower (4 wide, one block), its tokenizer of 518 tokens and the layout of a safetensors file, written from the
format's description and not through the code under test. Knows nothing of what is made malformed.
"""
import json
import struct

import numpy as np

WIDTH, MLP, CONTEXT, ROWS = 4, 8, 77, 600  # ROWS: of the embedding; more than the tokenizer has ids
START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = (("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o</w>"))

CONFIG = {
    "architectures": ["CLIPTextModelWithProjection"], "model_type": "clip_text_model", "hidden_size": WIDTH,
    "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": MLP, "max_position_embeddings": CONTEXT,
    "vocab_size": ROWS, "projection_dim": WIDTH, "layer_norm_eps": 1e-5, "hidden_act": "gelu", "eos_token_id": 517,
}


def config(**changes):
    """config.json; None removes a key."""
    values = {**CONFIG, **changes}
    return json.dumps({key: value for key, value in values.items() if value is not None}, indent=1).encode()


# ---- tokenizer ------------------------------------------------------------------------------------------------------

def vocabulary():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(byte) for byte in plain] + [chr(256 + rank) for rank in range(256 - len(plain))]
    tokens = symbols + [symbol + "</w>" for symbol in symbols] + [a + b for a, b in MERGES] + [START, END]
    return {token: index for index, token in enumerate(tokens)}


def merges_txt(merges=MERGES, header="#version: 0.2\n"):
    return (header + "".join(f"{left} {right}\n" for left, right in merges)).encode()


def vocab_json(tokens=None):
    return json.dumps(vocabulary() if tokens is None else tokens).encode()


def tokenizer_json(tokens=None, merges=MERGES, **changes):
    """tokenizer.json as transformers 5 writes it."""
    tokens = vocabulary() if tokens is None else tokens

    def added(text):
        return {"id": tokens.get(text, 0), "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False, "special": True}
    pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    values = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [added(START), added(END)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "post_processor": {"type": "RobertaProcessing", "sep": [END, tokens.get(END, 0)],
                           "cls": [START, tokens.get(START, 0)], "trim_offsets": False, "add_prefix_space": False},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "dropout": None, "unk_token": END, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "</w>", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": tokens, "merges": [list(pair) for pair in merges]},
    }
    return json.dumps({**values, **changes}).encode()


def clip_vocab(merges, version=1, count=None):
    """Our compact form, from its description: merges as pairs of ids."""
    data = b"PENVOCAB" + struct.pack("<II", version, len(merges) if count is None else count)
    data += b"".join(struct.pack("<HH", left, right) for left, right in merges)
    check = 0xCBF29CE484222325
    for byte in data:
        check = (check ^ byte) * 0x100000001B3 % 2**64
    return data + struct.pack("<Q", check)


# ---- weights --------------------------------------------------------------------------------------------------------

def shapes():
    yield "text_model.embeddings.token_embedding.weight", (ROWS, WIDTH)
    yield "text_model.embeddings.position_embedding.weight", (CONTEXT, WIDTH)
    block = "text_model.encoder.layers.0."
    for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"):
        yield f"{block}{part}.weight", (WIDTH, WIDTH)
        yield f"{block}{part}.bias", (WIDTH,)
    yield f"{block}mlp.fc1.weight", (MLP, WIDTH)
    yield f"{block}mlp.fc1.bias", (MLP,)
    yield f"{block}mlp.fc2.weight", (WIDTH, MLP)
    yield f"{block}mlp.fc2.bias", (WIDTH,)
    for norm in (block + "layer_norm1", block + "layer_norm2", "text_model.final_layer_norm"):
        yield f"{norm}.weight", (WIDTH,)
        yield f"{norm}.bias", (WIDTH,)
    yield "text_projection.weight", (WIDTH, WIDTH)


def tower(seed=1):
    """name -> float32 array: values of a size that keeps everything finite and nothing zero."""
    draw = np.random.default_rng(seed)
    return {name: draw.standard_normal(shape).astype(np.float32) * np.float32(0.5) + ("norm" in name and "bias" not in name)
            for name, shape in shapes()}


def entry(dtype, shape, begin, end):
    return json.dumps({"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]})


class Weights:
    """model.safetensors in pieces: `entries` are (name as JSON, entry as JSON), `data` is what lies behind the header."""

    def __init__(self):
        self.entries, self.data = [], b""
        for name, values in tower().items():
            raw = values.astype(np.float16).tobytes()
            self.entries.append((json.dumps(name), entry("F16", values.shape, len(self.data), len(self.data) + len(raw))))
            self.data += raw

    def header(self, *more, before=""):
        """more: entries as text ('"name":{...}') behind the tower's; before: the same in front of them."""
        own = [f"{name}:{value}" for name, value in self.entries]
        return ("{" + ",".join(([before] if before else []) + own + list(more)) + "}").encode()

    def file(self, *more, data=b"", before=""):
        return container(self.header(*more, before=before), self.data + data)


def container(header, data=b"", length=None):
    return struct.pack("<Q", len(header) if length is None else length) + header + data
