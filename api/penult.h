/* penult.h - the Penult ABI, version 0.5, and its manual.
 *
 * Penult turns prompts into what a diffusion sampler is conditioned on: hidden states and pooled embeddings of a
 * CLIP text tower. A host loads penult.so with dlopen, asks it for a table of functions, opens a model, opens a
 * session on it, and encodes. This header is all a host needs to read; penult_load.h does the dlopen.
 *
 *     struct penult_library lib; char why[512];
 *     if (penult_load(&lib, "./penult.so", why, sizeof why) != 0) { puts(why); return 1; }
 *     const penult_api *api = lib.api;
 *     penult_error error;
 *     penult_open_params open = { .struct_size = sizeof open, .path = "text_encoder_2" };
 *     penult_model *model;
 *     if (api->model_open(&open, &model, &error) != PENULT_OK) { puts(error.message); return 1; }
 *     penult_session_params params = { .struct_size = sizeof params };
 *     penult_session *session;
 *     if (api->session_open(model, &params, &session, &error) != PENULT_OK) ...
 *     penult_prompt prompt = { .text = "a photo of a cat", .text_bytes = 16 };
 *     penult_output output = { .kind = PENULT_HIDDEN, .layer = -2,
 *                              .to = { .data = hidden, .bytes = sizeof hidden, .dtype = PENULT_F32 } };
 *     penult_text_request request = { .struct_size = sizeof request,
 *         .prompt_count = 1, .prompt_stride = sizeof prompt, .prompts = &prompt,
 *         .output_count = 1, .output_stride = sizeof output, .outputs = &output };
 *     api->encode_text(session, &request, NULL, &error);
 *
 * SHAPES. B prompts, T tokens, D width, H heads, L blocks, P projection width. Arrays are row-major, little-endian.
 *
 * THREADS. Each function carries one tag:
 *   [any-thread]      may be called from any thread at any time, also together with any other call on the handle;
 *   [session-thread]  calls on one session must not overlap in time; which thread makes them does not matter.
 *                     Two sessions, also of one model, are independent;
 *   [open/close]      makes or ends a handle: no other call on that same handle may be under way.
 * Callbacks run on the thread that made the call, inside that call. They must return; they must not call into the
 * same session, except session_cancel. All computing happens on threads the session owns.
 *
 * MEMORY. The caller owns every buffer, every array and the error struct. Nothing but handles needs freeing.
 * Strings are UTF-8. Pointers given in a call need to live until it returns and no longer; the callbacks and `user`
 * likewise.
 *
 * GROWTH. A struct that can grow begins with struct_size, which the caller sets to its own sizeof. A library that
 * knows less than the caller requires the bytes that it does not know to be zero (else PENULT_E_UNSUPPORTED); one
 * that knows more takes the missing bytes as zero, and zero always means what the older header meant. Array elements
 * (penult_prompt, penult_output) travel with their size as a stride, under the same rule. Where the library fills in a
 * struct it writes at most struct_size bytes and sets what it does not know to zero. penult_error and penult_buffer
 * are frozen. Reserved fields and unknown flag bits must be zero.
 * While the version is 0.x, a minor version may still change the layout; a loader must ask for exactly what it was
 * compiled with, and penult_load.h does.
 *
 * ERRORS. Every fallible function returns a PENULT_ status and, where `error` is not NULL, fills the caller's
 * penult_error: the same status and one sentence that names the thing, what was found and what was expected. On
 * success the error struct is not touched. On failure out-parameters are NULL or untouched, and nothing needs
 * cleaning up. Outputs are untouched for every error that is found before the first block; after PENULT_E_CANCELLED,
 * _CHANGED, _IO or _NON_FINITE out of encode_text the contents of the outputs are unspecified.
 *
 * GUEST MANNERS. The library prints nothing, reads no environment, changes no locale, no signal handler, no
 * floating-point mode, no working directory, and leaves no thread behind a closed session. Handles are not valid in
 * the child of a fork. dlclose is harmless at any time and unmaps nothing.
 *
 * NUMBERS. The arithmetic is float32 whatever the storage type of the weights, with the same order of operations for
 * every batch and every number of threads: on one machine the same prompt gives the same bits. Formulas and their
 * sources: the text transformer of Radford et al. 2021 (arXiv 2103.00020), as openai/CLIP clip/model.py and
 * huggingface/transformers models/clip/modeling_clip.py compute it.
 */
