/* Repairs of text: each kind alone, text read in each wrong character set, character references, small letters, and
 * hostile texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/badness.h"
#include "data/codepage.h"
#include "data/fix_text.h"
#include "data/html.h"
#include "data/mojibake.h"
#include "data/unicode.h"
#include "kernels/utf8.h"

#include <cmocka.h> /* after our own: it makes a macro of fail() */

/* -- Helpers ------------------------------------------------------------------------------------------------------- */

/* The repaired text, terminated; NULL if nothing changed. */
static char *fixed(const char *text, size_t n, size_t *size) {
  char *out;
  assert_int_equal(fix_text(text, n, &out, size), STATUS_OK);
  if (!out) return NULL;
  out = realloc(out, *size + 1);
  out[*size] = '\0';
  return out;
}

static void expect_bytes(const char *text, size_t n, const char *want) {
  size_t size;
  char *out = fixed(text, n, &size);
  if (!out) fail_msg("'%s' did not change", text);
  assert_string_equal(out, want);
  assert_int_equal(size, strlen(want));
  free(out);
}

static void expect(const char *text, const char *want) { expect_bytes(text, strlen(text), want); }

static void expect_kept(const char *text) {
  size_t size;
  char *out = fixed(text, strlen(text), &size);
  if (out) assert_string_equal(out, text);
  assert_int_equal(size, strlen(text));
  free(out);
}

/* -- Characters ---------------------------------------------------------------------------------------------------- */

static void test_characters(void **state) {
  (void)state;
  expect("\u201ccurly\u201d \u2018quotes\u2019 \u02bc\u201b", "\"curly\" 'quotes' ''");
  expect("\ufb01ne o\ufb03ce \ufb05 \u0149 \u0132\u0133 \u01c4\u01c5\u01c6 \u01c7 \u01f3",
         "fine office \u017ft 'n IJij D\u017dD\u017ed\u017e LJ dz");
  expect("\uff2c\uff2f\uff35\uff24\u3000\uff01 \uff8a\uff9d\uff76\uff78 \uffe3 \uffe6 \uffa1",
         "LOUD ! \u30cf\u30f3\u30ab\u30af  \u0304 \u20a9 \u1100");
  expect("a\r\nb\rc\u2028d\u2029e\r\r\nf", "a\nb\nc\nd\ne\n\nf");
  expect("e\u0301 \u1112\u1161\u11ab \u212b", "\u00e9 \ud55c \u00c5");
  expect("\ufeffa\u206ab\u206fc\ufffcd\ufff9", "abcd");
  expect_kept("a\u200bb\u00adc\u2013\u2026\u2122 \u00ae\u00a9 \u00bd");
  expect_kept("plain text,\twith\nlines\fand all");
  char *out;
  size_t size;
  assert_int_equal(fix_text("plain & simple", 5, &out, &size), STATUS_OK);
  assert_null(out);
  assert_int_equal(size, 5);
}

static void test_controls(void **state) {
  (void)state;
  expect_bytes("null\0byte\7bell\x7f\v\x1a", 17, "nullbytebell");
  expect("\033[31mred\033[0m \033[1;32;4mgreen\033[m \033[K", "red green ");
  expect("\033[12", "[12");
  expect("\033[1?m \033]m \033", "[1?m ]m ");
  expect("\033[\u0663m", ""); /* digits of all scripts are */
  expect("\xc2\x93smart\xc2\x94 c1 \xc2\x85 \xc2\x81", "\"smart\" c1 \u2026 \xc2\x81");
}

/* -- Character references ------------------------------------------------------------------------------------------ */

static void test_references(void **state) {
  (void)state;
  expect("&amp; &eacute; &#233;&#xE9;&#X41; &nGt; &Jscr;", "& \u00e9 \u00e9\u00e9A \u226b\u20d2 \U0001d4a5");
  expect("P&EACUTE;REZ &SZLIG; &FFILIG; &NAPOS; &FRAC12;", "P\u00c9REZ SS FFI 'N \u00bd");
  expect("&amp;amp;amp;lt;", "<");
  expect_kept("&nTILDE; &LTX; &eacute &#59; &#12ab; &; &#; &#x; &unknown; &CounterClockwiseContourIntegral;");
  expect("&#8217;tis&#0;&#x110000;&#xD800;", "'tis\ufffd\ufffd\ufffd");
  expect("a&#1;b&#xFFFF;c&#x80;", "abc\u20ac");
  expect_kept("<b>&eacute;</b>");
  expect("&eacute;\n<b>&eacute;\n&eacute;\u2019", "\u00e9\n<b>&eacute;\n&eacute;'"); /* from that line on */
}

static void expect_standard(const char *text, const char *want) {
  char *out = malloc(HTML_ROOM(strlen(text)) + 1);
  const size_t n = html_unescape(text, strlen(text), HTML_STANDARD, out);
  assert_true(n <= HTML_ROOM(strlen(text)));
  out[n] = '\0';
  assert_string_equal(out, want);
  free(out);
}

