"""The text tower in NumPy float64, as short as it can be said. It judges the judge: the float64 reference of the
parity run comes out of transformers and torch, and this, which shares no line with them, must agree with it to
float64's last digits.
"""
import numpy as np
import weights


def tower(tensors, ids, geometry, pooled_at, dtype=np.float64):
    """tensors: {name as in CLIPTextModel: array}; ids [B,T]; pooled_at [B]. Returns the same names as reference.py."""
    tensors = {name: np.asarray(value, dtype) for name, value in tensors.items()}
    x = tensors["embeddings.token_embedding.weight"][ids]
    x = x + tensors["embeddings.position_embedding.weight"][:ids.shape[1]]
    result = {"hidden 0": x}
    for layer in range(geometry.layers):
        start = f"encoder.layers.{layer}."
        block = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        h = weights.attention(weights.layer_norm(x, block, "layer_norm1", geometry.epsilon), block, geometry.heads)
        x = x + weights.linear(h, block, "self_attn.out_proj")
        h = weights.linear(weights.layer_norm(x, block, "layer_norm2", geometry.epsilon), block, "mlp.fc1")
        x = x + weights.linear(weights.activate(h, geometry.activation), block, "mlp.fc2")
        result[f"hidden {layer + 1}"] = x
    result["last"] = weights.layer_norm(x, tensors, "final_layer_norm", geometry.epsilon)
    result["pooled raw"] = result["last"][np.arange(len(ids)), pooled_at]
    result["pooled projected"] = result["pooled raw"] @ tensors["text_projection.weight"].T
    length = np.sqrt(np.sum(result["pooled projected"] ** 2, -1, keepdims=True))
    result["pooled normalised"] = result["pooled projected"] / length
    return result


def disagreement(model, geometry, exact, rows, some):
    """The largest relative rms difference between this and transformers' float64 `model`, whose results on `rows` of
    ids are `exact`, over all outputs of the prompts `some`."""
    tensors = {name.removeprefix("text_model."): value.numpy() for name, value in model.state_dict().items()}
    ends = [list(rows[index]).index(geometry.end_id) for index in some]
    mine = tower(tensors, rows[some], geometry, np.array(ends))
    return max(weights.rms(mine[name] - exact[name][some]) / weights.rms(exact[name][some]) for name in mine)
