/* CLIP's tokenizer: its files, its split, its words' ends, the context of 77.
 *
 * One test needs the published vocabulary, which is not part of this repository: it runs where that lies at
 * ../shared/vocab beside the source tree. (Texts and their published ids are a golden case: scripts/golden.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "data/byte_map.h"
#include "data/clip_bpe.h"
#include "data/gzip.h"
#include "tests/support/clip_skeleton.h"

#include <cmocka.h> /* after our own: it makes a macro of fail() */

static const char published[] = "../shared/vocab/bpe_simple_vocab_16e6.txt.gz";

/* -- Helpers ------------------------------------------------------------------------------------------------------- */

static tokenizer *parse(const char *text) {
  tokenizer *t = tokenizer_parse(text, strlen(text), "test");
  if (!t) fail_msg("%s", last_error());
  assert_int_equal(tokenizer_kind_of(t), TOKENIZER_KIND_CLIP);
  return t;
}

static void expect_refused(const char *text, size_t n, const char *sentence) {
  assert_null(tokenizer_parse(text, n, "test"));
  if (!strstr(last_error(), sentence)) fail_msg("'%s' does not say '%s'", last_error(), sentence);
}

/* The tokens of a text with bars between, "the |c|at "; start and end are spelt as OpenCLIP does. */
static void expect_pieces(const tokenizer *t, const char *text, const char *want) {
  char pieces[256] = "";
  int32_t *ids;
  size_t count, n, at = 0;
  assert_int_equal(clip_ids(t, CLIP_SPELT_OPENCLIP, text, strlen(text), &ids, &count), STATUS_OK);
  assert_true(count <= tokenizer_room(t, strlen(text)));
  for (size_t i = 0; i < count; i++) {
    const char *bytes = tokenizer_bytes(t, ids[i], &n);
    assert_true(at + n + 2 < sizeof pieces);
    if (i) pieces[at++] = '|';
    memcpy(pieces + at, bytes, n);
    pieces[at += n] = '\0';
  }
  free(ids);
  assert_string_equal(pieces, want);
}

static char *text_of(const tokenizer *t) {
  char *text;
  size_t n;
  assert_int_equal(tokenizer_text(t, &text, &n), STATUS_OK);
  assert_int_equal(strlen(text), n);
  return text;
}

/* A tokenizer.json with the skeleton's tokens; two of them change places if that is asked for. */
static void write_json(char *out, bool swapped) {
  const byte_map map = byte_map_make();
  static const char *const made[] = {"th", "at</w>", "the</w>", "cat</w>", "<|startoftext|>", "<|endoftext|>"};
  out += sprintf(out, "{\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"unk_token\":\"<|endoftext|>\","
                      "\"vocab\":{");
  int id = 0;
  for (int end = 0; end < 2; end++) {
    for (int code = 0; code < BYTE_MAP_CODES; code++) {
      if (map.byte[code] < 0) continue;
      const char byte = (char)map.byte[code];
      char name[8] = "";
      name[byte_map_write(&map, &byte, 1, name)] = '\0';
      out += sprintf(out, "\"%s%s%s\":%d,", byte == '"' || byte == '\\' ? "\\" : "", name, end ? "</w>" : "", id);
      id++;
    }
  }
  for (int i = 0; i < 6; i++)
    out += sprintf(out, "%s\"%s\":%d", i ? "," : "", made[i], id + (swapped && i < 2 ? 1 - i : i));
  sprintf(out, "},\"merges\":[\"t h\",\"a t</w>\",[\"th\",\"e</w>\"],\"c at</w>\"]}}");
}

/* -- Pieces -------------------------------------------------------------------------------------------------------- */

static void test_pieces(void **state) {
  (void)state;
  tokenizer *t = parse(CLIP_SKELETON);
  assert_int_equal(tokenizer_size(t), CLIP_SKELETON_END + 1);
  assert_int_equal(clip_start(t), CLIP_SKELETON_START);
  assert_int_equal(clip_end(t), CLIP_SKELETON_END);
  expect_pieces(t, "", "");
  expect_pieces(t, " \t ", "");
  expect_pieces(t, "the cat", "the |cat ");
  expect_pieces(t, "  The\n CAT ", "the |cat ");
  expect_pieces(t, "thecat", "th|e|cat "); /* "the" is a word, not a beginning */
  expect_pieces(t, "catt", "c|a|t|t ");
  expect_pieces(t, "th", "t|h ");
  expect_pieces(t, "a1b", "a |1 |b ");
  expect_pieces(t, "12", "1 |2 ");
  expect_pieces(t, "!?cat", "!|? |cat ");
  expect_pieces(t, "they're", "th|e|y |'|r|e ");
  expect_pieces(t, "'sam", "'|s |a|m ");
  expect_pieces(t, "'x", "' |x ");
  expect_pieces(t, "x\u2019T", "x |'|t "); /* repaired, then small */
  expect_pieces(t, "&amp;amp;lt;&CAT", "<|& |cat ");
  expect_pieces(t, "\u00c3\u00a9", "\xc3|\xa9 ");          /* read wrongly: one letter */
  expect_pieces(t, "'\u017f", "'|\xc5|\xbf ");             /* the long s is one */
  expect_pieces(t, "e\u0302\u0323x", "\xe1|\xbb|\x87|x "); /* in normal form C */
  tokenizer_free(t);
}

