/* linnet convert and linnet quantize: a model file in another container, layout or types of numbers. */
#include "weights/convert.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "apps/args.h"
#include "apps/interrupt.h"
#include "apps/output.h"
#include "apps/progress.h"
#include "linnet.h"
#include "lm/text.h"

extern const char convert_help[], quantize_help[];
const char convert_help[] =
    "  linnet convert model.pth model.gguf\n"
    "  linnet convert --layout llama --vocab rwkv_vocab_v20230424.txt RWKV-6.pth rwkv6.gguf\n"
    "  linnet convert --type bf16 model.gguf model.safetensors\n\n"
    "Usage: linnet convert [options] IN OUT\n\n"
    "Writes a model (.pth, .safetensors or its index of shards, .gguf, rwkv.cpp's .bin) as GGUF or\n"
    "safetensors, by the end of OUT's name. Tensors keep their official names, shapes and bits, so that\n"
    "nothing is lost on the way there and back. --layout llama writes RWKV-6 and RWKV-7 as llama.cpp\n"
    "reads them. Memory does not grow with the file.\n"
    "In GGUF, matrices of 16 bits or fewer are interleaved: linnet uses them where they lie in the file,\n"
    "but other programs cannot read it. --plain keeps their order.\n";
const char quantize_help[] =
    "  linnet quantize model.gguf model-q5_k.gguf Q5_K\n"
    "  linnet quantize --tensor-type 'head.*=Q6_K,emb.*=f16' model.pth model-q4_k.gguf Q4_K\n\n"
    "Usage: linnet quantize [options] IN OUT TYPE\n\n"
    "Writes a model as GGUF with its matrices in a type of few bits: Q8_0, Q6_K, Q5_K, Q5_1, Q5_0, Q4_K,\n"
    "Q4_1 or Q4_0; norms, biases, mixes, decays and low-rank matrices stay as they are. Where the rows of\n"
    "a matrix are no multiple of a type's block, the next type that fits is taken.\n"
    "Matrices are interleaved: linnet uses them where they lie in the file, but other programs cannot\n"
    "read it. --plain keeps ggml's order.\n";

enum { MOST_RULES = 64 };

typedef struct {
  const char *in, *out, *choice, *layout, *vocabulary, *types; /* types: PATTERN=TYPE,... */
  bool quiet, json, is_llama;
  checkpoint_dtype type;
  convert_rule rules[MOST_RULES];
  convert_options options;
  llama_layout_options llama;
  double start;
  progress bar;
} job;

/* Cuts `text` at its commas and equal signs; the rules point into it. */
static bool parse_rules(job *j, char *text) {
  j->options.rules = j->rules;
  for (char *next; text; text = next) {
    if ((next = strchr(text, ','))) *next++ = 0;
    char *type = strrchr(text, '=');
    if (!type || type == text || j->options.n_rules == MOST_RULES) return false;
    *type++ = 0;
    convert_rule *r = &j->rules[j->options.n_rules++];
    r->pattern = text;
    r->keep = !strcmp(type, "keep");
    if (!r->keep && !convert_type_parse(type, &r->type)) return false;
  }
  return true;
}

static bool show(void *data, uint64_t done, uint64_t total) {
  job *j = data;
  const double spent = clock_seconds() - j->start, share = total ? (double)done / (double)total : 1;
  char left[DURATION_TEXT];
  progress_show(&j->bar, share, "%.0f of %.0f MB  %.0f MB/s  %s left", 1e-6 * (double)done, 1e-6 * (double)total,
                spent > 0 ? 1e-6 * (double)done / spent : 0,
                duration_text(share > 0 ? spent / share - spent : -1, left));
  return !interrupted;
}

static void report(const job *j, const convert_report *r) {
  if (j->json) {
    json_print(json_pack("{s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I}", "in", json_text(j->in), "out", json_text(j->out),
                         "tensors", (json_int_t)r->tensors, "changed", (json_int_t)r->changed, "fell_back",
                         (json_int_t)r->fell_back, "interleaved", (json_int_t)r->interleaved, "bytes_before",
                         (json_int_t)r->bytes_before, "bytes_after", (json_int_t)r->bytes_after),
               false);
    return;
  }
  text_put(stdout, j->out, strlen(j->out));
  printf(": %zu tensors, %" PRIu64 " bytes of numbers (before: %" PRIu64 ")", r->tensors, r->bytes_after,
         r->bytes_before);
  if (r->changed) printf(", %zu of another type", r->changed);
  if (r->interleaved) printf(", %zu interleaved", r->interleaved);
  if (r->fell_back) printf(", %zu not of the type asked for, which does not fit their rows", r->fell_back);
  putchar('\n');
}

static const char *token(const void *vocabulary, int32_t id, size_t *n) { return tokenizer_bytes(vocabulary, id, n); }

