"""Drives sgm's and AUTOMATIC1111's conditioning, from their own files, over this run's towers. Part of record_hosts.py.

sgm: GeneralConditioner and its embedders (sgm/modules/encoders/modules.py), in the order that sd_xl_base.yaml and
sd_xl_refiner.yaml have them; get_unconditional_conditioning with what sgm/inference/api.py forces to zero. AUTOMATIC1111: sgm's
embedders under modules/sd_hijack_clip.py, sd_hijack_open_clip.py and sd_emphasis.py, get_learned_conditioning of
sd_models_xl.py, parse_prompt_attention of prompt_parser.py, pad_cond of sd_samplers_cfg_denoiser.py. In the place of what needs
the apps: no autocast, one device, options as they are by default, no textual inversion, and models that this run has loaded
instead of those that the classes would download: CLIP-L is transformers', the others open_clip's.
"""
import gc
import importlib
import math
import pathlib
import re
import sys
import types

import open_clip
import torch
import yaml
from einops import rearrange, repeat

from condition_open_clip import tower
from condition_towers import load
from record_files import functions

EMBEDDERS = {"AbstractEmbModel", "GeneralConditioner", "FrozenCLIPEmbedder", "FrozenOpenCLIPEmbedder", "FrozenOpenCLIPEmbedder2",
             "ConcatTimestepEmbedderND"}


def stub(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


class Sgm:
    """GeneralConditioners of sgm, made of loaded models."""

    def __init__(self, root, files, dtype):
        self.root, self.files, self.dtype, self.made, self.kept = pathlib.Path(root), files, dtype, {}, {}
        scope = {"torch": torch, "nn": torch.nn, "math": math, "th": torch, "rearrange": rearrange, "repeat": repeat,
                 "open_clip": open_clip, "autocast": lambda function: function, "nullcontext": __import__("contextlib").nullcontext,
                 "checkpoint": None, "ListConfig": list, **vars(__import__("typing"))}
        functions(self.root / "sgm/modules/diffusionmodules/util.py", {"timestep_embedding"}, scope)
        functions(self.root / "sgm/modules/diffusionmodules/openaimodel.py", {"Timestep"}, scope)
        functions(self.root / "sgm/modules/encoders/modules.py", EMBEDDERS, scope)
        self.classes = scope

    def model(self, key):
        """The model beneath an embedder, which remembers its rows if it is transformers'."""
        if key == "clip_h" and key not in self.made:  # these cases are the last: bigG can go
            self.made.clear()
            self.kept.clear()
            gc.collect()
        if key not in self.made:
            if key == "clip_l":
                self.made[key] = load(self.files, key, self.dtype).text_model
            else:
                model = tower(self.files, key, self.dtype).text
                for block in model.transformer.resblocks:
                    block.attn.batch_first = False  # sgm hands tokens first to the blocks
                self.made[key] = model
        return self.made[key]

    def embedder(self, kind, input_key, **params):
        """An embedder of sgm as its __init__ leaves it."""
        if kind == "ConcatTimestepEmbedderND":
            made = self.classes[kind](**params)
        else:
            made = self.classes[kind].__new__(self.classes[kind])
            self.classes["AbstractEmbModel"].__init__(made)
            made.device, made.max_length, made.layer = "cpu", 77, params.get("layer", "last")
            made.return_pooled = params.get("always_return_pooled", False)
            if kind == "FrozenCLIPEmbedder":
                made.tokenizer, made.transformer = self.files.tokenizer("end"), self.model("clip_l")
                # hidden 11 of 12 blocks; a narrow tower has fewer
                made.layer_idx = params.get("layer_idx") and params["layer_idx"] - 12 + self.files.geometries["clip_l"].layers
            else:
                made.model = self.model("clip_h" if kind == "FrozenOpenCLIPEmbedder" else "clip_g")
                made.layer_idx, made.legacy = {"last": 0, "penultimate": 1}[made.layer], params.get("legacy", True)
                remember(made, self.kept)
        made.is_trainable, made.ucg_rate, made.input_key, made.legacy_ucg_val = False, 0.0, input_key, None
        return made

    def conditioner(self, name):
        if name not in self.made:
            config = yaml.safe_load((self.root / f"configs/inference/{name}.yaml").read_text())
            models = config["model"]["params"]["conditioner_config"]["params"]["emb_models"]
            made = self.classes["GeneralConditioner"].__new__(self.classes["GeneralConditioner"])
            torch.nn.Module.__init__(made)
            made.embedders = torch.nn.ModuleList(self.embedder(one["target"].rpartition(".")[2], one["input_key"], **one["params"])
                                                 for one in models)
            self.made[name] = made
        return self.made[name]

    def batch(self, case, text, negative=False):
        sizes = dict(case.sizes)
        target = sizes.get("target_size", (1024, 1024))
        given = {"original_size_as_tuple": sizes.get("original_size", target), "crop_coords_top_left": sizes.get("crop", (0, 0)),
                 "target_size_as_tuple": target, "aesthetic_score": (2.5 if negative else 6.0,)}
        return {"txt": [text]} | {name: torch.tensor([value], dtype=self.dtype) for name, value in given.items()}

    @torch.no_grad()
    def tensors(self, case):
        base = case.recipe == "sdxl@sgm"
        conditioner = self.conditioner("sd_xl_base" if base else "sd_xl_refiner")
        found = conditioner.get_unconditional_conditioning(
            self.batch(case, case.prompt), self.batch(case, case.negative, True), force_uc_zero_embeddings=["txt"] if base else [])
        return named(*found, self.files.geometries["clip_g"].projection)


def named(positive, negative, pooled_width):
    result = {}
    for side, found in (("", positive), ("negative_", negative)):
        if not isinstance(found, dict):
            result[f"{side}prompt_embeds"] = found
            continue
        result |= {f"{side}prompt_embeds": found["crossattn"], f"{side}vector": found["vector"],
                   f"{side}pooled_prompt_embeds": found["vector"][:, :pooled_width]}
    return result


def remember(embedder, kept):
    """Each row of tokens once, for all embedders of a model and a layer."""
    own = embedder.encode_with_transformer

    def encode_with_transformer(tokens):
        rows = []
        for row in tokens:
            key = (id(embedder.model), embedder.layer, tuple(row.tolist()))
            if key not in kept:
                kept[key] = own(row[None])
            rows.append(kept[key])
        if torch.is_tensor(rows[0]):
            return torch.cat(rows)
        return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}

    embedder.encode_with_transformer = encode_with_transformer


