# faults.mk - tests by hosts whose system says no. For tests.mk to include; uses the Makefile's variables.
#
# FAULT_PROGRAMS and FAULT_COMMANDS are what `make test` builds and runs of them.

FAULT_PROGRAMS = $(patsubst tests/faults/%.c,$(B)/faults/%,$(wildcard tests/faults/test_*.c))

# --export-dynamic: the plugin and glibc bind to the program's own malloc, mmap, ...
$(B)/faults/%: tests/faults/%.c tests/faults/interpose.c tests/memory/host.c
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(MEMORY_CFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) -Wl,--export-dynamic -ldl -pthread $(LDFLAGS)

-include $(FAULT_PROGRAMS:=.d)

FAULT_SMALL = \
    "$(B)/faults/test_no_allocation $(B)/penult.so $(MODEL)" \
    "$(B)/faults/test_faults $(B)/penult.so $(MODEL)"
FAULT_COMMANDS = $(FAULT_SMALL) "$(B)/faults/test_limits $(B)/penult.so $(MODEL) 64"
