/* Lists of pictures with captions: folders, TSV, JSON Lines and tar shards, as they should be and as they should not;
 * and pictures varied for training. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/image_vary.h"
#include "data/pairs.h"
#include "data/tar.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- pictures ----------------------------------------------------------------------------------------------------- */

enum { PPM = 11 + 4 * 2 * 3 };
/* A picture of 4 x 2 pixels, all of one shade. */
static void ppm(uint8_t shade, char out[PPM]) {
  memcpy(out, "P6\n4 2\n255\n", 11);
  memset(out + 11, shade, PPM - 11);
}

static void write_picture(void **state, const char *name, uint8_t shade) {
  char bytes[PPM], *path = scratch_path(state, name);
  ppm(shade, bytes);
  scratch_write(path, bytes, sizeof bytes);
  free(path);
}

static char *write_text(void **state, const char *name, const char *text) {
  char *path = scratch_path(state, name);
  scratch_write(path, text, strlen(text));
  return path;
}

static void check_picture(const pairs *p, size_t i, uint8_t shade) {
  image *im = pairs_picture(p, i);
  if (!im) fail_msg("%s", last_error());
  assert_int_equal(im->width, 4);
  assert_int_equal(*(uint8_t *)im->pixels, shade);
  image_free(im);
}

static void read_ok(pairs *p, const char *path) {
  if (pairs_read(p, path)) fail_msg("%s", last_error());
}

static void refuses(const char *path, const char *word) {
  pairs p = {0};
  if (!pairs_read(&p, path)) fail_msg("%s was taken", path);
  if (!strstr(last_error(), word)) fail_msg("'%s' does not say '%s'", last_error(), word);
  assert_non_null(strstr(last_error(), path));
  pairs_free(&p);
}

/* --- lists -------------------------------------------------------------------------------------------------------- */

static void test_rows(void **state) {
  write_picture(state, "a.ppm", 10);
  write_picture(state, "b.ppm", 20);
  char *other = scratch_path(state, "b.ppm"), text[4096];
  snprintf(text, sizeof text, "# a list\n\na.ppm\ta cat\t the cat's  \r\n%s\ttwo dogs", other);
  char *path = write_text(state, "list.tsv", text);
  pairs p = {0};
  read_ok(&p, path);
  assert_int_equal(p.n, 2);
  assert_int_equal(p.entry[0].n, 2);
  assert_string_equal(pairs_caption(&p, 0, 0), "a cat");
  assert_string_equal(pairs_caption(&p, 0, 1), "the cat's");
  assert_string_equal(pairs_caption(&p, 1, 0), "two dogs");
  check_picture(&p, 0, 10);
  check_picture(&p, 1, 20);
  const uint64_t digest = pairs_digest(&p);
  unlink(other);
  assert_null(pairs_picture(&p, 1));
  assert_non_null(strstr(last_error(), other));
  read_ok(&p, path); /* a second list is added to the first */
  assert_int_equal(p.n, 4);
  assert_true(pairs_digest(&p) != digest);
  pairs_free(&p);

  static const char *const broken[][2] = {{"a.ppm\tx\nb.ppm\n", "line 2"},
                                          {"\tx\n", "line 1"},
                                          {"a.ppm\t \t\n", "line 1: no caption"},
                                          {"# none\n", "no picture"}};
  for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
    free(write_text(state, "list.tsv", broken[i][0]));
    refuses(path, broken[i][1]);
  }
  scratch_write(path, "a.ppm\tx\0y\n", 10);
  refuses(path, "zero byte");
  unlink(path);
  refuses(path, "");
  free(path), free(other);
}

static void test_json_lines(void **state) {
  write_picture(state, "a.ppm", 10);
  char *path = write_text(state, "list.jsonl",
                          "{\"image\": \"a.ppm\", \"caption\": \"a cat\", \"more\": 1}\n\n"
                          "{\"file_name\": \"a.ppm\", \"text\": [\"one\", \"two\"]}\n"
                          "{\"path\": \"a.ppm\", \"captions\": [\"three\"]}");
  pairs p = {0};
  read_ok(&p, path);
  assert_int_equal(p.n, 3);
  assert_int_equal(p.entry[1].n, 2);
  assert_string_equal(pairs_caption(&p, 1, 1), "two");
  assert_string_equal(pairs_caption(&p, 2, 0), "three");
  check_picture(&p, 2, 10);
  pairs_free(&p);
  static const char *const broken[][2] = {
      {"{\"image\": \"a.ppm\", \"caption\": \"x\"}\n{\"image\": \"a.ppm\"}", "line 2: no string"},
      {"{\"image\": 1, \"caption\": \"x\"}", "line 1: no path"},
      {"{\"image\": \"\", \"caption\": \"x\"}", "no path"},
      {"{\"image\": \"a\\u0000b\", \"caption\": \"x\"}", "no path"},
      {"{\"image\": \"a\", \"caption\": \"x\\u0000y\"}", "zero byte"},
      {"{\"image\": \"a\", \"caption\": []}", "no caption"},
      {"{\"image\": \"a\", \"caption\": [\"x\", 2]}", "no string"},
      {"{\"image\": \"a\", ", "not JSON"},
      {"[1]", "no path"}};
  for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
    free(write_text(state, "list.jsonl", broken[i][0]));
    refuses(path, broken[i][1]);
  }
  free(path);
}