#ifndef PENULT_H
#define PENULT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PENULT_ABI_MAJOR 0u
#define PENULT_ABI_MINOR 5u

#if defined(__GNUC__)
#define PENULT_EXPORT __attribute__((visibility("default")))
#else
#define PENULT_EXPORT
#endif

/* ---- status ------------------------------------------------------------------------------------------------- */

/* Take a status that is not in this list as a failure: later versions may add some. */
#define PENULT_OK 0
#define PENULT_E_ARGUMENT 1       /* a NULL, a count, a flag, a handle or a buffer that cannot be what was meant */
#define PENULT_E_UNSUPPORTED 2    /* understood, but not by this version: an unknown field, dtype, activation */
#define PENULT_E_NOT_FOUND 3      /* no such file */
#define PENULT_E_IO 4             /* the system could not open, read or map a file */
#define PENULT_E_FORMAT 5         /* a file breaks the rules of its format */
#define PENULT_E_TRUNCATED 6      /* a file is shorter than it says itself */
#define PENULT_E_TRAILING 7       /* a file has bytes after its end */
#define PENULT_E_MISMATCH 8       /* two files, or a file and the geometry, disagree */
#define PENULT_E_NO_MEMORY 9      /* the system gave no memory or no thread */
#define PENULT_E_TEXT 10          /* text that is not UTF-8; the message has the offset */
#define PENULT_E_LIMIT 11         /* larger than the session was opened for */
#define PENULT_E_NO_TOKENIZER 12  /* text was given, and the model was opened without a tokenizer */
#define PENULT_E_CANCELLED 13     /* session_cancel, or a progress callback that returned nonzero */
#define PENULT_E_NON_FINITE 14    /* the weights produced an infinity or a NaN */
#define PENULT_E_CHANGED 15       /* a mapped file is not the file that was opened any more */
#define PENULT_E_WRONG_PROCESS 16 /* a session that was opened before a fork */

/* Frozen: 512 bytes. message is NUL-terminated UTF-8 of one line, cut if it must be. */
typedef struct penult_error {
    int32_t status;
    char message[508];
} penult_error;

/* ---- values ------------------------------------------------------------------------------------------------- */

/* dtype: of results one of the first three, of weights any */
#define PENULT_F32 1u
#define PENULT_F16 2u     /* IEEE 754 binary16 */
#define PENULT_BF16 3u    /* the upper half of an F32 */
#define PENULT_F64 4u     /* rounded to F32 when it is read */
#define PENULT_F8_E4M3 5u /* the "fn" form: no infinity (arXiv 2209.05433) */
#define PENULT_F8_E5M2 6u

/* activation of the MLP; never deducible from a width (openai ViT-L and LAION ViT-L differ in nothing else) */
#define PENULT_QUICK_GELU 1u /* x * sigmoid(1.702 x) */
#define PENULT_GELU 2u       /* x * (1 + erf(x / sqrt 2)) / 2 */

/* kind of an output */
#define PENULT_HIDDEN 1u            /* [B,T,D]  the hidden state at `layer` */
#define PENULT_POOLED_RAW 2u        /* [B,D]    the final-normed last state at the end-of-text row: HF pooler_output */
#define PENULT_POOLED_PROJECTED 3u  /* [B,P]    that, times the text projection (HF text_embeds) */
#define PENULT_POOLED_NORMALISED 4u /* [B,P]    that, divided by its Euclidean norm: for similarity, not for samplers */

/* flags of an output */
#define PENULT_FINAL_NORM 1u /* PENULT_HIDDEN: apply the tower's final layer norm to the hidden state */

/* ---- opening a model ---------------------------------------------------------------------------------------- */

/* severity of a report */
#define PENULT_REPORT_NOTE 1u    /* how something was read, or an assumption that was made */
#define PENULT_REPORT_WARNING 2u /* opened, but a careful host would show this */
#define PENULT_REPORT_ERROR 3u   /* one of the reasons why the open will fail */

