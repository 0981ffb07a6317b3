/* Vocabularies in the World format: parsing, encoding, writing, building; and the UTF-8 stream behind them.
 *
 * One test reads the published World vocabulary, which is not part of this repository: it runs where that lies at
 * ../shared/vocab beside the source tree. Everything else runs on vocabularies made here. (Texts and their published
 * ids are golden cases: scripts/golden.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/literal.h"
#include "data/tokenizer.h"
#include "data/vocabulary.h"
#include "kernels/utf8.h"

#include <cmocka.h> /* after our own: it makes a macro of fail() */

static const char world_path[] = "../shared/vocab/rwkv_vocab_v20230424.txt";

/* -- Helpers ------------------------------------------------------------------------------------------------------- */

typedef struct {
  char *text;
  size_t n;
} string;

static void append(string *s, const char *text) {
  size_t n = strlen(text);
  s->text = realloc(s->text, s->n + n + 1);
  memcpy(s->text + s->n, text, n + 1);
  s->n += n;
}

/* The 256 single bytes, then the given literals, each "LITERAL BYTELEN". */
static string vocabulary_of(const char *const *literals, const char *newline) {
  string s = {NULL, 0};
  char line[256];
  int id = 1;
  for (int b = 0; b < 256; b++, id++) {
    snprintf(line, sizeof line, "%d b'\\x%02x' 1%s", id, (unsigned)b, newline);
    append(&s, line);
  }
  for (; *literals; literals++, id++) {
    snprintf(line, sizeof line, "%d %s%s", id, *literals, newline);
    append(&s, line);
  }
  return s;
}

static tokenizer *parse_with(const char *const *literals, const char *newline) {
  string s = vocabulary_of(literals, newline);
  tokenizer *t = tokenizer_parse(s.text, s.n, "test");
  free(s.text);
  return t;
}

/* Encodes, compares with the ids, decodes, compares with the text. */
static void expect_ids(const tokenizer *t, const char *text, size_t n, const int32_t *ids, size_t n_ids) {
  int32_t found[512];
  assert_true(n <= 512);
  size_t count = tokenizer_encode(t, text, n, found, 512);
  assert_int_equal(count, n_ids);
  if (count) assert_memory_equal(found, ids, count * sizeof *ids);
  char *back;
  size_t n_back;
  assert_int_equal(tokenizer_decode(t, found, count, &back, &n_back), STATUS_OK);
  assert_int_equal(n_back, n);
  assert_memory_equal(back, text, n + (n == 0));
  free(back);
}

#define EXPECT_IDS(t, text, ...)                                                                                       \
  expect_ids(t, text, sizeof text - 1, (const int32_t[]){__VA_ARGS__}, sizeof(int32_t[]){__VA_ARGS__} / sizeof(int32_t))

/* -- Parsing and encoding ------------------------------------------------------------------------------------------ */

static const char *const animals[] = {"'cat' 3",    "' cat' 4",    "'category' 8",     "\"it's\" 4",
                                      "'\\n\\n' 2", "'\\u3042' 3", "'\xe3\x81\x84' 3", "b'\\xe3\\x81' 2",
                                      "'\\xe9' 2",  "'a b' 3",     "'\\\\\\'\\\"' 3",  "'        ' 8",
                                      NULL};

static void test_greedy(void **state) {
  (void)state;
  tokenizer *t = parse_with(animals, "\n");
  assert_non_null(t);
  assert_int_equal(tokenizer_size(t), 256 + 12 + 1);
  expect_ids(t, "", 0, NULL, 0);
  EXPECT_IDS(t, "cat", 257);
  EXPECT_IDS(t, "a cat", 'a' + 1, 258);
  EXPECT_IDS(t, "category", 259);
  EXPECT_IDS(t, "categorx", 257, 'e' + 1, 'g' + 1, 'o' + 1, 'r' + 1, 'x' + 1); /* back to the last token seen */
  EXPECT_IDS(t, "it's\n\n\n", 260, 261, 11);
  EXPECT_IDS(t, "\xe3\x81\x82\xe3\x81\x84\xe3\x81\x83\xe3", 262, 263, 264, 0x83 + 1, 0xe3 + 1);
  EXPECT_IDS(t, "\xc3\xa9\xe9", 265, 0xe9 + 1); /* in text \xe9 is a character, not a byte */
  EXPECT_IDS(t, "a b\\'\"", 266, 267);
  EXPECT_IDS(t, "         ", 268, 33);
  EXPECT_IDS(t, "\0\xff\0", 1, 256, 1);
  tokenizer_free(t);
}

