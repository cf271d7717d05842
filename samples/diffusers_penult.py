"""diffusers_penult.py - Penult where a diffusers pipeline has its text encoders.

    pipe = StableDiffusionXLPipeline.from_pretrained(
        "sdxl", text_encoder=PenultTextEncoder("sdxl", tower="text_encoder"),
        text_encoder_2=PenultTextEncoder("sdxl", tower="text_encoder_2"))
    pipe("a photo of a cat").images[0]

or, in a pipeline that is there already, `pipe.text_encoder = PenultTextEncoder(...)`. The tokenizers stay as they are. Or the
pipeline has no encoders and is given tensors in the place of prompts, with weights in them if the recipe reads some:

    recipe = open_recipe("sdxl@compel", "sdxl")
    pipe(**condition(pipe, recipe, "a photo++ of a cat", negative="blurry")).images[0]

Owns what transformers' CLIPTextModel and CLIPTextModelWithProjection look like to a pipeline: their call, results, config,
device and type. Knows nothing of UNets and samplers. Written for diffusers 0.42 and transformers 5; these and torch are
the host's. All computing is Penult's, on the CPU; results lie on the device that the ids came from.
"""
import inspect
import json
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
import torch
from transformers import CLIPTextConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.clip.modeling_clip import CLIPTextModelOutput

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "api"))
import penult  # noqa: E402

# What the library writes by itself; a result of any other type is made from float32.
WRITTEN = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16"}
LAST_NORMED = (-1, True)  # the binding's word for the last layer with the final norm: last_hidden_state


# ---- the encoder ----------------------------------------------------------------------------------------------------

class PenultTextEncoder(PreTrainedModel):
    """A text tower of Penult's in the place of a CLIPTextModel or a CLIPTextModelWithProjection.

    model       whatever penult.Model opens (a pipeline's directory, an encoder's, a single file), or a
                penult.Model, which must stay open
    tower       "text_encoder", "text_encoder_2", "clip_l", "clip_g", ... where `model` holds several; None: the widest
    projection  whether results begin with text_embeds, as CLIPTextModelWithProjection's do; by that a pipeline knows the
                encoder whose pooled vector it takes. None: if the file has a projection. CLIP-L has none in SD 1.x and
                SDXL, where this is right; out of a single file of SD 3's it wants True
    dtype       of the results, until .to() says otherwise; the arithmetic is float32 in any case
    threads, kernels   as of a penult.Session
    opening     further arguments of penult.Model: library, activation, heads, copy, ...

    A LoRA's part for the UNet loads beside it as ever; what would change the text encoder (a LoRA's part for it, textual
    inversion) fails, as there is nothing here to change.

    It is a torch module with one empty parameter, which is what .to(), .half() and the hooks of offloading move about: it
    says where results of the encoder are expected, and in which type. The weights stay in the mapped file. Calls from several
    threads wait for each other.
    """
    config_class = CLIPTextConfig
    main_input_name = "input_ids"

    def __init__(self, model, tower=None, projection=None, dtype=torch.float32, threads=0, kernels="best", **opening):
        path = None if isinstance(model, penult.Model) else model
        if path is not None:
            model = penult.Model(path, tower=tower, **opening)
        elif tower is not None or opening:
            raise TypeError(f"the model is open already; {', '.join(['tower'] * (tower is not None) + [*opening])} must be "
                            "given where it is opened")
        info = model.info
        if projection and not info.projection:
            raise ValueError(f"{info.tower} has no projection; projection must be None or False")
        super().__init__(_config(info, path, tower))
        # In a module of its own, as all of a CLIPTextModel's are: hooks for offloading tell by that where inputs belong.
        self.placement = torch.nn.ParameterList([torch.nn.Parameter(torch.empty(0, dtype=dtype), requires_grad=False)])
        self.has_projection = _has_projection(model) if projection is None else bool(projection)
        self.penult_model, self._session, self._room = model, None, 0
        self._session_options = {"threads": threads, "kernels": kernels}
        # Layers that pipelines were seen to take, which the one pass of a call computes on the way. SDXL takes the
        # penultimate one, and so does SD 1.x with a clip_skip of 1.
        self._taken = {info.layers - 1}
        self.passes = 0
        self.eval()

    @classmethod
    def from_pretrained(cls, path, *, subfolder="", torch_dtype=None, dtype=None, **options):
        """The constructor, in the words of transformers."""
        return cls(pathlib.Path(path) / subfolder, dtype=dtype or torch_dtype or torch.float32, **options)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, output_attentions=None,
                output_hidden_states=None, return_dict=None):
        """As CLIPTextModel's, for whole rows of ids [T] or [B,T] and masks of the same shape. Errors: ValueError for what Penult
        does not compute; PenultError."""
        if input_ids is None or input_ids.ndim == 0:
            raise ValueError("input_ids are missing; they must be a tensor [B,T] of whole rows of ids")
        if attention_mask is not None and attention_mask.shape != input_ids.shape:
            raise ValueError(f"attention_mask has the shape {list(attention_mask.shape)}; it must be that of input_ids, "
                             f"{list(input_ids.shape)}")
        if position_ids is not None:
            raise ValueError("position_ids are given; they must be None: a row's own order")
        if output_attentions:
            raise ValueError("output_attentions is asked for; Penult keeps no attentions")
        rows = _Rows(self, input_ids, attention_mask)
        wanted = sorted(self._taken, key=str) if output_hidden_states else []
        found = rows.encode([LAST_NORMED, *wanted], ["projected" if self.has_projection else "raw"])
        hidden = HiddenStates(rows, found) if output_hidden_states else None
        if self.has_projection:
            output = CLIPTextModelOutput(text_embeds=found["projected"], last_hidden_state=found[LAST_NORMED],
                                         hidden_states=hidden)
        else:
            output = BaseModelOutputWithPooling(last_hidden_state=found[LAST_NORMED], pooler_output=found["raw"],
                                                hidden_states=hidden)
        if return_dict is None:
            return_dict = getattr(self.config, "return_dict", True)
        return output if return_dict else output.to_tuple()

    @property
    def text_model(self):
        """The tower within, of which StableDiffusionPipeline takes `text_model.final_layer_norm` for its clip_skip."""
        return self

    def final_layer_norm(self, state):
        """The final norm of one of this encoder's hidden states, as Penult computes it: exactly what HiddenStates gave."""
        origin = getattr(state, "penult_origin", None)
        if origin is None or origin.rows.encoder is not self or origin.version != _version(state):
            raise ValueError("final_layer_norm was given a tensor that is none of this encoder's hidden_states, or no more; it "
                             "must be one of them, unchanged")
        key = (origin.layer, True)
        self._taken.add(key)
        return origin.normed if origin.normed is not None else origin.rows.encode([key], [])[key]

    def session(self, prompts):
        """A session with room for so many prompts; the one at hand, if it has."""
        if self.penult_model is None:
            raise ValueError("the encoder is closed")
        if self._session is None or prompts > self._room:
            self._session = penult.Session(self.penult_model, max_prompts=prompts, **self._session_options)
            self._room = prompts
        return self._session

    def close(self):
        """Gives back the session's memory and the mapped file. The encoder encodes no more."""
        self._session = self.penult_model = None

    # What would quietly do nothing, or the wrong thing, to weights that torch does not hold.

    def save_pretrained(self, *_arguments, **_options):
        raise NotImplementedError("a PenultTextEncoder holds no weights to save; put the pipeline's own text encoder back, or "
                                  "copy the files that this one was opened from")

    def load_adapter(self, *_arguments, **_options):
        raise NotImplementedError("a PenultTextEncoder takes no LoRA; merge it into the text encoder's file")

    def get_input_embeddings(self):
        raise NotImplementedError("a PenultTextEncoder has no embeddings to change: it takes no textual inversion")

    def set_input_embeddings(self, _value):
        self.get_input_embeddings()

    def resize_token_embeddings(self, *_arguments, **_options):
        self.get_input_embeddings()