static void test_specials(void **state) {
  (void)state;
  tokenizer *t = parse(CLIP_SKELETON);
  expect_pieces(t, "<start_of_text>cat<END_OF_TEXT>", "<|startoftext|>|cat |<|endoftext|>");
  expect_pieces(t, "a <end_of_text>", "a |<|endoftext|>");
  expect_pieces(t, "!<end_of_text>", "!|< |e|n|d |_ |o|f |_ |t|e|x|t |> "); /* the marks go together */
  int32_t ids[64];
  assert_int_equal(tokenizer_encode(t, "<|endoftext|>", 13, ids, 64), 1);
  assert_int_equal(ids[0], clip_end(t));
  assert_int_equal(tokenizer_encode(t, "<start_of_text>", 15, ids, 64), 15);
  char *back;
  const int32_t words[] = {clip_start(t), 514, 515, clip_end(t)};
  assert_int_equal(tokenizer_decode(t, words, 4, &back, NULL), STATUS_OK);
  assert_string_equal(back, "<|startoftext|>the cat <|endoftext|>");
  free(back);
  tokenizer_free(t);
}

/* Any bytes give ids: those of a cleaned text are its bytes at most. */
static void test_any_bytes(void **state) {
  (void)state;
  tokenizer *t = parse(CLIP_SKELETON);
  rng random = rng_make(5, 0);
  for (int turn = 0; turn < 300; turn++) {
    char text[64], *clean;
    const size_t n = rng_below(&random, sizeof text + 1);
    for (size_t i = 0; i < n; i++) text[i] = (char)rng_below(&random, turn % 2 ? 256 : 128);
    int32_t *ids;
    size_t count, size;
    assert_int_equal(clip_clean(text, n, &clean, &size), STATUS_OK);
    assert_int_equal(tokenizer_ids(t, text, n, &ids, &count), STATUS_OK);
    assert_true(count <= size && size <= tokenizer_room(t, n));
    for (size_t i = 0; i < count; i++) assert_true(ids[i] >= 0 && ids[i] <= clip_end(t));
    free(clean), free(ids);
  }
  tokenizer_free(t);
}

/* -- The context --------------------------------------------------------------------------------------------------- */

static void test_context(void **state) {
  (void)state;
  tokenizer *t = parse(CLIP_SKELETON);
  const int32_t start = clip_start(t), end = clip_end(t), the = 514, cat = 515;
  static const char *const texts[] = {"the cat", "", "the the the cat", "the the cat the the the"};
  const int32_t want[4][6] = {{start, the, cat, end, 0, 0},
                              {start, end, 0, 0, 0, 0},
                              {start, the, the, the, cat, end},
                              {start, the, the, cat, the, end}};
  int32_t ids[4][6];
  size_t n_cut;
  assert_int_equal(clip_contexts(t, CLIP_SPELT_OPENAI, texts, 4, ids[0], 6, &n_cut), STATUS_OK);
  assert_memory_equal(ids, want, sizeof want);
  assert_int_equal(n_cut, 1);
  bool cut = true;
  assert_int_equal(clip_context(t, CLIP_SPELT_OPENAI, "cat", 3, ids[0], 2, &cut),
                   STATUS_OK); /* room for nothing else */
  assert_int_equal(ids[0][0], start);
  assert_int_equal(ids[0][1], end);
  assert_true(cut);
  tokenizer_free(t);
}

/* -- Files --------------------------------------------------------------------------------------------------------- */

static size_t pack(const char *text, size_t n, uint8_t *out, size_t room) {
  z_stream stream = {
      .next_in = (Bytef *)(uintptr_t)text, .avail_in = (uInt)n, .next_out = out, .avail_out = (uInt)room};
  assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
  assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
  deflateEnd(&stream);
  return stream.total_out;
}

