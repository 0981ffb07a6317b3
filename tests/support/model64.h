/* Whole networks in float64, built from the definitions of reference64.h by the formulas of spec language-models 3 and
 * rwkv-clip 4, for comparison with the library's. They read parameters by their official names. */
#ifndef LINNET_TESTS_MODEL64_H
#define LINNET_TESTS_MODEL64_H

#include "lm/rwkv.h"
#include "vision/rwkv_clip_image.h"

/* A parameter as the file lays it out, widened; free() it. */
double *param64(const param_set *set, const char *prefix, const char *name);

/* x [B,T,D] -> x in place, through the blocks from a zero state. order: one a layer, or NULL. wkv (may be NULL)
 * receives the final states [L,B,H,N,N]. */
void rwkv6_64(const param_set *set, const char *prefix, const rwkv_config *k, size_t B, size_t T,
              const scan_order *const *order, double *x, double *wkv);
/* x [M,D] -> logits [M,V] */
void rwkv6_logits64(const param_set *set, const char *prefix, const rwkv_config *k, size_t M, const double *x,
                    double *logits);
/* pixels [B,H,W,3] -> tokens [B,h*w,width], h = ceil(H/patch); free() them. */
double *image_tower64(const param_set *set, const char *prefix, const image_tower_config *k, size_t B, size_t height,
                      size_t width, const float *pixels);

#endif
