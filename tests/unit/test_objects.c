/* The object pack and the split: round trips, damaged files, hashes, groups, and an audit that passes on the committed
 * manifest and fails on every way of doctoring it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/split.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- a small pack ---- */

enum { PICTURES = 5, SIDE = 12 };
static const char KINDS[] = "apple\tapples\tan\t0\nbanana\tbananas\ta\t1\ndog\tdogs\ta\t0\n";
static uint8_t pixels[PICTURES][SIDE * SIDE * 4];

/* Each picture is a bright square at its own place on black, half transparent on the left. */
static void draw(uint8_t *rgba, int width, int height, int number) {
  for (int y = 0; y < height; y++) {
    for (int x = 0; x < width; x++) {
      bool inside = x >= number && x < number + 4 && y >= 2 * number && y < 2 * number + 3;
      uint8_t *p = rgba + 4 * (y * width + x);
      memset(p, inside ? 255 - number : number, 3);
      p[3] = x < width / 2 ? 128 : 255;
    }
  }
}

static void make_pictures(object_picture *p) {
  static const uint32_t kinds[PICTURES] = {0, 0, 1, 2, 2};
  static const uint8_t splits[PICTURES] = {SPLIT_TRAIN, SPLIT_TEST, SPLIT_TEST, SPLIT_TRAIN, SPLIT_VALIDATION};
  static const char *const names[PICTURES] = {"food/apple.png", "emoji U+1F34E", "food/banana.png", "a/dog.png",
                                              "b/dog.png"};
  for (int i = 0; i < PICTURES; i++) {
    uint16_t width = (uint16_t)(SIDE - i), height = (uint16_t)(SIDE - (i == 3));
    draw(pixels[i], width, height, i);
    p[i] = (object_picture){.kind = kinds[i],
                            .split = splits[i],
                            .width = width,
                            .height = height,
                            .rgba = pixels[i],
                            .name = names[i],
                            .source = i == 1 ? SOURCE_EMOJI : SOURCE_CLIPART};
    p[i].colour = (uint8_t)colour_of_picture(pixels[i], (size_t)width * height);
  }
}

static kind_table *small_kinds(void **state) {
  char *path = scratch_path(state, "kinds.tsv");
  scratch_write(path, KINDS, strlen(KINDS));
  kind_table *kinds = kind_table_read(path);
  assert_non_null(kinds);
  free(path);
  return kinds;
}

static char *small_pack(void **state) {
  object_picture p[PICTURES];
  kind_table *kinds = small_kinds(state);
  char *path = scratch_path(state, "small.pack");
  make_pictures(p);
  assert_int_equal(object_pack_write(path, kinds->kind, kinds->n, p, PICTURES), STATUS_OK);
  kind_table_free(kinds);
  return path;
}

static void test_round_trip(void **state) {
  object_picture p[PICTURES];
  char *path = small_pack(state);
  object_set *set = object_set_open(path);
  uint32_t n;
  make_pictures(p);
  assert_non_null(set);
  assert_int_equal(object_kinds(set), 3);
  assert_string_equal(object_kind_at(set, 0)->plural, "apples");
  assert_string_equal(object_kind_at(set, 0)->article, "an");
  assert_true(object_kind_at(set, 1)->held_out && !object_kind_at(set, 2)->held_out);
  assert_int_equal(object_pictures(set), PICTURES);
  for (uint32_t i = 0; i < PICTURES; i++) {
    const object_picture *q = object_picture_at(set, i);
    assert_string_equal(q->name, p[i].name);
    assert_true(q->kind == p[i].kind && q->split == p[i].split && q->colour == p[i].colour && q->source == p[i].source);
    assert_true(q->width == p[i].width && q->height == p[i].height);
    assert_memory_equal(q->rgba, p[i].rgba, (size_t)q->width * q->height * 4);
  }
  const uint32_t *dogs = object_pictures_of(set, 2, SPLIT_VALIDATION, &n);
  assert_true(n == 1 && dogs[0] == 4);
  object_pictures_of(set, 1, SPLIT_TRAIN, &n);
  assert_int_equal(n, 0);
  const uint32_t *test = object_pictures_in(set, SPLIT_TEST, &n);
  assert_true(n == 2 && test[0] == 1 && test[1] == 2);
  object_set_close(set);
  free(path);
}

