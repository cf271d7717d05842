"""The drop-in encoder by itself: what a pipeline, or its author, may do to a CLIPTextModel, done to it.

Owns what is tried: results, layers and passes, types, refusals. Called by test_diffusers.py for each pipeline with the
pipeline's own encoders as the reference.
"""
import contextlib
import json
import shutil

import numpy as np
import torch
from transformers import PreTrainedModel

import diffusers_pictures as pictures
from plugin import penult

CLOSE = 1e-4  # of the largest value: towers are compared at full precision by the other parity scripts


def judge(run, kind, directory, own, ours):
    ids = {tower: tokenize(ours, tower) for tower in kind.towers}
    for tower in kind.towers:
        where = f"{kind.name}, {tower}"
        reference, encoder = getattr(own, tower), getattr(ours, tower)
        results(run, where, reference, encoder, ids[tower])
        layers(run, where, reference, encoder, ids[tower])
        types(run, where, encoder, ids[tower])
        refusals(run, where, encoder, ids[tower])
        if not encoder.has_projection:
            final_norm(run, where, reference, encoder, ids[tower])
    opened(run, kind, directory, ours, ids)
    pipeline(run, kind, directory, own, ours)


def tokenize(pipe, tower):
    tokenizer = getattr(pipe, tower.replace("text_encoder", "tokenizer"))
    return tokenizer([pictures.CAT, pictures.DOG], padding="max_length", max_length=tokenizer.model_max_length,
                     truncation=True, return_tensors="pt").input_ids


def close(one, other):
    return one.shape == other.shape and one.dtype == other.dtype and bool(
        (one - other).abs().max() <= CLOSE * other.abs().max())


def refused(kind, words, function, *arguments, **options):
    """Whether the call raises `kind` with all the words in its message."""
    try:
        function(*arguments, **options)
    except kind as error:
        return all(word in str(error) for word in words)
    return False


def results(run, where, reference, encoder, ids):
    with torch.no_grad():
        for hidden in (None, True):
            theirs, found = (model(ids, output_hidden_states=hidden) for model in (reference, encoder))
            named = type(found) is type(theirs) and list(found.keys()) == list(theirs.keys())
            run.check(f"{where}: fields of the result, hidden states {hidden}", named, ", ".join(found.keys()))
            tensors = [(name, value) for name, value in theirs.items() if isinstance(value, torch.Tensor)]
            run.check(f"{where}: values of the result, hidden states {hidden}",
                      all(close(found[name], value) for name, value in tensors) and close(found[0], theirs[0]))
        for title, mask in masks(ids).items():
            theirs, found = (model(ids, attention_mask=mask, output_hidden_states=True) for model in (reference, encoder))
            run.check(f"{where}: with a mask {title}", close(found[0], theirs[0])
                      and all(close(found.hidden_states[layer], theirs.hidden_states[layer]) for layer in (-2, -4)))
        theirs, found = (model(input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=True,
                               return_dict=False) for model in (reference, encoder))
    run.check(f"{where}: a tuple without return_dict", isinstance(found, tuple) and len(found) == len(theirs)
              and all(close(a, b) for a, b in zip(found[:2], theirs[:2])))
    wanted, config = reference.config, encoder.config
    same = [name for name in ("hidden_size", "intermediate_size", "projection_dim", "num_hidden_layers", "vocab_size",
                              "num_attention_heads", "max_position_embeddings", "hidden_act", "layer_norm_eps", "pad_token_id",
                              "bos_token_id", "eos_token_id") if getattr(wanted, name) != getattr(config, name)]
    run.check(f"{where}: its config", not same and not config.use_attention_mask, ", ".join(same))
    run.check(f"{where}: a transformers model in evaluation, float32 on the CPU", isinstance(encoder, PreTrainedModel)
              and not encoder.training and (encoder.dtype, encoder.device) == (torch.float32, torch.device("cpu")))


def masks(ids):
    """Of every token; of the prompt without its padding, as a tokenizer makes it, and as compel hides a word."""
    prompt, word = torch.ones_like(ids), torch.ones_like(ids)
    prompt[:, 9:], word[1, 4:6] = 0, 0
    return {"that hides nothing": torch.ones_like(ids), "of the prompt": prompt, "without a word": word.bool()}


