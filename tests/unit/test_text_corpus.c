/* The training text (data/build/text.h): cleaning, each source on small files made here, near copies, the split and its
 * audit; and, where the Debian packages are installed, the corpus itself against data/text.tsv. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "data/build/text.h"
#include "kernels/bytes.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* ---- cleaning ---- */

static char *cleaned(const char *raw) {
  text_buffer out = {0};
  assert_int_equal(text_clean(raw, strlen(raw), &out), STATUS_OK);
  text_put(&out, "", 0);
  return out.bytes;
}

static void clean_text_has_one_form(void **state) {
  (void)state;
  static const char *const pairs[][2] = {
      {"\u201cOh,\u201d she\u00a0said\u2026", "\"Oh,\" she said..."},
      {"a\u2014b -- c---d, 1\u20132", "a - b - c - d, 1-2"},
      {"`quoted' \u2018so\u2019", "'quoted' 'so'"},
      {"  two   spaces\t\nand \n\n\n lines \n ", "two spaces\nand\n\nlines"},
      {"soft\u00adhyphen\u200b and\x01 bell\x7f", "softhyphen and bell"},
      {"na\u00efve \u03c0", "na\u00efve \u03c0"},
      {" \n \t ", ""},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
    char *once = cleaned(pairs[i][0]);
    assert_string_equal(once, pairs[i][1]);
    char *twice = cleaned(once);
    assert_string_equal(twice, once);
    free(once);
    free(twice);
  }
  text_buffer out = {0};
  assert_int_equal(text_clean("a\xff", 2, &out), STATUS_FORMAT);
  assert_int_equal(text_clean("a\xc3", 2, &out), STATUS_FORMAT); /* half a character */
  free(out.bytes);
}

/* ---- the coder of compress(1), writing a code for each byte ---- */

typedef struct {
  uint8_t *bytes;
  size_t bits, run; /* written; where the present width began */
  unsigned width;
  uint32_t free;
  bool started;
} code_writer;

static void put_code(code_writer *w, uint32_t code) {
  if (w->free > (1u << w->width) - 1 && w->width < 16) {
    size_t group = 8 * (size_t)w->width;
    w->bits = w->run + (w->bits - w->run + group - 1) / group * group;
    w->run = w->bits;
    w->width++;
  }
  for (unsigned b = 0; b < w->width; b++, w->bits++) {
    if (code >> b & 1u) w->bytes[w->bits / 8] |= (uint8_t)(1u << (w->bits % 8));
  }
  if (w->started && w->free < 65536) w->free++;
  w->started = true;
}

/* free() the codes. */
static uint8_t *lzw_bytes(const char *text, size_t n, size_t *size) {
  code_writer w = {.bytes = calloc(n + 32, 4), .width = 9, .free = 257};
  assert_non_null(w.bytes);
  for (size_t i = 0; i < n; i++) put_code(&w, (uint8_t)text[i]);
  *size = (w.bits + 7) / 8;
  return w.bytes;
}

static void lzw_gives_back_what_was_coded(void **state) {
  (void)state;
  enum { N = 70000 }; /* every width from 9 bits to 16, and a full table */
  char *text = malloc(N);
  uint8_t *out = malloc(N);
  assert_true(text != NULL && out != NULL);
  rng g = rng_make(1, 1);
  for (size_t i = 0; i < N; i++) text[i] = (char)rng_below(&g, 256);
  size_t n, size;
  uint8_t *codes = lzw_bytes(text, N, &n);
  assert_true(lzw_decode(codes, n, out, N, &size));
  assert_int_equal(size, N);
  assert_memory_equal(out, text, N);
  assert_false(lzw_decode(codes, n, out, N - 1, &size));
  /* Damaged bytes are refused or decoded to something, and never leave the buffers. */
  for (unsigned i = 0; i < 200; i++) {
    codes[rng_below(&g, (uint32_t)n)] ^= (uint8_t)(1u << rng_below(&g, 8));
    lzw_decode(codes, n, out, N, &size);
    assert_true(size <= N);
  }
  free(codes);
  free(out);
  free(text);
}

