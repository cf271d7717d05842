# faults.mk - tests by hosts whose system says no. For tests.mk to include; uses the Makefile's variables.
#
#   make check-faults    everything: each call that the plugin makes refused in turn, pairs of refusals, cancels, limits; then
#                        the refusals and cancels once more under AddressSanitizer and UBSan, which needs clang. Prints its
#                        tables at the end. CHECK_FAULTS_SHORT=1: samples of the same, in a fraction of the time
#
# FAULT_PROGRAMS and FAULT_COMMANDS are what `make test` builds and runs of them.

FAULT_MODELS = $(B)/faults/models
FAULT_TESTS = $(patsubst tests/faults/%.c,$(B)/faults/%,$(wildcard tests/faults/test_*.c))
# The plugin in folders of its own, without a vocabulary beside it and with one: `make vocab` puts one beside $(B)/penult.so,
# and what a refusal comes to is not the same then.
FAULT_ALONE = $(B)/faults/alone/penult.so
FAULT_BESIDE = $(FAULT_MODELS)/beside/penult.so
FAULT_PROGRAMS = $(FAULT_TESTS) $(FAULT_MODELS)/made $(FAULT_ALONE) $(FAULT_BESIDE)

$(FAULT_ALONE) $(FAULT_BESIDE): $(B)/penult.so | $(FAULT_MODELS)/made
	@mkdir -p $(@D)
	$(Q)cp $< $@

# --export-dynamic: the plugin and glibc bind to the program's own malloc, mmap, ...
FAULT_SOURCES = tests/memory/host.c
$(B)/faults/test_faults $(B)/faults/test_pairs: FAULT_SOURCES += tests/faults/life.c tests/faults/life_condition.c
$(addprefix $(B)/faults/test_,faults pairs no_allocation quota): FAULT_SOURCES += tests/faults/interpose.c
$(B)/faults/test_faults: FAULT_SOURCES += tests/faults/imports.c
$(B)/faults/test_limits $(B)/faults/test_resources: FAULT_SOURCES += tests/faults/limits.c
$(B)/faults/test_%: tests/faults/test_%.c $(wildcard tests/faults/*.[ch]) tests/memory/host.c
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(MEMORY_CFLAGS) $(FAULT_SANITIZE) $(CFLAGS) -o $@ $< $(FAULT_SOURCES) -Wl,--export-dynamic -ldl -pthread \
	    $(LDFLAGS)
FAULT_SANITIZE = $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)

$(FAULT_MODELS)/made: tests/faults/models.py tests/model/folders.py tests/files/small.py $(wildcard $(MODEL)/*)
	@mkdir -p $(@D)
	$(call say,MAKE,$(@D))
	$(Q)PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/faults/models.py $(MODEL) $(@D) && touch $@

-include $(FAULT_TESTS:=.d)

fault_test = "$(B)/faults/$(1) $(FAULT_ALONE) $(MODEL)$(2)"
fault_cancel = "$(B)/faults/test_cancel $(FAULT_ALONE) $(FAULT_MODELS)/deep $(1)"

FAULT_SMALL = $(call fault_test,test_no_allocation) $(call fault_test,test_faults, $(FAULT_MODELS) quick)
FAULT_COMMANDS = $(FAULT_SMALL) \
    $(call fault_test,test_pairs, $(FAULT_MODELS) 200) \
    $(call fault_test,test_limits, 128) \
    $(call fault_test,test_resources) \
    $(call fault_test,test_quota, $(B)/faults/quota)

# ---- make check-faults ------------------------------------------------------------------------------------------------

FAULT_SHORT = $(filter-out 0,$(CHECK_FAULTS_SHORT))
FAULT_LARGE = $(call fault_test,test_no_allocation) \
    $(call fault_test,test_faults, $(FAULT_MODELS) $(if $(FAULT_SHORT),short)) \
    $(call fault_test,test_pairs, $(FAULT_MODELS) $(if $(FAULT_SHORT),2000,10000)) \
    $(call fault_cancel,$(if $(FAULT_SHORT),2000,10000)) \
    $(call fault_test,test_limits, $(if $(FAULT_SHORT),64,16)) \
    $(call fault_test,test_resources) \
    $(call fault_test,test_quota, $(B)/faults/quota)
# Address-space limits leave no room for a sanitizer's shadow.
FAULT_SANITIZED = $(call fault_test,test_faults, $(FAULT_MODELS) $(if $(FAULT_SHORT),quick)) \
    $(call fault_test,test_pairs, $(FAULT_MODELS) $(if $(FAULT_SHORT),200,2000)) \
    $(if $(FAULT_SHORT),,$(call fault_test,test_no_allocation) $(call fault_cancel,500))

.PHONY: check-faults check-faults-run check-faults-sanitized
check-faults:
	@rm -f $(B)/faults/tables.txt
	@status=0; \
	$(MAKE) --no-print-directory check-faults-run || status=1; \
	if command -v clang >/dev/null; then \
	    $(MAKE) --no-print-directory $(if $(findstring -j,$(MAKEFLAGS)),,-j2) \
	        B=$(B)/asan CC=clang SANITIZE=address,undefined check-faults-sanitized || status=1; \
	else \
	    echo "clang is missing: the faults were not tried under sanitizers"; status=1; \
	fi; \
	cat $(B)/faults/tables.txt; exit $$status

check-faults-run: $(B)/penult.so $(FAULT_PROGRAMS)
	@PENULT_TABLES=$(B)/faults/tables.txt TEST_LIMIT=$(or $(TEST_LIMIT),1800) $(PYTHON) tests/run_tests.py $(FAULT_LARGE)

check-faults-sanitized: $(B)/penult.so $(FAULT_PROGRAMS)
	@ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
	    TEST_LIMIT=$(or $(TEST_LIMIT),1800) $(PYTHON) tests/run_tests.py $(FAULT_SANITIZED)
