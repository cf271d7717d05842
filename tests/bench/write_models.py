"""Writes CLIP ViT-bigG/14's text tower with seeded random weights, by transformers itself, as f32, f16 and bf16,
and as f8.

    write_models.py DIRECTORY      makes DIRECTORY/{f32,f16,bf16,f8}, 6.3 GB; takes no time when they are there

f8 is ComfyUI's form: each matrix of a block as F8_E4M3 over its own range with its scale beside it, all else f16.

The weights are transformers' own initialisation: enough for time and memory, which do not depend on the values.
For whether the numbers are right there is tests/parity.
"""
import pathlib
import shutil
import sys

DTYPES = ("f32", "f16", "bf16")


def write(directory):
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.CLIPTextConfig(
        vocab_size=49408, hidden_size=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=20,
        max_position_embeddings=77, projection_dim=1280, hidden_act="gelu", layer_norm_eps=1e-5,
        bos_token_id=49406, eos_token_id=49407, pad_token_id=1)
    model = transformers.CLIPTextModelWithProjection(config)
    for name, dtype in zip(DTYPES, (torch.float32, torch.float16, torch.bfloat16)):
        print(f"writing {directory / name}", file=sys.stderr)
        # from the float32 drawing each time: f16 and bf16 files hold the same weights, each rounded once
        (model if dtype == torch.float32 else copy_of(model, config, dtype)).save_pretrained(
            directory / name, max_shard_size="16GB")
    write_f8(directory)


def write_f8(directory):
    import safetensors.torch
    import torch

    print(f"writing {directory / 'f8'}", file=sys.stderr)
    changed = {"scaled_fp8": torch.empty(0, dtype=torch.float8_e4m3fn)}
    for name, value in safetensors.torch.load_file(directory / "f32" / "model.safetensors").items():
        if ".encoder.layers." in name and value.ndim == 2:
            scale = value.abs().amax() / torch.finfo(torch.float8_e4m3fn).max
            changed[name] = (value / scale).to(torch.float8_e4m3fn)
            changed[name.removesuffix(".weight") + ".scale_weight"] = scale
        else:
            changed[name] = value.half()
    (directory / "f8").mkdir(exist_ok=True)
    safetensors.torch.save_file(changed, directory / "f8" / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(directory / "f16" / "config.json", directory / "f8" / "config.json")


def copy_of(model, config, dtype):
    import torch
    import transformers

    with torch.device("meta"):
        other = transformers.CLIPTextModelWithProjection(config)
    other.load_state_dict({name: value.to(dtype) for name, value in model.state_dict().items()}, assign=True)
    other.config.dtype = dtype
    return other


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: write_models.py DIRECTORY")
    target = pathlib.Path(sys.argv[1])
    stamp = target / "complete"
    recipe = "bigG text tower, transformers' initialisation, seed 1; f32, f16, bf16, f8\n"
    if not stamp.exists() or stamp.read_text() != recipe:
        stamp.unlink(missing_ok=True)
        write(target)
        stamp.write_text(recipe)