/* With a vocabulary of fewer tokens than the model has logits (65,530 of 65,536) the rest are unused ones. */
static status set_llama(job *j, const checkpoint *in, const tokenizer *vocabulary) {
  const checkpoint_tensor *embedding = checkpoint_find(in, "emb.weight");
  j->options.llama = &j->llama;
  if (!vocabulary) return STATUS_OK;
  const char *name = j->vocabulary ? j->vocabulary : j->in;
  if (tokenizer_kind_of(vocabulary) != TOKENIZER_KIND_WORLD)
    return fail(STATUS_ARGUMENT, "%s: not a World vocabulary, which RWKV-6 and RWKV-7 have", name);
  const int64_t rows = embedding && embedding->n_dims == 2 ? embedding->dim[0] : 0;
  if (rows < tokenizer_size(vocabulary) || rows > INT32_MAX)
    return fail(STATUS_ARGUMENT, "%s: the vocabulary has %u tokens, but the model has %lld: it is not this model's",
                name, (unsigned)tokenizer_size(vocabulary), (long long)rows);
  j->llama.token = token;
  j->llama.token_self = vocabulary;
  j->llama.tokens = (uint32_t)rows;
  return STATUS_OK;
}

static status run_job(job *j) {
  convert_report r;
  tokenizer *vocabulary = j->vocabulary ? tokenizer_open(j->vocabulary) : NULL;
  checkpoint *in = j->vocabulary && !vocabulary ? NULL : checkpoint_open_choice(j->in, j->choice);
  status s = in ? STATUS_OK : last_status();
  if (!s && j->is_llama && !vocabulary) s = text_vocabulary(in, &vocabulary);
  if (!s && j->is_llama) s = set_llama(j, in, vocabulary);
  if (!s) {
    j->start = clock_seconds();
    j->bar = progress_begin(j->quiet);
    j->options.progress = show;
    j->options.progress_data = j;
    s = convert(in, j->out, &j->options, &r);
    progress_end(&j->bar);
  }
  if (!s) report(j, &r);
  checkpoint_close(in);
  tokenizer_free(vocabulary);
  return s;
}

static int finish(const verb *self, job *j) {
  j->is_llama = j->layout && !strcmp(j->layout, "llama");
  if (j->layout && !j->is_llama && strcmp(j->layout, "official"))
    return misuse(self, "--layout: expected official or llama, found '%s'", j->layout);
  if (j->vocabulary && !j->is_llama) return misuse(self, "--vocab is for --layout llama");
  char *types = j->types ? mem_string(j->types) : NULL;
  int code;
  if (j->types && !types)
    code = failed();
  else if (types && !parse_rules(j, types))
    code = misuse(self,
                  "--tensor-type: expected PATTERN=TYPE,... with at most %d patterns and types as for --type, or "
                  "keep; found '%s'",
                  MOST_RULES, j->types);
  else {
    watch_interrupts();
    code = run_job(j) ? failed() : EXIT_DONE;
  }
  free(types);
  return code;
}

/* The options of both verbs. */
#define ARG_TENSOR_TYPE(variable)                                                                                      \
  { "tensor-type", 0, ARG_TEXT, variable, 0, 0, "PATTERN=TYPE,...", "types by name (* and ?); TYPE may be keep" }
#define ARG_PLAIN(variable)                                                                                            \
  { "plain", 0, ARG_SWITCH, variable, 0, 0, NULL, "matrices in ggml's order, not interleaved" }
#define ARG_LAYOUT(variable)                                                                                           \
  { "layout", 'l', ARG_TEXT, variable, 0, 0, "LAYOUT", "official (the default) or llama" }
#define ARG_VOCABULARY(variable)                                                                                       \
  { "vocab", 0, ARG_TEXT, variable, 0, 0, "FILE", "World vocabulary for --layout llama (else the one in IN)" }

int run_convert(const verb *self, int argc, char **argv) {
  job j = {0};
  const char *type = NULL;
  int threads = 0, at, code;
  const arg list[] = {
      ARG_LAYOUT(&j.layout),
      ARG_VOCABULARY(&j.vocabulary),
      {"type", 0, ARG_TEXT, &type, 0, 0, "TYPE", "f32, f16 or bf16 for all numbers; else as they are"},
      ARG_TENSOR_TYPE(&j.types),
      ARG_PLAIN(&j.options.plain),
      ARG_CHOICE(&j.choice),
      ARG_THREADS(&threads),
      ARG_QUIET(&j.quiet),
      ARG_JSON(&j.json),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at != 2) return misuse(self, "expected IN and OUT, found %d operands", argc - at);
  j.in = argv[at];
  j.out = argv[at + 1];
  if (type && !convert_type_parse(type, &j.type)) return misuse(self, "--type: there is no type '%s'", type);
  if (type && checkpoint_dtype_block(j.type) > 1) return misuse(self, "--type: for %s there is linnet quantize", type);
  j.options.type = type ? &j.type : NULL;
  linnet_set_threads(threads);
  return finish(self, &j);
}

int run_quantize(const verb *self, int argc, char **argv) {
  job j = {0};
  int threads = 0, at, code;
  const arg list[] = {
      ARG_LAYOUT(&j.layout), ARG_VOCABULARY(&j.vocabulary), ARG_TENSOR_TYPE(&j.types), ARG_PLAIN(&j.options.plain),
      ARG_CHOICE(&j.choice), ARG_THREADS(&threads),         ARG_QUIET(&j.quiet),       ARG_JSON(&j.json),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (argc - at != 3) return misuse(self, "expected IN, OUT and TYPE, found %d operands", argc - at);
  j.in = argv[at];
  j.out = argv[at + 1];
  if (!convert_type_parse(argv[at + 2], &j.type)) return misuse(self, "there is no type '%s'", argv[at + 2]);
  j.options.type = &j.type;
  linnet_set_threads(threads);
  return finish(self, &j);
}
