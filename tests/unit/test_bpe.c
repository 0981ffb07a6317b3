/* Byte-level BPE: its merges against the definition, its split, its added tokens, its file; and the Unicode under it.
 *
 * Two tests need the published GPT-NeoX vocabulary, which is not part of this repository: they run where that lies at
 * ../shared/vocab beside the source tree. (Texts and their published ids are golden cases: scripts/golden.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/tokenizer.h"
#include "data/unicode.h"
#include "tests/support/bpe_skeleton.h"

#include <cmocka.h> /* after our own: it makes a macro of fail() */

static const char neox_path[] = "../shared/vocab/20B_tokenizer.json";

/* -- Helpers ------------------------------------------------------------------------------------------------------- */

static tokenizer *parse_with(const char *vocab, const char *merges, const char *added) {
  char *text = malloc(BPE_SKELETON_ROOM + strlen(vocab) + strlen(merges) + strlen(added));
  tokenizer *t = tokenizer_parse(text, bpe_skeleton(vocab, merges, added, text), "test.json");
  free(text);
  return t;
}

/* The tokens of a text with bars between, "he|llo". */
static void expect_pieces(const tokenizer *t, const char *text, const char *expected) {
  char pieces[256] = "";
  int32_t *ids;
  size_t count, n, at = 0;
  assert_int_equal(tokenizer_ids(t, text, strlen(text), &ids, &count), STATUS_OK);
  for (size_t i = 0; i < count; i++) {
    const char *bytes = tokenizer_bytes(t, ids[i], &n);
    assert_true(at + n + 2 < sizeof pieces);
    if (i) pieces[at++] = '|';
    memcpy(pieces + at, bytes, n);
    pieces[at += n] = '\0';
  }
  free(ids);
  assert_string_equal(pieces, expected);
}

static void skip_without_neox(void) {
  if (access(neox_path, R_OK) == 0) return;
  print_message("skipped: the GPT-NeoX vocabulary is not at %s\n", neox_path);
  skip();
}

/* -- Merges -------------------------------------------------------------------------------------------------------- */

static void test_merges(void **state) {
  (void)state;
  /* "hell" cannot come about: "el" is before "he", and nothing joins "h" and "el". */
  tokenizer *t = parse_with(", \"ll\": 257, \"el\": 258, \"he\": 259, \"hell\": 260, \"aa\": 261, \"aaa\": 262",
                            "\"e l\", [\"l\", \"l\"], \"h e\", \"he ll\", \"a a\", \"aa a\"", "");
  if (!t) fail_msg("%s", last_error());
  assert_int_equal(tokenizer_kind_of(t), TOKENIZER_KIND_BPE);
  assert_int_equal(tokenizer_size(t), 263);
  expect_pieces(t, "", "");
  expect_pieces(t, "hello", "h|el|l|o");
  expect_pieces(t, "hell", "h|el|l");
  expect_pieces(t, "helll", "h|el|ll");
  expect_pieces(t, "heh", "he|h");
  expect_pieces(t, "a", "a");
  expect_pieces(t, "aaa", "aaa");
  expect_pieces(t, "aaaa", "aa|aa"); /* both pairs are merged before the later rule */
  expect_pieces(t, "aaaaa", "aa|aaa");
  int32_t ids[3] = {-7, -7, -7};
  assert_int_equal(tokenizer_encode(t, "helll", 5, ids, 2), 3);
  assert_int_equal(ids[1], 258);
  assert_int_equal(ids[2], -7);
  assert_int_equal(tokenizer_encode(t, NULL, 0, NULL, 0), 0);
  assert_int_equal(tokenizer_room(t, 5), 15);
  tokenizer_free(t);
}

enum { LETTERS = 3, MADE = 24, LONG = 400 };

typedef struct {
  char text[MADE + LETTERS][600];
  int left[MADE], right[MADE];
} grammar;

