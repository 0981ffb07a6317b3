/* Hashes, groups and the split (data/split.h; the rule in words is in docs/data.md). */
#include "data/split.h"

#include <stdlib.h>
#include <string.h>

const char *const split_name[SPLITS] = {"train", "validation", "test"};

/* The one number that the whole split follows from. */
static const uint64_t SPLIT_SEED = 7;
/* Two pictures look the same if at most this many of 128 bits differ and their shapes differ by at most a tenth. */
enum { NEAR_BITS = 8, NEAR_SHAPE = 10 };
/* A neighbour counts as darker from this difference of 255 on, so that flat areas give the same bits in every copy. */
enum { LOOK_STEP = 3, LOOK_GRID = 8 };

/* FNV-1a of 64 bits. */
static uint64_t fnv(uint64_t h, const void *bytes, size_t n) {
  const uint8_t *p = bytes;
  for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * UINT64_C(0x100000001b3);
  return h;
}
static const uint64_t FNV_START = UINT64_C(0xcbf29ce484222325);

uint64_t content_hash(const uint8_t *rgba, int width, int height) {
  uint8_t size[4] = {(uint8_t)width, (uint8_t)(width >> 8), (uint8_t)height, (uint8_t)(height >> 8)};
  return fnv(fnv(FNV_START, size, sizeof size), rgba, (size_t)width * (size_t)height * 4);
}

/* Luminance on white, 0..255, by the integer weights 77, 150, 29 of 256. */
static uint32_t grey_on_white(const uint8_t *p) {
  uint32_t luma = (77u * p[0] + 150u * p[1] + 29u * p[2]) >> 8;
  return (luma * p[3] + 255u * (255u - p[3]) + 127u) / 255u;
}

/* Means over a grid of nx x ny equal cells, in exact integers: a pixel is nx units wide and a cell `width` units. */
static void grid_means(const uint8_t *rgba, int width, int height, int nx, int ny, uint32_t *mean) {
  uint64_t sum[(LOOK_GRID + 1) * LOOK_GRID] = {0};
  for (int y = 0; y < height; y++) {
    for (int x = 0; x < width; x++) {
      uint64_t grey = grey_on_white(rgba + 4 * ((size_t)y * (size_t)width + (size_t)x));
      for (int cy = y * ny / height; cy < ny && cy * height < (y + 1) * ny; cy++) {
        int top = cy * height > y * ny ? cy * height : y * ny;
        int bottom = (cy + 1) * height < (y + 1) * ny ? (cy + 1) * height : (y + 1) * ny;
        for (int cx = x * nx / width; cx < nx && cx * width < (x + 1) * nx; cx++) {
          int left = cx * width > x * nx ? cx * width : x * nx;
          int right = (cx + 1) * width < (x + 1) * nx ? (cx + 1) * width : (x + 1) * nx;
          sum[cy * nx + cx] += grey * (uint64_t)(bottom - top) * (uint64_t)(right - left);
        }
      }
    }
  }
  uint64_t area = (uint64_t)width * (uint64_t)height;
  for (int c = 0; c < nx * ny; c++) mean[c] = (uint32_t)(sum[c] / area);
}

look_hash look_hash_of(const uint8_t *rgba, int width, int height) {
  uint32_t mean[(LOOK_GRID + 1) * LOOK_GRID];
  look_hash hash = {0, 0};
  grid_means(rgba, width, height, LOOK_GRID + 1, LOOK_GRID, mean);
  for (int y = 0; y < LOOK_GRID; y++) {
    for (int x = 0; x < LOOK_GRID; x++) {
      const uint32_t *cell = mean + y * (LOOK_GRID + 1) + x;
      hash.rows = hash.rows << 1 | (cell[0] >= cell[1] + LOOK_STEP);
    }
  }
  grid_means(rgba, width, height, LOOK_GRID, LOOK_GRID + 1, mean);
  for (int y = 0; y < LOOK_GRID; y++) {
    for (int x = 0; x < LOOK_GRID; x++) {
      const uint32_t *cell = mean + y * LOOK_GRID + x;
      hash.columns = hash.columns << 1 | (cell[0] >= cell[LOOK_GRID] + LOOK_STEP);
    }
  }
  return hash;
}

bool look_is_near(const manifest_entry *a, const manifest_entry *b) {
  int bits =
      __builtin_popcountll(a->look.rows ^ b->look.rows) + __builtin_popcountll(a->look.columns ^ b->look.columns);
  int64_t left = (int64_t)a->width * b->height, right = (int64_t)b->width * a->height;
  int64_t most = left > right ? left : right;
  return bits <= NEAR_BITS && llabs(left - right) * NEAR_SHAPE <= most;
}

