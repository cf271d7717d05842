"""What the reference libraries compute for rows of ids, once per set of weights.

Owns open_clip's outputs by the names of reference.py, and the digest of a model's text tower: two files of which the
same library makes the same tensors need not both be run in float64.
"""
import hashlib

import numpy as np
import open_clip
import torch

import reference


class OpenClip:
    """open_clip's CLIP, CustomTextCLIP or TextTransformer, of which the text tower is used."""

    def __init__(self, model):
        self.whole = model
        self.text = getattr(model, "text", model)

    def double(self):
        self.whole.double()
        return self

    def float(self):
        self.whole.float()
        return self

    @torch.no_grad()
    def outputs(self, rows):
        ids, text = torch.as_tensor(rows), self.text
        states = [text.token_embedding(ids) + text.positional_embedding]
        if isinstance(text, open_clip.CLIP):
            found = text.forward_intermediates(text=ids, normalize=False)
        else:
            found = text.forward_intermediates(ids, output_fmt="NLC")
        states += found["text_intermediates"]
        result = {f"hidden {layer}": state for layer, state in enumerate(states)}
        result |= {"skip": text.ln_final(states[-2]), "last": text.ln_final(states[-1])}
        result["pooled raw"] = open_clip.transformer.text_global_pool(result["last"], ids, "argmax")
        result["pooled projected"] = found["text_features"]
        result["pooled normalised"] = torch.nn.functional.normalize(found["text_features"], dim=-1)
        whole = self.whole.encode_text(ids) if hasattr(self.whole, "encode_text") else self.whole(ids)
        if not torch.equal(whole, found["text_features"]):
            raise SystemExit("open_clip's forward and its forward_intermediates differ")
        return {name: value.numpy() for name, value in result.items()}


def tower(model):
    """The module that has the text tower's tensors and no others."""
    if isinstance(model, OpenClip):
        return model.text
    if getattr(model, "vision_model", None) is not None:
        model.vision_model = model.visual_projection = None
    return model


def digest(model):
    """Of the class that computes, what is configured beside the weights, and every tensor's name, type and bytes."""
    sum_ = hashlib.blake2b()
    module = tower(model)
    if isinstance(model, OpenClip):
        block = module.transformer.resblocks[0]
        sum_.update(repr(("open_clip", type(block.mlp.gelu).__name__, block.attn.num_heads)).encode())
    else:
        config = getattr(model.config, "text_config", model.config)
        sum_.update(repr(("transformers", config.hidden_act, config.num_attention_heads,
                          config.layer_norm_eps, config.eos_token_id == 2)).encode())
    for name, value in sorted(module.state_dict().items()):
        name = name.removeprefix("text_model.")
        if name.startswith(("visual.", "logit_", "attn_mask")):
            continue
        sum_.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        sum_.update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    return sum_.hexdigest()


def compute(model, rows):
    """(float64, float32) outputs. The weights go by way of float64, which holds the stored types exactly."""
    tower(model)
    run = model.outputs if isinstance(model, OpenClip) else lambda ids: reference.outputs(model, ids)
    model.double()
    exact = run(rows)
    model.float()
    return exact, run(rows)


def shortened(result, layers):
    """Of diffusers' reading of SD 2.x, which keeps 23 of 24 blocks, what the whole tower has too: its last state is
    the penultimate one of the file, normed."""
    return {f"hidden {layer}": result[f"hidden {layer}"] for layer in range(layers)} | {"skip": result["last"]}


class Memory:
    """{digest: outputs} for one set of rows."""

    def __init__(self):
        self.kept = {}

    def outputs(self, model, rows):
        key = (digest(model), np.ascontiguousarray(rows).tobytes())
        known = key in self.kept
        if not known:
            self.kept[key] = compute(model, rows)
        return (*self.kept[key], known)