def layers(run, where, reference, encoder, ids):
    """Each hidden state is the reference's, and costs the passes that HiddenStates promises."""
    with torch.no_grad():
        theirs = reference(ids, output_hidden_states=True).hidden_states
    encoder._taken = {encoder.config.num_hidden_layers - 1}

    def hidden():
        before = encoder.passes
        return encoder(ids, output_hidden_states=True).hidden_states, before

    found, before = hidden()
    run.check(f"{where}: the penultimate layer, in one pass", close(found[-2], theirs[-2]) and encoder.passes == before + 1)
    run.check(f"{where}: another layer, in one more", close(found[-3], theirs[-3]) and encoder.passes == before + 2)
    found, before = hidden()
    run.check(f"{where}: the next time both, in one", close(found[-3], theirs[-3]) and close(found[-2], theirs[-2])
              and encoder.passes == before + 1)
    found, before = hidden()
    run.check(f"{where}: all of them, in one more", len(found) == len(theirs)
              and all(close(a, b) for a, b in zip(found, theirs, strict=True)) and encoder.passes == before + 2)
    found, before = hidden()
    part = found[1:3]
    run.check(f"{where}: a slice", isinstance(part, tuple) and len(part) == 2 and close(part[1], theirs[2])
              and encoder.passes == before + 2)
    run.check(f"{where}: no layer beyond either end", refused(IndexError, [], lambda: found[len(theirs)])
              and refused(IndexError, [], lambda: found[-len(theirs) - 1]))
    one = encoder(ids[1], output_hidden_states=True)
    run.check(f"{where}: one row without a batch", close(one.last_hidden_state, reference(ids[1]).last_hidden_state.detach())
              and torch.equal(one.hidden_states[-2], found[-2][1:]))


def types(run, where, encoder, ids):
    exact = encoder(ids, output_hidden_states=True)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        encoder.to(dtype=dtype)
        found = encoder(ids, output_hidden_states=True)
        run.check(f"{where}: {str(dtype).removeprefix('torch.')} is float32, rounded once", encoder.dtype == dtype
                  and torch.equal(found[0], exact[0].to(dtype))
                  and torch.equal(found.hidden_states[-2], exact.hidden_states[-2].to(dtype)))
    encoder.float()
    with torch.inference_mode():
        inside = encoder(ids, output_hidden_states=True).hidden_states[-2]
        normed = encoder.text_model.final_layer_norm(inside)
    run.check(f"{where}: in inference mode", torch.equal(inside, exact.hidden_states[-2])
              and torch.equal(normed, encoder.final_layer_norm(exact.hidden_states[-2])))


def final_norm(run, where, reference, encoder, ids):
    with torch.no_grad():
        theirs = reference.final_layer_norm(reference(ids, output_hidden_states=True).hidden_states[-4])
    state = encoder(ids, output_hidden_states=True).hidden_states[-4]
    before = encoder.passes
    found = encoder.text_model.final_layer_norm(state)
    run.check(f"{where}: the final norm of a layer, in one more pass", close(found, theirs) and encoder.passes == before + 1)
    before = encoder.passes
    again = encoder.text_model.final_layer_norm(encoder(ids, output_hidden_states=True).hidden_states[-4])
    run.check(f"{where}: the next time with the call's own", torch.equal(again, found) and encoder.passes == before + 1)
    words = ["final_layer_norm", "hidden_states"]
    run.check(f"{where}: not of a tensor that is none of its states",
              refused(ValueError, words, encoder.final_layer_norm, state.clone()))
    state.mul_(2)
    run.check(f"{where}: nor of one that was written into", refused(ValueError, words, encoder.final_layer_norm, state))


def refusals(run, where, encoder, ids):
    tries = {
        "a mask of another shape": (ValueError, ["attention_mask", "[2, 77]"], dict(attention_mask=torch.ones(77))),
        "positions": (ValueError, ["position_ids", "None"], dict(position_ids=torch.arange(ids.shape[1])[None])),
        "attentions": (ValueError, ["output_attentions"], dict(output_attentions=True)),
        "no ids": (ValueError, ["input_ids", "[B,T]"], dict(input_ids=None)),
        "ids that the tower does not have": (penult.PenultError, [], dict(input_ids=ids + encoder.config.vocab_size)),
    }
    for title, (kind, words, options) in tries.items():
        run.check(f"{where}: refuses {title}", refused(kind, words, encoder, **{"input_ids": ids, **options}))
    for title, function in (("to be saved", lambda: encoder.save_pretrained("nowhere")),
                            ("a LoRA", lambda: encoder.load_adapter(adapter_state_dict={})),
                            ("new embeddings", lambda: encoder.resize_token_embeddings(7)),
                            ("other embeddings", lambda: encoder.set_input_embeddings(None))):
        run.check(f"{where}: refuses {title}", refused(NotImplementedError, ["PenultTextEncoder"], function))


