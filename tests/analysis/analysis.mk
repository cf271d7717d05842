# analysis.mk - sanitizers, valgrind, static analysis, coverage. For tests.mk to include; uses the Makefile's variables.
#
#   make check-san       AddressSanitizer + UBSan over the C tests, the command and the Python tests; MemorySanitizer over the
#                        parsers; ThreadSanitizer over what has threads. Needs clang
#   make check-valgrind  memcheck over the C tests and test_misuse
#   make check-static    gcc -fanalyzer, clang-tidy, cppcheck, shellcheck, frame sizes, recursion
#   make coverage        lines and branches of plugin/ and encoder/ that `make test` runs through. Needs gcovr
#
# Each builds into a folder of its own below $(B). ANALYSIS_PROGRAMS and ANALYSIS_COMMANDS are what `make test` runs of it.

ANALYSIS_PROGRAMS = $(B)/analysis/test_races $(B)/analysis/test_pipeline_races $(B)/analysis/test_edges
ANALYSIS_COMMANDS = \
    "tests/analysis/hardening.sh $(B)/penult.so $(PLUGIN_OBJECTS) $(ENGINE_OBJECTS)" \
    "$(B)/analysis/test_edges $(B)/penult.so $(MODEL)" \
    "$(B)/analysis/test_races $(B)/penult.so $(MODEL)" \
    "$(B)/analysis/test_pipeline_races $(B)/penult.so $(MODEL)"

$(B)/analysis/%: tests/analysis/%.c tests/memory/host.c
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(TEST_CFLAGS) -Iapi $(CFLAGS) -o $@ $(filter %.c,$^) -ldl -pthread $(LDFLAGS)

-include $(ANALYSIS_PROGRAMS:=.d)

# ---- sanitizers -------------------------------------------------------------------------------------------------------

# integer and implicit-conversion also stop at unsigned wraps and at conversions that lose a value, which are legal C: each
# that is meant is marked in the source (base/wrap.h).
SAN_CHECKS = address,undefined,integer,implicit-conversion,float-cast-overflow

.PHONY: check-san
check-san:
	@$(MAKE) --no-print-directory B=$(B)/an-asan CC=clang SANITIZE=$(SAN_CHECKS) check-asan-run
	@$(MAKE) --no-print-directory B=$(B)/an-msan CC=clang SANITIZE=memory check-msan-run
	@$(MAKE) --no-print-directory B=$(B)/an-tsan CC=clang SANITIZE=thread check-tsan-run

# A sanitized plugin in a Python that is not: the runtime comes first, by LD_PRELOAD. The interpreter keeps what it has until
# it ends, so leaks are looked for in the C tests and in the command.
ASAN_PYTHON = env LD_PRELOAD=$(shell clang -print-file-name=libclang_rt.asan-$(shell uname -m).so 2>/dev/null) \
    ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1 $(PYTHON)
# Of the command each format, option and failure; not what waits for clocks and terminals.
ASAN_CASES = usage_errors models_that_cannot_be_opened wrong_geometry_is_explained plugins_that_cannot_be_loaded all_files_or_none \
    info threads_and_copy kernels activation tokenizer option_forms shown formats_agree npy_names small_floats \
    layers_from_both_ends pooled_kinds json_report heatmap sources unicode_prompts not_utf8 cut_prompts long_text empty_prompt \
    condition_usage_errors recipes_are_listed condition_shows condition_json condition_options_reach_the_plugin condition_makes_room \
    condition_of_many condition_models condition_failures conditioning_layout conditioning_without_a_hash conditioning_of_other_models \
    conditioning_tampered conditioning_damaged
.PHONY: check-asan-run
check-asan-run: all $(UNIT_TESTS) $(B)/abi/test_misuse $(ANALYSIS_PROGRAMS)
	@ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 CMOCKA_MESSAGE_OUTPUT=TAP B=$(B) $(PYTHON) tests/run_tests.py $(UNIT_TESTS:%="%") \
	    "$(B)/abi/test_misuse $(B)/penult.so $(MODEL)" \
	    "$(B)/analysis/test_edges $(B)/penult.so $(MODEL)" \
	    "$(B)/analysis/test_races $(B)/penult.so $(MODEL) 1" \
	    "$(B)/analysis/test_pipeline_races $(B)/penult.so $(MODEL) 1" \
	    "$(PYTHON) tests/command/test_command.py $(ASAN_CASES)" \
	    "$(ASAN_PYTHON) tests/model/test_open.py $(B)/penult.so $(MODEL)" \
	    "$(ASAN_PYTHON) tests/model/test_layouts.py $(B)/penult.so $(MODEL)" \
	    "$(ASAN_PYTHON) tests/abi/test_python.py $(B)/penult.so $(MODEL)" \
	    "$(ASAN_PYTHON) tests/abi/test_python_life.py $(B)/penult.so $(MODEL)" \
	    "$(ASAN_PYTHON) tests/abi/test_python_pipeline.py $(B)/penult.so $(MODEL)" \
	    "$(ASAN_PYTHON) tests/abi/test_python_prompts.py $(B)/penult.so $(MODEL)" \
	    "$(ASAN_PYTHON) tests/abi/test_python_pipeline_life.py $(B)/penult.so $(MODEL)" \
	    "$(ASAN_PYTHON) tests/parity/test_golden.py $(B)/penult.so"

