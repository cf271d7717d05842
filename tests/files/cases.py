"""cases.py - what a case of the malformed corpus is, and how it is written to disk.

A case is a few files that replace or join those of the small model, the status that the plugin must answer, and words
that its sentence must have. Owns the manifest that test_corpus.c reads. Knows no format.

The manifest has a line for each case, fields separated by tabs:

    group  name  kind  path  status  bits  claimed  body  cut  word ...

    kind     model: open the folder `path`; tokenizer: open the base model with this tokenizer_path; text: tokenize
             the text in this file with the base model
    bits     same: an encode must give the base model's bits; any: it must work; -: it may also be NON_FINITE
    claimed  text: the text_bytes to pass without a text behind them; - the file's size
    body, cut  text: the counts that the answer must have; - any
"""
import dataclasses
import os
import pathlib
import shutil

BASE = "base"


@dataclasses.dataclass
class Case:
    group: str
    name: str
    status: str
    words: tuple = ()
    files: dict = dataclasses.field(default_factory=dict)  # name -> bytes, Sparse, or None to leave the base's out
    kind: str = "model"
    bits: str = "same"
    claimed: str = "-"
    body: str = "-"
    cut: str = "-"
    only: bool = False  # kind tokenizer: the folder holds these files alone


@dataclasses.dataclass
class Sparse:
    """A file with `head` at its start and zeros, which take no disk, up to `size`."""
    head: bytes
    size: int


def _write_file(path, contents):
    path.unlink(missing_ok=True)
    with open(path, "wb") as file:
        if isinstance(contents, Sparse):
            file.write(contents.head)
            file.truncate(contents.size)
        else:
            file.write(contents)


def _write_folder(folder, base, files):
    folder.mkdir(parents=True)
    for name in os.listdir(base) if base else ():
        if name not in files:
            os.link(base / name, folder / name)
    for name, contents in files.items():
        if contents is not None:
            _write_file(folder / name, contents)


def write(root, base_files, cases):
    """Writes all cases under `root`, anew, and the manifest last. Returns how many cases each group has."""
    root, counts, lines, names = pathlib.Path(root), {}, [], set()
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    _write_folder(root / BASE, None, base_files)
    for case in cases:
        label = f"{case.group}-{case.name}"
        if label in names:
            raise SystemExit(f"two cases are called {label}")
        names.add(label)
        counts[case.group] = counts.get(case.group, 0) + 1
        path = label
        if case.kind == "text":
            _write_file(root / label, case.files["text"])
        elif case.kind == "tokenizer" and list(case.files) == ["."]:
            _write_file(root / label, case.files["."])
        else:
            _write_folder(root / label, None if case.only else root / BASE, case.files)
        fields = [case.group, case.name, case.kind, path, case.status, case.bits, case.claimed, case.body, case.cut,
                  *case.words]
        if any("\t" in field or "\n" in field for field in fields):
            raise SystemExit(f"{label}: a field of the manifest has a tab or a line feed in it")
        lines.append("\t".join(fields) + "\n")
    (root / "manifest.tsv").write_text("".join(lines), encoding="utf-8")
    return counts