static void test_capacity_and_unknown_ids(void **state) {
  (void)state;
  tokenizer *t = parse_with(animals, "\n");
  int32_t ids[4] = {-7, -7, -7, -7};
  assert_int_equal(tokenizer_encode(t, "cat cat cat", 11, NULL, 0), 3);
  assert_int_equal(tokenizer_encode(t, "cat cat cat", 11, ids, 2), 3);
  assert_int_equal(ids[1], 258);
  assert_int_equal(ids[2], -7);
  size_t n = 99;
  const int32_t strange[] = {TOKENIZER_END, -1, 269, INT32_MAX, INT32_MIN};
  for (size_t i = 0; i < 5; i++) {
    assert_non_null(tokenizer_bytes(t, strange[i], &n));
    assert_int_equal(n, 0);
  }
  const int32_t mixed[] = {0, 257, 70000, -3, 258};
  char *text;
  assert_int_equal(tokenizer_decode(t, mixed, 5, &text, NULL), STATUS_OK);
  assert_string_equal(text, "cat cat");
  free(text);
  tokenizer_free(t);
}

/* What does not care for the kind of tokenizer goes through these. */
static void test_any_kind(void **state) {
  (void)state;
  tokenizer *t = parse_with(animals, "\n");
  assert_int_equal(tokenizer_kind_of(t), TOKENIZER_KIND_WORLD);
  assert_int_equal(tokenizer_room(t, 7), 7);
  int32_t *ids;
  size_t n;
  assert_int_equal(tokenizer_ids(t, "a\n\ncategory", 11, &ids, &n), STATUS_OK);
  assert_int_equal(n, 3);
  assert_int_equal(ids[0], 'a' + 1);
  assert_int_equal(ids[1], 261);
  assert_int_equal(ids[2], 259);
  free(ids);
  assert_int_equal(tokenizer_ids(t, NULL, 0, &ids, &n), STATUS_OK);
  assert_int_equal(n, 0);
  free(ids);
  tokenizer_free(t);
  /* The content says which kind it is. */
  static const struct {
    const char *text, *says;
  } others[] = {{" \n{}", "other: it has no model, and only BPE can be done"},
                {"[]", "other: line 1: an entry is"},
                {"midi ", "other: line 1: "},
                {"", "other: no line has the single byte 0x00"}};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    assert_null(tokenizer_parse(others[i].text, strlen(others[i].text), "other"));
    if (strncmp(last_error(), others[i].says, strlen(others[i].says))) fail_msg("%s", last_error());
  }
}

static void test_arbitrary_bytes(void **state) {
  (void)state;
  tokenizer *t = parse_with(animals, "\n");
  rng g = rng_make(7, 0);
  static const char likely[] = "cat egory\n'\xe3\x81\x82\xc3\xa9";
  for (int round = 0; round < 2000; round++) {
    char text[64], *back;
    int32_t ids[64];
    size_t n = rng_below(&g, 64), n_back;
    for (size_t i = 0; i < n; i++)
      text[i] = rng_below(&g, 4) ? likely[rng_below(&g, sizeof likely)] : (char)rng_below(&g, 256);
    size_t count = tokenizer_encode(t, text, n, ids, 64);
    assert_true(count <= n);
    assert_int_equal(tokenizer_decode(t, ids, count, &back, &n_back), STATUS_OK);
    assert_int_equal(n_back, n);
    assert_memory_equal(back, text, n);
    free(back);
  }
  tokenizer_free(t);
}

static void test_line_ends(void **state) {
  (void)state;
  char *texts[3];
  for (int variant = 0; variant < 3; variant++) {
    string s = vocabulary_of(animals, variant == 1 ? "\r\n" : "\n");
    if (variant == 2) s.n--; /* no final newline */
    tokenizer *t = tokenizer_parse(s.text, s.n, "test");
    if (!t) fail_msg("%s", last_error());
    size_t n;
    assert_int_equal(tokenizer_text(t, &texts[variant], &n), STATUS_OK);
    assert_int_equal(n, strlen(texts[variant]));
    tokenizer_free(t);
    free(s.text);
    /* The canonical text parses to itself. */
    char *again;
    assert_non_null(t = tokenizer_parse(texts[variant], n, "canonical"));
    assert_int_equal(tokenizer_text(t, &again, &n), STATUS_OK);
    assert_string_equal(again, texts[variant]);
    tokenizer_free(t);
    free(again);
  }
  assert_string_equal(texts[0], texts[1]);
  assert_string_equal(texts[0], texts[2]);
  assert_non_null(strstr(texts[0], "\n11 '\\n' 1\n"));
  assert_non_null(strstr(texts[0], "\n40 \"'\" 1\n"));
  assert_non_null(strstr(texts[0], "\n256 b'\\xff' 1\n"));
  for (int variant = 0; variant < 3; variant++) free(texts[variant]);
}

