"""One prompt's bits are its own, at full width and in every kernel set: who else is in the batch and where, how many
threads there are, what else is asked for, where the encode stops early and how often it ran before.

Each check yields (name, passed, detail). Owns which sessions are compared; values are full.py's business.
"""
from plugin import encode, penult, same_bits

THREADS = (1, 2, 3, 5)
NAMED = ", bf16"  # behind a set's name: in the arithmetic of that name
PROMPTS = ("a photo of an astronaut riding a horse on mars", "cat", "", "two dogs in the snow by a river " * 8,
           "caf\u00e9 \U0001f63a, oil painting", "a golden castle above dark water, epic, 8k", "b",
           "portrait of an old wizard")


def row(result, index):
    return {name: value[index:index + 1] for name, value in result.items()}


def kernel_sets(model):
    """What this CPU can run, lowest first, by the names of Session's kernels. OpenBLAS is taken to be there; `differ`
    finds out."""
    sets = ("scalar", "openblas", "avx2", "avx512", "amx")
    best = {"amx": 5, "avx512": 4, "avx2": 3}.get(model.info.kernels, 2)
    return sets[:best]


def sessions(model, how, threads, most):
    """how: {"kernels": ..., "arithmetic": ...}, as all functions here take it."""
    return penult.Session(model, threads=threads, max_prompts=most, **how)


def alone(model, how, names=None):
    """Each prompt by itself, on one thread, in a session that did nothing before."""
    results = []
    for prompt in PROMPTS:
        with sessions(model, how, 1, 1) as session:
            results.append(encode(session, [prompt], names))
    return results


def batches(model, how, wanted, threads, counts, turns, names=None):
    """Batches of `counts` prompts with each number of threads. turns(count): by how many places the prompts are shifted
    in one batch after the other; with all of range(count), each prompt of the batch stands at each index."""
    for number in threads:
        bad, encoded = [], 0
        with sessions(model, how, number, max(counts)) as session:
            for count in counts:
                for turn in turns(count):
                    order = [(index + turn) % count for index in range(count)]
                    found = encode(session, [PROMPTS[index] for index in order], names)
                    encoded += count
                    bad += [f"prompt {prompt} at {index} of {count}" for index, prompt in enumerate(order)
                            if not same_bits(row(found, index), wanted[prompt])]
        yield (f"batches of {spell(counts)}, {number} thread{'s' * (number > 1)}, {encoded} prompts"
               f"{', one block' if names else ''}", not bad, "; ".join(bad[:4]))


def spell(counts):
    counts = list(counts)
    if counts == list(range(counts[0], counts[-1] + 1)) and len(counts) > 2:
        return f"{counts[0]} to {counts[-1]}"
    return ", ".join(map(str, counts))


def selections(model, how, wanted):
    """One session, asked for one thing after the other, so that each follows another one's early stop."""
    last = model.info.layers
    names = list(wanted[0])
    pooled = [name for name in names if name.startswith("pooled")]
    asked = [*([name] for name in names), pooled, [f"hidden {last - 1}", pooled[-1]], ["hidden 1", "last"],
             ["hidden 1"], names]
    bad = []
    with sessions(model, how, 2, 2) as session:
        for some in asked:
            found = encode(session, PROMPTS[:2], some)
            for index in range(2):
                if not same_bits(row(found, index), {name: wanted[index][name] for name in some}):
                    bad.append(" and ".join(some))
    yield f"{len(asked)} choices of outputs, early stops among them", not bad, "; ".join(bad[:4])


def calls(model, how, wanted, count, names=None):
    """The same call over and over in one session, each result compared."""
    wanted = {name: wanted[0][name] for name in names} if names else wanted[0]
    bad = []
    with sessions(model, how, 2, 1) as session:
        for number in range(1, count + 1):
            if not same_bits(encode(session, PROMPTS[:1], names), wanted):
                bad.append(str(number))
    yield (f"call 1 to {count} of one session{', one block' if names else ''}", not bad,
           f"differs at call {', '.join(bad[:4])}" if bad else "")


def differ(results):
    """results: {set: its result}. That the sets are different kernels and not one under several names: they add in
    different orders. AVX2 and AVX-512 add in the same one, so nothing is said of those two; nor of OpenBLAS
    forced to AVX2 where it would take nothing else. And that the named arithmetic is
    another one than the exact."""
    forced = [("openblas", "openblas as AVX2")] if "avx512" in results else []
    pairs = [("scalar", "openblas"), *forced, ("scalar", "avx2"), ("openblas", "avx2"),
             *((name.removesuffix(NAMED), name) for name in results if name.endswith(NAMED))]
    for one, other in pairs:
        if one in results and other in results:
            yield f"{one} and {other} are not the same kernels", not same_bits(results[one], results[other]), ""


def every_index(count):
    return range(count)


def one_turn(count):
    return (count // 2,)


def at_full_width(model, how, thorough):
    """A model of full width and a few blocks. `thorough`: all that is promised; else what could depend on how weights
    are stored."""
    wanted = alone(model, how)
    first = ["hidden 0", "hidden 1"]
    first_only = [{name: result[name] for name in first} for result in wanted]
    if how["kernels"] == "scalar":  # 6 GFLOP/s: one number of threads, one block, and all places in the largest batch only
        yield from batches(model, how, first_only, (2,), range(1, 9),
                           lambda count: every_index(count) if count == 8 else one_turn(count), first)
        yield from batches(model, how, wanted, (2,), (3,), one_turn)
        return
    if thorough:
        yield from batches(model, how, first_only, (2,), range(1, 9), every_index, first)
        yield from batches(model, how, wanted, THREADS, range(1, 9), one_turn)
        yield from selections(model, how, wanted)
        yield from calls(model, how, wanted, 20)
    else:
        yield from batches(model, how, wanted, THREADS, (1, 3, 8), one_turn)


def throughout(model, how):
    """A small model: everything, with every number of threads."""
    wanted = alone(model, how)
    if how["kernels"] == "scalar":
        yield from batches(model, how, wanted, (2,), range(1, 9), every_index)
    else:
        yield from batches(model, how, wanted, THREADS, range(1, 9), every_index)
    yield from selections(model, how, wanted)
    yield from calls(model, how, wanted, 1000)
