#!/usr/bin/env python3
"""Makes the model that ships: writes the files of this directory anew, the same bytes every time.

    python3 samples/model/make_model.py [DIRECTORY]

Needs the reference environment of tests/parity (torch, transformers, tokenizers, safetensors, numpy). Owns which files
there are; the vocabulary is vocabulary.py's and the weights are weights.py's.
"""
import json
import pathlib
import sys

import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

import vocabulary
import weights

GEOMETRY = weights.Geometry(
    name="shipped", vocabulary=vocabulary.SIZE, width=128, heads=2, layers=4, mlp_width=512, projection=128,
    activation="gelu", start_id=vocabulary.SIZE - 2, end_id=vocabulary.SIZE - 1, pad_id=0, last_rms=10.0)
SIZE_LIMIT = 2 * 1024 * 1024


def write_tower(directory):
    g = GEOMETRY
    config = CLIPTextConfig(
        vocab_size=g.vocabulary, hidden_size=g.width, intermediate_size=g.mlp_width, projection_dim=g.projection,
        num_hidden_layers=g.layers, num_attention_heads=g.heads, max_position_embeddings=g.context,
        hidden_act=g.activation, layer_norm_eps=g.epsilon, bos_token_id=g.start_id, eos_token_id=g.end_id,
        pad_token_id=g.pad_id)
    model = CLIPTextModelWithProjection(config)
    model.load_state_dict({
        name if name.startswith("text_projection") else "text_model." + name: torch.from_numpy(value)
        for name, value in weights.Recipe(g).tensors()})
    model.to(torch.float16).save_pretrained(directory)
    (directory / "model.safetensors").chmod(0o644)  # it comes from a temporary file that only its owner may read


def write_tokenizer(directory):
    """tokenizer.json and tokenizer_config.json as transformers 5 writes them, and the three files of transformers 4."""
    tokens, merges = vocabulary.build()
    special = dict(bos_token=vocabulary.START, eos_token=vocabulary.END, unk_token=vocabulary.END,
                   pad_token=vocabulary.PAD)
    CLIPTokenizer(vocab=tokens, merges=merges, model_max_length=GEOMETRY.context, **special).save_pretrained(directory)

    def write(name, text):
        (directory / name).write_text(text, encoding="utf-8")

    write("vocab.json", json.dumps(tokens, ensure_ascii=False, indent=2) + "\n")
    write("merges.txt", "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges))
    write("special_tokens_map.json", json.dumps(special, indent=2) + "\n")


def main():
    home = pathlib.Path(__file__).resolve().parent
    directory = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else home
    write_tower(directory)
    write_tokenizer(directory)
    total = sum(path.stat().st_size for path in directory.iterdir() if path.is_file())
    print(f"{directory}: {total} bytes")
    if total >= SIZE_LIMIT:
        raise SystemExit(f"{directory} holds {total} bytes, expected less than {SIZE_LIMIT}")


if __name__ == "__main__":
    main()
