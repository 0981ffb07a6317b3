#include "tests/support/model_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/gguf_build.h"
#include "tests/support/make_pth.h"
#include "tests/support/scratch.h"

#include <cmocka.h>

void put_odd_model(writer *w) {
  static const struct {
    const char *key;
    metadata_type type;
    const char *bytes;
    size_t size;
  } entries[] = {
      {"of.u8", METADATA_U8, "\1", 1},
      {"of.i16", METADATA_I16, "\1\2", 2},
      {"of.f32", METADATA_F32, "\0\0\200\77", 4},
      {"of.infinity", METADATA_F32, "\0\0\200\177", 4},
      {"of.f64", METADATA_F64, "\1\0\0\0\0\0\360\77", 8},
      {"of.u64", METADATA_U64, "\377\377\377\377\377\377\377\377", 8},
      {"of.bool", METADATA_BOOL, "\1", 1},
      {"of.bytes", METADATA_STRING, "\2\0\0\0\0\0\0\0\377\376", 10},
      {"of.numbers", METADATA_ARRAY, "\4\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0\2\0\0\0", 20},
      {"of.texts", METADATA_ARRAY, "\10\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0a\2\0\0\0\0\0\0\0bc", 31},
      {"of.arrays", METADATA_ARRAY, "\11\0\0\0\1\0\0\0\0\0\0\0\7\0\0\0\1\0\0\0\0\0\0\0\1", 25},
  };
  static const struct {
    const char *name;
    checkpoint_dtype dtype;
    int n_dims;
    int64_t dim[5];
  } tensors[] = {
      {"emb.weight", CHECKPOINT_F32, 2, {33, 64}},
      {"five", CHECKPOINT_F16, 5, {1, 2, 1, 3, 2}},
      {"a name that is so long that GGUF, which holds at most 63 bytes, has no place for it", CHECKPOINT_BF16, 1, {3}},
      {"scalar", CHECKPOINT_F64, 0, {0}},
      {"empty", CHECKPOINT_F32, 2, {0, 4}},
      {"flags", CHECKPOINT_BOOL, 1, {3}},
      {"large integers", CHECKPOINT_U64, 1, {2}},
  };
  static uint8_t bytes[33 * 64 * 4];
  for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
    writer_metadata(w, entries[i].key,
                    &(metadata_value){entries[i].type, (const uint8_t *)entries[i].bytes, entries[i].size});
  writer_string(w, "general.name", "\xe2\x98\x83 \"odd\"");
  const size_t n = sizeof tensors / sizeof *tensors;
  for (size_t i = 0; i < n; i++)
    writer_declare(w, tensors[i].name, tensors[i].dtype, tensors[i].n_dims, tensors[i].dim);
  for (size_t i = 0; i < n; i++) {
    size_t size = 0;
    checkpoint_shape_bytes(tensors[i].dtype, tensors[i].n_dims, tensors[i].dim, &size);
    for (size_t k = 0; k < size; k++) bytes[k] = tensors[i].dtype == CHECKPOINT_U64 ? 0xf0 : k % 2 ? 0x3c : 1;
    if (tensors[i].dtype == CHECKPOINT_BOOL) memset(bytes, 1, size);
    writer_put(w, tensors[i].name, bytes, size);
  }
}

enum { D = 32, N = 16, V = 40 };
static const struct {
  const char *name;
  int64_t dim[3];
} finch[] = {{"emb.weight", {V, D}},
             {"ln_out.weight", {D}},
             {"ln_out.bias", {D}},
             {"head.weight", {V, D}},
             {"blocks.0.ln0.weight", {D}},
             {"blocks.0.ln0.bias", {D}},
             {"blocks.0.ln1.weight", {D}},
             {"blocks.0.ln1.bias", {D}},
             {"blocks.0.ln2.weight", {D}},
             {"blocks.0.ln2.bias", {D}},
             {"blocks.0.att.time_maa_x", {1, 1, D}},
             {"blocks.0.att.time_maa_w", {1, 1, D}},
             {"blocks.0.att.time_maa_k", {1, 1, D}},
             {"blocks.0.att.time_maa_v", {1, 1, D}},
             {"blocks.0.att.time_maa_r", {1, 1, D}},
             {"blocks.0.att.time_maa_g", {1, 1, D}},
             {"blocks.0.att.time_maa_w1", {D, 20}},
             {"blocks.0.att.time_maa_w2", {5, 4, D}},
             {"blocks.0.att.time_decay", {1, 1, D}},
             {"blocks.0.att.time_decay_w1", {D, 6}},
             {"blocks.0.att.time_decay_w2", {6, D}},
             {"blocks.0.att.time_faaaa", {D / N, N}},
             {"blocks.0.att.receptance.weight", {D, D}},
             {"blocks.0.att.key.weight", {D, D}},
             {"blocks.0.att.value.weight", {D, D}},
             {"blocks.0.att.output.weight", {D, D}},
             {"blocks.0.att.gate.weight", {D, D}},
             {"blocks.0.att.ln_x.weight", {D}},
             {"blocks.0.att.ln_x.bias", {D}},
             {"blocks.0.ffn.time_maa_k", {1, 1, D}},
             {"blocks.0.ffn.time_maa_r", {1, 1, D}},
             {"blocks.0.ffn.key.weight", {D, D}},
             {"blocks.0.ffn.receptance.weight", {D, D}},
             {"blocks.0.ffn.value.weight", {D, D}}};