static void lzw_knows_strings_and_the_code_to_come(void **state) {
  (void)state;
  /* "abababa" as a, b, 257 (ab), 259 (aba, which is being made), clear, c; a clear code fills its group of eight. */
  code_writer w = {.bytes = calloc(64, 1), .width = 9, .free = 257};
  static const uint32_t codes[] = {'a', 'b', 257, 259, 256};
  uint8_t out[16];
  size_t size;
  assert_non_null(w.bytes);
  for (size_t i = 0; i < 5; i++) put_code(&w, codes[i]);
  w.bits = 8 * 9;
  put_code(&w, 'c');
  assert_true(lzw_decode(w.bytes, (w.bits + 7) / 8, out, sizeof out, &size));
  assert_int_equal(size, 8);
  assert_memory_equal(out, "abababac", 8);
  static const uint32_t unknown[] = {'a', 258};
  memset(w.bytes, 0, 64);
  w = (code_writer){.bytes = w.bytes, .width = 9, .free = 257};
  for (size_t i = 0; i < 2; i++) put_code(&w, unknown[i]);
  assert_false(lzw_decode(w.bytes, 3, out, sizeof out, &size));
  free(w.bytes);
}

/* ---- small sources, all in one folder ---- */

static void write_named(void **state, const char *name, const void *data, size_t n) {
  char *path = scratch_path(state, name);
  scratch_write(path, data, n);
  free(path);
}

static void write_text(void **state, const char *name, const char *text) {
  write_named(state, name, text, strlen(text));
}

static void put_big(uint8_t *p, uint32_t value) {
  for (int i = 0; i < 4; i++) p[i] = (uint8_t)(value >> (24 - 8 * i));
}

static void write_kjv(void **state, const char *text) {
  size_t n;
  uint8_t *codes = lzw_bytes(text, strlen(text), &n), *file = calloc(100 + n, 1);
  assert_non_null(file);
  memcpy(file, "EC02Compressed Data File", 24);
  put_big(file + 84, 65536);
  put_big(file + 88, 1);
  put_big(file + 92, 100);
  put_big(file + 96, (uint32_t)(100 + n));
  memcpy(file + 100, codes, n);
  write_named(state, "bible.data", file, 100 + n);
  free(file);
  free(codes);
}

static void write_web(void **state, const char *testament, const char *markup) {
  char name[16];
  uint8_t packed[4096], entry[12];
  uLongf n = sizeof packed;
  assert_int_equal(compress(packed, &n, (const Bytef *)markup, strlen(markup)), Z_OK);
  put_little(entry, 0, 4);
  put_little(entry + 4, n, 4);
  put_little(entry + 8, strlen(markup), 4);
  snprintf(name, sizeof name, "%s.bzs", testament);
  write_named(state, name, entry, sizeof entry);
  snprintf(name, sizeof name, "%s.bzz", testament);
  write_named(state, name, packed, n);
}

static void write_gzip(void **state, const char *name, const char *text) {
  char *path = scratch_path(state, name);
  gzFile file = gzopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(gzwrite(file, text, (unsigned)strlen(text)), strlen(text));
  assert_int_equal(gzclose(file), Z_OK);
  free(path);
}

static const char KJV[] = "Holy Bible.\n"
                          "Ge1:1 In the beginning God created the heaven and the earth.\n"
                          "Ge1:2 And the earth was without form, and void.\n"
                          "1Jn2:1 My little children, these things write I unto you.\n";
static const char OT[] =
    "<title>Genesis</title><div sID=\"a\" type=\"x-p\"/>Before.<chapter n=\"1\" osisID=\"Gen.1\" "
    "sID=\"Gen.1\"/><w lemma=\"strong:H7225\">In the beginning</w>, God<note>Elohim <reference>1:1"
    "</reference></note>created the heavens &amp; the earth.<div sID=\"b\" type=\"x-p\"/>The earth "
    "was empty.<chapter eID=\"Gen.1\"/>Between.<chapter osisID=\"Gen.2\" sID=\"Gen.2\"/> "
    "<chapter eID=\"Gen.2\"/>";
static const char NT[] = "<chapter n=\"3\" osisID=\"1John.3\" sID=\"x\"/><l level=\"1\" sID=\"l\"/>See how great</l>"
                         "<l level=\"2\" sID=\"m\"/>a love<note>n</note>, he said.<chapter eID=\"1John.3\"/>";
/* A noun whose first pointer leads to the second line, and two relatives. Offsets are those of the lines. */
static const char NOUNS[] = "  1 the licence\n"
                            "00000016 03 n 02 bank 0 money_box 1 002 @ 00000166 n 0000 ~ 00000166 n 0000 | where one "
                            "puts money; \"he went to the bank\"; \"a full bank\"- A. Nobody  \n"
                            "00000166 03 n 01 physical_entity 0 000 | an entity  \n"
                            "00000219 03 n 02 arena 0 sand_pit 0 002 @ 00000166 n 0000 ! 00000016 n 0102 | a place to "
                            "live in; \"they sat in it\"; \"another\"  \n";