def _config(info, path, tower):
    """A CLIPTextConfig of the tower's geometry. Whether pipelines pass the tokenizer's mask stands in config.json alone."""
    config = CLIPTextConfig(
        vocab_size=info.vocabulary, hidden_size=info.width, intermediate_size=info.mlp_width,
        projection_dim=info.projection or info.width, num_hidden_layers=info.layers, num_attention_heads=info.heads,
        max_position_embeddings=info.context, hidden_act=info.activation, layer_norm_eps=info.norm_epsilon,
        bos_token_id=info.start_id, eos_token_id=info.end_id, pad_token_id=info.pad_id)
    config.use_attention_mask = False
    config.name_or_path = "" if path is None else str(path)
    for folder in [] if path is None else [pathlib.Path(path) / (tower or ""), pathlib.Path(path)]:
        if (folder / "config.json").is_file():
            written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            config.use_attention_mask = bool(written.get("use_attention_mask", False))
            break
    return config


def _has_projection(model):
    """Whether the file has one: an identity that was assumed does not make a CLIPTextModelWithProjection."""
    assumed = any(finding.about == "assumption" and "text_projection" in finding.subject for finding in model.findings)
    return bool(model.info.projection) and not assumed


# ---- one call -------------------------------------------------------------------------------------------------------