static void refuse(const char *text, size_t n, const char *expected) {
  tokenizer *t = tokenizer_parse(text, n, "bad.txt");
  if (t) fail_msg("accepted, though: %s", expected);
  assert_int_equal(last_status(), STATUS_FORMAT);
  if (strncmp(last_error(), "bad.txt: ", 9) || !strstr(last_error(), expected))
    fail_msg("\"%s\" does not say \"%s\"", last_error(), expected);
}

static void test_malformed(void **state) {
  (void)state;
  static const struct {
    const char *line, *says;
  } bad[] = {
      {"257 'cat'", "line 257: "},
      {"257", "line 257: an entry is"},
      {"", "line 257: an entry is"},
      {"257  3", "line 257: a quoted string"},
      {"258 'cat' 3", "line 257: the id is 258 where 257"},
      {"1 'cat' 3", "line 257: the id is 1 where 257"},
      {"-257 'cat' 3", "line 257: the id and"},
      {"4294967553 'cat' 3", "line 257: the id and"},
      {"99999999999999999999 'cat' 3", "line 257: the id and"},
      {"257 'cat' 4", "line 257: the token has 3 bytes, but the line says 4"},
      {"257 'cat' x", "line 257: the id and"},
      {"257 'cat' 3 ", "line 257: the id and"},
      {"257 '\\xe9' 1", "line 257: the token has 2 bytes"},
      {"257 cat 3", "line 257: a quoted"},
      {"257 'cat\" 3", "line 257: a quoted"},
      {"257 ' 1", "line 257: a quoted"},
      {"257 b 1", "line 257: a quoted"},
      {"257 b' 1", "line 257: a quoted"},
      {"257 '' 0", "line 257: the token is empty"},
      {"257 'it's' 4", "line 257: the string has an unescaped quote"},
      {"257 'ab\\' 2", "line 257: there is an unknown or cut-off escape"},
      {"257 '\\q' 1", "line 257: there is an unknown"},
      {"257 '\\x4' 1", "line 257: there is an unknown"},
      {"257 '\\xgg' 1", "line 257: the digits"},
      {"257 '\\ud800' 3", "line 257: \\ud800 is half"},
      {"257 b'\\u0041' 1", "line 257: there is an unknown"},
      {"257 b'\xc3\xa9' 2", "line 257: a b'' string"},
      {"257 '\xc3' 1", "line 257: the string is not valid UTF-8"},
      {"257 'a' 1", "the same as on line"},
  };
  static const char *const none[] = {NULL};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    string s = vocabulary_of(none, "\n");
    append(&s, bad[i].line);
    append(&s, "\n258 'dog' 3\n");
    refuse(s.text, s.n, bad[i].says);
    free(s.text);
  }
  string s = vocabulary_of(animals, "\n");
  refuse(s.text, s.n - 3, "line 268: "); /* cut in the last line */
  refuse(s.text, 255 * 12, "line");
  refuse("", 0, "0x00");
  refuse("1 'a' 1\n", 8, "0x00");
  char *line = strstr(s.text, "b'\\x80'"); /* byte 0x80 is replaced by another token */
  memcpy(line, "'zyxwvu", 7);
  refuse(s.text, s.n, "line 129");
  free(s.text);
  s = vocabulary_of(none, "\n");
  memcpy(strstr(s.text, "b'\\x80' 1"), "b'zz'   2", 9);
  refuse(s.text, s.n, "line 129");
  free(s.text);
  s = vocabulary_of(none, "\n");
  s.n -= strlen("256 b'\\xff' 1\n");
  refuse(s.text, s.n, "single byte 0xff");
  free(s.text);
  assert_null(tokenizer_open("tests/no/such/vocabulary.txt"));
  assert_int_equal(last_status(), STATUS_IO);
}

/* -- The published vocabulary -------------------------------------------------------------------------------------- */

static string read_whole(const char *path) {
  string s = {NULL, 0};
  FILE *file = fopen(path, "rb");
  if (!file) return s;
  s.text = malloc((size_t)4 << 20);
  s.n = fread(s.text, 1, (size_t)4 << 20, file);
  fclose(file);
  return s;
}

