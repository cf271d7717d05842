#!/usr/bin/env python3
"""Records what the hosts make of prompts with weights: writes golden.txt, beside this file.

    record.py --a1111 parsing.py --comfyui sd1_clip.py [--count 150]

Needs an environment with compel (for its files), pyparsing and tokenizers. The hosts' own code is run, and is not here: --a1111 is
backend/text_processing/parsing.py of stable-diffusion-webui-forge (the same parse_prompt_attention as AUTOMATIC1111's
modules/prompt_parser.py, which it was copied from), and classic_engine.py is looked for beside it; --comfyui is
comfy/sd1_clip.py. The tokenizer is samples/model's. Numbers are written by repr(), texts as hexadecimal. The prompts are made
from a fixed seed, so that one set of versions always gives one file.
"""
import argparse
import ast
import enum
import functools
import hashlib
import importlib.metadata
import importlib.util
import logging
import pathlib
import random
import re
import struct
import sys
import typing
from types import SimpleNamespace

import tokenizers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def functions(path, names, scope, of=None):
    """The named functions of a file that cannot be imported outside of its host, or methods of its class `of`."""
    tree = ast.parse(path.read_text())
    body = tree.body if of is None else next(node for node in tree.body if getattr(node, "name", None) == of).body
    tree.body = [node for node in body if getattr(node, "name", None) in names or
                 (isinstance(node, ast.Assign) and node.targets[0].id in names)]
    exec(compile(tree, str(path), "exec"), scope)
    return scope


class Tokenizer:
    """samples/model's, with as much of transformers' face as the hosts ask for."""

    def __init__(self):
        self.engine = tokenizers.Tokenizer.from_file(str(ROOT / "samples/model/tokenizer.json"))
        self.engine.no_padding()
        self.engine.no_truncation()
        self.bos_token_id, self.eos_token_id, self.pad_token_id = map(self.engine.token_to_id, ("<|startoftext|>", "<|endoftext|>", "!"))
        self.model_max_length = 77

    def get_vocab(self):
        return self.engine.get_vocab()

    def convert_ids_to_tokens(self, ids):
        return [self.engine.id_to_token(i) for i in ids]

    def __call__(self, texts, truncation=False, add_special_tokens=True, **_unused):
        rows = [self.engine.encode(text, add_special_tokens=add_special_tokens).ids
                for text in ([texts] if isinstance(texts, str) else texts)]
        if truncation:
            rows = [row if len(row) <= 77 else row[:76] + [self.eos_token_id] for row in rows]
        return {"input_ids": rows[0] if isinstance(texts, str) else rows}


class Tensor(list):
    """A torch tensor of one dimension, as far as compel's cutting goes; floats are rounded to float32."""

    def __init__(self, values, dtype=None, **_unused):
        super().__init__(struct.unpack("f", struct.pack("f", value))[0] if dtype == "float32" else value for value in values)

    def tolist(self):
        return list(self)