/* kind of a report: what it is about. Take one that is not in this list as 0. */
#define PENULT_ABOUT_OTHER 0u
#define PENULT_ABOUT_FORMAT 1u     /* a container: its kind, files, tensors and bytes */
#define PENULT_ABOUT_LAYOUT 2u     /* the naming dialect by which the tower is read; subject: its name */
#define PENULT_ABOUT_TOWER 3u      /* a text tower that is there; subject: a name that open_params.tower takes */
#define PENULT_ABOUT_ASSUMPTION 4u /* what no file says and was taken as published: override it if you know better */
#define PENULT_ABOUT_USED 5u       /* the tensors in use, all in one, and one by one with PENULT_OPEN_LIST_TENSORS */
#define PENULT_ABOUT_IGNORED 6u    /* tensors left, and why that is safe */
#define PENULT_ABOUT_MISSING 7u    /* a tensor that is called for and not there */
#define PENULT_ABOUT_WRONG 8u      /* a tensor that is there, with a shape or type that it cannot have */
#define PENULT_ABOUT_UNEXPECTED 9u /* tensors left, and nothing known says why they are there */

/* One finding about a file. `subject` is the tensor, tower, key or file it speaks of; both strings live for the call. tensors
 * and bytes are those it speaks of; 0 where it speaks of none. */
typedef struct penult_report {
    uint32_t struct_size;
    uint32_t severity;
    const char *subject;
    const char *message;
    uint32_t kind;
    uint32_t reserved;
    uint64_t tensors;
    uint64_t bytes;
} penult_report;

/* stage of a progress */
#define PENULT_STAGE_OPEN 1u   /* done and total are bytes read */
#define PENULT_STAGE_ENCODE 2u /* done and total are blocks; total is what the outputs asked for need, at most L */
#define PENULT_STAGE_HASH 3u   /* done and total are bytes of the weights as float32 */

typedef struct penult_progress {
    uint32_t struct_size;
    uint32_t stage;
    uint64_t done;
    uint64_t total;
} penult_progress;

/* access */
#define PENULT_MAP 0u  /* weights are mapped read-only and used in place: shared between processes, evictable. While a
                          model opens or encodes the file must not shrink: the system answers that with a SIGBUS that nobody can
                          handle in somebody else's process. Any other change, between two encodes or during one, is
                          PENULT_E_CHANGED, as far as the file system dates it. */
#define PENULT_COPY 1u /* weights are read into private memory at open; what becomes of the file does not matter */

/* tokenizer_mode: what becomes of a text before the merges, which are the same in both.
 *
 * PENULT_TOKENIZER_TRANSFORMERS  as transformers' CLIPTokenizer: NFC, each run of white space one space, lower case letter
 *     by letter; the tokenizer's files say which strings are special and what pads.
 * PENULT_TOKENIZER_OPEN_CLIP  as open_clip.tokenize (open_clip_torch 3.3.0, ftfy 6.3.1, Unicode 14 of Python 3.11), which
 *     LAION's models were trained with: ftfy's fix_text but for its repair of mojibake, HTML entities undone, white space,
 *     Python's lower case with its final sigma. Special are <start_of_text> and <end_of_text>, and id 0 pads. What is not
 *     done is fix_encoding: text whose UTF-8 was once read as another encoding ("cafA(c)" for "cafe" with an accent) is
 *     taken as it stands, where ftfy guesses what was meant. A decimal character reference of more than 4300 digits, an
 *     exception in Python, is U+FFFD. A span is the whole entity that an id came from. */
#define PENULT_TOKENIZER_TRANSFORMERS 0u
#define PENULT_TOKENIZER_OPEN_CLIP 1u

/* pad_in_text. Where the padding token is the start or the end token it is special in any case. */
#define PENULT_PAD_AS_FILES_SAY 0u
#define PENULT_PAD_IS_TEXT 1u    /* ordinary text, as everywhere but in diffusers: "!" is 256 at the end of a word */
#define PENULT_PAD_IS_SPECIAL 2u /* cut out as the padding id wherever it stands, as diffusers' tokenizer_2 does: "a cat!!" has
                                    two of them. PENULT_E_ARGUMENT in open_clip's mode, which has no such token */

/* flags of open_params */
#define PENULT_OPEN_LIST_TENSORS 1u /* report each tensor in use */

