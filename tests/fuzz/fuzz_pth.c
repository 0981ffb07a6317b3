/* Any bytes as a PyTorch archive, and as the data.pkl of one: an error, or tensors whose every byte can be read, under
 * every choice of a dictionary that the file offers. The zip container's checksums would hide the pickle from a fuzzer,
 * so bytes that begin like a pickle are also parsed alone, and wrapped into an archive with two storages. */
#include <zip.h>

#include "tests/fuzz/checkpoint_use.h"
#include "weights/pickle.h"

#define CHOICES_MAX 16

static void use_archive(const uint8_t *data, size_t size) {
  checkpoint *c = checkpoint_parse(data, size, "fuzz");
  use_checkpoint(c);
  if (!c) return;
  char *choices = strdup(checkpoint_choices(c)), *rest = choices;
  require(choices != NULL);
  checkpoint_close(c);
  for (int i = 0; i < CHOICES_MAX && rest && *rest; i++) {
    char *choice = rest, *end = strstr(rest, ", ");
    rest = end ? end + 2 : NULL;
    if (end) *end = 0;
    c = checkpoint_parse_choice(data, size, "fuzz", choice); /* fails on names with commas, and on the final "..." */
    use_checkpoint(c);
    checkpoint_close(c);
  }
  free(choices);
}

/* A zip archive around the pickle, in memory; NULL if libzip has none. */
static uint8_t *wrap(const uint8_t *pickle, size_t bytes, size_t *size) {
  static const uint8_t storage[2][64] = {{1, 2, 3, 4}, {0, 0, 0x80, 0x3f}};
  zip_source_t *memory = zip_source_buffer_create(NULL, 0, 0, NULL);
  zip_t *zip = memory ? zip_open_from_source(memory, ZIP_TRUNCATE, NULL) : NULL;
  require(zip != NULL);
  zip_source_keep(memory);
  const struct {
    const char *name;
    const void *bytes;
    size_t size;
  } entries[] = {{"a/data.pkl", pickle, bytes}, {"a/data/0", storage[0], 64}, {"a/data/1", storage[1], 64}};
  for (int i = 0; i < 3; i++) {
    zip_source_t *source = zip_source_buffer(zip, entries[i].bytes, entries[i].size, 0);
    const zip_int64_t index = zip_file_add(zip, entries[i].name, source, 0);
    require(index >= 0 &&
            !zip_set_file_compression(zip, (zip_uint64_t)index, i == 2 ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0));
  }
  zip_stat_t info;
  require(!zip_close(zip) && !zip_source_stat(memory, &info));
  uint8_t *out = malloc((size_t)info.size);
  require(out && !zip_source_open(memory) && zip_source_read(memory, out, info.size) == (zip_int64_t)info.size);
  zip_source_close(memory);
  zip_source_free(memory);
  *size = (size_t)info.size;
  return out;
}

static void use_pickle(const uint8_t *data, size_t size) {
  pickle *p = pickle_parse(data, size);
  require(p ? pickle_root(p) != NULL : last_status() < 0 && *last_error());
  pickle_free(p);
  if (!p) return;
  size_t wrapped_size;
  uint8_t *wrapped = wrap(data, size, &wrapped_size);
  use_archive(wrapped, wrapped_size);
  free(wrapped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size && data[0] == 0x80)
    use_pickle(data, size);
  else
    use_archive(data, size);
  return 0;
}
