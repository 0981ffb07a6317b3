/* Noto Color Emoji: every single code point that has a colour glyph and an English name in CLDR which says a kind.
 *
 * The font has one strike of 136 x 128 bitmaps in premultiplied BGRA (FreeType's FT_PIXEL_MODE_BGRA). Sequences (flags,
 * skin tones, professions) need text shaping and are left out. */
#include <expat.h>
#include <ft2build.h>
#include FT_FREETYPE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/build/build.h"
#include "kernels/file.h"

enum { MAX_XML = 64 << 20 };

/* ---- CLDR: annotations/en.xml, <annotation cp="..." type="tts">name</annotation> ---- */

typedef struct {
  uint32_t code;
  char name[96];
} emoji_name;

typedef struct {
  emoji_name *item;
  size_t n, room;
  bool inside; /* in an annotation of a single code point */
  emoji_name current;
  status failure;
} name_list;

/* The only code point of `text` besides U+FE0F; 0 if there are more or the text is not UTF-8. */
static uint32_t single_code(const char *text) {
  uint32_t found = 0;
  for (const unsigned char *p = (const unsigned char *)text; *p != 0;) {
    int more = *p < 0x80 ? 0 : *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc0 ? 1 : -1;
    if (more < 0) return 0;
    uint32_t code = more == 0 ? *p : *p & (0x3fu >> more);
    for (p++; more > 0; more--, p++) {
      if ((*p & 0xc0) != 0x80) return 0;
      code = code << 6 | (*p & 0x3f);
    }
    if (code == 0xfe0f) continue;
    if (found != 0) return 0;
    found = code;
  }
  return found;
}

static void XMLCALL on_start(void *data, const XML_Char *element, const XML_Char **attributes) {
  name_list *list = data;
  bool spoken = false;
  list->current = (emoji_name){0};
  if (strcmp(element, "annotation") != 0) return;
  for (; attributes[0] != NULL; attributes += 2) {
    if (strcmp(attributes[0], "cp") == 0) list->current.code = single_code(attributes[1]);
    if (strcmp(attributes[0], "type") == 0) spoken = strcmp(attributes[1], "tts") == 0;
  }
  list->inside = spoken && list->current.code != 0;
}

static void XMLCALL on_text(void *data, const XML_Char *text, int n) {
  name_list *list = data;
  size_t used = strlen(list->current.name), room = sizeof list->current.name - 1 - used;
  if (list->inside) memcpy(list->current.name + used, text, (size_t)n < room ? (size_t)n : room);
}

static void XMLCALL on_end(void *data, const XML_Char *element) {
  name_list *list = data;
  (void)element;
  if (!list->inside || list->failure != STATUS_OK) return;
  list->inside = false;
  emoji_name *items = mem_room(list->item, list->n, &list->room, sizeof *items);
  if (items == NULL) {
    list->failure = last_status();
    return;
  }
  list->item = items;
  list->item[list->n++] = list->current;
}

static status read_names(const char *path, name_list *list) {
  size_t n;
  char *text = file_read(path, MAX_XML, &n);
  if (text == NULL) return fail(last_status(), "%s; scripts/data installs the package", last_error());
  XML_Parser parser = XML_ParserCreate("UTF-8");
  status s = parser != NULL ? STATUS_OK : fail(STATUS_MEMORY, "no memory for reading %s", path);
  if (parser != NULL) {
    XML_SetUserData(parser, list);
    XML_SetElementHandler(parser, on_start, on_end);
    XML_SetCharacterDataHandler(parser, on_text);
    if (XML_Parse(parser, text, (int)n, true) != XML_STATUS_OK) {
      s = fail(STATUS_FORMAT, "%s, line %lu: %s", path, (unsigned long)XML_GetCurrentLineNumber(parser),
               XML_ErrorString(XML_GetErrorCode(parser)));
    }
    if (list->failure != STATUS_OK) s = list->failure;
    XML_ParserFree(parser);
  }
  free(text);
  return s;
}

