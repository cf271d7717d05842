"""CLIP text towers with seeded weights, written by transformers itself, and the proof that they behave like trained
ones.

Owns the geometries, the files of a tower in each dtype and naming, and what "behaves like a trained tower" means in
numbers. The weights are samples/model/weights.py's. Knows nothing of the plugin.
"""
import dataclasses
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "samples" / "model"))
import weights  # noqa: E402
from make_model import GEOMETRY as SHIPPED  # noqa: E402, F401

CLIP_L = weights.Geometry(
    name="CLIP-L", vocabulary=49408, width=768, heads=12, layers=12, mlp_width=3072, projection=768,
    activation="quick_gelu", start_id=49406, end_id=49407, pad_id=49407, last_rms=20.0)
# OpenCLIP's ViT-H/14, SD 2.x's encoder.
CLIP_H = weights.Geometry(
    name="CLIP-H", vocabulary=49408, width=1024, heads=16, layers=24, mlp_width=4096, projection=1024,
    activation="gelu", start_id=49406, end_id=49407, pad_id=0, last_rms=22.0)
# The text tower of CLIP ViT-bigG/14, SDXL's text_encoder_2: 694,659,840 parameters. Its vocabulary pads with "!".
BIG_G = weights.Geometry(
    name="bigG", vocabulary=49408, width=1280, heads=20, layers=32, mlp_width=5120, projection=1280,
    activation="gelu", start_id=49406, end_id=49407, pad_id=0, last_rms=25.0)
# The least tower that CLIP's vocabulary fits: for comparing ids, where no tower is run.
CARRIER = dataclasses.replace(CLIP_L, name="carrier", width=64, heads=1, layers=2, mlp_width=64, projection=64)

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}

# The three forms of a file: which class wrote it, and whether its names begin with "text_model.".
#   projection   CLIPTextModelWithProjection: with the prefix, and text_projection.weight beside it
#   plain        CLIPTextModel as transformers 5 writes it: without the prefix
#   plain-4      CLIPTextModel as transformers 4 wrote it: with the prefix
FORMS = ("projection", "plain", "plain-4")


def make_config(geometry, **changes):
    return CLIPTextConfig(**{**dict(
        vocab_size=geometry.vocabulary, hidden_size=geometry.width, intermediate_size=geometry.mlp_width,
        projection_dim=geometry.projection, num_hidden_layers=geometry.layers, num_attention_heads=geometry.heads,
        max_position_embeddings=geometry.context, hidden_act=geometry.activation, layer_norm_eps=geometry.epsilon,
        bos_token_id=geometry.start_id, eos_token_id=geometry.end_id, pad_token_id=geometry.pad_id), **changes})


class Tower:
    """One drawing of a geometry's weights, kept in float32 and written from there as often as wanted."""

    def __init__(self, geometry, seed=1):
        self.geometry = geometry
        self.tensors = {name: torch.from_numpy(value) for name, value in weights.Recipe(geometry, seed).tensors()}

    def write(self, directory, dtype, form="projection", **changes):
        """Writes config.json and model.safetensors; `changes` go into the config."""
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        kind = CLIPTextModelWithProjection if form == "projection" else CLIPTextModel
        prefix = "text_model." if form == "projection" else ""
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced at once
            model = kind(make_config(self.geometry, **changes))
        named = {name if name == "text_projection.weight" else prefix + name: value.to(DTYPES[dtype])
                 for name, value in self.tensors.items() if form == "projection" or name != "text_projection.weight"}
        model.load_state_dict(named, assign=True)
        model.config.dtype = DTYPES[dtype]
        model.save_pretrained(directory)
        if form == "plain-4":
            self._rename_for_4(directory)
        return directory

    @staticmethod
    def _rename_for_4(directory):
        path = directory / "model.safetensors"
        save_file({"text_model." + name: value for name, value in load_file(path).items()}, path, {"format": "pt"})
        config = json.loads((directory / "config.json").read_text())
        config["torch_dtype"] = config.pop("dtype")
        config["transformers_version"] = "4.57.3"
        (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")


# ---- does it behave like a trained tower?
# -----------------------------------------------------------------------------


@dataclasses.dataclass
class Behaviour:
    """What was measured on float64 hidden states."""
    first_rms: float        # of the residual after the first block, all tokens but the start token
    last_rms: float         # after the last block
    massive: list           # per block: how many times the rms the start token's third largest channel is
    gain_spread: float      # standard deviation of the logarithms of the norm gains
    prompt_distance: float  # rms of the difference of two prompts' last states over the rms of one
    position_distance: float  # the same for neighbouring positions of one prompt

    def faults(self, geometry):
        """What is out of bounds, as sentences."""
        def check(name, value, low, high):
            return [] if low <= value <= high else [f"{name} is {value:.3g}, expected {low} to {high}"]
        goal = geometry.last_rms
        return (check("residual rms after the first block", self.first_rms, 0.8, 1.25)
                + check("residual rms after the last block", self.last_rms, 0.8 * goal, 1.25 * goal)
                + check("smallest massive ratio", min(self.massive), 40, 65)
                + check("largest massive ratio", max(self.massive), 40, 65)
                + check("spread of the log norm gains", self.gain_spread, 0.25, 0.45)
                + check("distance of two prompts", self.prompt_distance, 0.4, 1.6)
                + check("distance of neighbouring tokens", self.position_distance, 0.2, 1.6))


def measure(tensors, hidden, bodies):
    """tensors: the tower's; hidden: L+1 arrays [B,T,D] of different prompts; bodies: ids of text in each prompt."""
    others = [weights.rms(state[:, 1:]) for state in hidden]
    massive = [float(np.sort(np.abs(state[0, 0]))[-weights.MASSIVE_CHANNELS]) / scale
               for state, scale in zip(hidden[1:], others[1:])]
    gains = np.concatenate([np.log(np.asarray(value, np.float64)) for name, value in tensors.items()
                            if "norm" in name and name.endswith(".weight")])
    last = hidden[-1]
    long = [row for row, body in enumerate(bodies) if body >= 12]
    text = slice(1, 12)
    pair = [weights.rms(last[a, text] - last[b, text]) for a, b in zip(long, long[1:])]
    step = [weights.rms(last[a, 1:11] - last[a, 2:12]) for a in long]
    return Behaviour(others[1], others[-1], massive, float(gains.std()), float(np.median(pair)) / others[-1],
                     float(np.median(step)) / others[-1])