static void test_writes_the_same_bytes_and_nothing_else(void **state) {
  size_t n, m;
  char *path = small_pack(state), *first = scratch_read(path, &n);
  int files = scratch_entries(state);
  free(small_pack(state));
  char *second = scratch_read(path, &m);
  assert_int_equal(n, m);
  assert_memory_equal(first, second, n);
  assert_int_equal(scratch_entries(state), files);
  free(first);
  free(second);
  free(path);
}

static void test_writer_refuses(void **state) {
  object_picture p[PICTURES];
  kind_table *kinds = small_kinds(state);
  char *path = scratch_path(state, "refused.pack");
  make_pictures(p);
  p[2].kind = 3;
  assert_int_equal(object_pack_write(path, kinds->kind, kinds->n, p, PICTURES), STATUS_ARGUMENT);
  p[2].kind = 1;
  p[2].width = 0;
  assert_int_equal(object_pack_write(path, kinds->kind, kinds->n, p, PICTURES), STATUS_ARGUMENT);
  make_pictures(p);
  kinds->kind[0].plural = "";
  assert_int_equal(object_pack_write(path, kinds->kind, kinds->n, p, PICTURES), STATUS_ARGUMENT);
  kinds->kind[0].plural = "two\nlines";
  assert_int_equal(object_pack_write(path, kinds->kind, kinds->n, p, PICTURES), STATUS_ARGUMENT);
  assert_null(object_set_open(path));
  assert_int_equal(last_status(), STATUS_IO);
  assert_int_equal(object_pack_write("no/such/folder/x.pack", kinds->kind, 1, p, 1), STATUS_ARGUMENT);
  kinds->kind[0].plural = "apples";
  assert_int_equal(object_pack_write("no/such/folder/x.pack", kinds->kind, 1, p, 1), STATUS_IO);
  kind_table_free(kinds);
  free(path);
}

/* Reads everything that a set offers, so that a wrong pointer would be found by the sanitizer. */
static uint64_t walk(const object_set *set) {
  uint64_t sum = 0;
  for (uint32_t k = 0; k < object_kinds(set); k++) {
    const object_kind *kind = object_kind_at(set, k);
    sum += strlen(kind->singular) + strlen(kind->plural) + strlen(kind->article);
    for (int s = 0; s < SPLITS; s++) {
      uint32_t n;
      const uint32_t *list = object_pictures_of(set, k, (split)s, &n);
      for (uint32_t i = 0; i < n; i++) assert_true(list[i] < object_pictures(set));
    }
  }
  for (uint32_t i = 0; i < object_pictures(set); i++) {
    const object_picture *p = object_picture_at(set, i);
    sum += strlen(p->name) + strlen(colour_name((colour)p->colour)) + content_hash(p->rgba, p->width, p->height);
  }
  return sum;
}

static void test_truncated(void **state) {
  size_t n;
  char *path = small_pack(state), *bytes = scratch_read(path, &n), *cut = scratch_path(state, "cut.pack");
  for (size_t length = 0; length < n; length++) {
    scratch_write(cut, bytes, length);
    assert_null(object_set_open(cut));
    assert_non_null(strstr(last_error(), "cut.pack"));
  }
  char *longer = calloc(n + 1, 1);
  memcpy(longer, bytes, n);
  scratch_write(cut, longer, n + 1);
  assert_null(object_set_open(cut));
  free(longer);
  free(bytes);
  free(cut);
  free(path);
}

static void test_flipped_bytes(void **state) {
  static const uint8_t flips[] = {0x01, 0x80, 0xff, 0x10};
  size_t n, refused = 0, head = 64 + 3 * 16 + PICTURES * 24 + 120; /* header, records and strings */
  char *path = small_pack(state), *bytes = scratch_read(path, &n), *bad = scratch_path(state, "bad.pack");
  for (size_t i = 0; i < head; i++) {
    for (size_t f = 0; f < sizeof flips; f++) {
      bytes[i] = (char)(bytes[i] ^ flips[f]);
      scratch_write(bad, bytes, n);
      object_set *set = object_set_open(bad);
      if (set != NULL) walk(set);
      if (i < 48 && (i < 12 || i >= 16)) assert_null(set); /* of the header, only the cap on sides may change alone */
      refused += set == NULL;
      object_set_close(set);
      bytes[i] = (char)(bytes[i] ^ flips[f]);
    }
  }
  assert_true(refused > head);
  free(bytes);
  free(bad);
  free(path);
}

