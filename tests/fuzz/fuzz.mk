# fuzz.mk - fuzz targets: any bytes at the parsers, the tokenizer and the ABI. For tests.mk to include; uses the Makefile's
# variables.
#
#   make fuzz            every target under libFuzzer with ASan and UBSan, for FUZZ_SECONDS=60 each; FUZZ_RUNS=n for n
#                        executions each instead; FUZZ_TARGET="config api" only those; FUZZ_JOBS=2 as many at once.
#                        Needs clang. What it finds, the corpus and the ledger stay in build/fuzzing/fuzz. A target
#                        counts as one test.
#   make fuzz-replay     the seeds and every past finding once, and some thousand inputs made of them: with sanitizers and
#                        with the flags of a release. Any compiler; half a minute.
#
# Targets are fuzz_NAME.c; tests/fuzz/LOG.md has what was run.

FUZZ_SECONDS ?= 60
FUZZ_RUNS ?=
FUZZ_JOBS ?= 1
FUZZ_REPLAY_RUNS ?= 5000
FUZZ_TARGETS = safetensors index layout config vocab vocab_compact tokenizer_json prompt weights conditioning condition api
FUZZ_TARGET ?= $(FUZZ_TARGETS)

FUZZ_SHARED = $(patsubst tests/fuzz/%.c,$(B)/harness/%.o,$(wildcard tests/fuzz/fuzz.c tests/fuzz/json_mutate.c tests/fuzz/parts.c \
    tests/fuzz/tokens.c))
