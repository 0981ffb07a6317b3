/* The frame of the golden runner: one case folder, its reference tensors, and what is to be done with each.
 *
 * A system's function first states rules: for every reference tensor, by a pattern of its key ("io/act.0.att": the
 * file's name without its ending, then the tensor's), whether it is given or computed and how closely. Then it reads
 * what is given and offers everything that it can compute; an offer is compared if the case holds a tensor of that key,
 * and passed over otherwise. In the end every reference tensor must have been used or compared: what no rule claims,
 * what was given and not used, what was not offered, has failed. */
#ifndef LINNET_TESTS_GOLDEN_RUNNER_H
#define LINNET_TESTS_GOLDEN_RUNNER_H

#include "kernels/tensor.h"
#include "weights/params.h"

typedef enum {
  GIVEN,     /* an input: must be used */
  CLOSE,     /* every element: |got - want| <= a + b |want| */
  NEAR,      /* every element: |got - want| <= a max|want| + b */
  L2,        /* |got - want| <= a |want| + b, as vectors */
  SAME,      /* equal */
  ALIKE,     /* every element: |got - want| <= a; correlation at least b */
  MOSTLY,    /* median |got - want| <= a, and of all elements at least the share b within a */
  NOT_BUILT, /* needs a part that Linnet does not have yet: neither passed nor failed */
} golden_how;

typedef struct {
  const char *key; /* pattern, fnmatch; the first that fits counts */
  golden_how how;
  double a, b;
  const char *part; /* NOT_BUILT: what it needs */
} golden_rule;

typedef struct golden_case golden_case;

typedef struct {
  const char *name; /* the folder that its cases lie in */
  void (*run)(golden_case *k);
} golden_system;

extern const golden_system golden_rwkv4, golden_rwkv5, golden_rwkv6, golden_rwkv7, golden_rwkv_clip, golden_visualrwkv,
    golden_vrwkv6, golden_clip_preprocess, golden_caption_metrics, golden_tokenizers, golden_clip_bpe, golden_mqar,
    golden_openai_clip, golden_rwkv_clip_eval;

/* One reference tensor. */
typedef struct {
  const char *key;
  int n_dims;
  int64_t dim[TENSOR_DIMS + 3];
  size_t n;
} golden_shape;

/* The rules; the table ends with a NULL key. */
void golden_rules(golden_case *k, const golden_rule *rules);
/* A context for the system's own use. */
ctx *golden_ctx(golden_case *k);
/* folder/name in a buffer that lasts until the next call. */
const char *golden_path(golden_case *k, const char *name);
bool golden_has_file(golden_case *k, const char *name);
/* The largest number that follows `word` in the case's README, or `otherwise`. */
double golden_note(golden_case *k, const char *word, double otherwise);
/* Whether the case's folder or its README mentions a word. */
bool golden_mentions(golden_case *k, const char *word);

/* --- what is given ------------------------------------------------------------------------------------------------ */

bool golden_has(const golden_case *k, const char *key);
/* All keys, in the files' order; NULL at the end. */
const char *golden_key(const golden_case *k, size_t index);
/* The following note a failure, and return NULL or false, if there is no such tensor or it has another type. */
const float *golden_floats(golden_case *k, const char *key, golden_shape *shape);
const uint8_t *golden_bytes(golden_case *k, const char *key, golden_shape *shape);
tensor *golden_tensor(golden_case *k,
                      const char *key); /* on the reference's memory; its header in golden_ctx's arena */
/* Integers as i32, in golden_ctx's arena. */
tensor *golden_ids(golden_case *k, const char *key);
/* The shape alone, of whatever type; it counts as no use. */
bool golden_shape_of(golden_case *k, const char *key, golden_shape *shape);
/* The model in a case's folder: model.pth, model.safetensors or model.gguf; NULL with a sentence. */
checkpoint *golden_folder_model(const char *folder);
/* Opens FOLDER/name (or, with NULL, the case's model) for the system's use; noted as a failure if it cannot. */
checkpoint *golden_model(golden_case *k, const char *name);
/* What stands in the file's names before `name`: "", "module.", ... NULL if no tensor's name ends so. A string of the
 * context's arena. */
const char *golden_prefix(golden_case *k, const checkpoint *file, const char *name);
/* Whether some tensor's name is `name`, or ends so after a dot. */
bool golden_holds(const checkpoint *file, const char *name);
/* Allocates and loads a declared set; any failure is noted. */
bool golden_load(golden_case *k, param_set *set, const checkpoint *file);

/* --- what was computed -------------------------------------------------------------------------------------------- */

void golden_offer(golden_case *k, const float *values, size_t n, const char *key, ...)
    __attribute__((format(printf, 4, 5)));
void golden_offer_doubles(golden_case *k, const double *values, size_t n, const char *key, ...)
    __attribute__((format(printf, 4, 5)));
void golden_offer_ids(golden_case *k, const int32_t *values, size_t n, const char *key, ...)
    __attribute__((format(printf, 4, 5)));
/* f32; NULL (memory ran out) fails. */
void golden_offer_tensor(golden_case *k, const tensor *t, const char *key, ...) __attribute__((format(printf, 3, 4)));
/* The gradients of a set as PREFIX + NAME, in file layout; a name loses `strip` in front. */
void golden_offer_grads(golden_case *k, const param_set *set, const char *prefix, const char *strip);
void golden_offer_values(golden_case *k, const param_set *set, const char *prefix, const char *strip);

/* A check of something that is not one tensor. */
void golden_check(golden_case *k, bool passed, const char *what, ...) __attribute__((format(printf, 3, 4)));
/* The whole case is one failure: its system is not built, or not this part of it. Nothing more is said of its tensors.
 */
void golden_refuse(golden_case *k, const char *why);
/* The library's last sentence as a failure. */
void golden_error(golden_case *k);
/* Something that cannot be compared here: neither passed nor failed. */
void golden_skip(golden_case *k, const char *what, ...) __attribute__((format(printf, 2, 3)));

/* --- running ------------------------------------------------------------------------------------------------------ */

typedef struct {
  size_t passed, failed, skipped;
} golden_score;

/* Runs the case in a folder and prints what became of every tensor. */
void golden_run(const char *folder, const char *title, const golden_system *system, golden_score *score);

#endif