static void test_not_a_pack(void **state) {
  char *path = scratch_path(state, "text");
  scratch_write(path, "this is some text that is longer than the header of an object pack would be, to be sure", 80);
  assert_null(object_set_open(path));
  assert_int_equal(last_status(), STATUS_FORMAT);
  assert_null(object_set_open("tests"));
  assert_null(object_set_open("no such file"));
  assert_int_equal(last_status(), STATUS_IO);
  free(path);
}

/* ---- hashes ---- */

enum { BIG = 96 };

/* A disc in a frame, at any scale and in any two colours. */
static void draw_disc(uint8_t *rgba, int side, int disc_x, const uint8_t *ink, const uint8_t *ground) {
  for (int y = 0; y < side; y++) {
    for (int x = 0; x < side; x++) {
      int dx = 100 * x / side - disc_x, dy = 100 * y / side - 40;
      uint8_t *p = rgba + 4 * (y * side + x);
      memcpy(p, dx * dx + dy * dy < 600 ? ink : ground, 3);
      p[3] = 255;
    }
  }
}

static manifest_entry entry_of(const uint8_t *rgba, int side) {
  return (manifest_entry){.width = (uint16_t)side,
                          .height = (uint16_t)side,
                          .content = content_hash(rgba, side, side),
                          .look = look_hash_of(rgba, side, side),
                          .author = "someone",
                          .name = "x"};
}

static void test_hashes(void **state) {
  static const uint8_t red[3] = {200, 30, 30}, green[3] = {20, 120, 20}, white[3] = {255, 255, 255},
                       sand[3] = {240, 240, 220};
  uint8_t *rgba = malloc(BIG * BIG * 4);
  (void)state;
  draw_disc(rgba, BIG, 35, red, white);
  manifest_entry first = entry_of(rgba, BIG), again = entry_of(rgba, BIG);
  assert_true(first.content == again.content && first.look.rows == again.look.rows);
  rgba[4 * 1000] ^= 1;
  manifest_entry touched = entry_of(rgba, BIG);
  assert_true(touched.content != first.content && look_is_near(&first, &touched));
  draw_disc(rgba, 61, 35, green, sand); /* smaller, in other colours */
  manifest_entry variant = entry_of(rgba, 61);
  assert_true(variant.content != first.content && look_is_near(&first, &variant));
  draw_disc(rgba, BIG, 70, red, white); /* elsewhere */
  manifest_entry other = entry_of(rgba, BIG);
  assert_false(look_is_near(&first, &other));
  variant.width = 80; /* the same look in another shape */
  assert_false(look_is_near(&first, &variant));
  assert_true(content_hash(rgba, 8, 2) != content_hash(rgba, 4, 4)); /* the size belongs to the content */
  free(rgba);
}

/* ---- the split ---- */

enum { MADE = 600, MADE_KINDS = 3 };

/* Pictures by many authors; every tenth is a near copy and every seventh an exact copy of the one before. */
static void make_entries(manifest_entry *e, char authors[][16]) {
  for (uint32_t i = 0; i < MADE; i++) {
    snprintf(authors[i], 16, "author %u", i * 7919 % 211);
    e[i] = (manifest_entry){.name = "x",
                            .author = authors[i],
                            .kind = i % MADE_KINDS,
                            .width = 50,
                            .height = 50,
                            .content = random_u64(1, 1, i),
                            .look = {random_u64(1, 2, i), random_u64(1, 3, i)}};
    if (i % 10 == 9) e[i].look = (look_hash){e[i - 1].look.rows ^ 5, e[i - 1].look.columns};
    if (i % 7 == 6) e[i].content = e[i - 1].content;
  }
}

