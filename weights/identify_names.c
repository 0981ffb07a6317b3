#include "weights/identify_names.h"

#include <stdlib.h>
#include <string.h>

/* The most numbers of a name that are looked at (PointRWKV's names have four), and the most digits of each. */
enum { MOST_NUMBERS = 6, MOST_DIGITS = 9 };

/* A name as it is, or with one of its numbers read as '#'. Nothing is copied: the characters are those of the tensor's
 * name, with `length` of them, from `at` on, replaced. */
struct name_entry {
  const checkpoint_tensor *tensor;
  const char *text;    /* the name behind wrappers' prefixes */
  uint16_t at, length; /* of the number; length 0: the name as it is */
  int32_t number;      /* its value, or -1 */
};

static char character(const name_entry *e, size_t i) {
  if (!e->length || i < e->at) return e->text[i];
  return i == e->at ? '#' : e->text[i + e->length - 1];
}

static int compare_to(const name_entry *e, const char *text) {
  size_t i = 0;
  while (text[i] && character(e, i) == text[i]) i++;
  return (int)(unsigned char)character(e, i) - (int)(unsigned char)text[i];
}

/* By text; of equal texts the one with the lower number first. Most of two names is the same and read as it is. */
static int compare(const void *va, const void *vb) {
  const name_entry *a = va, *b = vb;
  size_t i = a->length && (!b->length || a->at < b->at) ? a->at : b->length ? b->at : CHECKPOINT_NAME_MAX;
  int difference = strncmp(a->text, b->text, i);
  if (!difference && (a->length || b->length)) {
    while (character(a, i) && character(a, i) == character(b, i)) i++;
    difference = (int)(unsigned char)character(a, i) - (int)(unsigned char)character(b, i);
  }
  return difference ? difference : (a->number > b->number) - (a->number < b->number);
}

/* The next part of a dotted name, from *at on, that is a number below `limit`. */
static bool next_number(const char *text, size_t *at, uint16_t *length, int32_t *number, size_t limit) {
  for (size_t start = *at, n; text[start]; start += n + (text[start + n] == '.')) {
    n = strcspn(text + start, ".");
    if (!n || n > MOST_DIGITS || strspn(text + start, "0123456789") != n) continue;
    const long value = strtol(text + start, NULL, 10);
    if ((size_t)value >= limit) continue;
    *at = start;
    *length = (uint16_t)n;
    *number = (int32_t)value;
    return true;
  }
  return false;
}

/* The name and its variants; returns how many. `room` has MOST_NUMBERS + 1 places. */
static size_t add_name(name_entry *room, const checkpoint_tensor *t, size_t limit) {
  const char *text = t->name;
  size_t n = 0, at = 0;
  room[n++] = (name_entry){t, text, 0, 0, -1};
  uint16_t length;
  int32_t number;
  while (n <= MOST_NUMBERS && next_number(text, &at, &length, &number, limit)) {
    room[n++] = (name_entry){t, text, (uint16_t)at, length, number};
    at += length; /* the dot after it makes an empty part, which is passed over */
  }
  return n;
}

status name_index_build(name_index *index, const checkpoint *file) {
  const size_t n = checkpoint_count(file);
  size_t total = 0;
  name_entry variants[MOST_NUMBERS + 1];
  *index = (name_index){0};
  for (size_t i = 0; i < n; i++) total += add_name(variants, checkpoint_at(file, i), n);
  if (!(index->entry = mem_alloc(total, sizeof *index->entry))) return last_status();
  for (size_t i = 0; i < n; i++) {
    const size_t k = add_name(variants, checkpoint_at(file, i), n);
    memcpy(index->entry + index->count, variants, k * sizeof *variants);
    index->count += k;
  }
  if (total) qsort(index->entry, total, sizeof *index->entry, compare);
  return STATUS_OK;
}

void name_index_free(name_index *index) {
  free(index->entry);
  *index = (name_index){0};
}

/* The first entry that is not before `text` or, `after` set, that is behind all equal to it. */
static size_t bound(const name_index *index, const char *text, bool after) {
  size_t low = 0, high = index->count;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    const int order = compare_to(&index->entry[middle], text);
    if (order < 0 || (after && !order))
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

typedef char full_name[CHECKPOINT_NAME_MAX + 1];

/* root + name; false if no name is so long. */
static bool join(full_name text, const char *root, const char *name) {
  const size_t a = strlen(root), b = strlen(name);
  if (a + b >= sizeof(full_name)) return false;
  memcpy(text, root, a);
  memcpy(text + a, name, b + 1);
  return true;
}

const checkpoint_tensor *name_find(const name_index *index, const char *root, const char *name) {
  full_name text;
  if (!join(text, root, name)) return NULL;
  const size_t i = bound(index, text, false);
  return i < index->count && !compare_to(&index->entry[i], text) ? index->entry[i].tensor : NULL;
}

int64_t name_count(const name_index *index, const char *root, const char *name) {
  full_name text;
  if (!join(text, root, name)) return 0;
  const size_t end = bound(index, text, true);
  return end && !compare_to(&index->entry[end - 1], text) ? (int64_t)index->entry[end - 1].number + 1 : 0;
}

int64_t name_dim(const name_index *index, const char *root, const char *name, int axis) {
  const checkpoint_tensor *t = name_find(index, root, name);
  return t && axis < t->n_dims && t->dim[axis] >= 1 && t->dim[axis] <= INT32_MAX ? t->dim[axis] : 0;
}