/* path       one of
 *              - a safetensors file, whatever it is called: a text tower alone, or one that holds some among other things
 *                (Stable Diffusion 1.x, 2.x, SDXL and its refiner, SD 3 as single files; OpenCLIP's releases; ComfyUI's
 *                clip_l and clip_g and what it saves). The layout is told by the tensors' names and shapes;
 *              - an index of shards (model.safetensors.index.json), the shards beside it;
 *              - a directory with model.safetensors or such an index, as huggingface transformers writes it, of a
 *                CLIPTextModel, CLIPTextModelWithProjection or CLIPModel; or with OpenCLIP's open_clip_model.safetensors;
 *              - a directory of a diffusers pipeline: its text_encoder and text_encoder_2.
 *            Stored as F64, F32, F16, BF16, F8_E4M3 or F8_E5M2, the last two with ComfyUI's scales if they have some.
 *            config.json is read where it stands beside model.safetensors or its index; where there is none, the geometry is
 *            read off the shapes, and heads, activation and epsilon are as the layout's models were published, each reported
 *            as PENULT_ABOUT_ASSUMPTION. A projection that CLIP-L's file does not have is then the identity.
 *            Links are followed, in the path and as files in it. What they lead to must be regular files: a FIFO, a
 *            device, a socket or a directory in a file's place is PENULT_E_IO before a byte of it is read. An index may
 *            name files of its own folder only.
 *            NULL: no tower. The model is only a tokenizer: model_describe has zeros for the tower and a context of 77,
 *            sessions on it are PENULT_E_ARGUMENT. PENULT_E_NOT_FOUND if there is no tokenizer either.
 * tokenizer_path  the directory that holds tokenizer.json, or vocab.json and merges.txt (tokenizer_config.json and
 *            special_tokens_map.json beside them are heeded), or clip.vocab; or a tokenizer.json or a clip.vocab itself.
 *            Where several are there, the first of these is read, as transformers does. NULL: look in `path`, then for
 *            clip.vocab in the directory of the library, as the path that it was loaded by names it. clip.vocab is CLIP's
 *            own vocabulary of 49,408 ids, which `make vocab` makes; beside the library it is used only where it fits
 *            the model. It says nothing of padding: id 0 ("!") is assumed for towers 1024 wide or wider and with
 *            PENULT_PAD_IS_SPECIAL, the end id otherwise.
 *            Where there is nothing the model opens without a tokenizer and takes ids only. A report says which file was
 *            read and what pads, or what to do.
 * activation 0: what config.json says (a config.json without it is an error), or without one what was published for the layout;
 *            else a PENULT_ activation that overrides it.
 * access     PENULT_MAP or PENULT_COPY.
 * report     called once per finding, in the order found: a failed open names every wrong tensor. NULL: no calls.
 * progress   called while bytes are read (PENULT_COPY); nonzero cancels.
 * tower      which text tower, where the path holds several: "clip_l", "clip_h" or "clip_g" by what it is (768, 1024, 1280
 *            wide; "text" for any other width), or a pipeline's own "text_encoder", "text_encoder_2". NULL: the widest, which
 *            is bigG in SDXL and SD 3. Two towers of one name, or one width where none is named, are PENULT_E_MISMATCH.
 * heads      0: what config.json says, else width / 64; else the number of heads.
 * flags      PENULT_OPEN_ flags.
 * tokenizer_mode  PENULT_TOKENIZER_TRANSFORMERS or PENULT_TOKENIZER_OPEN_CLIP.
 * pad_in_text     what the padding token's string (SDXL's second tokenizer: "!") is in a prompt: a PENULT_PAD_ value. */
typedef struct penult_open_params {
    uint32_t struct_size;
    uint32_t access;
    const char *path;
    const char *tokenizer_path;
    uint32_t activation;
    uint32_t reserved;
    void (*report)(void *user, const penult_report *report);
    int32_t (*progress)(void *user, const penult_progress *progress);
    void *user;
    const char *tower;
    uint32_t heads;
    uint32_t flags;
    uint32_t tokenizer_mode;
    uint32_t pad_in_text;
} penult_open_params;

