"""Seeded random weights for a CLIP text tower that behaves like a trained one, in NumPy.

Owns how the weights are drawn, for any geometry: the shipped model and the towers of tests/parity come from here. Knows
no file and no torch.

Plain Gaussian weights would make a tower whose residual stays tame, whose attention is flat and whose start token is
like any other: arithmetic that is wrong by a little would pass. So, as in trained towers:

- the residual's rms is about 1 after the first block and grows evenly to `last_rms` at the last one;
- norm gains are log-normal; biases are not zero; attention logits have a standard deviation near 2;
- a few channels of the start token stand at some 52 times the rms of the residual, in every block. One neuron per block
  writes them: it reads a mark in the start token's embedding at first and the large channels themselves later.

How far a block must reach to hit these targets is measured by running it on a few random rows. What is measured is
rounded to two digits before it is used, so that another CPU's last bit cannot change the weights.
"""
import dataclasses
import math
import zlib

import numpy as np

MASSIVE_CHANNELS = 3
MASSIVE_RATIO = 52.0
EMBEDDING_RMS = 0.45  # of token plus position


@dataclasses.dataclass(frozen=True)
class Geometry:
    name: str
    vocabulary: int
    width: int
    heads: int
    layers: int
    mlp_width: int
    projection: int
    activation: str
    start_id: int
    end_id: int
    pad_id: int
    last_rms: float
    context: int = 77
    epsilon: float = 1e-5


# ---- the parts of a block, as the tower computes them
# -----------------------------------------------------------------

# NumPy has no erf; the C library's is good to the last digit of a double.
_erf = np.vectorize(math.erf, otypes=[np.float64])


def activate(x, activation):
    if activation == "quick_gelu":
        return x / (1 + np.exp(-1.702 * x))
    return x * (1 + _erf(x / math.sqrt(2)).astype(x.dtype)) / 2


def layer_norm(x, weights, name, epsilon):
    centred = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + epsilon)
    return centred * scale * weights[name + ".weight"] + weights[name + ".bias"]


def linear(x, weights, name):
    return x @ weights[name + ".weight"].T + weights[name + ".bias"]


