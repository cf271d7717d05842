"""The same prompt gives the same bits: alone or in a batch, with any number of threads, whatever else is asked for.

Each check yields (name, passed, detail). Owns which equalities are promised; values are run.py's business.
"""
import numpy as np

from plugin import encode, penult, same_bits

CHOSEN = ("a photo of an astronaut riding a horse on mars", "cat")
OTHERS = ("a", "the quick brown fox , oil painting", "", "two dogs in the snow by a river " * 8,
          "caf\u00e9 \U0001f63a", "cat", "a golden castle above dark water, epic, 8k")


def row(result, index):
    return {name: value[index:index + 1] for name, value in result.items()}


def checks(directory, tokenizer, library, prompts=CHOSEN):
    with penult.Model(directory, tokenizer=tokenizer, library=library) as model:
        yield from _batches(model, prompts)
        yield from _threads(model, prompts)
        yield from _selections(model, prompts[0])
        yield from _inputs(model, prompts[0])
        yield from _dtypes(model, prompts[0])
        with penult.Session(model) as mapped, penult.Model(directory, tokenizer=tokenizer, copy=True,
                                                           library=library) as copied, penult.Session(copied) as other:
            yield "mapped and copied weights", same_bits(encode(mapped, prompts[:1]), encode(other, prompts[:1])), ""


def _batches(model, prompts):
    with penult.Session(model, max_prompts=1) as alone, penult.Session(model, max_prompts=8) as batch:
        for prompt in prompts:
            wanted = encode(alone, [prompt])
            bad = []
            for index in range(8):
                filled = [*OTHERS[:index], prompt, *OTHERS[index:]]
                if not same_bits(row(encode(batch, filled), index), wanted):
                    bad.append(index)
            name = f"alone and at each index of a batch of 8: {prompt[:20]!r}"
            yield name, not bad, f"differs at {bad}" if bad else ""
            again = [same_bits(encode(alone, [prompt]), wanted) for _ in range(3)]
            yield f"again in the same session: {prompt[:20]!r}", all(again), ""


def _threads(model, prompts):
    batch = [*prompts, *OTHERS][:8]
    results = {}
    for threads in (1, 2, 3, 5):
        with penult.Session(model, threads=threads, max_prompts=len(batch)) as session:
            results[threads] = encode(session, batch)
    for threads in (2, 3, 5):
        yield f"1 and {threads} threads, batch of {len(batch)}", same_bits(results[1], results[threads]), ""


def _selections(model, prompt):
    last = model.info.layers
    batch = [prompt, *OTHERS[:2]]
    with penult.Session(model, max_prompts=len(batch)) as session:
        everything = encode(session, batch)
        pooled = [name for name in everything if name.startswith("pooled")]
        for names in (["hidden 0"], ["hidden 1"], [f"hidden {last - 1}"], [f"hidden {last}"], ["skip"], ["last"],
                      pooled[:1], pooled[-1:], pooled, [f"hidden {last - 1}", pooled[-1]], ["hidden 1", "last"]):
            wanted = {name: everything[name] for name in names}
            yield f"only {' and '.join(names)}", same_bits(encode(session, batch, names), wanted), ""


def _inputs(model, prompt):
    with penult.Session(model) as session:
        ids = model.tokenize(prompt).ids
        wanted = encode(session, [prompt])
        yield "as text and as ids", same_bits(encode(session, [ids]), wanted), ""


def _dtypes(model, prompt):
    with penult.Session(model) as session:
        wanted = encode(session, [prompt])
        half = encode(session, [prompt], dtype="float16")
        with np.errstate(over="ignore"):
            rounded = {name: value.astype(np.float16) for name, value in wanted.items()}
        yield "float16 outputs are the float32 ones, rounded", same_bits(half, rounded), ""
        brain = encode(session, [prompt], dtype="bfloat16")
        rounded = {name: to_bfloat16(value) for name, value in wanted.items()}
        yield "bfloat16 outputs are the float32 ones, rounded", same_bits(brain, rounded), ""


def to_bfloat16(values):
    """To nearest, ties to even, as uint16; finite values only."""
    bits = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def forms(directories, tokenizer, library):
    """The same weights under three namings: what all of them have must have the same bits."""
    results = {}
    for form, directory in directories.items():
        with penult.Model(directory, tokenizer=tokenizer, library=library) as model, penult.Session(model) as session:
            results[form] = encode(session, ["a photo of a cat"])
    wanted = {name: value for name, value in results.pop("projection").items()
              if name not in ("pooled projected", "pooled normalised")}
    for form, result in results.items():
        yield f"a file of form {form!r} and one of form 'projection'", same_bits(result, wanted), ""