/* Everything a host needs to size its buffers. -1 for an id or 0 for a count or width: the model has none. */
typedef struct penult_model_info {
    uint32_t struct_size;
    uint32_t width;        /* D */
    uint32_t layers;       /* L */
    uint32_t heads;        /* H */
    uint32_t mlp_width;
    uint32_t context;      /* the T of every prompt given as text: 77 */
    uint32_t vocabulary;   /* rows of the token embedding */
    uint32_t projection;   /* P; 0: a CLIPTextModel, which has none */
    uint32_t activation;
    uint32_t dtype;        /* of the block weights in the file */
    int32_t start_id;      /* of the tokenizer */
    int32_t end_id;        /* of the tokenizer; without one, config.json's unless that is the legacy 2 */
    int32_t pad_id;        /* of the tokenizer: 0 for bigG (its "!"), 49407 for CLIP-L */
    uint32_t access;
    uint64_t parameters;   /* values in the tensors in use */
    uint64_t bytes_file;   /* of all files of weights */
    uint64_t bytes_mapped; /* of weights in place, with what lies between them: mapped, or copied with PENULT_COPY */
    double norm_epsilon;
    char layout[32];       /* naming of the tensors, e.g. "transformers", "openclip", "sdxl single file" */
    char kernels[96];      /* what a session computes with unless it is told or refused otherwise, e.g. "avx512", "amx" or
                              "scalar, gemm openblas 0.3.21 SkylakeX"; empty without a tower */
    char tower[32];        /* the tower in use, as open_params.tower names it */
    uint64_t bytes_used;   /* of the tensors in use */
    uint32_t tensors_used;
    uint32_t files;        /* of weights: 1, or the shards */
} penult_model_info;

/* ---- tokens ------------------------------------------------------------------------------------------------- */

/* flags of a token request */
#define PENULT_TOKENS_BODY 1u /* the ids of the text alone: no start, end or padding, nothing cut */

typedef struct penult_token_request {
    uint32_t struct_size;
    uint32_t flags;
    const char *text; /* need not be NUL-terminated; NUL bytes are text */
    uint64_t text_bytes; /* at most 2^28 */
} penult_token_request;

/* Bytes [begin, end) of the text that an id stands for; begin == end for start, end and padding. */
typedef struct penult_span {
    uint64_t begin;
    uint64_t end;
} penult_span;

/* ids, spans: the caller's arrays of `capacity` elements each; either may be NULL with any capacity, and is not
 * filled then. If ids do not fit, the status is PENULT_E_LIMIT and id_count says how many there are.
 * Framed (flags 0): id_count is the model's context; [start] + kept body + [end] + padding, the body cut at
 * context - 2 ids. */
typedef struct penult_token_result {
    uint32_t struct_size;
    uint32_t reserved;
    int32_t *ids;
    penult_span *spans;
    uint64_t capacity;
    uint64_t id_count;     /* out */
    uint64_t body_count;   /* out: ids of the text that were kept */
    uint64_t cut_count;    /* out: ids of the text that were cut off */
    uint64_t cut_begin;    /* out: offset of the first byte that no kept id stands for because of the cut; text_bytes if
                                   nothing was cut */
    uint64_t end_position; /* out: index of the first end id: where pooling takes its row (flags 0 only) */
} penult_token_result;

/* ---- sessions ----------------------------------------------------------------------------------------------- */

/* kernels of a session: the highest set that it may use. What the CPU, the system or the build does not have falls to the
 * next lower one. Bits differ from set to set, and within a set from nothing. */
#define PENULT_KERNELS_SCALAR 1u   /* plain C: the specification of the others */
#define PENULT_KERNELS_OPENBLAS 2u /* OpenBLAS's sgemm, the rest plain C */
#define PENULT_KERNELS_AVX2 3u     /* AVX2, FMA and F16C */
#define PENULT_KERNELS_AVX512 4u   /* AVX-512 F, BW, DQ and VL */
#define PENULT_KERNELS_AMX 5u      /* AMX-TILE and AMX-BF16, the rest as AVX-512 */

