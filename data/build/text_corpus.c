/* `linnet-data text`: from the sources to train.jsonl, validation.jsonl, test.jsonl and the manifest. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "data/build/pinned.h"
#include "data/build/text.h"
#include "kernels/atomic_file.h"

const text_folders text_installed = {.kjv = "/usr/lib/bible.data",
                                     .web = "/usr/share/sword/modules/texts/ztext/engWEB2015eb",
                                     .dictionaries = "/usr/share/dictd",
                                     .wordnet = "/usr/share/wordnet"};

static const uint64_t SHUFFLE_SEED = 7;

static status collect(const text_folders *from, text_list *list) {
  status s = text_collect_kjv(from->kjv, list);
  if (s == STATUS_OK) s = text_collect_web(from->web, list);
  if (s == STATUS_OK) s = text_collect_dictionary(from->dictionaries, "jargon", TEXT_JARGON, list);
  if (s == STATUS_OK) s = text_collect_dictionary(from->dictionaries, "devil", TEXT_DEVIL, list);
  if (s == STATUS_OK) s = text_collect_wordnet(from->wordnet, list);
  return s;
}

/* ---- the files ---- */

static void put_json_string(text_buffer *to, const char *text, size_t n) {
  text_puts(to, "\"");
  for (size_t i = 0; i < n; i++) {
    const char *escape = text[i] == '"' ? "\\\"" : text[i] == '\\' ? "\\\\" : text[i] == '\n' ? "\\n" : NULL;
    if (escape != NULL) {
      text_puts(to, escape);
    } else {
      text_put(to, text + i, 1);
    }
  }
  text_puts(to, "\"");
}

void text_summary_file(text_summary *sum, int side, const void *bytes, size_t n) {
  XXH128_hash_t hash = XXH3_128bits(bytes, n);
  sum->file_bytes[side] = n;
  sum->sum[side][0] = hash.high64;
  sum->sum[side][1] = hash.low64;
}

/* The documents of a split in an order that mixes the sources, one JSON object a line. */
static status make_file(const text_list *list, int side, text_buffer *out, text_summary *sum) {
  size_t n = 0;
  uint32_t *order = mem_alloc(list->n, sizeof *order);
  if (order == NULL) return last_status();
  for (size_t i = 0; i < list->n; i++) {
    if (list->item[i].split == side) order[n++] = (uint32_t)i;
  }
  rng g = rng_make(SHUFFLE_SEED, (uint64_t)side);
  rng_shuffle(&g, order, n);
  for (size_t i = 0; i < n; i++) {
    const text_document *d = &list->item[order[i]];
    text_puts(out, "{\"text\": ");
    put_json_string(out, d->text, d->n);
    text_puts(out, ", \"source\": \"");
    text_puts(out, text_source_name[d->source]);
    text_puts(out, "\"}\n");
    sum->documents[side][d->source]++;
    sum->bytes[side][d->source] += d->n;
  }
  free(order);
  text_summary_file(sum, side, out->bytes, out->n);
  return out->status;
}

void text_file_path(char *path, size_t room, const char *folder, int side) {
  snprintf(path, room, "%s/%s.jsonl", folder, split_name[side]);
}

static status write_file(const char *folder, int side, const text_buffer *content) {
  char path[1024];
  text_file_path(path, sizeof path, folder, side);
  atomic_file *file = atomic_file_create(path);
  if (file == NULL) return last_status();
  atomic_file_write(file, content->bytes != NULL ? content->bytes : "", content->n);
  return atomic_file_commit(file);
}

/* ---- the manifest: a line for each file, and one for each source in it ---- */

static void put_line(text_buffer *to, const char *name, const char *source, size_t documents, size_t bytes,
                     const char *sum) {
  char line[256];
  snprintf(line, sizeof line, "%s\t%s\t%zu\t%zu\t%s\n", name, source, documents, bytes, sum);
  text_puts(to, line);
}

void text_manifest(const text_summary *sum, text_buffer *out) {
  text_puts(out, "# split\tsource\tdocuments\tbytes (of the file; of the source's text in it)\tXXH3-128\n");
  for (int s = 0; s < SPLITS; s++) {
    char hash[33];
    size_t documents = 0;
    for (int k = 0; k < TEXT_SOURCES; k++) documents += sum->documents[s][k];
    snprintf(hash, sizeof hash, "%016" PRIx64 "%016" PRIx64, sum->sum[s][0], sum->sum[s][1]);
    put_line(out, split_name[s], "all", documents, sum->file_bytes[s], hash);
    for (int k = 0; k < TEXT_SOURCES; k++) {
      put_line(out, split_name[s], text_source_name[k], sum->documents[s][k], sum->bytes[s][k], "-");
    }
  }
}

/* ---- all of it ---- */

static status write_all(const text_list *list, const char *folder, const char *pinned, bool renew) {
  text_buffer file[SPLITS] = {{0}}, lines = {0};
  text_summary *sum = mem_zero(1, sizeof *sum);
  status s = sum != NULL ? STATUS_OK : last_status();
  for (int side = 0; side < SPLITS && s == STATUS_OK; side++) s = make_file(list, side, &file[side], sum);
  if (s == STATUS_OK) text_manifest(sum, &lines);
  if (s == STATUS_OK) s = lines.status;
  if (s == STATUS_OK) s = pinned_settle(pinned, renew, lines.bytes, lines.n);
  if (s == STATUS_OK) {
    char path[1024];
    text_file_path(path, sizeof path, folder, 0);
    folders_make(path);
  }
  for (int side = 0; side < SPLITS; side++) {
    if (s == STATUS_OK) s = write_file(folder, side, &file[side]);
    free(file[side].bytes);
  }
  free(lines.bytes);
  free(sum);
  return s;
}

status text_corpus_make(const text_folders *from, const char *folder, const char *pinned, bool renew,
                        text_counts *counts) {
  text_list list = {0};
  *counts = (text_counts){0};
  status s = collect(from, &list);
  counts->collected = list.n;
  if (s == STATUS_OK) s = text_drop_copies(&list, &counts->copies);
  if (s == STATUS_OK) s = text_split(&list, &counts->moved);
  if (s == STATUS_OK) s = write_all(&list, folder, pinned, renew);
  counts->kept = list.n;
  text_list_free(&list);
  return s;
}
