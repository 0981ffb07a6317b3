/* Which dictionary of tensors a PyTorch file is taken for: training programs save several beside their other records.
 *
 * A dictionary counts if a text is the key of one of its tensors (one of at least one dimension, unless the whole file
 * has scalars only), at the root or at most CHOOSE_DEPTH keys below it. Its path is those keys joined by dots, "." for
 * the root. The keys of an optimizer's states are numbers: they never count.
 *
 * Taken by default is one under the usual keys, in their order (pth_choose.c), the deeper one first: model.state_dict,
 * then model; then the root, unless another one holds more tensors; else the only one there is. One below a key that
 * begins with "optim" is never taken. */
#ifndef LINNET_WEIGHTS_PTH_CHOOSE_H
#define LINNET_WEIGHTS_PTH_CHOOSE_H

#include "weights/pickle.h"

#define CHOOSE_DEPTH 3

/* The dictionary that `choice` (a path; NULL: by default) names, and the paths of all, the one taken first, joined by
 * ", ": free() it. NULL with a sentence: STATUS_ARGUMENT if there is none of that path, STATUS_UNSUPPORTED if there is
 * none, or none that is usual among several; STATUS_MEMORY. */
const pickle_value *pth_choose(const pickle_value *root, const char *choice, char **choices);

#endif
