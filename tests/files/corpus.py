#!/usr/bin/env python3
"""corpus.py - writes the malformed corpus: the small model, every case of the classes S, J, C, T, I and L, and the manifest
that says what the plugin must answer to each. The same bytes every time.

    corpus.py DIRECTORY [--large]      --large: also what takes hundreds of megabytes of disk
"""
import itertools
import sys

import cases
import corpus_json
import corpus_layouts
import corpus_safetensors
import corpus_tokenizer
import small

LEAST_OF_A_CLASS, LEAST_IN_ALL = 6, 300


def main(arguments):
    if not arguments or arguments[1:] not in ([], ["--large"]):
        raise SystemExit(__doc__)
    base = {"config.json": small.config(), "model.safetensors": small.Weights().file(),
            "vocab.json": small.vocab_json(), "merges.txt": small.merges_txt()}
    every = itertools.chain(corpus_safetensors.cases(), corpus_json.cases(), corpus_tokenizer.cases(),
                            corpus_layouts.cases(),
                            corpus_safetensors.large() if arguments[1:] else ())
    counts = cases.write(arguments[0], base, every)
    poor = [group for group, count in counts.items() if count < LEAST_OF_A_CLASS]
    if poor or sum(counts.values()) < LEAST_IN_ALL:
        raise SystemExit(f"the corpus has {sum(counts.values())} cases, expected {LEAST_IN_ALL}; fewer than "
                         f"{LEAST_OF_A_CLASS} of {poor}")
    print(f"{sum(counts.values())} cases: " + " ".join(f"{group} {count}" for group, count in counts.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
