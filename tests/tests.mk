# tests.mk - how tests are built and run. Included by the Makefile, whose variables it uses.
#
# C tests are cmocka programs, tests/{unit,kernels}/test_NAME.c, linked with the engine's objects as the plugin is.
# Everything speaks TAP; tests/run_tests.py adds up.

include tests/abi/abi.mk
include tests/parity/parity.mk
include tests/memory/memory.mk
include tests/bench/bench.mk

UNIT_TESTS = $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c tests/kernels/test_*.c))
TEST_CFLAGS = -std=c11 -D_GNU_SOURCE -O1 -g $(WARNINGS) $(HARDENING) -MMD -MP

$(B)/tests/unit/test_picture: tests/unit/test_picture.c $(filter $(B)/obj/samples/picture/%,$(COMMAND_OBJECTS))
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(TEST_CFLAGS) $(CFLAGS) -o $@ $(filter %.c %.o,$^) -lcmocka -lpng -lz -lm

$(B)/tests/%: tests/%.c $(ENGINE_OBJECTS)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(TEST_CFLAGS) $(CFLAGS) -o $@ $(filter %.c %.o,$^) $(BLAS_LINK) $(UTF8PROC) -lcmocka -lm $(LDFLAGS)

-include $(UNIT_TESTS:=.d)

# ---- make test --------------------------------------------------------------------------------------------------------

TEST_COMMANDS = "$(PYTHON) tests/layers.py" \
    $(UNIT_TESTS:%="%") \
    "tests/abi/compile_matrix.sh" \
    "tests/abi/test_exports.sh $(B)/penult.so $(PLUGIN_OBJECTS) $(ENGINE_OBJECTS)" \
    "$(B)/abi/test_load $(B)/abi/fakes $(B)/penult.so" \
    "$(B)/abi/test_misuse $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/model/test_open.py $(B)/penult.so $(MODEL)" \
    $(MEMORY_COMMANDS) \
    "$(PYTHON) tests/abi/test_python.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/abi/test_python_life.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/parity/test_golden.py $(B)/penult.so" \
    "$(PYTHON) tests/command/test_command.py"

.PHONY: test test-run
test: packages-test
	@$(MAKE) --no-print-directory test-run

test-run: all $(B)/minimal $(UNIT_TESTS) $(MEMORY_PROGRAMS) $(B)/abi/test_load $(B)/abi/test_misuse $(ABI_FAKES:%=$(B)/abi/fakes/%.so)
	@CMOCKA_MESSAGE_OUTPUT=TAP PYTHONDONTWRITEBYTECODE=1 B=$(B) $(PYTHON) tests/run_tests.py $(TEST_COMMANDS)

# ---- sanitizers, valgrind, fuzzing ------------------------------------------------------------------------------------

# The C tests under AddressSanitizer and UBSan, and what has threads under ThreadSanitizer; needs clang.
.PHONY: check-san check-valgrind fuzz
check-san:
	@$(MAKE) --no-print-directory B=$(B)/asan CC=clang SANITIZE=address,undefined check-san-run
	@$(MAKE) --no-print-directory B=$(B)/tsan CC=clang SANITIZE=thread check-tsan-run

.PHONY: check-san-run check-tsan-run
check-san-run: $(UNIT_TESTS) $(B)/penult.so $(B)/abi/test_misuse
	@ASAN_OPTIONS=detect_leaks=1 CMOCKA_MESSAGE_OUTPUT=TAP $(PYTHON) tests/run_tests.py $(UNIT_TESTS:%="%") \
	    "$(B)/abi/test_misuse $(B)/penult.so $(MODEL)"
check-tsan-run: $(B)/tests/unit/test_workers $(B)/penult.so $(B)/abi/test_misuse
	@TSAN_OPTIONS=die_after_fork=0 CMOCKA_MESSAGE_OUTPUT=TAP $(PYTHON) tests/run_tests.py $(B)/tests/unit/test_workers \
	    "$(B)/abi/test_misuse $(B)/penult.so $(MODEL)"

VALGRIND = valgrind -q --error-exitcode=99 --leak-check=full --track-fds=no
check-valgrind: $(UNIT_TESTS) all
	@CMOCKA_MESSAGE_OUTPUT=TAP $(PYTHON) tests/run_tests.py \
	    $(patsubst %,"$(VALGRIND) %",$(filter-out %/test_kernels %/test_workers,$(UNIT_TESTS)))

# FUZZ_SECONDS of each target from the committed seeds; what it finds stays in build/fuzz. needs clang
FUZZ_SECONDS ?= 60
FUZZ_TARGETS = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
$(B)/fuzz/safetensors: FUZZ_WRAPS = -Wl,--wrap=calloc -Wl,--wrap=realloc
$(B)/fuzz/%: tests/fuzz/fuzz_%.c $(ENGINE_OBJECTS)
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	    -o $@ $(filter %.c %.o,$^) $(BLAS_LINK) $(UTF8PROC) $(FUZZ_WRAPS) -lm
fuzz:
	@$(MAKE) --no-print-directory B=$(B)/fuzzing CC=clang SANITIZE=address,undefined,fuzzer-no-link fuzz-run
.PHONY: fuzz-run
fuzz-run: $(FUZZ_TARGETS:%=$(B)/fuzz/%)
	@for target in $(FUZZ_TARGETS); do \
	    mkdir -p $(B)/fuzz/corpus-$$target; \
	    dict=tests/fuzz/$$target.dict; \
	    $(B)/fuzz/$$target -max_total_time=$(FUZZ_SECONDS) -timeout=5 -max_len=8192 -print_final_stats=1 \
	        -artifact_prefix=$(B)/fuzz/ $$( [ -f $$dict ] && echo -dict=$$dict ) \
	        $(B)/fuzz/corpus-$$target tests/fuzz/seeds/$$target 2>&1 | tail -n 12 || exit 1; \
	done
