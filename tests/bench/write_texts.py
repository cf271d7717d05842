"""The corpus and the vocabulary of the bench's tokenizers: CLIP's own, and the tests' own strings.

    write_texts.py DIRECTORY      makes DIRECTORY/texts and DIRECTORY/tokenizer/tokenizer.json; no time when they are there

The texts are those of the tokenizer's vectors and 4000 of the seeded generator that the parity run uses, each ended by a NUL;
those that hold one are left out. The mix is harder than prompts are: many scripts, code, emoji, special tokens.
"""
import json
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "parity"), str(ROOT / "tests" / "tokenizer")]
DRAWN = 4000


def write(directory):
    import clip_vocabulary
    import corpus

    vectors = json.loads((ROOT / "tests" / "tokenizer" / "tokenizer_vectors.json").read_text(encoding="utf-8"))
    texts = [vector["text"] for vector in vectors] + list(corpus.texts(DRAWN))
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "texts").write_bytes(b"".join(text.encode("utf-8") + b"\0" for text in texts if "\0" not in text))
    new, _old = clip_vocabulary.write(directory / "vocabulary")
    shutil.rmtree(directory / "tokenizer", ignore_errors=True)
    shutil.copytree(new, directory / "tokenizer")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: write_texts.py DIRECTORY")
    target = pathlib.Path(sys.argv[1])
    if not (target / "complete").exists():
        write(target)
        (target / "complete").touch()
