"""read_conditioning.py - reads a conditioning file, as `penult condition --out` writes it, with the safetensors package.

    python3 samples/read_conditioning.py cond.safetensors

Owns no check but the format's number: `penult condition --check` is the strict reader. samples/FILES.md has the layout. A host in
torch takes safetensors.torch.load_file instead and hands the tensors to its pipeline by these names:

    pipe(**{name: tensors[name] for name in ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds",
                                             "negative_pooled_prompt_embeds")})
"""
import json
import sys

from safetensors import safe_open

KEY = "penult.conditioning"
FORMAT = 1


def read(path, framework="numpy"):
    """name -> array, and the manifest as a dict. framework "pt" gives torch tensors, which bf16 needs."""
    with safe_open(path, framework=framework) as file:
        metadata = file.metadata() or {}
        if KEY not in metadata:
            raise ValueError(f"{path} is no conditioning file: its metadata have no {KEY}")
        manifest = json.loads(metadata[KEY])
        if manifest["format"] != FORMAT:
            raise ValueError(f"{path}: its format is {manifest['format']}, and this reads {FORMAT}")
        return {name: file.get_tensor(name) for name in manifest["tensors"]}, manifest


def tokens(manifest, tower=0, negative=False):
    """(text, id, weight, window, row) of each token of a prompt as a tower takes it; window and row None: it was cut off."""
    entry, key = manifest["towers"][tower], "negative" if negative else "prompt"
    columns = entry["negative_tokens" if negative else "tokens"]
    second = manifest[key + "_2"] if entry["second_prompt"] else None
    text = (second if second is not None else manifest[key] or "").encode()
    for row in zip(columns["begin"], columns["end"], columns["id"], columns["weight"], columns["chunk"], columns["row"]):
        yield (text[row[0]:row[1]].decode("utf-8", "replace"), *row[2:])


if __name__ == "__main__":
    arrays, about = read(sys.argv[1])
    print(f"{about['recipe']}, dialect {about['dialect']}, penult {about['penult']}: {about['prompt']!r}")
    for name, array in arrays.items():
        print(f"{name:30} {list(array.shape)} {array.dtype}")
    for token in tokens(about):
        print(*token, sep="\t")
