#include "tests/support/tiny_clip.h"

#include <stdlib.h>
#include <string.h>

#include "data/vocabulary.h"
#include "lm/text.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

clip_config tiny_clip_config(void) {
  return (clip_config){
      .rwkv = true,
      .has_image = true,
      .has_text = true,
      .has_scale = true,
      .context = TINY_CLIP_CONTEXT,
      .fit = true,
      .rwkv_image = {.depth = 2,
                     .width = TINY_CLIP_WIDTH,
                     .hidden = 32,
                     .head_size = 12,
                     .patch = 8,
                     .grid_h = TINY_CLIP_SIDE / 8,
                     .grid_w = TINY_CLIP_SIDE / 8,
                     .rank_mix = 4,
                     .rank_decay = 4,
                     .alternate_scan = true},
      .rwkv_text = {.depth = 2,
                    .width = TINY_CLIP_WIDTH,
                    .hidden = 32,
                    .head_size = 12,
                    .vocab_size = TINY_CLIP_VOCABULARY,
                    .rank_mix = 4,
                    .rank_decay = 4},
  };
}

char *tiny_clip_vocabulary(void) {
  static const char captions[] =
      "a red disc and two green squares on a blue cross\nthree white rings\na cat\na photo of a picture\n";
  vocabulary_builder *builder = vocabulary_builder_new();
  char *text = NULL;
  size_t n;
  status s = builder ? vocabulary_add_text(builder, captions, strlen(captions)) : last_status();
  if (!s) s = vocabulary_write(builder, TINY_CLIP_VOCABULARY - 1, &text, &n);
  vocabulary_builder_free(builder);
  return s ? NULL : text;
}

/* Initial values let nothing through: the blocks' outputs are zero. */
static void shake(param_set *set, uint64_t seed) {
  rng random = rng_make(seed, 2);
  for (size_t i = 0; i < set->count; i++) set->values[i] += 0.2f * rng_normal(&random);
}

status tiny_clip_write(const char *path, uint64_t seed) {
  const clip_config k = tiny_clip_config();
  char *vocabulary = tiny_clip_vocabulary();
  clip_pair m = {0};
  status s = vocabulary ? clip_declare(&m, &k) : last_status();
  if (!s) s = params_allocate(&m.params);
  if (!s) {
    const char *const own[1][2] = {{TEXT_VOCABULARY, vocabulary}};
    const params_file what = {.type = CHECKPOINT_F32, .n_metadata = 1, .metadata = own};
    params_init(&m.params, seed);
    shake(&m.params, seed);
    s = clip_save(&m, path, &what);
  }
  clip_free(&m);
  free(vocabulary);
  return s;
}

clip_model *tiny_clip_model(void **state, uint64_t seed) {
  char *path = scratch_path(state, "pair.gguf");
  clip_model *m = tiny_clip_write(path, seed) ? NULL : clip_model_open(path, NULL);
  if (!m) fail_msg("%s", last_error());
  free(path);
  return m;
}