enum { FINCH = sizeof finch / sizeof *finch };

/* The tensors from `first` on, so many. */
static char *finch_part(void **state, const char *file, size_t first, size_t count) {
  char *path = scratch_path(state, file), name[64];
  writer *w = writer_create(path, NULL);
  rng random = rng_make(3, first);
  float values[V * D];
  assert_non_null(w);
  for (int put = 0; put < 2; put++)
    for (size_t i = first; i < first + count; i++) {
      int n_dims = 0;
      size_t n = 1;
      while (n_dims < 3 && finch[i].dim[n_dims]) n *= (size_t)finch[i].dim[n_dims++];
      for (size_t k = 0; k < n; k++) values[k] = rng_range(&random, -1, 1);
      snprintf(name, sizeof name, "module.%s", finch[i].name);
      if (put)
        writer_put_f32(w, name, values, n);
      else
        writer_declare(w, name, CHECKPOINT_BF16, n_dims, finch[i].dim);
    }
  if (writer_finish(w)) fail_msg("%s", last_error());
  return path;
}

char *finch_file(void **state, const char *file) { return finch_part(state, file, 0, FINCH); }

char *finch_shards(void **state) {
  static const char *const files[2] = {"1.safetensors", "2.safetensors"};
  enum { HALF = FINCH / 2 };
  char text[8192], *path = scratch_path(state, "model.safetensors.index.json");
  free(finch_part(state, files[0], 0, HALF));
  free(finch_part(state, files[1], HALF, FINCH - HALF));
  int used = sprintf(text, "{\"metadata\":{\"total_size\":%d,\"share\":0.5,\"tied\":false,\"by\":\"x\"}", FINCH);
  for (size_t i = 0; i < FINCH; i++)
    used += snprintf(text + used, sizeof text - (size_t)used, "%s\"module.%s\":\"%s\"", i ? "," : ",\"weight_map\":{",
                     finch[i].name, files[i >= HALF]);
  strcpy(text + used, "}}");
  scratch_write(path, text, strlen(text));
  return path;
}

char *split_gguf_file(void **state) {
  static const float values[40] = {1, 2, 3};
  char *first = NULL;
  for (uint64_t i = 0; i < 2; i++) {
    gguf_build b = {.version = 3, .alignment = 32};
    char name[32], *path;
    size_t size;
    gguf_build_number(&b, "split.no", METADATA_U16, i);
    gguf_build_number(&b, "split.count", METADATA_U16, 2);
    gguf_build_number(&b, "split.tensors.count", METADATA_I32, 2);
    gguf_build_text(&b, "general.name", "split");
    gguf_build_tensor(&b, i ? "b" : "a", 0, 2, (int64_t[]){4, 10}, values, sizeof values);
    uint8_t *bytes = gguf_build_finish(&b, &size);
    snprintf(name, sizeof name, "s-0000%d-of-00002.gguf", (int)i + 1);
    scratch_write(path = scratch_path(state, name), bytes, size);
    free(bytes);
    if (i)
      free(path);
    else
      first = path;
  }
  return first;
}

char *pth_file(void **state, const char *file, int method) {
  pickle_writer w = {.size = 0};
  size_t size;
  char *path = scratch_path(state, file);
  PUT(&w, "\x80\x02}(");
  for (int i = 0; i < 2; i++) {
    put_text(&w, i ? "ema" : "state_dict");
    PUT(&w, "}(");
    put_six(&w, "emb.weight");
    put_tensor(&w, "transposed", "FloatStorage", 6, 0, 2, (int64_t[]){3, 2}, (int64_t[]){1, 3});
    put_tensor(&w, "spread", "FloatStorage", 6, i, 2, (int64_t[]){2, 2}, (int64_t[]){3, 0});
    PUT(&w, "u");
  }
  PUT(&w, "u.");
  char *bytes = make_pth(&w, method, &size);
  scratch_write(path, bytes, size);
  free(bytes);
  return path;
}
