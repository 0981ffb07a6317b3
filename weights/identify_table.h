/* The systems that identify knows: what makes each recognisable, and where its sizes are written. */
#ifndef LINNET_WEIGHTS_IDENTIFY_TABLE_H
#define LINNET_WEIGHTS_IDENTIFY_TABLE_H

#include "weights/identify_names.h"

typedef enum {
  SIZE_DIM,      /* dimension `axis` of tensor `name` */
  SIZE_SIDE,     /* the same, and the square root of it: a square grid's side; left out if it is no square */
  SIZE_COUNT,    /* how many numbers `name` has for its '#' */
  SIZE_HAS,      /* 1 if there is a tensor `name`, else 0 */
  SIZE_METADATA, /* the number in metadata entry `name` */
} size_source;

/* A size is (x * times + plus) * by / (over * per), x as above; left out if it is no whole number, or x is not there.
 * 0 and NULL are as good as not given. For SIZE_SIDE the root is drawn after `plus`. Of several rules for one size the
 * first that gives one counts. */
typedef struct {
  const char *size;
  size_source source;
  const char *name;
  int axis;
  const char *by, *per; /* sizes of the same part, found before */
  int64_t times, plus, over;
} size_rule;

/* Rules are written {COUNT("layers", "blocks.#.ln1.weight")}, {DIM("width", "emb.weight", 1), .over = 2}. */
#define DIM(what, tensor, at) .size = what, .source = SIZE_DIM, .name = tensor, .axis = at
#define SIDE(what, tensor, at) .size = what, .source = SIZE_SIDE, .name = tensor, .axis = at
#define COUNT(what, tensors) .size = what, .source = SIZE_COUNT, .name = tensors
#define HAS(what, tensor) .size = what, .source = SIZE_HAS, .name = tensor
#define METADATA(what, key) .size = what, .source = SIZE_METADATA, .name = key

/* `root` stands before the names of `sizes`, and before it the signature's own root unless it begins with '/'. */
typedef struct {
  const char *name, *root;
  const size_rule *sizes; /* up to one without a name */
} identity_part;

enum { MOST_ROOTS = 3, MOST_EVIDENCE = 7, MOST_PARTS_OF_SYSTEM = 5 };

typedef struct {
  const char *system, *version, *title, *why, *refusal;    /* as in identity */
  const char *roots[MOST_ROOTS];                           /* tried in turn; none given: "" */
  const char *all[MOST_EVIDENCE];                          /* names that must be there, one '#' in each at most */
  const char *any[MOST_EVIDENCE];                          /* of which at least one must be, if any is given */
  const char *none[MOST_EVIDENCE];                         /* that must not be */
  bool (*fits)(const name_index *names, const char *root); /* what names cannot tell; NULL: nothing */
  identity_part parts[MOST_PARTS_OF_SYSTEM];
} signature;

/* Rules that several systems share: RWKV-6's time mix, in language models and image towers (`at` names the blocks), and
 * the picture as an image tower sees it (`conv` cuts patches, `position` [1,T,C] has a row for each). */
/* clang-format off */
#define WKV6_SIZES(at)                             \
  {DIM("heads", at ".att.time_faaaa", 0)},         \
  {DIM("head_size", at ".att.time_faaaa", 1)},     \
  {DIM("rank_mix", at ".att.time_maa_w2", 1)},     \
  {DIM("rank_decay", at ".att.time_decay_w1", 1)}
#define PATCH_SIZES(conv, position)                \
  {DIM("patch", conv, 2)},                         \
  {SIDE("grid", position, 1)},                     \
  {DIM("size", conv, 2), .by = "grid"}
/* clang-format on */
extern const size_rule sizes_lm4[], sizes_lm5[], sizes_lm6[], sizes_lm7[], sizes_vrwkv6[], sizes_sam_image[];

/* In order: the first that fits counts. Each ends with a row without a system. What is made of other systems comes
 * before them: identify reads the lists in this order. */
extern const signature identity_fusion[], identity_vision[], identity_lm[];

#endif