def opened(run, kind, directory, ours, ids):
    """The other ways to open one give the same bits."""
    tower, name = kind.towers[-1], type(getattr(ours, kind.towers[-1]))
    wanted, info = getattr(ours, tower)(ids[tower]), getattr(ours, tower).penult_model.info
    with penult.Model(directory, tower=tower, library=run.library) as model:
        ways = {
            "an open model": name(model, threads=1),
            "from_pretrained": name.from_pretrained(directory, subfolder=tower, torch_dtype=torch.float32,
                                                    library=run.library),
            "a single file": name(directory / tower / "model.safetensors", activation=info.activation, library=run.library),
        }
        for title, encoder in ways.items():
            found = encoder(ids[tower])
            run.check(f"{kind.name}, {tower}: from {title}", list(found.keys()) == list(wanted.keys())
                      and all(torch.equal(found[key], wanted[key]) for key in wanted))
            encoder.close()
            run.check(f"{kind.name}, {tower}: closed, from {title}", refused(ValueError, ["closed"], encoder, ids[tower]))
        run.check(f"{kind.name}, {tower}: no second tower for an open model",
                  refused(TypeError, ["tower", "open already"], name, model, tower="text_encoder"))
    plain = kind.towers[0]
    run.check(f"{kind.name}, {plain}: no projection where there is none",
              refused(ValueError, [plain, "no projection"], name, directory, tower=plain, projection=True,
                      library=run.library))
    threads = name(directory, tower=tower, projection=False, library=run.library)
    states = threads(ids[tower])
    run.check(f"{kind.name}, {tower}: as a CLIPTextModel", list(states.keys()) == ["last_hidden_state", "pooler_output"]
              and torch.equal(states[0], wanted.last_hidden_state))
    threads.close()


def pipeline(run, kind, directory, own, ours):
    """What a pipeline does with its components beside calling them."""
    encoder = getattr(ours, kind.towers[0])
    ours.to(dtype=torch.bfloat16)
    run.check(f"{kind.name}: moves with its pipeline", encoder.dtype == ours.unet.dtype == torch.bfloat16)
    ours.to("cpu", torch.float32)
    run.check(f"{kind.name}: and back", encoder.dtype == torch.float32 and ours._execution_device == torch.device("cpu"))
    run.check(f"{kind.name}: its pipeline is not saved without weights",
              refused(NotImplementedError, ["put the pipeline's own text encoder back"], ours.save_pretrained,
                      directory.parent / "saved"))
    shutil.rmtree(directory.parent / "saved", ignore_errors=True)
    run.check(f"{kind.name}: textual inversion is refused", refused(
        NotImplementedError, ["textual inversion"], ours.load_textual_inversion,
        {"<new>": torch.zeros(encoder.config.hidden_size)}, token="<new>", tokenizer=ours.tokenizer, text_encoder=encoder))

    # A pipeline from the directory takes it too, and then loads no encoder of its own.
    encoders = {tower: type(encoder)(directory, tower=tower, library=run.library) for tower in kind.towers}
    loaded = kind.pipeline.from_pretrained(directory, dtype=torch.float32, **encoders)
    run.check(f"{kind.name}: given to from_pretrained", all(getattr(loaded, name) is value for name, value in encoders.items()))
    setattr(loaded, kind.towers[0], encoder)
    run.check(f"{kind.name}: put into a pipeline", getattr(loaded, kind.towers[0]) is encoder)
    with masked(directory / kind.towers[0] / "config.json"):
        wants = type(encoder)(directory, tower=kind.towers[0], library=run.library)
    run.check(f"{kind.name}: says that config.json wants the mask", wants.config.use_attention_mask is True)
    if kind is pictures.SD1:  # the kind that asks
        own.text_encoder.config.use_attention_mask = True
        loaded.text_encoder = wants
        found, theirs = (run.tensors(kind, pipe, pictures.CAT) for pipe in (loaded, own))
        run.check(f"{kind.name}: and takes it", all(close(found[name], theirs[name]) for name in theirs)
                  and not close(found["prompt_embeds"], run.tensors(kind, ours, pictures.CAT)["prompt_embeds"]))
        own.text_encoder.config.use_attention_mask = False
    names = np.unique([type(value).__name__ for value in encoders.values()])
    run.check(f"{kind.name}: known by name to the pipeline's config",
              list(names) == ["PenultTextEncoder"] and loaded.config[kind.towers[0]][1] == "PenultTextEncoder")


@contextlib.contextmanager
def masked(path):
    """A config.json that wants use_attention_mask, for a while."""
    kept = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(kept) | {"use_attention_mask": True}), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(kept, encoding="utf-8")
