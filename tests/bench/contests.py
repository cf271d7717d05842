"""Which contests make up the bench: what runs beside what, with how many threads and prompts. Knows no figures."""
from contest import Contest
from peers import Kind

POOLED_PROMPTS = 64
PARTS = ("encode", "pair", "threads", "suffix", "cold", "pooled", "tokenizer")


def threads_of(count):
    return f"{count} thread{'s' * (count > 1)}"


def encode(options, threads, batch):
    """All peers with the same prompts. Beside torch stands what is compared with it; what the plot alone wants, more prompts
    than one, has fewer of them."""
    def kind(program, weights, **more):
        return Kind(program, weights, threads, batch, **more)
    kinds = [kind("read", weights) for weights in ("f32", "bf16", "f16") if weights in options.dtypes] if batch == 1 else []
    for weights in ("f32", "bf16", "f16"):
        if weights in ("f32", "bf16") and "torch" in options.peers:
            kinds.append(kind("torch", weights))
        if weights in options.dtypes:
            kinds.append(kind("penult", weights))
            kinds += [kind("penult", weights, arithmetic=name) for name in options.arithmetics if weights != "f32"]
    if "onnxruntime" in options.peers:
        kinds.append(kind("onnxruntime", "f32"))
    if "sdcpp" in options.peers:
        kinds.append(kind("sdcpp", "f16"))
    if batch == 1:
        kinds += [kind("penult", "f8")] * ("f8" in options.dtypes) + [kind("sdcpp", "f32")] * ("sdcpp" in options.peers)
        kinds += [kind("penult", weights, kernels=kernels) for kernels in options.kernels if kernels != "best"
                  for weights in options.dtypes if weights != "f8"]
    return Contest(f"encode/{threads}/{batch}", f"{threads_of(threads)}, {batch} prompt{'s' * (batch > 1)}", tuple(kinds),
                   reference="torch f32")


def arithmetics(options):
    return ["exact", *options.arithmetics]


def fast_weights(arithmetic):
    return "f16" if arithmetic == "exact" else "bf16"


def pair(options, threads):
    kinds = [Kind("penult", fast_weights(name), threads, batch, arithmetic=name, label=f"{name} {words}")
             for name in arithmetics(options) for batch, words in ((1, "prompt"), (2, "positive + negative"))]
    return Contest(f"pair/{threads}", f"{threads_of(threads)}, a negative prompt beside the positive one", tuple(kinds))


def threads(options):
    kinds = [Kind("penult", fast_weights(name), count, arithmetic=name, label=f"{name} {threads_of(count)}")
             for name in arithmetics(options) for count in (1, 2)]
    kinds += [Kind("read", weights, 2, label=f"read {weights} 2 threads")
              for weights in dict.fromkeys(fast_weights(name) for name in arithmetics(options))]
    return Contest("threads", "1 and 2 threads, 1 prompt", tuple(kinds))


def suffix(options, threads):
    kinds = tuple(Kind("penult", "f16", threads, task=task, label=label)
                  for task, label in (("fresh", "another prompt"), ("suffix", "another suffix")))
    return Contest(f"suffix/{threads}", f"{threads_of(threads)}, each time another prompt, or only its last 3 ids others", kinds,
                   alike=False)


def pooled(options, threads):
    kinds = [Kind("penult", "f32", threads, POOLED_PROMPTS, task="pooled")]
    if "torch" in options.peers:
        kinds = [Kind("torch", "f32", threads, POOLED_PROMPTS, task="longest", label="torch longest"), *kinds,
                 Kind("torch", "f32", threads, POOLED_PROMPTS, task="max_length", label="torch max_length")]
    return Contest(f"pooled/{threads}", f"{threads_of(threads)}, {POOLED_PROMPTS} prompts of 5 to 20 ids, pooled only",
                   tuple(kinds), reference="torch max_length")


def cold(options, threads):
    kinds = [Kind("torch", "f32", threads)] * ("torch" in options.peers)
    kinds += [Kind("penult", weights, threads) for weights in options.dtypes]
    kinds += [Kind("torch", "bf16", threads)] * ("torch" in options.peers)
    return Contest(f"cold/{threads}", f"{threads_of(threads)}, cold process to its first result", tuple(kinds), cold=True)


def tokenizer(options):
    kinds = [Kind("tokenizers", "", label="Rust tokenizers")] * ("tokenizers" in options.peers)
    return Contest("tokenizer", "tokenizer, one thread", (*kinds, Kind("penult-tokens", "", label="penult's tokenizer")))


def chosen(options):
    """In the order in which they run: what the goals want most comes first."""
    most = max(options.threads)
    makers = {
        "encode": lambda: [encode(options, count, batch) for batch in options.batches
                           for count in sorted(options.threads, reverse=True)],
        "pair": lambda: [pair(options, most)],
        "threads": lambda: [threads(options)] if most > 1 else [],
        "suffix": lambda: [suffix(options, most)],
        "cold": lambda: [cold(options, most)],
        "pooled": lambda: [pooled(options, most)],
        "tokenizer": lambda: [tokenizer(options)] if "tokenizers" in options.peers else [],
    }
    made = [contest for part in PARTS if part in options.parts for contest in makers[part]()]
    # with one prompt before those that only the plot shows
    return sorted(made, key=lambda contest: contest.name.startswith("encode/") and not contest.name.endswith("/1"))
