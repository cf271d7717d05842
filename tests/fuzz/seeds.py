#!/usr/bin/env python3
"""Writes the inputs that fuzzing begins with: seeds.py DIRECTORY makes DIRECTORY/<target>/<name>.

Owns the seeds and every past finding of each target (FINDINGS, which are replayed for ever); the formats of the inputs are
those of fuzz_*.c. Python's standard library alone.
"""
import json
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def declared(header, data):
    """A safetensors file of which only the header is there."""
    return struct.pack("<Q", data)[:7] + b"\xd0" + header.encode()


def whole(header, data):
    return struct.pack("<Q", len(header)) + header.encode() + bytes(data)


def tower(dtype="F16", bits=16, prefix="text_model."):
    """The tensors of the smallest tower: what fuzz_safetensors.c binds."""
    sizes = {"D": 1, "T": 2}
    names = {"embeddings.token_embedding.weight": "DD", "embeddings.position_embedding.weight": "TD",
             "final_layer_norm.weight": "D", "final_layer_norm.bias": "D"}
    for part in ("layer_norm1", "layer_norm2"):
        names |= {f"encoder.layers.0.{part}.weight": "D", f"encoder.layers.0.{part}.bias": "D"}
    for part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"):
        names |= {f"encoder.layers.0.{part}.weight": "DD", f"encoder.layers.0.{part}.bias": "D"}
    header, at = {}, 0
    for name, letters in {**{prefix + k: v for k, v in names.items()}, "text_projection.weight": "DD"}.items():
        shape = [sizes[letter] for letter in letters]
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + count * bits // 8]}
        at += count * bits // 8
    return json.dumps(header, separators=(",", ":")), at


