/* VisualRWKV: an image tower, a projector and an RWKV-6 language model; spec visualrwkv sections 3, 4 and 7.
 *
 *   tokens = pool(tower(pixels)) proj^T;  sequence = emb(before) tokens emb(after) emb(answer);  logits = lm(sequence)
 *
 * The raw projected tokens stand among the raw embeddings; block 0's ln0 applies to all. The language model's blocks
 * may read the image's tokens in other orders than as they stand.
 *
 * A file carries everything: weights under `rwkv.`, `vit.image_model.` and `proj.`, and in its metadata (keys in
 * visualrwkv.c) the vocabulary, the prompt and what names and shapes cannot tell. */
#ifndef LINNET_FUSION_VISUALRWKV_H
#define LINNET_FUSION_VISUALRWKV_H

#include "data/image.h"
#include "data/tokenizer.h"
#include "fusion/prompt.h"
#include "lm/rwkv.h"
#include "vision/rwkv_clip_image.h"

#define VISUALRWKV_SYSTEM "visualrwkv"

/* How the blocks of the language model read the grid of image tokens (section 5): */
typedef enum {
  VISUALRWKV_UNIDIRECTION,   /* all as they stand */
  VISUALRWKV_BIDIRECTION,    /* odd ones backwards: the released v6.0 */
  VISUALRWKV_MULTIDIRECTION, /* rows, rows backwards, columns, columns backwards, and so on */
} visualrwkv_scan;

typedef struct {
  rwkv_config lm;
  image_tower_config tower;
  int image_size; /* pixels a side */
  int image_grid; /* image tokens a side, after mean pooling */
  bool bidirectional;
} visualrwkv_config;

typedef struct {
  visualrwkv_config config;
  param_set params;
  image_tower tower;
  rwkv lm;
  tensor *proj; /* [D, tower width] */
  tokenizer *words;
  char *vocabulary;     /* its text, as the file carries it */
  char *before, *after; /* the prompt's text on both sides of the picture */
  int32_t *before_ids, *after_ids;
  int n_before, n_after;
  int32_t stop; /* ends an answer: the token "\n\n" */
} visualrwkv;

/* Declares a model with fresh tensors (not yet allocated: declare what else belongs to the set, then params_allocate).
 * `vocabulary` is World-format text. Free with visualrwkv_free, also after a failure. */
status visualrwkv_declare(visualrwkv *m, const visualrwkv_config *config, const char *vocabulary, const char *before,
                          const char *after);
/* Everything but the weights from an open file, then the weights. */
status visualrwkv_load(visualrwkv *m, const checkpoint *file);
/* Only the declaration from a file (training adds its own parameters before loading). */
status visualrwkv_declare_like(visualrwkv *m, const checkpoint *file);
visualrwkv *visualrwkv_open(const char *path); /* NULL with a sentence */
void visualrwkv_free(visualrwkv *m);           /* the contents */
void visualrwkv_close(visualrwkv *m);          /* what visualrwkv_open gave */
/* Writes the model: what->metadata (provenance) is added to the model's own. */
status visualrwkv_save(const visualrwkv *m, const char *path, const params_file *what);

int visualrwkv_side(const visualrwkv_config *config); /* patches along a side of the picture */
int visualrwkv_image_tokens_count(const visualrwkv *m);

/* A picture as the model wants it: composited on white, fitted into a white square, (u8/255 - 0.5)/0.5.
 * `pixels`: size*size*3 floats. */
status visualrwkv_pixels(const visualrwkv *m, const image *im, float *pixels);
void visualrwkv_normalise(const uint8_t *rgb, size_t n, float *pixels);

/* pixels f32 [B,S,S,3] -> image tokens [B,g*g,D]. *patches (may be NULL) receives the tower's tokens [B,h*w,width]. */
tensor *visualrwkv_image_tokens(ctx *c, const visualrwkv *m, const tensor *pixels, tensor **patches);
/* ids i32 [B,T], each row with PROMPT_IMAGE once and at the same place -> embeddings [B,T-1+n,D] with the image tokens
 * [B,n,D] there. */
tensor *visualrwkv_embed(ctx *c, const rwkv *lm, const tensor *ids, tensor *image_tokens);
/* The scan order of every layer over a sequence of n tokens with an h x w grid of image tokens from `first` on. */
const scan_order *const *visualrwkv_orders(ctx *c, visualrwkv_scan scan, int n_layer, int64_t n, int64_t first,
                                           int64_t h, int64_t w);
/* before + image + after + `answer` ids [B,T] (NULL = none) through the language model's blocks -> [B,all,D]. */
tensor *visualrwkv_sequence(ctx *c, const visualrwkv *m, tensor *image_tokens, const tensor *answer, rwkv_state *state);

#endif
