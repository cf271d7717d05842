/* peer_sdcpp.cpp - stable-diffusion.cpp's text encoder as a process of the bench; speaks the lines of peer_penult.c. Compiled
 * against a checkout of theirs (sdcpp/CMakeLists.txt); knows no other peer.
 *
 *     peer_sdcpp MODEL THREADS BATCH      MODEL: a directory with model.safetensors, whose types the graph keeps
 *
 * Their CLIPTextModelRunner with their loader: the graph for the hidden state -2, which is 31 of the 32 blocks. They compute
 * the pooled vector in a second graph over all blocks again; it is not run here, so a run is a little less than what the other
 * peers do. It takes one prompt: several are run one after the other, as they do. Buffers stay between the runs, which is the
 * better case of theirs. */
#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <ctime>

#include "ggml-cpu.h"
#include "model/te/clip.hpp"
#include "model_loader.h"

namespace {

constexpr int TOKENS = 77, BODY = 20, START_ID = 49406, END_ID = 49407, PENULTIMATE = 2;
const std::string PREFIX = "text_model";

double seconds(clockid_t clock) {
    timespec now;
    clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

long major_faults() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_majflt;
}

bool fail(const char *why) {
    fprintf(stderr, "peer_sdcpp: %s\n", why);
    return false;
}

/* All weights are in memory from the start: nothing is left to do when a graph asks for them. */
struct Resident : RunnerWeightManager {
    bool assign_compute_backend(const std::vector<ggml_tensor *> &, ggml_backend_t) override { return true; }
    bool prepare_params(const std::vector<ggml_tensor *> &) override { return true; }
    void release_compute_backend_params(const std::vector<ggml_tensor *> &) override {}
    void release_params_backend_params(const std::vector<ggml_tensor *> &) override {}
};

struct Tower : CLIPTextModelRunner {
    using CLIPTextModelRunner::CLIPTextModelRunner;
    ggml_context *weights() { return params_ctx; }
};

struct Host {
    std::string path;
    int threads = 1, batch = 1;
    ggml_backend_t backend = nullptr;
    ggml_backend_buffer_t buffer = nullptr;
    std::shared_ptr<Resident> resident = std::make_shared<Resident>();
    std::unique_ptr<Tower> tower;
    std::vector<sd::Tensor<int32_t>> prompts;
    sd::Tensor<float> hidden; /* of the first */
};

/* the ids of peer_torch.py */
void fill_ids(Host &host) {
    for (int b = 0; b < host.batch; b++) {
        host.prompts.emplace_back(std::vector<int64_t>{TOKENS});
        int32_t *row = host.prompts.back().data();
        std::fill(row, row + TOKENS, 0);
        row[0] = START_ID;
        for (int i = 1; i <= BODY; i++)
            row[i] = 320 + (b * 97 + i * 31) % 40000;
        row[BODY + 1] = END_ID;
    }
}

bool load(Host &host) {
    ModelLoader loader;
    loader.set_n_threads(host.threads);
    if (!loader.init_from_file(host.path + "/model.safetensors"))
        return fail("their loader could not read the model");
    host.backend = ggml_backend_cpu_init();
    host.tower = std::make_unique<Tower>(host.backend, loader.get_tensor_storage_map(), PREFIX, OPEN_CLIP_VIT_BIGG_14, false, false,
                                         host.resident);
    host.buffer = ggml_backend_alloc_ctx_tensors(host.tower->weights(), host.backend);
    std::map<std::string, ggml_tensor *> tensors;
    host.tower->get_param_tensors(tensors, PREFIX);
    size_t found = 0;
    bool good = host.buffer && loader.load_tensors(
        [&](const TensorStorage &stored, ggml_tensor **to) {
            /* theirs is named without ".weight" in a tower of its own */
            auto place = tensors.find(stored.name == "text_projection.weight" ? PREFIX + ".text_projection" : stored.name);
            *to = place == tensors.end() ? nullptr : place->second;
            found += *to != nullptr;
            return true;
        },
        false, nullptr, false);
    return (good && found == tensors.size()) || fail("a tensor of the tower is not in the file");
}

bool open_all(Host &host) {
    double began = seconds(CLOCK_MONOTONIC);
    if (!load(host))
        return false;
    fill_ids(host);
    printf("{\"did\": \"open\", \"model_open\": %.6f, \"version\": \"%s, ggml %s\", \"kernels\": \"%s%s%s%s\"}\n",
           seconds(CLOCK_MONOTONIC) - began, SDCPP_COMMIT, ggml_version(), ggml_cpu_has_avx2() ? "avx2" : "",
           ggml_cpu_has_avx512() ? " avx512" : "", ggml_cpu_has_avx512_bf16() ? " avx512_bf16" : "",
           ggml_cpu_has_amx_int8() ? " amx_int8" : "");
    return true;
}

bool run(Host &host) {
    long faults = major_faults();
    double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), wall = seconds(CLOCK_MONOTONIC);
    bool good = true;
    for (size_t b = 0; b < host.prompts.size(); b++) {
        auto hidden = host.tower->compute(host.threads, host.prompts[b], 0, nullptr, 0, false, PENULTIMATE, false, false, false);
        good = good && !hidden.empty();
        if (b == 0)
            host.hidden = std::move(hidden);
    }
    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (!good)
        return fail("their graph gave nothing");
    printf("{\"did\": \"run\", \"wall\": %.6f, \"cpu\": %.6f, \"major_faults\": %ld}\n", wall, cpu, major_faults() - faults);
    return true;
}

bool save(Host &host, const char *path) {
    size_t count = static_cast<size_t>(TOKENS) * static_cast<size_t>(host.tower->model.hidden_size);
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail("could not write the hidden state");
    size_t written = fwrite(host.hidden.data(), sizeof(float), count, file);
    if (fclose(file) != 0 || written != count)
        return fail("could not write the hidden state");
    puts("{\"did\": \"save\"}");
    return true;
}

bool obey(Host &host, char *line) {
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "open") == 0)
        return open_all(host);
    if (!host.tower)
        return fail("nothing is open yet");
    if (strcmp(line, "run") == 0)
        return run(host);
    if (strncmp(line, "save ", 5) == 0)
        return save(host, line + 5);
    return fail("unknown command");
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: peer_sdcpp MODEL THREADS BATCH\n");
        return 2;
    }
    setvbuf(stdout, nullptr, _IOLBF, 0);
    Host host;
    host.path = argv[1];
    host.threads = atoi(argv[2]);
    host.batch = atoi(argv[3]);
    char line[4096];
    bool good = true;
    puts("{\"did\": \"load\"}");
    while (good && fgets(line, sizeof line, stdin))
        good = obey(host, line);
    host.tower.reset();
    ggml_backend_buffer_free(host.buffer);
    ggml_backend_free(host.backend);
    return good ? 0 : 1;
}
