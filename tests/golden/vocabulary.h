/* The published World vocabulary, which is not part of this repository. */
#ifndef LINNET_TESTS_GOLDEN_VOCABULARY_H
#define LINNET_TESTS_GOLDEN_VOCABULARY_H

#include "data/tokenizer.h"
#include "tests/golden/runner.h"

/* NULL, noted as skipped, where it is not at hand; as a failure if it cannot be read. */
tokenizer *golden_world(golden_case *k);

#endif
