"""One onnxruntime process of the bench: the tower that export_onnx.py exported, on its CPU provider; speaks the lines of
peer_penult.c.

    peer_onnx.py MODEL THREADS BATCH

Knows no other peer. Everything is as onnxruntime has it by default but the number of threads.
"""
import json
import pathlib
import resource
import sys
import time

import numpy as np
import onnxruntime

TOKENS, BODY, START_ID, END_ID = 77, 20, 49406, 49407
MODEL, THREADS, BATCH = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])


def say(**words):
    print(json.dumps(words), flush=True)


def make_ids():
    """The ids of peer_penult.c."""
    rows = [[START_ID, *(320 + (b * 97 + i * 31) % 40000 for i in range(1, BODY + 1)), END_ID] for b in range(BATCH)]
    return np.array([row + [0] * (TOKENS - len(row)) for row in rows], np.int64)


def open_model():
    began = time.monotonic()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    session = onnxruntime.InferenceSession(str(MODEL / "model.onnx"), options, providers=["CPUExecutionProvider"])
    say(did="open", model_open=time.monotonic() - began, version=onnxruntime.__version__, kernels="CPU provider")
    return session


def run(session, ids):
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    cpu, wall = time.process_time(), time.monotonic()
    hidden, _pooled = session.run(["hidden", "pooled"], {"input_ids": ids})
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    say(did="run", wall=wall, cpu=cpu, major_faults=resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults)
    return hidden


say(did="load")
opened = result = None
prompts = make_ids()
for line in sys.stdin:
    command, _, path = line.strip().partition(" ")
    if command == "open":
        opened = open_model()
    elif command == "run":
        result = run(opened, prompts)
    elif command == "save":
        np.ascontiguousarray(result[0], np.float32).tofile(path)
        say(did="save")
    else:
        sys.exit(f"peer_onnx.py: unknown command {line!r}")
