/* linnet bench files: what opening a model file costs, beside a plain read of the same file from the page cache. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apps/bench.h"
#include "apps/interrupt.h"
#include "apps/output.h"
#include "weights/checkpoint.h"
#include "weights/writer.h"

enum { PIECE = 1 << 20 };

/* --- a file to open ----------------------------------------------------------------------------------------------- */

/* The vocabulary and the tensors of an RWKV-6 of 2048 channels, with as many blocks as the size asks for. */
static status put_vocabulary(writer *w) {
  enum { TOKENS = 65536 };
  metadata_bytes b = {0};
  char token[24];
  metadata_put_array(&b, METADATA_STRING, TOKENS);
  for (int i = 0; i < TOKENS; i++) metadata_put_text(&b, token, (size_t)snprintf(token, sizeof token, "token-%d", i));
  const status s =
      b.failed ? STATUS_MEMORY
               : writer_metadata(w, "tokenizer.ggml.tokens", &(metadata_value){METADATA_ARRAY, b.bytes, b.size});
  free(b.bytes);
  return s;
}

typedef struct {
  const char *name;
  int64_t dim[2];
} row;

static const row outer[] = {{"emb.weight", {65536, 2048}}, {"head.weight", {65536, 2048}}};
static const row inner[] = {{"ln1.weight", {1, 2048}},
                            {"ln1.bias", {1, 2048}},
                            {"ln2.weight", {1, 2048}},
                            {"ln2.bias", {1, 2048}},
                            {"att.time_maa_x", {1, 2048}},
                            {"att.time_maa_w", {1, 2048}},
                            {"att.time_maa_k", {1, 2048}},
                            {"att.time_maa_v", {1, 2048}},
                            {"att.time_maa_r", {1, 2048}},
                            {"att.time_maa_g", {1, 2048}},
                            {"att.time_maa_w1", {2048, 160}},
                            {"att.time_maa_w2", {160, 2048}},
                            {"att.time_decay", {1, 2048}},
                            {"att.time_decay_w1", {2048, 64}},
                            {"att.time_decay_w2", {64, 2048}},
                            {"att.time_faaaa", {32, 64}},
                            {"att.receptance.weight", {2048, 2048}},
                            {"att.key.weight", {2048, 2048}},
                            {"att.value.weight", {2048, 2048}},
                            {"att.gate.weight", {2048, 2048}},
                            {"att.output.weight", {2048, 2048}},
                            {"att.ln_x.weight", {1, 2048}},
                            {"att.ln_x.bias", {1, 2048}},
                            {"ffn.time_maa_k", {1, 2048}},
                            {"ffn.time_maa_r", {1, 2048}},
                            {"ffn.key.weight", {7168, 2048}},
                            {"ffn.receptance.weight", {2048, 2048}},
                            {"ffn.value.weight", {2048, 7168}}};
#define COUNT(array) (sizeof(array) / sizeof *(array))

static double row_bytes(const row *r, size_t n) {
  double bytes = 0;
  for (size_t i = 0; i < n; i++) bytes += 2 * (double)r[i].dim[0] * (double)r[i].dim[1];
  return bytes;
}

typedef status (*visit)(writer *w, const char *name, const row *r, const void *bytes);

static status declare(writer *w, const char *name, const row *r, const void *bytes) {
  (void)bytes;
  return writer_declare(w, name, CHECKPOINT_BF16, 2, r->dim);
}

static status go_on(void) { return interrupted ? fail(STATUS_INTERRUPTED, "stopped") : STATUS_OK; }

static status put(writer *w, const char *name, const row *r, const void *bytes) {
  const size_t total = 2 * (size_t)r->dim[0] * (size_t)r->dim[1];
  status s = STATUS_OK;
  for (size_t at = 0, n; !s && at < total; at += n) {
    n = total - at < PIECE ? total - at : PIECE;
    s = go_on() ? last_status() : writer_put(w, name, bytes, n);
  }
  return s;
}

static status each_tensor(writer *w, int blocks, visit v, const void *bytes) {
  char name[64];
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < COUNT(outer); i++) s = v(w, outer[i].name, &outer[i], bytes);
  for (int b = 0; b < blocks; b++)
    for (size_t i = 0; !s && i < COUNT(inner); i++) {
      snprintf(name, sizeof name, "blocks.%d.%s", b, inner[i].name);
      s = v(w, name, &inner[i], bytes);
    }
  return s;
}

static status make_file(const char *path, double gigabytes) {
  const int blocks = 1 + (int)((gigabytes * 1e9 - row_bytes(outer, COUNT(outer))) / row_bytes(inner, COUNT(inner)));
  uint16_t *bytes = mem_alloc(PIECE, 1);
  writer *w = bytes ? writer_create(path, "gguf") : NULL;
  if (!w) {
    free(bytes);
    return last_status();
  }
  for (int i = 0; i < PIECE / 2; i++) bytes[i] = (uint16_t)(0x3c00 + i % 509); /* bf16 about 0.01 */
  status s = put_vocabulary(w);
  if (!s) s = each_tensor(w, blocks > 1 ? blocks : 1, declare, NULL);
  if (!s) s = each_tensor(w, blocks > 1 ? blocks : 1, put, bytes);
  free(bytes);
  if (!s) return writer_finish(w);
  writer_abandon(w);
  return s;
}

/* --- measuring ---------------------------------------------------------------------------------------------------- */

