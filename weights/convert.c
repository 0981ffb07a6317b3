#include "weights/convert.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "weights/identify.h"
#include "weights/interleaved.h"
#include "weights/writer.h"

/* --- types -------------------------------------------------------------------------------------------------------- */

static bool is_block(checkpoint_dtype dtype) { return checkpoint_dtype_block(dtype) > 1; }

static bool is_real(checkpoint_dtype dtype) {
  return is_block(dtype) || dtype == CHECKPOINT_F64 || dtype == CHECKPOINT_F32 || dtype == CHECKPOINT_F16 ||
         dtype == CHECKPOINT_BF16;
}

/* What convert() can make of a real tensor. */
static bool is_target(checkpoint_dtype dtype) { return is_real(dtype) && dtype != CHECKPOINT_F64; }

/* "..._w1.weight": a low-rank matrix under llama.cpp's name. The official ones do not end in "weight". */
static bool is_low_rank(const char *name, size_t stem) {
  return stem >= 4 && name[stem - 1] == '.' && (name[stem - 2] == '1' || name[stem - 2] == '2') &&
         name[stem - 3] >= 'a' && name[stem - 3] <= 'z' && name[stem - 4] == '_';
}

bool convert_type_parse(const char *word, checkpoint_dtype *type) {
  char upper[16];
  const size_t n = strlen(word);
  if (n >= sizeof upper) return false;
  for (size_t i = 0; i <= n; i++) upper[i] = word[i] >= 'a' && word[i] <= 'z' ? (char)(word[i] - 32) : word[i];
  return checkpoint_dtype_parse(upper, type) && (checkpoint_dtype_block(*type) > 1 || *type == CHECKPOINT_F32 ||
                                                 *type == CHECKPOINT_F16 || *type == CHECKPOINT_BF16);
}

bool convert_quantizable(const checkpoint_tensor *t) {
  enum { ROWS = 32 };
  const size_t length = strlen(t->name), suffix = strlen("weight");
  if (!is_real(t->dtype) || t->n_dims != 2 || t->dim[0] < ROWS || length < suffix) return false;
  return !strcmp(t->name + length - suffix, "weight") && !is_low_rank(t->name, length - suffix) &&
         !strstr(t->name, "pos_emb") && !strstr(t->name, "position");
}

checkpoint_dtype convert_fall_back(checkpoint_dtype wanted, int64_t row) {
  static const struct {
    checkpoint_dtype from, to;
  } next[] = {
      {CHECKPOINT_Q4_K, CHECKPOINT_Q5_0}, {CHECKPOINT_Q5_K, CHECKPOINT_Q5_1}, {CHECKPOINT_Q6_K, CHECKPOINT_Q8_0}};
  if (row % (int64_t)checkpoint_dtype_block(wanted) == 0) return wanted;
  for (size_t i = 0; i < sizeof next / sizeof *next; i++)
    if (next[i].from == wanted) return convert_fall_back(next[i].to, row);
  return CHECKPOINT_F16;
}

static const convert_rule *rule_for(const convert_options *o, const char *name) {
  for (size_t i = 0; i < o->n_rules; i++)
    if (!fnmatch(o->rules[i].pattern, name, 0)) return &o->rules[i];
  return NULL;
}

/* The type that is asked for, before it is known whether it fits. */
static checkpoint_dtype wanted_dtype(const convert_options *o, const checkpoint_tensor *t) {
  const convert_rule *rule = rule_for(o, t->name);
  if (!is_real(t->dtype) || (rule && rule->keep)) return t->dtype;
  if (rule) return rule->type;
  if (!o->type) return t->dtype;
  return is_block(*o->type) && !convert_quantizable(t) ? t->dtype : *o->type;
}

checkpoint_dtype convert_dtype(const convert_options *o, const char *container, const checkpoint_tensor *t) {
  checkpoint_dtype dtype = wanted_dtype(o, t);
  if (dtype == t->dtype) return is_block(dtype) && strcmp(container, "gguf") ? CHECKPOINT_F32 : dtype;
  return is_block(dtype) ? convert_fall_back(dtype, t->n_dims ? t->dim[t->n_dims - 1] : 1) : dtype;
}

