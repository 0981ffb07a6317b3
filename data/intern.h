/* Numbers for byte strings: each distinct string that is added gets the next id, from 0 on.
 *
 * One hash table (open addressing, linear memory in the strings added) serves every place that counts words:
 * vocabularies, caption metrics, kind names. Not safe for writing from two threads. */
#ifndef LINNET_DATA_INTERN_H
#define LINNET_DATA_INTERN_H

#include "kernels/base.h"

typedef struct intern intern;
#define INTERN_NONE UINT32_MAX

intern *intern_new(void); /* NULL with a sentence if memory is short */
void intern_free(intern *table);
/* The id of the n bytes, which are copied if they are new. Fails only for memory. */
status intern_add(intern *table, const void *bytes, size_t n, uint32_t *id);
/* The id, or INTERN_NONE if the bytes were never added. */
uint32_t intern_find(const intern *table, const void *bytes, size_t n);
uint32_t intern_count(const intern *table);
/* The bytes of id < intern_count; *n gets their number (no terminator). Valid until the next intern_add. */
const char *intern_bytes(const intern *table, uint32_t id, size_t *n);

#endif
