#include "tests/support/tiny_model.h"

#include <stdlib.h>
#include <string.h>

#include "data/vocabulary.h"
#include "fusion/visualrwkv.h"

static status tiny_vocabulary(char **text) {
  static const char captions[] = "a red apple and two dogs on a blue table\nthree green cars\na cat\n";
  vocabulary_builder *builder = vocabulary_builder_new();
  status s = builder ? vocabulary_add_piece(builder, "\n\n", 2) : last_status();
  if (!s) s = vocabulary_add_text(builder, captions, strlen(captions));
  size_t n;
  if (!s) s = vocabulary_write(builder, 280, text, &n);
  vocabulary_builder_free(builder);
  return s;
}

/* Initial values let nothing through (the blocks' outputs are zero): then no answer would depend on its picture. */
static void shake(param_set *set, uint64_t seed) {
  rng random = rng_make(seed, 1);
  for (size_t i = 0; i < set->count; i++) set->values[i] += 0.2f * rng_normal(&random);
}

status tiny_model_write(const char *path, uint64_t seed) {
  const visualrwkv_config config = {
      .lm = {.version = 6,
             .n_layer = 2,
             .n_embd = 32,
             .dim_att = 32,
             .dim_ffn = 64,
             .head_size = 16,
             .vocab_size = 281,
             .rank_mix = 4,
             .rank_decay = 4},
      .tower = {.depth = 2,
                .width = 32,
                .hidden = 64,
                .head_size = 16,
                .patch = 8,
                .grid_h = 4,
                .grid_w = 4,
                .rank_mix = 4,
                .rank_decay = 4,
                .alternate_scan = true},
      .image_size = 32,
      .image_grid = 2,
      .bidirectional = true,
  };
  const params_file what = {.type = CHECKPOINT_F32};
  char *vocabulary = NULL;
  visualrwkv m = {0};
  status s = tiny_vocabulary(&vocabulary);
  if (!s) s = visualrwkv_declare(&m, &config, vocabulary, "\n", "\n");
  if (!s) s = params_allocate(&m.params);
  if (!s) {
    params_init(&m.params, seed);
    shake(&m.params, seed);
    s = visualrwkv_save(&m, path, &what);
  }
  visualrwkv_free(&m);
  free(vocabulary);
  return s;
}
