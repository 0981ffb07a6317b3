/* A zip archive in memory or mapped, whose entries are read piece by piece: what pth.c knows of zip.
 *
 * Rules. Which entries there are, their sizes and places say the central directory's records, as PyTorch reads them;
 * two entries of one name are refused. Entries are stored or deflated, never encrypted. A stored entry is no larger
 * than the file, a deflated one no larger than ARCHIVE_TIMES the file.
 *
 * Memory. A stored entry is read where it is asked for, through one handle that stays open: reading in order is one
 * pass over the file, and at the entry's end its checksum is compared. A deflated entry is unpacked as a whole, and
 * stays in memory until another piece is wanted: one piece at a time. */
#ifndef LINNET_WEIGHTS_PTH_ARCHIVE_H
#define LINNET_WEIGHTS_PTH_ARCHIVE_H

#include "kernels/base.h"

#define ARCHIVE_TIMES 16
#define ARCHIVE_LEAST (1 << 20)    /* what an entry of even the smallest file may unpack to */
#define ARCHIVE_NAME_MAX (1 << 10) /* bytes of an entry's name */

typedef struct archive archive; /* for one thread at a time */

/* The bytes must stay until archive_close(). NULL with a sentence: STATUS_FORMAT, STATUS_MEMORY. */
archive *archive_open(const void *data, size_t bytes);
void archive_close(archive *a); /* NULL is fine */

size_t archive_count(const archive *a);
const char *archive_name(const archive *a, size_t index);
/* false if there is none of that name */
bool archive_find(const archive *a, const char *name, size_t *index);
/* The bytes of an entry that can be read. STATUS_UNSUPPORTED or STATUS_FORMAT if it cannot. */
status archive_size(const archive *a, size_t index, size_t *bytes);

/* Copies a part, which lies within the entry's size. STATUS_FORMAT if the entry is damaged, STATUS_MEMORY. */
status archive_read(archive *a, size_t index, size_t offset, size_t bytes, void *out);
/* The same part in memory, until the next call on this archive. */
const uint8_t *archive_piece(archive *a, size_t index, size_t offset, size_t bytes);
/* Compares the checksums of all entries. */
status archive_verify(archive *a);

#endif