FUZZ_HEADERS = $(wildcard tests/fuzz/*.h)
FUZZ_WRAPPED = malloc calloc realloc free mmap munmap
FUZZ_WRAPPED_safetensors = pread
FUZZ_WRAPPED_api = pread open fstat stat lstat mprotect madvise pthread_create kernels_choose \
    workers_open workers_close workers_run worker_each
FUZZ_MORE_api = tests/fuzz/api_encode.c tests/fuzz/api_system.c tests/fuzz/api_workers.c \
    tests/fuzz/api_world.c $(PLUGIN_OBJECTS)
# the command's reader: what it is made of, and the decoder of UTF-8 beside the pictures
FUZZ_MORE_conditioning = $(patsubst %,$(B)/obj/samples/%.o,penult/conditioning_file penult/conditioning_tokens penult/json_read \
    penult/tensor picture/text picture/canvas picture/font_6x13)
FUZZ_LIBRARIES_conditioning = -lcjson
FUZZ_WRAPPED_condition = kernels_choose workers_open workers_close workers_run worker_each
FUZZ_MORE_condition = tests/fuzz/condition_world.c tests/fuzz/api_workers.c $(PLUGIN_OBJECTS)
FUZZ_CFLAGS = -std=c11 -D_GNU_SOURCE -O2 -g $(WARNINGS) $(HARDENING) $(CFLAGS)

# The loops of the arithmetic branch on sizes alone: tracing each turn takes most of an encode's time and shows nothing.
ifneq ($(findstring fuzzer,$(SANITIZE))$(findstring coverage,$(CFLAGS)),)
$(B)/obj/encoder/kernels/%.o: override CFLAGS = -fno-sanitize=fuzzer-no-link
FUZZ_UNSEEN = -fno-sanitize=fuzzer-no-link
endif
# nor does what the targets share: mutators and checks
$(B)/harness/%.o: tests/fuzz/%.c $(FUZZ_HEADERS)
	@mkdir -p $(@D)
	$(call say,CC  ,$<)
	$(Q)$(CC) $(filter-out -fsanitize-coverage=%,$(FUZZ_CFLAGS)) $(FUZZ_UNSEEN) -c -o $@ $<

# $(1): the kind, fuzz or replay; $(2): the target; $(3): what makes it that kind
define fuzz_program
$(B)/$(1)/$(2): tests/fuzz/fuzz_$(2).c $(FUZZ_SHARED) $(FUZZ_MORE_$(2)) $(ENGINE_OBJECTS) $(3) $(FUZZ_HEADERS)
	@mkdir -p $$(@D)
	$$(call say,FUZZ,$$@)
	$$(Q)$$(CC) $$(FUZZ_CFLAGS) $(if $(filter fuzz,$(1)),-fsanitize=fuzzer) -o $$@ $$(filter %.c %.o,$$^) $$(BLAS_LINK) \
	    $$(UTF8PROC) $$(patsubst %,-Wl$$(comma)--wrap=%,$$(FUZZ_WRAPPED) $$(FUZZ_WRAPPED_$(2))) $$(FUZZ_LIBRARIES_$(2)) -lm -pthread
endef
$(foreach target,$(FUZZ_TARGETS),$(eval $(call fuzz_program,fuzz,$(target),)))
$(foreach target,$(FUZZ_TARGETS),$(eval $(call fuzz_program,replay,$(target),tests/fuzz/replay.c)))

# OpenBLAS is left out: it is not instrumented, and parsers and ABI are what is asked. Some targets go without the traces of
# comparisons, which took 60 % of their time (a trace for each of UBSan's own checks too): the input of `api` is a table of
# calls, in which there is nothing to match, and the mutators of `prompt`, `weights`, `condition` and `vocab` hold the words that
# matter.
FUZZ_BUILD = OPENBLAS= CC=clang
FUZZ_TRACED = B=$(B)/fuzzing SANITIZE=address,undefined,fuzzer-no-link
FUZZ_UNTRACED = B=$(B)/fuzzing/untraced SANITIZE=address,undefined CFLAGS=-fsanitize-coverage=inline-8bit-counters,pc-table,indirect-calls
FUZZ_UNTRACED_TARGET = $(filter api condition layout prompt weights vocab,$(FUZZ_TARGET))
FUZZ_TRACED_TARGET = $(filter-out api condition layout prompt weights vocab,$(FUZZ_TARGET))
FUZZ_HOME = $(B)/fuzzing/fuzz

.PHONY: fuzz fuzz-programs fuzz-replay fuzz-replay-run
fuzz-programs:
	@command -v clang >/dev/null || { echo "make fuzz needs clang (libFuzzer): apt-get install clang-14 libclang-rt-14-dev"; exit 1; }
	$(if $(FUZZ_TRACED_TARGET),@$(MAKE) --no-print-directory $(FUZZ_BUILD) $(FUZZ_TRACED) $(FUZZ_TRACED_TARGET:%=$(FUZZ_HOME)/%))
	$(if $(FUZZ_UNTRACED_TARGET),@$(MAKE) --no-print-directory $(FUZZ_BUILD) $(FUZZ_UNTRACED) \
	    $(FUZZ_UNTRACED_TARGET:%=$(B)/fuzzing/untraced/fuzz/%) && \
	    mkdir -p $(FUZZ_HOME) && cp -p $(FUZZ_UNTRACED_TARGET:%=$(B)/fuzzing/untraced/fuzz/%) $(FUZZ_HOME))

fuzz: fuzz-programs
	@$(PYTHON) tests/fuzz/seeds.py $(FUZZ_HOME)/seeds
	@printf '%s\n' $(FUZZ_TARGET) | FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_RUNS=$(FUZZ_RUNS) \
	    xargs -P $(FUZZ_JOBS) -n 1 sh tests/fuzz/run.sh $(FUZZ_HOME) | tee $(FUZZ_HOME)/said.txt || true
	@awk '/^ok - / { passed++ } END { failed = $(words $(FUZZ_TARGET)) - passed; print passed + 0 " passed, " failed " failed"; \
	    exit failed > 0 }' $(FUZZ_HOME)/said.txt

fuzz-replay:
	@$(MAKE) --no-print-directory B=$(B)/fuzzing/sanitized OPENBLAS= SANITIZE=address,undefined fuzz-replay-run
	@$(MAKE) --no-print-directory B=$(B)/fuzzing/release OPENBLAS= fuzz-replay-run
fuzz-replay-run: $(FUZZ_TARGET:%=$(B)/replay/%)
	@$(PYTHON) tests/fuzz/seeds.py $(B)/seeds
	@$(PYTHON) tests/run_tests.py \
	    $(foreach target,$(FUZZ_TARGET),"$(B)/replay/$(target) -n $(FUZZ_REPLAY_RUNS) $(B)/seeds/$(target)")
