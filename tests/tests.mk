# tests.mk - how tests are built and run. Included by the Makefile, whose variables it uses.
#
# C tests are cmocka programs, tests/{unit,kernels}/test_NAME.c, linked with the engine's objects as the plugin is.
# Everything speaks TAP; tests/run_tests.py adds up.

UNIT_TESTS = $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c tests/kernels/test_*.c))

include tests/abi/abi.mk
include tests/parity/parity.mk
include tests/bench/bench.mk
include tests/faults/faults.mk
include tests/memory/memory.mk
include tests/files/files.mk
include tests/analysis/analysis.mk
include tests/host/host.mk
include tests/fuzz/fuzz.mk
include tests/bochs/bochs.mk

TEST_CFLAGS = -std=c11 -D_GNU_SOURCE -O1 -g $(WARNINGS) $(HARDENING) -MMD -MP

$(B)/tests/unit/test_picture: tests/unit/test_picture.c $(filter $(B)/obj/samples/picture/%,$(COMMAND_OBJECTS))
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(TEST_CFLAGS) $(CFLAGS) -o $@ $(filter %.c %.o,$^) -lcmocka -lpng -lz -lm

$(B)/tests/%: tests/%.c $(ENGINE_OBJECTS)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(TEST_CFLAGS) $(CFLAGS) -o $@ $(filter %.c %.o,$^) $(BLAS_LINK) $(UTF8PROC) -lcmocka -lm $(LDFLAGS)

$(B)/tests/unit/test_out_of_memory: LDFLAGS += -Wl,--wrap=memory_array,--wrap=memory_resize,--wrap=memory_pages
$(B)/tests/unit/test_out_of_memory: $(PLUGIN_OBJECTS)

-include $(UNIT_TESTS:=.d)

# The kernels' tests once more, and one of whole towers, over kernels of instructions that this CPU need not have
# (tests/kernels/emulated). -O2: their vectors are arrays here.
EMULATED = avx512 avx512_bf16 amx
EMULATED_TESTS = $(patsubst tests/kernels/%.c,$(B)/tests/emulated/%,$(wildcard tests/kernels/test_*.c)) \
    $(B)/tests/emulated/test_session
EMULATED_OBJECTS = $(EMULATED:%=$(B)/tests/emulated/%.o) $(B)/tests/emulated/cpu.o
EMULATED_ENGINE = $(filter-out $(EMULATED:%=$(B)/obj/encoder/kernels/%.o) $(B)/obj/encoder/kernels/cpu.o,$(ENGINE_OBJECTS))
EMULATED_CFLAGS = $(TEST_CFLAGS) -O2 -ffp-contract=off -Wno-psabi -Itests/kernels/emulated
emulated_cc = $(Q)$(CC) $(TEST_CFLAGS) $(CFLAGS) -o $@ $(filter tests/%.c,$^) $(EMULATED_OBJECTS) $(EMULATED_ENGINE) $(BLAS_LINK) \
    $(UTF8PROC) -lcmocka -lm $(LDFLAGS)
.SECONDARY: $(EMULATED_OBJECTS)
$(B)/tests/emulated/cpu.o: tests/kernels/emulated/cpu.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(EMULATED_CFLAGS) $(CFLAGS) -c $< -o $@
$(B)/tests/emulated/%.o: encoder/kernels/%.c
	@mkdir -p $(@D)
	$(call say,CC  ,$@)
	$(Q)$(CC) $(EMULATED_CFLAGS) $(CFLAGS) -c $< -o $@
$(B)/tests/emulated/test_%: tests/kernels/test_%.c $(EMULATED_OBJECTS) $(ENGINE_OBJECTS)
	$(call say,TEST,$@)
	$(emulated_cc)
$(B)/tests/emulated/test_%: tests/unit/test_%.c $(EMULATED_OBJECTS) $(ENGINE_OBJECTS)
	$(call say,TEST,$@)
	$(emulated_cc)
-include $(EMULATED_TESTS:=.d) $(EMULATED_OBJECTS:.o=.d)

# ---- make test --------------------------------------------------------------------------------------------------------

# The slowest first: two at a time end together.
TEST_PAIRS = $(FAULT_COMMANDS) \
    "$(PYTHON) tests/command/test_command.py" \
    $(EMULATED_TESTS:%="%") \
    $(FILE_COMMANDS) \
    $(UNIT_TESTS:%="%") \
    "$(PYTHON) tests/model/test_open.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/model/test_layouts.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/layers.py" \
    "tests/abi/compile_matrix.sh" \
    "tests/abi/test_exports.sh $(B)/penult.so $(PLUGIN_OBJECTS) $(ENGINE_OBJECTS)" \
    "$(PYTHON) tests/abi/test_python.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/abi/test_python_life.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/abi/test_python_pipeline.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/abi/test_python_prompts.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/abi/test_python_pipeline_life.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/parity/test_golden.py $(B)/penult.so"

TEST_COMMANDS = \
    "$(B)/abi/test_load $(B)/abi/fakes $(B)/penult.so" \
    "$(B)/abi/test_misuse $(B)/penult.so $(MODEL)" \
    $(MEMORY_COMMANDS) \
    $(HOST_COMMANDS) \
    $(ANALYSIS_COMMANDS) \
    $(call fault_cancel,200) \
    --pairs $(TEST_PAIRS)

.PHONY: test test-run
test: packages-test
	@$(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j2) test-run

test-run: all $(B)/minimal $(B)/condition_host $(UNIT_TESTS) $(EMULATED_TESTS) $(MEMORY_PROGRAMS) $(FAULT_PROGRAMS) $(FILE_PROGRAMS) $(HOST_PROGRAMS) \
    $(ANALYSIS_PROGRAMS) $(B)/abi/test_load $(B)/abi/test_misuse $(ABI_FAKES:%=$(B)/abi/fakes/%.so)
	@CMOCKA_MESSAGE_OUTPUT=TAP PYTHONDONTWRITEBYTECODE=1 B=$(B) $(PYTHON) tests/run_tests.py $(TEST_COMMANDS)