static const char JARGON[] = "00-database-short\n     The Jargon File\n"
                             "bit bucket\n /bit buhk@t/, n.\n\n    [very common] The universal data sink; see {black\n"
                             "    hole}. A well-\n    known place \u201c\n    of no return\u201d.\n\n"
                             "        |--+--|  /\\/\\ ==\n\n    B\n\n";
static const char DEVIL[] = "APRIL FOOL, n.  The March fool with another\nmonth added to his _folly_.\n\n"
                            "    A verse of one\n    and two,\n                    G.J.\n\n"
                            "W (double U) has, of all the letters, a name.\n";

static void write_sources(void **state) {
  write_kjv(state, KJV);
  write_web(state, "ot", OT);
  write_web(state, "nt", NT);
  write_text(state, "data.noun", NOUNS);
  write_text(state, "data.verb",
             "00000000 29 v 01 run 0 001 ! 00000016 n 0102 01 + 02 00 | move on foot  \n"
             "00000073 29 v 01 dine 0 000 01 + 02 00 | eat slowly  \n");
  write_text(state, "data.adj",
             "00000000 00 s 01 on_tap(p) 0 000 | available for immediate use  \n"
             "00000065 00 a 01 cold 0 000 | of low temperature  \n");
  write_text(state, "data.adv", "00000000 02 r 01 fast 0 001 \\ 00000000 a 0101 | quickly; \"go fast\"  \n");
  /* 00-database-short: 0 and 39 bytes; then one entry to the end, under two headwords */
  char index[256];
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t at = (size_t)(strstr(JARGON, "bit bucket") - JARGON), n = strlen(JARGON) - at;
  snprintf(index, sizeof index, "00-database-short\tA\t%c\nbit bucket\t%c\t%c%c\nbucket\t%c\t%c%c\n", digits[at],
           digits[at], digits[n / 64], digits[n % 64], digits[at], digits[n / 64], digits[n % 64]);
  write_text(state, "jargon.index", index);
  write_gzip(state, "jargon.dict.dz", JARGON);
  size_t second = (size_t)(strstr(DEVIL, "W (") - DEVIL), rest = strlen(DEVIL) - second;
  snprintf(index, sizeof index, "april fool\tA\t%c%c\nw\t%c%c\t%c\n", digits[second / 64], digits[second % 64],
           digits[second / 64], digits[second % 64], digits[rest]);
  write_text(state, "devil.index", index);
  write_gzip(state, "devil.dict.dz", DEVIL);
}

static void expect_texts(text_list *list, const char *const *want, size_t n) {
  assert_int_equal(list->n, n);
  for (size_t i = 0; i < n; i++) assert_string_equal(list->item[i].text, want[i]);
  text_list_free(list);
}

static void bibles_become_chapters(void **state) {
  static const char *const want[] = {
      "Genesis 1, King James Version\nIn the beginning God created the heaven and the earth. And the earth was without "
      "form, and void.",
      "1 John 2, King James Version\nMy little children, these things write I unto you.",
      "Genesis 1\nIn the beginning, God created the heavens & the earth.\nThe earth was empty.",
      "1 John 3\nSee how great\na love, he said."};
  text_list list = {0};
  write_sources(state);
  char *path = scratch_path(state, "bible.data");
  assert_int_equal(text_collect_kjv(path, &list), STATUS_OK);
  assert_int_equal(text_collect_web(*state, &list), STATUS_OK);
  assert_int_equal(list.item[0].key, list.item[2].key); /* the same chapter in both */
  assert_int_not_equal(list.item[0].key, list.item[1].key);
  expect_texts(&list, want, 4);
  free(path);
}

