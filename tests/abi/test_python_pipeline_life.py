"""test_python_pipeline_life.py PLUGIN MODEL - penult.Pipeline over time: cache, callbacks, cancelling, closing, threads, forks.
Prints TAP.

Protects: what comes from the cache has the bits that were computed, whatever was asked, cancelled or refused in between; and
no order of closing, threading or forking hangs, crashes or changes a bit. Needs NumPy only.
"""
import os
import random
import signal
import sys
import threading
import time

import numpy as np

from python_host import main, opened, penult, raises, test
from python_pipeline import MODELS, OTHER, PROMPT, RECIPES, pipeline, same_bits


def threads_of_this_process():
    return len(os.listdir("/proc/self/task"))


# ---- cache ----------------------------------------------------------------------------------------------------------

@test
def what_was_seen_costs_a_copy():
    for recipe in RECIPES:
        with pipeline(recipe) as keeps, pipeline(recipe, cache=False) as forgets:
            first = keeps.condition(PROMPT, OTHER)
            assert first.cached_count == 0 and first.blocks_run > 0
            second = keeps.condition(PROMPT, OTHER)
            assert second.cached_count == len(second.windows) == len(first.windows) and second.blocks_run == 0
            assert all(window.cached for window in second.windows)
            same_bits(second.tensors, first.tensors)
            for _ in range(2):
                again = forgets.condition(PROMPT, OTHER)
                assert again.cached_count == 0 and again.blocks_run == first.blocks_run
                same_bits(again.tensors, first.tensors)
            assert forgets.info.cache_windows == 0 and keeps.info.cache_windows > 0
            # the other way round: both windows are known, for what they are
            turned = keeps.condition(OTHER, PROMPT)
            if RECIPES[recipe].unconditional != "zero_always":
                assert turned.blocks_run == 0
            same_bits(turned.tensors, forgets.condition(OTHER, PROMPT).tensors)


@test
def a_window_is_known_by_what_was_wanted():
    with pipeline("sdxl") as keeps, pipeline("sdxl", cache=False) as forgets:
        steps = [dict(tensors="pooled_prompt_embeds"), dict(tensors="prompt_embeds"), dict(), dict(clip_skip=1),
                 dict(clip_skip=1, tensors="negative_prompt_embeds"), dict(tensors="vector"), dict(clip_skip=2), dict(),
                 dict(dtype="float16"), dict(target_size=(64, 64))]
        for step in steps * 2:
            same_bits(keeps.condition(PROMPT, PROMPT, **step).tensors, forgets.condition(PROMPT, PROMPT, **step).tensors)
    # one more thing wanted of a known window: it is computed again, and both are kept
    with pipeline("sdxl-refiner") as keeps:
        assert keeps.condition(PROMPT, tensors="prompt_embeds").blocks_run == 3
        assert keeps.condition(PROMPT, tensors="vector").blocks_run == 4
        assert keeps.condition(PROMPT, tensors=("prompt_embeds", "vector")).blocks_run == 0


@test
def any_order_of_calls_gives_the_same_bits():
    """A cache of a few windows, which older ones have to leave; prompts, skips, tensors and cancels in any order."""
    chance = random.Random(6)
    texts = ["", PROMPT, OTHER, "a (red:1.3) cat", "[grey] dog", "x, " * 60, "a BREAK b", "(a:0)"]
    for recipe in ("sdxl@a1111", "sdxl@comfyui", "sdxl@compel", "sdxl", "cascade-prior"):
        small = pipeline(recipe).info.bytes - pipeline(recipe, cache_bytes=1).info.bytes
        with pipeline(recipe, cache_bytes=small // 40, threads=2) as keeps, pipeline(recipe, cache=False) as forgets:
            assert 0 < keeps.info.cache_windows < 20
            names = list(keeps.tensors())
            for _ in range(60):
                request = dict(prompt=chance.choice(texts), negative=chance.choice([None, *texts]),
                               prompt_2=chance.choice([None, *texts]), tensors=chance.sample(names, chance.randint(1, 3)))
                skips = {"layer": (1, 2, 3), "index": (-1, -2, -3), "more": (0, 1, 2)}.get(keeps.recipe.skip)
                if skips and chance.random() < 0.5:
                    request["clip_skip"] = chance.choice(skips)
                if chance.random() < 0.2:
                    stop = chance.randint(1, 6)
                    try:
                        keeps.condition(**request, progress=lambda done, _: done == stop)
                    except penult.Cancelled:
                        pass
                made, right = keeps.condition(**request), forgets.condition(**request)
                same_bits(made.tensors, right.tensors)
                assert made.blocks_run <= right.blocks_run and right.cached_count == 0


# ---- callbacks and cancelling ---------------------------------------------------------------------------------------

@test
def progress_is_called_for_each_block():
    for recipe in RECIPES:
        with pipeline(recipe) as made_by:
            calls = []
            made = made_by.condition(PROMPT, progress=lambda done, total: calls.append((done, total)))
            assert calls == [(block + 1, made.blocks_run) for block in range(made.blocks_run)]
            calls.clear()
            made_by.condition(PROMPT, progress=lambda *call: calls.append(call))
            assert not calls


@test
def exceptions_come_out_of_callbacks():
    class Mine(Exception):
        pass

    def throw(*_arguments):
        raise Mine("from inside")

    def interrupt(*_arguments):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)

    right = pipeline().condition(PROMPT, OTHER).tensors
    for cache in (True, False):
        with pipeline(threads=2, cache=cache) as made_by:
            for block in range(1, 5 if cache else 8):  # three of the first tower, four of the second
                raises(penult.Cancelled, lambda: made_by.condition(PROMPT, OTHER, progress=lambda done, _: done >= block),
                       name="CANCELLED")
            if cache:  # by now the first tower's windows are known
                assert made_by.condition(PROMPT, OTHER).cached_count == 2
            same_bits(made_by.condition(PROMPT, OTHER).tensors, right)
            raises(Mine, lambda: made_by.condition("a", "b", progress=throw), "from inside")
            raises(KeyboardInterrupt, lambda: made_by.condition("c", "d", progress=interrupt))
            for call in (lambda: made_by.condition("f"), lambda: made_by.plan("f")):
                raises(RuntimeError, lambda: made_by.condition("e", progress=lambda *_: call()), "callback")
            same_bits(made_by.condition(PROMPT, OTHER).tensors, right)


