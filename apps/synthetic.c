#include "apps/synthetic.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/interrupt.h"
#include "apps/progress.h"
#include "lm/text.h"
#include "weights/convert.h"

/* --- shapes ------------------------------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  int layers, width, ffn;
} shapes[] = {{"rwkv6-100m", 12, 768, 2688}, {"rwkv6-1b6", 24, 2048, 7168}, {"rwkv6-3b", 32, 2560, 8960}};
enum { SHAPES = sizeof shapes / sizeof *shapes, HEAD = 64, VOCABULARY = 65536 };

/* Low ranks as published models of that width have them. */
static void set_shape(rwkv_config *k, int layers, int width, int ffn, int vocabulary) {
  const bool wide = width >= 4096;
  *k = (rwkv_config){.version = 6,
                     .n_layer = layers,
                     .n_embd = width,
                     .dim_att = width,
                     .dim_ffn = ffn,
                     .vocab_size = vocabulary,
                     .head_size = HEAD,
                     .rank_mix = wide ? 64 : 32,
                     .rank_decay = wide ? 128 : 64};
}

static status parse_shape(const char *text, rwkv_config *k) {
  for (int i = 0; i < SHAPES; i++)
    if (!strcmp(text, shapes[i].name)) {
      set_shape(k, shapes[i].layers, shapes[i].width, shapes[i].ffn, VOCABULARY);
      return STATUS_OK;
    }
  int size[4] = {0}, n = 0;
  const char *at = text;
  for (char *end; n < 4 && isdigit((unsigned char)*at); at = *end == 'x' ? end + 1 : end) {
    const long value = strtol(at, &end, 10);
    if (value < 1 || value > 1 << 20) break;
    size[n++] = (int)value;
  }
  if (*at || n < 2)
    return fail(STATUS_ARGUMENT,
                "there is no shape '%s'; there are rwkv6-100m, rwkv6-1b6, rwkv6-3b, and "
                "LAYERSxWIDTH[xFFN[xVOCABULARY]]",
                text);
  const int usual_ffn = size[1] * 7 / 2 / 32 * 32; /* 3.5 times the width */
  set_shape(k, size[0], size[1], n > 2 ? size[2] : usual_ffn, n > 3 ? size[3] : VOCABULARY);
  return k->vocab_size > 256
             ? rwkv_config_check(k)
             : fail(STATUS_ARGUMENT, "a vocabulary of %d is too small: there are 256 bytes and the end", k->vocab_size);
}

/* --- values ------------------------------------------------------------------------------------------------------- */

enum { ROWS = 32, SEED = 1 };

typedef struct {
  rwkv_config config;
  checkpoint_dtype type;
  bool llama;
  param_set set;
  rwkv lm;
  writer *out;
  uint64_t done, total; /* values */
  progress bar;
} job;

/* The tensor as a checkpoint would show it before it gets its type. */
static checkpoint_tensor tensor_of(const param *p) {
  checkpoint_tensor t = {.name = p->name, .dtype = CHECKPOINT_F32, .n_dims = p->n_dims};
  memcpy(t.dim, p->dim, (size_t)p->n_dims * sizeof *p->dim);
  checkpoint_shape_bytes(t.dtype, t.n_dims, t.dim, &t.bytes); /* fits: rwkv_config_check */
  return t;
}

static checkpoint_dtype type_of(const job *j, const checkpoint_tensor *t) {
  const convert_options o = {.type = &j->type};
  return convert_quantizable(t) ? convert_dtype(&o, "gguf", t) : CHECKPOINT_F32;
}

static status declare(job *j, const param *p) {
  checkpoint_tensor t = tensor_of(p);
  const convert_options as_it_is = {.plain = j->llama};
  j->total += (uint64_t)checkpoint_elements(&t);
  t.dtype = type_of(j, &t);
  return (convert_interleaves(&as_it_is, "gguf", &t) ? writer_declare_interleaved
                                                     : writer_declare)(j->out, t.name, t.dtype, t.n_dims, t.dim);
}

static status advance(job *j, int64_t values) {
  j->done += (uint64_t)values;
  progress_show(&j->bar, (double)j->done / (double)j->total, "making a model up");
  return interrupted ? fail(STATUS_INTERRUPTED, "stopped") : STATUS_OK;
}

/* A matrix by its rows: some that are random, again and again. Variance keeps sums of products near 1. */
static status put_rows(job *j, const param *p, const checkpoint_tensor *t, rng *random) {
  const size_t last = (size_t)t->dim[t->n_dims - 1], rows = (size_t)checkpoint_elements(t) / last,
               some = rows < ROWS ? rows : ROWS;
  const checkpoint_dtype type = type_of(j, t);
  const size_t row_bytes = last / checkpoint_dtype_block(type) * checkpoint_dtype_size(type);
  float *values = mem_alloc(some * last, sizeof *values);
  uint8_t *bytes = mem_alloc(some, row_bytes);
  status s = values && bytes ? STATUS_OK : STATUS_MEMORY;
  const float scale = 0.5f / sqrtf((float)(p->spec->class == PARAM_LOW_RANK && rows > last ? rows : last));
  for (size_t i = 0; !s && i < some * last; i++) values[i] = scale * rng_normal(random);
  if (!s) writer_encode(type, values, some * last, bytes);
  for (size_t at = 0, n; !s && at < rows; at += n) {
    n = rows - at < some ? rows - at : some;
    s = writer_put(j->out, t->name, bytes, n * row_bytes);
    if (!s) s = advance(j, (int64_t)(n * last));
  }
  free(values);
  free(bytes);
  return s;
}