/* --- archives ----------------------------------------------------------------------------------------------------- */

enum { BLOCK = 512, ROOM = 64 * BLOCK };
typedef struct {
  uint8_t bytes[ROOM];
  size_t n;
} tape;

static void sum_header(uint8_t *h) {
  unsigned sum = 0;
  memset(h + 148, ' ', 8);
  for (int i = 0; i < BLOCK; i++) sum += h[i];
  snprintf((char *)h + 148, 7, "%06o", sum & 0777777);
}

/* Puts a member whose header is a POSIX one; returns the header. */
static uint8_t *put(tape *t, const char *name, char type, const void *data, size_t size) {
  uint8_t *h = t->bytes + t->n;
  assert_true(t->n + 3 * BLOCK + size < ROOM);
  memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
  snprintf((char *)h + 124, 12, "%011o", (unsigned)size);
  h[156] = (uint8_t)type;
  memcpy(h + 257, "ustar\00000", 8);
  sum_header(h);
  if (size) memcpy(h + BLOCK, data, size);
  t->n += BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
  return h;
}

static void put_picture(tape *t, const char *name, uint8_t shade) {
  char bytes[PPM];
  ppm(shade, bytes);
  put(t, name, '0', bytes, sizeof bytes);
}
static void put_text(tape *t, const char *name, const char *text) { put(t, name, '0', text, strlen(text)); }

static char *write_tape(void **state, const char *name, const tape *t) {
  char *path = scratch_path(state, name);
  scratch_write(path, t->bytes, t->n);
  return path;
}

static void test_shards(void **state) {
  static tape t;
  memset(&t, 0, sizeof t);
  put(&t, "set/", '5', NULL, 0);
  put_picture(&t, "set/0001.ppm", 10);
  put_text(&t, "set/0001.txt", "a cat\n\nthe cat\n");
  put_text(&t, "set/0002.json", "{\"caption\": \"a dog\"}");
  put_picture(&t, "set/0002.big.ppm", 20);
  put_picture(&t, "set/0003.ppm", 30); /* without a text */
  put_text(&t, "set/0004.txt", "without a picture");
  put_picture(&t, "set/0005.ppm", 50);
  put_text(&t, "set/0005.txt", "  \n");
  put_text(&t, "set/0006.cls", "7");
  put_picture(&t, "set/0006.ppm", 60);
  put_text(&t, "set/0006.json", "{\"text\": [\"a fox\"]}");
  t.n += 2 * BLOCK;
  char *path = write_tape(state, "a.tar", &t);
  pairs p = {0};
  read_ok(&p, path);
  assert_int_equal(p.n, 3);
  assert_int_equal(p.unpaired, 3);
  assert_int_equal(p.entry[0].n, 2);
  assert_string_equal(pairs_caption(&p, 0, 1), "the cat");
  assert_string_equal(pairs_caption(&p, 1, 0), "a dog");
  assert_string_equal(pairs_caption(&p, 2, 0), "a fox");
  check_picture(&p, 0, 10);
  check_picture(&p, 1, 20);
  check_picture(&p, 2, 60);
  pairs_free(&p);

  memset(&t, 0, sizeof t);
  put_picture(&t, "0001.ppm", 10);
  put_text(&t, "0001.json", "{\"caption\": ");
  free(write_tape(state, "a.tar", &t));
  refuses(path, "0001");
  scratch_write(path, "not a tar archive at all", 24);
  refuses(path, "not a tar");
  free(path);
}

static status keep_name(void *user, const char *name, size_t offset, size_t size) {
  char *all = user, one[TAR_NAME + 64];
  snprintf(one, sizeof one, "%s@%zu+%zu;", name, offset, size);
  strncat(all, one, 8191 - strlen(all));
  return STATUS_OK;
}