class _Rows:
    """The ids and masks of one call, and what its results are to be."""

    def __init__(self, encoder, input_ids, attention_mask):
        self.encoder, self.device, self.dtype = encoder, input_ids.device, encoder.dtype
        self.ids = input_ids.detach().reshape(-1, input_ids.shape[-1]).cpu().numpy()
        masked = attention_mask is not None and bool((attention_mask == 0).any())  # where nothing is hidden it says nothing
        self.masks = (attention_mask != 0).reshape(self.ids.shape).cpu().numpy() if masked else None

    def encode(self, layers, pooled):
        """{layer or pooled name: tensor}, by one pass that stops at the deepest block that is asked for."""
        session, (batch, tokens) = self.encoder.session(len(self.ids)), self.ids.shape
        info, storage = session.info, self.dtype if self.dtype in WRITTEN else torch.float32
        shapes = {layer: (batch, tokens, info.width) for layer in layers}
        shapes |= {name: (batch, info.width if name == "raw" else info.projection) for name in pooled}
        tensors = {key: torch.empty(shape, dtype=storage) for key, shape in shapes.items()}
        session.encode(self.ids, outputs={key: _array(tensor) for key, tensor in tensors.items()}, key_masks=self.masks)
        self.encoder.passes += 1
        return {key: tensor.to(self.device, self.dtype) for key, tensor in tensors.items()}


def _array(tensor):
    """The tensor's memory as an array that the binding writes into; bfloat16 is uint16 to it."""
    return tensor.view(torch.int16).numpy().view(np.uint16) if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _version(tensor):
    """How often it was written into; torch does not count that in inference mode."""
    return None if tensor.is_inference() else tensor._version


class _Origin:
    """Which hidden state of which call a tensor is, and its final norm if that is known. Hangs on the tensor."""

    def __init__(self, rows, layer, version, normed):
        self.rows, self.layer, self.version, self.normed = rows, layer, version, normed


class HiddenStates(Sequence):
    """The L+1 hidden states of one call, as transformers' tuple of them: [0] the embeddings, [-1] the last block's.

    Those that were taken from the encoder's earlier calls came with the call's own pass. Any other costs a pass when it is
    taken, to its block and no further, and comes with the later calls' own; going through all of them is one pass.
    """

    def __init__(self, rows, found):
        self._rows, self._states = rows, {}
        for layer in [key for key in found if isinstance(key, int)]:
            self._keep(layer, found[layer], found.get((layer, True)))

    def _keep(self, layer, state, normed=None):
        state.penult_origin = _Origin(self._rows, layer, _version(state), normed)
        self._states[layer] = state

    def _complete(self, layers):
        missing = [layer for layer in layers if layer not in self._states]
        if missing:
            for layer, state in self._rows.encode(missing, []).items():
                self._keep(layer, state)

    def __len__(self):
        return self._rows.encoder.config.num_hidden_layers + 1

    def __getitem__(self, index):
        layers = range(len(self))[index]
        if isinstance(layers, range):
            self._complete(layers)
            return tuple(self._states[layer] for layer in layers)
        self._complete([layers])
        self._rows.encoder._taken.add(layers)
        return self._states[layers]

    def __iter__(self):
        return iter(self[:])


# ---- tensors in the place of prompts --------------------------------------------------------------------------------

# Which component of a diffusers pipeline is the tower that a recipe calls by this name.
COMPONENTS = {"clip_l": "text_encoder", "clip_h": "text_encoder", "clip_g": "text_encoder_2"}


def open_recipe(recipe, path, library=None, **options):
    """A penult.Pipeline over the encoders in a diffusers pipeline's directory, which read text as the recipe's host does.

    recipe   a name or an alias of penult.recipes(): "sdxl", "sdxl@compel", "sd1"
    options  of penult.Pipeline: dialect, emphasis, threads, max_windows, ...
    """
    rows = penult.recipes(library)
    row = next((row for row in rows if recipe in (row.name, row.alias)), None)
    if row is None:
        raise ValueError(f"there is no recipe {recipe!r}; there are {', '.join(row.name for row in rows)}")
    models = {tower.name: penult.Model(path, tower=COMPONENTS[tower.name], tokenizer_mode=tower.tokenizer_mode,
                                       pad_in_text=tower.pad_in_text, library=library) for tower in row.towers}
    return penult.Pipeline(row.name, models, **options)


def condition(pipe, recipe, prompt, **asked):
    """The keyword arguments of a pipeline's call that stand for a prompt, made by an open recipe.

    asked  further arguments of its `condition`: negative, prompt_2, negative_2, clip_skip. Sizes are the call's own.
    """
    takes = inspect.signature(type(pipe).__call__).parameters
    names = [name for name in recipe.tensors() if name in takes]
    return arguments(pipe, recipe.condition(prompt, tensors=names, **asked).tensors)


def arguments(pipe, arrays):
    """Named arrays as keyword arguments of a pipeline: torch tensors on its device, in the type of its UNet.

    arrays  NumPy arrays under the names of the pipeline's own parameters: prompt_embeds [B,T,D], pooled_prompt_embeds [B,P],
            negative_prompt_embeds, negative_pooled_prompt_embeds. Errors: ValueError for a name that it does not take.
    """
    takes = inspect.signature(type(pipe).__call__).parameters
    unknown = sorted(set(arrays) - set(takes))
    if unknown:
        raise ValueError(f"{type(pipe).__name__} takes no {', '.join(unknown)}")
    return {name: torch.from_numpy(np.ascontiguousarray(array)).to(pipe._execution_device, pipe.unet.dtype)
            for name, array in arrays.items()}
