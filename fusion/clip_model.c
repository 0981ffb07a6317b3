#include "fusion/clip_model.h"

#include <stdlib.h>

clip_model *clip_model_load(const checkpoint *file, const char *vocabulary) {
  clip_model *m = mem_zero(1, sizeof *m);
  if (!m) return NULL;
  status s = clip_load(&m->pair, file, CLIP_GELU_BY_FILE, PARAMS_FOR_USE);
  if (!s) s = clip_words_open(&m->words, &m->pair, file, vocabulary);
  if (!s && m->pair.config.has_image) m->side = clip_image_side(&m->pair);
  const char *templates = checkpoint_metadata(file, CLIP_TEMPLATES);
  if (!s && templates && !(m->templates = mem_string(templates))) s = STATUS_MEMORY;
  if (!s) return m;
  clip_model_close(m);
  return NULL;
}

clip_model *clip_model_open(const char *path, const char *vocabulary) {
  checkpoint *file = checkpoint_open(path);
  clip_model *m = file ? clip_model_load(file, vocabulary) : NULL;
  checkpoint_close(file);
  return m;
}

void clip_model_close(clip_model *m) {
  if (!m) return;
  free(m->templates);
  clip_words_free(&m->words);
  clip_free(&m->pair);
  free(m);
}

void clip_model_normalise(const clip_model *m, const uint8_t *rgb, float *pixels) {
  image_tower_normalise(rgb, (size_t)m->side * (size_t)m->side * 3, pixels);
}

status clip_model_pixels(const clip_model *m, const image *im, float *pixels) {
  if (!m->pair.config.has_image) return fail(STATUS_UNSUPPORTED, "the model has a text tower only");
  if (!m->pair.config.fit) return clip_pixels(im, m->side, pixels);
  image *square = image_fit_square(im, m->side);
  if (!square) return last_status();
  clip_model_normalise(m, square->pixels, pixels);
  image_free(square);
  return STATUS_OK;
}

status clip_model_texts(ctx *c, const clip_model *m, const char *const *texts, size_t n, float *rows, size_t *n_cut) {
  enum { CHUNK = 64 };
  const size_t length = (size_t)m->words.length, width = (size_t)clip_width(&m->pair);
  if (!m->pair.config.has_text) return fail(STATUS_UNSUPPORTED, "the model has an image tower only");
  int32_t *ids = mem_alloc((n < CHUNK ? n : CHUNK) * length, sizeof *ids);
  status s = ids ? STATUS_OK : STATUS_MEMORY;
  size_t n_long = 0, cut;
  for (size_t at = 0; !s && at < n; at += CHUNK) {
    const size_t part = n - at < CHUNK ? n - at : CHUNK;
    s = clip_words_ids(&m->words, texts + at, part, ids, &cut);
    if (!s) s = clip_encode_texts(c, &m->pair, ids, (int64_t)part, (int64_t)length, rows + at * width);
    n_long += s ? 0 : cut;
  }
  free(ids);
  if (n_cut) *n_cut = n_long;
  return s;
}