class Hosts:
    def __init__(self, a1111, comfyui):
        compel = pathlib.Path(importlib.util.find_spec("compel").submodule_search_locations[0])
        self.forge = functions(a1111, {"re_attention", "re_break", "parse_prompt_attention"}, {"re": re})
        self.comfy = functions(comfyui, {"parse_parentheses", "token_weights", "escape_important", "unescape_important"}, {"re": re})
        self.tokenizer = Tokenizer()
        self.files = [a1111, a1111.with_name("classic_engine.py"), comfyui]
        functions(self.files[1], {"PromptChunk"}, self.forge)
        functions(self.files[1], {"tokenize_line"}, self.forge, "ClassicTextProcessingEngine")
        self.forge["parsing"] = SimpleNamespace(parse_prompt_attention=self.forge["parse_prompt_attention"])
        functions(comfyui, {"tokenize_with_weights"}, self.comfy, "SDTokenizer")
        # the package itself loads torch, transformers and diffusers, for what is not asked of it here
        spec = importlib.util.spec_from_file_location("compel_prompt_parser", compel / "prompt_parser.py")
        parser = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(parser)
        self.compel_parse = functools.lru_cache(None)(parser.PromptParser().parse_conjunction)
        torch = SimpleNamespace(tensor=Tensor, Tensor=Tensor, long="long", float32="float32", device=object, dtype=object)
        self.embeddings = functions(compel / "embeddings_provider.py",
                                    {"DownweightMode", "SplitLongTextMode", "ReturnedEmbeddingsType", "EmbeddingsProvider"},
                                    {**vars(typing), **vars(enum), "torch": torch, "BaseTextualInversionManager": object,
                                     "CompatibleTokenizer": object, "CompatibleTextEncoder": object})

    def a1111(self, prompt):
        return ["one", (1.0, [(weight, text) for text, weight in self.forge["parse_prompt_attention"](prompt, "Original")])]

    def comfyui(self, prompt):
        parsed = self.comfy["token_weights"](self.comfy["escape_important"](prompt), 1.0)
        # since ComfyUI 443393b what may name an embedding is tokenized by itself
        return ["one", (1.0, [(weight, piece) for text, weight in parsed
                              for piece in re.split(r"(?<=\s)(?=embedding:)", self.comfy["unescape_important"](text))])]

    def compel(self, prompt):
        conjunction = self.compel_parse(prompt)
        if conjunction.lora_weights or any("CrossAttention" in type(f).__name__ for p in conjunction.prompts
                                           for f in getattr(p, "children", [])):
            raise ValueError("not a weight")
        parts, kind = list(zip(conjunction.weights, conjunction.prompts)), "and"
        if parts and type(parts[0][1]).__name__ == "Blend":
            blend = parts[0][1]
            parts, kind = list(zip(blend.weights, blend.prompts)), "blend" if blend.normalize_weights else "blend_as_is"
        elif len(parts) == 1 and not re.match(r"\s*\(.*\)\s*\.\s*a[nd]d?", prompt, re.S):
            kind = "one"
        return [kind] + [(weight, [(f.weight, f.text) for f in prompt.children]) for weight, prompt in parts]


    # what the hosts cut: [(id, weight)] for each window, without padding

    def cut_a1111(self, prompt):
        tokenizer = self.tokenizer
        engine = SimpleNamespace(
            emphasis=SimpleNamespace(name="Original"), chunk_length=75, id_start=tokenizer.bos_token_id, id_end=tokenizer.eos_token_id,
            comma_token=tokenizer.get_vocab().get(",</w>"), embeddings=SimpleNamespace(find_embedding_at_position=lambda *_: (None, None)),
            tokenize=lambda texts: tokenizer(texts, truncation=False, add_special_tokens=False)["input_ids"])
        return [list(zip(chunk.tokens, chunk.multipliers)) for chunk in self.forge["tokenize_line"](engine, prompt)[0]]

    def cut_comfyui(self, prompt):
        tokenizer = SimpleNamespace(tokenizer=self.tokenizer, embedding_identifier="embedding:", embedding_directory=None, tokens_start=1,
                                    tokenizer_adds_end_token=True, start_token=self.tokenizer.bos_token_id, max_word_length=8,
                                    end_token=self.tokenizer.eos_token_id, pad_token=self.tokenizer.eos_token_id, max_length=77,
                                    pad_to_max_length=True, min_length=None)
        return self.comfy["tokenize_with_weights"](tokenizer, prompt)

    def compel_provider(self, truncate):
        modes = self.embeddings["SplitLongTextMode"]
        provider = self.embeddings["EmbeddingsProvider"].__new__(self.embeddings["EmbeddingsProvider"])
        provider.model_max_length_override, provider.suppress_eos = None, False
        provider.tokenizer, provider.truncate_to_model_max_length, provider.textual_inversion_manager = self.tokenizer, truncate, None
        provider.padding_attention_mask_value, provider.get_dtype_for_device = 1, lambda _: "float32"
        provider.split_long_text_mode = modes.SENTENCES | modes.COPY_FIRST_CLS_TOKEN
        return provider

    def cut_compel(self, prompt, truncate=True):
        fragments = self.compel_parse(prompt).prompts[0].children
        ids, weights, _mask = self.compel_provider(truncate).get_token_ids_and_expand_weights(
            [f.text for f in fragments], [f.weight for f in fragments], "cpu")
        pairs = list(zip(ids.tolist(), weights.tolist()))
        return [pairs[i:i + 77] for i in range(0, len(pairs), 77)]

    def cut_compel_long(self, prompt):
        return self.cut_compel(prompt, False)

    def ranges(self, prompt, truncate):
        """The first and last row of each fragment, as compel looks for them when one is to be hidden."""
        fragments = self.compel_parse(prompt).prompts[0].children
        if all(fragment.weight >= 1 for fragment in fragments):
            return []
        ids = [i for window in self.cut_compel(prompt, truncate) for i, _ in window]
        found = self.compel_provider(truncate)._get_token_ranges_for_fragments(ids, [f.text for f in fragments])
        return [(k, *found[k]) for k in range(len(found)) if fragments[k].weight < 1 and found[k][0] is not None]


