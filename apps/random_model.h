/* What benchmarks need of a model whose answers do not matter: random weights, and how many of them multiply a token.
 */
#ifndef LINNET_APPS_RANDOM_MODEL_H
#define LINNET_APPS_RANDOM_MODEL_H

#include "weights/params.h"

/* Fills an allocated set: norms that change nothing, everything else within the bounds that trained models keep. The
 * same set gets the same values. */
void random_weights(param_set *set);
/* The weights of products that every token goes through; `table`, which is looked up and not multiplied, may be NULL.
 */
double weights_of_products(const param_set *set, const tensor *table);

#endif