static void test_standard_references(void **state) {
  (void)state;
  expect_standard("a &lt b &amp c &copy2024 &hearts; &notit; &notin; &notin",
                  "a < b & c \u00a92024 \u2665 \u00acit; \u2209 \u00acin");
  expect_standard("&EACUTE; &hearts &gtfoo &#65x &#x41g;&#99999999999999999999;", "&EACUTE; &hearts >foo Ax Ag;\ufffd");
  expect_standard("&CounterClockwiseContourIntegral;&&amp;&", "\u2233&&&");
  expect_standard("&#13;&#11;&#128;&#129;", "\r\u20ac\xc2\x81");
  expect_standard("&nGt;&nGt;&nGt;", "\u226b\u20d2\u226b\u20d2\u226b\u20d2");
  assert_int_equal(n_html_entities, 2125);
  for (size_t i = 1; i < n_html_entities; i++) { /* the search needs their order */
    char name[2][40];
    for (size_t k = 0; k < 2; k++) {
      snprintf(name[k], sizeof *name, "%s", html_entities[i - 1 + k]);
      name[k][strcspn(name[k], "; ")] = '\0';
    }
    assert_true(strcmp(name[0], name[1]) < 0);
  }
}

/* -- Wrong character sets ------------------------------------------------------------------------------------------ */

/* The character of a byte in a set, by its inverse. */
static uint32_t read_byte(codepage page, uint8_t byte) {
  for (uint32_t code = 0; code < 0x10000; code++)
    if (codepage_byte(page, code) == byte) return code;
  return 0xfffd;
}

/* What the bytes of UTF-8 look like in a set. */
static size_t misread(codepage page, const char *text, size_t n, char *out) {
  size_t size = 0;
  for (size_t i = 0; i < n; i++) size += (size_t)utf8_put(read_byte(page, (uint8_t)text[i]), out + size);
  return size;
}

static void test_codepages(void **state) {
  (void)state;
  for (codepage page = 0; page < CODEPAGES; page++) {
    for (unsigned byte = 0; byte < 256; byte++) { /* each byte has a character; no character has two */
      const uint32_t code = read_byte(page, (uint8_t)byte);
      assert_int_equal(codepage_byte(page, code), byte == 0x1a && codepage_is_windows(page) ? 0x1a : byte);
    }
    assert_int_equal(codepage_byte(page, 0x4e00), -1);
    assert_int_equal(codepage_byte(page, 0x1a), codepage_is_windows(page) ? -1 : 0x1a);
  }
  assert_int_equal(codepage_byte(CODEPAGE_1252, 0x20ac), 0x80);
  assert_int_equal(codepage_byte(CODEPAGE_1251, 0x44f), 0xff);
  assert_int_equal(codepage_byte(CODEPAGE_1254, 0x11f), 0xf0);
  assert_int_equal(codepage_byte(CODEPAGE_1254, 0x17d), -1);
  assert_int_equal(codepage_byte(CODEPAGE_437, 0x2588), 0xdb);
  assert_int_equal(codepage_byte(CODEPAGE_MAC_ROMAN, 0xf8ff), 0xf0);
  assert_int_equal(codepage_byte(CODEPAGE_LATIN_2, 0x142), 0xb3);
}

/* Text that was read in any of the sets, once and twice, comes back. */
static void test_every_set(void **state) {
  (void)state;
  static const char text[] =
      "l\u2019\u00e9t\u00e9 \u00e0 la plage \u2014 \u041f\u0440\u0438\u0432\u0435\u0442 \u4e16\u754c";
  static const char want[] = "l'\u00e9t\u00e9 \u00e0 la plage \u2014 \u041f\u0440\u0438\u0432\u0435\u0442 \u4e16\u754c";
  for (codepage page = 0; page < CODEPAGES; page++) {
    char once[512], twice[4096];
    const size_t n = misread(page, text, sizeof text - 1, once);
    expect_bytes(once, n, want);
    expect_bytes(twice, misread(page, once, n, twice), want);
  }
}