static void damaged_bibles_are_refused(void **state) {
  text_list list = {0};
  size_t n;
  write_sources(state);
  char *path = scratch_path(state, "bible.data");
  char *file = scratch_read(path, &n);
  for (size_t cut = 0; cut < 100; cut += 9) { /* the header */
    scratch_write(path, file, cut);
    assert_int_equal(text_collect_kjv(path, &list), STATUS_FORMAT);
  }
  put_big((uint8_t *)file + 96, UINT32_MAX);
  scratch_write(path, file, n);
  assert_int_equal(text_collect_kjv(path, &list), STATUS_FORMAT);
  write_kjv(state, "title\nno verse\n");
  assert_int_equal(text_collect_kjv(path, &list), STATUS_FORMAT);
  write_web(state, "ot", "<chapter osisID=\"Nowhere.1\" sID=\"x\"/>");
  assert_int_equal(text_collect_web(*state, &list), STATUS_FORMAT);
  write_web(state, "ot", "<chapter osisID=\"Gen.1\"");
  assert_int_equal(text_collect_web(*state, &list), STATUS_FORMAT);
  write_web(state, "ot", OT);
  char *web = scratch_path(state, "ot.bzz");
  write_named(state, "ot.bzz", "x", 1);
  assert_int_equal(text_collect_web(*state, &list), STATUS_FORMAT);
  assert_int_equal(list.n, 0);
  free(web);
  free(file);
  free(path);
  text_list_free(&list);
}

static void dictionaries_become_entries(void **state) {
  static const char *const want[] = {
      "bit bucket (noun): [very common] The universal data sink; see black hole. A well-known place \"of no return\".",
      "April fool (noun): The March fool with another month added to his folly.\nA verse of one\nand two,\nG.J.",
      "W (double U) has, of all the letters, a name."};
  text_list list = {0};
  write_sources(state);
  assert_int_equal(text_collect_dictionary(*state, "jargon", TEXT_JARGON, &list), STATUS_OK);
  assert_int_equal(text_collect_dictionary(*state, "devil", TEXT_DEVIL, &list), STATUS_OK);
  expect_texts(&list, want, 3);
  write_text(state, "devil.index", "far\tA\t/////\n");
  assert_int_equal(text_collect_dictionary(*state, "devil", TEXT_DEVIL, &list), STATUS_FORMAT);
  write_text(state, "devil.index", "far\tA\t?\n");
  assert_int_equal(text_collect_dictionary(*state, "devil", TEXT_DEVIL, &list), STATUS_FORMAT);
  write_text(state, "devil.index", "far\tA\n");
  assert_int_equal(text_collect_dictionary(*state, "devil", TEXT_DEVIL, &list), STATUS_FORMAT);
}

static void wordnet_becomes_definitions_and_conversations(void **state) {
  static const char *const want[] = {"bank (noun): where one puts money. For example: \"he went to the bank\"; \"a "
                                     "full bank\" (A. Nobody). Also money "
                                     "box. A kind of physical entity.",
                                     "physical entity (noun): an entity.",
                                     "User: What is an arena?\n\nAssistant: A place to live in.\n\nUser: Give me an "
                                     "example.\n\nAssistant: They sat in it.\n\nUser: Another word for it?\n\n"
                                     "Assistant: Sand pit.\n\nUser: A kind of what?\n\nAssistant: Physical entity.\n\n"
                                     "User: And the opposite?\n\nAssistant: Money box.",
                                     "run (verb): move on foot. The opposite of money box.",
                                     "User: What does it mean to dine?\n\nAssistant: Eat slowly.",
                                     "on tap (adjective): available for immediate use.",
                                     "User: What does \"cold\" mean?\n\nAssistant: Of low temperature.",
                                     "fast (adverb): quickly. For example: \"go fast\". From the adjective on tap."};
  text_list list = {0};
  write_sources(state);
  assert_int_equal(text_collect_wordnet(*state, &list), STATUS_OK);
  expect_texts(&list, want, sizeof want / sizeof *want);
  for (size_t cut = 17; cut < strlen(NOUNS); cut += 3) { /* anything may follow, but nothing is read outside the file */
    write_named(state, "data.noun", NOUNS, cut);
    status s = text_collect_wordnet(*state, &list);
    assert_true(s == STATUS_OK || s == STATUS_FORMAT);
    text_list_free(&list);
  }
  write_text(state, "data.noun", "00000007 03 n 01 entity 0 000 | wrong place  \n");
  assert_int_equal(text_collect_wordnet(*state, &list), STATUS_FORMAT);
  text_list_free(&list);
}

/* ---- near copies and the split ---- */

static void add(text_list *list, const char *key, const char *text) {
  text_buffer b = {0};
  text_puts(&b, text);
  assert_int_equal(text_list_add(list, TEXT_WORDNET, key, strlen(key), &b), STATUS_OK);
  free(b.bytes);
}

/* `n` words "w<from>", "w<from+1>", ...; appended to `to`. */
static void put_numbered(char *to, size_t room, unsigned from, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    size_t at = strlen(to);
    snprintf(to + at, room - at, "w%u ", from + i);
  }
}

