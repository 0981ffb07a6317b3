/* Fuzz target: what is checked of FAISS's .index files before FAISS reads them. Whatever passes has as many vectors as
 * it says, and a name that ends. */
#include <assert.h>
#include <string.h>

#include "fusion/faiss_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  faiss_file_facts facts;
  const status s = faiss_file_check(data, size, &facts);
  assert(memchr(facts.kind, 0, sizeof facts.kind));
  if (s) {
    assert(*last_error());
    return 0;
  }
  assert(facts.width && facts.count <= size && *facts.kind);
  return 0;
}
