#!/usr/bin/env python3
"""test_beside.py PLUGIN MODEL [SECONDS] - the plugin in a Python that computes with NumPy and, where there is one, torch.

Protects: neither disturbs the other. Products of both, whose BLAS has names and threads of its own, have the same bits
before, between and beside our encodes, ours have the same bits beside theirs, and their thread counts stay. Prints TAP.
"""
import ctypes
import os
import sys
import threading
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "api"))
sys.dont_write_bytecode = True
import penult  # noqa: E402

PROMPTS = ["a photo of a cat", "caf\u00e9, 8k!", ""]
KERNELS = ("best", "openblas")
RESULTS = []


def check(good, name, detail=""):
    RESULTS.append(good)
    print(f"{'ok' if good else 'not ok'} {len(RESULTS)} - {name}{'' if good or not detail else f': {detail}'}", flush=True)


def skip(name, why):
    RESULTS.append(True)
    print(f"ok {len(RESULTS)} - {name} # SKIP {why}", flush=True)


def encode(session):
    encoded = session.encode(PROMPTS, layers=(-1, -2), pooled=("projected",))
    return b"".join(array.tobytes() for array in (*encoded.hidden.values(), *encoded.pooled.values()))


def numpy_product():
    random = np.random.default_rng(1)
    a, b = random.standard_normal((2, 300, 300), np.float32)
    return lambda: (a @ b).tobytes()


def torch_product():
    try:
        import torch
    except ImportError:
        return None, None
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 300, 300, generator=generator)
    layer = torch.nn.functional.layer_norm
    return torch, lambda: layer(a @ b, (300,)).numpy().tobytes()


def openblas_threads():
    """openblas_get_num_threads of each OpenBLAS that others brought into this process."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if "blas" in line}
    counts = {}
    for path in sorted(paths):
        try:
            library = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            continue
        for name in ("openblas_get_num_threads", "openblas_get_num_threads64_", "scipy_openblas_get_num_threads64_"):
            if hasattr(library, name):
                counts[path] = getattr(library, name)()
    return counts


def side_by_side(sessions, right, products, seconds):
    """Encodes and products from threads of their own at once. How many of each were wrong, and were made."""
    until, wrong, made = time.monotonic() + seconds, {}, {}

    def work(name, compute, expected):
        wrong[name] = made[name] = 0
        while time.monotonic() < until or made[name] < 3:
            wrong[name] += compute() != expected
            made[name] += 1
    jobs = [(f"encode, kernels {kernels}", lambda session=session: encode(session), right[kernels])
            for kernels, session in sessions.items()]
    jobs += [(name, product, product()) for name, product in products.items()]
    threads = [threading.Thread(target=work, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong, made


def main(plugin, model_path, seconds):
    products = {"NumPy": numpy_product()}
    torch, product = torch_product()
    if torch:
        products["torch"] = product
    before = {name: product() for name, product in products.items()}
    blas, torch_threads = openblas_threads(), torch and torch.get_num_threads()
    library = penult.Library(plugin)
    with penult.Model(model_path, library=library) as model:
        sessions = {kernels: penult.Session(model, threads=2, max_prompts=3, kernels=kernels)
                    for kernels in KERNELS}
        right = {kernels: encode(session) for kernels, session in sessions.items()}
        for name, product in products.items():
            turns = [(product() == before[name], encode(session) == right[kernels])
                     for _ in range(10) for kernels, session in sessions.items()]
            check(all(all(turn) for turn in turns), f"{name} and encodes in turn", f"{turns}")
        wrong, made = side_by_side(sessions, right, products, seconds)
        check(not any(wrong.values()), f"at once: {made}", f"{wrong} wrong")
        for session in sessions.values():
            session.close()
    check({name: product() for name, product in products.items()} == before, "and afterwards, their bits")
    if blas:
        check(openblas_threads() == blas, f"the host's OpenBLAS has as many threads as before {sorted(blas.values())}",
              f"{openblas_threads()} and not {blas}")
    else:
        skip("the host's OpenBLAS has as many threads as before", "this NumPy is without OpenBLAS")
    if torch:
        check(torch.get_num_threads() == torch_threads, "torch has as many threads as before")
    else:
        skip("beside torch", "this Python has no torch: make check-host REFERENCE_PYTHON=... names one")
    print(f"1..{len(RESULTS)}")
    return 0 if all(RESULTS) else 1


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(f"usage: {sys.argv[0]} PLUGIN MODEL [SECONDS]")
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 1.0))
