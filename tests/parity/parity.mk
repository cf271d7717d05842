# parity.mk - the parity run and the goldens. For the Makefile at the root to include; uses B (the build folder, default
# build) and PYTHON (one that has NumPy, default python3).
#
#   make parity          the plugin against transformers, every layout small, and conditioning files in the safetensors
#                        package; REFERENCE_PYTHON=... takes an interpreter that has the pinned packages instead of
#                        building $(B)/reference; PARITY_OPTIONS=... goes to run.py
#   make parity-record   the same, and writes tests/parity/RESULTS.md
#   make parity-full     bigG's text tower at its true geometry, values and bits, in every kernel set: 12 minutes,
#                        5.6 GB of disk, 9 GiB of memory; PARITY_FULL_OPTIONS=... goes to full.py
#   make parity-full-record   the same, and writes tests/parity/RESULTS-FULL.md
#   make parity-layouts  every layout at full size, against the library whose layout it is: 20 minutes, 10 GB of disk, 13 GiB
#                        of memory; PARITY_LAYOUTS_OPTIONS=... goes to layouts.py
#   make parity-layouts-record   the same, and writes tests/parity/RESULTS-LAYOUTS.md
#   make parity-condition   every recipe against the hosts that make it, at full geometry: 10 minutes of two CPUs, 2.5 GB of disk,
#                        10 GiB of memory; PARITY_CONDITION_OPTIONS=... goes to condition.py. make parity runs it narrow
#   make parity-condition-record   the same, and writes tests/parity/RESULTS-CONDITION.md
#   make check-real MODEL=path [TOWER=name] [ACTIVATION=gelu]   your checkpoint in Penult and in a reference library
#   make check-golden    the plugin against recorded values; needs no torch
#   make parity-diffusers   pictures of diffusers' pipelines with full-size towers: 10 minutes of two CPUs, 2 GB of disk, 7 GiB of
#                        memory; PARITY_DIFFUSERS_OPTIONS=... goes to test_diffusers.py. make parity runs it small
#   make parity-diffusers-record   the same, and writes tests/parity/RESULTS-DIFFUSERS.md

B ?= build
PYTHON ?= python3
REFERENCE_PYTHON ?=
PARITY_OPTIONS ?=
PARITY_FULL_OPTIONS ?=
PARITY_LAYOUTS_OPTIONS ?=
PARITY_CONDITION_OPTIONS ?=
TOWER ?=
ACTIVATION ?=
PARITY_DIFFUSERS_OPTIONS ?=

parity_python = python=$$(tests/parity/environment.sh $(B)/reference $(REFERENCE_PYTHON)) && \
	PYTHONDONTWRITEBYTECODE=1 "$$python"
parity_run = $(parity_python) tests/parity/run.py --plugin $(B)/penult.so --work $(B)/parity
parity_full_run = $(parity_python) tests/parity/full.py --plugin $(B)/penult.so --haswell $(B)/haswell/penult.so \
	--work $(B)/parity
parity_layouts_run = $(parity_python) tests/parity/layouts.py --plugin $(B)/penult.so --work $(B)/parity/layouts
parity_diffusers_run = $(parity_python) tests/parity/test_diffusers.py --plugin $(B)/penult.so --work $(B)/parity/diffusers
parity_condition_run = $(parity_python) tests/parity/condition.py --plugin $(B)/penult.so --work $(B)/parity/condition

.PHONY: parity parity-record parity-full parity-full-record parity-haswell parity-layouts parity-layouts-record
.PHONY: parity-diffusers parity-diffusers-record parity-condition parity-condition-record check-real check-golden
parity: $(B)/penult.so $(B)/penult
	$(parity_run) $(PARITY_OPTIONS)
	$(parity_layouts_run)
	$(parity_python) tests/parity/conditioning.py $(B)/penult $(B)/parity/conditioning
	$(parity_diffusers_run) --small
	$(parity_condition_run)

parity-record: $(B)/penult.so
	$(parity_run) --record $(PARITY_OPTIONS)
	$(parity_layouts_run)
	$(parity_condition_run)

# A second plugin, whose OpenBLAS is forced to the kernels that it would take on a CPU with AVX2. Its own make knows
# what it depends on.
parity-haswell:
	@$(MAKE) --no-print-directory B=$(B)/haswell BLAS_CORETYPE=Haswell $(B)/haswell/penult.so

parity-full: $(B)/penult.so parity-haswell
	$(parity_full_run) $(PARITY_FULL_OPTIONS)

parity-full-record: $(B)/penult.so parity-haswell
	$(parity_full_run) --record $(PARITY_FULL_OPTIONS)

parity-layouts: $(B)/penult.so
	$(parity_layouts_run) --full $(PARITY_LAYOUTS_OPTIONS)

parity-layouts-record: $(B)/penult.so
	$(parity_layouts_run) --full --record $(PARITY_LAYOUTS_OPTIONS)

parity-diffusers: $(B)/penult.so
	$(parity_diffusers_run) $(PARITY_DIFFUSERS_OPTIONS)

parity-diffusers-record: $(B)/penult.so
	$(parity_diffusers_run) --record $(PARITY_DIFFUSERS_OPTIONS)

parity-condition: $(B)/penult.so
	$(parity_condition_run) --full $(PARITY_CONDITION_OPTIONS)

parity-condition-record: $(B)/penult.so
	$(parity_condition_run) --full --record $(PARITY_CONDITION_OPTIONS)

check-real: $(B)/penult.so
	@test "$(origin MODEL)" = "command line" -o "$(origin MODEL)" = environment || { echo "make check-real MODEL=path [TOWER=name]: which checkpoint?" >&2; exit 2; }
	$(parity_python) tests/parity/check_real.py $(if $(TOWER),--tower "$(TOWER)") \
		$(if $(ACTIVATION),--activation "$(ACTIVATION)") --plugin $(B)/penult.so "$(MODEL)"

check-golden: $(B)/penult.so
	PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/parity/test_golden.py $(B)/penult.so
