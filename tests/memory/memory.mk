# memory.mk - tests of memory, workers and refusals, by hosts in C that hold nothing but the plugin. For tests.mk to include;
# uses the Makefile's variables.
#
#   make check-memory    all of them, with bigG's full geometry where memory and time are the question: five minutes, 3 GB of
#                        disk; prints its tables at the end; REFERENCE_PYTHON=... as for make parity;
#                        MEMORY_MODELS=DIR where {f16,bf16} and the tokenizer lie or are made
#
# MEMORY_PROGRAMS and MEMORY_COMMANDS are what `make test` builds and runs of them, with the model that ships: seconds.

MEMORY_MODELS ?= $(B)/memory/models

MEMORY_TESTS = $(patsubst tests/memory/%.c,$(B)/memory/%,$(wildcard tests/memory/test_*.c))
# A copy of its own: what is shared and what is not shows only where no other process has the file mapped.
OWN_MODEL = $(B)/memory/own-model
MEMORY_PROGRAMS = $(MEMORY_TESTS) $(OWN_MODEL)/model.safetensors
MEMORY_CFLAGS = -std=c11 -D_GNU_SOURCE -O1 -g -Iapi $(WARNINGS) -MMD -MP

$(B)/memory/%: tests/memory/%.c tests/memory/host.c
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(MEMORY_CFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) -ldl -pthread $(LDFLAGS)

$(OWN_MODEL)/model.safetensors: $(wildcard $(MODEL)/*.*)
	@rm -rf $(@D) && mkdir -p $(@D) && cp $(filter %.json %.txt %.safetensors,$^) $(@D)

-include $(MEMORY_TESTS:=.d)

MEMORY_SMALL = \
    "$(B)/memory/test_private $(B)/penult.so $(OWN_MODEL)" \
    "$(B)/memory/test_opening $(B)/penult.so $(MODEL)" \
    "$(B)/memory/test_files $(B)/penult.so $(MODEL)" \
    "$(B)/memory/test_guest $(B)/penult.so $(MODEL)"
MEMORY_COMMANDS = $(MEMORY_SMALL)

full_memory = "$(B)/memory/$(1) $(B)/penult.so $(MEMORY_MODELS)/$(2) $(MEMORY_MODELS)/pad-bang/5"

.PHONY: check-memory
check-memory: $(B)/penult.so $(MEMORY_PROGRAMS) $(FAULT_PROGRAMS)
	@python=$$(tests/parity/environment.sh $(B)/reference $(REFERENCE_PYTHON)) && \
	PYTHONDONTWRITEBYTECODE=1 "$$python" tests/memory/full_models.py $(MEMORY_MODELS)
	@rm -f $(B)/memory/tables.txt
	@PENULT_TABLES=$(B)/memory/tables.txt $(PYTHON) tests/run_tests.py $(MEMORY_SMALL) $(FAULT_SMALL) \
	    "$(B)/faults/test_limits $(B)/penult.so $(MODEL) 16" \
	    $(foreach dtype,f16 bf16,$(foreach test,test_private test_opening,$(call full_memory,$(test),$(dtype)))) \
	    $(call full_memory,test_guest,bf16); status=$$?; cat $(B)/memory/tables.txt; exit $$status