/* Merges by the definition: the first rule that some neighbours fit, its leftmost place, again and again. */
static size_t merge_slowly(const grammar *g, int *token, size_t n) {
  for (;;) {
    size_t at = n;
    int rule = 0;
    for (; rule < MADE && at == n; rule++)
      for (size_t i = 0; i + 1 < n && at == n; i++)
        if (token[i] == g->left[rule] && token[i + 1] == g->right[rule]) at = i;
    if (at == n) return n;
    token[at] = LETTERS + rule - 1;
    memmove(token + at + 1, token + at + 2, (n - at - 2) * sizeof *token);
    n--;
  }
}

/* Random rules over three letters, some of which make what other rules make too. */
static void make_grammar(grammar *g, rng *random, char *vocab, char *merges) {
  for (int i = 0; i < LETTERS; i++) snprintf(g->text[i], 600, "%c", 'a' + i);
  *vocab = *merges = '\0';
  for (int made = 0, tries = 0; made < MADE; tries++) {
    const int known = LETTERS + made, left = (int)rng_below(random, (uint32_t)known),
              right = (int)rng_below(random, (uint32_t)known);
    char *text = g->text[known];
    if (strlen(g->text[left]) + strlen(g->text[right]) > 40) continue;
    snprintf(text, 600, "%s%s", g->text[left], g->text[right]);
    bool is_new = true;
    for (int i = 0; i < known; i++) is_new = is_new && strcmp(g->text[i], text);
    if (!is_new) continue;
    g->left[made] = left;
    g->right[made] = right;
    sprintf(vocab + strlen(vocab), ", \"%s\": %d", text, BPE_FIRST + made);
    sprintf(merges + strlen(merges), "%s\"%s %s\"", made ? "," : "", g->text[left], g->text[right]);
    made++;
  }
}

static void test_merges_against_definition(void **state) {
  (void)state;
  static grammar g;
  static char vocab[MADE * 80], merges[MADE * 120];
  rng random = rng_make(11, 0);
  for (int round = 0; round < 60; round++) {
    make_grammar(&g, &random, vocab, merges);
    tokenizer *t = parse_with(vocab, merges, "");
    if (!t) fail_msg("%s", last_error());
    for (int i = 0; i < 20; i++) {
      char text[LONG];
      int token[LONG];
      int32_t ids[LONG];
      const size_t n = 1 + rng_below(&random, i < 10 ? 30 : LONG - 1);
      const uint32_t letters = 1 + rng_below(&random, LETTERS);
      for (size_t k = 0; k < n; k++) text[k] = (char)('a' + (token[k] = (int)rng_below(&random, letters)));
      const size_t want = merge_slowly(&g, token, n);
      assert_int_equal(tokenizer_encode(t, text, n, ids, LONG), want);
      for (size_t k = 0; k < want; k++)
        assert_int_equal(ids[k], token[k] < LETTERS ? BPE_BYTE('a' + token[k]) : BPE_FIRST + token[k] - LETTERS);
    }
    tokenizer_free(t);
  }
}

/* -- The split ----------------------------------------------------------------------------------------------------- */

/* Everything joins with everything in rules that prefer what the split must part; so tokens are pieces. */
static tokenizer *greedy(void) {
  static const char letters[] = "ab1.'s\n "; /* the last two are written as the file writes them */
  static const char *const written[] = {"a", "b", "1", ".", "'", "s", "\xc4\x8a", "\xc4\xa0"};
  enum { N = sizeof letters - 1 };
  char *vocab = calloc(1, 64 << 10), *merges = calloc(1, 64 << 10);
  int id = BPE_FIRST;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      sprintf(vocab + strlen(vocab), ", \"%s%s\": %d", written[i], written[j], id++);
      sprintf(merges + strlen(merges), "%s\"%s %s\"", *merges ? "," : "", written[i], written[j]);
    }
  for (int i = 0; i < N * N; i++)
    for (int j = 0; j < N; j++) {
      sprintf(vocab + strlen(vocab), ", \"%s%s%s\": %d", written[i / N], written[i % N], written[j], id++);
      sprintf(merges + strlen(merges), ",\"%s%s %s\",\"%s %s%s\"", written[i / N], written[i % N], written[j],
              written[i / N], written[i % N], written[j]);
    }
  tokenizer *t = parse_with(vocab, merges, "");
  free(vocab), free(merges);
  return t;
}

