# bochs.mk - tests of the kernels that this machine's CPU cannot run, as real instructions of an emulated one: Linux in Bochs, as
# a Skylake-X that has AVX512-BF16 and AMX besides. For tests.mk to include; uses the Makefile's variables. Not to be confused
# with tests/kernels/emulated, whose instructions are plain C, and which `make test` runs.
#
#   make check-emulated BOCHS=PATH    BOCHS_COMMANDS in the guest; not part of `make test`
#       CHECK_EMULATED_FULL=1         those of BOCHS_FULL too
#       EMULATED_LIMIT=SECONDS        of CPU time that the emulator may take
#
# PATH is github.com/bochs-emu/Bochs with bochs.patch, which names the commit; in its folder `bochs`, five minutes of two cores:
#   patch -p1 < .../tests/bochs/bochs.patch
#   CFLAGS="-O3 -DNDEBUG" CXXFLAGS="-O3 -DNDEBUG" ./configure --enable-cpu-level=6 --enable-x86-64 --enable-avx --enable-evex
#       --enable-amx --enable-all-optimizations --enable-protection-keys --enable-cet --with-nogui --disable-docbook
#       --disable-xpm --disable-large-ramfile && make
# Debian's Bochs (2.7) has no AMX.
# Kernel and busybox come from Debian's packages (fetch.sh). There is no boot medium: run.sh puts the kernel into memory.
# A program more: `-- PROGRAM ARGUMENT...` below, as it is typed here; run.sh says how to run one by hand.

BOCHS_TESTS = $(addprefix $(B)/bochs/,test_encode test_amx refuse)
BOCHS_PROGRAMS = $(BOCHS_TESTS) $(addprefix $(B)/tests/,kernels/test_kernels kernels/test_rows unit/test_session unit/test_half) \
    $(B)/abi/test_misuse
# The tables that no machine with AVX2 alone can run, and of a product's rows one in seven: there the time goes.
bochs_table = -- env TEST_TABLES=$(1) TEST_ROW_STEP=7 $(B)/tests/kernels/$(2)
bochs_encode = $(B)/bochs/test_encode $(B)/penult.so $(MODEL) amx
BOCHS_COMMANDS = -- $(B)/bochs/test_amx $(B)/penult.so $(MODEL) $(call bochs_table,amx,test_kernels) \
    $(call bochs_table,avx512,test_kernels) $(call bochs_table,avx512,test_rows) -- $(bochs_encode) \
    -- $(B)/bochs/refuse $(bochs_encode) refused
BOCHS_FULL = -- $(B)/tests/unit/test_session -- $(B)/tests/unit/test_half -- $(B)/abi/test_misuse $(B)/penult.so $(MODEL)
EMULATED_LIMIT ?= 3600

$(B)/bochs/%: tests/bochs/%.c tests/memory/host.c
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(MEMORY_CFLAGS) $(CFLAGS) -o $@ $(filter %.c,$^) -ldl -pthread -lm $(LDFLAGS)

-include $(BOCHS_TESTS:=.d)

.PHONY: check-emulated
check-emulated: all $(BOCHS_PROGRAMS)
	@B=$(B) tests/bochs/run.sh -t $(EMULATED_LIMIT) -f $(MODEL) $(BOCHS_COMMANDS) $(if $(CHECK_EMULATED_FULL),$(BOCHS_FULL))