static void test_split(void **state) {
  static manifest_entry e[MADE], shuffled[MADE];
  static char authors[MADE][16];
  kind_table *kinds = small_kinds(state);
  uint32_t in[SPLITS] = {0};
  make_entries(e, authors);
  assert_int_equal(split_make(e, MADE, kinds), STATUS_OK);
  manifest m = {.entry = e, .n = MADE};
  split_audit audit;
  split_audit_manifest(&m, kinds, &audit);
  assert_string_equal(audit.first, "");
  assert_int_equal(split_audit_violations(&audit), 0);
  for (uint32_t i = 0; i < MADE; i++) {
    in[e[i].split]++;
    if (kinds->kind[e[i].kind].held_out) assert_int_equal(e[i].split, SPLIT_TEST);
    for (uint32_t j = 0; j < i; j++) {
      if (e[i].group == e[j].group) assert_int_equal(e[i].split, e[j].split);
      if (e[i].content == e[j].content || is_sibling(&e[i], &e[j])) assert_int_equal(e[i].group, e[j].group);
    }
  }
  assert_true(in[SPLIT_TRAIN] > 0 && in[SPLIT_TEST] > 0);
  uint32_t order[MADE];
  rng g = rng_make(5, 0);
  for (uint32_t i = 0; i < MADE; i++) order[i] = i;
  rng_shuffle(&g, order, MADE);
  for (uint32_t i = 0; i < MADE; i++) shuffled[i] = e[order[i]];
  assert_int_equal(split_make(shuffled, MADE, kinds), STATUS_OK);
  for (uint32_t i = 0; i < MADE; i++) assert_int_equal(shuffled[i].split, e[order[i]].split);
  kind_table_free(kinds);
}

/* Groups go 80 : 10 : 10, and a kind of one group always trains. */
static void test_split_shares(void **state) {
  enum { N = 2000, FEW = 20 };
  kind_table *kinds = small_kinds(state);
  manifest_entry *e = calloc(N, sizeof *e);
  char(*authors)[16] = calloc(N, sizeof *authors);
  uint32_t in[SPLITS] = {0};
  for (uint32_t i = 0; i < N; i++) {
    snprintf(authors[i], 16, "%u", i);
    e[i] = (manifest_entry){.name = "x",
                            .author = authors[i],
                            .width = 9,
                            .height = 9,
                            .content = random_u64(2, 1, i),
                            .look = {random_u64(2, 2, i), random_u64(2, 3, i)}};
  }
  e[N - 1].kind = 2;
  e[N - 2].kind = 1;
  assert_int_equal(split_make(e, N, kinds), STATUS_OK);
  for (uint32_t i = 0; i < N; i++) in[e[i].split]++;
  assert_in_range(in[SPLIT_TRAIN], N * 78 / 100, N * 82 / 100);
  assert_in_range(in[SPLIT_VALIDATION], N * 8 / 100, N * 12 / 100);
  assert_int_equal(e[N - 1].split, SPLIT_TRAIN);
  assert_int_equal(e[N - 2].split, SPLIT_TEST);
  manifest_entry *few = e + N - FEW;        /* the last two are still the only banana and the only dog */
  for (uint32_t key = 0; key < 50; key++) { /* wherever the key alone would have put it */
    few[FEW - 1].content = random_u64(3, 0, key);
    assert_int_equal(split_make(few, FEW, kinds), STATUS_OK);
    assert_int_equal(few[FEW - 1].split, SPLIT_TRAIN);
  }
  few[FEW - 1].content = few[FEW - 2].content; /* the only dog is a copy of the held-out banana */
  assert_int_equal(split_make(few, FEW, kinds), STATUS_ARGUMENT);
  assert_non_null(strstr(last_error(), "dog"));
  free(authors);
  free(e);
  kind_table_free(kinds);
}

/* ---- the committed tables ---- */

typedef struct {
  kind_table *kinds;
  manifest *m;
} committed;

static committed read_committed(void) {
  committed c = {.kinds = kind_table_read("data/kinds.tsv")};
  assert_non_null(c.kinds);
  c.m = manifest_read("data/objects.tsv", c.kinds);
  assert_non_null(c.m);
  return c;
}

static void free_committed(committed *c) {
  manifest_free(c->m);
  kind_table_free(c->kinds);
}

static void test_committed_manifest(void **state) {
  committed c = read_committed();
  split_audit audit;
  (void)state;
  split_audit_manifest(c.m, c.kinds, &audit);
  assert_string_equal(audit.first, "");
  assert_int_equal(split_audit_violations(&audit), 0);
  assert_true(c.kinds->n >= 400);
  assert_true(audit.kinds_held_out * 20 >= c.kinds->n / 2 && audit.kinds_held_out * 20 <= c.kinds->n * 2);
  assert_true(audit.pictures[SPLIT_VALIDATION] > 100 && audit.pictures[SPLIT_TEST] > 100);
  for (uint32_t k = 0; k < c.kinds->n; k++) {
    bool shown = false;
    for (uint32_t i = 0; i < c.m->n && !shown; i++) shown = c.m->entry[i].kind == k;
    if (!shown) fail_msg("no picture shows the kind '%s'", c.kinds->kind[k].singular);
  }
  free_committed(&c);
}

