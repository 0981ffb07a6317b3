/* Which published system a checkpoint holds, in which version and of what size, from the names and shapes of its
 * tensors (and our own files' metadata) alone. Nothing is read or computed from the weights.
 *
 * The systems are the rows of identify_lm.c, identify_vision.c and identify_fusion.c; names and shapes: the specs'
 * checkpoint sections. Names may carry what training wrappers put before them (`module.`, `_orig_mod.`,
 * `_forward_module.`). */
#ifndef LINNET_WEIGHTS_IDENTIFY_H
#define LINNET_WEIGHTS_IDENTIFY_H

#include "weights/checkpoint.h"

enum { IDENTITY_SIZES = 48 };

/* One size. Those that names and shapes do not tell are left out, and so is what lies outside 1..2^31-1; those that
 * say whether something is there ("layer_scale") are 0 or 1. */
typedef struct {
  const char *part; /* "language model", "image tower", ...; "" for a system of one part */
  const char *name; /* "layers", "width", "hidden", "heads", "head_size", "vocabulary", "patch", "grid", ... */
  int64_t value;
} identity_size;

/* All strings are constants of the program: an identity outlives its file. */
typedef struct {
  const char *system;  /* a stable word: "rwkv", "goldfinch", "vrwkv", "rwkv-clip", "visualrwkv", ... */
  const char *version; /* "6", "5.2", "v6.0", "finchc2", ...; "" if there is but one */
  const char *title;   /* for reading: "RWKV-6 \"Finch\" language model" */
  const char *why;     /* the evidence, in short */
  const char *refusal; /* NULL, or what is the matter with a file that is known but that nothing here can run */
  const char *root;    /* what the system's names begin with in this file ("", "backbone.") */
  int n_sizes;
  identity_size size[IDENTITY_SIZES];
} identity;

/* false with a sentence if nothing known fits (STATUS_UNSUPPORTED), or memory is short. O(n log n) in tensors. */
bool identify(const checkpoint *file, identity *out);
/* A size by part and name; 0 if it is not there. */
int64_t identity_value(const identity *id, const char *part, const char *name);

#endif