static void test_files(void **state) {
  (void)state;
  uint8_t packed[512];
  char json[16384];
  const size_t n = pack(CLIP_SKELETON, strlen(CLIP_SKELETON), packed, sizeof packed);
  write_json(json, false);
  tokenizer *all[] = {parse(CLIP_SKELETON),
                      parse("\"name.txt#version: 0.2\r\nt h\r\na t</w>\r\nth e</w>\r\nc at</w>\r\n\r\n"),
                      tokenizer_parse(packed, n, "packed"), parse(json)};
  for (size_t i = 0; i < 4; i++) {
    if (!all[i]) fail_msg("%s", last_error());
    char *text = text_of(all[i]);
    assert_string_equal(text, CLIP_SKELETON);
    expect_pieces(all[i], "The cat", "the |cat ");
    free(text);
    tokenizer_free(all[i]);
  }
  for (size_t cut = 2; cut < n; cut++) expect_refused((char *)packed, cut, "gzip");
  packed[n - 6] ^= 1;
  expect_refused((char *)packed, n, "gzip");
}

static void test_refused(void **state) {
  (void)state;
  static const struct {
    const char *text, *sentence;
  } bad[] = {
      {"#version: 0.2\n", "no word of its merges"},
      {"#version: 0.2\nt h\n\xc4\xa0 t\n", "no word of its merges"},
      {"#version: 0.2\nt h\nth\n", "line 3 is not two tokens"},
      {"#version: 0.2\nt h\n\na t</w>\n", "line 3 is not two tokens"},
      {"#version: 0.2\nt \n", "line 2 joins what is no token"},
      {"#version: 0.2\nt \xe2\x82\xac\n", "line 2 is not two tokens"},
      {"#version: 0.2\nth e</w>\n", "line 2 joins what is no token"},
      {"#version: 0.2\na t</w>\na t</w>\n", "line 3"},
      {"{\"model\":{\"end_of_word_suffix\":\"</w>\"}}", "vocab"},
      {"{\"model\":{\"end_of_word_suffix\":\"</w>\",\"vocab\":{\"a\":0},\"merges\":[]}}", "not those of CLIP"},
      {"{\"model\":{\"end_of_word_suffix\":\"#\",\"vocab\":{\"a\":0},\"merges\":[]}}", "it has no"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    expect_refused(bad[i].text, strlen(bad[i].text), bad[i].sentence);
  char json[16384];
  write_json(json, true);
  expect_refused(json, strlen(json), "not those of CLIP");
}

/* What unpacks to more than any vocabulary is not unpacked. */
static void test_large(void **state) {
  (void)state;
  const size_t n = TOKENIZER_MAX_TEXT + 1;
  char *zeros = calloc(n, 1);
  uint8_t *packed = malloc(1 << 17);
  const size_t size = pack(zeros, n, packed, 1 << 17);
  expect_refused((char *)packed, size, "unpacks to more");
  size_t unpacked;
  char *back = gzip_unpack(packed, size, n, &unpacked);
  assert_non_null(back);
  assert_int_equal(unpacked, n);
  assert_memory_equal(back, zeros, n);
  free(back), free(packed), free(zeros);
}

static void test_published(void **state) {
  (void)state;
  if (access(published, R_OK)) {
    print_message("skipped: CLIP's vocabulary is not at %s\n", published);
    skip();
  }
  tokenizer *t = tokenizer_open(published);
  if (!t) fail_msg("%s", last_error());
  assert_int_equal(tokenizer_size(t), 49408);
  static const int32_t want[] = {49406, 320, 1125, 539, 320, 2368, 269, 49407, 0};
  int32_t ids[CLIP_CONTEXT];
  assert_int_equal(clip_context(t, CLIP_SPELT_OPENAI, "a photo of a cat.", 17, ids, CLIP_CONTEXT, NULL), STATUS_OK);
  assert_memory_equal(ids, want, sizeof want);
  assert_int_equal(ids[CLIP_CONTEXT - 1], 0);
  char *text = text_of(t);
  tokenizer *again = parse(text);
  char *same = text_of(again);
  assert_string_equal(text, same);
  assert_int_equal(tokenizer_size(again), 49408);
  free(text), free(same);
  tokenizer_free(t), tokenizer_free(again);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pieces),  cmocka_unit_test(test_specials),  cmocka_unit_test(test_any_bytes),
      cmocka_unit_test(test_context), cmocka_unit_test(test_files),     cmocka_unit_test(test_refused),
      cmocka_unit_test(test_large),   cmocka_unit_test(test_published),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
