"""The towers that recipes are run on: their files, and transformers' models of them that remember what they have computed.

Owns the geometries, full and narrow, and what is written where. A recipe's towers go by the plugin's names, clip_l, clip_h and
clip_g; clip_l_plain is CLIP-L without its projection, clip_h_23 the export of SD 2.x that diffusers has, without the last block.
"""
import copy
import dataclasses
import hashlib
import os
import pathlib
import zlib

import torch
import transformers
from safetensors.torch import load_file
from transformers import CLIPTokenizer
from transformers.modeling_outputs import BaseModelOutputWithPooling

import clip_vocabulary
import reference
import towers

FULL = {"clip_l": towers.CLIP_L, "clip_h": towers.CLIP_H, "clip_g": towers.BIG_G}
# Narrow, with projections of another width than the tower's so that raw and projected are told apart. CLIP-H keeps its 24
# blocks: how many there are is what diffusers' export of it is recognised by.
SMALL = {
    "clip_l": dataclasses.replace(towers.CLIP_L, name="narrow CLIP-L", width=128, heads=2, layers=5, mlp_width=256, projection=96),
    "clip_h": dataclasses.replace(towers.CLIP_H, name="narrow CLIP-H", width=128, heads=2, mlp_width=256, projection=64),
    "clip_g": dataclasses.replace(towers.BIG_G, name="narrow bigG", width=192, heads=3, layers=6, mlp_width=384, projection=160),
}
SEEDS = {"bigG": 2}  # the full bigG is the one of samples/diffusers_tiny.py, whose drawing takes a minute; all others are 1
OF = {"clip_l_plain": "clip_l", "clip_h_23": "clip_h"}  # files of a tower that has another name
DEEPEST = 5  # hidden states that are remembered of a row, from the last: no case skips further


class Files:
    """Writes a tower once, as float16, and keeps it for as long as what draws it stays as it is."""

    def __init__(self, work, full):
        self.work = pathlib.Path(work) / ("full" if full else "small")
        self.geometries = FULL if full else SMALL
        vocabulary = pathlib.Path(work) / "vocabulary"
        self.tokenizers = {pad: clip_vocabulary.write(vocabulary, *sign)[0] for pad, sign in {"end": (), "zero": ("!",)}.items()}

    def tokenizer(self, pad):
        return CLIPTokenizer.from_pretrained(self.tokenizers[pad])

    def place(self, key):
        tower = OF.get(key, key)
        geometry = self.geometries[tower]
        drawn = zlib.crc32(pathlib.Path(towers.weights.__file__).read_bytes() + repr(geometry).encode())
        place = self.work / f"{key}-{drawn:08x}"
        if not (place / "config.json").exists():
            written = towers.Tower(geometry, SEEDS.get(geometry.name, 1))
            if key == "clip_h_23":
                written = without_last_block(written)
            partial = place.with_suffix(".partial")
            written.write(partial, "f16", "plain" if key.endswith(("_plain", "_23")) else "projection")
            partial.rename(place)
        return place

    def digest(self, key):
        """Of the weights, so that a value that was recorded of others is not taken for a mistake."""
        found = hashlib.sha256()
        for name, value in sorted(load_file(self.place(key) / "model.safetensors").items()):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(value.contiguous().view(torch.uint8).numpy())
        return found.hexdigest()[:16]

    def rows(self, key, dtype):
        """Where computed rows are kept: of these weights, this dtype, and these versions of what computes."""
        versions = f"torch-{torch.__version__}-transformers-{transformers.__version__}"
        return self.work / "rows" / f"{self.digest(key)}-{str(dtype).removeprefix('torch.')}-{versions}"


def without_last_block(tower):
    short = copy.copy(tower)
    short.geometry = dataclasses.replace(tower.geometry, layers=tower.geometry.layers - 1)
    last = f"encoder.layers.{short.geometry.layers}."
    short.tensors = {name: value for name, value in tower.tensors.items() if not name.startswith(last)}
    return short


def load(files, key, dtype):
    """A CLIPTextModelWithProjection, or a CLIPTextModel for files without one. Its `.text_model` is the CLIPTextModel of it."""
    model = reference.load(files.place(key), dtype)
    remember(getattr(model, "text_model", model), files.rows(key, dtype))
    return model


def remember(text_model, folder):
    """Lets a CLIPTextModel compute each row once, by itself: pipelines ask for the same rows again and again, and bigG takes
    seconds for one in float64. What a host makes of the outputs is its own code's. Rows are kept in `folder` for the next run."""
    own, kept, blocks = text_model.forward, {}, text_model.config.num_hidden_layers
    folder.mkdir(parents=True, exist_ok=True)

    def computed(ids, mask):
        out = own(input_ids=ids[None], attention_mask=None if mask is None else mask[None], output_hidden_states=True)
        return out.last_hidden_state, out.pooler_output, tuple(state.clone() for state in out.hidden_states[-DEEPEST:])

    def row_of(ids, mask):
        mask = None if mask is None or bool(mask.all()) else mask
        key = hashlib.sha256(repr((ids.tolist(), None if mask is None else mask.tolist())).encode()).hexdigest()
        if key not in kept:
            path = folder / f"{key}.pt"
            if not path.exists():
                torch.save(computed(ids, mask), path.with_suffix(f".{os.getpid()}"))
                path.with_suffix(f".{os.getpid()}").rename(path)
            kept[key] = torch.load(path)
        return kept[key]

    @torch.no_grad()
    def forward(input_ids=None, attention_mask=None, output_hidden_states=False, **_named):
        rows = [row_of(ids, None if attention_mask is None else attention_mask[at]) for at, ids in enumerate(input_ids)]
        states = tuple(torch.cat(state) for state in zip(*(row[2] for row in rows)))
        return BaseModelOutputWithPooling(
            last_hidden_state=torch.cat([row[0] for row in rows]), pooler_output=torch.cat([row[1] for row in rows]),
            hidden_states=(None,) * (blocks + 1 - len(states)) + states if output_hidden_states else None)

    text_model.forward = forward
    # diffusers 0.42 and compel 2.5 look for the final norm where transformers 4 had it
    text_model.__dict__["text_model"] = text_model
