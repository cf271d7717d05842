"""One transformers + torch process of the bench; speaks the lines of peer_penult.c.

    peer_torch.py MODEL WEIGHTS THREADS BATCH      WEIGHTS: f32 or bf16, which is also torch's arithmetic

Knows no other peer. The imports count for the time from a cold process to the first result, as they do for a user.
"""
import json
import resource
import sys
import time

import torch
from transformers import CLIPTextModelWithProjection

TOKENS, BODY, START_ID, END_ID = 77, 20, 49406, 49407
MODEL, WEIGHTS, THREADS, BATCH = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])


def say(**words):
    print(json.dumps(words), flush=True)


def make_ids():
    """The ids of peer_penult.c."""
    rows = [[START_ID, *(320 + (b * 97 + i * 31) % 40000 for i in range(1, BODY + 1)), END_ID] for b in range(BATCH)]
    return torch.tensor([row + [0] * (TOKENS - len(row)) for row in rows])


def open_model():
    began = time.monotonic()
    model = CLIPTextModelWithProjection.from_pretrained(
        MODEL, dtype={"f32": torch.float32, "bf16": torch.bfloat16}[WEIGHTS]).eval()
    say(did="open", model_open=time.monotonic() - began, version=torch.__version__,
        kernels=torch.backends.cpu.get_cpu_capability(), attention=model.config._attn_implementation)
    return model


def run(model, ids):
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    cpu, wall = time.process_time(), time.monotonic()
    with torch.inference_mode():
        out = model(input_ids=ids, output_hidden_states=True)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    say(did="run", wall=wall, cpu=cpu, major_faults=resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults)
    return out.hidden_states[-2], out.text_embeds


torch.set_num_threads(THREADS)
torch.set_num_interop_threads(1)
say(did="load")
model = hidden = None
ids = make_ids()
for line in sys.stdin:
    command, _, path = line.strip().partition(" ")
    if command == "open":
        model = open_model()
    elif command == "run":
        hidden, _pooled = run(model, ids)
    elif command == "save":
        hidden[0].float().contiguous().numpy().tofile(path)
        say(did="save")
    else:
        sys.exit(f"peer_torch.py: unknown command {line!r}")