static int compare_code(const void *a, const void *b) {
  const emoji_name *x = a, *y = b;
  return (x->code > y->code) - (x->code < y->code);
}

/* ---- the glyphs ---- */

static uint8_t unpremultiply(uint8_t value, uint8_t alpha) {
  unsigned v = alpha == 0 ? 0 : (value * 255u + alpha / 2u) / alpha;
  return (uint8_t)(v > 255 ? 255 : v);
}

/* The glyph as RGBA, alpha not premultiplied; NULL with status UNSUPPORTED if it is not a colour bitmap. */
static image *render(FT_Face face, uint32_t code) {
  FT_UInt glyph = FT_Get_Char_Index(face, code);
  if (glyph == 0 || FT_Load_Glyph(face, glyph, FT_LOAD_COLOR | FT_LOAD_RENDER) != 0 ||
      face->glyph->bitmap.pixel_mode != FT_PIXEL_MODE_BGRA || face->glyph->bitmap.width == 0) {
    return fail_null(STATUS_UNSUPPORTED, "U+%04X has no colour glyph", code);
  }
  const FT_Bitmap *bitmap = &face->glyph->bitmap;
  image *im = image_new(IMAGE_RGBA, (int)bitmap->width, (int)bitmap->rows);
  if (im == NULL) return NULL;
  uint8_t *to = im->pixels;
  for (unsigned y = 0; y < bitmap->rows; y++) {
    const uint8_t *from = bitmap->buffer + (ptrdiff_t)y * bitmap->pitch;
    for (unsigned x = 0; x < bitmap->width; x++, from += 4, to += 4) {
      for (int c = 0; c < 3; c++) to[c] = unpremultiply(from[2 - c], from[3]);
      to[3] = from[3];
    }
  }
  return im;
}

static status take_emoji(FT_Face face, const emoji_name *e, uint32_t kind, candidate_list *out, source_counts *counts) {
  char name[32];
  image *whole = render(face, e->code);
  image *object = whole != NULL ? cut_out(whole) : NULL;
  image_free(whole);
  if (object == NULL) {
    if (last_status() != STATUS_UNSUPPORTED) return last_status();
    counts->without_object++;
    return STATUS_OK;
  }
  bool copy;
  snprintf(name, sizeof name, "emoji U+%04X", e->code);
  status s = candidate_add(out, name, "noto", kind, SOURCE_EMOJI, object, &copy);
  counts->copies += copy;
  return s;
}

static status take_all(FT_Face face, const name_list *list, const name_table *names, candidate_list *out,
                       source_counts *counts) {
  status s = STATUS_OK;
  for (size_t i = 0; s == STATUS_OK && i < list->n; i++) {
    if (i > 0 && list->item[i].code == list->item[i - 1].code) continue;
    int64_t kind = kind_of_name(names, list->item[i].name, "emoji");
    counts->files++;
    counts->unnamed += kind == NAME_UNKNOWN;
    counts->rejected += kind == NAME_REJECTED;
    if (kind >= 0) s = take_emoji(face, &list->item[i], (uint32_t)kind, out, counts);
  }
  return s;
}

status emoji_collect(const char *font, const char *annotations, const name_table *names, candidate_list *out,
                     source_counts *counts) {
  name_list list = {0};
  FT_Library library = NULL;
  FT_Face face = NULL;
  status s = read_names(annotations, &list);
  if (s == STATUS_OK) qsort(list.item, list.n, sizeof *list.item, compare_code);
  if (s == STATUS_OK && FT_Init_FreeType(&library) != 0) s = fail(STATUS_UNSUPPORTED, "FreeType does not start");
  if (s == STATUS_OK && (FT_New_Face(library, font, 0, &face) != 0 || FT_Select_Size(face, 0) != 0)) {
    s = fail(STATUS_IO, "cannot open %s as a font with colour bitmaps; scripts/data installs the package", font);
  }
  if (s == STATUS_OK) s = take_all(face, &list, names, out, counts);
  if (face != NULL) FT_Done_Face(face);
  if (library != NULL) FT_Done_FreeType(library);
  free(list.item);
  return s;
}