static void test_names(void **state) {
  (void)state;
  static tape t;
  static char names[8192], expected[8192];
  char length[256], pax[512];
  memset(&t, 0, sizeof t);
  memset(length, 'n', sizeof length);
  length[200] = 0;
  put(&t, "././@LongLink", 'L', length, 201);
  put_text(&t, "nnn", "1");
  snprintf(pax, sizeof pax, "30 mtime=1350244992.023960108\n%d path=%s\n", 10 + 200, length);
  put(&t, "PaxHeader", 'x', pax, strlen(pax));
  put_text(&t, "nnn", "22");
  uint8_t *h = put(&t, "x.txt", '0', "333", 3); /* with its folder apart */
  memcpy(h + 345, "in/there", 8);
  sum_header(h);
  h = put(&t, "y.txt", '0', "4444", 4); /* its size in base 256 */
  memset(h + 124, 0, 12);
  h[124] = 0x80, h[135] = 4;
  sum_header(h);
  put(&t, "link", '1', NULL, 0);
  put(&t, "comment", 'g', "12 x=abcdef\n", 12);
  put(&t, "sized", 'x', "9 size=5\n", 9);
  h = put(&t, "z.txt", '0', "55555", 5);
  memcpy(h + 124, "00000000000", 12);
  sum_header(h);
  put_text(&t, "end.txt", "");
  if (tar_members("t", t.bytes, t.n, keep_name, names)) fail_msg("%s", last_error());
  snprintf(expected, sizeof expected, "%s@%d+1;%s@%d+2;in/there/x.txt@%d+3;y.txt@%d+4;z.txt@%d+5;end.txt@%d+0;", length,
           3 * BLOCK, length, 7 * BLOCK, 9 * BLOCK, 11 * BLOCK, 18 * BLOCK, 20 * BLOCK);
  assert_string_equal(names, expected);
}

static status count(void *user, const char *name, size_t offset, size_t size) {
  (void)name, (void)offset;
  *(size_t *)user += size;
  return STATUS_OK;
}

/* Whatever is cut off or changed, members stay within the bytes, and what is refused is refused with a sentence. */
static void test_hostile_archives(void **state) {
  (void)state;
  static tape t;
  memset(&t, 0, sizeof t);
  put(&t, "PaxHeader", 'x', "16 path=abc.ppm\n", 16);
  put_picture(&t, "0001.ppm", 10);
  put(&t, "././@LongLink", 'L', "long", 5);
  put_text(&t, "0001.txt", "a cat");
  size_t sum, refused = 0;
  for (size_t n = 0; n < t.n; n++) { /* in memory of its own, so that tools see a read beyond the end */
    uint8_t *part = malloc(n ? n : 1);
    memcpy(part, t.bytes, n);
    sum = 0;
    const status s = tar_members("cut.tar", part, n, count, &sum);
    if (s) assert_non_null(strstr(last_error(), "cut.tar, at byte"));
    assert_true(sum <= n);
    refused += s != STATUS_OK;
    free(part);
  }
  assert_true(refused > t.n / 2);
  static const struct {
    size_t header, at;
    const char *value; /* from there on; the header's sum is made right again */
    const char *says;
  } wrong[] = {{2, 124, "77777777777", "cut off"},  {2, 124, "\x80\xff\xff\xff\xff\xff\xff\xff", "size"},
               {2, 124, "0000000000x", "size"},     {2, 156, "S", "holes"},
               {0, 124, "00000000000", "cut off"}, /* the text of the extended header is no header */
               {4, 124, "00000000000", "name of 0"}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    static tape bad;
    bad = t;
    uint8_t *h = bad.bytes + wrong[i].header * BLOCK;
    memcpy(h + wrong[i].at, wrong[i].value, strlen(wrong[i].value));
    sum_header(h);
    sum = 0;
    const status s = tar_members("bad.tar", bad.bytes, bad.n, count, &sum);
    if (i == 4) { /* then what follows is no header */
      assert_non_null(strstr(last_error(), "checksum"));
      continue;
    }
    if (!s) fail_msg("change %zu was taken", i);
    if (!strstr(last_error(), wrong[i].says)) fail_msg("change %zu: %s", i, last_error());
  }
  static const char *const records[] = {"99 path=abc.ppm\n", "16 path=abc.ppmx",   "x6 path=abc.ppm\n",
                                        "2 path=abc.ppm\n ", "9 size=x\n0 0 00\n", "99999999999999999999"};
  for (size_t i = 0; i < sizeof records / sizeof *records; i++) {
    static tape bad;
    bad = t;
    memcpy(bad.bytes + BLOCK, records[i], 16);
    assert_int_equal(tar_members("bad.tar", bad.bytes, bad.n, count, &sum), STATUS_FORMAT);
    assert_non_null(strstr(last_error(), "extended header"));
  }
  tape *bad = malloc(sizeof *bad);
  for (size_t i = 0; i < 4 * BLOCK; i++) { /* one byte changed: a header's sum tells, what is in members does not */
    *bad = t;
    bad->bytes[i] ^= 0x41;
    sum = 0;
    if (tar_members("bad.tar", bad->bytes, bad->n, count, &sum)) assert_true(*last_error());
    assert_true(sum <= bad->n);
  }
  free(bad);
}

