# files.mk - malformed and changing files, each with what the plugin must say of it. For tests.mk to include; uses the
# Makefile's variables.
#
#   make check-files     everything: the whole corpus, every damage of every byte under ASan and UBSan, changes at 100
#                        points, a million headers read twice; seven minutes, 400 MB of disk.
#                        REFERENCE_PYTHON=... an interpreter that has the safetensors package: the headers are read by it
#                        too; without one that part is left out and said so
#   make check-files-damage   of these the damage of every byte under ASan and UBSan; needs clang
#
# FILE_PROGRAMS and FILE_COMMANDS are what `make test` builds and runs of them: a part of each, half a minute in all.

REFERENCE_PYTHON ?=
FILE_CFLAGS = -std=c11 -D_GNU_SOURCE -O1 -g $(WARNINGS) $(HARDENING) -MMD -MP
FILE_TESTS = $(patsubst tests/files/%.c,$(B)/files/%,$(wildcard tests/files/test_*.c))
FILE_ENGINE = $(B)/files/mechanical $(B)/files/read_headers
FILE_CORPUS = $(B)/files/corpus/manifest.tsv
FILE_PROGRAMS = $(FILE_TESTS) $(FILE_ENGINE) $(FILE_CORPUS)

# programs that hold nothing but the plugin; --export-dynamic: its calls find the test's own pread, fstat and open
$(B)/files/test_changes: tests/files/changing.c
$(B)/files/test_%: tests/files/test_%.c tests/memory/host.c
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(MEMORY_CFLAGS) -Itests/memory $(CFLAGS) -o $@ $(filter %.c,$^) -Wl,--export-dynamic -ldl -lm -pthread $(LDFLAGS)

# programs that are linked with the engine
$(B)/files/mechanical: FILE_WRAPS = -Wl,--wrap=calloc -Wl,--wrap=realloc -Wl,--wrap=free
$(FILE_ENGINE): $(B)/files/%: tests/files/%.c $(ENGINE_OBJECTS)
	@mkdir -p $(@D)
	$(call say,TEST,$@)
	$(Q)$(CC) $(FILE_CFLAGS) $(CFLAGS) -o $@ $(filter %.c %.o,$^) $(BLAS_LINK) $(UTF8PROC) $(FILE_WRAPS) -lm $(LDFLAGS)

FILE_GENERATORS = $(wildcard tests/files/corpus*.py) tests/files/cases.py tests/files/small.py
$(FILE_CORPUS): $(FILE_GENERATORS)
	$(call say,MAKE,$@)
	$(Q)PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/files/corpus.py $(@D)
$(B)/files/corpus-large/manifest.tsv: $(FILE_GENERATORS)
	$(call say,MAKE,$@)
	$(Q)PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/files/corpus.py $(@D) --large

-include $(FILE_TESTS:=.d) $(FILE_ENGINE:=.d)

FILE_COMMANDS = \
    "$(B)/files/test_corpus $(B)/penult.so $(FILE_CORPUS)" \
    "$(PYTHON) tests/files/test_corpus_command.py $(B)/penult $(FILE_CORPUS) 12" \
    "$(B)/files/mechanical 11" \
    "$(B)/files/test_unusual $(B)/penult.so $(MODEL)" \
    "$(B)/files/test_changes $(B)/penult.so $(MODEL) 4" \
    "$(PYTHON) tests/files/test_numbers.py $(B)/penult.so $(MODEL)" \
    "$(PYTHON) tests/files/test_headers.py $(B)/files/read_headers 20000"

.PHONY: check-files check-files-damage check-files-run check-files-san
check-files: $(B)/penult.so $(B)/penult $(FILE_PROGRAMS) $(B)/files/corpus-large/manifest.tsv
	@$(MAKE) --no-print-directory check-files-damage
	@$(MAKE) --no-print-directory check-files-run

check-files-damage:
	@$(MAKE) --no-print-directory B=$(B)/asan CC=clang SANITIZE=address,undefined check-files-san

check-files-san: $(B)/files/mechanical
	@ASAN_OPTIONS=detect_leaks=1 $(PYTHON) tests/run_tests.py "$(B)/files/mechanical 1"

check-files-run:
	@PYTHONDONTWRITEBYTECODE=1 B=$(B) $(PYTHON) tests/run_tests.py \
	    "$(B)/files/test_corpus $(B)/penult.so $(B)/files/corpus-large/manifest.tsv" \
	    "$(PYTHON) tests/files/test_corpus_command.py $(B)/penult $(FILE_CORPUS) 1" \
	    "$(B)/files/test_unusual $(B)/penult.so $(MODEL)" \
	    "$(B)/files/test_changes $(B)/penult.so $(MODEL) 100" \
	    "$(PYTHON) tests/files/test_numbers.py $(B)/penult.so $(MODEL) all" \
	    "$(PYTHON) tests/files/test_headers.py $(B)/files/read_headers 1000000 $(REFERENCE_PYTHON)"
