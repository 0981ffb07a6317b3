#include "fusion/prompt.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/utf8.h"

static const char mark[] = "<image>", names[][10] = {[PROMPT_HUMAN] = "User", [PROMPT_MODEL] = "Assistant"};

/* --- text that grows ---------------------------------------------------------------------------------------------- */

typedef struct {
  char *bytes; /* terminated; NULL while empty */
  size_t n, capacity;
  bool failed; /* no memory: further additions do nothing */
} text;

static void put_bytes(text *t, const char *bytes, size_t n) {
  while (!t->failed && t->n + n + 1 > t->capacity) {
    char *grown = mem_room(t->bytes, t->capacity, &t->capacity, 1);
    t->failed = !grown;
    if (grown) t->bytes = grown;
  }
  if (t->failed) return;
  memcpy(t->bytes + t->n, bytes, n);
  t->bytes[t->n += n] = 0;
}

static void put(text *t, const char *string) { put_bytes(t, string, strlen(string)); }

/* --- cleaning ----------------------------------------------------------------------------------------------------- */

/* Length of the white space that text[0..n) begins with, 0 if none: Unicode's, and the four separators that Python
 * counts. *line: it is a newline. */
static size_t blank_at(const char *at, size_t n, bool *line) {
  uint32_t code;
  int length = n ? utf8_next(at, n, &code) : 0;
  *line = length > 0 && code == '\n';
  if (length <= 0) return 0;
  bool blank = (code >= 9 && code <= 13) || (code >= 28 && code <= 32) || code == 0x85 || code == 0xa0 ||
               code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 ||
               code == 0x202f || code == 0x205f || code == 0x3000;
  return blank ? (size_t)length : 0;
}

/* Adds string[0..n) without white space at either end; with `join`, newlines that only white space parts become one. */
static void put_clean(text *to, const char *string, size_t n, bool join) {
  const size_t start = to->n;
  size_t solid = to->n; /* where the last byte that is not blank ends */
  for (size_t at = 0; at < n;) {
    bool line, any = false;
    size_t end = at, run_end = at, step; /* of the blanks from here; behind their last newline */
    size_t first = 0;                    /* the first newline */
    while ((step = blank_at(string + end, n - end, &line))) {
      if (line && !any) first = end;
      end += step;
      if (line) run_end = end, any = true;
    }
    if (end == at) {
      put_bytes(to, string + at++, 1);
      solid = to->n;
      continue;
    }
    if (solid > start) { /* blanks inside: before the newlines, the newlines, after them */
      bool joined = join && any;
      put_bytes(to, string + at, joined ? first - at : end - at);
      if (joined) put(to, "\n"), put_bytes(to, string + run_end, end - run_end);
    }
    at = end;
  }
  if (!to->failed && to->bytes) to->bytes[to->n = solid] = 0;
}

/* `string` without any `what`. */
static text without(const char *string, const char *what) {
  text t = {0};
  put(&t, "");
  for (const char *found; (found = strstr(string, what)); string = found + strlen(what))
    put_bytes(&t, string, (size_t)(found - string));
  put(&t, string);
  return t;
}

/* --- turns -------------------------------------------------------------------------------------------------------- */

/* Every human turn on its line; the one with the picture without its request for brevity. */
static void put_questions(text *to, const prompt_turn *turns, size_t n) {
  bool more = false;
  for (size_t i = 0; i < n; i++) {
    if (turns[i].from != PROMPT_HUMAN) continue;
    const bool marked = strstr(turns[i].text, mark) != NULL;
    text bare = without(turns[i].text, mark), question = {0};
    if (marked && !bare.failed) {
      question = without(bare.bytes, "Answer the question using a single word or phrase.");
      free(bare.bytes);
      bare = question;
    }
    if (more) put(to, "\n");
    if (!bare.failed) put_clean(to, bare.bytes, bare.n, marked);
    to->failed |= bare.failed;
    free(bare.bytes);
    more = true;
  }
}

