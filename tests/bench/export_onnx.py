"""Exports the reference tower to ONNX as a user would: transformers' own class in float32, torch's exporter, weights beside.

    export_onnx.py MODELS      MODELS/f32 becomes MODELS/onnx/model.onnx with its data, 2.8 GB; no time when it is there

Outputs: hidden state -2 and the projected pooled vector, as the other peers give. Optimising is left to onnxruntime, which does
it as it opens the model.
"""
import importlib.metadata
import pathlib
import shutil
import sys

TOKENS = 77


def export(source, target):
    import torch
    import transformers

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = transformers.CLIPTextModelWithProjection.from_pretrained(source, dtype=torch.float32).eval()

        def forward(self, input_ids):
            out = self.model(input_ids=input_ids, output_hidden_states=True)
            return out.hidden_states[-2], out.text_embeds

    ids = torch.full((2, TOKENS), 49407)
    ids[:, 0] = 49406
    with torch.inference_mode():
        torch.onnx.export(Tower(), (ids,), str(target), input_names=["input_ids"], output_names=["hidden", "pooled"],
                          dynamic_shapes={"input_ids": {0: torch.export.Dim("batch", min=1, max=1024)}}, dynamo=True,
                          external_data=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: export_onnx.py MODELS")
    models = pathlib.Path(sys.argv[1])
    stamp = models / "onnx" / "complete"
    recipe = (models / "complete").read_text() + "".join(
        f"{name} {importlib.metadata.version(name)}\n" for name in ("torch", "transformers", "onnx", "onnxscript"))
    if not stamp.exists() or stamp.read_text() != recipe:
        print(f"exporting {models / 'onnx'}", file=sys.stderr)
        shutil.rmtree(models / "onnx", ignore_errors=True)
        (models / "onnx").mkdir(parents=True)
        export(models / "f32", models / "onnx" / "model.onnx")
        stamp.write_text(recipe)
