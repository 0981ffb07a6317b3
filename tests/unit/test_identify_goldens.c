/* identify on reference checkpoints: those of the source tree always, those of ../shared/goldens where that
 * folder is. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/identity_text.h"
#include "weights/identify.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

#define TINY_CLIP(layers, width, hidden, patch, grid, size)                                                            \
  "layers " #layers ", width " #width ", hidden " #hidden ", patch " #patch ", grid " #grid ", size " #size
#define TINY_TOWER ", layer_scale 0, key_norm 0, heads 2, head_size 16, rank_mix 32, rank_decay 64, class_token "
#define RANKS7 ", rank_decay 32, rank_rate 32, rank_value 32, rank_gate 32"
/* Sizes as each case's README and config.json give them. */
static const struct {
  const char *name, *system, *version, *sizes;
} references[] = {
    {"diffusion-rwkv/tiny-latent-cond", "diffusion-rwkv", "",
     "layers 5, width 24, hidden 96, channels 4, patch 2, grid 6, size 12, classes 7"},
    {"diffusion-rwkv/tiny-pixel-uncond", "diffusion-rwkv", "",
     "layers 3, width 16, hidden 64, channels 3, patch 2, grid 8, size 16"},
    {"goldfinch/finchc2-l2-d32", "goldfinch", "finchc2",
     "layers 2, width 32, hidden 96, vocabulary 64, heads 2, head_size 16, rank_mix 32, rank_decay 64, rank_value2 64, "
     "layers_finch 2"},
    {"goldfinch/gptalpha-l2-d32", "goldfinch", "gptalpha", "layers 2, width 32, hidden 96, vocabulary 64, rank_mix 32"},
    {"goldfinch/l3-d64", "goldfinch", "goldfinch",
     "layers 3, width 64, hidden 224, vocabulary 128, heads 2, head_size 32, rank_mix 32, rank_decay 64, rank_value2 "
     "64, layers_finch 2, rank_key 64, rank_value 64, cache 4"},
    {"goldfinch/l4-d64-g2-bf16", "goldfinch", "goldfinch",
     "layers 4, width 64, hidden 224, vocabulary 96, heads 4, head_size 16, rank_mix 32, rank_decay 64, rank_value2 "
     "64, layers_finch 2, rank_key 64, rank_value 64, cache 4"},
    {"openai-clip/tiny-fp16", "clip", "openai",
     "image tower: " TINY_CLIP(2, 128, 512, 8, 4, 32) "; text tower: layers 1, width 64, hidden 256, vocabulary 260, "
                                                      "context 77; embedding: width 48"},
    {"openai-clip/tiny-fp32", "clip", "openai",
     "image tower: " TINY_CLIP(2, 64, 256, 14, 2, 28) "; text tower: layers 1, width 64, hidden 256, vocabulary 96, "
                                                      "context 20; embedding: width 32"},
    {"point-rwkv/tiny-cls", "point-rwkv", "cls",
     "scales 3, layers_1 2, layers_2 1, layers_3 1, width 18, hidden 72, heads 3, head_size 6, graph_steps 2, classes "
     "10"},
    {"point-rwkv/tiny-seg", "point-rwkv", "seg",
     "scales 3, layers_1 1, layers_2 1, layers_3 1, width 16, hidden 64, heads 4, head_size 4, graph_steps 3, classes "
     "50, shapes 16"},
    {"restore-rwkv/tiny", "restore-rwkv", "",
     "width 8, channels 1, channels_out 1, hidden 32, recurrences 2, layers_encoder_level1 1, layers_encoder_level2 1, "
     "layers_encoder_level3 1, layers_latent 1, layers_decoder_level3 1, layers_decoder_level2 1, "
     "layers_decoder_level1 1, layers_refinement 1"},
    {"rwkv-clip/tiny", "rwkv-clip", "",
     "image tower: " TINY_CLIP(3, 32, 128, 8, 6, 48) TINY_TOWER
     "0; text tower: layers 2, width 32, hidden 96, "
     "vocabulary 512, heads 4, head_size 8, rank_mix 32, rank_decay 64"},
    {"rwkv-clip/tiny-cls", "rwkv-clip", "",
     "image tower: " TINY_CLIP(2, 32, 64, 8, 4, 32) TINY_TOWER
     "1; text tower: layers 2, width 32, hidden 64, "
     "vocabulary 64, heads 2, head_size 16, rank_mix 32, rank_decay 64"},
    {"rwkv-sam/pos-256", "rwkv-sam", "",
     "image tower: layers 3, width 32, hidden 128, width_stem 8, width_stride4 8, layers_stride4 2, width_stride8 16, "
     "layers_stride8 4, grid 14, position 1; neck: width 32; mask decoder: layers 2, width 32, hidden 48, masks 4"},
    {"rwkv-sam/tiny-128", "rwkv-sam", "",
     "image tower: layers 4, width 48, hidden 96, width_stem 16, width_stride4 16, layers_stride4 2, width_stride8 24, "
     "layers_stride8 2, position 0; neck: width 32; mask decoder: layers 2, width 32, hidden 64, masks 4"},
    {"rwkv4/tiny-fp32", "rwkv", "4", "layers 2, width 32, hidden 128, vocabulary 256"},
    {"rwkv5/tiny-5.0-fp32", "rwkv", "5.0", "layers 2, width 32, hidden 128, vocabulary 256, heads 4, head_size 8"},
    {"rwkv5/tiny-5.1-fp32", "rwkv", "5.1", "layers 2, width 32, hidden 96, vocabulary 256, heads 4, head_size 8"},
    {"rwkv5/tiny-5.2-fp32", "rwkv", "5.2", "layers 2, width 32, hidden 96, vocabulary 256, heads 2, head_size 16"},
    {"rwkv6/head64-bf16", "rwkv", "6",
     "layers 2, width 128, hidden 448, vocabulary 256, heads 2, head_size 64, rank_mix 32, rank_decay 64"},
    {"rwkv6/tiny-fp32", "rwkv", "6",
     "layers 2, width 32, hidden 96, vocabulary 256, heads 2, head_size 16, rank_mix 32, rank_decay 64"},
    {"rwkv7/head64-bf16", "rwkv", "7", "layers 2, width 64, hidden 256, vocabulary 256, heads 1, head_size 64" RANKS7},
    {"rwkv7/tiny-fp32", "rwkv", "7", "layers 2, width 32, hidden 128, vocabulary 256, heads 2, head_size 16" RANKS7},
    {"sam-decoder/tiny-128", "sam", "",
     "image tower: layers 4, width 32, hidden 128, head_size 16, heads 2, patch 16, grid 8, size 128, window 3, neck "
     "32; mask decoder: layers 2, width 32, hidden 64, masks 4"},
    {"sdunet/w16-64-d4", "sdunet", "", "levels 4, channels 3, width 16, dilated 4, classes 1, batch_norm 1"},
    {"visualrwkv/hd-uhd-projectors", "visualrwkv", "projector", "projector: inputs 15"},
    {"visualrwkv/v51-scan-modes", "visualrwkv", "v5.1",
     "language model: layers 4, width 64, hidden 32, vocabulary 262, heads 1, head_size 64; image tower: " TINY_CLIP(
         2, 24, 32, 8, 4, 32) "; projector: inputs 24"},
    {"visualrwkv/v60-scan-modes", "visualrwkv", "v6.0",
     "language model: layers 4, width 128, hidden 64, vocabulary 264, heads 2, head_size 64, rank_mix 32, rank_decay "
     "64; image tower: " TINY_CLIP(3, 48, 96, 14, 4, 56) "; projector: inputs 48"},
    {"visualrwkv/v60-train", "visualrwkv", "v6.0",
     "language model: layers 2, width 64, hidden 64, vocabulary 264, heads 1, head_size 64, rank_mix 32, rank_decay "
     "64; image tower: " TINY_CLIP(2, 32, 48, 14, 3, 42) "; projector: inputs 32"},
    {"visualrwkv/v601-multidirection", "visualrwkv", "v6.01",
     "language model: layers 4, width 64, hidden 64, vocabulary 264, heads 1, head_size 64, rank_mix 32, rank_decay "
     "64; image tower: " TINY_CLIP(2, 32, 48, 8, 4, 32) "; projector: inputs 64"},
    {"visualrwkv/v700", "visualrwkv", "v7.00",
     "language model: layers 2, width 64, hidden 256, vocabulary 272, heads 1, head_size 64" RANKS7
     "; DINOv2 tower: " TINY_CLIP(3, 24, 48, 2, 32, 64) ", registers 4, class_token 1; SigLIP tower: " TINY_CLIP(
         3, 32, 40, 2, 32, 64) ", class_token 0; SAM tower: layers 3, width 8, hidden 16, head_size 4, heads 2, patch "
                               "1, grid 64, size 64, window 14, neck 6; projector: inputs 80"},
    {"vrwkv-upernet/tiny-slide", "vrwkv-upernet", "",
     "image tower: " TINY_CLIP(4, 24, 96, 16, 4, 64) ", layer_scale 1, key_norm 0; adapter: width 6, interactions 4; "
                                                     "head: width 12, classes 6, auxiliary_width 8"},
    {"vrwkv/l-keynorm-mlphead", "vrwkv", "",
     TINY_CLIP(13, 32, 32, 8, 3, 24) ", layer_scale 1, key_norm 1, classes 12, head_hidden 48"},
    {"vrwkv/s-postnorm-nonsquare-grads", "vrwkv", "",
     TINY_CLIP(2, 40, 160, 8, 4, 32) ", layer_scale 1, key_norm 0, classes 7"},
    {"vrwkv/t-prenorm", "vrwkv", "", TINY_CLIP(2, 32, 128, 8, 4, 32) ", layer_scale 0, key_norm 0, classes 10"},
    {"vrwkv6/s-postnorm-nonsquare-grads", "vrwkv6", "",
     TINY_CLIP(2, 64, 64, 8, 4, 32) ", layer_scale 1, key_norm 0, heads 1, head_size 64, rank_mix 32, rank_decay 64, "
                                    "class_token 0, classes 6"},
    {"vrwkv6/t-prenorm-2heads", "vrwkv6", "",
     TINY_CLIP(2, 128, 128, 4, 4, 16) ", layer_scale 0, key_norm 0, heads 2, head_size 64, rank_mix 32, rank_decay 64, "
                                      "class_token 0, classes 8"},
};
enum { REFERENCES = sizeof references / sizeof *references };

