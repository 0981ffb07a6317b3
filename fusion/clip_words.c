#include "fusion/clip_words.h"

#include <stdlib.h>
#include <string.h>

#include "lm/text.h"

status clip_words_take(clip_words *w, const clip_pair *m, tokenizer *words) {
  const uint32_t tokens = tokenizer_size(words);
  *w = (clip_words){.words = words,
                    .spelling = m->config.rwkv ? CLIP_SPELT_OPENCLIP : CLIP_SPELT_OPENAI,
                    .length = clip_text_length(m)};
  if (w->length < 2) return fail(STATUS_ARGUMENT, "a text tower for %d token has no room for a text", w->length);
  return tokens <= (uint32_t)clip_vocabulary(m)
             ? STATUS_OK
             : fail(STATUS_ARGUMENT, "the vocabulary has %u tokens, but the text tower knows %d: it is not this pair's",
                    (unsigned)tokens, clip_vocabulary(m));
}

status clip_words_open(clip_words *w, const clip_pair *m, const checkpoint *file, const char *vocabulary) {
  tokenizer *words = NULL;
  *w = (clip_words){0};
  if (!m->config.has_text)
    return vocabulary ? fail(STATUS_ARGUMENT, "the model has no text tower: it reads no text in any vocabulary")
                      : STATUS_OK;
  if (vocabulary ? !(words = tokenizer_open(vocabulary)) : file && text_vocabulary(file, &words)) return last_status();
  if (!words || !clip_words_take(w, m, words)) return STATUS_OK;
  return fail_within("%s", vocabulary ? vocabulary : checkpoint_path(file));
}

void clip_words_free(clip_words *w) {
  tokenizer_free(w->words);
  *w = (clip_words){0};
}

status clip_words_plain(const char *text, size_t n, char **out, size_t *size) {
  char *clean;
  if (clip_clean(text, n, &clean, size)) return last_status();
  *out = mem_alloc(*size + 2, 1);
  if (*out) {
    (*out)[0] = ' ';
    memcpy(*out + 1, clean, *size);
    (*out)[++*size] = 0;
  }
  free(clean);
  return *out ? STATUS_OK : STATUS_MEMORY;
}

static status row_of(const clip_words *w, const char *text, int32_t *row, bool *cut) {
  if (tokenizer_kind_of(w->words) == TOKENIZER_KIND_CLIP)
    return clip_context(w->words, w->spelling, text, strlen(text), row, (size_t)w->length, cut);
  char *plain;
  size_t size;
  if (clip_words_plain(text, strlen(text), &plain, &size)) return last_status();
  const size_t most = (size_t)w->length - 1, n = tokenizer_encode(w->words, plain, size, row, most);
  free(plain);
  if (n == TOKENIZER_FAILED) return STATUS_MEMORY;
  for (size_t t = n < most ? n : most; t <= most; t++) row[t] = TOKENIZER_END;
  *cut = n > most;
  return STATUS_OK;
}

status clip_words_ids(const clip_words *w, const char *const *texts, size_t n, int32_t *ids, size_t *n_cut) {
  size_t n_long = 0;
  status s = STATUS_OK;
  if (!w->words) return fail(STATUS_ARGUMENT, "the model carries no vocabulary; name its file with --vocab");
  for (size_t i = 0; !s && i < n; i++) {
    bool cut = false;
    s = row_of(w, texts[i], ids + i * (size_t)w->length, &cut);
    n_long += cut;
  }
  if (n_cut) *n_cut = n_long;
  return s;
}