/* Anything else as training begins with it. */
static status put_initial(job *j, const param *p, const checkpoint_tensor *t, rng *random) {
  const int64_t n = checkpoint_elements(t);
  float *values = mem_alloc((size_t)n, sizeof *values);
  if (!values) return STATUS_MEMORY;
  init_site site = {p->dim, p->n_dims, p->layer, p->n_layers, p->gain, *random};
  p->spec->init(&site, values, n);
  status s = writer_put(j->out, t->name, values, (size_t)n * sizeof *values);
  free(values);
  return s ? s : advance(j, n);
}

static status put(job *j, const param *p, uint64_t stream) {
  const checkpoint_tensor t = tensor_of(p);
  const param_class class = p->spec->class;
  rng random = rng_make(SEED, stream);
  const bool matrix = class == PARAM_MATRIX || class == PARAM_EMBEDDING || class == PARAM_LOW_RANK;
  return matrix ? put_rows(j, p, &t, &random) : put_initial(j, p, &t, &random);
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

/* All bytes, then words of numbers. */
static status put_vocabulary(job *j) {
  enum { WORD = 12 };
  const uint32_t n = (uint32_t)j->config.vocab_size - 1;
  vocabulary_entry *entries = mem_alloc(n, sizeof *entries);
  char *words = mem_alloc(n, WORD), *text = NULL;
  size_t length;
  status s = entries && words ? STATUS_OK : STATUS_MEMORY;
  for (uint32_t i = 0; !s && i < n; i++) {
    char *word = words + (size_t)i * WORD;
    *word = (char)i;
    entries[i] = (vocabulary_entry){word, i < 256 ? 1 : (size_t)snprintf(word, WORD, "w%u", (unsigned)i)};
  }
  if (!s) s = vocabulary_text(entries, n, &text, &length);
  if (!s) s = writer_string(j->out, TEXT_VOCABULARY, text);
  free(entries);
  free(words);
  free(text);
  return s;
}

static status write_file(job *j, const char *path) {
  status s = rwkv_new(&j->lm, &j->config, "", &j->set);
  if (!s && !(j->out = writer_create(path, "gguf"))) s = last_status();
  if (!s) s = writer_string(j->out, "general.architecture", "rwkv6");
  if (!s) s = writer_string(j->out, "general.name", "made up");
  if (!s) s = put_vocabulary(j);
  for (size_t i = 0; !s && i < j->set.n; i++) s = declare(j, &j->set.item[i]);
  for (size_t i = 0; !s && i < j->set.n; i++) s = put(j, &j->set.item[i], i);
  if (!s)
    s = writer_finish(j->out);
  else
    writer_abandon(j->out);
  params_free(&j->set);
  rwkv_free(&j->lm);
  return s;
}

static const char *token(const void *vocabulary, int32_t id, size_t *n) { return tokenizer_bytes(vocabulary, id, n); }

static bool go_on(void *data, uint64_t done, uint64_t total) {
  progress_show(data, total ? (double)done / (double)total : 1, "in llama.cpp's layout");
  return !interrupted;
}

/* The same file in llama.cpp's layout. */
static status write_llama(job *j, const char *official, const char *path) {
  checkpoint *in = checkpoint_open(official);
  tokenizer *words = NULL;
  status s = in ? text_vocabulary(in, &words) : last_status();
  const llama_layout_options llama = {.token = token, .token_self = words, .tokens = (uint32_t)j->config.vocab_size};
  const convert_options o = {.container = "gguf", .llama = &llama, .progress = go_on, .progress_data = &j->bar};
  convert_report report;
  if (!s) s = convert(in, path, &o, &report);
  tokenizer_free(words);
  checkpoint_close(in);
  return s;
}

static status write_both(job *j, const char *path) {
  const size_t room = strlen(path) + sizeof ".official";
  char *official = mem_alloc(room, 1);
  if (!official) return STATUS_MEMORY;
  snprintf(official, room, "%s.official", path);
  status s = write_file(j, official);
  if (!s) {
    s = write_llama(j, official, path);
    unlink(official);
  }
  free(official);
  return s;
}

status synthetic_make(const synthetic_model *model, const char *path) {
  job j = {.llama = model->layout && !strcmp(model->layout, "llama")};
  if (model->layout && !j.llama && strcmp(model->layout, "official"))
    return fail(STATUS_ARGUMENT, "there is no layout '%s', but official and llama", model->layout);
  status s = parse_shape(model->shape, &j.config);
  const char *type = model->type ? model->type : "Q8_0";
  if (!s && !convert_type_parse(type, &j.type)) s = fail(STATUS_ARGUMENT, "weights cannot have the type '%s'", type);
  if (s) return s;
  watch_interrupts();
  j.bar = progress_begin(false);
  s = j.llama ? write_both(&j, path) : write_file(&j, path);
  progress_end(&j.bar);
  return s;
}