/* Compares with the table; a case that is not in it needs only be of some system. */
static void check_reference(const char *path, const char *name) {
  int i = 0;
  while (i < REFERENCES && strcmp(references[i].name, name)) i++;
  checkpoint *c = checkpoint_open(path);
  if (!c) fail_msg("%s", last_error());
  identity id;
  char text[IDENTITY_TEXT];
  const bool known = identify(c, &id);
  if (i == REFERENCES || references[i].system) {
    if (!known) fail_msg("%s", last_error());
  } else {
    assert_false(known);
  }
  if (i < REFERENCES && known) {
    assert_string_equal(id.system, references[i].system);
    assert_string_equal(id.version, references[i].version);
    assert_string_equal(identity_text(&id, text), references[i].sizes);
    assert_null(id.refusal);
  }
  checkpoint_close(c);
}

/* How many FOLDER/SYSTEM/CASE/model.pth there are, all of them right. */
static int check_references(const char *folder) {
  char pattern[200];
  snprintf(pattern, sizeof pattern, "%s/*/*/model.pth", folder);
  glob_t found;
  if (glob(pattern, 0, NULL, &found)) return 0;
  const int n = (int)found.gl_pathc;
  for (int i = 0; i < n; i++) {
    char name[200];
    const char *path = found.gl_pathv[i], *start = path + strlen(folder) + 1;
    snprintf(name, sizeof name, "%.*s", (int)(strrchr(path, '/') - start), start);
    check_reference(path, name);
  }
  globfree(&found);
  return n;
}

