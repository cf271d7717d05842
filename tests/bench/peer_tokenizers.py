"""The Rust tokenizers as a process of the bench; speaks the lines of peer_penult.c and does what peer_tokenizer.c does.

    peer_tokenizers.py TOKENIZER.json TEXTS      TEXTS: a file of strings, each ended by a NUL

One thread: its pool is off. Called as it is fastest here: one batch, without offsets where it can do without.
"""
import array
import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers  # noqa: E402 - reads the environment when it is loaded


def say(**words):
    print(json.dumps(words), flush=True)


say(did="load")
tokenizer = encodings = None
with open(sys.argv[2], "rb") as file:
    texts = [text.decode("utf-8") for text in file.read().split(b"\0")[:-1]]
for line in sys.stdin:
    command, _, path = line.strip().partition(" ")
    if command == "open":
        began = time.monotonic()
        tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1])
        tokenizer.no_truncation()
        tokenizer.no_padding()
        say(did="open", model_open=time.monotonic() - began, version=tokenizers.__version__, kernels="tokenizer")
    elif command == "run":
        cpu, wall = time.process_time(), time.monotonic()
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        say(did="run", wall=wall, cpu=cpu, major_faults=0, strings=len(texts))
    elif command == "save":
        with open(path, "wb") as file:
            array.array("f", (value for encoding in encodings for value in encoding.ids)).tofile(file)
        say(did="save")
    else:
        sys.exit(f"peer_tokenizers.py: unknown command {line!r}")
