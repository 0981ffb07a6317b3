#include "apps/contact_sheet.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/index.h"
#include "data/image.h"
#include "data/unicode.h"
#include "kernels/atomic_file.h"

enum { SIDE = 160 }; /* the longer one of a thumbnail */

struct contact_sheet {
  atomic_file *file;
  const char *index;
  size_t queries, results; /* results: of the query that is open */
  char *gone;              /* the picture of one that is gone, as a data: URI */
};

/* --- writing ------------------------------------------------------------------------------------------------------ */

static status put(contact_sheet *s, const char *text) { return atomic_file_write(s->file, text, strlen(text)); }

/* Text as HTML shows it, in elements and in attributes with "quotes"; what is no UTF-8 or invisible control becomes
 * U+FFFD. */
static status put_text(contact_sheet *s, const char *text) {
  static const char *const references[128] = {
      ['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&#39;"};
  char *repaired;
  size_t n, begin = 0;
  status code = unicode_repair(text, strlen(text), &repaired, &n);
  const char *clean = repaired ? repaired : text;
  for (size_t i = 0; !code && i < n; i++) {
    const unsigned char c = (unsigned char)clean[i];
    const bool control = (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f;
    const char *stands_for = control ? "\xef\xbf\xbd" : c < 128 ? references[c] : NULL;
    if (!stands_for) continue;
    code = atomic_file_write(s->file, clean + begin, i - begin);
    if (!code) code = put(s, stands_for);
    begin = i + 1;
  }
  if (!code) code = atomic_file_write(s->file, clean + begin, n - begin);
  free(repaired);
  return code;
}

/* The bytes of an absolute path as the path of a file: URI (RFC 3986). */
static status put_path(contact_sheet *s, const char *path) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
  status code = put(s, "file://");
  for (; !code && *path; path++) {
    char escaped[4] = {*path};
    if (!strchr(plain, *path)) snprintf(escaped, sizeof escaped, "%%%02X", (unsigned char)*path);
    code = put(s, escaped);
  }
  return code;
}

/* data:image/png;base64,... of n bytes (RFC 2397, RFC 4648); the caller frees it. */
static char *data_uri(const unsigned char *bytes, size_t n) {
  static const char head[] = "data:image/png;base64,";
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t room;
  if (!size_mul(n / 3 + 1, 4, &room)) return fail_null(STATUS_MEMORY, "the thumbnail is too large");
  char *uri = mem_alloc(sizeof head + room, 1), *to = uri;
  if (!uri) return NULL;
  to += sprintf(to, "%s", head);
  for (size_t i = 0; i < n; i += 3) {
    const size_t left = n - i;
    const uint32_t three = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                           (left > 2 ? (uint32_t)bytes[i + 2] : 0);
    *to++ = digits[three >> 18];
    *to++ = digits[three >> 12 & 63];
    *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
    *to++ = left > 2 ? digits[three & 63] : '=';
  }
  *to = 0;
  return uri;
}

/* --- thumbnails --------------------------------------------------------------------------------------------------- */

static char *encoded(const image *im) {
  void *bytes;
  size_t n;
  if (image_encode_png(im, &bytes, &n)) return NULL;
  char *uri = data_uri(bytes, n);
  free(bytes);
  return uri;
}

static int scaled(int side, int longer) {
  const int n = (int)lround((double)side * SIDE / longer);
  return n > 0 ? n : 1;
}

/* The whole picture on white, no larger than it is. */
static image *thumbnail(const char *path) {
  image *im = image_open(path, NULL), *plain = im ? image_on_white(im) : NULL, *small = NULL;
  image_free(im);
  if (!plain) return NULL;
  const int longer = plain->width > plain->height ? plain->width : plain->height;
  if (longer <= SIDE) return plain;
  small = image_resize(plain, scaled(plain->width, longer), scaled(plain->height, longer), FILTER_BICUBIC);
  image_free(plain);
  return small;
}

/* A grey square with its diagonals, for a picture that is not there. */
static image *crossed_square(void) {
  enum { PALE = 0xe4, DARK = 0xb0 };
  image *im = image_new(IMAGE_L, SIDE, SIDE);
  for (int y = 0; im && y < SIDE; y++)
    for (int x = 0; x < SIDE; x++) {
      const bool line = abs(x - y) < 2 || abs(x + y - (SIDE - 1)) < 2;
      ((uint8_t *)im->pixels)[y * SIDE + x] = line ? DARK : PALE;
    }
  return im;
}

static char *uri_of(image *im) {
  char *uri = im ? encoded(im) : NULL;
  image_free(im);
  return uri;
}

/* --- the page ----------------------------------------------------------------------------------------------------- */

static const char page_begin[] = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                                 "<meta name=\"color-scheme\" content=\"light dark\">\n<title>";
static const char page_style[] =
    "</title>\n<style>\n"
    ":root { --page: #f6f5f2; --card: #fff; --ink: #22201c; --faint: #6d6a63; --edge: #e2dfd8; --mark: #2f6f4f; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "  :root { --page: #191a1c; --card: #242629; --ink: #eceae5; --faint: #a3a099; --edge: #36393d; --mark: #7fc6a0; "
    "}\n"
    "}\n"
    "* { box-sizing: border-box; }\n"
    "body { margin: 0; padding: 1.5rem clamp(1rem, 4vw, 3rem) 3rem; background: var(--page); color: var(--ink);\n"
    "  font: 15px/1.4 system-ui, sans-serif; }\n"
    "h1 { font-size: 1rem; font-weight: 500; color: var(--faint); margin: 0 0 .5rem; overflow-wrap: anywhere; }\n"
    "h2 { font-size: 1.5rem; font-weight: 600; margin: 1.75rem 0 .75rem; overflow-wrap: anywhere; }\n"
    ".grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: .9rem; }\n"
    "figure { margin: 0; background: var(--card); border: 1px solid var(--edge); border-radius: 10px;\n"
    "  overflow: hidden; break-inside: avoid; display: flex; flex-direction: column; }\n"
    ".view { height: 180px; display: flex; align-items: center; justify-content: center; background: #fff; color: "
    "#22201c;\n"
    "  border-bottom: 1px solid var(--edge); }\n"
    ".view img { display: block; max-width: 160px; max-height: 160px; }\n"
    ".view p { margin: 0; padding: .75rem; max-height: 180px; overflow: hidden; overflow-wrap: anywhere; }\n"
    "figcaption { padding: .55rem .7rem .65rem; font-size: .85rem; overflow-wrap: anywhere; }\n"
    ".score { float: right; margin-left: .5rem; color: var(--mark); font-variant-numeric: tabular-nums; }\n"
    ".name { font-weight: 600; color: inherit; text-decoration: none; }\n"
    "a.name:hover, a.name:focus { text-decoration: underline; }\n"
    ".said, .facts { display: block; margin-top: .2rem; }\n"
    ".facts { color: var(--faint); font-size: .78rem; }\n"
    ".none { color: var(--faint); }\n"
    "@media print { :root { --page: #fff; --card: #fff; --ink: #000; --faint: #444; --edge: #bbb; --mark: #000; }\n"
    "  body { padding: 0; } h2 { break-after: avoid; } figure { border-radius: 0; } }\n"
    "</style>\n</head>\n<body>\n<h1>";

contact_sheet *sheet_create(const char *path, const char *title, const char *index) {
  contact_sheet *s = mem_zero(1, sizeof *s);
  if (!s) return NULL;
  s->index = index;
  s->gone = uri_of(crossed_square());
  s->file = s->gone ? atomic_file_create(path) : NULL;
  status code = s->file ? put(s, page_begin) : last_status();
  if (!code) code = put_text(s, title);
  if (!code) code = put(s, page_style);
  if (!code) code = put_text(s, title);
  if (!code) code = put(s, "</h1>\n");
  if (!code) return s;
  sheet_abandon(s);
  return NULL;
}

static status end_query(contact_sheet *s) {
  if (!s->queries) return STATUS_OK;
  return put(s, s->results ? "</div>\n</section>\n" : "<p class=\"none\">Nothing was found.</p>\n</section>\n");
}

status sheet_query(contact_sheet *s, const char *query) {
  status code = end_query(s);
  s->queries++;
  s->results = 0;
  if (!code) code = put(s, "<section>\n<h2>");
  if (!code) code = put_text(s, query);
  return code ? code : put(s, "</h2>\n");
}

void sheet_abandon(contact_sheet *s) {
  if (!s) return;
  atomic_file_abandon(s->file);
  free(s->gone);
  free(s);
}

status sheet_commit(contact_sheet *s) {
  status code = end_query(s);
  if (!code) code = put(s, "</body>\n</html>\n");
  if (!code) {
    code = atomic_file_commit(s->file);
    s->file = NULL;
  }
  sheet_abandon(s);
  return code;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash && slash[1] ? slash + 1 : path;
}

static status put_view(contact_sheet *s, const index_record *r, const char *file, bool picture) {
  char *uri = file ? uri_of(thumbnail(file)) : NULL;
  status code = put(s, "<div class=\"view\">");
  if (!code && picture) {
    code = put(s, "<img src=\"");
    if (!code) code = put(s, uri ? uri : s->gone);
    if (!code) code = put(s, "\" alt=\"");
    if (!code) code = put_text(s, uri ? base_name(r->path) : "This picture cannot be shown: it is gone or broken");
    if (!code) code = put(s, "\">");
  } else if (!code) {
    code = put(s, "<p>");
    if (!code) code = put_text(s, *r->caption ? r->caption : r->path);
    if (!code) code = put(s, "</p>");
  }
  free(uri);
  return code ? code : put(s, "</div>\n");
}

/* The path's last part, which leads to the file. */
static status put_name(contact_sheet *s, const index_record *r, const char *file) {
  char whole[PATH_MAX];
  const bool linked = file && realpath(file, whole);
  status code = put(s, linked ? "<a class=\"name\" href=\"" : "<span class=\"name\"");
  if (!code && linked) code = put_path(s, whole);
  if (!code) code = put(s, linked ? "\" title=\"" : " title=\"");
  if (!code) code = put_text(s, r->path);
  if (!code) code = put(s, "\">");
  if (!code) code = put_text(s, base_name(r->path));
  return code ? code : put(s, linked ? "</a>\n" : "</span>\n");
}

static status put_line(contact_sheet *s, const char *class, const char *text) {
  status code = put(s, "<span class=\"");
  if (!code) code = put(s, class);
  if (!code) code = put(s, "\">");
  if (!code) code = put_text(s, text);
  return code ? code : put(s, "</span>\n");
}

/* Width x height, and the first few of what a list said. */
static status put_facts(contact_sheet *s, const json_t *metadata) {
  enum { MOST = 4 };
  const char *key;
  json_t *value;
  char line[512];
  int n = 0, shown = 0;
  const json_t *height = json_object_get(metadata, "height");
  if (is_picture(metadata) && json_is_number(height))
    n = snprintf(line, sizeof line, "%.0f \xc3\x97 %.0f", json_number_value(json_object_get(metadata, FIELD_WIDTH)),
                 json_number_value(height));
  json_object_foreach((json_t *)(uintptr_t)metadata, key, value) {
    const char *text = json_string_value(value);
    char number[64];
    for (const char *const *name = measured_fields; *name; name++)
      if (!strcmp(key, *name)) text = NULL, value = NULL;
    if (json_is_number(value)) {
      snprintf(number, sizeof number, "%.9g", json_number_value(value));
      text = number;
    }
    if (!value || !text || shown == MOST || n < 0 || (size_t)n + 80 > sizeof line) continue;
    shown++;
    n += snprintf(line + n, sizeof line - (size_t)n, "%s%.24s: %.48s", n ? " \xc2\xb7 " : "", key, text);
  }
  return n > 0 ? put_line(s, "facts", line) : STATUS_OK;
}

static status put_score(contact_sheet *s, double score) {
  char text[64];
  snprintf(text, sizeof text, "<span class=\"score\">%.3f</span>\n", score);
  return put(s, text);
}

status sheet_result(contact_sheet *s, double score, const index_record *r) {
  json_t *metadata = record_metadata(r);
  if (!metadata) return fail(STATUS_MEMORY, "out of memory");
  char *file = picture_file(r->path, s->index);
  const bool picture = file || is_picture(metadata);
  status code = s->results++ ? STATUS_OK : put(s, "<div class=\"grid\">\n");
  if (!code) code = put(s, "<figure>\n");
  if (!code) code = put_view(s, r, file, picture);
  if (!code) code = put(s, "<figcaption>\n");
  if (!code) code = put_score(s, score);
  if (!code) code = put_name(s, r, file);
  if (!code && picture && *r->caption) code = put_line(s, "said", r->caption);
  if (!code) code = put_facts(s, metadata);
  free(file);
  json_decref(metadata);
  return code ? code : put(s, "</figcaption>\n</figure>\n");
}
