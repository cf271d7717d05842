"""test_python_life.py PLUGIN MODEL - penult.py over time: callbacks, cancelling, closing, threads, forks. Prints TAP.

Protects: exceptions and cancels come out where a Python author expects them, and no order of closing, collecting,
threading or forking hangs, crashes or changes a bit. Needs NumPy and nothing else.
"""
import gc
import os
import signal
import sys
import threading
import time
import traceback
import weakref

import numpy as np

from python_host import PROMPTS, main, opened, penult, raises, test


# ---- callbacks and cancelling ---------------------------------------------------------------------------------------

@test
def progress_is_called_for_each_block():
    with opened() as model, penult.Session(model) as session:
        calls = []
        encoded = session.encode("a cat", progress=lambda done, total: calls.append((done, total)))
        assert calls == [(block + 1, model.info.layers) for block in range(model.info.layers)]
        assert np.array_equal(encoded.hidden[-2], session.encode("a cat").hidden[-2])
        calls.clear()
        with opened(copy=True, progress=lambda done, total: calls.append((done, total))):
            assert calls and calls[-1][0] == calls[-1][1] and sorted(calls) == calls


@test
def exceptions_come_out_of_callbacks():
    class Mine(Exception):
        pass

    def throw(*_arguments):
        raise Mine("from inside")

    with opened() as model, penult.Session(model) as session:
        right = session.encode("a cat").hidden[-2]
        for _ in range(3):
            error = raises(Mine, lambda: session.encode("a cat", progress=throw), "from inside")
            assert any(frame.name == "throw" for frame in traceback.extract_tb(error.__traceback__))
            assert np.array_equal(session.encode("a cat").hidden[-2], right)
        raises(penult.Cancelled, lambda: session.encode("a cat", progress=lambda done, _: done == 1), name="CANCELLED")
        raises(KeyboardInterrupt, lambda: session.encode("a cat", progress=interrupt))
        raises(RuntimeError, lambda: session.encode("a", progress=lambda *_: session.encode("b")), "callback")
        assert np.array_equal(session.encode("a cat").hidden[-2], right)
    raises(Mine, lambda: opened(copy=True, progress=throw), "from inside")
    raises(penult.Cancelled, lambda: opened(copy=True, progress=lambda *_: True))


def interrupt(*_arguments):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


@test
def cancel_from_a_thread():
    with opened() as model, penult.Session(model) as session:
        right = session.encode("a cat").hidden[-2]
        session.cancel()  # idle: the next encode is not affected
        assert np.array_equal(session.encode("a cat").hidden[-2], right)

        def progress(done, _total):
            if done == 1:
                other = threading.Thread(target=session.cancel)
                other.start()
                other.join()
        for _ in range(5):
            raises(penult.Cancelled, lambda: session.encode("a cat", progress=progress))
            assert np.array_equal(session.encode("a cat").hidden[-2], right)


# ---- life -----------------------------------------------------------------------------------------------------------

@test
def closing_in_any_order():
    model = opened()
    session = penult.Session(model)
    model.close()
    model.close()
    assert session.encode("a cat").hidden[-2].shape[0] == 1
    raises(ValueError, lambda: model.tokenize("x"), "closed")
    raises(ValueError, lambda: penult.Session(model), "closed")
    session.close()
    session.close()
    session.cancel()
    raises(ValueError, lambda: session.encode("x"), "closed")


def threads_of_this_process():
    return len(os.listdir("/proc/self/task"))


@test
def handles_end_when_nobody_has_them():
    before = threads_of_this_process()
    for _ in range(5):
        model = opened()
        session = penult.Session(model, threads=2)
        session.encode("a cat")
        ended = weakref.ref(session._handle), weakref.ref(model._handle)
        loop = [model, session]
        loop.append(loop)
        del model, session, loop
        gc.collect()
        assert [reference() for reference in ended] == [None, None]
        assert threads_of_this_process() == before
    # An exception that somebody keeps does not keep the session's threads.
    model = opened()
    with penult.Session(model, threads=2) as session:
        kept = raises(penult.PenultError, lambda: session.encode("a", layers=99))
    assert threads_of_this_process() == before and kept.__traceback__ is not None


@test
def a_close_waits_for_the_call():
    model, started = opened(), threading.Event()
    session, results = penult.Session(model), []

    def progress(_done, _total):
        started.set()
        time.sleep(0.02)
    thread = threading.Thread(target=lambda: results.append(session.encode("a cat", progress=progress)))
    thread.start()
    started.wait()
    session.close()
    model.close()
    thread.join()
    assert results and np.isfinite(results[0].hidden[-2]).all()


@test
def threads_with_a_session_each():
    with opened() as model:
        with penult.Session(model, max_prompts=3) as session:
            right = session.encode(PROMPTS)
        failures = []

        def work(number):
            try:
                with penult.Session(model, threads=1 + number % 2, max_prompts=3) as own:
                    for _ in range(20):
                        encoded = own.encode(PROMPTS)
                        assert np.array_equal(encoded.hidden[-2], right.hidden[-2])
                        assert np.array_equal(encoded.pooled["projected"], right.pooled["projected"])
                        assert len(model.tokenize(PROMPTS[number % 3]).ids) == 77
                        np.ones((64, 64)) @ np.ones((64, 64))  # NumPy's own OpenBLAS at the same time
            except BaseException as error:  # noqa: BLE001
                failures.append(error)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures


@test
def threads_that_share_a_session_wait():
    with opened() as model, penult.Session(model) as session:
        right = session.encode("a cat").hidden[-2]
        results = []
        threads = [threading.Thread(target=lambda: results.append(session.encode("a cat").hidden[-2]))
                   for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 6 and all(np.array_equal(result, right) for result in results)


@test
def the_child_of_a_fork_gets_an_error():
    with opened() as model, penult.Session(model, threads=2) as session:
        right = session.encode("a cat").hidden[-2]
        child = os.fork()
        if child == 0:
            code = 1
            try:
                signal.alarm(20)
                raises(penult.PenultError, lambda: session.encode("a cat"), name="WRONG_PROCESS")
                session.close()
                model.close()
                with opened() as own, penult.Session(own) as fresh:
                    code = 0 if np.array_equal(fresh.encode("a cat").hidden[-2], right) else 2
            finally:
                os._exit(code)
        _pid, status = os.waitpid(child, 0)
        assert status == 0, f"the child ended with {status}"
        assert np.array_equal(session.encode("a cat").hidden[-2], right)


@test
def sizes_are_measured_and_refused():
    with opened() as model:
        assert 0 < model.measure(threads=1) < model.measure(threads=1, max_prompts=16)
        raises(ValueError, lambda: penult.Session(model, threads=-1), "-1")
        raises(ValueError, lambda: penult.Session(model, max_prompts=2**32), "4294967296")
        raises(penult.PenultError, lambda: penult.Session(model, threads=257), "257", name="LIMIT")
        with penult.Session(model, max_text_bytes=8) as session:
            raises(penult.PenultError, lambda: session.encode("nine bytes"), "8", "10", name="LIMIT")


if __name__ == "__main__":
    sys.exit(main())
