/* The object pack: one memory-mapped file with every cut-out picture of the project.
 *
 * Layout, little endian, no padding between sections (this is the format's only description):
 *   header    64 bytes: "LNTOBJCT", version u32, side u32, kinds u32, pictures u32, bytes of strings u64, bytes of
 *             pixels u64, bytes of the file u64, 16 zero bytes
 *   kinds     16 bytes each: singular, plural, article (offsets into strings, u32), held out (u32, 0 or 1)
 *   pictures  24 bytes each: pixels (offset into pixels, u64), kind u32, name (offset into strings, u32), width u16,
 *             height u16, split u8, colour u8, source u8, zero u8
 *   strings   zero-terminated UTF-8
 *   pixels    RGBA
 * A pack may be damaged or hostile: nothing is used before it is checked here, so that readers need no checks. */
#include "data/objects.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/atomic_file.h"
#include "kernels/bytes.h"
#include "kernels/file.h"

static const char MAGIC[8] = {'L', 'N', 'T', 'O', 'B', 'J', 'C', 'T'};
enum { VERSION = 1, HEADER = 64, KIND_RECORD = 16, PICTURE_RECORD = 24, MAX_SIDE = 4096, MAX_WORD = 40 };

struct object_set {
  const void *map;
  size_t map_size;
  uint32_t n_kinds, n_pictures;
  object_kind *kind;
  object_picture *picture;
  uint32_t *by_kind;    /* picture indices sorted by (kind, split, index) */
  uint32_t *kind_start; /* n_kinds * SPLITS + 1 positions in by_kind */
  uint32_t *by_split;   /* picture indices sorted by (split, index) */
  uint32_t split_start[SPLITS + 1];
};

/* Where the sections of a pack begin; filled by place_sections() from the header's counts. */
typedef struct {
  size_t kinds, pictures, strings, pixels, end;
  size_t string_bytes, pixel_bytes;
} sections;

static bool place_sections(uint32_t n_kinds, uint32_t n_pictures, uint64_t string_bytes, uint64_t pixel_bytes,
                           sections *at) {
  if (string_bytes > SIZE_MAX || pixel_bytes > SIZE_MAX) return false;
  size_t kind_bytes, picture_bytes;
  at->kinds = HEADER;
  at->string_bytes = (size_t)string_bytes;
  at->pixel_bytes = (size_t)pixel_bytes;
  return size_mul(n_kinds, KIND_RECORD, &kind_bytes) && size_add(at->kinds, kind_bytes, &at->pictures) &&
         size_mul(n_pictures, PICTURE_RECORD, &picture_bytes) && size_add(at->pictures, picture_bytes, &at->strings) &&
         size_add(at->strings, at->string_bytes, &at->pixels) && size_add(at->pixels, at->pixel_bytes, &at->end);
}

/* A string of the pack: inside the section, whose last byte is known to be zero. NULL if the offset is outside. */
static const char *string_at(const uint8_t *base, const sections *at, uint32_t offset) {
  return offset < at->string_bytes ? (const char *)base + at->strings + offset : NULL;
}

/* Words that go into captions: 1 to MAX_WORD bytes without control characters. */
static bool word_is_sound(const char *word) {
  if (word == NULL) return false;
  size_t n = 0;
  for (; word[n] != 0 && n <= MAX_WORD; n++) {
    if ((unsigned char)word[n] < 0x20 || word[n] == 0x7f) return false;
  }
  return n >= 1 && n <= MAX_WORD;
}

static status read_kinds(object_set *set, const uint8_t *base, const sections *at, const char *path) {
  for (uint32_t k = 0; k < set->n_kinds; k++) {
    const uint8_t *record = base + at->kinds + (size_t)k * KIND_RECORD;
    object_kind *kind = &set->kind[k];
    kind->singular = string_at(base, at, little32(record));
    kind->plural = string_at(base, at, little32(record + 4));
    kind->article = string_at(base, at, little32(record + 8));
    kind->held_out = little32(record + 12) == 1;
    if (!word_is_sound(kind->singular) || !word_is_sound(kind->plural) || !word_is_sound(kind->article) ||
        little32(record + 12) > 1) {
      return fail(STATUS_FORMAT, "%s: kind %u is damaged; make the pack again with scripts/data", path, k);
    }
  }
  return STATUS_OK;
}

static status read_pictures(object_set *set, const uint8_t *base, const sections *at, uint32_t side, const char *path) {
  for (uint32_t i = 0; i < set->n_pictures; i++) {
    const uint8_t *record = base + at->pictures + (size_t)i * PICTURE_RECORD;
    object_picture *picture = &set->picture[i];
    uint64_t offset = little64(record);
    picture->kind = little32(record + 8);
    picture->name = string_at(base, at, little32(record + 12));
    picture->width = (uint16_t)little16(record + 16);
    picture->height = (uint16_t)little16(record + 18);
    picture->split = record[20];
    picture->colour = record[21];
    picture->source = record[22];
    size_t bytes = (size_t)picture->width * picture->height * 4; /* at most 2^34: fits size_t */
    if (picture->kind >= set->n_kinds || picture->name == NULL || picture->split >= SPLITS ||
        picture->colour >= COLOURS || picture->source > SOURCE_EMOJI || record[23] != 0 || picture->width < 1 ||
        picture->height < 1 || picture->width > side || picture->height > side || offset > at->pixel_bytes ||
        bytes > at->pixel_bytes - offset) {
      return fail(STATUS_FORMAT, "%s: picture %u is damaged; make the pack again with scripts/data", path, i);
    }
    picture->rgba = base + at->pixels + offset;
  }
  return STATUS_OK;
}

