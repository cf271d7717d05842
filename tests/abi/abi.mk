# abi.mk - how the tests of the ABI are built and run. For the Makefile at the root to include; uses CC, CFLAGS, B (the
# build folder, default build), MODEL (default samples/model) and PYTHON (one that has NumPy, default python3).
#
#   make check-abi          everything below, in this order
#   make check-abi-static   the headers and the exports: needs no model
#
# What each builds:
#   tests/abi/fakes/*.c     -> $(B)/abi/fakes/NAME.so, libraries that are wrong in one way each
#   tests/abi/test_load.c   -> $(B)/abi/test_load FAKES PLUGIN
#   tests/abi/test_misuse*.c -> $(B)/abi/test_misuse PLUGIN MODEL

B ?= build
MODEL ?= samples/model
PYTHON ?= python3
ABI_CFLAGS = -std=c11 -D_GNU_SOURCE -O1 -g -Iapi \
    -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wformat=2 -Wstrict-prototypes -Werror \
    $(if $(SANITIZE),-fsanitize=$(SANITIZE))
ABI_FAKES = no_entry null_entry no_functions old new newer nameless nonsense short_table tiny_table hole other_minor \
    depends

ABI_DEFINES_no_functions = -DFAKE_WITHOUT_FUNCTIONS
ABI_DEFINES_old = -DFAKE_VERSION='"0.0.9"'
ABI_DEFINES_new = -DFAKE_VERSION='"0.6.0"'
ABI_DEFINES_newer = -DFAKE_VERSION='"1.3.0"'
ABI_DEFINES_nameless = -DFAKE_VERSION=NULL
ABI_DEFINES_nonsense = -DFAKE_VERSION='"latest and best"'
ABI_DEFINES_short_table = -DFAKE_BYTES=56
ABI_DEFINES_tiny_table = -DFAKE_BYTES=4
ABI_DEFINES_hole = -DFAKE_BYTES=56 -DFAKE_HOLE
ABI_DEFINES_other_minor = -DFAKE_BYTES=56 -DFAKE_MINOR=7

ABI_SOURCE_no_functions = null_entry
ABI_SOURCE_old = other_version
ABI_SOURCE_new = other_version
ABI_SOURCE_newer = other_version
ABI_SOURCE_nameless = other_version
ABI_SOURCE_nonsense = other_version
ABI_SOURCE_tiny_table = short_table
ABI_SOURCE_hole = short_table
ABI_SOURCE_other_minor = short_table
ABI_SOURCE_depends = no_entry

# `depends` has no symbol of its own and finds penult_entry in a library that it needs.
ABI_LINK_depends = -Wl,--no-as-needed -L$(B)/abi/fakes -l:old.so '-Wl,-rpath,$$ORIGIN'
$(B)/abi/fakes/depends.so: $(B)/abi/fakes/old.so

abi_source = tests/abi/fakes/$(or $(ABI_SOURCE_$(1)),$(1)).c

define abi_fake
$(B)/abi/fakes/$(1).so: $(call abi_source,$(1)) api/penult.h
	@mkdir -p $(B)/abi/fakes
	$$(CC) $$(ABI_CFLAGS) $$(ABI_DEFINES_$(1)) -fPIC -shared $$< -o $$@ $$(ABI_LINK_$(1))
endef
$(foreach fake,$(ABI_FAKES),$(eval $(call abi_fake,$(fake))))

$(B)/abi/test_load: tests/abi/test_load.c api/penult.h api/penult_load.h
	@mkdir -p $(B)/abi
	$(CC) $(ABI_CFLAGS) $< -o $@ -lcmocka -ldl

$(B)/abi/test_misuse: tests/abi/test_misuse.c $(wildcard tests/abi/misuse*.[ch]) api/penult.h api/penult_load.h
	@mkdir -p $(B)/abi
	$(CC) $(ABI_CFLAGS) $(filter %.c,$^) -o $@ -lcmocka -ldl -lpthread

.PHONY: check-abi check-abi-static
check-abi-static: $(B)/abi/test_load $(ABI_FAKES:%=$(B)/abi/fakes/%.so) $(B)/penult.so
	tests/abi/compile_matrix.sh
	tests/abi/test_exports.sh $(B)/penult.so $$(find $(B)/obj/plugin $(B)/obj/encoder -name '*.o')
	CMOCKA_MESSAGE_OUTPUT=TAP $(B)/abi/test_load $(B)/abi/fakes $(B)/penult.so

check-abi: check-abi-static $(B)/abi/test_misuse
	CMOCKA_MESSAGE_OUTPUT=TAP $(B)/abi/test_misuse $(B)/penult.so $(MODEL)
	$(PYTHON) tests/abi/test_python.py $(B)/penult.so $(MODEL)
	$(PYTHON) tests/abi/test_python_life.py $(B)/penult.so $(MODEL)
	$(PYTHON) tests/abi/test_python_pipeline.py $(B)/penult.so $(MODEL)
	$(PYTHON) tests/abi/test_python_prompts.py $(B)/penult.so $(MODEL)
	$(PYTHON) tests/abi/test_python_pipeline_life.py $(B)/penult.so $(MODEL)