/* One turn with its speaker and its end. */
static void put_turn(text *to, const prompt_turn *turns, size_t n, size_t i, prompt_form form) {
  const bool marked = strstr(turns[i].text, mark) != NULL;
  text bare = without(turns[i].text, mark), said = {0};
  put(&said, "");
  if (marked && form == PROMPT_SANDWICH) put_questions(&said, turns, n), put(&said, "\n");
  if (marked && form != PROMPT_LAST) put(&said, mark), put(&said, "\n");
  if (!bare.failed) put_clean(&said, bare.bytes, bare.n, true);
  if (marked && form == PROMPT_LAST) put(&said, "\n"), put(&said, mark);
  put(to, names[turns[i].from]);
  put(to, ":");
  if (said.n) put(to, " "), put_bytes(to, said.bytes, said.n), put(to, "\n\n");
  to->failed |= bare.failed || said.failed;
  free(bare.bytes);
  free(said.bytes);
}

char *prompt_text(const prompt_turn *turns, size_t n, prompt_form form) {
  text t = {0};
  put(&t, "");
  for (size_t i = 0; i < n; i++) put_turn(&t, turns, n, i, form);
  if (!t.failed) return t.bytes;
  free(t.bytes);
  return NULL;
}

/* --- tokens ------------------------------------------------------------------------------------------------------- */

static status put_ids(prompt_tokens *t, const tokenizer *words, const char *string, size_t n) {
  const size_t room = tokenizer_room(words, n);
  size_t all;
  if (!size_add(t->n, room, &all)) return fail(STATUS_MEMORY, "a prompt of %zu bytes is too long", n);
  int32_t *grown = mem_grow(t->ids, all, sizeof *grown);
  if (!grown) return STATUS_MEMORY;
  t->ids = grown;
  const size_t count = tokenizer_encode(words, string, n, t->ids + t->n, room);
  if (count == TOKENIZER_FAILED) return last_status();
  t->n += count;
  return STATUS_OK;
}

/* A turn's text is cut at the pictures; each piece is tokenised by itself. */
static status encode_turn(prompt_tokens *t, const tokenizer *words, const char *string) {
  status s = STATUS_OK;
  for (const char *found; !s && (found = strstr(string, mark)); string = found + strlen(mark)) {
    s = put_ids(t, words, string, (size_t)(found - string));
    int32_t *grown = s ? NULL : mem_grow(t->ids, t->n + 1, sizeof *grown);
    if (!grown) return STATUS_MEMORY;
    t->ids = grown;
    t->ids[t->n++] = PROMPT_IMAGE;
  }
  return s ? s : put_ids(t, words, string, strlen(string));
}

/* Labels of the tokens from `first` on: theirs, but for the speaker's name. */
static status label(prompt_tokens *t, size_t first, size_t unscored) {
  int32_t *grown = mem_grow(t->labels, t->n, sizeof *grown);
  if (!grown) return STATUS_MEMORY;
  t->labels = grown;
  for (size_t i = first; i < t->n; i++) t->labels[i] = i < first + unscored ? PROMPT_IGNORED : t->ids[i];
  return STATUS_OK;
}

static status fit(prompt_tokens *t, size_t length) {
  if (length > t->n) {
    int32_t *ids = mem_grow(t->ids, length, sizeof *ids),
            *labels = ids ? mem_grow(t->labels, length, sizeof *ids) : NULL;
    if (ids) t->ids = ids;
    if (!labels) return STATUS_MEMORY;
    t->labels = labels;
    for (size_t i = t->n; i < length; i++) ids[i] = TOKENIZER_END, labels[i] = PROMPT_IGNORED;
  }
  t->n = length;
  return STATUS_OK;
}

status prompt_encode(const tokenizer *words, const prompt_turn *turns, size_t n, prompt_form form, size_t length,
                     prompt_tokens *out) {
  static const char speaks[] = "Assistant:";
  const size_t name = tokenizer_encode(words, speaks, sizeof speaks - 1, NULL, 0);
  *out = (prompt_tokens){0};
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < n; i++) {
    const size_t first = out->n;
    text turn = {0};
    put_turn(&turn, turns, n, i, form);
    s = turn.failed ? STATUS_MEMORY : encode_turn(out, words, turn.bytes);
    if (!s) s = label(out, first, turns[i].from == PROMPT_MODEL ? name : out->n - first);
    free(turn.bytes);
  }
  return s || !length ? s : fit(out, length);
}

void prompt_tokens_free(prompt_tokens *t) {
  free(t->ids);
  free(t->labels);
  *t = (prompt_tokens){0};
}