PIECES = {
    "a1111": ["(", ")", "[", "]", ":", "\\", ":1.2)", ":0.5)", ":-1)", ": 1.3 )", ":+.5)", ":1e1)", " BREAK ", "BREAK", "\nBREAK,",
              "a", "cat", " ", ", ", "photo of", "\u00e9", "\u3000", ":\u0661.\u0665)", ":2)", "1.1", "\\(", "_"],
    "comfyui": ["(", ")", "(", ")", ":", "\\", ":1.2)", ":0.5)", ":-1e1)", ": 1.3 )", ":1_0)", ":nan)", ":inf)", ":.5)", "a", "cat",
                " ", ", ", "photo of", "\u00e9", "\u3000", ":\u0661.\u0665)", "embedding:x", "\\(", "\\)", ":1__0)", ":infinity )"],
    "compel": ["(", ")", "(a b)", "+", "-", "++", "--", "1.3", "0.5", "\"", "\"a cat\"", ",", ".", " ", " ", "cat", "a", "(photo of)", "=",
               "\\(", "\\)", "\\\"", "\\", ")+", ")1.2", ")-", ").and()", ").blend(1, 2)", ".attend(1.5)", "\n", "b", "\u00e9", "5", ")0.8 ",
               "(\"a b\", c", "no_normalize)", "( ", "(a", "cat+", "dog--"],
}
# what random pieces seldom make
CASES = {
    "a1111": ["", "(BR\\EAK:-1)", "(a BREAK b:1)", "(a BREAK b:0)", "a BREAK BREAK b", "(a [b) c] d", "((a)(b:0.5)[c]", "x_BREAK BREAK_x BREAK",
              "a\u00a0BREAK\u3000b", "(a:.5)", "(a:1.)", "\\", "\\\\(a)", "(a:1.2", "(a:1.2 b)", "a:1.2)", "[[[[a]]]]", "(((a", "BREAK", "BREAKa BREAK"],
    "comfyui": ["", "((a:1.2) b)", "(a (b) c:1.5)", "(a)) (b)", "((a)", "(a:1.2:1.3)", "()", "(:1.2)", "(a:b)", "a \\(b\\) (c\\))", "(a:1.2\\))",
                "((((a:2))))", "(a (b", "a) (( b) c", "a embedding:b (embedding:c d:1.1) embedding:", "(a:1e400)", "(a:-inf)", "(a:0x10)", "(a:1_000.5_0e-1_0)"],
    "compel": ["", " ", "()", "(\"a\", \"b\").and()", "(\"a b\", \"c+ d\").and(1, 0.5)", "(\"a\",\"b\").blend(1,-2)",
               "(\"a\", b c).blend(1, 2)", "(\"a\", \"b\", (c d)).blend(0.7, 0.2, 1, no_normalize)", "(\"a\", \"b\").blend(1)",
               "(\"a\", \"b\").and(x)", "(\"a\", \"b\").blend() c", "(\"a\", \"b\").and() c", "(\"a - b\", \"(c\").and()", "((a b), c).add(1, 2)", "(a\\\\(b)+",
               "a\\\\\\(b c\\(", "\"a \\\"b\\\" c\"+", "\"(a)+ b\"1.5", "\"a\\tb\"+", "\"\"+ a", "(a, b. c)+", "(a) .attend( 0.5 )", "a .attend(+)", "((a)+)+",
               "(a b)\u0663.\u0665", "(a)1b", "a+-", "(a -b)-", "(a - b)-", "a \"b", "\"a\nb\"+ c", "\"a\\\" b", "(\"a (b\")+ c", "a,b,,c , d", "(a)+1.5",
               "(a.b)+ c.d", "\"x (a\" b\" c)", "(\"a\", ()).and()", "(\"a\", ()).blend(1, 2)", "(\"a\", \"b\").and(inf, nan)", "a\fb", "a\f b", "a\vb", "(((a b)+ c)- d)1.2"],
}


