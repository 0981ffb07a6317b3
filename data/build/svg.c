/* The keywords of an OpenClipart SVG file: the words of dc:subject in its RDF block. Some files are gzip-compressed. */
#include <expat.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/build/build.h"

enum { MAX_KEYWORD_BYTES = 4096, MAX_SVG_BYTES = 64 << 20 };

typedef struct {
  int in_subject, in_word; /* depth of dc:subject and of the word inside it */
  char *words;
  size_t n;
} subject;

static const char *local_name(const char *name) {
  const char *colon = strrchr(name, ':');
  return colon != NULL ? colon + 1 : name;
}

static void XMLCALL on_start(void *data, const XML_Char *name, const XML_Char **attributes) {
  (void)attributes;
  subject *s = data;
  if (strcmp(local_name(name), "subject") == 0) s->in_subject++;
  if (s->in_subject > 0 && strcmp(local_name(name), "li") == 0) s->in_word++;
}

static void XMLCALL on_end(void *data, const XML_Char *name) {
  subject *s = data;
  if (s->in_word > 0 && strcmp(local_name(name), "li") == 0) {
    s->in_word--;
    if (s->n > 0 && s->words[s->n - 1] != '\n' && s->n + 1 < MAX_KEYWORD_BYTES) s->words[s->n++] = '\n';
  }
  if (s->in_subject > 0 && strcmp(local_name(name), "subject") == 0) s->in_subject--;
}

static void XMLCALL on_text(void *data, const XML_Char *text, int n) {
  subject *s = data;
  for (int i = 0; s->in_word > 0 && i < n && s->n + 2 < MAX_KEYWORD_BYTES; i++) {
    s->words[s->n++] = text[i] == '\n' || text[i] == '\t' ? ' ' : text[i];
  }
}

char *svg_keywords(const char *path) {
  subject s = {.words = mem_zero(MAX_KEYWORD_BYTES, 1)};
  gzFile file = gzopen(path, "rb"); /* reads plain files as they are */
  XML_Parser parser = XML_ParserCreate(NULL);
  if (s.words == NULL || file == NULL || parser == NULL) {
    if (s.words != NULL) fail(STATUS_IO, "cannot read %s", path);
    if (file != NULL) gzclose(file);
    if (parser != NULL) XML_ParserFree(parser);
    free(s.words);
    return NULL;
  }
  XML_SetUserData(parser, &s);
  XML_SetElementHandler(parser, on_start, on_end);
  XML_SetCharacterDataHandler(parser, on_text);
  char block[16384];
  size_t total = 0;
  for (int n = gzread(file, block, sizeof block); n > 0 && total < MAX_SVG_BYTES;
       n = gzread(file, block, sizeof block)) {
    total += (size_t)n;
    if (XML_Parse(parser, block, n, 0) != XML_STATUS_OK) break; /* a damaged file keeps the words before the damage */
  }
  XML_ParserFree(parser);
  gzclose(file);
  s.words[s.n] = 0;
  return s.words;
}
