#!/usr/bin/env python3
"""test_command.py - build/penult as people and scripts use it, with the model that ships. Prints TAP.

    python3 tests/command/test_command.py [case...]

Needs NumPy. The cases are in the cases_ files beside this one.
"""
import signal
import sys

import cases_condition  # noqa: F401
import cases_conditioning_file  # noqa: F401
import cases_failures  # noqa: F401 - importing is what adds the cases
import cases_options  # noqa: F401
import cases_outputs  # noqa: F401
import cases_prompts  # noqa: F401
import cases_terminal  # noqa: F401
import harness

if __name__ == "__main__":
    # whoever started us in the background may have it ignored, and then so would each command
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(harness.main())
