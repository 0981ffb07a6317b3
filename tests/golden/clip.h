/* What the cases of pairs of towers share: pictures and texts of a case, features and scores. */
#ifndef LINNET_TESTS_GOLDEN_CLIP_H
#define LINNET_TESTS_GOLDEN_CLIP_H

#include "fusion/clip.h"
#include "tests/golden/runner.h"

/* Opens the case's model; false with the failure noted. */
bool golden_clip_open(golden_case *k, clip_pair *m, clip_gelu gelu);
/* A picture tensor of the file [B,3,H,W] as pixels; a list of texts [B,T]; NULL with the failure noted. */
tensor *golden_pixels(golden_case *k, const char *key);
tensor *golden_texts(golden_case *k, const clip_pair *m, const char *key);
/* Norms, cosines and what follows from them, of unit rows. */
void golden_offer_scores(golden_case *k, const clip_pair *m, tensor *images, tensor *texts);

#endif
