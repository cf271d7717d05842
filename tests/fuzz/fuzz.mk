# fuzz.mk - fuzz targets. For tests.mk to include; uses the Makefile's variables.

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