/* arithmetic of a session.
 * EXACT  the default, and what every statement about exactness here is about: as close to the result of real numbers as
 *        PyTorch in float32 is, whatever the weights are stored as. Where the CPU multiplies bfloat16 alone at full speed (AMX),
 *        float32-grade products are made of several.
 * BF16   faster where a CPU has products of bfloat16 (AMX, AVX-512 BF16), and nowhere slower: activations and weights are
 *        rounded to bfloat16 before each product, which is summed in float32; the residual stream, norms, attention and
 *        outputs stay float32. Its bound: over each output at most as far from real numbers as transformers in torch.bfloat16 is
 *        on the same file, in rms, and at most 3 times as far in the largest (tests/parity/README.md). At bigG's full size with
 *        seeded weights it came to 0.66 and 0.83 times (RESULTS-FULL.md); hidden state -2 was 6.5e-3 (rms) from PyTorch's in
 *        float32, that of PyTorch in bfloat16 1.3e-2 (tests/bench/LOG.md, 14). */
#define PENULT_ARITHMETIC_EXACT 0u
#define PENULT_ARITHMETIC_BF16 1u

/* threads         worker threads; 0: the CPUs this process may use (affinity and cgroup quota). At most 256.
 * max_prompts     the largest B of one request; 0: 1. At most 65536.
 * max_text_bytes  the longest prompt text; 0: 65536. At most 2^28. Longer text is PENULT_E_LIMIT.
 * kernels         a PENULT_KERNELS_ set; 0: the best. AMX needs a permission that Linux gives a whole process and for good
 *                 (ARCH_REQ_XCOMP_PERM; afterwards sigaltstack refuses stacks below the larger frame): session_open asks for it
 *                 where 0 or AMX is wanted, the CPU has it and the process does not, and does without where it is refused.
 *                 Never below AMX: name AVX512 to keep the process as it is.
 * arithmetic      a PENULT_ARITHMETIC_ kind.
 * kept_prompts    prompts of which the session keeps all rows from one encode to the next, for a host that encodes a prompt again while
 *                 it is being written; 0: none. At most 64. A prompt that begins with the same ids and key_mask as a kept one takes
 *                 those rows from it, up to its end where something pooled is wanted, and only the others are computed: the
 *                 tower is causal. The bits are those of a session that keeps nothing. Rows are computed 16 at a time: of 77, the
 *                 first 13 that stay save 16. Of a request's prompts as many are kept, the first ones, each in place of the one it
 *                 has most in common with, or, with less than the start and one id, of the one that was longest not used. One takes
 *                 4 D (3 L + 1) bytes for each token of the context, rounded up to 16, 40 MB for bigG; session_measure counts it.
 *                 OpenBLAS's kernels keep nothing: their bits change with the shape of a product. */
typedef struct penult_session_params {
    uint32_t struct_size;
    uint32_t flags;
    uint32_t threads;
    uint32_t max_prompts;
    uint64_t max_text_bytes;
    uint32_t kernels;
    uint32_t arithmetic;   /* since 0.4; 0 before */
    uint32_t kept_prompts; /* since 0.5 */
    uint32_t reserved;
} penult_session_params;

/* ---- encoding ----------------------------------------------------------------------------------------------- */

/* Text or ids, not both; neither is the empty text. Ids are one whole row as the tower takes it, start and end
 * included, 1 to `context` of them; every row of a request must come to the same T. Pooling takes the first end id of the row; a row
 * without one takes its largest id where config.json has the legacy eos_token_id 2 or where there is none, else is PENULT_E_ARGUMENT when a
 * pooled output is asked for (huggingface/transformers#24773).
 *
 * key_mask  NULL: each token sees itself and all before it. Else T bytes, one for each token of the row (a text's row has
 *           `context`): token i sees token j where j <= i and key_mask[j] is 1; 0 hides it; another value is PENULT_E_ARGUMENT.
 *           That is the attention_mask of transformers. Only attention heeds it: a hidden token has a row like any other, and
 *           pooling takes the row that it takes without. Hiding what stands behind the end changes no bit of the rows up to
 *           it. The first must be 1, or rows would have nothing to see, for which there is no agreed result
 *           (PENULT_E_ARGUMENT).
 *           Stable Cascade passes the tokenizer's mask, 1 from the start to the first end and 0 for padding (huggingface/
 *           diffusers, StableCascadePriorPipeline.encode_prompt); compel hides the tokens of a fragment with a weight below 1,
 *           once per fragment (damian0815/compel, embeddings_provider.py). */