/* The split follows from the manifest's other columns by the rule, so nobody can have edited it. */
static void test_committed_split_is_the_rules(void **state) {
  committed c = read_committed();
  manifest_entry *e = malloc(c.m->n * sizeof *e);
  (void)state;
  memcpy(e, c.m->entry, c.m->n * sizeof *e);
  assert_int_equal(split_make(e, c.m->n, c.kinds), STATUS_OK);
  for (uint32_t i = 0; i < c.m->n; i++) {
    assert_int_equal(e[i].split, c.m->entry[i].split);
    assert_int_equal(e[i].group, c.m->entry[i].group);
  }
  free(e);
  free_committed(&c);
}

static void test_plurals(void **state) {
  static const char *const pairs[][2] = {{"knife", "knives"},
                                         {"mouse", "mice"},
                                         {"sheep", "sheep"},
                                         {"fish", "fish"},
                                         {"tooth", "teeth"},
                                         {"die", "dice"},
                                         {"leaf", "leaves"},
                                         {"cherry", "cherries"},
                                         {"box", "boxes"},
                                         {"woman", "women"},
                                         {"computer mouse", "computer mice"}};
  committed c = read_committed();
  (void)state;
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    uint32_t kind = kind_table_find(c.kinds, pairs[i][0]);
    assert_true(kind != UINT32_MAX);
    assert_string_equal(c.kinds->kind[kind].plural, pairs[i][1]);
  }
  for (uint32_t k = 0; k < c.kinds->n; k++) { /* a plural must not read as another kind */
    uint32_t other = kind_table_find(c.kinds, c.kinds->kind[k].plural);
    assert_true(other == UINT32_MAX || other == k);
  }
  free_committed(&c);
}

/* Audits after one change, and undoes it. */
static split_audit audit_with(committed *c, uint32_t i, manifest_entry changed) {
  manifest_entry kept = c->m->entry[i];
  split_audit audit;
  c->m->entry[i] = changed;
  split_audit_manifest(c->m, c->kinds, &audit);
  c->m->entry[i] = kept;
  return audit;
}

static uint32_t find_entry(const committed *c, split which, bool held_out) {
  for (uint32_t i = 0; i < c->m->n; i++) {
    if (c->m->entry[i].split == which && c->kinds->kind[c->m->entry[i].kind].held_out == held_out) return i;
  }
  fail_msg("the manifest has no such picture");
  return 0;
}

static void test_doctored_manifest_fails(void **state) {
  committed c = read_committed();
  uint32_t test = find_entry(&c, SPLIT_TEST, false), train = find_entry(&c, SPLIT_TRAIN, false);
  uint32_t unseen = find_entry(&c, SPLIT_TEST, true), siblings = 0;
  manifest_entry e;
  (void)state;

  e = c.m->entry[test]; /* the same pixels, twice the same look, the same author's same kind as a training picture */
  e.content = c.m->entry[train].content;
  assert_true(audit_with(&c, test, e).copies > 0);
  e = c.m->entry[test];
  e.look = c.m->entry[train].look;
  e.look.rows ^= 3;
  e.width = c.m->entry[train].width;
  e.height = c.m->entry[train].height;
  assert_true(audit_with(&c, test, e).near_copies > 0);
  e = c.m->entry[test];
  e.kind = c.m->entry[train].kind;
  e.author = c.m->entry[train].author;
  assert_true(audit_with(&c, test, e).siblings > 0);

  e = c.m->entry[unseen]; /* a held-out kind in training */
  e.split = SPLIT_TRAIN;
  assert_true(audit_with(&c, unseen, e).held_out_seen == 1);

  for (uint32_t i = 0; i < c.m->n; i++) { /* any picture of a larger group that changes sides is noticed */
    bool alone = true;
    for (uint32_t j = 0; j < c.m->n && alone; j++) alone = j == i || c.m->entry[j].group != c.m->entry[i].group;
    if (i % 128 != 0 || alone) continue;
    e = c.m->entry[i];
    e.split = e.split == SPLIT_TEST ? SPLIT_TRAIN : SPLIT_TEST;
    split_audit audit = audit_with(&c, i, e);
    assert_true(split_audit_violations(&audit) > 0 && audit.first[0] != 0);
    siblings++;
  }
  assert_true(siblings > 5);

  for (uint32_t i = 0; i < c.m->n; i++) { /* the only picture of a kind leaves training */
    e = c.m->entry[i];
    uint32_t same = 0;
    for (uint32_t j = 0; j < c.m->n; j++) same += c.m->entry[j].kind == e.kind;
    if (same != 1 || e.split != SPLIT_TRAIN) continue;
    e.split = SPLIT_VALIDATION;
    assert_int_equal(audit_with(&c, i, e).kinds_untrained, 1);
    break;
  }
  split_audit audit; /* a kind's flag is changed */
  c.kinds->kind[c.m->entry[train].kind].held_out = true;
  split_audit_manifest(c.m, c.kinds, &audit);
  assert_int_equal(audit.wrong_flags, 1);
  free_committed(&c);
}