static void test_split(void **state) {
  (void)state;
  tokenizer *t = greedy();
  if (!t) fail_msg("%s", last_error());
  static const char *const cases[][2] = {
      {"ab ab", "ab| ab"},
      {"ab1", "ab|1"},
      {"1.a", "1|.|a"},
      {" 1 .", " 1| ."},
      {"a's", "a|'s"},
      {"'s's", "'s|'s"},
      {"'ss", "'s|s"},
      {"'a", "'|a"},
      {" 's", " '|s"}, /* the blank takes the apostrophe, and the contraction is none */
      {".'s", ".'|s"},
      {"'", "'"},
      {"a  a", "a| | a"},
      {"a   a", "a|  | a"},
      {"a \na", "a| |\n|a"}, /* only a blank goes with the word */
      {"a\n\na", "a|\n|\n|a"},
      {"a\n a", "a|\n| a"},
      {"a  ", "a|  "},
      {"  ", "  "},
      {" ", " "},
      {" \n", " \n"},
      {"\n.", "\n|."},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_pieces(t, cases[i][0], cases[i][1]);
  tokenizer_free(t);

  /* Letters and numbers beyond ASCII: the blank joins none of two others. */
  t = parse_with(", \"\xc4\xa0\xc3\xa7\": 257, \"\xc3\xa7\xc4\xa0\": 258",
                 "\"\xc3\xa7 \xc4\xa0\", \"\xc4\xa0 \xc3\xa7\"", "");
  if (!t) fail_msg("%s", last_error()); /* byte 0xe7 begins Chinese characters */
  expect_pieces(t, "a \xe7\x94\xb2", "a| \xe7|\x94|\xb2");
  tokenizer_free(t);
}

static void test_classes(void **state) {
  (void)state;
  static const struct {
    uint32_t code;
    unicode_class class;
  } cases[] = {
      {'a', UNICODE_LETTER},    {0xaa, UNICODE_LETTER},   {0x1c5, UNICODE_LETTER},   {0x2b0, UNICODE_LETTER},
      {0x4e00, UNICODE_LETTER}, {0x3042, UNICODE_LETTER}, {0x20000, UNICODE_LETTER}, {'7', UNICODE_NUMBER},
      {0xbd, UNICODE_NUMBER},   {0x663, UNICODE_NUMBER},  {0x2167, UNICODE_NUMBER},  {' ', UNICODE_SPACE},
      {'\n', UNICODE_SPACE},    {'\v', UNICODE_SPACE},    {0x85, UNICODE_SPACE},     {0xa0, UNICODE_SPACE},
      {0x1680, UNICODE_SPACE},  {0x2003, UNICODE_SPACE},  {0x2028, UNICODE_SPACE},   {0x3000, UNICODE_SPACE},
      {0, UNICODE_OTHER},       {0x1c, UNICODE_OTHER},    {0x200b, UNICODE_OTHER},   {0x180e, UNICODE_OTHER},
      {0x301, UNICODE_OTHER},   {0x1f600, UNICODE_OTHER}, {0xe000, UNICODE_OTHER},   {0x10ffff, UNICODE_OTHER},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (unicode_class_of(cases[i].code) != cases[i].class) fail_msg("U+%04X is in another class", cases[i].code);
}

/* -- Normal form C ------------------------------------------------------------------------------------------------- */

/* From and to code points, up to a 0. */
static void expect_nfc(const uint32_t *from, const uint32_t *to) {
  char text[256], want[256], *out;
  size_t n = 0, n_want = 0, size;
  for (; *from; from++) n += (size_t)utf8_put(*from, text + n);
  for (; *to; to++) n_want += (size_t)utf8_put(*to, want + n_want);
  assert_int_equal(unicode_nfc(text, n, &out, &size), STATUS_OK);
  assert_int_equal(size, n_want);
  assert_memory_equal(out ? out : text, want, size);
  assert_true(size <= UNICODE_NFC_GROWTH * n);
  free(out);
}

static void test_nfc(void **state) {
  (void)state;
  static const uint32_t cases[][2][8] = {
      {{'a'}, {'a'}},
      {{0xe9}, {0xe9}},
      {{'e', 0x301}, {0xe9}},
      {{'x', 'e', 0x301, 'y'}, {'x', 0xe9, 'y'}},
      {{0x301, 'e'}, {0x301, 'e'}}, /* nothing before it */
      {{0x212b}, {0xc5}},           /* one that always changes */
      {{0x958}, {0x915, 0x93c}},    /* excluded from composition */
      {{0x1d160}, {0x1d158, 0x1d165, 0x1d16e}},
      {{'a', 0x302, 0x323}, {0x1ead}}, /* marks change places, then join */
      {{'a', 0x323, 0x302}, {0x1ead}},
      {{'a', 0x327, 0x301}, {0xe1, 0x327}}, /* joins over another class */
      {{'q', 0x307, 0x323}, {'q', 0x323, 0x307}},
      {{'a', 0x301, 0x301}, {0xe1, 0x301}}, /* the second is blocked */
      {{0x304b, 0x3099}, {0x304c}},
      {{0x1100, 0x1161, 0x11a8}, {0xac01}}, /* Hangul */
      {{0xac00, 0x11a8}, {0xac01}},
      {{0xac01, 0x11a8}, {0xac01, 0x11a8}},
      {{0xac00, 0x11a7}, {0xac00, 0x11a7}}, /* next to the final consonants, and none */
      {{0x1100, 0x1175, 0x11c2, 0x1100}, {0xae4b, 0x1100}},
      {{0x9c7, 0x9be}, {0x9cb}}, /* a mark of class 0 */
      {{0x110000 - 1}, {0x10ffff}},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) expect_nfc(cases[i][0], cases[i][1]);
}

/* A million marks on one letter: their order is that of their classes, and of the text within one. */
static void test_nfc_many_marks(void **state) {
  (void)state;
  enum { PAIRS = 500000 };
  char *text = malloc(1 + 4 * PAIRS), *out;
  size_t n = 1, size;
  text[0] = 'q';
  for (int i = 0; i < PAIRS; i++) n += (size_t)utf8_put(0x307, text + n), n += (size_t)utf8_put(0x323, text + n);
  assert_int_equal(unicode_nfc(text, n, &out, &size), STATUS_OK);
  assert_non_null(out);
  assert_int_equal(size, n);
  uint32_t code;
  for (size_t i = 0; i < 2 * PAIRS; i++) {
    assert_int_equal(utf8_next(out + 1 + 2 * i, 2, &code), 2);
    assert_int_equal(code, i < PAIRS ? 0x323 : 0x307);
  }
  free(out), free(text);
}

/* -- Added tokens, damaged text ------------------------------------------------------------------------------------ */

#define ADDED(id, content, normal)                                                                                     \
  "{\"id\":" id ",\"content\":\"" content "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"                \
  "\"normalized\":" normal ",\"special\":false}"

static void test_added(void **state) {
  (void)state;
  tokenizer *t = parse_with(
      ", \"\xc4\xa0"
      "a\": 257",
      "\"\xc4\xa0 a\"",
      ADDED("0", "<|endoftext|>", "false") "," ADDED("260", "  ", "true") "," ADDED("258", "    ", "true") "," ADDED(
          "259", "<|end", "false") "," ADDED("261", "e\xcc\x81!", "true") "," ADDED("262", "e\xcc\x81?", "false"));
  if (!t) fail_msg("%s", last_error());
  assert_int_equal(tokenizer_size(t), 263);
  expect_pieces(t, "a  a", "a|  |a"); /* the word behind has no blank left */
  expect_pieces(t, "a   a", "a|  | a");
  expect_pieces(t, "a     a", "a|    | a");
  expect_pieces(t, "       ", "    |  | ");
  expect_pieces(t, "a<|endoftext|>a", "a|<|endoftext|>|a");
  expect_pieces(t, "<|endof", "<|end|o|f");
  expect_pieces(t, "<|en", "<|||e|n");
  expect_pieces(t, " <|endoftext|> a", " |<|endoftext|>| a");
  expect_pieces(t, "\xc3\xa9!", "e\xcc\x81!"); /* matched in the normal form, and decoded as it is written */
  expect_pieces(t, "e\xcc\x81!", "e\xcc\x81!");
  expect_pieces(t, "e\xcc\x81?", "e\xcc\x81?"); /* matched before that */
  expect_pieces(t, "\xc3\xa9?", "\xc3|\xa9|?");
  expect_pieces(t, "e<|end\xcc\x81", "e|<|end|\xcc|\x81"); /* a mark does not join across a token */
  int32_t ids[4];
  assert_int_equal(tokenizer_encode(t, "<|endoftext|>", 13, ids, 4), 1);
  assert_int_equal(ids[0], TOKENIZER_END);
  tokenizer_free(t);
}

static void test_damaged_text(void **state) {
  (void)state;
  tokenizer *t = parse_with("", "", "");
  static const char *const cases[][2] = {
      {"a\xff", "a\xef\xbf\xbd"},
      {"\xe3\x81", "\xef\xbf\xbd"},
      {"\xe3\x81x\x80\xc3\xa9", "\xef\xbf\xbdx\xef\xbf\xbd\xc3\xa9"},
      {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xff\xff\xff\xff", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int32_t *ids;
    size_t count, n;
    char *text;
    assert_int_equal(tokenizer_ids(t, cases[i][0], strlen(cases[i][0]), &ids, &count), STATUS_OK);
    assert_true(count <= tokenizer_room(t, strlen(cases[i][0])));
    assert_int_equal(tokenizer_decode(t, ids, count, &text, &n), STATUS_OK);
    assert_string_equal(text, cases[i][1]);
    free(text), free(ids);
  }
  int32_t ids[3];
  assert_int_equal(tokenizer_encode(t, "a\0b", 3, ids, 3), 3);
  assert_int_equal(ids[1], BPE_BYTE(0));
  tokenizer_free(t);
}

/* -- The file ------------------------------------------------------------------------------------------------------ */

static void refuse(const char *text, size_t n, const char *expected) {
  tokenizer *t = tokenizer_parse(text, n, "bad.json");
  if (t) fail_msg("accepted, though: %s", expected);
  if (strncmp(last_error(), "bad.json: ", 10) || !strstr(last_error(), expected))
    fail_msg("\"%s\" does not say \"%s\"", last_error(), expected);
}

static void test_malformed_parts(void **state) {
  (void)state;
  static const struct {
    const char *vocab, *merges, *added, *says;
  } bad[] = {
      {", \"ab\": 258", "", "", "the id of the token ab is not one of 0 to 257"},
      {", \"ab\": -1", "", "", "the id of the token ab is not one of"},
      {", \"ab\": 9999999999999", "", "", "the id of the token ab is not one of"},
      {", \"ab\": 257.0", "", "", "the id of the token ab is not one of"},
      {", \"ab\": \"257\"", "", "", "the id of the token ab is not one of"},
      {", \"ab\": 66", "", "", "both have the id 66"},
      {", \"ab\": 257, \"ab\": 258", "", "", "duplicate object key"},
      {", \"\": 257", "", "", "(id 257) is not written as"},
      {", \"a b\": 257", "", "", "a b (id 257) is not written as"},
      {", \"\xe7\x94\xb2\": 257", "", "", "(id 257) is not written as"},
      {", \"\xff\": 257", "", "", "unable to decode byte"},
      {", \"a\\u0000\": 257", "", "", "line 1: "},
      {", \"ab\": 257", "\"a c\"", "", "merge 0 makes no token"},
      {", \"ab\": 257", "\"a b\", \"ab c\"", "", "merge 1 makes no token"},
      {", \"ab\": 257", "\"bc a\"", "", "merge 0 joins bc, which is no token"},
      {", \"ab\": 257", "\"a bc\"", "", "merge 0 joins bc, which is no token"},
      {", \"ab\": 257", "\"a  b\"", "", "merge 0 joins  b, which is no token"},
      {", \"ab\": 257", "\"ab \"", "", "merge 0 joins , which is no token"},
      {", \"ab\": 257", "\"ab\"", "", "merge 0 is not a pair"},
      {", \"ab\": 257", "[\"a\"]", "", "merge 0 is not a pair"},
      {", \"ab\": 257", "[\"a\", \"b\", \"c\"]", "", "merge 0 is not a pair"},
      {", \"ab\": 257", "[\"a\", 7]", "", "merge 0 is not a pair"},
      {", \"ab\": 257", "7", "", "merge 0 is not a pair"},
      {", \"ab\": 257", "\"a b\", \"a b\"", "", "merges 0 and 1 join the same pair"},
      {"", "", ADDED("258", "x", "true"), "the id of the added token x does not follow"},
      {"", "", ADDED("-1", "x", "true"), "the id of the added token x does not follow"},
      {"", "", ADDED("1e3", "x", "true"), "the id of the added token x does not follow"},
      {"", "", ADDED("99999999999", "x", "true"), "the id of the added token x does not follow"},
      {"", "", ADDED("258", "x", "true") "," ADDED("1", "y", "true"),
       "the added token y has the id of another token, 1"},
      {"", "", ADDED("257", "xx", "true") "," ADDED("257", "yy", "true"), "two added tokens have the id 257"},
      {"", "", ADDED("257", "xx", "true") "," ADDED("258", "xx", "true"), "ids 257 and 258 are the same"},
      {"", "", ADDED("258", "xx", "true") "," ADDED("0", "<|endoftext|>", "true"), "the added tokens have a gap"},
      {"", "", ADDED("257", "", "true"), "an added token has no content"},
      {"", "", ADDED("257", "x", "7"), "does not say whether it is normalized"},
      {"", "", "{\"id\":257,\"content\":\"xx\"}", "xx does not say that single_word is false"},
      {"", "", "7", "an added token has no content"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    char text[BPE_SKELETON_ROOM + 1024];
    const size_t n = bpe_skeleton(bad[i].vocab, bad[i].merges, bad[i].added, text);
    refuse(text, n, bad[i].says);
  }
}

/* The skeleton with one string in place of another. */
static size_t changed(const char *from, const char *to, char *out) {
  char text[BPE_SKELETON_ROOM];
  bpe_skeleton("", "", "", text);
  char *found = strstr(text, from);
  assert_non_null(found);
  return (size_t)sprintf(out, "%.*s%s%s", (int)(found - text), text, to, found + strlen(from));
}

static void test_other_pipelines(void **state) {
  (void)state;
  static const char *const bad[][3] = {
      {"\"BPE\"", "\"Unigram\"", "its model is Unigram, and only BPE can be done"},
      {"\"type\":\"BPE\"", "\"t\":7", "it has no model, and only BPE"},
      {"\"NFC\"", "\"NFKC\"", "its normalizer is NFKC, and only NFC can be done"},
      {"{\"type\":\"NFC\"}", "null", "it has no normalizer, and only NFC"},
      {"{\"type\":\"NFC\"}", "[{}]", "it has no normalizer, and only NFC"},
      {"\"ByteLevel\",\"add", "\"Metaspace\",\"add", "its pre_tokenizer is Metaspace"},
      {"\"decoder\":{\"type\":\"ByteLevel\"}", "\"decoder\":{\"type\":\"WordPiece\"}", "its decoder is WordPiece"},
      {"\"decoder\":", "\"post_processor\":{\"type\":\"TemplateProcessing\"},\"decoder\":",
       "its post_processor is TemplateProcessing"},
      {"\"add_prefix_space\":false", "\"add_prefix_space\":true", "add_prefix_space is false"},
      {"\"add_prefix_space\":false", "\"trim_offsets\":true", "add_prefix_space is false"},
      {"_space\":false", "_space\":false,\"use_regex\":false", "use_regex"},
      {"\"decoder\"", "\"truncation\":{},\"decoder\"", "it asks for truncation"},
      {"\"decoder\"", "\"padding\":{},\"decoder\"", "it asks for padding"},
      {"\"vocab\"", "\"dropout\":0.1,\"vocab\"", "the option dropout"},
      {"\"vocab\"", "\"unk_token\":\"<unk>\",\"vocab\"", "the option unk_token"},
      {"\"vocab\"", "\"end_of_word_suffix\":\"_\",\"vocab\"", "the option end_of_word_suffix"},
      {"\"vocab\"", "\"continuing_subword_prefix\":\"##\",\"vocab\"", "the option continuing_subword_prefix"},
      {"\"vocab\"", "\"byte_fallback\":true,\"vocab\"", "the option byte_fallback"},
      {"\"vocab\"", "\"ignore_merges\":true,\"vocab\"", "the option ignore_merges"},
      {"\"vocab\"", "\"v\"", "its model has no vocab"},
      {"\"merges\"", "\"m\"", "its model has no list of merges"},
      {"\"merges\":[", "\"merges\":{},\"m\":[", "its model has no list of merges"},
      {"\"a\":98", "\"aa\":98", "no token is the single byte 0x61"},
      {"\"a\":98", "\"a\":98,", "line 1: "},
  };
  char text[BPE_SKELETON_ROOM + 256];
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) refuse(text, changed(bad[i][0], bad[i][1], text), bad[i][2]);
  static const char *const good[][2] = {
      {"\"vocab\"", "\"dropout\":null,\"fuse_unk\":false,\"end_of_word_suffix\":\"\",\"vocab\""},
      {"_space\":false", "_space\":false,\"use_regex\":true"},
      {"\"decoder\":", "\"post_processor\":{\"type\":\"ByteLevel\"},\"truncation\":null,\"decoder\":"},
      {"\"\xc3\xbf\":256", "\"ab\":256"}, /* no text has the byte 0xff */
      {"{", " \n{"},
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    tokenizer *t = tokenizer_parse(text, changed(good[i][0], good[i][1], text), "good.json");
    if (!t) fail_msg("%s", last_error());
    tokenizer_free(t);
  }
}

static void test_hostile_bytes(void **state) {
  (void)state;
  char text[BPE_SKELETON_ROOM + 1024];
  const size_t n = bpe_skeleton(", \"ab\": 257", "\"a b\"", ADDED("258", "  ", "true"), text);
  for (size_t i = 0; i < n; i++) refuse(text, i, i ? "line" : "0x00"); /* nothing is a World vocabulary */
  rng random = rng_make(3, 0);
  for (int i = 0; i < 3000; i++) {
    const size_t at = rng_below(&random, (uint32_t)n);
    const char was = text[at];
    text[at] = (char)rng_below(&random, 256);
    tokenizer *t = tokenizer_parse(text, n, "flipped.json");
    if (t) {
      int32_t ids[64];
      assert_true(tokenizer_encode(t, "ab  a b<|endoftext|>", 20, ids, 64) <= 20);
      for (size_t k = 0; k < 3; k++) assert_true(ids[k] >= 0 && (uint32_t)ids[k] < tokenizer_size(t));
    } else {
      assert_true(strlen(last_error()) > 10 && !strchr(last_error(), '\n'));
    }
    tokenizer_free(t);
    text[at] = was;
  }
  char *deep = malloc(4 << 20);
  memset(deep, '[', 4 << 20);
  memcpy(deep, "{\"a\":", 5);
  refuse(deep, 4 << 20, "brackets");
  refuse(deep, 1 << 20, "line 1: maximum parsing depth");
  free(deep);
  deep = calloc(1, TOKENIZER_MAX_TEXT + 1);
  refuse(deep, TOKENIZER_MAX_TEXT + 1, "too many for a vocabulary");
  deep[0] = '{';
  refuse(deep, 1000, "line 1");
  free(deep);
}

static void expect_same_text(const tokenizer *t, const char *text, size_t n) {
  tokenizer *same = tokenizer_parse(text, n, "canonical");
  if (!same) fail_msg("%s", last_error());
  assert_int_equal(tokenizer_size(same), tokenizer_size(t));
  char *again;
  size_t n_again;
  assert_int_equal(tokenizer_text(same, &again, &n_again), STATUS_OK);
  assert_int_equal(n_again, n);
  assert_memory_equal(again, text, n);
  free(again);
  tokenizer_free(same);
}

static void test_text(void **state) {
  (void)state;
  tokenizer *t = parse_with(", \"ab\": 257, \"abc\": 258", "[\"a\", \"b\"], \"ab c\"",
                            ADDED("0", "<|endoftext|>", "false") "," ADDED("259", "  ", "true"));
  char *text;
  size_t n;
  assert_int_equal(tokenizer_text(t, &text, &n), STATUS_OK);
  assert_non_null(strstr(text, "\"merges\":[\"a b\",\"ab c\"]"));
  expect_same_text(t, text, n);
  free(text);
  tokenizer_free(t);
}

/* -- The published vocabulary -------------------------------------------------------------------------------------- */

static void test_neox(void **state) {
  (void)state;
  skip_without_neox();
  tokenizer *t = tokenizer_open(neox_path);
  if (!t) fail_msg("%s", last_error());
  assert_int_equal(tokenizer_size(t), 50277);
  static const struct {
    const char *text;
    int32_t id[2];
  } known[] = {{"\n", {187, -1}},          {"\n\n", {535, -1}},        {"Hello world", {12092, 1533}},
               {"<|endoftext|>", {0, -1}}, {"<|padding|>", {1, -1}},   {"  ", {50276, -1}},
               {"   ", {50275, -1}},       {"<|padding|>\n", {1, 187}}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    int32_t ids[2] = {-1, -1};
    tokenizer_encode(t, known[i].text, strlen(known[i].text), ids, 2);
    assert_int_equal(ids[0], known[i].id[0]);
    assert_int_equal(ids[1], known[i].id[1]);
  }
  char *text;
  size_t n;
  assert_int_equal(tokenizer_text(t, &text, &n), STATUS_OK);
  expect_same_text(t, text, n);
  free(text);
  tokenizer_free(t);
}

/* A word of a million letters, and one of few: what the definition would take hours for. */
static void test_neox_long_piece(void **state) {
  (void)state;
  skip_without_neox();
  enum { N = 1000000 };
  tokenizer *t = tokenizer_open(neox_path);
  char *text = malloc(N), *back;
  rng random = rng_make(5, 0);
  for (int kind = 0; kind < 2; kind++) {
    for (int i = 0; i < N; i++) text[i] = kind ? 'a' : (char)('a' + rng_below(&random, 26));
    int32_t *ids;
    size_t count, n;
    assert_int_equal(tokenizer_ids(t, text, N, &ids, &count), STATUS_OK);
    assert_true(count > 0 && count < N);
    assert_int_equal(tokenizer_decode(t, ids, count, &back, &n), STATUS_OK);
    assert_int_equal(n, N);
    assert_memory_equal(back, text, N);
    free(back), free(ids);
  }
  free(text);
  tokenizer_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_merges),
      cmocka_unit_test(test_merges_against_definition),
      cmocka_unit_test(test_split),
      cmocka_unit_test(test_classes),
      cmocka_unit_test(test_nfc),
      cmocka_unit_test(test_nfc_many_marks),
      cmocka_unit_test(test_added),
      cmocka_unit_test(test_damaged_text),
      cmocka_unit_test(test_malformed_parts),
      cmocka_unit_test(test_other_pipelines),
      cmocka_unit_test(test_hostile_bytes),
      cmocka_unit_test(test_text),
      cmocka_unit_test(test_neox),
      cmocka_unit_test(test_neox_long_piece),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
