# bench.mk - how fast, and in how much memory: Penult beside transformers + torch at bigG's full geometry. For tests.mk to
# include; uses the Makefile's variables.
#
#   make bench           everything: 1 and 2 threads, batches of 1 and 8; 15 to 30 minutes and 10 GB of memory.
#                        RUNS=9 the runs of each median; BENCH_JSON=FILE writes all figures, each run, as JSON;
#                        REFERENCE_PYTHON=... as for make parity; BENCH_MODELS=DIR where {f32,f16,bf16} lie or are made
#                        (5.6 GB); BENCH_OPTIONS=... goes to bench.py, whose --help says what there is
#   make bench-kernels   only the GEMM, without torch: a minute
#   make bench-recipes   what each recipe of penult.condition/1 costs, both prompts: part of make bench; 2.2 GB of towers in
#                        BENCH_MODELS; BENCH_RECIPES="--recipes sdxl" goes to recipes.py
#   make bench-torchless Penult alone, where there is no torch; BENCH_MODELS must hold the three models

RUNS ?= 9
BENCH_MODELS ?= $(B)/bench/models
BENCH_OPTIONS ?=
BENCH_JSON ?=
BENCH_RECIPES ?=

BENCH_TOOLS = $(B)/bench/peer_penult $(B)/bench/read_weights $(B)/bench/kernels
BENCH_CFLAGS = -std=c11 -D_GNU_SOURCE -O3 -g $(WARNINGS) $(HARDENING) -MMD -MP

$(B)/bench/peer_penult $(B)/bench/read_weights: $(B)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(call say,BENCH,$@)
	$(Q)$(CC) $(BENCH_CFLAGS) $(CFLAGS) -o $@ $< -ldl -pthread $(LDFLAGS)

$(B)/bench/kernels: tests/bench/kernels.c $(ENGINE_OBJECTS)
	@mkdir -p $(@D)
	$(call say,BENCH,$@)
	$(Q)$(CC) $(BENCH_CFLAGS) $(CFLAGS) -o $@ $(filter %.c %.o,$^) $(BLAS_LINK) $(UTF8PROC) -lm $(LDFLAGS)

-include $(BENCH_TOOLS:=.d)

bench_run = PYTHONDONTWRITEBYTECODE=1 $(1) tests/bench/bench.py --build $(B) --models $(BENCH_MODELS) --runs $(RUNS) \
	$(if $(BENCH_JSON),--json $(BENCH_JSON))

.PHONY: bench bench-recipes bench-kernels bench-torchless
bench: $(B)/penult.so $(BENCH_TOOLS)
	@python=$$(tests/parity/environment.sh $(B)/reference $(REFERENCE_PYTHON)) && \
	"$$python" tests/bench/write_models.py $(BENCH_MODELS) && \
	$(call bench_run,"$$python") --torch "$$python" $(BENCH_OPTIONS)
	@$(MAKE) --no-print-directory bench-recipes

bench-recipes: $(B)/penult.so
	@python=$$(tests/parity/environment.sh $(B)/reference $(REFERENCE_PYTHON)) && export PYTHONDONTWRITEBYTECODE=1 && \
	"$$python" tests/bench/recipes.py --build $(B) --models $(BENCH_MODELS)/recipes --write && \
	"$$python" tests/bench/recipes.py --build $(B) --models $(BENCH_MODELS)/recipes --torch "$$python" --runs $(RUNS) $(BENCH_RECIPES)

bench-torchless: $(B)/penult.so $(BENCH_TOOLS)
	@$(call bench_run,$(PYTHON)) $(BENCH_OPTIONS)

bench-kernels: $(B)/bench/kernels
	@$(B)/bench/kernels $(RUNS)
