/* docs/index-format.md; checksums are XXH3-64 (Yann Collet, xxHash 0.8). */
#include "fusion/vector_index_layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "kernels/bytes.h"
#include "kernels/file.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "vectors are used as they lie in the file");
_Static_assert(VECTOR_F32 == 0 && VECTOR_F16 == 1 && VECTOR_I8 == 2, "the file's numbers of types");

static const char head_magic[] = "LINNETIX", root_magic[] = "LNTXROOT", manifest_magic[] = "LNTXMANI";
enum { MAGIC = 8, SUMMED = INDEX_RECORD - 8 }; /* the head and each root end with the checksum of what precedes it */

uint64_t layout_round(uint64_t place) { return (place + INDEX_ALIGNMENT - 1) / INDEX_ALIGNMENT * INDEX_ALIGNMENT; }
uint64_t layout_sum(const void *data, size_t bytes) { return XXH3_64bits(data, bytes); }

segment_sum *segment_sum_new(void) {
  segment_sum *sum = XXH3_createState();
  if (!sum) return fail_null(STATUS_MEMORY, "out of memory for a checksum");
  XXH3_64bits_reset(sum);
  return sum;
}

void segment_sum_add(segment_sum *sum, const void *data, size_t bytes) {
  if (bytes) XXH3_64bits_update(sum, data, bytes);
}

uint64_t segment_sum_end(segment_sum *sum) {
  const uint64_t result = XXH3_64bits_digest(sum);
  XXH3_freeState(sum);
  return result;
}

/* --- segments ----------------------------------------------------------------------------------------------------- */

size_t part_bytes(const index_facts *facts, int part, size_t rows, size_t text_bytes) {
  switch (part) {
  case PART_VECTORS:
    return rows * vector_bytes(facts->type, facts->width);
  case PART_FACTORS:
    return facts->type == VECTOR_I8 ? rows * sizeof(float) : 0;
  case PART_TEXTS:
    return text_bytes;
  default:
    return rows * sizeof(uint64_t);
  }
}

bool segment_extent(const index_facts *facts, size_t rows, size_t text_bytes, size_t at[INDEX_PARTS + 1]) {
  /* more than any row takes beside its texts: what is below half of the addresses with it cannot overflow without */
  const size_t row = vector_bytes(facts->type, facts->width) + 4 * sizeof(uint64_t);
  size_t all;
  if (!size_mul(rows, row, &all) || !size_add(all, text_bytes, &all) || all > PTRDIFF_MAX / 2) return false;
  at[0] = 0;
  for (int p = 0; p < INDEX_PARTS; p++) at[p + 1] = layout_round(at[p] + part_bytes(facts, p, rows, text_bytes));
  return true;
}

const index_segment *view_segment(const index_view *v, uint64_t row) {
  size_t low = 0, high = v->n; /* it is in [low,high) */
  while (high - low > 1) {
    const size_t middle = low + (high - low) / 2;
    if (v->segments[middle].first <= row)
      low = middle;
    else
      high = middle;
  }
  return v->segments + low;
}

uint64_t view_id(const index_view *v, uint64_t row) {
  const index_segment *s = view_segment(v, row);
  return little64(s->part[PART_IDS] + 8 * (row - s->first));
}

bool view_deleted(const index_view *v, uint64_t row) {
  const index_segment *s = view_segment(v, row);
  const uint64_t at = row - s->first;
  return s->skip && s->skip[at / 8] >> at % 8 & 1;
}

const void *view_stored(const index_view *v, uint64_t row, float *factor) {
  const index_segment *s = view_segment(v, row);
  const size_t at = (size_t)(row - s->first);
  *factor = s->part[PART_FACTORS] ? ((const float *)(const void *)s->part[PART_FACTORS])[at] : 1;
  return s->part[PART_VECTORS] + part_bytes(&v->facts, PART_VECTORS, at, 0);
}

void view_vector(const index_view *v, uint64_t row, float *vector) {
  float factor;
  const void *stored = view_stored(v, row, &factor);
  vector_decode(v->facts.type, stored, factor, v->facts.width, vector);
}

