"""open_clip's own tokenizer, without the rest of open_clip: its tokenizer.py loaded by itself, so that neither torchvision
nor timm is needed, with ftfy's fix_encoding left out or not.

    tokenizer(merges_txt=None, mojibake=False).encode(text)
"""
import functools
import gzip
import html
import importlib.metadata
import importlib.util
import pathlib
import sys
import tempfile
import unicodedata

import ftfy

SPECIAL = ("<start_of_text>", "<end_of_text>")
VERSIONS = {"open_clip_torch": "3.3.0", "ftfy": "6.3.1", "regex": "2026.11.19", "Unicode": "14.0.0"}
# tests/parity/environment.sh puts open_clip there, where transformers does not see the torchvision that comes with it
APART = pathlib.Path(sys.prefix) / "apart"


def version(name):
    apart = list(importlib.metadata.distributions(name=name, path=[str(APART)]))
    return apart[0].version if apart else importlib.metadata.version(name)


def found():
    """Versions as VERSIONS has them; Unicode is Python's own."""
    return {name: unicodedata.unidata_version if name == "Unicode" else version(name) for name in VERSIONS}


@functools.cache
def module():
    folder = APART / "open_clip"
    if not folder.is_dir():
        [folder] = importlib.util.find_spec("open_clip").submodule_search_locations
    spec = importlib.util.spec_from_file_location("open_clip_tokenizer", pathlib.Path(folder) / "tokenizer.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def without_mojibake(text):
    """_clean_lower of tokenizer.py with another configuration of ftfy."""
    text = ftfy.fix_text(text, ftfy.TextFixerConfig(fix_encoding=False, explain=False))
    text = html.unescape(html.unescape(text)).strip()
    return module().whitespace_clean(text).lower()


def tokenizer(merges_txt=None, mojibake=False):
    """The published vocabulary, or the one of a merges.txt."""
    if merges_txt is None:
        made = module().SimpleTokenizer()
    else:
        with tempfile.TemporaryDirectory() as directory:
            path = pathlib.Path(directory) / "merges.txt.gz"
            merges = [line for line in merges_txt.split("\n") if line and not line.startswith("#version")]
            path.write_bytes(gzip.compress("\n".join(["#version", *merges]).encode("utf-8")))
            made = module().SimpleTokenizer(str(path))
    if not mojibake:
        made.clean_fn = without_mojibake
    return made