/* --- folders ------------------------------------------------------------------------------------------------------ */

static void test_folders(void **state) {
  static tape t;
  memset(&t, 0, sizeof t);
  put_picture(&t, "0001.ppm", 70);
  put_text(&t, "0001.txt", "from a shard");
  write_picture(state, "b.ppm", 20);
  write_picture(state, "a.ppm", 10);
  write_picture(state, "a.large.ppm", 11); /* another picture's name */
  write_picture(state, "alone.ppm", 30);
  char *made[] = {write_text(state, "b.txt", "second\nanother"), write_text(state, "a.txt", "first"),
                  write_text(state, "README.txt", "of no picture"), write_text(state, "empty.txt", ""),
                  write_tape(state, "shard.tar", &t)};
  pairs p = {0};
  read_ok(&p, *state);
  assert_int_equal(p.n, 3);
  assert_int_equal(p.unpaired, 2);
  assert_string_equal(pairs_caption(&p, 0, 0), "first");
  assert_string_equal(pairs_caption(&p, 1, 1), "another");
  assert_string_equal(pairs_caption(&p, 2, 0), "from a shard");
  check_picture(&p, 0, 10);
  check_picture(&p, 1, 20);
  check_picture(&p, 2, 70);
  pairs_free(&p);
  for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
    if (i != 2) unlink(made[i]);
  }
  refuses(*state, "no picture with a caption");
  for (size_t i = 0; i < sizeof made / sizeof *made; i++) free(made[i]);
}

/* --- variation ---------------------------------------------------------------------------------------------------- */

/* Columns get darker to the right. */
static image *ramp(int width, int height) {
  image *im = image_new(IMAGE_RGB, width, height);
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) memset((uint8_t *)im->pixels + (y * width + x) * 3, 240 - 200 * x / width, 3);
  return im;
}

static void test_variation(void **state) {
  (void)state;
  enum { SIDE = 16, DRAWS = 200 };
  image *wide = ramp(60, 30);
  int turned = 0, all = 0;
  for (int i = 0; i < DRAWS; i++) {
    rng g = rng_make(3, (uint64_t)i), again = g;
    image_variation how = IMAGE_VARIATION_CLIP;
    image *a = image_vary(wide, &how, SIDE, &g), *b = image_vary(wide, &how, SIDE, &again);
    assert_non_null(a);
    assert_int_equal(a->width, SIDE);
    assert_int_equal(a->height, SIDE);
    assert_memory_equal(a->pixels, b->pixels, SIDE * SIDE * 3); /* the same numbers, the same picture */
    const uint8_t *row = a->pixels;
    const int left = row[0], right = row[(SIDE - 1) * 3], span = left > right ? left - right : right - left;
    turned += left < right;
    all += span > 130; /* a square part of a wide picture has a part of the shades */
    assert_true(span > 70);
    image_free(a), image_free(b);
  }
  assert_true(turned > DRAWS / 3 && turned < 2 * DRAWS / 3);
  assert_int_equal(all, 0);
  image_variation whole = {.area = 1, .aspect = 1, .fit = true}; /* nothing but fitted */
  image *square = ramp(30, 30);
  rng g = rng_make(1, 1);
  image *a = image_vary(square, &whole, SIDE, &g), *b = image_fit_square(square, SIDE);
  assert_memory_equal(a->pixels, b->pixels, SIDE * SIDE * 3);
  image_free(a), image_free(b), image_free(square), image_free(wide);
}

int main(void) {
#define IN_SCRATCH(test) cmocka_unit_test_setup_teardown(test, scratch_setup, scratch_teardown)
  const struct CMUnitTest tests[] = {
      IN_SCRATCH(test_rows),
      IN_SCRATCH(test_json_lines),
      IN_SCRATCH(test_shards),
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_hostile_archives),
      IN_SCRATCH(test_folders),
      cmocka_unit_test(test_variation),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
