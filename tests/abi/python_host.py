"""python_host.py - what the tests of penult.py share: the plugin and model of the command line, a way to expect an
exception, and a runner that prints TAP. Knows nothing of what is tested."""
import signal
import sys
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "api"))
sys.dont_write_bytecode = True
import penult  # noqa: E402

if len(sys.argv) != 3:
    sys.exit(f"usage: {sys.argv[0]} PLUGIN MODEL")
LIBRARY, MODEL = penult.Library(sys.argv[1]), sys.argv[2]
PROMPTS = ["a photo of a cat", "caf\u00e9, 8k!", ""]
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def raises(kind, function, *words, **attributes):
    """The call raises exactly this kind, and its message has every one of the words."""
    try:
        function()
    except kind as error:
        for word in words:
            assert word in str(error), f"{error!r} does not say {word!r}"
        for name, value in attributes.items():
            assert getattr(error, name) == value, f"{name} is {getattr(error, name)!r}, not {value!r}"
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def opened(**options):
    return penult.Model(MODEL, library=LIBRARY, **options)


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits an ignored one
    print("TAP version 13")
    failed = 0
    for number, function in enumerate(TESTS, 1):
        try:
            function()
            print(f"ok {number} - {function.__name__}", flush=True)
        except BaseException:  # noqa: BLE001 - also KeyboardInterrupt, which one test provokes
            failed += 1
            print(f"not ok {number} - {function.__name__}")
            print("\n".join("# " + line for line in traceback.format_exc().splitlines()), flush=True)
    print(f"1..{len(TESTS)}")
    return 1 if failed else 0
