/* The audit of the training text: what the files themselves say (data/build/text.h). */
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/build/pinned.h"
#include "data/build/text.h"
#include "data/intern.h"
#include "kernels/file.h"

#define MAX_FILE_BYTES ((uint64_t)1 << 30)

/* Keeps the sentence about the first violation. */
static void __attribute__((format(printf, 2, 3))) note(text_audit *out, const char *format, ...) {
  if (out->first[0] != 0) return;
  va_list args;
  va_start(args, format);
  vsnprintf(out->first, sizeof out->first, format, args);
  va_end(args);
}

/* ---- reading ---- */

static int find_source(const char *name) {
  for (int k = 0; k < TEXT_SOURCES; k++) {
    if (strcmp(text_source_name[k], name) == 0) return k;
  }
  return -1;
}

static status take_line(const char *line, size_t n, int side, text_list *list, text_summary *sum) {
  const char *text, *source;
  size_t length;
  json_error_t error;
  json_t *object = json_loadb(line, n, JSON_REJECT_DUPLICATES, &error);
  status s = STATUS_OK;
  if (object == NULL || json_unpack(object, "{s:s%, s:s !}", "text", &text, &length, "source", &source) != 0 ||
      find_source(source) < 0) {
    s = fail(STATUS_FORMAT, "not an object with a text and a source of the corpus");
  } else {
    text_document *item = mem_room(list->item, list->n, &list->room, sizeof *item);
    char *copy = item != NULL ? mem_alloc(length + 1, 1) : NULL;
    if (item != NULL) list->item = item;
    if (copy == NULL) {
      s = last_status();
    } else {
      memcpy(copy, text, length + 1);
      uint8_t k = (uint8_t)find_source(source);
      item[list->n++] = (text_document){.text = copy, .n = length, .source = k, .split = (uint8_t)side};
      sum->documents[side][k]++;
      sum->bytes[side][k] += length;
    }
  }
  json_decref(object);
  return s;
}

static status read_split(const char *folder, int side, text_list *list, text_summary *sum) {
  char path[1024];
  size_t size, number = 0;
  text_file_path(path, sizeof path, folder, side);
  char *file = file_read(path, MAX_FILE_BYTES, &size), *next = NULL;
  if (file == NULL) return last_status();
  text_summary_file(sum, side, file, size);
  status s = STATUS_OK;
  for (char *line = file; s == STATUS_OK && line < file + size; line = next) {
    char *end = memchr(line, '\n', (size_t)(file + size - line));
    if (end == NULL) end = file + size;
    next = end + 1;
    number++;
    s = take_line(line, (size_t)(end - line), side, list, sum);
    if (s != STATUS_OK) s = fail_within("%s, line %zu", path, number);
  }
  free(file);
  return s;
}

/* ---- looking ---- */

static status look_for_unclean(const text_list *list, text_audit *out) {
  text_buffer clean = {0};
  status s = STATUS_OK;
  for (size_t i = 0; i < list->n && s == STATUS_OK; i++) {
    const text_document *d = &list->item[i];
    clean.n = 0;
    s = text_clean(d->text, d->n, &clean);
    if (s != STATUS_OK || (d->n > 0 && clean.n == d->n && memcmp(clean.bytes, d->text, d->n) == 0)) continue;
    out->unclean++;
    note(out, "a document of %s is not clean: %.60s", split_name[d->split], d->text);
  }
  free(clean.bytes);
  return s;
}

/* The words in lower case with one space behind each, in place of the text. */
static void bare_words(const text_document *d, text_buffer *out) {
  out->n = 0;
  for (size_t i = 0; i < d->n; i++) {
    char c = d->text[i];
    if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
    bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
    if (word) text_put(out, &c, 1);
    if (!word && out->n > 0 && out->bytes[out->n - 1] != ' ') text_puts(out, " ");
  }
  text_puts(out, " ");
}

static status look_for_copies(const text_list *list, text_audit *out) {
  intern *seen = intern_new();
  text_buffer words = {0};
  status s = seen != NULL ? STATUS_OK : last_status();
  for (size_t i = 0; i < list->n && s == STATUS_OK; i++) {
    uint32_t id, before = intern_count(seen);
    bare_words(&list->item[i], &words);
    s = words.status == STATUS_OK ? intern_add(seen, words.bytes, words.n, &id) : words.status;
    if (s != STATUS_OK || intern_count(seen) > before) continue;
    out->copies++;
    note(out, "a document of %s is there twice: %.60s", split_name[list->item[i].split], list->item[i].text);
  }
  intern_free(seen);
  free(words.bytes);
  return s;
}

static status look_for_overlaps(const text_list *list, text_audit *out) {
  bool *overlaps = mem_zero(list->n, 1);
  status s = overlaps != NULL ? text_overlaps(list, overlaps, &out->overlaps) : last_status();
  for (size_t i = 0; i < list->n && s == STATUS_OK; i++) {
    if (!overlaps[i]) continue;
    note(out, "a document of %s can be read in another split: %.60s", split_name[list->item[i].split],
         list->item[i].text);
  }
  free(overlaps);
  return s;
}

static status look_at_manifest(const text_summary *sum, const char *pinned, text_audit *out) {
  text_buffer lines = {0};
  text_manifest(sum, &lines);
  status s = lines.status == STATUS_OK ? pinned_check(pinned, lines.bytes) : lines.status;
  out->as_pinned = s == STATUS_OK;
  free(lines.bytes);
  if (s != STATUS_FORMAT) return s;
  note(out, "%s", last_error());
  return STATUS_OK;
}

status text_corpus_audit(const char *folder, const char *pinned, text_audit *out) {
  text_list list = {0};
  text_summary *sum = mem_zero(1, sizeof *sum);
  status s = sum != NULL ? STATUS_OK : last_status();
  *out = (text_audit){0};
  for (int side = 0; side < SPLITS && s == STATUS_OK; side++) s = read_split(folder, side, &list, sum);
  for (size_t i = 0; i < list.n; i++) out->documents[list.item[i].split]++;
  if (s == STATUS_OK) s = look_for_unclean(&list, out);
  if (s == STATUS_OK) s = look_for_copies(&list, out);
  if (s == STATUS_OK) s = look_for_overlaps(&list, out);
  if (s == STATUS_OK) s = look_at_manifest(sum, pinned, out);
  free(sum);
  text_list_free(&list);
  return s;
}

size_t text_audit_violations(const text_audit *audit) {
  return audit->copies + audit->overlaps + audit->unclean + !audit->as_pinned;
}
