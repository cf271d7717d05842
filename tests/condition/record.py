#!/usr/bin/env python3
"""Records what the hosts make of prompts with weights: writes golden.txt, beside this file.

    record.py --a1111 parsing.py --comfyui sd1_clip.py [--count 120]

Needs an environment with compel, transformers and torch. The hosts' own code is run, and is not here: --a1111 is
backend/text_processing/parsing.py of stable-diffusion-webui-forge (the same parse_prompt_attention as AUTOMATIC1111's
modules/prompt_parser.py, which it was copied from), and classic_engine.py is looked for beside it; --comfyui is
comfy/sd1_clip.py. The tokenizer is samples/model's. Numbers are written by repr(), texts as hexadecimal. The prompts are made
from a fixed seed, so that one set of versions always gives one file.
"""
import argparse
import ast
import hashlib
import importlib.metadata
import logging
import pathlib
import random
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def functions(path, names, scope):
    """The named functions of a file that cannot be imported outside of its host."""
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if getattr(node, "name", None) in names or
                 (isinstance(node, ast.Assign) and node.targets[0].id in names)]
    exec(compile(tree, str(path), "exec"), scope)
    return scope


def method(path, of, name, scope):
    """One method of a class of such a file, as a function."""
    tree = ast.parse(path.read_text())
    body = [node for c in tree.body if getattr(c, "name", None) == of for node in c.body if getattr(node, "name", None) == name]
    tree.body = body
    exec(compile(tree, str(path), "exec"), scope)
    return scope[name]


class Hosts:
    def __init__(self, a1111, comfyui):
        from compel.prompt_parser import PromptParser
        from transformers import CLIPTokenizerFast
        self.forge = functions(a1111, {"re_attention", "re_break", "parse_prompt_attention"}, {"re": re})
        self.comfy = functions(comfyui, {"parse_parentheses", "token_weights", "escape_important", "unescape_important"}, {})
        self.compel_parser = PromptParser()
        self.tokenizer = CLIPTokenizerFast.from_pretrained(ROOT / "samples/model")
        self.files = [a1111, comfyui, a1111.with_name("classic_engine.py")]
        self.comfyui_file = comfyui

    def a1111(self, prompt):
        return ["one", (1.0, [(weight, text) for text, weight in self.forge["parse_prompt_attention"](prompt, "Original")])]

    def comfyui(self, prompt):
        parsed = self.comfy["token_weights"](self.comfy["escape_important"](prompt), 1.0)
        # since ComfyUI 443393b what may name an embedding is tokenized by itself
        return ["one", (1.0, [(weight, piece) for text, weight in parsed
                              for piece in re.split(r"(?<=\s)(?=embedding:)", self.comfy["unescape_important"](text))])]

    def compel(self, prompt):
        conjunction = self.compel_parser.parse_conjunction(prompt)
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


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--a1111", type=pathlib.Path, required=True)
    arguments.add_argument("--comfyui", type=pathlib.Path, required=True)
    arguments.add_argument("--count", type=int, default=120)
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).with_name("golden.txt"))
    options = arguments.parse_args()
    hosts = Hosts(options.a1111, options.comfyui)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("compel", "pyparsing", "transformers")]
    lines = [f"reference {', '.join(versions)}, Python {sys.version.split()[0]}"]
    lines += [f"reference {path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in hosts.files]
    for dialect in ("a1111", "comfyui", "compel"):
        for prompt in prompts(dialect, options.count):
            lines.append(f"parse {dialect} {prompt.encode().hex() or '-'} {parsed(hosts, dialect, prompt)}")
    options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