bool is_sibling(const manifest_entry *a, const manifest_entry *b) {
  return a->kind == b->kind && strcmp(a->author, b->author) == 0;
}

bool kind_is_held_out(const char *singular) {
  return random_u64(SPLIT_SEED, 1, fnv(FNV_START, singular, strlen(singular))) % 20 == 0;
}

/* ---- groups ---- */

static uint32_t find_root(uint32_t *parent, uint32_t i) {
  while (parent[i] != i) i = parent[i] = parent[parent[i]];
  return i;
}

/* The root of a group is its first picture, so that groups do not depend on the order of joining. */
static void join(uint32_t *parent, uint32_t i, uint32_t j) {
  i = find_root(parent, i);
  j = find_root(parent, j);
  if (i < j) {
    parent[j] = i;
  } else {
    parent[i] = j;
  }
}

typedef struct {
  uint64_t key; /* the smallest content hash of the group: what its place is drawn from */
  uint32_t size;
  uint8_t split;
  bool held_out; /* holds a picture of a held-out kind */
} picture_group;

/* Numbers the groups by first picture; group[] must have room for n. Returns their number; 0 on failure. */
static uint32_t make_groups(manifest_entry *entry, uint32_t n, const kind_table *kinds, picture_group *group) {
  uint32_t *parent = mem_alloc(n, sizeof *parent);
  if (parent == NULL) return 0;
  for (uint32_t i = 0; i < n; i++) parent[i] = i;
  for (uint32_t i = 0; i < n; i++) {
    for (uint32_t j = 0; j < i; j++) {
      const manifest_entry *a = &entry[i], *b = &entry[j];
      if (a->content == b->content || is_sibling(a, b) || look_is_near(a, b)) join(parent, i, j);
    }
  }
  uint32_t groups = 0;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t root = find_root(parent, i);
    if (root == i) {
      entry[i].group = groups;
      group[groups++] = (picture_group){.key = entry[i].content};
    } else {
      entry[i].group = entry[root].group;
    }
    picture_group *g = &group[entry[i].group];
    if (entry[i].content < g->key) g->key = entry[i].content;
    if (kinds->kind[entry[i].kind].held_out) g->held_out = true;
    g->size++;
  }
  free(parent);
  return groups;
}

/* 80 % train, 10 % validation, 10 % test by the group's key; groups that show a held-out kind are test. */
static uint8_t draw_split(const picture_group *g) {
  if (g->held_out) return SPLIT_TEST;
  uint64_t percent = random_u64(SPLIT_SEED, 2, g->key) % 100;
  return percent < 80 ? SPLIT_TRAIN : percent < 90 ? SPLIT_VALIDATION : SPLIT_TEST;
}

/* A kind that came away without a training picture gets its largest group (ties: the smaller key). */
static status train_kind(const manifest_entry *entry, uint32_t n, uint32_t kind, const char *singular,
                         picture_group *group) {
  picture_group *largest = NULL;
  for (uint32_t i = 0; i < n; i++) {
    picture_group *g = &group[entry[i].group];
    if (entry[i].kind != kind) continue;
    if (g->split == SPLIT_TRAIN) return STATUS_OK;
    if (g->held_out) continue;
    if (largest == NULL || g->size > largest->size || (g->size == largest->size && g->key < largest->key)) largest = g;
  }
  if (largest == NULL) {
    return fail(STATUS_ARGUMENT,
                "no picture of the kind '%s' can be in training: there is none, or each belongs together "
                "with a picture of a held-out kind",
                singular);
  }
  largest->split = SPLIT_TRAIN;
  return STATUS_OK;
}

status split_make(manifest_entry *entry, uint32_t n, const kind_table *kinds) {
  picture_group *group = mem_alloc(n, sizeof *group);
  if (group == NULL) return last_status();
  uint32_t groups = make_groups(entry, n, kinds, group);
  status s = groups > 0 ? STATUS_OK : n > 0 ? last_status() : fail(STATUS_ARGUMENT, "there are no pictures to split");
  for (uint32_t g = 0; g < groups; g++) group[g].split = draw_split(&group[g]);
  for (uint32_t k = 0; s == STATUS_OK && k < kinds->n; k++) {
    if (!kinds->kind[k].held_out) s = train_kind(entry, n, k, kinds->kind[k].singular, group);
  }
  for (uint32_t i = 0; s == STATUS_OK && i < n; i++) entry[i].split = group[entry[i].group].split;
  free(group);
  return s;
}