/* ---- the audit of a pack ---- */

static void make_small_manifest(manifest_entry *e) {
  static const char *const authors[PICTURES] = {"ann", "noto", "ann", "ann", "bob"};
  object_picture p[PICTURES];
  make_pictures(p);
  for (uint32_t i = 0; i < PICTURES; i++) {
    e[i] = (manifest_entry){.name = p[i].name,
                            .author = authors[i],
                            .kind = p[i].kind,
                            .group = i,
                            .split = p[i].split,
                            .colour = p[i].colour,
                            .width = p[i].width,
                            .height = p[i].height,
                            .content = content_hash(p[i].rgba, p[i].width, p[i].height),
                            .look = look_hash_of(p[i].rgba, p[i].width, p[i].height)};
  }
}

static void test_manifest_round_trip(void **state) {
  manifest_entry e[PICTURES];
  kind_table *kinds = small_kinds(state);
  char *path = scratch_path(state, "objects.tsv");
  make_small_manifest(e);
  FILE *file = fopen(path, "w");
  assert_int_equal(manifest_write(file, e, PICTURES, kinds), STATUS_OK);
  fclose(file);
  manifest *m = manifest_read(path, kinds);
  assert_non_null(m);
  assert_int_equal(m->n, PICTURES);
  for (uint32_t i = 0; i < PICTURES; i++) {
    const manifest_entry *a = &e[i], *b = &m->entry[i];
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->author, b->author);
    assert_true(a->kind == b->kind && a->group == b->group && a->split == b->split && a->colour == b->colour);
    assert_true(a->width == b->width && a->height == b->height && a->content == b->content);
    assert_true(a->look.rows == b->look.rows && a->look.columns == b->look.columns);
  }
  manifest_free(m);
  kind_table_free(kinds);
  free(path);
}

static void test_pack_audit(void **state) {
  manifest_entry e[PICTURES];
  manifest m = {.entry = e, .n = PICTURES};
  kind_table *kinds = small_kinds(state);
  char *path = small_pack(state);
  object_set *set = object_set_open(path);
  split_audit audit;
  make_small_manifest(e);
  assert_int_equal(split_audit_pack(set, &m, kinds, &audit), STATUS_OK);
  assert_string_equal(audit.first, "");
  assert_int_equal(audit.pictures[SPLIT_TRAIN], 2);
  e[4].author = "ann"; /* only the manifest knows authors: both dogs by ann, on two sides */
  assert_int_equal(split_audit_pack(set, &m, kinds, &audit), STATUS_OK);
  assert_int_equal(audit.siblings, 1);
  e[4].author = "bob";
  e[0].split = SPLIT_TEST; /* the manifest lies: the pack's own split counts, and the lie is reported */
  assert_int_equal(split_audit_pack(set, &m, kinds, &audit), STATUS_OK);
  assert_true(audit.mismatches == 1 && audit.pictures[SPLIT_TRAIN] == 2);
  e[0].split = SPLIT_TRAIN;
  e[0].content ^= 1;
  assert_int_equal(split_audit_pack(set, &m, kinds, &audit), STATUS_OK);
  assert_int_equal(audit.mismatches, 1);
  m.n = PICTURES - 1;
  assert_int_equal(split_audit_pack(set, &m, kinds, &audit), STATUS_FORMAT);
  object_set_close(set);
  kind_table_free(kinds);
  free(path);
}

