#!/usr/bin/env python3
"""Makes the model folders that the tests of faults open, from the one that ships:

    pair    vocab.json and merges.txt, no tokenizer.json
    ids     no tokenizer at all
    deep    its blocks three times over: an encode long enough to be cancelled in

usage: models.py MODEL FOLDER. Knows tests/model/folders.py and the names of a CLIP tower's tensors."""
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "model"))
import folders  # noqa: E402

TIMES = 3
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


def main(model, root):
    layers = json.loads((pathlib.Path(model) / "config.json").read_text())["num_hidden_layers"]
    pair = folders.Folder(model, root, "pair")
    (pair.path / "tokenizer.json").unlink()
    folders.Folder(model, root, "ids", tokenizer=False)
    folders.Folder(model, root, "deep", config={"num_hidden_layers": TIMES * layers}, tensors=repeat_blocks)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: models.py MODEL FOLDER")
    main(sys.argv[1], sys.argv[2])