typedef struct penult_prompt {
    const char *text;
    uint64_t text_bytes;
    const int32_t *ids;
    uint64_t id_count;
    const uint8_t *key_mask; /* [T] or NULL */
} penult_prompt;

/* Frozen. Where results go: `data` holds `bytes` bytes. batch_pitch is the distance in bytes from one prompt to the
 * next, row_pitch from one token to the next (unused for pooled outputs, which are one row per prompt); 0 means
 * packed: a row_pitch of one row, a batch_pitch of T row pitches. Rows may not overlap, nor may two outputs of a
 * request; prompts may lie side by side, as in a [T,B,D] tensor. `bytes` must reach as far as the last byte that is written. Any alignment. So bigG's 1280
 * columns go straight into columns 768.. of a [B,77,2048] tensor: data = tensor + 768 * 4, row_pitch = 2048 * 4,
 * batch_pitch = 77 * 2048 * 4. */
typedef struct penult_buffer {
    void *data;
    uint64_t bytes;
    uint64_t batch_pitch;
    uint64_t row_pitch;
    uint32_t dtype;
    uint32_t reserved;
} penult_buffer;

/* layer counts from the end, as Python does: -1 the last block's output, -2 the one before it (penultimate, what SDXL
 * takes), -(L+1) the embeddings; or from the front: 0 the embeddings, l the output of block l. Only for PENULT_HIDDEN,
 * else 0. Values are hidden states before the final layer norm unless PENULT_FINAL_NORM is set: HF's
 * hidden_states[layer] without it, last_hidden_state with it at layer -1. */
typedef struct penult_output {
    uint32_t kind;
    int32_t layer;
    uint32_t flags;
    uint32_t reserved;
    penult_buffer to;
} penult_output;

/* arithmetic 0: the session's. There is no other value yet.
 * progress  called after each block; nonzero cancels. May be NULL.
 * What it costs: blocks up to the last one that an output needs; of a prompt of which only pooled embeddings are wanted the tokens up
 * to its end; and what prompts begin with in common, ids and key_mask, once for all of them. */
typedef struct penult_text_request {
    uint32_t struct_size;
    uint32_t arithmetic;
    uint32_t prompt_count; /* B, 1 to max_prompts */
    uint32_t prompt_stride; /* sizeof(penult_prompt) */
    const penult_prompt *prompts;
    uint32_t output_count; /* 1 to 1024 */
    uint32_t output_stride; /* sizeof(penult_output) */
    const penult_output *outputs;
    int32_t (*progress)(void *user, const penult_progress *progress);
    void *user;
} penult_text_request;

/* What became of one prompt's text. */
typedef struct penult_prompt_result {
    uint64_t body_count;   /* as in penult_token_result; for ids: 0 */
    uint64_t cut_count;
    uint64_t cut_begin;
    uint64_t end_position; /* the row that pooling took; UINT64_MAX if the row has none and no pooling was asked for */
} penult_prompt_result;

/* prompts: the caller's array of prompt_count elements, or NULL. */
typedef struct penult_text_result {
    uint32_t struct_size;
    uint32_t tokens;        /* out: T */
    uint32_t prompt_count;  /* elements that `prompts` has room for */
    uint32_t prompt_stride; /* sizeof(penult_prompt_result) */
    penult_prompt_result *prompts;
    uint32_t blocks_run;    /* out: blocks that had to be computed for these outputs */
    uint32_t reserved;
} penult_text_result;

/* ---- the table ---------------------------------------------------------------------------------------------- */

typedef struct penult_model penult_model;
typedef struct penult_session penult_session;

