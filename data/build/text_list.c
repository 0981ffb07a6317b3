/* Documents of the training text, and how they are cleaned (data/build/text.h). */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "data/build/text.h"
#include "data/unicode.h"
#include "kernels/utf8.h"

const char *const text_source_name[TEXT_SOURCES] = {"bible-kjv-text", "sword-text-web", "dict-jargon", "dict-devil",
                                                    "wordnet-base"};

void text_put(text_buffer *to, const char *bytes, size_t n) {
  size_t need;
  if (to->status != STATUS_OK) return;
  if (!size_add(to->n, n, &need) || !size_add(need, 1, &need)) {
    to->status = fail(STATUS_MEMORY, "a text is too long");
    return;
  }
  if (need > to->room) {
    size_t room = need < 1024 ? 1024 : need + need / 2;
    char *grown = mem_grow(to->bytes, room, 1);
    if (grown == NULL) {
      to->status = last_status();
      return;
    }
    to->bytes = grown;
    to->room = room;
  }
  memcpy(to->bytes + to->n, bytes, n);
  to->n += n;
  to->bytes[to->n] = 0;
}

void text_puts(text_buffer *to, const char *string) { text_put(to, string, strlen(string)); }

/* ---- cleaning ---- */

/* What stands for a character; NULL: itself; "": nothing. One way to write quotation marks, dashes and dots is enough
 * for a small vocabulary. */
static const char *plain_form(uint32_t code) {
  switch (code) {
  case 0x2018:
  case 0x2019:
  case 0x201a:
  case 0x201b:
  case 0xb4:
  case '`':
    return "'";
  case 0x201c:
  case 0x201d:
  case 0x201e:
  case 0x201f:
    return "\"";
  case 0x2010:
  case 0x2011:
  case 0x2012:
  case 0x2013:
  case 0x2212:
    return "-";
  case 0x2014:
  case 0x2015:
    return " - ";
  case 0x2026:
    return "...";
  case 0xad:
  case 0x200b:
  case 0x200c:
  case 0x200d:
  case 0x200e:
  case 0x200f:
  case 0x2060:
  case 0xfeff:
    return "";
  default:
    break;
  }
  if (code < 0x20 || (code >= 0x7f && code < 0xa0) || unicode_class_of(code) == UNICODE_SPACE) return " ";
  return NULL;
}

/* Adds to clean text: no space at either end of a line, never two together, one empty line at most. */
static void put_tidy(text_buffer *out, const char *bytes, size_t n) {
  for (size_t i = 0; i < n; i++) {
    char last = out->n > 0 ? out->bytes[out->n - 1] : '\n';
    if (bytes[i] == ' ' && (last == ' ' || last == '\n')) continue;
    if (bytes[i] == '\n') {
      if (last == ' ') out->n--;
      if (out->n == 0 || (out->n > 1 && memcmp(out->bytes + out->n - 2, "\n\n", 2) == 0)) continue;
    }
    text_put(out, bytes + i, 1);
  }
}

status text_clean(const char *raw, size_t n, text_buffer *out) {
  size_t step;
  for (size_t at = 0; at < n; at += step) {
    uint32_t code;
    int length = utf8_next(raw + at, n - at, &code);
    if (length <= 0) return fail(STATUS_FORMAT, "a text is not valid UTF-8 at byte %zu", at);
    step = (size_t)length;
    const char *plain = NULL;
    if (code == '-' && at + 1 < n && raw[at + 1] == '-') { /* two or more hyphens: a dash */
      while (at + step < n && raw[at + step] == '-') step++;
      plain = " - ";
    } else if (code != '\n') {
      plain = plain_form(code);
    }
    if (plain != NULL) {
      put_tidy(out, plain, strlen(plain));
    } else {
      put_tidy(out, raw + at, step);
    }
  }
  while (out->n > 0 && (out->bytes[out->n - 1] == '\n' || out->bytes[out->n - 1] == ' ')) out->n--;
  if (out->bytes != NULL) out->bytes[out->n] = 0;
  return out->status;
}

/* ---- the list ---- */

status text_list_add(text_list *list, text_source source, const char *key, size_t key_bytes, const text_buffer *text) {
  text_buffer clean = {0};
  status s = text->status == STATUS_OK ? text_clean(text->bytes, text->n, &clean) : text->status;
  if (s != STATUS_OK || clean.n == 0) {
    free(clean.bytes);
    return s;
  }
  text_document *item = mem_room(list->item, list->n, &list->room, sizeof *item);
  if (item == NULL) {
    free(clean.bytes);
    return last_status();
  }
  char *fitted = realloc(clean.bytes, clean.n + 1);
  list->item = item;
  item[list->n++] = (text_document){.text = fitted != NULL ? fitted : clean.bytes,
                                    .n = clean.n,
                                    .key = XXH3_64bits(key, key_bytes),
                                    .source = (uint8_t)source};
  return STATUS_OK;
}

void text_list_free(text_list *list) {
  for (size_t i = 0; i < list->n; i++) free(list->item[i].text);
  free(list->item);
  *list = (text_list){0};
}