void view_forget(const index_view *v, uint64_t row) {
  enum { STEP = 1024 };
  const index_segment *s = view_segment(v, row);
  const size_t last = (size_t)(row - s->first), from = last / STEP * STEP;
  if (last % STEP != STEP - 1 && last != s->rows - 1) return;
  const uint64_t begin = from ? little64(s->part[PART_ENDS] + 8 * (from - 1)) : 0,
                 end = little64(s->part[PART_ENDS] + 8 * last);
  const size_t row_bytes = part_bytes(&v->facts, PART_VECTORS, 1, 0);
  file_forget(s->part[PART_VECTORS] + from * row_bytes, (last + 1 - from) * row_bytes);
  if (begin < end && end <= s->text_bytes) file_forget(s->part[PART_TEXTS] + begin, (size_t)(end - begin));
}

/* The text at a place that ends with a zero byte before `end`; NULL if none does. */
static const char *text_at(const index_segment *s, uint64_t *at, uint64_t end) {
  if (*at >= end) return NULL;
  const char *text = (const char *)s->part[PART_TEXTS] + *at, *last = memchr(text, 0, (size_t)(end - *at));
  if (!last) return NULL;
  *at += (uint64_t)(last - text) + 1;
  return text;
}

status view_record(const index_view *v, uint64_t row, index_record *r) {
  const index_segment *s = view_segment(v, row);
  const uint8_t *ends = s->part[PART_ENDS] + 8 * (row - s->first);
  uint64_t at = row > s->first ? little64(ends - 8) : 0;
  const uint64_t end = little64(ends);
  bool whole = at <= end && end <= s->text_bytes;
  whole = whole && (r->path = text_at(s, &at, end)) && *r->path;
  whole = whole && (r->caption = text_at(s, &at, end)) && (r->metadata = text_at(s, &at, end)) && at == end;
  return whole ? STATUS_OK
               : fail(STATUS_FORMAT, "%s: the record of row %llu is damaged", v->name, (unsigned long long)row);
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static status read_head(index_view *v) {
  const uint8_t *head = v->data;
  if (v->size < MAGIC || memcmp(head, head_magic, MAGIC))
    return fail(STATUS_FORMAT, "%s: is not an index%s", v->name, v->size ? "" : ": the file is empty");
  if (v->size <= INDEX_ABOUT) return fail(STATUS_FORMAT, "%s: the file is cut: it has %zu bytes", v->name, v->size);
  if (little32(head + 8) != INDEX_VERSION)
    return fail(STATUS_UNSUPPORTED, "%s: is an index of version %lu; this program knows version %d", v->name,
                (unsigned long)little32(head + 8), INDEX_VERSION);
  const uint64_t type = little32(head + 12), width = little64(head + 16), about = little64(head + 24);
  if (little64(head + SUMMED) != layout_sum(head, SUMMED) || type >= VECTOR_TYPES || !width ||
      width > VECTOR_WIDTH_MAX || about > INDEX_TEXT_MAX)
    return fail(STATUS_FORMAT, "%s: the head of the file is damaged", v->name);
  if (v->size - INDEX_ABOUT <= about)
    return fail(STATUS_FORMAT, "%s: the file is cut: it has %zu bytes", v->name, v->size);
  const uint8_t *text = head + INDEX_ABOUT;
  if (little64(head + 32) != layout_sum(text, (size_t)about) || memchr(text, 0, (size_t)about + 1) != text + about)
    return fail(STATUS_FORMAT, "%s: what the file says of its vectors is damaged", v->name);
  char *copy = mem_string((const char *)text);
  if (!copy) return STATUS_MEMORY;
  v->facts = (index_facts){.width = (size_t)width, .type = (vector_type)type, .about = copy};
  v->used = INDEX_ABOUT + layout_round(about + 1);
  return STATUS_OK;
}

static status read_at(int descriptor, const char *name, uint8_t *bytes, size_t n, off_t place) {
  while (n) {
    const ssize_t got = pread(descriptor, bytes, n, place);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return fail(STATUS_IO, "%s: cannot read: %s", name, got ? strerror(errno) : "the file has been cut");
    bytes += got;
    n -= (size_t)got;
    place += got;
  }
  return STATUS_OK;
}

/* The pages of the roots. A page may be read while it is written: then two readings differ. */
static status read_slots(int descriptor, const char *name, uint8_t pages[INDEX_SLOTS * INDEX_PAGE]) {
  uint8_t again[INDEX_SLOTS * INDEX_PAGE];
  for (int i = 0; i < 100; i++) {
    if (read_at(descriptor, name, pages, sizeof again, INDEX_PAGE) ||
        read_at(descriptor, name, again, sizeof again, INDEX_PAGE))
      return last_status();
    if (!memcmp(pages, again, sizeof again)) break;
  }
  return STATUS_OK;
}

/* The number of the commit that this copy of a root in this slot stands for; 0 if it is none. */
static uint64_t root_number(const uint8_t *root, unsigned slot) {
  const uint64_t number = little64(root + 8);
  const bool valid = !memcmp(root, root_magic, MAGIC) && little64(root + SUMMED) == layout_sum(root, SUMMED) &&
                     number % INDEX_SLOTS == slot && number <= INT64_MAX;
  return valid ? number : 0;
}

static const uint8_t *newest_root(const uint8_t *pages, uint64_t *number) {
  const uint8_t *newest = NULL;
  *number = 0;
  for (unsigned slot = 0; slot < INDEX_SLOTS; slot++)
    for (unsigned copy = 0; copy < 2; copy++) {
      const uint8_t *root = pages + slot * INDEX_PAGE + copy * INDEX_COPY;
      const uint64_t n = root_number(root, slot);
      if (n > *number) {
        newest = root;
        *number = n;
      }
    }
  return newest;
}

/* Whether this one is still as it was written, or a write of it broke off: the first copy is written before the second,
 * so that it cannot be the worse one of a commit that was completed. */
static bool slot_is_sound(const uint8_t *page, unsigned slot, uint64_t newest) {
  static const uint8_t unused[INDEX_RECORD];
  if (root_number(page, slot) || !memcmp(page + INDEX_COPY, unused, sizeof unused)) return true;
  const uint64_t second = root_number(page + INDEX_COPY, slot);
  return second && second < newest;
}

status roots_verify(int descriptor, const index_view *v) {
  uint8_t pages[INDEX_SLOTS * INDEX_PAGE];
  uint64_t newest;
  if (read_slots(descriptor, v->name, pages)) return last_status();
  newest_root(pages, &newest);
  for (unsigned slot = 0; slot < INDEX_SLOTS; slot++)
    if (!slot_is_sound(pages + slot * INDEX_PAGE, slot, newest))
      return fail(STATUS_FORMAT, "%s: root %u is damaged, and commit %llu is the newest that can be read", v->name,
                  slot, (unsigned long long)newest);
  return STATUS_OK;
}

static status damaged(const index_view *v) {
  return fail(STATUS_FORMAT, "%s: the manifest of commit %llu is damaged", v->name, (unsigned long long)v->number);
}

/* The marks of a segment lie in the file, are whole, and as many as the manifest says. */
static bool marks_are_sound(const index_view *v, const index_segment *s, uint64_t limit) {
  const size_t bytes = s->rows / 8 + (s->rows % 8 != 0);
  if (s->marks_place % INDEX_ALIGNMENT || s->marks_place < INDEX_ABOUT || s->marks_place > limit ||
      limit - s->marks_place < bytes)
    return false;
  const uint8_t *marks = (const uint8_t *)v->data + s->marks_place;
  if (layout_sum(marks, bytes) != s->marks_sum) return false;
  size_t n = 0;
  for (size_t i = 0; i < bytes; i++) n += (size_t)__builtin_popcount(marks[i]);
  return n == s->deleted && (s->rows % 8 == 0 || marks[bytes - 1] >> s->rows % 8 == 0);
}

/* An entry of the manifest, whose segment must lie between `from` and `limit`. */
static status read_entry(index_view *v, const uint8_t *entry, uint64_t *from, uint64_t limit) {
  index_segment *s = v->segments + v->n;
  size_t at[INDEX_PARTS + 1];
  *s = (index_segment){.place = little64(entry),
                       .rows = little64(entry + 8),
                       .text_bytes = little64(entry + 16),
                       .sum = little64(entry + 24),
                       .marks_place = little64(entry + 32),
                       .marks_sum = little64(entry + 40),
                       .deleted = little64(entry + 48),
                       .first = v->rows};
  if (!s->rows || s->deleted > s->rows || !segment_extent(&v->facts, s->rows, s->text_bytes, at) ||
      s->place % INDEX_ALIGNMENT || s->place < *from || s->place > limit || limit - s->place < at[INDEX_PARTS] ||
      (s->marks_place ? !marks_are_sound(v, s, limit) : s->deleted))
    return damaged(v);
  *from = s->place + at[INDEX_PARTS];
  v->n++;
  v->rows += s->rows;
  v->live += s->rows - s->deleted;
  v->used += at[INDEX_PARTS] + (s->marks_place ? layout_round((s->rows + 7) / 8) : 0);
  return STATUS_OK;
}

static status read_manifest(index_view *v, const uint8_t *manifest, uint64_t place, size_t bytes) {
  const uint64_t n = little64(manifest + 16), rows = little64(manifest + 32), live = little64(manifest + 40);
  if (memcmp(manifest, manifest_magic, MAGIC) || little64(manifest + 8) != v->number || bytes % INDEX_RECORD ||
      n != bytes / INDEX_RECORD - 1)
    return damaged(v);
  v->next_id = little64(manifest + 24);
  v->capacity = (size_t)n + 1; /* room for a writer's next one */
  if (!(v->segments = mem_alloc(v->capacity, sizeof *v->segments))) return last_status();
  uint64_t from = v->used;
  for (size_t i = 0; i < n; i++)
    if (read_entry(v, manifest + (i + 1) * INDEX_RECORD, &from, place)) return last_status();
  if (v->rows != rows || v->live != live) return damaged(v);
  v->used += layout_round(bytes);
  return STATUS_OK;
}

static status read_commit(index_view *v, int descriptor) {
  uint8_t pages[INDEX_SLOTS * INDEX_PAGE];
  if (read_slots(descriptor, v->name, pages)) return last_status();
  const uint8_t *root = newest_root(pages, &v->number);
  if (!root) return fail(STATUS_FORMAT, "%s: both roots are damaged", v->name);
  const uint64_t place = little64(root + 16), bytes = little64(root + 24);
  if (place % INDEX_ALIGNMENT || place < v->used || place > PTRDIFF_MAX / 2 || bytes < INDEX_RECORD ||
      bytes > PTRDIFF_MAX / 2)
    return damaged(v);
  v->end = layout_round(place + bytes);
  if (v->size < place + bytes && view_map(v, descriptor)) return last_status(); /* it may have grown */
  if (v->size < place + bytes)
    return fail(STATUS_FORMAT, "%s: the file is cut: it has %zu bytes of %llu", v->name, v->size,
                (unsigned long long)(place + bytes));
  const uint8_t *manifest = (const uint8_t *)v->data + place;
  if (layout_sum(manifest, (size_t)bytes) != little64(root + 32)) return damaged(v);
  return read_manifest(v, manifest, place, (size_t)bytes);
}

/* Where the parts of all segments lie in the mapping. */
static void find_parts(index_view *v) {
  size_t at[INDEX_PARTS + 1];
  for (size_t i = 0; i < v->n; i++) {
    index_segment *s = v->segments + i;
    const uint8_t *file = v->data;
    segment_extent(&v->facts, s->rows, s->text_bytes, at);
    for (int p = 0; p < INDEX_PARTS; p++) s->part[p] = at[p + 1] > at[p] ? file + s->place + at[p] : NULL;
    s->skip = s->marks ? s->marks : s->marks_place ? file + s->marks_place : NULL;
  }
}

status view_map(index_view *v, int descriptor) {
  const void *data;
  size_t size;
  if (file_map_open(descriptor, v->name, &data, &size)) return last_status();
  file_unmap(v->data, v->size);
  v->data = data;
  v->size = size;
  find_parts(v);
  return STATUS_OK;
}

status view_open(index_view *v, int descriptor, const char *name) {
  *v = (index_view){0};
  status s = (v->name = mem_string(name)) ? STATUS_OK : STATUS_MEMORY;
  if (!s) s = view_map(v, descriptor);
  if (!s) s = read_head(v);
  if (!s) s = read_commit(v, descriptor);
  if (s)
    view_close(v);
  else
    find_parts(v);
  return s;
}

void view_close(index_view *v) {
  for (size_t i = 0; i < v->n; i++) free(v->segments[i].marks);
  free(v->segments);
  free((char *)(uintptr_t)v->facts.about);
  free(v->name);
  file_unmap(v->data, v->size);
  *v = (index_view){0};
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

status layout_write(int descriptor, const char *name, const void *data, size_t bytes, uint64_t place) {
  const char *at = data;
  while (bytes) {
    const size_t most = bytes < (1u << 30) ? bytes : 1u << 30; /* Linux writes at most 2 GiB at once */
    const ssize_t written = pwrite(descriptor, at, most, (off_t)place);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail(STATUS_IO, "cannot write %s: %s", name, written ? strerror(errno) : "no space left");
    at += written;
    bytes -= (size_t)written;
    place += (uint64_t)written;
  }
  return STATUS_OK;
}

uint8_t *layout_manifest(const index_view *v, uint64_t number, size_t *bytes) {
  *bytes = (v->n + 1) * INDEX_RECORD;
  uint8_t *manifest = mem_zero(v->n + 1, INDEX_RECORD);
  if (!manifest) return NULL;
  const uint64_t head[] = {number, v->n, v->next_id, v->rows, v->live};
  memcpy(manifest, manifest_magic, MAGIC);
  for (int i = 0; i < 5; i++) put_little(manifest + 8 + 8 * i, head[i], 8);
  for (size_t i = 0; i < v->n; i++) {
    const index_segment *s = v->segments + i;
    const uint64_t entry[] = {s->place, s->rows, s->text_bytes, s->sum, s->marks_place, s->marks_sum, s->deleted};
    for (int j = 0; j < 7; j++) put_little(manifest + (i + 1) * INDEX_RECORD + 8 * j, entry[j], 8);
  }
  return manifest;
}

status layout_write_root(int descriptor, const char *name, uint64_t number, uint64_t place, const uint8_t *manifest,
                         size_t bytes) {
  uint8_t page[INDEX_PAGE] = {0};
  const uint64_t root[] = {number, place, bytes, layout_sum(manifest, bytes)};
  memcpy(page, root_magic, MAGIC);
  for (int i = 0; i < 4; i++) put_little(page + 8 + 8 * i, root[i], 8);
  put_little(page + SUMMED, layout_sum(page, SUMMED), 8);
  memcpy(page + INDEX_COPY, page, INDEX_RECORD);
  return layout_write(descriptor, name, page, sizeof page, INDEX_PAGE + number % INDEX_SLOTS * INDEX_PAGE);
}

status layout_new(int descriptor, const char *name, const index_facts *facts, uint64_t number, uint64_t next_id) {
  const size_t about = strlen(facts->about), place = layout_round(INDEX_ABOUT + about + 1);
  const index_view nothing = {.facts = *facts, .next_id = next_id};
  size_t bytes;
  uint8_t *all = mem_zero(place, 1), *manifest = layout_manifest(&nothing, number, &bytes);
  status s = all && manifest ? STATUS_OK : STATUS_MEMORY;
  if (!s) {
    memcpy(all, head_magic, MAGIC);
    put_little(all + 8, INDEX_VERSION, 4);
    put_little(all + 12, facts->type, 4);
    put_little(all + 16, facts->width, 8);
    put_little(all + 24, about, 8);
    put_little(all + 32, layout_sum(facts->about, about), 8);
    put_little(all + SUMMED, layout_sum(all, SUMMED), 8);
    memcpy(all + INDEX_ABOUT, facts->about, about);
    s = layout_write(descriptor, name, all, place, 0);
  }
  if (!s) s = layout_write(descriptor, name, manifest, bytes, place);
  if (!s) s = layout_write_root(descriptor, name, number, place, manifest, bytes);
  free(all);
  free(manifest);
  return s;
}
