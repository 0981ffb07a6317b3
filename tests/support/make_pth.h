/* PyTorch archives made by hand: pickles written instruction by instruction, and zip files around them. Mistakes end
 * the running cmocka test. */
#ifndef LINNET_TESTS_MAKE_PTH_H
#define LINNET_TESTS_MAKE_PTH_H

#include <stddef.h>
#include <stdint.h>

/* A pickle under construction. */
typedef struct {
  char bytes[1 << 14];
  size_t size;
} pickle_writer;

void put(pickle_writer *w, const void *bytes, size_t n);
#define PUT(w, text) put(w, text, sizeof(text) - 1)
void put_text(pickle_writer *w, const char *text);                                        /* BINUNICODE */
void put_int(pickle_writer *w, int64_t value);                                            /* LONG1 of eight bytes */
void put_ints(pickle_writer *w, int n, const int64_t *values);                            /* a tuple */
void put_global(pickle_writer *w, const char *module_space_name);                         /* GLOBAL of "module name" */
void put_storage(pickle_writer *w, const char *class, const char *key, int64_t elements); /* of "torch CLASS" */

/* A tensor over storage "0" of `elements` values of a class of module torch. */
void put_value(pickle_writer *w, const char *class, int64_t elements, int64_t offset, int n_dims, const int64_t *dims,
               const int64_t *strides);
/* A dictionary's entry: the same under a name. */
void put_tensor(pickle_writer *w, const char *name, const char *class, int64_t elements, int64_t offset, int n_dims,
                const int64_t *dims, const int64_t *strides);
/* The usual one: all six values of make_pth()'s storage. */
void put_six(pickle_writer *w, const char *name);

typedef struct {
  const char *name;
  const void *bytes;
  size_t size;
} pth_entry;

/* A zip archive of the entries (stored, or deflated: libzip's numbers), as bytes; free() it. */
char *make_zip(const pth_entry *entries, size_t n, int method, size_t *size);
/* An archive of a pickle and of storage 0 with six f32 values 0..5. */
char *make_pth(const pickle_writer *w, int method, size_t *size);

#endif
