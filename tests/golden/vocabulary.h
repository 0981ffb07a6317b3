/* The published vocabularies, which are not part of this repository. */
#ifndef LINNET_TESTS_GOLDEN_VOCABULARY_H
#define LINNET_TESTS_GOLDEN_VOCABULARY_H

#include "data/tokenizer.h"
#include "tests/golden/runner.h"

/* The vocabulary in a file from ../shared/vocab, or from a folder vocab beside the goldens that the case lies in. NULL,
 * noted as skipped, if it is in neither; as a failure if it cannot be read. */
tokenizer *golden_vocabulary(golden_case *k, const char *file);
tokenizer *golden_world(golden_case *k);

#endif