static void test_world(void **state) {
  (void)state;
  string file = read_whole(world_path);
  if (!file.text) {
    print_message("skipped: the World vocabulary is not at %s\n", world_path);
    skip();
  }
  tokenizer *t = tokenizer_open(world_path);
  if (!t) fail_msg("%s", last_error());
  assert_int_equal(tokenizer_size(t), 65530);
  /* The canonical text is the published file, byte for byte; every token is the longest match of its own bytes. */
  char *text;
  size_t n;
  assert_int_equal(tokenizer_text(t, &text, &n), STATUS_OK);
  assert_int_equal(n, file.n);
  assert_memory_equal(text, file.text, n);
  for (int32_t id = 1; id < 65530; id++) {
    int32_t back;
    size_t length;
    const char *bytes = tokenizer_bytes(t, id, &length);
    assert_int_equal(tokenizer_encode(t, bytes, length, &back, 1), 1);
    assert_int_equal(back, id);
  }

  /* For information: the vocabulary's own text, encoded. */
  int32_t *ids = malloc(n * sizeof *ids);
  double start = clock_seconds();
  size_t count = tokenizer_encode(t, text, n, ids, n);
  double seconds = clock_seconds() - start;
  print_message("World: %zu bytes, %zu tokens, %.0f MB/s\n", n, count, (double)n / seconds * 1e-6);
  free(ids);
  free(text);
  free(file.text);
  tokenizer_free(t);
}

/* -- Literals and streams ------------------------------------------------------------------------------------------ */

static void test_literals(void **state) {
  (void)state;
  static const struct {
    const char *bytes, *literal;
  } pairs[] = {
      {"plain", "'plain'"},
      {"it's", "\"it's\""},
      {"say \"it's\"", "'say \"it\\'s\"'"},
      {"\"", "'\"'"},
      {"\t\n\r\\\x01\x7f", "'\\t\\n\\r\\\\\\x01\\x7f'"},
      {"\xc2\xa0\xc2\xad\xc3\xa9", "'\\xa0\\xad\xc3\xa9'"},
      {"\xe2\x80\x83\xef\xbb\xbf\xe3\x80\x80", "'\\u2003\\ufeff\\u3000'"},
      {"\xf0\x9f\x98\x80", "'\xf0\x9f\x98\x80'"},
      {"\xf0\x9f\x98", "b'\\xf0\\x9f\\x98'"},
      {"a'\xff", "b\"a'\\xff\""},
      {"\xed\xa0\x80", "b'\\xed\\xa0\\x80'"},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    char literal[64], bytes[64];
    size_t n = strlen(pairs[i].bytes), size;
    literal[literal_write(pairs[i].bytes, n, literal)] = '\0';
    assert_string_equal(literal, pairs[i].literal);
    assert_int_equal(literal_read(literal, strlen(literal), bytes, &size), STATUS_OK);
    assert_int_equal(size, n);
    assert_memory_equal(bytes, pairs[i].bytes, n);
  }
}

/* Pushes the text in pieces of `step` bytes and joins what comes out. */
static void stream_text(utf8_damage damage, const char *text, size_t step, const char *expected) {
  utf8_stream stream = {.damage = damage};
  char out[256];
  size_t n = strlen(text), used = 0;
  for (size_t i = 0; i < n; i += step) {
    used += utf8_stream_push(&stream, text + i, n - i < step ? n - i : step, out + used);
    if (damage == UTF8_REPLACE) assert_true(utf8_valid(out, used));
    assert_true(stream.n_held <= 3);
  }
  used += utf8_stream_finish(&stream, out + used);
  assert_int_equal(stream.n_held, 0);
  out[used] = '\0';
  assert_string_equal(out, expected);
}

