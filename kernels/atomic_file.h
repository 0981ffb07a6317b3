/* Writing a file so that its name always stands for a whole file: the old one or the new one, never a part.
 *
 * Bytes go to a temporary name in the same folder ("NAME.<process>-<n>.tmp"). Commit syncs them to the disk, renames
 * the temporary to the final name and syncs the folder. On any failure before the rename the temporary is removed and
 * what stood under the final name is untouched; only a process that is killed leaves its temporary behind. */
#ifndef LINNET_KERNELS_ATOMIC_FILE_H
#define LINNET_KERNELS_ATOMIC_FILE_H

#include "kernels/base.h"

typedef struct atomic_file atomic_file;

/* NULL with a STATUS_IO sentence if the folder is missing or cannot be written, or if something that is not a regular
 * file (a folder, a device, a pipe) has the name. A symbolic link to a file stays: that file is replaced. */
atomic_file *atomic_file_create(const char *path);
/* Bytes go to the disk in large pieces, so that a failure may be told by a later write, or by the commit. After one
 * every further write, and the commit, fails too: the first sentence is the one to show. */
status atomic_file_write(atomic_file *f, const void *data, size_t bytes);
/* Replaces bytes that have been written (a header's counts, a checksum), which is for the end: what is written after
 * it begins in the middle of a piece. Fails as atomic_file_write() does. */
status atomic_file_patch(atomic_file *f, size_t offset, const void *data, size_t bytes);
/* The temporary, for who reads and writes it at places of his own, and not by the calls above. */
int atomic_file_descriptor(const atomic_file *f);
/* Makes the file appear under its name. Frees f in every case. */
status atomic_file_commit(atomic_file *f);
/* The same, but replaces nothing: STATUS_ARGUMENT if something has the name by now. */
status atomic_file_commit_new(atomic_file *f);
/* Removes the temporary and frees f; NULL is fine. Leaves the error sentence alone. */
void atomic_file_abandon(atomic_file *f);

#endif