def attention(x, weights, heads):
    """x [B,T,D], normed -> [B,T,D] before out_proj."""
    prompts, tokens, width = x.shape

    def split(name):
        return linear(x, weights, name).reshape(prompts, tokens, heads, width // heads).transpose(0, 2, 1, 3)

    logits = split("self_attn.q_proj") @ split("self_attn.k_proj").transpose(0, 1, 3, 2) / math.sqrt(width // heads)
    logits += np.triu(np.full((tokens, tokens), -np.inf, x.dtype), 1)
    share = np.exp(logits - logits.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    return (share @ split("self_attn.v_proj")).transpose(0, 2, 1, 3).reshape(prompts, tokens, width)


# ---- drawing
# ----------------------------------------------------------------------------------------------------------

def two_digits(value):
    return float(f"{value:.1e}")


def rms(x):
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


class Recipe:
    """Draws one tower. Each tensor has a stream of its own, so its values do not depend on the order of drawing."""

    def __init__(self, geometry, seed=1):
        self.geometry = geometry
        self.seed = seed
        draw = self._stream("massive")
        self.massive = draw.choice(geometry.width, MASSIVE_CHANNELS, replace=False)
        self.signs = draw.choice([-1.0, 1.0], MASSIVE_CHANNELS)

    def _stream(self, name):
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def _normal(self, name, shape, deviation):
        return self._stream(name).standard_normal(shape, dtype=np.float32) * np.float32(deviation)

    def _rows(self, name, shape, deviation):
        """A matrix whose rows differ in strength, as trained ones do."""
        strength = np.exp(self._normal(name + "/rows", (shape[0], 1), 0.25))
        return self._normal(name, shape, deviation) * strength

    def _gain(self, name, width, middle):
        return np.exp(self._normal(name, width, 0.35) + np.float32(math.log(middle)))

    def target_rms(self, layer):
        """Of the residual after block `layer`, counted from 1."""
        return self.geometry.last_rms ** ((layer - 1) / (self.geometry.layers - 1))

    def tensors(self):
        """Yields (name, float32 array), embeddings first, then block by block. Names as in CLIPTextModel."""
        g = self.geometry
        token = self._normal("token", (g.vocabulary, g.width), EMBEDDING_RMS * 0.85)
        token[g.start_id, self.massive] = self.signs * 6
        position = self._positions()
        yield "embeddings.token_embedding.weight", token
        yield "embeddings.position_embedding.weight", position

        x = token[self._sample_ids()].astype(np.float64) + position
        for layer in range(1, g.layers + 1):
            block, x = self._block(layer, x)
            for name, value in block.items():
                yield f"encoder.layers.{layer - 1}.{name}", value
        yield "final_layer_norm.weight", self._gain("final", g.width, 1.0)
        yield "final_layer_norm.bias", self._normal("final/bias", g.width, 0.1)
        yield "text_projection.weight", self._rows("projection", (g.projection, g.width), g.width ** -0.5)

    def _positions(self):
        """Smooth along the row, with a little noise."""
        g = self.geometry
        draw = self._stream("position")
        rate, phase = draw.uniform(0.02, 0.5, g.width), draw.uniform(0, 2 * math.pi, g.width)
        smooth = np.sin(np.arange(g.context)[:, None] * rate + phase)
        noise = draw.standard_normal(smooth.shape)
        return (smooth * EMBEDDING_RMS * 0.65 + noise * 0.1 * EMBEDDING_RMS).astype(np.float32)

    def _sample_ids(self):
        """Four rows of random words, of different lengths."""
        g = self.geometry
        draw = self._stream("sample")
        ids = np.full((4, g.context), g.pad_id)
        for row, length in zip(ids, (4, 10, 25, g.context - 2)):
            row[:length + 2] = [g.start_id, *draw.integers(0, g.start_id, length), g.end_id]
        return ids

    def _block(self, layer, x):
        g = self.geometry
        width, mlp_width = g.width, g.mlp_width
        before = rms(x[:, 1:])
        after = self.target_rms(layer)
        reach = math.sqrt(max(after * after - before * before, 0.1 * after * after) / 2)  # attention and MLP alike

        block = {}

        def add(name, value):
            block[name] = np.asarray(value, np.float32)

        for norm in ("layer_norm1", "layer_norm2"):
            add(norm + ".weight", self._gain(f"{layer}/{norm}", width, 1.0))
            add(norm + ".bias", self._normal(f"{layer}/{norm}/bias", width, 0.1))
        for which, deviation in (("q", 1.3), ("k", 1.3), ("v", 1.0)):
            name = f"self_attn.{which}_proj"
            add(name + ".weight", self._rows(f"{layer}/{name}", (width, width), deviation * width ** -0.5))
            add(name + ".bias", self._normal(f"{layer}/{name}/bias", width, 0.2))
        mixed = attention(layer_norm(x, block, "layer_norm1", g.epsilon), block, g.heads)
        x = x + self._reach(block, layer, "self_attn.out_proj", mixed, reach)

        add("mlp.fc1.weight", self._rows(f"{layer}/fc1", (mlp_width, width), 1.2 * width ** -0.5))
        add("mlp.fc1.bias", self._normal(f"{layer}/fc1/bias", mlp_width, 0.4) - np.float32(0.3))
        neuron = int(self._stream(f"{layer}/neuron").integers(mlp_width))
        normed = layer_norm(x, block, "layer_norm2", g.epsilon)
        self._detect_start(block, neuron, normed)
        hidden = activate(linear(normed, block, "mlp.fc1"), g.activation)
        quiet = hidden.copy()
        quiet[..., neuron] = 0
        x = x + self._reach(block, layer, "mlp.fc2", quiet, reach)
        self._excite_start(block, neuron, hidden[0, 0, neuron], x[0, 0], after)
        return block, x + hidden[..., neuron, None] * block["mlp.fc2.weight"][:, neuron]

    def _reach(self, block, layer, name, inputs, target):
        """Draws the Linear `name` so that it adds `target` to the residual; returns what it adds."""
        width, fan_in = self.geometry.width, inputs.shape[-1]
        weight = self._rows(f"{layer}/{name}", (width, fan_in), fan_in ** -0.5)
        bias = self._normal(f"{layer}/{name}/bias", width, 0.1 * target)
        scale = two_digits(target / rms((inputs @ weight.T)[:, 1:]))
        block[name + ".weight"] = weight * np.float32(scale)
        block[name + ".bias"] = bias
        return linear(inputs, block, name)

    def _detect_start(self, block, neuron, normed):
        """Makes one neuron of fc1 answer to the start token's marked channels and to nothing else."""
        row = np.zeros(self.geometry.width, np.float32)
        row[self.massive] = self.signs / block["layer_norm2.weight"][self.massive]
        seen = normed @ row
        scale = two_digits(10 / seen[0, 0])
        block["mlp.fc1.weight"][neuron] = row * np.float32(scale)
        block["mlp.fc1.bias"][neuron] = -5

    def _excite_start(self, block, neuron, strength, start, after):
        """Lets that neuron lift the marked channels of the start token to MASSIVE_RATIO times the target rms."""
        block["mlp.fc2.weight"][:, neuron] = 0
        for channel, sign in zip(self.massive, self.signs):
            missing = sign * MASSIVE_RATIO * after - start[channel]
            block["mlp.fc2.weight"][channel, neuron] = two_digits(missing / strength)
