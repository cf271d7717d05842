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
HOST_GEMMS = $(if $(CHECK_HOST_SHORT),500000,5000000)

HOST_CFLAGS = $(MEMORY_CFLAGS)
HOST_TESTS = $(patsubst tests/host/%.c,$(B)/host/%,$(wildcard tests/host/test_*.c))
HOST_PROGRAMS = $(HOST_TESTS) $(B)/host/contract.so $(B)/host/bad_guest.so $(B)/host/neighbour.so $(B)/host/locales/made \
    $(B)/host/penult.map

$(B)/host/%: tests/host/%.c tests/memory/host.c
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(HOST_CFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) $(HOST_LINK_$(*F)) -ldl -pthread -lm $(LDFLAGS)

# the traps are the program's own, and come before every library's
$(B)/host/test_loading: tests/host/traps.c
HOST_LINK_test_loading = -fno-builtin -Wl,--export-dynamic

$(B)/host/%.so: tests/host/%.c
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(HOST_CFLAGS) -fPIC -shared $(CFLAGS) -o $@ $(filter %.c,$^) -ldl -pthread -lm $(LDFLAGS) -Wl,-z,nodelete
$(B)/host/contract.so: tests/host/guard.c tests/host/state.c

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

HOST_CONTRACT = $(PYTHON) tests/host/under_contract.py $(B)/host/contract.so $(B)/penult.so
under_contract = "$(HOST_CONTRACT) $(1)"
HOST_LOADING = $(B)/host/test_loading $(B)/penult.so $(MODEL) $(B)/host/neighbour.so

HOST_COMMANDS = "$(B)/host/test_contract $(B)/host/contract.so $(B)/host/bad_guest.so" \
    $(call under_contract,$(B)/host/test_states $(B)/host/contract.so $(MODEL) $(B)/host/locales) \
    $(call under_contract,$(B)/abi/test_misuse $(B)/host/contract.so $(MODEL)) \
    $(call under_contract,$(B)/host/test_callbacks $(B)/host/contract.so $(MODEL)) \
    "$(HOST_LOADING) 200" \
    "$(PYTHON) tests/host/test_beside.py $(B)/penult.so $(MODEL) 0.5" \
    "$(B)/host/test_moments $(B)/penult.so $(MODEL) $(B)/host/neighbour.so 8" \
    "$(B)/host/test_gemms $(B)/penult.so $(MODEL) 20000"
