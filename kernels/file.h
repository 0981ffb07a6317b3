/* Files as a whole: read into memory, or mapped. Writing them is atomic_file.h's. Every sentence begins with the file's
 * name. */
#ifndef LINNET_KERNELS_FILE_H
#define LINNET_KERNELS_FILE_H

#include "kernels/base.h"

/* Everything there is to read under a name, pipes included, and a zero byte after it that *size does not count; free()
 * it. NULL with STATUS_IO if it cannot be opened or read, STATUS_MEMORY if it is over `most` bytes or does not fit. */
void *file_read(const char *path, uint64_t most, size_t *size);
/* The same from an open descriptor (standard input), from where it stands to its end; `name` is for sentences. */
void *file_read_open(int descriptor, const char *name, uint64_t most, size_t *size);

/* Maps a regular file read-only; anything else is refused, and never waited for. An empty file is STATUS_OK with *size
 * 0. The mapping follows the file: nothing may shorten or overwrite it in place meanwhile. */
status file_map(const char *path, const void **data, size_t *size);
/* The same in two steps. A descriptor to read from, whatever has the name, or -1 with a sentence; never waits. */
int file_open(const char *path);
status file_map_open(int descriptor, const char *name, const void **data, size_t *size);
void file_unmap(const void *data, size_t size); /* size 0 is fine */
/* A part of a mapping will not be read again soon. Pages that were touched count as this process's memory as long as
 * there is plenty, so that reading a large file once would seem to need all of it; they come back when touched. */
void file_forget(const void *data, size_t size);

#endif