# The parsers' unit tests, each statement of them and of what they call built with the sanitizer: assertions from
# instrumented/cmocka.h, utf8proc's results marked by msan_utf8proc.c, the rest of the engine left out.
MSAN_TESTS = $(patsubst tests/unit/%.c,$(B)/msan/%,$(filter-out %/test_workers.c %/test_picture.c %/test_session.c %/test_pipeline.c %/test_out_of_memory.c %/test_rows_left_out.c %/test_kept.c,$(wildcard tests/unit/test_*.c)))
MSAN_ENGINE = $(filter $(B)/obj/encoder/base/% $(B)/obj/encoder/format/% $(B)/obj/encoder/text/% $(B)/obj/encoder/config.o \
    $(B)/obj/encoder/tokenizer_place.o $(B)/obj/encoder/condition/% $(B)/obj/encoder/model/geometry.o $(B)/obj/encoder/model/layout.o \
    $(B)/obj/encoder/model/shapes.o $(B)/obj/encoder/model/strangers.o,$(ENGINE_OBJECTS))
MSAN_WRAPPED = utf8proc_decompose_char utf8proc_normalize_utf32 utf8proc_get_property
$(B)/msan/%: tests/unit/%.c tests/analysis/msan_utf8proc.c $(MSAN_ENGINE)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(TEST_CFLAGS) -fsanitize-memory-track-origins -Itests/analysis/instrumented $(CFLAGS) -o $@ \
	    $(filter %.c %.o,$^) $(MSAN_WRAPPED:%=-Wl,--wrap=%) $(UTF8PROC) -lm $(LDFLAGS)

.PHONY: check-msan-run
check-msan-run: $(MSAN_TESTS)
	@MSAN_OPTIONS=allocator_may_return_null=1 $(PYTHON) tests/run_tests.py $(MSAN_TESTS:%="%")

.PHONY: check-tsan-run
check-tsan-run: $(B)/tests/unit/test_workers $(B)/penult.so $(B)/abi/test_misuse $(B)/analysis/test_races \
    $(B)/analysis/test_pipeline_races
	@TSAN_OPTIONS=die_after_fork=0 CMOCKA_MESSAGE_OUTPUT=TAP $(PYTHON) tests/run_tests.py $(B)/tests/unit/test_workers \
	    "$(B)/abi/test_misuse $(B)/penult.so $(MODEL)" \
	    "$(B)/analysis/test_races $(B)/penult.so $(MODEL)" \
	    "$(B)/analysis/test_pipeline_races $(B)/penult.so $(MODEL)"

# ---- valgrind ---------------------------------------------------------------------------------------------------------

# valgrind's CPU has no AVX-512: what runs is AVX2. Without _FORTIFY_SOURCE, whose memmove this valgrind takes for a memcpy.
# test_workers is left out: in a forked child glibc's memory of threads that are not there is lost by right.
VALGRIND = tests/analysis/valgrind.sh
VALGRIND_TESTS = $(filter-out %/test_workers,$(UNIT_TESTS))
.PHONY: check-valgrind check-valgrind-run
check-valgrind:
	@command -v valgrind >/dev/null || { echo "check-valgrind needs valgrind: apt-get install valgrind" >&2; exit 1; }
	@$(MAKE) --no-print-directory B=$(B)/an-valgrind HARDENING= check-valgrind-run
check-valgrind-run: all $(VALGRIND_TESTS) $(B)/abi/test_misuse $(B)/analysis/test_edges $(FAULT_MODELS)/made
	@TEST_LIMIT=$(or $(TEST_LIMIT),7200) CMOCKA_MESSAGE_OUTPUT=TAP $(PYTHON) tests/run_tests.py $(VALGRIND_TESTS:%="$(VALGRIND) %") \
	    "$(VALGRIND) $(B)/analysis/test_edges $(B)/penult.so $(MODEL)" \
	    "$(VALGRIND) $(B)/abi/test_misuse $(B)/penult.so $(FAULT_MODELS)/narrow"

# ---- static analysis --------------------------------------------------------------------------------------------------

.PHONY: check-static
check-static:
	@PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/run_tests.py $(foreach tool,flags gcc frames clang-tidy cppcheck shellcheck, \
	    "$(PYTHON) tests/analysis/static.py $(B)/an-static/$(tool) $(tool)")

# ---- coverage ---------------------------------------------------------------------------------------------------------

# In place of the hardening flags, which make branches of their own. Built as it is written, a branch for each condition; only
# the kernels' own -O3 comes later and counts, or their tests would take an hour. Counters are atomic: workers share them. Without the wraps that keep OpenBLAS from writing,
# which would keep the counters from being written.
COVERAGE_FLAGS = -O0 --coverage -fprofile-update=atomic -ffile-prefix-map=$(CURDIR)=$(CURDIR)
.PHONY: coverage coverage-run
coverage:
	@command -v gcovr >/dev/null || { echo "coverage needs gcovr: apt-get install gcovr" >&2; exit 1; }
	@find $(B)/coverage -name '*.gcda' -delete 2>/dev/null || true
	@$(MAKE) --no-print-directory B=$(B)/coverage CC=gcc HARDENING='$(COVERAGE_FLAGS)' WRAPPED_MANNERS= coverage-run

# The counters write files at exit, call what we do not and take memory: tests of just that fail here, and do not hide the
# table. Whether tests pass is `make test`'s question.
coverage-run:
	-@$(MAKE) --no-print-directory test-run
	gcovr --root . --object-directory $(B) --filter plugin/ --filter encoder/ --exclude-unreachable-branches \
	    --sort-uncovered --txt $(B)/lines.txt --html-details $(B)/coverage.html --print-summary $(B)
	gcovr --root . --object-directory $(B) --filter plugin/ --filter encoder/ --exclude-unreachable-branches --branches $(B)
