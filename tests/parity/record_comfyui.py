"""Drives ComfyUI's conditioning, from its own files, over this run's towers. Part of record_hosts.py.

Run as they are: comfy/sd1_clip.py, sdxl_clip.py, text_encoders/sd2_clip.py (tokenizers, weights, layers), clip_model.py (the
tower), conds.py (how prompts of different lengths meet); of comfy_extras/nodes_clip_sdxl.py and comfy/model_base.py the functions
that fill a second prompt up and make the vector. In the place of what needs the app: operations that are torch's own modules,
attention that is torch's, one device. In float64 Tensor.float() changes nothing, as it would round what is to be exact.
"""
import contextlib
import gc
import importlib
import pathlib
import sys
import types
from unittest import mock

import torch
from safetensors.torch import load_file

from layouts_readers import undrawn
from record_files import functions


def stub(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


def attention(query, key, value, heads, mask=None, **_unused):
    rows, tokens, width = query.shape
    query, key, value = (each.view(rows, tokens, heads, width // heads).transpose(1, 2) for each in (query, key, value))
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return out.transpose(1, 2).reshape(rows, tokens, width)


class Embedding(torch.nn.Embedding):
    def forward(self, ids, out_dtype=None):
        return super().forward(ids)


def install(root):
    """Makes `comfy` importable from `root` without the app."""
    package = stub("comfy", __path__=[str(root / "comfy")])
    operations = types.SimpleNamespace(Linear=torch.nn.Linear, LayerNorm=torch.nn.LayerNorm, Embedding=Embedding)
    package.ops = stub("comfy.ops", manual_cast=operations, cast_to=lambda weight, **_unused: weight)
    package.model_management = stub("comfy.model_management", intermediate_device=lambda: torch.device("cpu"))
    package.utils = stub("comfy.utils")
    for name in ("comfy.ldm", "comfy.ldm.modules"):
        stub(name, __path__=[])
    stub("comfy.ldm.modules.attention", optimized_attention_for_device=lambda *_args, **_named: attention)
    return {name: importlib.import_module(f"comfy.{name}") for name in ("sd1_clip", "sdxl_clip", "text_encoders.sd2_clip", "conds")}


def remember(transformer):
    """Each row once, as in condition_towers.py: by what is embedded, the mask, the layer and where the end is."""
    own, kept = transformer.forward, {}

    def forward(_ids, mask=None, embeds=None, num_tokens=None, **named):
        rows = []
        for at, row in enumerate(embeds):
            key = (row.numpy().tobytes(), None if mask is None else tuple(mask[at].tolist()), num_tokens[at],
                   named["intermediate_output"], named["final_layer_norm_intermediate"])
            if key not in kept:
                hidden = None if mask is None else mask[at:at + 1]
                kept[key] = own(None, hidden, embeds=row[None].clone(), num_tokens=num_tokens[at:at + 1], **named)
            rows.append(kept[key])
        return tuple(None if parts[0] is None else torch.cat(parts) for parts in zip(*rows))

    transformer.forward = forward


class ComfyUI:
    def __init__(self, root, files, dtype):
        self.root, self.files, self.dtype = pathlib.Path(root), files, dtype
        self.modules = install(self.root)
        self.made = {}
        scope = {"torch": torch, "nn": torch.nn, "math": __import__("math")}
        functions(self.root / "comfy/ldm/modules/diffusionmodules/util.py", {"timestep_embedding"}, scope)
        functions(self.root / "comfy/ldm/modules/diffusionmodules/openaimodel.py", {"Timestep"}, scope)
        functions(self.root / "comfy/model_base.py", {"sdxl_pooled"}, scope)
        self.embedder = scope["Timestep"](256)
        self.adm = {kind: functions(self.root / "comfy/model_base.py", {"encode_adm"}, dict(scope), kind)["encode_adm"]
                    for kind in ("SDXL", "SDXLRefiner")}
        nodes = {"io": types.SimpleNamespace(NodeOutput=lambda found: found)}
        self.node = functions(self.root / "comfy_extras/nodes_clip_sdxl.py", {"execute"}, nodes, "CLIPTextEncodeSDXL")["execute"].__func__

    # ---- models ----

    def transformer(self, key):
        """ComfyUI's own tower with a file's weights."""
        if key == "clip_h" and key not in self.made:  # these cases are the last: bigG can go
            self.made.clear()
            gc.collect()
        if key not in self.made:
            place, geometry = self.files.place(key), self.files.geometries[key]
            config = dict(num_hidden_layers=geometry.layers, hidden_size=geometry.width, num_attention_heads=geometry.heads,
                          intermediate_size=geometry.mlp_width, hidden_act=geometry.activation,
                          max_position_embeddings=geometry.context, eos_token_id=geometry.end_id)
            kind = self.modules["sd1_clip"].comfy.clip_model.CLIPTextModel
            with undrawn(self.dtype), torch.device("meta"):
                model = kind(config, self.dtype, None, sys.modules["comfy.ops"].manual_cast)
                model.text_projection = torch.nn.Linear(geometry.width, geometry.projection, bias=False)
            weights = {name: value.to(self.dtype) for name, value in load_file(place / "model.safetensors").items()}
            model.load_state_dict(weights, strict=True, assign=True)
            remember(model.eval())
            self.made[key] = model
        return self.made[key]

    def encoder(self, kind, **towers):
        """One of ComfyUI's models, with these towers in the place of those it would make."""
        if kind not in self.made:
            with torch.device("meta"):
                model = kind()
            for name, key in towers.items():
                getattr(model, name).transformer = self.transformer(key)
                getattr(model, name).num_layers = self.files.geometries[key].layers
            self.made[kind] = model
        return self.made[kind]

    def clip(self, recipe):
        """(model, tokenizer)"""
        one, two, large = (self.modules[name] for name in ("sd1_clip", "text_encoders.sd2_clip", "sdxl_clip"))
        if recipe.startswith("sd1@"):
            return self.encoder(one.SD1ClipModel, clip_l="clip_l"), one.SD1Tokenizer()
        if recipe.startswith("sd2@"):
            return self.encoder(two.SD2ClipModel, clip_h="clip_h"), two.SD2Tokenizer()
        if recipe.startswith("cascade"):
            return self.encoder(large.StableCascadeClipModel, clip_g="clip_g"), large.StableCascadeTokenizer()
        if recipe.startswith("sdxl-refiner"):
            return self.encoder(large.SDXLRefinerClipModel, clip_g="clip_g"), large.SDXLTokenizer()
        return self.encoder(large.SDXLClipModel, clip_l="clip_l", clip_g="clip_g"), large.SDXLTokenizer()

    # ---- one case ----

    def tensors(self, case):
        exact = mock.patch.object(torch.Tensor, "float", lambda tensor: tensor)
        with torch.no_grad(), exact if self.dtype == torch.float64 else contextlib.nullcontext():
            return self._tensors(case)

    def _tensors(self, case):
        model, tokenizer = self.clip(case.recipe)
        model.reset_clip_options()
        if case.clip_skip is not None:
            own = {"sd1@diffusers": -1, "sd2@diffusers": -2}.get(case.recipe)
            model.set_clip_options({"layer": case.clip_skip if own is None else own - case.clip_skip})
        negative = "" if case.negative is None else case.negative
        found = []
        for text, second in ((case.prompt, case.prompt_2), (negative, case.negative_2)):
            if second is None:
                found.append(model.encode_token_weights(tokenizer.tokenize_with_weights(text)))
            else:
                face = types.SimpleNamespace(tokenize=tokenizer.tokenize_with_weights,
                                             encode_from_tokens_scheduled=lambda tokens, add_dict: model.encode_token_weights(tokens))
                found.append(self.node(None, face, 0, 0, 0, 0, 0, 0, second, text))
        (positive, pooled), (absent, absent_pooled) = found
        conds = self.modules["conds"].CONDCrossAttn
        both = conds(positive).concat([conds(absent)])
        result = {"prompt_embeds": both[:1], "negative_prompt_embeds": both[1:], "pooled_prompt_embeds": pooled,
                  "negative_pooled_prompt_embeds": absent_pooled}
        if case.recipe.startswith("sdxl"):
            result |= self.vectors(case, pooled, absent_pooled)
        if case.recipe.startswith(("sd1", "sd2")):
            result = {name: value for name, value in result.items() if "pooled" not in name}
        if case.recipe.startswith("cascade-decoder"):
            result = {name: value for name, value in result.items() if "pooled" in name}
        return result

    def vectors(self, case, pooled, absent_pooled):
        sizes, refiner = dict(case.sizes), case.recipe.startswith("sdxl-refiner")
        kind, model = self.adm["SDXLRefiner" if refiner else "SDXL"], types.SimpleNamespace(embedder=self.embedder, noise_augmentor=None)
        target = sizes.get("target_size", (1024, 1024))
        original, crop = sizes.get("original_size", target), sizes.get("crop", (0, 0))
        given = dict(height=original[0], width=original[1], crop_h=crop[0], crop_w=crop[1])
        scores = ({}, {})
        if refiner:
            scores = tuple({"aesthetic_score": sizes[name]} if name in sizes else {}
                           for name in ("aesthetic_score", "negative_aesthetic_score"))
        else:
            given |= dict(target_height=target[0], target_width=target[1])
        return {"vector": kind(model, pooled_output=pooled, prompt_type="positive", **given, **scores[0]),
                "negative_vector": kind(model, pooled_output=absent_pooled, prompt_type="negative", **given, **scores[1])}