/* A test picture with a training picture's pixels is found in the pixels, whatever the manifest says. */
static void test_pack_audit_sees_pixels(void **state) {
  manifest_entry e[PICTURES];
  manifest m = {.entry = e, .n = PICTURES};
  object_picture p[PICTURES];
  kind_table *kinds = small_kinds(state);
  char *path = scratch_path(state, "leak.pack");
  split_audit audit;
  make_small_manifest(e);
  make_pictures(p);
  p[1].rgba = p[0].rgba;
  p[1].width = p[0].width;
  p[1].colour = p[0].colour;
  assert_int_equal(object_pack_write(path, kinds->kind, kinds->n, p, PICTURES), STATUS_OK);
  object_set *set = object_set_open(path);
  assert_int_equal(split_audit_pack(set, &m, kinds, &audit), STATUS_OK);
  assert_true(audit.copies == 1 && audit.near_copies >= 1 && audit.mismatches == 1);
  object_set_close(set);
  kind_table_free(kinds);
  free(path);
}

/* ---- damaged tables ---- */

static void expect_refused(void **state, bool as_kinds, const char *text, const char *says) {
  kind_table *kinds = small_kinds(state);
  char *path = scratch_path(state, "table.tsv");
  scratch_write(path, text, strlen(text));
  if (as_kinds) {
    assert_null(kind_table_read(path));
  } else {
    assert_null(manifest_read(path, kinds));
  }
  if (strstr(last_error(), says) == NULL) fail_msg("'%s' does not say '%s'", last_error(), says);
  kind_table_free(kinds);
  free(path);
}

static void test_damaged_tables(void **state) {
  expect_refused(state, true, "", "expected 1 to");
  expect_refused(state, true, "apple\tapples\tan\n", "line 1: expected 4 fields");
  expect_refused(state, true, "apple\tapples\tan\t0\textra\n", "line 1: expected 4 fields");
  expect_refused(state, true, "# comment\n\napple\tapples\tthe\t0\n", "line 3: the article");
  expect_refused(state, true, "apple\tapples\tan\tyes\n", "held out");
  expect_refused(state, true, "dog\tdogs\ta\t0\napple\tapples\tan\t0\n", "order");
  expect_refused(state, true, "dog\tdogs\ta\t0\ndog\tdogs\ta\t0\n", "twice");
#define HASHES "0123456789abcdef\t0123456789abcdef0123456789abcdef"
  expect_refused(state, false, "x\tcat\tann\ttrain\tred\t3x4\t" HASHES "\t0\n", "the kind");
  expect_refused(state, false, "x\tdog\tann\ttrail\tred\t3x4\t" HASHES "\t0\n", "the split");
  expect_refused(state, false, "x\tdog\tann\ttrain\tmauve\t3x4\t" HASHES "\t0\n", "the colour");
  expect_refused(state, false, "x\tdog\tann\ttrain\tred\t3x70000\t" HASHES "\t0\n", "the size");
  expect_refused(state, false, "x\tdog\tann\ttrain\tred\t3x4\t-1\t0123456789abcdef0123456789abcdef\t0\n",
                 "content hash");
  expect_refused(state, false, "x\tdog\tann\ttrain\tred\t3x4\t1\t0123456789abcdef\t0\n", "near-duplicate hash");
  expect_refused(state, false, "x\tdog\tann\ttrain\tred\t3x4\t" HASHES "\t99999999999\n", "the group");
  expect_refused(state, false, "x\tdog\t\ttrain\tred\t3x4\t" HASHES "\t0\n", "the author");
#undef HASHES
  char *path = scratch_path(state, "zero.tsv");
  scratch_write(path, "apple\0\tapples\tan\t0\n", 19);
  assert_null(kind_table_read(path));
  free(path);
}

#define IN_SCRATCH(name) cmocka_unit_test_setup_teardown(name, scratch_setup, scratch_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_round_trip),
      IN_SCRATCH(test_writes_the_same_bytes_and_nothing_else),
      IN_SCRATCH(test_writer_refuses),
      IN_SCRATCH(test_truncated),
      IN_SCRATCH(test_flipped_bytes),
      IN_SCRATCH(test_not_a_pack),
      cmocka_unit_test(test_hashes),
      IN_SCRATCH(test_split),
      IN_SCRATCH(test_split_shares),
      cmocka_unit_test(test_committed_manifest),
      cmocka_unit_test(test_committed_split_is_the_rules),
      cmocka_unit_test(test_plurals),
      cmocka_unit_test(test_doctored_manifest_fails),
      IN_SCRATCH(test_manifest_round_trip),
      IN_SCRATCH(test_pack_audit),
      IN_SCRATCH(test_pack_audit_sees_pixels),
      IN_SCRATCH(test_damaged_tables),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
