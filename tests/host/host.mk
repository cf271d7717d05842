# host.mk - the plugin as a guest: what a host may count on around and between its calls. For tests.mk to include; uses the
# Makefile's variables.
#
#   make check-host      the host contract around every call of the suite (contract.so is the plugin then), hostile hosts,
#                        10,000 loads, 200 moments of each kind, 5,000,000 GEMMs of each number of sessions: minutes;
#                        CHECK_HOST_SHORT=1 makes it a form for each submission; REFERENCE_PYTHON=... names a Python with
#                        torch, to be beside
#
# HOST_PROGRAMS and HOST_COMMANDS are what `make test` builds and runs of them: seconds.

HOST_CYCLES = $(if $(CHECK_HOST_SHORT),2000,10000)
HOST_MOMENTS = $(if $(CHECK_HOST_SHORT),40,200)
HOST_CANCELS = $(if $(CHECK_HOST_SHORT),100,1000)
HOST_GEMMS = $(if $(CHECK_HOST_SHORT),500000,5000000)

HOST_CFLAGS = $(MEMORY_CFLAGS)
HOST_TESTS = $(patsubst tests/host/%.c,$(B)/host/%,$(wildcard tests/host/test_*.c))
HOST_PROGRAMS = $(HOST_TESTS) $(B)/host/contract.so $(B)/host/bad_guest.so $(B)/host/neighbour.so $(B)/host/locales/made

$(B)/host/%: tests/host/%.c tests/memory/host.c
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(HOST_CFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) $(HOST_LINK_$(*F)) -ldl -pthread -lm $(LDFLAGS)

$(B)/host/test_states $(B)/host/test_pipeline_states: tests/host/modes.c

# the traps are the program's own, and come before every library's
$(B)/host/test_loading: tests/host/traps.c
HOST_LINK_test_loading = -fno-builtin -Wl,--export-dynamic

$(B)/host/%.so: tests/host/%.c
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(HOST_CFLAGS) -fPIC -shared $(CFLAGS) -o $@ $(filter %.c,$^) -ldl -pthread -lm $(LDFLAGS) -Wl,-z,nodelete
$(B)/host/contract.so: tests/host/guard.c tests/host/state.c
$(B)/host/contract.so: HOST_CFLAGS += -DCONTRACT_PLUGIN='"$(abspath $(B)/penult.so)"'

$(B)/host/locales/made: tests/host/locales.sh
	$(call say,TEST,$(@D))
	$(Q)tests/host/locales.sh $(@D)
	@touch $@

# What of OpenBLAS ended up in the plugin: its link once more, with a map. test_blas_inside.sh holds the two files together.
$(B)/host/penult.map: $(B)/penult.so
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(HARDENING) -o $(B)/host/mapped.so $(PLUGIN_OBJECTS) $(ENGINE_OBJECTS) $(BLAS_LINK) $(MANNERS_LINK) \
	    $(UTF8PROC) -lm -static-libgcc -Wl,--version-script=plugin/exports.map -Wl,--exclude-libs,ALL -Wl,-soname,penult.so \
	    -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodelete -Wl,--as-needed -Wl,--build-id $(LDFLAGS) -Wl,-Map,$@

-include $(HOST_TESTS:=.d) $(patsubst %,$(B)/host/%.d,contract bad_guest neighbour)

# A list of commands, each with contract.so for its plugin and under the eyes of under_contract.py.
HOST_CONTRACT = $(PYTHON) tests/host/under_contract.py $(B)/host/contract.so $(B)/penult.so
over_contract = $(subst @@,$(HOST_CONTRACT),$(subst "$(PYTHON) ,"@@ $(PYTHON) ,$(subst "$(B)/,"@@ $(B)/,$(subst \
    $(B)/penult.so,$(B)/host/contract.so,$(1)))))

HOST_MISUSE = "$(B)/abi/test_misuse $(B)/penult.so $(MODEL)"
HOST_STATES = "$(B)/host/test_states $(B)/penult.so $(MODEL) $(B)/host/locales" \
    "$(B)/host/test_pipeline_states $(B)/penult.so $(MODEL) $(B)/host/locales" \
    "$(B)/host/test_callbacks $(B)/penult.so $(MODEL)"
