/* tokenize.c - `penult tokenize`: what the tower would see of a text. */
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"
#include "host.h"
#include "interrupt.h"
#include "prompts.h"
#include "say.h"
#include "tokens.h"

static void show(const struct tokens *tokens, const struct prompt *prompt, bool quiet) {
    if (quiet) {
        return;
    }
    putchar('"');
    say_text(stdout, prompt->text, prompt->bytes, 70);
    printf("\": %" PRIu64 " tokens, %" PRIu64 " cut\n", tokens->body_count, tokens->cut_count);
    tokens_show(tokens, prompt);
    putchar('\n');
}

static int tokenize(const struct options *options, struct host *host, struct prompts *prompts) {
    bool failed;
    int status = prompts_read(prompts, options);
    if (status == STATUS_OK) {
        status = host_open(host, options);
    }
    json root = json_begin(&failed);
    json_add_string(root, "command", "tokenize");
    if (status == STATUS_OK) {
        host_json(host, options, root);
    }
    json texts = json_add_array(root, "texts");
    for (size_t i = 0; i < prompts->count && status == STATUS_OK && !interrupt_pending(); i++) {
        struct tokens tokens;
        status = tokens_read(&tokens, host, &prompts->list[i], options->body, prompts->count > 1 ? i + 1 : 0);
        if (status == STATUS_OK && options->json) {
            tokens_json(&tokens, &prompts->list[i], json_add_object(texts, NULL));
        } else if (status == STATUS_OK) {
            show(&tokens, &prompts->list[i], options->quiet);
        }
        tokens_free(&tokens);
    }
    if (status == STATUS_OK && interrupt_pending()) {
        status = say_failed("interrupted");
    }
    if (status == STATUS_OK && options->json) {
        status = json_print(root);
    }
    json_end(root);
    return status;
}

int command_tokenize(const struct options *options) {
    struct host host = {0};
    struct prompts prompts = {0};
    interrupt_watch();
    int status = tokenize(options, &host, &prompts);
    prompts_free(&prompts);
    host_close(&host);
    if (status != STATUS_OK) {
        interrupt_finish();
    }
    return status;
}