static void test_references_here(void **state) {
  (void)state;
  assert_true(check_references("tests/goldens") >= 2);
  checkpoint *c = checkpoint_open("weights/captioner.gguf");
  assert_non_null(c);
  identity id;
  assert_true(identify(c, &id));
  assert_string_equal(id.system, checkpoint_metadata(c, "linnet.system"));
  assert_string_equal(id.version, "linnet");
  assert_int_equal(identity_value(&id, "language model", "layers"), 4);
  assert_int_equal(identity_value(&id, "image tower", "width"), 192);
  assert_int_equal(identity_value(&id, "picture", "size"), 64);
  assert_int_equal(identity_value(&id, "picture", "grid"), 4);
  checkpoint_close(c);
}

static void test_references_beside(void **state) {
  static const char folder[] = "../shared/goldens";
  (void)state;
  if (access(folder, R_OK)) {
    print_message("%s is not there: its checkpoints are not checked\n", folder);
    skip();
  }
  assert_true(check_references(folder) >= REFERENCES);
  checkpoint *c = checkpoint_open("../shared/goldens/rwkv6/tiny-fp32/state.pth");
  assert_non_null(c);
  identity id;
  assert_true(identify(c, &id));
  assert_string_equal(id.system, "rwkv-state");
  assert_int_equal(identity_value(&id, "", "width"), 32);
  checkpoint_close(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_references_here),
      cmocka_unit_test(test_references_beside),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