static void near_copies_are_dropped(void **state) {
  (void)state;
  text_list list = {0};
  size_t dropped;
  char text[1024] = "", part[1024] = "", more[1024] = "";
  put_numbered(text, sizeof text, 0, 40);
  put_numbered(part, sizeof part, 2, 31); /* 31 of 40 words: more than three quarters */
  put_numbered(part, sizeof part, 100, 9);
  put_numbered(more, sizeof more, 2, 30); /* exactly three quarters */
  put_numbered(more, sizeof more, 200, 10);
  add(&list, "a", text);
  add(&list, "b", part);
  add(&list, "c", more);
  add(&list, "d", "Short one.");
  add(&list, "e", "short ONE");
  add(&list, "f", "short one more");
  assert_int_equal(text_drop_copies(&list, &dropped), STATUS_OK);
  assert_int_equal(dropped, 2);
  assert_int_equal(list.n, 4);
  assert_string_equal(list.item[2].text, "Short one.");
  assert_string_equal(list.item[3].text, "short one more");
  text_list_free(&list);
}

static void overlap_counts_words_of_shared_runs(void **state) {
  (void)state;
  text_list list = {0};
  size_t count;
  bool overlaps[4];
  char text[1024] = "", half[1024] = "", over[1024] = "", runs[2048] = "";
  put_numbered(text, sizeof text, 0, 60);
  put_numbered(half, sizeof half, 10, 20);
  put_numbered(half, sizeof half, 100, 20);
  put_numbered(over, sizeof over, 10, 21);
  put_numbered(over, sizeof over, 200, 20);
  for (unsigned i = 0; i < 7; i++) { /* all words are known, but never eight in a row */
    put_numbered(runs, sizeof runs, 7 * i, 7);
    put_numbered(runs, sizeof runs, 300 + i, 1);
  }
  add(&list, "a", text);
  add(&list, "b", half);
  add(&list, "c", over);
  add(&list, "d", runs);
  for (size_t i = 1; i < 4; i++) list.item[i].split = SPLIT_TEST;
  assert_int_equal(text_overlaps(&list, overlaps, &count), STATUS_OK);
  assert_int_equal(count, 1);
  assert_true(overlaps[2]);
  list.item[0].split = SPLIT_VALIDATION; /* validation and test are apart too */
  assert_int_equal(text_overlaps(&list, NULL, &count), STATUS_OK);
  assert_int_equal(count, 1);
  list.item[0].split = SPLIT_TEST;
  assert_int_equal(text_overlaps(&list, NULL, &count), STATUS_OK);
  assert_int_equal(count, 0);
  text_list_free(&list);
}

static void the_split_keeps_what_belongs_together(void **state) {
  (void)state;
  enum { N = 6000 };
  text_list list = {0};
  size_t moved, count, of[SPLITS] = {0};
  for (unsigned i = 0; i < N; i++) { /* pairs of one key; every fiftieth document quotes two of other keys */
    char key[32], text[512] = "";
    snprintf(key, sizeof key, "%u", i / 2);
    put_numbered(text, sizeof text, 100 * i, 12);
    if (i % 50 == 0) put_numbered(text, sizeof text, 100 * ((i + 777) % N), 12);
    if (i % 50 == 0) put_numbered(text, sizeof text, 100 * ((i + 2777) % N), 12);
    add(&list, key, text);
  }
  assert_int_equal(text_split(&list, &moved), STATUS_OK);
  assert_int_equal(text_overlaps(&list, NULL, &count), STATUS_OK);
  assert_int_equal(count, 0);
  assert_true(moved > 0);
  for (size_t i = 0; i < N; i++) of[list.item[i].split]++;
  for (size_t i = 0; i < N; i += 2) assert_int_equal(list.item[i].split, list.item[i + 1].split);
  assert_true(of[SPLIT_VALIDATION] > N / 100 && of[SPLIT_VALIDATION] < N / 33);
  assert_true(of[SPLIT_TEST] > N / 100 && of[SPLIT_TEST] < N / 33);
  text_list_free(&list);
}

/* ---- the whole corpus ---- */