static void test_mojibake(void **state) {
  (void)state;
  expect("caf\u00c3\u00a9 na\u00c3\u00afve", "caf\u00e9 na\u00efve");
  expect("\u00e2\u0153\u201d No problems", "\u2714 No problems");
  expect("voil\u00c3  le travail", "voil\u00e0 le travail");                          /* the space was 0xa0 */
  expect("\u00c3 la mode \u00c3 quela", "\u00e0 la mode \u00e0quela");                /* a word of its own, or not */
  expect("\u00e2\u20ac\u0153like this\u00e2\u20ac\ufffd", "\"like this\ufffd");       /* a byte was lost */
  expect("l\u2019humanit\u00c3\u00a9", "l'humanit\u00e9");                            /* a part, by itself */
  expect("\u00e4\u00b8\u2013 \u4e16 caf\u00c3\u00a9", "\u4e16 \u4e16 caf\u00e9");     /* two parts among others */
  expect("\u00ed\u00a0\u00bd\u00ed\u00b8\xc2\x80 \u00c3\u00a9", "\U0001f600 \u00e9"); /* CESU-8 */
  expect("\u00c3\u00a9\u00c0\xc2\x80x", "\u00e9x");                                   /* Java's 0, which is a control */
  expect_kept("na\u00efve caf\u00e9 r\u00e9sum\u00e9 \u00dcber S\u00e3o Espa\u00f1a \u0141\u00f3d\u017a");
  expect_kept("\u0391\u0392\u0393 \u038c \u041f\u0440\u0438\u0432\u0435\u0442 \u4f60\u597d \u00bfqu\u00e9?");
  expect_kept("\u00c5 \u00c2 \u00d7 \u00b0 20\u00b0 5\u20ac \u00a35");
  assert_true(is_bad_text("\u00c3 x", 4));
  assert_true(is_bad_text("A \u00c3\u00a1", 6));
  assert_false(is_bad_text("A\u00c3 x", 5)); /* of small letters only */
  assert_true(is_bad_text("a\u00c3 x", 5));
  assert_true(is_bad_text("plain text, then a\t\u00c2 ", 22));
  assert_false(is_bad_text("", 0));
}

/* -- Letters ------------------------------------------------------------------------------------------------------- */

static void expect_lower(const char *text, const char *want) {
  char out[256];
  const size_t n = unicode_lower(text, strlen(text), out);
  assert_true(n <= UNICODE_LOWER_ROOM(strlen(text)));
  out[n] = '\0';
  assert_string_equal(out, want);
}

static void test_lower(void **state) {
  (void)state;
  expect_lower("ABC xyz \u00c4\u00d6\u1e9e", "abc xyz \u00e4\u00f6\u00df");
  expect_lower("\u0130\u0130 \u023a", "i\u0307i\u0307 \u2c65");
  expect_lower("\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3", "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2");
  expect_lower("\u03a3", "\u03c3");
  expect_lower("A\u03a3 A\u03a3. A\u03a3'B A'\u03a3", "a\u03c2 a\u03c2. a\u03c3'b a'\u03c2");
  expect_lower("\u2160\u03a3 1\u03a3", "\u2170\u03c2 1\u03c3");
  assert_int_equal(unicode_upper(0xe9), 0xc9);
  char *out;
  size_t n;
  assert_int_equal(unicode_repair("a\xff\xe2\x82z", 5, &out, &n), STATUS_OK);
  assert_int_equal(n, 8);
  assert_memory_equal(out, "a\ufffd\ufffdz", 8);
  free(out);
}

/* -- Hostile texts ------------------------------------------------------------------------------------------------- */

/* Long rows of what is costly must come to an end, as valid text. */
static void test_hostile(void **state) {
  (void)state;
  static const char *const units[] = {"amp;",         "&amp;",   "\033[1",       "\u00c3",
                                      "\u00c2\u00a0", "\u03a3'", "\u00e2\u20ac", "\u00c3\u0192\u00c2\u00a9",
                                      "\u0301\u0323", "\ufffd",  "\u00c3 ",      "\xc2\x80"};
  enum { LONG = 20000 };
  for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
    const size_t unit = strlen(units[i]);
    char *text = malloc(1 + LONG * unit);
    *text = '&';
    for (size_t k = 0; k < LONG; k++) memcpy(text + 1 + k * unit, units[i], unit);
    size_t size;
    char *out = fixed(text, 1 + LONG * unit, &size);
    if (out) {
      assert_true(utf8_valid(out, size) && size <= 3 * (1 + LONG * unit));
    }
    free(out), free(text);
  }
}

/* A line of more than a million characters is cut there: what belongs together across the cut stays as it is. */
static void test_long_line(void **state) {
  (void)state;
  enum { MOST = 1000000 };
  char *text = malloc(MOST + 64);
  memset(text, 'a', MOST);
  memcpy(text + MOST - 4, "&amp;", 6);
  size_t size;
  assert_null(fixed(text, MOST + 1, &size));
  memcpy(text + MOST - 5, "&amp;\u00e9", 8);
  char *out = fixed(text, MOST + 2, &size);
  assert_non_null(out);
  assert_int_equal(size, MOST - 2);
  assert_string_equal(out + MOST - 6, "a&\u00e9");
  free(out), free(text);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_characters), cmocka_unit_test(test_controls),
      cmocka_unit_test(test_references), cmocka_unit_test(test_standard_references),
      cmocka_unit_test(test_codepages),  cmocka_unit_test(test_every_set),
      cmocka_unit_test(test_mojibake),   cmocka_unit_test(test_lower),
      cmocka_unit_test(test_hostile),    cmocka_unit_test(test_long_line),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