/* Counting sorts by (kind, split) and by split; both keep the order of the pack. */
static status index_pictures(object_set *set) {
  size_t cells;
  if (!size_mul(set->n_kinds, SPLITS, &cells)) return fail(STATUS_MEMORY, "too many kinds");
  set->kind_start = mem_zero(cells + 1, sizeof *set->kind_start);
  set->by_kind = mem_alloc(set->n_pictures, sizeof *set->by_kind);
  set->by_split = mem_alloc(set->n_pictures, sizeof *set->by_split);
  if (set->kind_start == NULL || set->by_kind == NULL || set->by_split == NULL) return last_status();
  for (uint32_t i = 0; i < set->n_pictures; i++) {
    const object_picture *p = &set->picture[i];
    set->kind_start[(size_t)p->kind * SPLITS + p->split + 1]++;
    set->split_start[p->split + 1]++;
  }
  for (size_t c = 0; c < cells; c++) set->kind_start[c + 1] += set->kind_start[c];
  for (int s = 0; s < SPLITS; s++) set->split_start[s + 1] += set->split_start[s];
  uint32_t *next = mem_alloc(cells + SPLITS, sizeof *next);
  if (next == NULL) return last_status();
  memcpy(next, set->kind_start, cells * sizeof *next);
  memcpy(next + cells, set->split_start, SPLITS * sizeof *next);
  for (uint32_t i = 0; i < set->n_pictures; i++) {
    const object_picture *p = &set->picture[i];
    set->by_kind[next[(size_t)p->kind * SPLITS + p->split]++] = i;
    set->by_split[next[cells + p->split]++] = i;
  }
  free(next);
  return STATUS_OK;
}

static status read_pack(object_set *set, const char *path) {
  const uint8_t *base = set->map;
  if (set->map_size < HEADER || memcmp(base, MAGIC, sizeof MAGIC) != 0) {
    return fail(STATUS_FORMAT, "%s is not an object pack; make one with scripts/data", path);
  }
  if (little32(base + 8) != VERSION) {
    return fail(STATUS_UNSUPPORTED,
                "%s is an object pack of version %u, and this program reads version %d; make it again "
                "with scripts/data",
                path, little32(base + 8), VERSION);
  }
  uint32_t side = little32(base + 12);
  set->n_kinds = little32(base + 16);
  set->n_pictures = little32(base + 20);
  sections at;
  if (side > MAX_SIDE ||
      !place_sections(set->n_kinds, set->n_pictures, little64(base + 24), little64(base + 32), &at) ||
      at.end != set->map_size || little64(base + 40) != set->map_size || little64(base + 48) != 0 ||
      little64(base + 56) != 0) {
    return fail(STATUS_FORMAT,
                "%s: the sizes in the header do not add up to the file's %zu bytes; the file is cut off or "
                "damaged",
                path, set->map_size);
  }
  if (set->n_kinds > 0 && (at.string_bytes == 0 || base[at.pixels - 1] != 0)) {
    return fail(STATUS_FORMAT, "%s: the strings do not end with a zero byte; the file is damaged", path);
  }
  if (set->n_kinds == 0 || set->n_pictures == 0) return fail(STATUS_FORMAT, "%s holds no pictures", path);
  set->kind = mem_alloc(set->n_kinds, sizeof *set->kind);
  set->picture = mem_alloc(set->n_pictures, sizeof *set->picture);
  if (set->kind == NULL || set->picture == NULL) return last_status();
  status s = read_kinds(set, base, &at, path);
  if (s == STATUS_OK) s = read_pictures(set, base, &at, side, path);
  return s == STATUS_OK ? index_pictures(set) : s;
}

object_set *object_set_open(const char *path) {
  object_set *set = mem_zero(1, sizeof *set);
  if (set == NULL) return NULL;
  status s = file_map(path, &set->map, &set->map_size);
  if (s != STATUS_OK) fail(s, "%s; scripts/data makes the object pack", last_error());
  if (s != STATUS_OK || read_pack(set, path) != STATUS_OK) {
    object_set_close(set);
    return NULL;
  }
  return set;
}

void object_set_close(object_set *set) {
  if (set == NULL) return;
  file_unmap(set->map, set->map_size);
  free(set->kind);
  free(set->picture);
  free(set->by_kind);
  free(set->kind_start);
  free(set->by_split);
  free(set);
}