HOST_BARE = "$(B)/host/test_bare_system $(B)/penult.so $(MODEL)"
HOST_BITES = "$(B)/host/test_contract $(B)/host/contract.so $(B)/host/bad_guest.so"
host_loading = "$(B)/host/test_loading $(B)/penult.so $(MODEL) $(B)/host/neighbour.so $(1)"
host_moments = "$(B)/host/test_moments $(B)/penult.so $(MODEL) $(B)/host/neighbour.so $(1)"
host_gemms = "$(B)/host/test_gemms $(B)/penult.so $(MODEL) $(1)"
host_beside = "$(1) tests/host/test_beside.py $(B)/penult.so $(MODEL) $(2)"

HOST_COMMANDS = $(HOST_BITES) $(HOST_BARE) $(call over_contract,$(HOST_STATES) $(HOST_MISUSE)) $(call host_loading,200) \
    $(call host_beside,$(PYTHON),0.5) $(call host_moments,8) $(call host_gemms,20000)

# ---- make check-host --------------------------------------------------------------------------------------------------

# The suite, as far as it takes a plugin. Not test_load and test_exports, which look at the file and not at what it does,
# nor test_faults and test_pairs, which refuse munmap and close, so that something stays that the plugin gave back.
HOST_SUITE = $(HOST_MISUSE) \
    "$(PYTHON) tests/model/test_open.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/abi/test_python.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/abi/test_python_life.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/abi/test_python_pipeline.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/abi/test_python_prompts.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/abi/test_python_pipeline_life.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/parity/test_golden.py $(B)/penult.so" \
    $(MEMORY_COMMANDS) \
    "$(B)/faults/test_no_allocation $(B)/penult.so $(MODEL)" \
    "$(B)/faults/test_cancel $(B)/penult.so $(FAULT_MODELS)/deep $(HOST_CANCELS)" \
    "$(B)/faults/test_limits $(B)/penult.so $(MODEL) 128" \
    "$(B)/faults/test_resources $(B)/penult.so $(MODEL)" \
    "$(B)/files/test_corpus $(B)/penult.so $(FILE_CORPUS)" \
    "$(B)/files/test_unusual $(B)/penult.so $(MODEL)" \
    "$(B)/files/test_changes $(B)/penult.so $(MODEL) 4" \
    "$(PYTHON) tests/files/test_numbers.py $(B)/penult.so $(MODEL)" \
    "$(B)/faults/test_quota $(B)/penult.so $(MODEL) $(B)/faults/quota" \
    "$(B)/analysis/test_edges $(B)/penult.so $(MODEL)" \
    "$(B)/analysis/test_races $(B)/penult.so $(MODEL) 2" \
    "$(B)/analysis/test_pipeline_races $(B)/penult.so $(MODEL) 1" \
    "$(B)/host/test_gemms $(B)/penult.so $(MODEL) 2000"
HOST_CHECKS = $(HOST_BITES) $(HOST_BARE) $(call over_contract,$(HOST_STATES) $(HOST_SUITE)) \
    "env B=$(B)/host/command $(PYTHON) tests/host/under_contract.py $(B)/host/command $(B)/penult.so \
        env B=$(B)/host/command $(PYTHON) tests/command/test_command.py" \
    "tests/host/test_blas_inside.sh $(B)/penult.so $(B)/host/mapped.so $(B)/host/penult.map $(or $(OPENBLAS),none) \
        $(PLUGIN_OBJECTS) $(ENGINE_OBJECTS)" \
    $(call host_loading,$(HOST_CYCLES)) \
    $(call host_beside,$(PYTHON),5) $(if $(REFERENCE_PYTHON),$(call host_beside,$(REFERENCE_PYTHON),10)) \
    $(call host_moments,$(HOST_MOMENTS)) \
    $(foreach sessions,2 8 100,$(call host_gemms,$(HOST_GEMMS) $(sessions)))

.PHONY: check-host
check-host: all $(B)/condition_host $(HOST_PROGRAMS) $(MEMORY_PROGRAMS) $(FAULT_PROGRAMS) $(FILE_PROGRAMS) $(ANALYSIS_PROGRAMS) \
    $(B)/abi/test_misuse $(B)/host/penult.map
	@mkdir -p $(B)/host/command
	@cp $(B)/penult $(B)/condition_host $(B)/host/command
	@cp $(B)/host/contract.so $(B)/host/command/penult.so
	@rm -f $(B)/host/tables.txt
	@CMOCKA_MESSAGE_OUTPUT=TAP PYTHONDONTWRITEBYTECODE=1 PENULT_TABLES=$(B)/host/tables.txt \
	    TEST_LIMIT=$(or $(TEST_LIMIT),1800) $(PYTHON) tests/run_tests.py $(HOST_CHECKS); \
	    status=$$?; cat $(B)/host/tables.txt; exit $$status