static void a_corpus_is_made_twice_alike_and_audited(void **state) {
  const char *folder = *state;
  char *kjv = scratch_path(state, "bible.data"), *manifest_path = scratch_path(state, "text.tsv");
  char *train = scratch_path(state, "train.jsonl"), *test = scratch_path(state, "test.jsonl");
  text_folders from = {kjv, folder, folder, folder};
  text_counts counts;
  text_audit audit;
  size_t n, again;
  write_sources(state);
  assert_int_equal(text_corpus_make(&from, folder, manifest_path, false, &counts), STATUS_OK);
  assert_int_equal(counts.kept, 15);
  assert_int_equal(text_corpus_audit(folder, manifest_path, &audit), STATUS_OK);
  assert_string_equal(audit.first, "");
  assert_int_equal(text_audit_violations(&audit), 0);
  assert_int_equal(audit.documents[0] + audit.documents[1] + audit.documents[2], 15);
  char *first = scratch_read(train, &n);
  assert_int_equal(text_corpus_make(&from, folder, manifest_path, false, &counts), STATUS_OK);
  char *second = scratch_read(train, &again);
  assert_int_equal(n, again);
  assert_memory_equal(first, second, n);

  scratch_write(test, first, n); /* what was trained on is tested on */
  assert_int_equal(text_corpus_audit(folder, manifest_path, &audit), STATUS_OK);
  assert_int_equal(audit.copies, audit.documents[SPLIT_TRAIN]);
  assert_int_equal(audit.overlaps, audit.documents[SPLIT_TRAIN]);
  assert_false(audit.as_pinned);
  static const char unclean[] = "{\"text\": \"two  spaces\", \"source\": \"dict-devil\"}\n";
  scratch_write(test, unclean, sizeof unclean - 1);
  assert_int_equal(text_corpus_audit(folder, manifest_path, &audit), STATUS_OK);
  assert_int_equal(audit.unclean, 1);
  scratch_write(test, "{\"text\": \"a\"}\n", 14);
  assert_int_equal(text_corpus_audit(folder, manifest_path, &audit), STATUS_FORMAT);

  write_text(state, "data.verb", "00000000 29 v 01 run 0 000 00 | move slowly  \n"); /* other sources, same manifest */
  assert_int_equal(text_corpus_make(&from, folder, manifest_path, false, &counts), STATUS_FORMAT);
  assert_int_equal(text_corpus_make(&from, folder, manifest_path, true, &counts), STATUS_OK);
  assert_int_equal(text_corpus_audit(folder, manifest_path, &audit), STATUS_OK);
  assert_int_equal(text_audit_violations(&audit), 0);
  free(first);
  free(second);
  free(kjv);
  free(manifest_path);
  free(train);
  free(test);
}

static bool is_installed(const char *folder, const char *name) {
  char path[1024];
  snprintf(path, sizeof path, "%s%s%s", folder, *name != 0 ? "/" : "", name);
  if (access(path, R_OK) == 0) return true;
  print_message("skipped: there is no %s; `scripts/deps data` installs what the training text is made of\n", path);
  return false;
}

static void the_corpus_is_what_its_manifest_says(void **state) {
  const text_folders *from = &text_installed;
  if (!is_installed(from->kjv, "") || !is_installed(from->web, "ot.bzz") || !is_installed(from->web, "nt.bzz") ||
      !is_installed(from->dictionaries, "jargon.index") || !is_installed(from->dictionaries, "devil.index") ||
      !is_installed(from->wordnet, "data.noun")) {
    skip();
  }
  text_counts counts;
  text_audit audit;
  status s = text_corpus_make(from, *state, "data/text.tsv", false, &counts);
  if (s != STATUS_OK) print_message("%s\n", last_error());
  assert_int_equal(s, STATUS_OK);
  assert_int_equal(text_corpus_audit(*state, "data/text.tsv", &audit), STATUS_OK);
  assert_string_equal(audit.first, "");
  assert_int_equal(text_audit_violations(&audit), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(clean_text_has_one_form),
      cmocka_unit_test(lzw_gives_back_what_was_coded),
      cmocka_unit_test(lzw_knows_strings_and_the_code_to_come),
      cmocka_unit_test_setup_teardown(bibles_become_chapters, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(damaged_bibles_are_refused, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(dictionaries_become_entries, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(wordnet_becomes_definitions_and_conversations, scratch_setup, scratch_teardown),
      cmocka_unit_test(near_copies_are_dropped),
      cmocka_unit_test(overlap_counts_words_of_shared_runs),
      cmocka_unit_test(the_split_keeps_what_belongs_together),
      cmocka_unit_test_setup_teardown(a_corpus_is_made_twice_alike_and_audited, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(the_corpus_is_what_its_manifest_says, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
