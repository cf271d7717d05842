# parity.mk - the parity run and the goldens. For the Makefile at the root to include; uses B (the build folder, default
# build) and PYTHON (one that has NumPy, default python3).
#
#   make parity          the plugin against transformers; REFERENCE_PYTHON=... takes an interpreter that has the pinned
#                        packages instead of building $(B)/reference; PARITY_OPTIONS=... goes to run.py
#   make parity-record   the same, and writes tests/parity/RESULTS.md
#   make check-golden    the plugin against recorded values; needs no torch

B ?= build
PYTHON ?= python3
REFERENCE_PYTHON ?=
PARITY_OPTIONS ?=

parity_run = python=$$(tests/parity/environment.sh $(B)/reference $(REFERENCE_PYTHON)) && \
	PYTHONDONTWRITEBYTECODE=1 "$$python" tests/parity/run.py --plugin $(B)/penult.so --work $(B)/parity

.PHONY: parity parity-record check-golden
parity: $(B)/penult.so
	$(parity_run) $(PARITY_OPTIONS)

parity-record: $(B)/penult.so
	$(parity_run) --record $(PARITY_OPTIONS)

check-golden: $(B)/penult.so
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/parity/test_golden.py $(B)/penult.so
