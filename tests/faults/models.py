#!/usr/bin/env python3
"""Makes the model folders that the tests of faults open, from the one that ships:

    pair    vocab.json and merges.txt, no tokenizer.json
    ids     no tokenizer at all
    shards  its weights in two files and an index
    deep    its blocks three times over: an encode long enough to be cancelled in
    narrow  two of its blocks, and little in them: what valgrind can encode some hundred times
    beside  no model, but the vocabulary for a plugin to have beside it

usage: models.py MODEL FOLDER. Knows tests/model/folders.py, tests/files/small.py and the names of a CLIP tower's tensors."""
import json
import pathlib
import re
import sys

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parent.parent / name) for name in ("model", "files")]
import folders  # noqa: E402
import small  # noqa: E402

TIMES = 3
NARROW_LAYERS = 2
NARROW_INNER = 64
LAYER = re.compile(r"^(.*encoder\.layers\.)(\d+)(\..*)$")


def repeat_blocks(tensors):
    count = 1 + max(int(match[2]) for match in map(LAYER.match, tensors) if match)
    deep = {}
    for name, tensor in tensors.items():
        match = LAYER.match(name)
        if not match:
            deep[name] = tensor
        for again in range(TIMES if match else 0):
            deep[f"{match[1]}{int(match[2]) + again * count}{match[3]}"] = tensor
    return deep


def narrow_blocks(tensors):
    narrow = {}
    for name, (dtype, array) in tensors.items():
        match = LAYER.match(name)
        if match and int(match[2]) >= NARROW_LAYERS:
            continue
        if ".fc1." in name:
            array = array[:NARROW_INNER]
        elif name.endswith(".fc2.weight"):
            array = array[:, :NARROW_INNER]
        narrow[name] = (dtype, array)
    return narrow


def shards(path):
    whole = folders.read(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    where = {}
    for number in range(2):
        file = f"model-{number + 1:05}-of-00002.safetensors"
        part = {name: whole[name] for name in sorted(whole)[number::2]}
        folders.write(path / file, part)
        where |= {name: file for name in part}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))


def vocabulary(model, path):
    """The model's own tokens, so that ids encode to the same with it and without."""
    bpe = json.loads((pathlib.Path(model) / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in bpe["merges"]]
    path.mkdir(exist_ok=True)
    (path / "clip.vocab").write_bytes(small.clip_vocab([(bpe["vocab"][left], bpe["vocab"][right]) for left, right in pairs]))


def main(model, root):
    layers = json.loads((pathlib.Path(model) / "config.json").read_text())["num_hidden_layers"]
    pair = folders.Folder(model, root, "pair")
    (pair.path / "tokenizer.json").unlink()
    folders.Folder(model, root, "ids", tokenizer=False)
    shards(folders.Folder(model, root, "shards").path)
    folders.Folder(model, root, "deep", config={"num_hidden_layers": TIMES * layers}, tensors=repeat_blocks)
    folders.Folder(model, root, "narrow", tensors=narrow_blocks,
                   config={"num_hidden_layers": NARROW_LAYERS, "intermediate_size": NARROW_INNER})
    vocabulary(model, pathlib.Path(root) / "beside")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: models.py MODEL FOLDER")
    main(sys.argv[1], sys.argv[2])
