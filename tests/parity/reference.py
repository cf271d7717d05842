"""What transformers gives for rows of ids, in float64, float32 or bfloat16 (as float32), as NumPy arrays by the names of the outputs:

    hidden 0 .. hidden L   [B,T,D]  hidden_states, before the final norm
    skip                   [B,T,D]  final norm of hidden_states[-2], what clip skip takes
    last                   [B,T,D]  last_hidden_state
    pooled raw             [B,D]    pooler_output
    pooled projected       [B,P]    text_embeds, of a CLIPTextModelWithProjection or a CLIPModel
    pooled normalised      [B,P]    that over its norm

Attention is "sdpa": "eager" computes the softmax in float32 whatever the model's dtype (modeling_clip.py).
"""
import json
import pathlib

import numpy as np
import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection

BATCH = 8


def load(directory, dtype, attention="sdpa"):
    kind = json.loads((pathlib.Path(directory) / "config.json").read_text())["architectures"][0]
    kind = {"CLIPTextModel": CLIPTextModel, "CLIPTextModelWithProjection": CLIPTextModelWithProjection}[kind]
    model, report = kind.from_pretrained(directory, dtype=dtype, attn_implementation=attention,
                                         local_files_only=True, output_loading_info=True)
    if any(report.values()):
        raise SystemExit(f"transformers loads {directory} with complaints: {report}")
    return model.eval()


@torch.no_grad()
def outputs(model, ids, masks=None):
    """ids: an array [B,T]; masks: None, or attention_mask for them, [B,T]."""
    parts = [_outputs(model, ids[at:at + BATCH], None if masks is None else masks[at:at + BATCH])
             for at in range(0, len(ids), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _outputs(model, ids, masks):
    projected = hasattr(model, "text_projection")
    tower = getattr(model, "text_model", model)
    masks = None if masks is None else torch.as_tensor(masks)
    out = tower(input_ids=torch.as_tensor(ids), attention_mask=masks, output_hidden_states=True)
    result = {f"hidden {layer}": state for layer, state in enumerate(out.hidden_states)}
    result["skip"] = tower.final_layer_norm(out.hidden_states[-2])
    result["last"] = out.last_hidden_state
    result["pooled raw"] = out.pooler_output
    if projected:
        embeds = model.text_projection(out.pooler_output)  # as its forward does
        result["pooled projected"] = embeds
        result["pooled normalised"] = embeds / embeds.norm(dim=-1, keepdim=True)
    return {name: (value.float() if value.dtype == torch.bfloat16 else value).numpy() for name, value in result.items()}
