/* A folder of its own for each test that writes files, and whole files in one call. Mistakes end the running cmocka
 * test. */
#ifndef LINNET_TESTS_SCRATCH_H
#define LINNET_TESTS_SCRATCH_H

#include <stddef.h>

/* cmocka fixtures: *state becomes the folder's path; teardown removes it with the files (not folders) in it. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* For tests that replace files thousands of times, which a disk would have to write each time: folders are made in
 * memory where there is a place for that, unless TMPDIR is set. */
void scratch_in_memory(void);

/* "FOLDER/name"; free() it. */
char *scratch_path(void **state, const char *name);
int scratch_entries(void **state); /* how many files the folder holds */

/* The whole file, with a zero byte after it; free() it. NULL if there is none. */
char *scratch_read(const char *path, size_t *bytes);
void scratch_write(const char *path, const void *data, size_t bytes);

#endif