/* Grows at its end only: a function is there if struct_size covers it. Handles and structs as documented above. */
typedef struct penult_api {
    uint32_t struct_size;
    uint32_t abi_minor;

    /* [open/close] Opens a text tower found at params->path and, if there is one, its tokenizer; or that alone. *out is NULL on
     * failure. Errors: ARGUMENT, UNSUPPORTED, NOT_FOUND, IO, FORMAT, TRUNCATED, TRAILING, MISMATCH, NO_MEMORY,
     * CANCELLED, CHANGED (while PENULT_COPY was reading). */
    int32_t (*model_open)(const penult_open_params *params, penult_model **out, penult_error *error);

    /* [open/close] Drops the host's reference; sessions keep theirs, so models and sessions close in any order.
     * NULL is nothing. */
    void (*model_close)(penult_model *model);

    /* [any-thread] Fills info up to info->struct_size. Error: ARGUMENT. */
    int32_t (*model_describe)(const penult_model *model, penult_model_info *info, penult_error *error);

    /* [any-thread] Text to ids, exactly as the reference of the tokenizer_mode on the same files. Allocates and frees
     * scratch in proportion to the text. Errors: ARGUMENT, UNSUPPORTED, TEXT, LIMIT, NO_TOKENIZER, NO_MEMORY. */
    int32_t (*tokenize)(const penult_model *model, const penult_token_request *request, penult_token_result *result,
                        penult_error *error);

    /* [any-thread] The bytes of private memory that session_open would take for these params, thread stacks included. With
     * PENULT_KERNELS_OPENBLAS, or on a CPU without AVX2, each thread reserves 128 MiB of addresses besides, of which
     * some hundred KiB are ever touched; those are counted.
     * Errors: ARGUMENT, UNSUPPORTED, LIMIT. */
    int32_t (*session_measure)(const penult_model *model, const penult_session_params *params, uint64_t *bytes,
                               penult_error *error);

    /* [open/close] Takes all memory and starts all threads that encoding will use. *out is NULL on failure.
     * Errors: ARGUMENT, UNSUPPORTED, LIMIT, NO_MEMORY. */
    int32_t (*session_open)(penult_model *model, const penult_session_params *params, penult_session **out,
                            penult_error *error);

    /* [open/close] Ends the session's threads and gives back its memory. NULL is nothing. */
    void (*session_close)(penult_session *session);

    /* [any-thread] The encode in progress, if there is one, ends at its next block with PENULT_E_CANCELLED. When idle:
     * nothing happens, and the next encode is not affected. The handle must be alive. */
    void (*session_cancel)(penult_session *session);

    /* [session-thread] Encodes B prompts in one pass and fills every output asked for. Allocates nothing. result may be
     * NULL. Errors: ARGUMENT, UNSUPPORTED, TEXT, LIMIT, NO_TOKENIZER, CANCELLED, NON_FINITE, CHANGED, IO,
     * WRONG_PROCESS. */
    int32_t (*encode_text)(penult_session *session, const penult_text_request *request, penult_text_result *result,
                           penult_error *error);

    /* [any-thread] A further table of functions by its name; it begins with a uint32_t struct_size and lives as long as
     * the library. NULL: this library does not have it. There is "penult.condition/1": penult_condition.h, what a
     * pipeline's sampler takes, by the pipeline's name. */
    const void *(*extension)(const char *id);

    /* [any-thread] A fingerprint of the weights' values that is the same whatever layout, shards, stored type (where it holds
     * the same values) or orientation they came in: SHA-256 over the tower's tensors as float32, in an order that
     * encoder/model/digest.h writes down. A projection that is the identity counts as none. digest has room for 32 bytes.
     * Reads all weights: some ten seconds for bigG. progress may be NULL; nonzero cancels.
     * Errors: ARGUMENT, CANCELLED, CHANGED, IO. */
    int32_t (*model_hash)(const penult_model *model, uint8_t *digest, int32_t (*progress)(void *user, const penult_progress *progress),
                          void *user, penult_error *error);
} penult_api;

/* Frozen for ever, so that any loader can talk to any library.
 * version  [any-thread] "0.5.0": for people, and for the sentence that says which library was loaded.
 * get_api  [any-thread] the table for that ABI version, or NULL if this library does not speak it. While the major
 *          version is 0 the minor one is part of the question: pass PENULT_ABI_VERSION. The table lives as long as the
 *          library is loaded. */
typedef struct penult_entry_point {
    const char *(*version)(void);
    const penult_api *(*get_api)(uint32_t abi_version);
} penult_entry_point;

#define PENULT_ABI_VERSION (PENULT_ABI_MAJOR << 16 | PENULT_ABI_MINOR)

/* The only symbol of penult.so. [any-thread] Never NULL. */
PENULT_EXPORT const penult_entry_point *penult_entry(void);
#define PENULT_ENTRY_NAME "penult_entry"

#ifdef __cplusplus
}
#endif
#endif