bool convert_interleaves(const convert_options *o, const char *container, const checkpoint_tensor *t) {
  return !o->plain && !o->llama && !strcmp(container, "gguf") && convert_quantizable(t) &&
         interleaved_fits(convert_dtype(o, container, t), t->n_dims, t->dim);
}

/* The type that was asked for did not fit. */
static bool fell_back(const convert_options *o, const checkpoint_tensor *t, checkpoint_dtype dtype) {
  const checkpoint_dtype wanted = wanted_dtype(o, t);
  return is_block(wanted) && wanted != t->dtype && dtype != wanted;
}

/* --- one tensor --------------------------------------------------------------------------------------------------- */

typedef struct {
  const checkpoint *in;
  const convert_options *o;
  const char *container;
  writer *out;
  convert_report *report;
  uint64_t done, total;
  const checkpoint_tensor *last; /* of llama_progress() */
  uint8_t *bytes;                /* PIECE */
  float *values;                 /* PIECE values */
} conversion;

enum { PIECE = 1 << 20 };

static status advance(conversion *v, size_t bytes) {
  v->done += bytes;
  if (!v->o->progress || v->o->progress(v->o->progress_data, v->done, v->total)) return STATUS_OK;
  return fail(STATUS_INTERRUPTED, "stopped");
}

static status copy_tensor(conversion *v, const checkpoint_tensor *t) {
  const size_t size = checkpoint_dtype_size(t->dtype), most = PIECE / size * size;
  for (size_t at = 0, n; at < t->bytes; at += n) {
    n = t->bytes - at < most ? t->bytes - at : most;
    if (checkpoint_read(v->in, t, at, n, v->bytes) || writer_put(v->out, t->name, v->bytes, n) || advance(v, n))
      return last_status();
  }
  return STATUS_OK;
}

/* A piece of a tensor in another type. Pieces are whole blocks of every type: PIECE is a multiple of them. */
static status change_tensor(conversion *v, const checkpoint_tensor *t) {
  const int64_t n = checkpoint_elements(t);
  for (int64_t at = 0, part; at < n; at += part) {
    part = n - at < PIECE ? n - at : PIECE;
    if (checkpoint_read_f32_part(v->in, t, at, part, v->values) ||
        writer_put_f32(v->out, t->name, v->values, (size_t)part) ||
        advance(v, (size_t)part / checkpoint_dtype_block(t->dtype) * checkpoint_dtype_size(t->dtype)))
      return last_status();
  }
  return STATUS_OK;
}

static status put_tensor(conversion *v, const checkpoint_tensor *t) {
  const checkpoint_dtype dtype = convert_dtype(v->o, v->container, t);
  size_t after = 0;
  if (!checkpoint_shape_bytes(dtype, t->n_dims, t->dim, &after)) return fail(STATUS_FORMAT, "impossible shape");
  v->report->tensors++;
  v->report->changed += dtype != t->dtype;
  v->report->interleaved += convert_interleaves(v->o, v->container, t);
  v->report->fell_back += fell_back(v->o, t, dtype);
  v->report->bytes_before += t->bytes;
  v->report->bytes_after += after;
  return dtype == t->dtype ? copy_tensor(v, t) : change_tensor(v, t);
}

/* --- the whole ---------------------------------------------------------------------------------------------------- */

static status check_rules(const checkpoint *in, const convert_options *o) {
  if (o->type && !is_target(*o->type))
    return fail(STATUS_ARGUMENT, "tensors cannot be converted to %s", checkpoint_dtype_name(*o->type));
  for (size_t r = 0; r < o->n_rules; r++) {
    const convert_rule *rule = &o->rules[r];
    size_t i = 0;
    if (!rule->keep && !is_target(rule->type))
      return fail(STATUS_ARGUMENT, "tensors cannot be converted to %s", checkpoint_dtype_name(rule->type));
    while (i < checkpoint_count(in) && fnmatch(rule->pattern, checkpoint_at(in, i)->name, 0)) i++;
    if (i == checkpoint_count(in))
      return fail(STATUS_ARGUMENT, "%s: no tensor's name is like %s", checkpoint_path(in), rule->pattern);
  }
  return STATUS_OK;
}

