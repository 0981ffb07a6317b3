#include "tests/support/tiny_captioner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/vocabulary.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

visualrwkv_config tiny_captioner_config(void) {
  return (visualrwkv_config){.lm = {.version = 6,
                                    .n_layer = 3,
                                    .n_embd = 24,
                                    .dim_att = 24,
                                    .dim_ffn = 40,
                                    .head_size = 8,
                                    .vocab_size = TINY_VOCABULARY,
                                    .rank_mix = 3,
                                    .rank_decay = 5},
                             .tower = {.depth = 2,
                                       .width = 16,
                                       .hidden = 24,
                                       .head_size = 8,
                                       .patch = 8,
                                       .grid_h = 4,
                                       .grid_w = 4,
                                       .rank_mix = 3,
                                       .rank_decay = 4,
                                       .alternate_scan = true},
                             .image_size = TINY_IMAGE,
                             .image_grid = 2,
                             .bidirectional = true};
}

char *tiny_captioner_vocabulary(void) {
  static const char captions[] =
      "a red disc and two blue squares above an apple\nthree green stars to the left of a cat";
  vocabulary_builder *v = vocabulary_builder_new();
  char *text = NULL;
  size_t n;
  assert_non_null(v);
  assert_int_equal(vocabulary_add_piece(v, "\n\n", 2), STATUS_OK);
  assert_int_equal(vocabulary_add_text(v, captions, strlen(captions)), STATUS_OK);
  assert_int_equal(vocabulary_write(v, TINY_VOCABULARY - 1, &text, &n), STATUS_OK);
  vocabulary_builder_free(v);
  return text;
}

void tiny_disturb(param_set *set, uint64_t seed) {
  params_init(set, seed);
  for (size_t i = 0; i < set->n; i++) {
    const param *p = &set->item[i];
    rng g = rng_make(seed, i);
    int64_t n = tensor_count(p->value);
    bool is_factor = p->spec->class == PARAM_MATRIX || p->spec->class == PARAM_LOW_RANK;
    float size = is_factor ? 1.0f / sqrtf((float)tensor_last(p->value)) : p->spec->class == PARAM_EMBEDDING ? 1 : 0.2f;
    for (int64_t k = 0; k < n; k++) f32(p->value)[k] += size * rng_normal(&g);
  }
}

void tiny_captioner(visualrwkv *m, uint64_t seed, tiny_speech speech) {
  const visualrwkv_config config = tiny_captioner_config();
  char *vocabulary = tiny_captioner_vocabulary();
  if (visualrwkv_declare(m, &config, vocabulary, "Say: ", "\nso:") || params_allocate(&m->params))
    fail_msg("%s", last_error());
  free(vocabulary);
  tiny_disturb(&m->params, seed);
  int D = config.lm.n_embd;
  for (int id = 0; id < TINY_VOCABULARY; id++) {
    float *row = f32(m->lm.head) + id * D;
    bool word = id > m->stop && (uint32_t)id < tokenizer_size(m->words);
    float factor = speech == TINY_WILD ? 1 : id == m->stop ? 2 : word ? 1.5f : 0;
    for (int i = 0; i < D; i++) row[i] *= factor;
  }
}

/* Fresh blocks are the identity, so the logits depend on the last token alone: its embedding is a unit vector, which
 * the head's row of the next token meets. */
void tiny_script(visualrwkv *m, const char *const *pieces, int n, bool ends_with_stop) {
  enum { WIDTH = 64, MOST = 60 };
  visualrwkv_config config = tiny_captioner_config();
  config.lm.n_embd = WIDTH;
  vocabulary_builder *v = vocabulary_builder_new();
  char *vocabulary = NULL;
  size_t size;
  assert_non_null(v);
  assert_true(n <= MOST);
  assert_int_equal(vocabulary_add_piece(v, "\n\n", 2), STATUS_OK);
  for (int i = 0; i < n; i++) assert_int_equal(vocabulary_add_piece(v, pieces[i], strlen(pieces[i])), STATUS_OK);
  assert_int_equal(vocabulary_write(v, TINY_VOCABULARY + MOST, &vocabulary, &size), STATUS_OK);
  config.lm.vocab_size = TINY_VOCABULARY + MOST + 1;
  if (visualrwkv_declare(m, &config, vocabulary, "", "\x01") || params_allocate(&m->params))
    fail_msg("%s", last_error());
  params_init(&m->params, 1);
  memset(m->lm.emb->data, 0, (size_t)tensor_count(m->lm.emb) * sizeof(float));
  memset(m->lm.head->data, 0, (size_t)tensor_count(m->lm.head) * sizeof(float));
  int32_t at = m->after_ids[0];
  for (int i = 0; i <= n; i++) {
    int32_t next[2] = {ends_with_stop ? m->stop : TOKENIZER_END};
    if (i < n) assert_int_equal(tokenizer_encode(m->words, pieces[i], strlen(pieces[i]), next, 2), 1);
    f32(m->lm.emb)[at * WIDTH + i] = 1;
    f32(m->lm.head)[next[0] * WIDTH + i] = 4;
    at = next[0];
  }
  vocabulary_builder_free(v);
  free(vocabulary);
}

float *tiny_pictures(int n, uint64_t seed) {
  size_t count = (size_t)n * TINY_IMAGE * TINY_IMAGE * 3;
  float *pixels = malloc(count * sizeof *pixels);
  rng g = rng_make(seed, 0);
  assert_non_null(pixels);
  for (size_t i = 0; i < count; i++) pixels[i] = rng_range(&g, -1, 1);
  return pixels;
}
