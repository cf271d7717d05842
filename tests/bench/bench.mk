# bench.mk - how fast, and in how much memory: Penult beside transformers + torch at bigG's full geometry. For tests.mk to
# include; uses the Makefile's variables.
#
#   make bench           everything, then the goals with what was measured for each: 1 and 2 threads, 1 to 8 prompts; about an
#                        hour and 14 GB of memory. RUNS=9 the runs of each median; BENCH_JSON=FILE keeps all figures, each run;
#                        REFERENCE_PYTHON=... as for make parity; BENCH_MODELS=DIR where {f32,f16,bf16,f8,onnx} lie or are made
#                        (9 GB); BENCH_PLOT=FILE.png draws time against prompts; BENCH_OPTIONS=... goes to bench.py, whose
#                        --help says what there is: "--parts pair,cold" runs those only, "--mask avx2" holds both sides to it.
#                        In pieces: BENCH_JSON=FILE BENCH_OPTIONS="--minutes 9" stops in time, and the same command goes on
#   make bench SDCPP=DIR with stable-diffusion.cpp's text encoder too: DIR is a checkout with its submodule ggml, built in
#                        SDCPP_BUILD (DIR-build); needs cmake
#   make bench-plot      BENCH_PLOT=FILE.png again from BENCH_JSON=FILE, nothing measured
#   make bench-kernels   only the GEMM, without torch, beside oneDNN's where libdnnl-dev is installed: a minute
#   make bench-recipes   what each recipe of penult.condition/1 costs, both prompts: part of make bench; 2.2 GB of towers in
#                        BENCH_MODELS; BENCH_RECIPES="--recipes sdxl" goes to recipes.py
#   make bench-torchless Penult alone, where there is no torch; BENCH_MODELS must hold the three models

RUNS ?= 9
BENCH_MODELS ?= $(B)/bench/models
BENCH_OPTIONS ?=
BENCH_JSON ?=
BENCH_PLOT ?=
BENCH_RECIPES ?=
SDCPP ?=
SDCPP_BUILD ?= $(SDCPP)-build

BENCH_PEERS = $(B)/bench/peer_penult $(B)/bench/peer_tokenizer $(B)/bench/read_weights
DNNL = $(if $(wildcard /usr/include/dnnl.h),$(B)/bench/kernels_dnnl)
BENCH_TOOLS = $(BENCH_PEERS) $(B)/bench/kernels $(DNNL)
BENCH_CFLAGS = -std=c11 -D_GNU_SOURCE -O3 -g $(WARNINGS) $(HARDENING) -MMD -MP

$(BENCH_PEERS): $(B)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(call say,BENCH,$@)
	$(Q)$(CC) $(BENCH_CFLAGS) $(CFLAGS) -o $@ $< -ldl -pthread $(LDFLAGS)

$(B)/bench/kernels: tests/bench/kernels.c $(ENGINE_OBJECTS)
	@mkdir -p $(@D)
	$(call say,BENCH,$@)
	$(Q)$(CC) $(BENCH_CFLAGS) $(CFLAGS) -o $@ $(filter %.c %.o,$^) $(BLAS_LINK) $(UTF8PROC) -lm $(LDFLAGS)

$(B)/bench/kernels_dnnl: tests/bench/kernels_dnnl.c
	@mkdir -p $(@D)
	$(call say,BENCH,$@)
	$(Q)$(CC) $(BENCH_CFLAGS) $(CFLAGS) -o $@ $< -ldnnl $(LDFLAGS)

# Theirs is built outside this tree; what lies there of an earlier SDCPP is not taken for this one's.
.PHONY: bench-sdcpp
bench-sdcpp:
	@mkdir -p $(B)/bench && rm -f $(B)/bench/peer_sdcpp
ifneq ($(SDCPP),)
	@cmake -S tests/bench/sdcpp -B $(SDCPP_BUILD) -DSDCPP=$(abspath $(SDCPP)) >$(B)/bench/sdcpp.log 2>&1 && \
	cmake --build $(SDCPP_BUILD) --target peer_sdcpp -j2 >>$(B)/bench/sdcpp.log 2>&1 && \
	cp $(SDCPP_BUILD)/peer_sdcpp $(B)/bench/ || { tail -n 5 $(B)/bench/sdcpp.log >&2; exit 1; }
endif

-include $(BENCH_TOOLS:=.d)

bench_run = PYTHONDONTWRITEBYTECODE=1 $(1) tests/bench/bench.py --build $(B) --models $(BENCH_MODELS) --runs $(RUNS) \
	$(if $(BENCH_JSON),--json $(BENCH_JSON))
# a peer that cannot be had here is left out, and the bench says so: the index may not have its packages
bench_packages = packages=$$(tests/bench/environment.sh $(B)/bench/packages "$$python") && \
	PYTHONPATH="$$packages" "$$python" tests/bench/export_onnx.py $(BENCH_MODELS) || packages=

.PHONY: bench bench-measure bench-plot bench-recipes bench-kernels bench-torchless
bench: bench-measure
	@$(if $(BENCH_PLOT),$(MAKE) --no-print-directory bench-plot)
	@$(MAKE) --no-print-directory bench-recipes

# what make bench does before the recipes; BENCH_OPTIONS="--minutes 9" ends it with status 75 until it is done
bench-measure: export PYTHONDONTWRITEBYTECODE = 1
bench-measure: $(B)/penult.so $(BENCH_TOOLS) bench-sdcpp
	@python=$$(tests/parity/environment.sh $(B)/reference $(REFERENCE_PYTHON)) && \
	"$$python" tests/bench/write_models.py $(BENCH_MODELS) && \
	"$$python" tests/bench/write_texts.py $(B)/bench/tokens && \
	{ $(bench_packages); } && \
	$(call bench_run,"$$python") --torch "$$python" --packages "$$packages" $(BENCH_OPTIONS)

bench-plot:
	@test -n "$(BENCH_JSON)" -a -n "$(BENCH_PLOT)" || { echo "make bench-plot BENCH_JSON=FILE BENCH_PLOT=FILE.png: from where, to where?" >&2; exit 2; }
	@python=$$(tests/parity/environment.sh $(B)/reference $(REFERENCE_PYTHON)) && \
	packages=$$(tests/bench/environment.sh $(B)/bench/packages "$$python") && \
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$$packages" "$$python" tests/bench/plot.py $(BENCH_JSON) $(BENCH_PLOT)

bench-recipes: $(B)/penult.so
	@python=$$(tests/parity/environment.sh $(B)/reference $(REFERENCE_PYTHON)) && export PYTHONDONTWRITEBYTECODE=1 && \
	"$$python" tests/bench/recipes.py --build $(B) --models $(BENCH_MODELS)/recipes --write && \
	"$$python" tests/bench/recipes.py --build $(B) --models $(BENCH_MODELS)/recipes --torch "$$python" --runs $(RUNS) $(BENCH_RECIPES)

bench-torchless: $(B)/penult.so $(BENCH_TOOLS)
	@$(call bench_run,$(PYTHON)) $(BENCH_OPTIONS)

bench-kernels: $(B)/bench/kernels $(DNNL)
	@$(B)/bench/kernels $(RUNS)
	@$(if $(DNNL),$(DNNL) $(RUNS),echo "oneDNN is left out: install libdnnl-dev to see it here")