@test
def cancel_from_a_thread():
    right = pipeline().condition(PROMPT).tensors
    with pipeline(cache=False) as made_by:
        made_by.cancel()  # idle: the next call is not affected
        same_bits(made_by.condition(PROMPT).tensors, right)

        def progress(done, _total):
            if done == stop:
                other = threading.Thread(target=made_by.cancel)
                other.start()
                other.join()
        for stop in range(1, 7):  # in the first tower, between them, in the second
            raises(penult.Cancelled, lambda: made_by.condition(PROMPT, progress=progress))
            same_bits(made_by.condition(PROMPT).tensors, right)


# ---- life -----------------------------------------------------------------------------------------------------------

@test
def memory_is_what_was_measured():
    for recipe, row in RECIPES.items():
        models = {tower.name: MODELS[tower.name] for tower in row.towers}
        for options in (dict(), dict(cache=False), dict(max_windows=3, threads=2), dict(cache_bytes=2**20, dialect="compel")):
            with penult.Pipeline(recipe, models, **options) as made_by:
                assert made_by.info.bytes == penult.Pipeline.measure(recipe, models, **options)
                assert made_by.info.max_windows == options.get("max_windows", 8)
    few, many = (penult.Pipeline.measure("sd1", {"clip_l": MODELS["clip_l"]}, max_windows=count) for count in (1, 16))
    assert 0 < few < many
    raises(penult.PenultError, lambda: penult.Pipeline.measure("sdxl", {"clip_l": MODELS["clip_l"]}), "found 1",
           name="ARGUMENT")


@test
def closing_in_any_order():
    before = threads_of_this_process()
    clip_l, clip_g = opened(activation="quick_gelu"), opened()
    made_by = penult.Pipeline("sdxl", {"clip_l": clip_l, "clip_g": clip_g}, threads=2)
    clip_l.close()
    clip_g.close()
    same_bits(made_by.condition(PROMPT).tensors, pipeline().condition(PROMPT).tensors)
    assert threads_of_this_process() > before
    made_by.close()
    made_by.close()
    made_by.cancel()
    assert threads_of_this_process() == before
    for call in (lambda: made_by.condition("x"), lambda: made_by.plan("x"), made_by.tensors):
        raises(ValueError, call, "closed")
    with pipeline(threads=2) as made_by:
        kept = raises(penult.PenultError, lambda: made_by.condition("x", clip_skip=99))
    assert threads_of_this_process() == before and kept.__traceback__ is not None


@test
def a_close_waits_for_the_call():
    started, results = threading.Event(), []
    made_by = pipeline(threads=2)

    def progress(_done, _total):
        started.set()
        time.sleep(0.02)
    thread = threading.Thread(target=lambda: results.append(made_by.condition(PROMPT, progress=progress)))
    thread.start()
    started.wait()
    made_by.close()
    thread.join()
    same_bits(results[0].tensors, pipeline().condition(PROMPT).tensors)


@test
def threads_share_a_pipeline_or_have_their_own():
    right = {text: pipeline("sdxl@comfyui").condition(text).tensors for text in (PROMPT, OTHER, "a (red:1.3) cat")}
    failures = []
    with pipeline("sdxl@comfyui", threads=2) as shared:
        def work(number):
            try:
                with pipeline("sdxl@comfyui", threads=1 + number % 2) as own:
                    for at in range(12):
                        text = list(right)[(at + number) % 3]
                        same_bits((shared if at % 2 else own).condition(text).tensors, right[text])
                        assert shared.plan(text).chunks == 1 and shared.tensors()["vector"] == (1, 1664)
            except BaseException as error:  # noqa: BLE001
                failures.append(error)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures, failures


@test
def the_child_of_a_fork_gets_an_error():
    with pipeline(threads=2) as made_by:
        right = made_by.condition(PROMPT).tensors
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(20)
                raises(penult.PenultError, lambda: made_by.condition(PROMPT), name="WRONG_PROCESS")
                raises(penult.PenultError, lambda: made_by.plan(PROMPT), name="WRONG_PROCESS")
                made_by.cancel()
                made_by.close()
                with pipeline() as own:
                    same_bits(own.condition(PROMPT).tensors, right)
                code = 0
            finally:
                os._exit(code)
        _pid, status = os.waitpid(child, 0)
        assert status == 0, f"the child ended with {status}"
        same_bits(made_by.condition(PROMPT).tensors, right)
        assert np.array_equal(made_by.condition(PROMPT, tensors="vector").tensors["vector"], right["vector"])


if __name__ == "__main__":
    sys.exit(main())