class A1111:
    """sgm's embedders as AUTOMATIC1111 hijacks them."""

    def __init__(self, root, sgm):
        self.root, self.sgm, self.made = pathlib.Path(root) / "modules", sgm, {}
        self.options = types.SimpleNamespace(
            emphasis="Original", comma_padding_backtrack=20, CLIP_stop_at_last_layers=1, sdxl_clip_l_skip=False,
            use_old_emphasis_implementation=False, textual_inversion_add_hashes_to_infotext=False, sdxl_crop_top=0, sdxl_crop_left=0,
            sdxl_refiner_low_aesthetic_score=2.5, sdxl_refiner_high_aesthetic_score=6.0)
        self.hijack = types.SimpleNamespace(
            fixes=None, extra_generation_params={},
            embedding_db=types.SimpleNamespace(find_embedding_at_position=lambda *_: (None, None)))
        parser = functions(self.root / "prompt_parser.py", {"re_attention", "re_break", "parse_prompt_attention", "SdConditioning"},
                           {"re": re})
        for name in [name for name in sys.modules if name.partition(".")[0] == "modules"]:
            del sys.modules[name]  # the ones of an earlier instance, with its options
        devices = stub("modules.devices", device="cpu", dtype=sgm.dtype, torch_npu_set_device=lambda: None)
        shared = stub("modules.shared", opts=self.options)
        stub("modules", __path__=[str(self.root)], devices=devices, shared=shared,
             prompt_parser=stub("modules.prompt_parser", parse_prompt_attention=parser["parse_prompt_attention"]),
             sd_hijack=stub("modules.sd_hijack", model_hijack=self.hijack))
        self.clip, self.open_clip = (importlib.import_module(f"modules.{name}") for name in ("sd_hijack_clip", "sd_hijack_open_clip"))
        scope = {"torch": torch, "devices": devices, "shared": shared,
                 "sgm": types.SimpleNamespace(models=types.SimpleNamespace(diffusion=types.SimpleNamespace(DiffusionEngine=object))),
                 "prompt_parser": types.SimpleNamespace(SdConditioning=list)}
        self.learned = functions(self.root / "sd_models_xl.py", {"get_learned_conditioning"}, scope)["get_learned_conditioning"]
        self.pad_cond = functions(self.root / "sd_samplers_cfg_denoiser.py", {"pad_cond"}, {"torch": torch})["pad_cond"]
        self.conditioning = parser["SdConditioning"]

    def wrap(self, embedder):
        kinds = {"FrozenOpenCLIPEmbedder": self.open_clip.FrozenOpenCLIPEmbedderWithCustomWords,
                 "FrozenOpenCLIPEmbedder2": self.open_clip.FrozenOpenCLIPEmbedder2WithCustomWords,
                 "FrozenCLIPEmbedder": self.clip.FrozenCLIPEmbedderForSDXLWithCustomWords}
        kind = kinds.get(type(embedder).__name__)
        return kind(embedder, self.hijack) if kind else embedder

    def model(self, recipe):
        """What takes a batch of prompts."""
        if recipe in self.made:
            return self.made[recipe]
        if recipe.startswith("sd2@"):
            self.made.clear()
        if recipe.startswith("sd1@"):
            made = self.clip.FrozenCLIPEmbedderWithCustomWords(self.sgm.embedder("FrozenCLIPEmbedder", "txt"), self.hijack)
        elif recipe.startswith("sd2@"):
            made = self.wrap(self.sgm.embedder("FrozenOpenCLIPEmbedder", "txt", layer="penultimate"))
        else:
            plain = self.sgm.conditioner("sd_xl_refiner" if "refiner" in recipe else "sd_xl_base")
            conditioner = plain.__class__.__new__(plain.__class__)
            torch.nn.Module.__init__(conditioner)
            conditioner.embedders = torch.nn.ModuleList(map(self.wrap, plain.embedders))
            for own, under in zip(conditioner.embedders, plain.embedders):
                own.ucg_rate, own.input_key, own.legacy_ucg_val, own.is_trainable = 0.0, under.input_key, None, False
            made = lambda batch: self.learned(types.SimpleNamespace(conditioner=conditioner), batch)  # noqa: E731
        self.made[recipe] = made
        return made

    @torch.no_grad()
    def tensors(self, case, emphasis=None):
        asked, sizes = dict(case.options), dict(case.sizes)
        self.options.emphasis = {"original": "Original", "no_norm": "No norm", "ignore": "Ignore", "none": "None"}[
            emphasis or asked.get("emphasis", "original")]
        self.options.sdxl_clip_l_skip = asked.get("skip_all", False)
        # the recipe of SD 1.x counts blocks that are left out, the host the layer from the end
        self.options.CLIP_stop_at_last_layers = 1 if case.clip_skip is None else case.clip_skip + case.recipe.startswith("sd1@")
        model = self.model(case.recipe)
        height, width = sizes.get("original_size", (1024, 1024))
        sides = [model(self.conditioning([text], negative, width, height)) for text, negative in
                 ((case.prompt, False), ("" if case.negative is None else case.negative, True))]
        contexts = [side["crossattn"] if isinstance(side, dict) else side for side in sides]
        repeats = (contexts[0].shape[1] - contexts[1].shape[1]) // 77
        if repeats:
            empty = model(self.conditioning([""], False, width, height))
            empty = empty["crossattn"] if isinstance(empty, dict) else empty
            at = 1 if repeats > 0 else 0
            sides[at] = self.pad_cond(sides[at], abs(repeats), empty)
        return named(*sides, self.sgm.files.geometries["clip_g"].projection)