uint32_t object_kinds(const object_set *set) { return set->n_kinds; }
const object_kind *object_kind_at(const object_set *set, uint32_t kind) { return &set->kind[kind]; }
uint32_t object_pictures(const object_set *set) { return set->n_pictures; }
const object_picture *object_picture_at(const object_set *set, uint32_t index) { return &set->picture[index]; }

const uint32_t *object_pictures_of(const object_set *set, uint32_t kind, split which, uint32_t *n) {
  const uint32_t *start = set->kind_start + (size_t)kind * SPLITS + which;
  *n = start[1] - start[0];
  return set->by_kind + start[0];
}

const uint32_t *object_pictures_in(const object_set *set, split which, uint32_t *n) {
  *n = set->split_start[which + 1] - set->split_start[which];
  return set->by_split + set->split_start[which];
}

/* ---- writing ---- */

/* Appends a string to the section at `strings` (NULL: only counts) and returns its offset. */
static size_t add_string(uint8_t *strings, size_t *used, const char *text) {
  size_t offset = *used, n = strlen(text) + 1;
  if (strings != NULL) memcpy(strings + offset, text, n);
  *used += n;
  return offset;
}

/* Everything before the pixels, in memory: it is small. */
static uint8_t *make_head(const object_kind *kinds, uint32_t n_kinds, const object_picture *pictures,
                          uint32_t n_pictures, size_t *size) {
  size_t string_bytes = 0, pixel_bytes = 0, side = 1;
  for (uint32_t k = 0; k < n_kinds; k++) {
    if (!word_is_sound(kinds[k].singular) || !word_is_sound(kinds[k].plural) || !word_is_sound(kinds[k].article)) {
      return fail_null(STATUS_ARGUMENT, "kind %u has a word that is empty, too long or has control characters", k);
    }
    add_string(NULL, &string_bytes, kinds[k].singular);
    add_string(NULL, &string_bytes, kinds[k].plural);
    add_string(NULL, &string_bytes, kinds[k].article);
  }
  for (uint32_t i = 0; i < n_pictures; i++) {
    const object_picture *p = &pictures[i];
    if (p->kind >= n_kinds || p->width < 1 || p->height < 1 || p->width > MAX_SIDE || p->height > MAX_SIDE) {
      return fail_null(STATUS_ARGUMENT, "picture %u (%s) has an impossible kind or size", i, p->name);
    }
    if (p->width > side) side = p->width;
    if (p->height > side) side = p->height;
    add_string(NULL, &string_bytes, p->name);
    pixel_bytes += (size_t)p->width * p->height * 4;
  }
  sections at;
  if (string_bytes > UINT32_MAX || !place_sections(n_kinds, n_pictures, string_bytes, pixel_bytes, &at)) {
    return fail_null(STATUS_ARGUMENT, "too many pictures for one object pack");
  }
  uint8_t *head = mem_zero(at.pixels, 1);
  if (head == NULL) return NULL;
  memcpy(head, MAGIC, sizeof MAGIC);
  put_little(head + 8, VERSION, 4);
  put_little(head + 12, side, 4);
  put_little(head + 16, n_kinds, 4);
  put_little(head + 20, n_pictures, 4);
  put_little(head + 24, string_bytes, 8);
  put_little(head + 32, pixel_bytes, 8);
  put_little(head + 40, at.end, 8);
  size_t used = 0, offset = 0;
  for (uint32_t k = 0; k < n_kinds; k++) {
    uint8_t *record = head + at.kinds + (size_t)k * KIND_RECORD;
    put_little(record, add_string(head + at.strings, &used, kinds[k].singular), 4);
    put_little(record + 4, add_string(head + at.strings, &used, kinds[k].plural), 4);
    put_little(record + 8, add_string(head + at.strings, &used, kinds[k].article), 4);
    put_little(record + 12, kinds[k].held_out, 4);
  }
  for (uint32_t i = 0; i < n_pictures; i++) {
    const object_picture *p = &pictures[i];
    uint8_t *record = head + at.pictures + (size_t)i * PICTURE_RECORD;
    put_little(record, offset, 8);
    put_little(record + 8, p->kind, 4);
    put_little(record + 12, add_string(head + at.strings, &used, p->name), 4);
    put_little(record + 16, p->width, 2);
    put_little(record + 18, p->height, 2);
    record[20] = p->split;
    record[21] = p->colour;
    record[22] = p->source;
    offset += (size_t)p->width * p->height * 4;
  }
  *size = at.pixels;
  return head;
}

status object_pack_write(const char *path, const object_kind *kinds, uint32_t n_kinds, const object_picture *pictures,
                         uint32_t n_pictures) {
  size_t head_size = 0;
  uint8_t *head = make_head(kinds, n_kinds, pictures, n_pictures, &head_size);
  if (head == NULL) return last_status();
  atomic_file *file = atomic_file_create(path);
  if (file == NULL) {
    free(head);
    return last_status();
  }
  atomic_file_write(file, head, head_size);
  free(head);
  for (uint32_t i = 0; i < n_pictures; i++) {
    atomic_file_write(file, pictures[i].rgba, (size_t)pictures[i].width * pictures[i].height * 4);
  }
  return atomic_file_commit(file); /* fails if a write did */
}