static void test_stream(void **state) {
  (void)state;
#define FFFD "\xef\xbf\xbd"
  static const struct {
    const char *text, *replaced;
  } cases[] = {
      {"plain", "plain"},
      {"a\xc3\xa9\xe3\x81\x82\xf0\x9f\x98\x80z", "a\xc3\xa9\xe3\x81\x82\xf0\x9f\x98\x80z"},
      {"a\xff"
       "b",
       "a" FFFD "b"},
      {"\xe3\x81", FFFD},
      {"\xe3\x81x", FFFD "x"},
      {"\xf0\x9f\x98\xe3\x81\x82", FFFD "\xe3\x81\x82"},
      {"\xc0\xaf", FFFD FFFD},
      {"\xed\xa0\x80", FFFD FFFD FFFD},
      {"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD},
      {"\xe0\x80\x80", FFFD FFFD FFFD},
      {"\x80\x80", FFFD FFFD},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (size_t step = 1; step < 6; step++) {
      stream_text(UTF8_REPLACE, cases[i].text, step, cases[i].replaced);
      stream_text(UTF8_RAW, cases[i].text, step, cases[i].text);
    }
  utf8_stream stream = {.damage = UTF8_REPLACE};
  char out[UTF8_STREAM_ROOM(4)];
  assert_int_equal(utf8_stream_push(&stream, "a\xe3\x81", 3, out), 1); /* held back until it is whole */
  assert_int_equal(utf8_stream_push(&stream, "", 0, out), 0);
  assert_int_equal(utf8_stream_push(&stream, "\x82", 1, out), 3);
  assert_memory_equal(out, "\xe3\x81\x82", 3);
}

/* -- Building ------------------------------------------------------------------------------------------------------ */

static const char *const captions[] = {"a red apple and two dogs", "a dog's bowl and a red apple",
                                       "two red dogs, a t-shirt", "dogs"};

static string build(const int *order, uint32_t max_entries) {
  vocabulary_builder *b = vocabulary_builder_new();
  assert_non_null(b);
  static const char *const pieces[] = {"\n\n", "User:", "Assistant:", "User:", "a", " red"};
  for (size_t i = 0; i < 6; i++) assert_int_equal(vocabulary_add_piece(b, pieces[i], strlen(pieces[i])), STATUS_OK);
  for (int i = 0; i < 4; i++)
    assert_int_equal(vocabulary_add_text(b, captions[order[i]], strlen(captions[order[i]])), STATUS_OK);
  string s;
  assert_int_equal(vocabulary_write(b, max_entries, &s.text, &s.n), STATUS_OK);
  vocabulary_builder_free(b);
  return s;
}

static void test_builder(void **state) {
  (void)state;
  /* " red" is a piece; then by count and bytes. "a" and " a": one byte needs no entry, " a" does. */
  static const char *const expected[] = {"\n\n",  "User:", "Assistant:", " red",     " a",   " and", " apple",
                                         " dogs", " bowl", " dog's",     " t-shirt", " two", "dogs", "two"};
  string s = build((const int[]){0, 1, 2, 3}, 3000), other = build((const int[]){3, 2, 0, 1}, 3000);
  assert_string_equal(s.text, other.text);
  tokenizer *t = tokenizer_parse(s.text, s.n, "own");
  if (!t) fail_msg("%s", last_error());
  assert_int_equal(tokenizer_size(t), 1 + 256 + 14);
  for (int i = 0; i < 256; i++) {
    size_t n;
    const char *bytes = tokenizer_bytes(t, i + 1, &n);
    assert_int_equal(n, 1);
    assert_int_equal((uint8_t)*bytes, i);
  }
  for (int i = 0; i < 14; i++) {
    size_t n;
    const char *bytes = tokenizer_bytes(t, 257 + i, &n);
    assert_int_equal(n, strlen(expected[i]));
    assert_memory_equal(bytes, expected[i], n);
  }
  EXPECT_IDS(t, "a red apple and a dog", 'a' + 1, 260, 263, 262, 261, 33, 'd' + 1, 'o' + 1, 'g' + 1);
  EXPECT_IDS(t, "User: two dogs.\n\nAssistant:", 258, 268, 264, '.' + 1, 257, 259);
  tokenizer_free(t);
  free(s.text);
  free(other.text);

  s = build((const int[]){0, 1, 2, 3}, 256 + 6);
  assert_non_null(t = tokenizer_parse(s.text, s.n, "small"));
  assert_int_equal(tokenizer_size(t), 1 + 256 + 6);
  EXPECT_IDS(t, " and a", 262, 261);
  tokenizer_free(t);
  free(s.text);
}

static void test_builder_refuses(void **state) {
  (void)state;
  vocabulary_builder *b = vocabulary_builder_new();
  string s;
  assert_int_equal(vocabulary_add_piece(b, "", 0), STATUS_ARGUMENT);
  assert_int_equal(vocabulary_add_piece(b, "\n\n", 2), STATUS_OK);
  assert_int_equal(vocabulary_write(b, 256, &s.text, &s.n), STATUS_ARGUMENT);
  assert_int_equal(vocabulary_write(b, 257, &s.text, &s.n), STATUS_OK);
  free(s.text);
  vocabulary_builder_free(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_greedy),          cmocka_unit_test(test_capacity_and_unknown_ids),
      cmocka_unit_test(test_any_kind),        cmocka_unit_test(test_line_ends),
      cmocka_unit_test(test_arbitrary_bytes), cmocka_unit_test(test_malformed),
      cmocka_unit_test(test_world),           cmocka_unit_test(test_literals),
      cmocka_unit_test(test_stream),          cmocka_unit_test(test_builder),
      cmocka_unit_test(test_builder_refuses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
