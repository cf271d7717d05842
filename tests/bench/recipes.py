#!/usr/bin/env python3
"""What each recipe costs with towers of full geometry: both prompts, cold and from the cache, in time and memory.

    recipes.py --build DIR --models DIR [--torch PYTHON] [--runs 9] [--threads 1,2] [--recipes sdxl,...] [--json FILE]

One process of Penult for each recipe and number of threads. Where --torch names an interpreter with transformers, "sdxl"
is measured in turns with both towers there, in float32, each over positive and negative as one batch. Weights are float16 with
random values (write_models.py): time and memory do not depend on them. The tokenizer is samples/model's, whose ids are
among the towers'.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT = "a photo of an astronaut riding a horse on mars, highly detailed, sharp focus, cinematic light"
NEGATIVE = "blurry, low quality, watermark, text"


def private_bytes():
    """RssAnon: what a host pays for. Pages of a mapped file are not in it, whether the file was just written or not."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


# ---- one process: lines of JSON on its output, "run" and "end" on its input ----------------------------------------------

def serve_penult(options):
    sys.path.insert(0, str(ROOT / "api"))
    import penult
    library = penult.Library(options.build / "penult.so")
    recipe = next(each for each in penult.recipes(library) if options.serve in (each.name, each.alias))
    models = {tower.name: penult.Model(options.models / tower.name, tokenizer=ROOT / "samples/model", library=library)
              for tower in recipe.towers}
    before = private_bytes()
    began = time.monotonic()
    pipeline = penult.Pipeline(recipe.name, models, threads=options.threads[0], cache=False)
    opened = time.monotonic() - began

    def once(which):
        at = time.monotonic()
        made = which.condition(PROMPT, negative=NEGATIVE)
        return time.monotonic() - at, made
    _wall, made = once(pipeline)
    after = private_bytes() - sum(array.nbytes for array in made.tensors.values())
    cached = penult.Pipeline(recipe.name, models, threads=options.threads[0])
    once(cached)
    print(json.dumps({"recipe": recipe.name, "open": opened, "promised": pipeline.info.bytes, "private": after - before,
                      "rows": len(made.windows), "blocks": made.blocks_run,
                      "tensors": {name: list(array.shape) for name, array in made.tensors.items()}}), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        wall, _made = once(pipeline)
        hit, _made = once(cached)
        at = time.monotonic()
        pipeline.plan(PROMPT, negative=NEGATIVE)
        print(json.dumps({"wall": wall, "cached": hit, "plan": time.monotonic() - at}), flush=True)


def serve_torch(options):
    import torch
    import transformers
    torch.set_num_threads(options.threads[0])
    towers = [kind.from_pretrained(options.models / name, dtype=torch.float32).eval()
              for name, kind in (("clip_l", transformers.CLIPTextModel), ("clip_g", transformers.CLIPTextModelWithProjection))]
    ids = torch.tensor([[49406, *range(320, 320 + n), 49407, *([49407] * (75 - n))] for n in (18, 8)])

    def once():
        at = time.monotonic()
        with torch.inference_mode():
            states = [tower(input_ids=ids, output_hidden_states=True) for tower in towers]
            torch.cat([state.hidden_states[-2] for state in states], -1)
        return time.monotonic() - at
    once()
    print(json.dumps({"version": torch.__version__}), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            break
        print(json.dumps({"wall": once()}), flush=True)


# ---- the bench -----------------------------------------------------------------------------------------------------------

class Peer:
    def __init__(self, interpreter, options, threads, what):
        command = [interpreter, __file__, "--build", str(options.build), "--models", str(options.models), "--threads", str(threads),
                   "--serve", what]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.facts, self.runs = self.hear(), []

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"recipes.py: a peer ended with status {self.process.wait()}")
        return json.loads(line)

    def run(self):
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        self.runs.append(self.hear())

    def end(self):
        self.process.communicate("end\n")

    def median(self, key):
        return statistics.median(run[key] for run in self.runs)


def write_towers(models):
    """CLIP-L, CLIP-H and bigG in float16, by transformers itself, seed 1. Nothing where they are."""
    import torch
    import transformers
    shapes = {"clip_l": (768, 12, 12, "quick_gelu"), "clip_h": (1024, 24, 16, "gelu"), "clip_g": (1280, 32, 20, "gelu")}
    for name, (width, layers, heads, activation) in shapes.items():
        if (models / name / "complete").exists():
            continue
        print(f"writing {models / name}", file=sys.stderr)
        torch.manual_seed(1)
        kind = transformers.CLIPTextModelWithProjection if name == "clip_g" else transformers.CLIPTextModel
        model = kind(transformers.CLIPTextConfig(
            vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
            max_position_embeddings=77, projection_dim=width, hidden_act=activation, bos_token_id=49406, eos_token_id=49407,
            pad_token_id=1))
        model.to(torch.float16).save_pretrained(models / name, max_shard_size="16GB")
        (models / name / "complete").touch()


def show(rows):
    print(f"\n{'recipe':32} {'threads':>7} {'rows':>4} {'blocks':>6} {'ms':>8} {'cached':>7} {'plan':>6} {'open':>6} "
          f"{'private MiB':>11} {'promised':>8}   torch f32 / penult")
    for row in rows:
        beside = row.get("torch_ratio")
        print(f"{row['recipe']:32} {row['threads']:7} {row['rows']:4} {row['blocks']:6} {row['ms']:8.1f} {row['cached_ms']:7.2f} "
              f"{row['plan_ms']:6.2f} {row['open_ms']:6.1f} {row['private'] / 2**20:11.1f} {row['promised'] / 2**20:8.1f}"
              + (f"   {beside:.2f} (torch {row['torch_ms']:.0f} ms)" if beside else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--models", type=pathlib.Path, required=True, help="where clip_l, clip_h and clip_g lie, or are made")
    parser.add_argument("--torch", default="", metavar="PYTHON")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=lambda text: [int(word) for word in text.split(",")], default=[1, 2])
    parser.add_argument("--recipes", type=lambda text: text.split(","), default=None)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--write", action="store_true", help="make the towers (needs transformers), measure nothing")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        return write_towers(options.models)
    if options.serve:
        return serve_torch(options) if options.serve == "torch" else serve_penult(options)
    sys.path.insert(0, str(ROOT / "api"))
    import penult
    names = options.recipes or [recipe.name for recipe in penult.recipes(penult.Library(options.build / "penult.so"))]
    rows = []
    for threads in options.threads:
        for name in names:
            peers = [Peer(sys.executable, options, threads, name)]
            if options.torch and name in ("sdxl", "sdxl@diffusers"):
                peers.append(Peer(options.torch, options, threads, "torch"))
            for number in range(options.runs):
                for peer in peers if number % 2 == 0 else reversed(peers):
                    peer.run()
            own = peers[0]
            row = {"recipe": own.facts["recipe"], "threads": threads, "rows": own.facts["rows"], "blocks": own.facts["blocks"],
                   "ms": own.median("wall") * 1e3, "cached_ms": own.median("cached") * 1e3, "plan_ms": own.median("plan") * 1e3,
                   "open_ms": own.facts["open"] * 1e3, "private": own.facts["private"], "promised": own.facts["promised"],
                   "tensors": own.facts["tensors"], "runs": own.runs}
            if len(peers) > 1:
                row["torch_ms"] = peers[1].median("wall") * 1e3
                row["torch_ratio"] = statistics.median(theirs["wall"] / ours["wall"]
                                                       for ours, theirs in zip(own.runs, peers[1].runs))
            for peer in peers:
                peer.end()
            rows.append(row)
    show(rows)
    print(f"load {os.getloadavg()[0]:.1f}; medians of {options.runs}; ms for positive and negative prompt together")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
