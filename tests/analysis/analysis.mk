# analysis.mk - sanitizers and valgrind. For tests.mk to include; uses the Makefile's variables.

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
