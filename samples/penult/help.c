/* help.c - `penult help`: teaches, with an example for each command. Holds the version, which the Makefile passes as
 * PENULT_VERSION. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "say.h"

const char command_version[] = PENULT_VERSION;

static const char overview[] =
    "penult - turns prompts into what a diffusion sampler is conditioned on, with a\n"
    "CLIP text tower, on the CPU\n"
    "\n"
    "  penult encode MODEL \"prompt\"...    hidden states and pooled embeddings, to\n"
    "                                     files and as a picture\n"
    "  penult tokenize MODEL \"text\"...    what the tower sees of a text\n"
    "  penult tokenize --vocab \"text\"...  the same without a model\n"
    "  penult info MODEL                  what a model is\n"
    "  penult help [COMMAND]              this, or all about one command\n"
    "  penult --version                   of the command and of the plugin\n"
    "\n"
    "MODEL is a directory as huggingface transformers writes it: config.json,\n"
    "model.safetensors, and the tokenizer as tokenizer.json or as vocab.json and\n"
    "merges.txt. SDXL's \"text_encoder_2\" is one; its tokenizer lies beside it in\n"
    "\"tokenizer_2\" and is named with --tokenizer. Where there is none, CLIP's own\n"
    "vocabulary is used if it lies beside the plugin: `make vocab` puts it there.\n"
    "\n"
    "Try it with the model that comes with penult (small, random weights):\n"
    "\n"
    "  penult encode samples/model \"a photo of an astronaut\" --heatmap hidden.png\n"
    "\n"
    "What is what\n"
    "  A CLIP text tower turns a prompt into T = 77 tokens: a start token, up to 75\n"
    "  of the text, an end token, padding. Each token becomes a vector of D values\n"
    "  (1280 for CLIP ViT-bigG/14) that runs through L blocks (32). What stands\n"
    "  between two blocks is a hidden state [T,D].\n"
    "\n"
    "  penultimate  the hidden state that the last block but one puts out: layer -2.\n"
    "               SDXL takes this one from both of its text encoders, before the\n"
    "               final layer norm. Stable Diffusion 1 takes the last one, layer\n"
    "               -1, with --final-norm.\n"
    "  pooled       one vector for the whole prompt: the last hidden state, after\n"
    "               the final layer norm, at the end token. raw [D]: as it is;\n"
    "               projected [P]: times the text projection, which is what SDXL\n"
    "               takes from bigG; normalised [P]: that, scaled to length 1, for\n"
    "               comparing texts.\n"
    "\n"
    "Where the numbers come from\n"
    "  77, D, L, P, the heads, the activation and the ids of start, end and padding\n"
    "  are read from the model's own files and checked against its tensors; \"penult\n"
    "  info\" shows them. Nothing is guessed from a width: --activation is there for\n"
    "  files whose config.json is known to be wrong. Layer -2 as the default is\n"
    "  SDXL's (Podell et al. 2023, arXiv 2307.01952; diffusers takes\n"
    "  hidden_states[-2]).\n"
    "\n"
    "Exit status: 0 done, 1 something failed, 2 the command line made no sense.\n"
    "Errors are one sentence on stderr.\n";

static const char encode[] =
    "penult encode MODEL \"prompt\"... [options]\n"
    "Prompts to hidden states and pooled embeddings.\n"
    "\n"
    "What goes in\n"
    "  \"prompt\"           as many as you like; \"\" is the empty prompt; one that\n"
    "                     begins with \"-\" goes after \"--\"\n"
    "  --prompts FILE     one prompt per line\n"
    "  -                  the same from standard input\n"
    "\n"
    "What comes out: what --layer and --pooled name. Without both: --layer -2 and\n"
    "--pooled projected (raw if the model has no projection).\n"
    "  --layer N          a hidden state [B,T,D], B being the prompts; may be\n"
    "                     repeated. -1 is the output of the last block, -2 of the\n"
    "                     one before it (the penultimate, SDXL's); 0 is the\n"
    "                     embeddings, 5 the output of block 5\n"
    "  --final-norm       apply the final layer norm to the hidden states\n"
    "  --pooled KIND      raw, projected or normalised; may be repeated\n"
    "  --dtype TYPE       how outputs are stored: f32 (the default), f16 or bf16.\n"
    "                     What is computed is f32 in any case\n"
    "\n"
    "Where it goes\n"
    "  --out FILE         may be repeated; the name says the format:\n"
    "                       .safetensors  everything, with input_ids and a few\n"
    "                                     words on what it is\n"
    "                       .npz          everything, for numpy.load; no bf16\n"
    "                       .npy          one tensor; with several, one file each:\n"
    "                                     FILE.hidden-2.npy, FILE.pooled.npy\n"
    "  --heatmap FILE.png a picture of the hidden states: tokens down, channels\n"
    "                     across, blue below zero and red above\n"
    "  --json             one JSON object on stdout instead of the tables\n"
    "  --quiet            no tables, no progress, no warnings\n"
    "  Files appear complete or not at all; Ctrl-C leaves none behind.\n"
    "\n"
    "How\n"
    "  --threads N        worker threads; 0 (the default): one for every CPU this\n"
    "                     process may use. The values do not depend on it\n"
    "  --kernels SET      the highest set to compute with: scalar, openblas, avx2,\n"
    "                     avx512 or best (the default); the last bits depend on it\n"
    "  --tokenizer DIR    where the tokenizer is, if not in MODEL\n"
    "  --open-clip, --pad-in-text text|special   as for tokenize\n"
    "  --activation NAME  gelu or quick_gelu, against what config.json says\n"
    "  --copy             read the weights into memory instead of mapping the file\n"
    "  --plugin PATH      the penult.so to use; else the one beside this command,\n"
    "                     then ../lib/penult/penult.so from there, then\n"
    "                     /usr/local/lib/penult and /usr/lib/penult\n"
    "\n"
    "Examples\n"
    "  SDXL's share of bigG, in one file:\n"
    "    penult encode text_encoder_2 --tokenizer tokenizer_2 \\\n"
    "        \"a lighthouse at dusk\" --out dusk.safetensors\n"
    "  What Stable Diffusion 1 takes:\n"
    "    penult encode text_encoder --tokenizer tokenizer \\\n"
    "        \"a lighthouse at dusk\" --layer -1 --final-norm --out dusk.npy\n"
    "  A thousand prompts, one per line, to compare them:\n"
    "    penult encode MODEL --prompts prompts.txt --pooled normalised \\\n"
    "        --out prompts.npy\n";

static const char tokenize[] =
    "penult tokenize MODEL \"text\"... [options]\n"
    "penult tokenize --vocab[=FILE] \"text\"... [options]\n"
    "What the tower sees of a text.\n"
    "\n"
    "Shows for each token its position, its id and the bytes of the text it stands\n"
    "for; then what was cut because it did not fit between start and end. The ids\n"
    "are those of transformers' CLIPTokenizerFast on the same files, or with\n"
    "--open-clip those of open_clip.\n"
    "\n"
    "  --prompts FILE     texts from a file, one per line\n"
    "  -                  the same from standard input\n"
    "  --body             the ids of the text alone: no start, end or padding, and\n"
    "                     nothing cut\n"
    "  --tokenizer DIR    where the tokenizer is, if not in MODEL\n"
    "  --vocab[=FILE]     without a model: with FILE, else with CLIP's vocabulary\n"
    "                     beside the plugin (clip.vocab; `make vocab` makes it)\n"
    "  --open-clip        clean the text as open_clip.tokenize does, which LAION's\n"
    "                     models were trained with: HTML entities undone, curly\n"
    "                     quotes straightened, ligatures taken apart; special are\n"
    "                     <start_of_text> and <end_of_text>, padding is 0. Mojibake\n"
    "                     is not repaired\n"
    "  --pad-in-text WHAT the padding token's string (SDXL's \"!\") in the text: text,\n"
    "                     or special, as diffusers' tokenizer_2 takes it; without\n"
    "                     the option as the tokenizer's files say\n"
    "  --json             one JSON object: ids, and the bytes of each token\n"
    "  --activation NAME, --plugin PATH, --quiet   as for encode\n"
    "\n"
    "Example: how many tokens has a long prompt, and what of it is lost?\n"
    "    penult tokenize MODEL - < prompt.txt\n"
    "What does SDXL's second encoder take \"wow!\" for, and what would open_clip?\n"
    "    penult tokenize --vocab --pad-in-text special \"wow!\"\n"
    "    penult tokenize --vocab --open-clip \"wow!\"\n";

static const char info[] =
    "penult info MODEL [options]\n"
    "What a model is.\n"
    "\n"
    "Geometry, storage, ids of the tokenizer, the kernels that would compute, and\n"
    "every note and warning about the files: tensors that are not used, keys that\n"
    "are not known, assumptions that were made.\n"
    "\n"
    "  --json             one JSON object\n"
    "  --copy             open it as encode --copy does\n"
    "  --tokenizer DIR, --open-clip, --pad-in-text WHAT, --activation NAME,\n"
    "  --plugin PATH, --quiet   as for encode\n"
    "\n"
    "Example:\n"
    "    penult info text_encoder_2 --tokenizer tokenizer_2\n";

int command_help(const struct options *options) {
    static const struct {
        const char *topic;
        const char *text;
    } topics[] = {{"encode", encode}, {"tokenize", tokenize}, {"info", info}, {"help", overview}};
    if (options->topic == NULL) {
        fputs(overview, stdout);
        return STATUS_OK;
    }
    for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++) {
        if (strcmp(topics[i].topic, options->topic) == 0) {
            fputs(topics[i].text, stdout);
            return STATUS_OK;
        }
    }
    return say_usage("there is no help about \"%s\"; there is about encode, tokenize and info", options->topic);
}