def prompts(dialect, count):
    rng = random.Random(f"weights {dialect}")
    yield from CASES[dialect]
    for _ in range(count):
        yield "".join(rng.choice(PIECES[dialect]) for _ in range(rng.randint(2, 14 if dialect != "compel" else 9)))


def parsed(hosts, dialect, prompt):
    try:
        kind, *parts = getattr(hosts, dialect)(prompt)
    except Exception as error:  # whatever it is, the host does not take the prompt
        logging.debug("%s", error)
        return "refused"
    words = [kind]
    for weight, fragments in parts:
        words += ["part", repr(float(weight))] + [f"{float(w)!r}:{text.encode().hex()}" for w, text in fragments]
    return " ".join(words)


WORDS = ("photo", "of", "an", "astronaut", "riding", "a", "horse", ",", ", mars,", "detailed", "8k", "in", "the", "style", "cinematic light.")
FRAMES = {"a1111": ("(%s:1.3)", "[%s]", "((%s))", "%s", "%s BREAK", "%s", "(%s:0)"),
          "comfyui": ("(%s:1.3)", "((%s))", "%s", "%s", "(%s:0.5)", "(%s:-1)"),
          "compel": ("(%s)1.3", "(%s)--", "%s", "%s", "(%s)+", "(%s)0.5")}


def long_prompts(dialect, count):
    """Of some hundred tokens; with commas and stops, and without."""
    rng = random.Random(f"long {dialect}")
    yield from ("", "photo", ", " * 80, "a" * 400, "BREAK BREAK photo BREAK", "photo, " * 30)
    yield from (" ".join(["photo"] * n) + tail for n in (24, 25, 26, 37, 75) for tail in ("", ", mars", " <|endoftext|> mars"))
    for _ in range(count):
        words, comma = WORDS if rng.random() < 0.7 else WORDS[:7], rng.choice(("", ",", " , "))
        parts = [" ".join(rng.choice(words) for _ in range(rng.randint(1, 20))) for _ in range(rng.randint(2, 7))]
        yield f"{comma} ".join(rng.choice(FRAMES[dialect]) % part for part in parts)


def cut(hosts, how, prompt):
    """Each window's ids with their weights where they are not 1; the last stands for all that follow."""
    words = []
    for row in getattr(hosts, f"cut_{how}")(prompt):
        shown = [str(pair[0]) if pair[1] == 1 else f"{pair[0]}*{float(pair[1])!r}" for pair in row]
        while len(shown) > 1 and shown[-2] == shown[-1]:
            shown.pop()
        assert len(row) == 77
        words.append(",".join(shown))
    return " ".join(words)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--a1111", type=pathlib.Path, required=True)
    arguments.add_argument("--comfyui", type=pathlib.Path, required=True)
    arguments.add_argument("--count", type=int, default=150)
    arguments.add_argument("--only", nargs="+", default=["a1111", "comfyui", "compel"], help="some dialects, in order")
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).with_name("golden.txt"))
    options = arguments.parse_args()
    hosts = Hosts(options.a1111, options.comfyui)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("compel", "pyparsing", "tokenizers")]
    lines = [f"reference {', '.join(versions)}, Python {sys.version.split()[0]}"]
    lines += [f"reference {path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in hosts.files]
    for dialect in options.only:
        for prompt in prompts(dialect, options.count):
            lines.append(f"parse {dialect} {prompt.encode().hex() or '-'} {parsed(hosts, dialect, prompt)}")
        for prompt in long_prompts(dialect, options.count // 12):
            for how in ("compel", "compel_long") if dialect == "compel" else (dialect,):
                try:
                    lines.append(f"cut {how} {prompt.encode().hex() or '-'} {cut(hosts, how, prompt)}")
                    ranges = hosts.ranges(prompt, how == "compel") if dialect == "compel" else []
                except RuntimeError as error:  # compel does not find its own fragments
                    print(error, file=sys.stderr)
                    continue
                lines += [f"hide {' '.join(map(str, found))}" for found in ranges]
    options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
