/* LoRA: a model learns through factors of low rank beside its frozen matrices (E. Hu et al., "LoRA: Low-Rank Adaptation
 * of Large Language Models", 2021, section 4.1).
 *
 *   W' = W + (alpha / rank) B A      A [rank,in] uniform in +-1/sqrt(in), B [out,rank] from zero
 *
 * for the matrices of all blocks: those of both halves, neither embedding nor head, nor what a version has of low rank
 * itself. W' is a recorded tensor that stands where the model keeps W, so that no model knows of it. Factors are named
 * as RWKV's trainers name them: blocks.0.att.key.weight has blocks.0.att.key.lora_A and .lora_B. */
#ifndef LINNET_TRAIN_LORA_H
#define LINNET_TRAIN_LORA_H

#include "kernels/tensor.h"
#include "weights/params.h"

typedef struct {
  size_t adapted; /* the matrix: the base's item */
  tensor *A, *B;
} lora_pair;

typedef struct {
  param_set *base;
  param_set factors; /* what is trained and saved */
  lora_pair *pair;
  size_t n;
  float scale; /* alpha / rank */
} lora;

/* Declares and allocates the factors; params_init(&l->factors, seed) gives them their first values, with which W' = W.
 * The base must be allocated, and must stay. */
status lora_new(lora *l, param_set *base, int rank, double alpha);
void lora_free(lora *l);
/* Puts every W' where the base's owners point to W, until lora_remove or ctx_reset, whichever comes first: remove it
 * before. Fails only for memory, and then W stands everywhere. */
status lora_apply(lora *l, ctx *c);
void lora_remove(lora *l);
/* The base's values with W' for W, in the base's layout, exactly as lora_apply has them. The caller frees them. NULL
 * with a sentence on failure. */
float *lora_merged(const lora *l, ctx *c);

#endif
