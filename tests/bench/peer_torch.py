"""One transformers + torch process of the bench; speaks the lines of peer_penult.c.

    peer_torch.py MODEL WEIGHTS THREADS BATCH TASK      WEIGHTS: f32 or bf16, which is also torch's arithmetic

TASK is encode, or one of max_length and longest: peer_penult.c's "pooled" with the rows of padding="max_length" and "longest".

Knows no other peer. The imports count for the time from a cold process to the first result, as they do for a user.
"""
import json
import resource
import sys
import time

import torch
from transformers import CLIPTextModelWithProjection

TOKENS, BODY, SHORTEST, LENGTHS, START_ID, END_ID = 77, 20, 5, 16, 49406, 49407
MODEL, WEIGHTS, THREADS, BATCH, TASK = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]


def say(**words):
    print(json.dumps(words), flush=True)


def make_inputs():
    """The ids of peer_penult.c; with TASK's padding also the mask that the tokenizer returns."""
    bodies = [BODY if TASK == "encode" else SHORTEST - 2 + b * 7 % LENGTHS for b in range(BATCH)]
    rows = [[START_ID, *(320 + (b * 97 + i * 31) % 40000 for i in range(1, body + 1)), END_ID] for b, body in enumerate(bodies)]
    tokens = max(len(row) for row in rows) if TASK == "longest" else TOKENS
    inputs = {"input_ids": torch.tensor([row + [0] * (tokens - len(row)) for row in rows])}
    if TASK != "encode":
        inputs["attention_mask"] = torch.tensor([[1] * len(row) + [0] * (tokens - len(row)) for row in rows])
    return inputs


def open_model():
    began = time.monotonic()
    model = CLIPTextModelWithProjection.from_pretrained(
        MODEL, dtype={"f32": torch.float32, "bf16": torch.bfloat16}[WEIGHTS]).eval()
    say(did="open", model_open=time.monotonic() - began, version=torch.__version__,
        kernels=torch.backends.cpu.get_cpu_capability(), attention=model.config._attn_implementation)
    return model


def run(model, inputs):
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    cpu, wall = time.process_time(), time.monotonic()
    with torch.inference_mode():
        out = model(**inputs, output_hidden_states=TASK == "encode")
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    say(did="run", wall=wall, cpu=cpu, major_faults=resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults)
    return out.hidden_states[-2][0] if TASK == "encode" else out.text_embeds


torch.set_num_threads(THREADS)
torch.set_num_interop_threads(1)
say(did="load")
model = result = None
inputs = make_inputs()
for line in sys.stdin:
    command, _, path = line.strip().partition(" ")
    if command == "open":
        model = open_model()
    elif command == "run":
        result = run(model, inputs)
    elif command == "save":
        result.float().contiguous().numpy().tofile(path)
        say(did="save")
    else:
        sys.exit(f"peer_torch.py: unknown command {line!r}")