typedef struct {
  double plain, open, tensors, resident, bytes;
  size_t count;
} sample;

/* Megabytes of this process that are in memory, mapped files included; 0 where the system does not say. */
static double resident(void) {
  long pages = 0, in_memory = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f) return 0;
  if (fscanf(f, "%ld %ld", &pages, &in_memory) != 2) in_memory = 0;
  fclose(f);
  return 1e-6 * (double)in_memory * (double)sysconf(_SC_PAGESIZE);
}

/* Adds to *bytes. */
static status read_plainly(const char *path, uint8_t *buffer, double *bytes) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(STATUS_IO, "%s: cannot be opened: %s", path, strerror(errno));
  ssize_t n;
  while ((n = read(fd, buffer, PIECE)) > 0) *bytes += (double)n;
  const int error = errno;
  close(fd);
  return n < 0 ? fail(STATUS_IO, "%s: cannot be read: %s", path, strerror(error)) : STATUS_OK;
}

/* All files of a model. */
static status read_files_plainly(const checkpoint *c, uint8_t *buffer, sample *out) {
  const double start = clock_seconds();
  out->bytes = 0;
  status s = read_plainly(checkpoint_path(c), buffer, &out->bytes);
  const char *path;
  for (size_t i = 0; !s && (path = checkpoint_part_path(c, i)); i++) s = read_plainly(path, buffer, &out->bytes);
  out->plain = clock_seconds() - start;
  return s;
}

static status read_tensors(const checkpoint *c, uint8_t *buffer) {
  for (size_t i = 0; i < checkpoint_count(c); i++) {
    const checkpoint_tensor *t = checkpoint_at(c, i);
    const size_t size = checkpoint_dtype_size(t->dtype), most = PIECE / size * size;
    for (size_t at = 0, n; at < t->bytes; at += n) {
      n = t->bytes - at < most ? t->bytes - at : most;
      if (checkpoint_read(c, t, at, n, buffer)) return last_status();
    }
  }
  return STATUS_OK;
}

static status measure_once(const checkpoint *opened_before, uint8_t *buffer, sample *out) {
  if (go_on() || read_files_plainly(opened_before, buffer, out)) return last_status();
  const double before = resident(), start = clock_seconds();
  checkpoint *c = checkpoint_open(checkpoint_path(opened_before));
  if (!c) return last_status();
  const double opened = clock_seconds();
  out->open = opened - start;
  out->resident = resident() - before;
  out->count = checkpoint_count(c);
  const status s = read_tensors(c, buffer);
  out->tensors = clock_seconds() - opened;
  checkpoint_close(c);
  return s;
}

static json_t *measure_file(const char *path, int runs) {
  checkpoint *c = checkpoint_open(path); /* says which files there are, and that they are files */
  uint8_t *buffer = c ? mem_alloc(PIECE, 1) : NULL;
  double *all = buffer ? mem_alloc(4 * (size_t)runs, sizeof *all) : NULL;
  sample one = {0};
  status s = all ? STATUS_OK : last_status();
  for (int i = -1; !s && i < runs; i++) { /* the first one warms up */
    s = measure_once(c, buffer, &one);
    if (s || i < 0) continue;
    all[i] = 1e3 * one.open;
    all[runs + i] = one.resident;
    all[2 * runs + i] = 1e-9 * one.bytes / one.plain;
    all[3 * runs + i] = 1e-9 * one.bytes / one.tensors;
  }
  json_t *found =
      s ? NULL
        : json_pack("{s:o,s:f,s:I,s:f,s:f,s:f,s:f}", "file", json_text(path), "gigabytes", 1e-9 * one.bytes, "tensors",
                    (json_int_t)one.count, "open_ms", median(all, runs), "resident_mb", median(all + runs, runs),
                    "plain_read_gb_s", median(all + 2 * runs, runs), "tensor_read_gb_s", median(all + 3 * runs, runs));
  free(buffer);
  free(all);
  checkpoint_close(c);
  return found;
}

static json_t *measure_made(double gigabytes, int runs) {
  char folder[4096], path[4096 + 16];
  if (make_folder(folder, sizeof folder)) return NULL;
  snprintf(path, sizeof path, "%s/made.gguf", folder);
  watch_interrupts();
  json_t *found = make_file(path, gigabytes) ? NULL : measure_file(path, runs);
  unlink(path);
  rmdir(folder);
  if (found) json_object_set_new(found, "file", json_string("a made-up file"));
  return found;
}

static json_t *measure(const bench_options *o) {
  const int runs = runs_or(o, 20);
  return o->file ? measure_file(o->file, runs) : measure_made(o->size, runs);
}

static void print(const bench_options *o, const json_t *found) {
  static const struct {
    const char *key, *title, *unit;
  } lines[] = {{"open_ms", "opening it", "ms"},
               {"resident_mb", "memory that takes", "MB"},
               {"plain_read_gb_s", "plain read", "GB/s"},
               {"tensor_read_gb_s", "reading its tensors", "GB/s"}};
  (void)o;
  printf("%.2f GB in %.0f tensors: ", number_in(found, "gigabytes"), number_in(found, "tensors"));
  text_line(text_in(found, "file"));
  for (size_t i = 0; i < COUNT(lines); i++)
    printf("  %-24s %9.2f %s\n", lines[i].title, number_in(found, lines[i].key), lines[i].unit);
}

const bench_part bench_files = {"files", false, true, measure, print};