/* GGUF wants one. */
static status put_architecture(conversion *v) {
  static const char key[] = "general.architecture";
  identity id;
  if (strcmp(v->container, "gguf") || checkpoint_metadata_find(v->in, key)) return STATUS_OK;
  const bool known = identify(v->in, &id);
  if (!known && last_status() == STATUS_MEMORY) return STATUS_MEMORY;
  return writer_string(v->out, key, known ? id.system : "unknown");
}

/* ggml's programs ask a file with block types for the version of their layouts. */
static status put_quantization_version(conversion *v) {
  static const char key[] = "general.quantization_version";
  bool some = false;
  for (size_t i = 0; i < checkpoint_count(v->in); i++)
    some |= is_block(convert_dtype(v->o, v->container, checkpoint_at(v->in, i)));
  if (!some || checkpoint_metadata_find(v->in, key)) return STATUS_OK;
  static const uint8_t two[4] = {2};
  return writer_metadata(v->out, key, &(metadata_value){METADATA_U32, two, sizeof two});
}

static status write_all(conversion *v) {
  if (writer_copy_metadata(v->out, v->in) || put_architecture(v) || put_quantization_version(v)) return last_status();
  for (size_t i = 0; i < checkpoint_count(v->in); i++) {
    const checkpoint_tensor *t = checkpoint_at(v->in, i);
    v->total += t->bytes;
    const checkpoint_dtype dtype = convert_dtype(v->o, v->container, t);
    if (convert_interleaves(v->o, v->container, t)
            ? writer_declare_interleaved(v->out, t->name, dtype, t->n_dims, t->dim)
            : writer_declare(v->out, t->name, dtype, t->n_dims, t->dim))
      return last_status();
  }
  for (size_t i = 0; i < checkpoint_count(v->in); i++)
    if (put_tensor(v, checkpoint_at(v->in, i))) return last_status();
  return STATUS_OK;
}

static checkpoint_dtype llama_dtype(void *self, const checkpoint_tensor *t) {
  const conversion *v = self;
  return convert_dtype(v->o, v->container, t);
}

/* `bytes` more of an input tensor are written, as type `written`. */
static bool llama_progress(void *self, const checkpoint_tensor *t, checkpoint_dtype written, size_t bytes) {
  conversion *v = self;
  v->report->bytes_before += bytes;
  v->report->bytes_after += bytes / checkpoint_dtype_size(t->dtype) * checkpoint_dtype_block(t->dtype) /
                            checkpoint_dtype_block(written) * checkpoint_dtype_size(written);
  if (t != v->last) {
    v->report->tensors++;
    v->report->changed += written != t->dtype;
    v->report->fell_back += fell_back(v->o, t, written);
    v->last = t;
  }
  return advance(v, bytes) == STATUS_OK;
}

static status write_llama(conversion *v) {
  llama_layout_options o = *v->o->llama;
  o.type = llama_dtype;
  o.type_self = v;
  o.progress = llama_progress;
  o.progress_self = v;
  for (size_t i = 0; i < checkpoint_count(v->in); i++) v->total += checkpoint_at(v->in, i)->bytes;
  return put_quantization_version(v) ? last_status() : llama_layout_write(v->in, v->out, &o);
}

static status run(conversion *v, const char *path) {
  v->bytes = mem_alloc(PIECE, 1);
  v->values = mem_alloc(PIECE, sizeof *v->values);
  status s = v->bytes && v->values ? check_rules(v->in, v->o) : last_status();
  if (!s && !(v->out = writer_create(path, v->o->container))) s = last_status();
  if (!s) v->container = writer_container(v->out);
  if (!s && v->o->llama && strcmp(v->container, "gguf"))
    s = fail(STATUS_ARGUMENT, "%s: llama.cpp's layout is for GGUF files", path);
  if (!s) s = v->o->llama ? write_llama(v) : write_all(v);
  if (!s) {
    s = writer_finish(v->out);
    v->out = NULL;
  }
  writer_abandon(v->out);
  free(v->bytes);
  free(v->values);
  return s;
}

status convert(const checkpoint *in, const char *path, const convert_options *o, convert_report *report) {
  *report = (convert_report){0};
  conversion v = {.in = in, .o = o, .report = report};
  return run(&v, path);
}
