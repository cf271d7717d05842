"""What the pipelines that are built on open_clip make of prompts: its tokenizer, its tower, and their own few lines between
(FrozenOpenCLIPEmbedder of SD 2.x, FrozenOpenCLIPEmbedder2 of SDXL: the penultimate state, normed in the first). SDXL's CLIP-L
is transformers', there as here. Import `apart` first.
"""
import hashlib

import numpy as np
import open_clip
import torch
from safetensors.torch import load_file

import layouts_names as names
from layouts_readers import undrawn
from layouts_references import OpenClip


def tower(files, key, dtype):
    """open_clip's text tower with the weights of a file of transformers'."""
    geometry = files.geometries[key]
    stored = {name.removeprefix("text_model."): value for name, value in load_file(files.place(key) / "model.safetensors").items()}
    tensors = names.open_clip({name: value.to(dtype) for name, value in stored.items()})
    with undrawn(dtype):
        model = open_clip.transformer.TextTransformer(
            context_length=geometry.context, vocab_size=geometry.vocabulary, width=geometry.width, heads=geometry.heads,
            layers=geometry.layers, mlp_ratio=geometry.mlp_width / geometry.width, output_dim=geometry.projection,
            act_layer=torch.nn.GELU)
    model.load_state_dict({name: tensors[name] for name in model.state_dict()}, strict=True, assign=True)
    return OpenClip(model.eval())


class Embedders:
    def __init__(self, files, dtype, load, pipelines):
        self.files, self.dtype, self.load, self.pipelines = files, dtype, load, pipelines
        self.towers, self.rows = {}, {}

    def row(self, key, text):
        """The outputs for one text, each computed once, and kept as condition_towers.py keeps rows."""
        if (key, text) not in self.rows:
            name = f"open_clip-{open_clip.__version__}-{hashlib.sha256(text.encode()).hexdigest()}.npz"
            path = self.files.rows(key, self.dtype) / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                np.savez(path.with_suffix(".partial.npz"), **self.computed(key, text))
                path.with_suffix(".partial.npz").rename(path)
            self.rows[key, text] = dict(np.load(path))
        return self.rows[key, text]

    def computed(self, key, text):
        if key not in self.towers:
            self.towers[key] = tower(self.files, key, self.dtype)
        deep = self.files.geometries[key].layers - 1
        found = self.towers[key].outputs(open_clip.tokenizer.tokenize([text]))
        return {"penultimate": found[f"hidden {deep}"], "normed": found["skip"], "pooled": found["pooled projected"]}

    def tensors(self, case):
        negative = case.negative
        if case.recipe == "sd2@diffusers":
            return {"prompt_embeds": self.row("clip_h", case.prompt)["normed"],
                    "negative_prompt_embeds": self.row("clip_h", negative)["normed"]}
        positive, absent = self.row("clip_g", case.prompt), self.row("clip_g", negative)
        found = {"prompt_embeds": self.context(case, positive, case.prompt), "pooled_prompt_embeds": positive["pooled"],
                 "negative_prompt_embeds": self.context(case, absent, negative), "negative_pooled_prompt_embeds": absent["pooled"]}
        if case.recipe == "sdxl@sgm":  # force_uc_zero_embeddings
            found |= {name: np.zeros_like(value) for name, value in found.items() if name.startswith("negative")}
        return found

    def context(self, case, row, text):
        if case.recipe != "sdxl@sgm":
            return row["penultimate"]
        ids = self.pipelines.tokenizer("end")([text], padding="max_length", truncation=True, max_length=77, return_tensors="pt").input_ids
        small = self.load("clip_l").text_model(input_ids=ids, output_hidden_states=True).hidden_states[-2]
        return np.concatenate([small.numpy(), row["penultimate"]], axis=-1)