def safetensors():
    two = ('{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},'
           '"b":{"dtype":"F32","shape":[],"data_offsets":[12,16]}}  ')
    yield "two", whole(two, 16)
    yield "empty", whole("{}", 0)
    yield "zero", declared('{"t":{"dtype":"I32","shape":[2,0],"data_offsets":[0,0]}}', 0)
    yield "nul", declared('{"a\\u0000b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                          '"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[1,2]}}', 2)
    yield "large", declared('{"w":{"dtype":"BF16","shape":[1048576,1048576],"data_offsets":[0,2199023255552]}}', 1 << 41)
    yield "small_types", declared('{"a":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]},"b":{"dtype":"F6_E2M3","shape":[4],'
                                  '"data_offsets":[3,6]},"c":{"dtype":"BOOL","shape":[1,1,1,1,1,1,1,1],"data_offsets":[6,7]}}', 7)
    yield "length", struct.pack("<Q", (1 << 63) - 1) + b"{}"
    yield "limit", struct.pack("<Q", 100000001) + b"{}"
    yield "tower", declared(*tower())
    yield "bare_tower", declared(*tower("F32", 32, ""))
    yield "tower_with_data", whole(tower()[0], tower()[1])


def index():
    yield "two", (b'{"metadata":{"total_size":1.5},"weight_map":{"a":"model-00001-of-00002.safetensors",'
                  b'"b":"model-00002-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}}')
    yield "none", b'{"weight_map":{}}'
    yield "escapes", b'{"weight_map":{"\\u0061":"b\\u002esafetensors"}}'
    for name in ("../a", "/etc/passwd", "..", "", "a\\\\b", "a\\u0000"):
        yield "file_" + "".join(c if c.isalnum() else "_" for c in name), b'{"weight_map":{"a":"' + name.encode() + b'"}}'
    yield "many", json.dumps({"weight_map": {f"t{i}": f"f{i}" for i in range(257)}}).encode()


def layout():
    """Towers of one block, one wide, as fuzz_layout.c spells them: head, name, block, dtype, rank, three sizes."""
    def tower(head, openclip, dtype=0):
        first, linears, vectors = ((5, (9, 5, 6), (7, 8)) if openclip else (0, (4, 0, 1), (2, 3)))
        out = [bytes((head, n, 0, dtype, 2, 1, 0, 0)) for n in linears] + [bytes((head, n, 0, dtype, 1, 0, 0, 0)) for n in vectors]
        names = range(31, 43) if openclip else range(13, 29)
        for n in names:
            wide = n in ((33, 35, 39, 41) if openclip else (15, 17, 19, 21, 25, 27))
            three = openclip and n in (33, 34)
            out.append(bytes((head, n, 0, dtype, 2 if wide else 1, 2 if three else 0, 0, 0)))
        return b"".join(out)
    for head in range(21):
        yield f"transformers_{head}", tower(head, False, head % 9)
        yield f"openclip_{head}", tower(head, True, head % 9)
    yield "two", tower(3, False) + tower(5, True)
    yield "scaled", tower(0, False, 4) + bytes((0, 29, 0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 1, 0, 0, 0))
    yield "mixed", tower(0, False) + tower(1, True)


def config():
    shipped = json.loads((ROOT / "samples/model/config.json").read_text())
    yield "shipped", json.dumps(shipped).encode()
    bigg = {"architectures": ["CLIPTextModelWithProjection"], "hidden_size": 1280, "num_hidden_layers": 32,
            "num_attention_heads": 20, "intermediate_size": 5120, "max_position_embeddings": 77, "vocab_size": 49408,
            "projection_dim": 1280, "hidden_act": "gelu", "layer_norm_eps": 1e-05, "eos_token_id": 2, "model_type": "clip_text_model"}
    yield "bigg", json.dumps(bigg).encode()
    plain = {**bigg, "architectures": ["CLIPTextModel"], "hidden_act": "quick_gelu", "extra": [{"a": [1.5, None, True]}, "x"]}
    del plain["layer_norm_eps"], plain["eos_token_id"], plain["projection_dim"]
    yield "plain", json.dumps(plain).encode()
    yield "empty", b"{}"


VOCABULARY = '{"a": 0, "a</w>": 1, "<|endoftext|>": 2, "<|startoftext|>": 3, "!": 4, "aa": 5}'
CONFIGS = (
    '{"pad_token":"!","model_max_length":77,"added_tokens_decoder":{"4":{"content":"!","lstrip":true,"normalized":false,'
    '"rstrip":true,"single_word":true,"special":true}},"extra_special_tokens":["x"]}\0'
    '{"pad_token":"!","bos_token":{"content":"a","normalized":true,"lstrip":false},"extra_special_tokens":["y"]}\0',
    '{"bos_token":{"__type":"AddedToken","content":"a","normalized":true},"additional_special_tokens":["b"],'
    '"split_special_tokens":false}\0{}\0{"New York":6,"zz":7}',
    '{"pad_token":"<|endoftext|>","tokenizer_class":"CLIPTokenizer","errors":"replace"}\0\0',
)


def vocab():
    for i, configs in enumerate(CONFIGS):
        yield f"pair_{i}", f"{VOCABULARY}\0#version\na a\n\0{configs}\0a  ZZ! new york x".encode()
        yield f"standing_{i}", f"\0\0{configs}\0ab B! <|startoftext|>".encode()
    yield "added", '\0\0\0\0{"New York":8,"zz":9}\0in new york zz'.encode()
    yield "merges", f"{VOCABULARY}\0a a\r\n\0\0\0\0aaa".encode()


def tokenizer_json():
    special = [{"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i, content in ((4, "!"), (3, "<|startoftext|>"), (2, "<|endoftext|>"))]
    regex = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    file = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "post_processor": {"type": "RobertaProcessing", "sep": ["<|endoftext|>", 2], "cls": ["<|startoftext|>", 3],
                           "trim_offsets": False, "add_prefix_space": False},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<|endoftext|>", "continuing_subword_prefix": "",
                  "end_of_word_suffix": "</w>", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": json.loads(VOCABULARY), "merges": [["a", "a"]]}}
    yield "plain", json.dumps(file).encode()
    file["model"]["merges"] = ["a a"]
    file["truncation"] = {"direction": "Right", "max_length": 77}
    file["added_tokens"].append({"id": 6, "content": "New York", "single_word": True, "lstrip": True, "rstrip": False,
                                 "normalized": True, "special": False})
    yield "added", (json.dumps(file) + '\0{"pad_token":"!"}\0a New York aa').encode()


PROMPTS = (
    "", "a photo of an astronaut riding a horse on mars", "\u00c9COLE", "*", "<lora:foo:1>", "bluelight'dcat'S",
    "\u1fbe\u1162\u1171\u1170", "\u4e00\u4e00\u4e00", "brand\u2122 \u00a9 \u00ae", "Hello w\u00f6rld! <|endoftext|>!! don't a\u0301\u0323  42",
    "Bar ab abc aaaa e\u0301!", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\ufb01\u0130\u1e9e\u03a3\u00bd", "a" * 200, "!" * 60,
    "(masterpiece:1.2), best quality, 8k, ((detailed))", "a\0b\u00adc\ufeff\u3000d",
)


REFERENCES = (
    "a &amp;amp;amp;lt; b&#x26;lt;", "&am&#112;;&notit;&#59; &CounterClockwiseContourIntegral;", "<b>&amp;</b>\n&eacute;",
    "&#xFF06;amp\u037e\uff06amp\uff1b", "\x1b[1;31mred\x1b[0m \x1b[\u0663m", "\u0132\u0149\u01c4\ufb03\uff21\uff9e\uffe3",
    "it'\u017f <\u017ftart_of_text><start_of_text>x<end_of_text>", "\u039f\u03a3\u0345. \u03a3 \u0130", "&nGt;&fjlig;&FFILIG;&SZLIG;",
)


def prompt():
    for i, text in enumerate(PROMPTS):
        yield f"shipped_{i}", bytes([75, 0]) + text.encode()
        yield f"odd_{i}", bytes([i, 1]) + text.encode()
        yield f"open_clip_{i}", bytes([75, 2]) + text.encode()
        yield f"open_clip_odd_{i}", bytes([i, 3]) + text.encode()
    for i, text in enumerate(REFERENCES):
        yield f"references_{i}", bytes([75, 2]) + text.encode()
    yield "wrong", b"\x4b\x00ab \xc3(\xff"


def compact(*merges, version=1, count=None):
    """What fuzz_vocab_compact.c makes a file of: it seals it itself."""
    return struct.pack("<II", version, len(merges) if count is None else count) + b"".join(
        struct.pack("<HH", left, right) for left, right in merges)


def vocab_compact():
    hello = ((71, 68), (75, 75), (512, 513), (514, 334))
    for raw in (0, 1):
        yield f"hello_{raw}", bytes([raw, 0, 4]) + compact(*hello) + b"hello <|endoftext|>!"
        yield f"empty_{raw}", bytes([raw, 255, 0]) + compact() + b"a"
    yield "doubling", bytes([0, 1, 7]) + compact((0, 0), *((512 + k, 512 + k) for k in range(6))) + b"!" * 70
    yield "end_before", bytes([0, 1, 1]) + compact((256, 0)) + b"!!"
    yield "twice", bytes([0, 1, 2]) + compact((0, 1), (0, 1)) + b"!!"
    yield "forward", bytes([0, 1, 1]) + compact((512, 0)) + b"!!"
    yield "more", bytes([0, 1, 1]) + compact((0, 1), count=2) + b"!!"
    yield "version", bytes([0, 1, 1]) + compact((0, 1), version=2) + b"!!"


WEIGHTS = (
    "", "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).", "((a:1.2) b) \\(c\\) BREAK [[d] e] (f:1e1)", "photo, " * 30, "(a BREAK b:1.2) BREAK",
    "a (big cat)1.3 dog++ \"several words\"- (nested (deep)+ words)0.5", "(\"a cat\", \"a dog+\", (x y)).blend(0.7, 0.2, 1, no_normalize)",
    "(\"a - b\", c).and(1, -0.5)", "(a).attend(1.5) b.attend(--)", "a embedding:b (embedding:c:1.1)", "((((((((", "(a:nan) (b:1e999) (c:1_0)",
    "\"a\\t\\\"b\\\"\"+ a,b,,c", "x.swap(y) withLora(z, 0.5)",
)


def weights():
    for i, text in enumerate(WEIGHTS):
        for dialect in range(4):
            yield f"{i}_{dialect}", bytes([dialect, 67]) + text.encode()
        yield f"{i}_long", bytes([7, 6]) + text.encode()
    yield "wrong", b"\x01\x43(ab \xc3(\xff"


def conditioning():
    """A manifest, a header without its metadata, data: fuzz_conditioning.c puts them together."""
    def columns(count):
        return {"id": list(range(count)), "weight": [1, 1.25, None][:count], "chunk": [0, 0, None][:count], "row": [1, 2, None][:count],
                "begin": [0, 1, 2][:count], "end": [1, 2, 9][:count]}

    manifest = {
        "format": 1, "penult": "0.3.0", "recipe": "sdxl@a1111", "dialect": "a1111", "emphasis": "original", "clip_skip": -2, "split": False,
        "skip_all": True, "prompt": "a \u732b\n", "prompt_2": None, "negative": "", "negative_2": "x",
        "sizes": {"original": None, "crop": [0, 1], "target": [8, 9], "score": 6.5}, "negative_sizes": None, "dtype": "f32",
        "kernels": "best", "open_clip": False, "pad_in_text": "special", "window": 4, "chunks": 1, "own_chunks": 1, "negative_chunks": 1,
        "negative_own_chunks": 0, "negative_zero": True, "cut": 1,
        "towers": [{"name": "clip_l", "model": "model", "weights": "ab" * 32, "width": 1, "projection": 0, "second_prompt": False, "activation": "gelu",
                    "computed_with": "avx2", "tokens": columns(3), "negative_tokens": columns(0)}],
        "tensors": {"prompt_embeds": [1, 4, 1], "vector": [1, 2]}}
    header = ('{"prompt_embeds":{"dtype":"F32","shape":[1,4,1],"data_offsets":[0,16]},'
              '"vector":{"dtype":"F32","shape":[1,2],"data_offsets":[16,24]}}')
    yield "two", f"{json.dumps(manifest)}\0{header}\0".encode() + bytes(24)
    other = {**manifest, "dialect": "compel", "emphasis": None, "dtype": "f16", "clip_skip": None, "sizes": None, "negative_zero": False,
             "tensors": {"prompt_embeds": [1, 4, 1]}, "towers": [{**manifest["towers"][0], "weights": None, "negative_tokens": columns(2)}] * 4,
             "cut": 4, "negative_own_chunks": 1}
    yield "towers", (json.dumps(other) + '\0{"prompt_embeds":{"dtype":"F16","shape":[1,4,1],"data_offsets":[0,8]}}\0').encode() + bytes(8)
    yield "nothing", b"{}\0{}\0"
    yield "raw", b"\0" + b"\x02" + bytes(0) + b"\0"
    yield "escapes", b'{"a":"\\u0000","b":[[[[{}]]]],"a":1}\0{}\0'


RECIPES = 13


def options(recipe=0, dialect=0, more=0, model=0, windows=12, cache=2, given=15, skip=None, dtype=0, sizes=0, wanted=255, cancel=0):
    return bytes([recipe, dialect | more << 3, model | (windows - 1) << 2 | cache << 6, given | (skip is not None) << 4 | dtype << 6,
                  (skip or 0) & 255, wanted, sizes | cancel << 6])


def condition():
    texts = b"a (photo:1.2) of a cat, 8k\0blurry\0a (dog)0.5\0"
    for recipe in range(RECIPES):
        yield f"recipe_{recipe}", options(recipe, model=recipe % 2) + texts
        yield f"alone_{recipe}", options(recipe, given=1) + b"a photo"
        for skip in (-3, -1, 0, 1, 2, 9):
            yield f"skip_{recipe}_{skip}", options(recipe, model=1, skip=skip, more=4) + texts
    for i, text in enumerate(WEIGHTS):
        for dialect in range(5):
            for recipe in (0, 2):
                yield f"{i}_{dialect}_{recipe}", options(recipe, dialect, model=1) + text.encode()[:240] + b"\0(x:0.5) y+"
        yield f"long_{i}", options(2, 1 + i % 4, more=8 if i % 4 == 3 else 0) + text.encode() * 3 + b"\0" + text.encode()
    for emphasis in range(4):
        yield f"emphasis_{emphasis}", options(5, 2, more=emphasis, model=1) + b"(a:1.3) [b] BREAK (c:-1)\0(d:0.5)"
    for more in (1, 8, 17, 24):
        yield f"refused_{more}", options(2, 1, more=more | 16) + texts
    for cache in range(4):
        yield f"cache_{cache}", options(2, model=1, cache=cache, windows=4, cancel=cache) + texts
    for sizes in range(8):
        yield f"sizes_{sizes}", options(2, model=1, sizes=sizes | (7 - sizes) << 3, skip=sizes, dtype=sizes % 3, wanted=0xF0) + texts
    yield "broken", options(9, model=2) + texts
    yield "not_text", options(2, 4, model=1) + b"a \xff\0b"


def call(op, slot=0, what=0, shape=0, extra=0, content=0, flaw=0, fault=0):
    return bytes([op, slot, what, shape, extra, content, flaw, fault])


ENCODE, TOKENIZE, DESCRIBE, MEASURE, SESSION_OPEN, SESSION_CLOSE, MODEL_OPEN, MODEL_CLOSE, CANCEL, TOUCH = 0, 6, 8, 9, 10, 11, 12, 13, 14, 15


def api():
    full = call(MODEL_OPEN, what=0) + call(SESSION_OPEN, slot=2, what=3 | 1 << 2)
    yield "encode", call(ENCODE, what=4 | 2 << 3, content=3) + call(ENCODE, what=2 | 2 << 3, extra=0xE4, content=0x71)
    yield "plain", call(ENCODE, slot=1, what=1, content=0x70) + call(ENCODE, slot=1, what=5)
    for flaw in range(32):
        yield f"encode_flaw_{flaw}", call(ENCODE, what=6 | 2 << 3, extra=0x40, content=flaw % 4 + 1, flaw=flaw)
    yield "cancel", b"".join(call(ENCODE, what=4, extra=1, content=3, flaw=mode << 5) for mode in (4, 5, 6, 7)) + call(CANCEL, what=1)
    yield "broken", call(MODEL_OPEN, what=2) + call(SESSION_OPEN, slot=2, what=7) + call(ENCODE, slot=2, what=4, extra=1, content=3)
    yield "touch", call(TOUCH, what=8) + call(ENCODE, what=4, content=3) + call(TOUCH) + call(ENCODE, what=4, content=3)
    yield "life", full + call(ENCODE, slot=2, what=4, content=3) + call(MODEL_CLOSE) + call(ENCODE, slot=2, what=4, content=3) + \
        call(SESSION_CLOSE) + call(MODEL_CLOSE, what=1) + call(SESSION_CLOSE, what=1)
    for place in range(6):
        yield f"open_{place}", call(MODEL_OPEN, what=place, shape=3) + call(MODEL_OPEN, what=place, shape=7) + call(DESCRIBE, slot=2)
    for k in range(32):
        yield f"refused_{k}", call(MODEL_OPEN, shape=k & 1, fault=128 | k) + call(SESSION_OPEN, what=3 | 1 << 2, fault=128 | k) + \
            call(TOKENIZE, content=3, fault=128 | k) + call(ENCODE, what=4, content=3, fault=128 | k)
    yield "threads", call(SESSION_OPEN, what=7, extra=240) + call(ENCODE, slot=2, what=4, content=3) + \
        call(SESSION_OPEN, what=7, extra=240, fault=128 | 9)
    yield "checked_model", call(MODEL_OPEN, extra=255)
    yield "checked", call(SESSION_OPEN, what=7, shape=1, extra=255) + call(ENCODE, slot=2, what=4)
    for flaw in range(14):
        yield f"others_{flaw}", b"".join(call(op, what=7, extra=3, content=3, flaw=flaw) for op in range(TOKENIZE, MODEL_OPEN + 1))
        yield f"more_{flaw}", call(TOKENIZE, what=17, content=3, flaw=flaw) + call(TOKENIZE, slot=1, flaw=flaw)


# target -> (name, bytes): inputs that once were findings
FINDINGS = {"safetensors": [("report_without_a_subject", declared('{"embeddings.token_embedding.weight":{"dtype":"F16","shape":'
                                                                  '[1],"data_offsets":[0,2]},"":{"dtype":"F16","shape":[1],'
                                                                  '"data_offsets":[2,4]}}', 4))]}

TARGETS = {"safetensors": safetensors, "index": index, "layout": layout, "config": config, "vocab": vocab, "tokenizer_json": tokenizer_json,
           "vocab_compact": vocab_compact, "prompt": prompt, "weights": weights, "conditioning": conditioning, "condition": condition,
           "api": api}


def main():
    out = pathlib.Path(sys.argv[1])
    for target, make in TARGETS.items():
        directory = out / target
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.iterdir():
            old.unlink()
        for name, data in make():
            (directory / name).write_bytes(data)
        for name, data in FINDINGS.get(target, ()):
            (directory / f"finding_{name}").write_bytes(data)


if __name__ == "__main__":
    main()
