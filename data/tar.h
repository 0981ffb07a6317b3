/* The index of a tar archive that lies in memory: POSIX ustar, pax and GNU long names, sizes in octal or base 256
 * (IEEE Std 1003.1, "pax"; GNU tar's manual, "Basic Tar Format"). Names and sizes are hostile: every one is checked
 * against the bytes there are. */
#ifndef LINNET_DATA_TAR_H
#define LINNET_DATA_TAR_H

#include "kernels/base.h"

enum { TAR_NAME = 4096 }; /* longest name, its zero byte included */

/* Does it begin with a header whose checksum is right? */
bool tar_is(const void *bytes, size_t n);

/* Receives the regular files in order, each with its place in the archive, until one returns another status than
 * STATUS_OK. The name lives as long as the call. */
typedef status (*tar_member_fn)(void *user, const char *name, size_t offset, size_t size);
/* Folders, links and devices are passed over. An archive may end without its empty blocks, but not within a member.
 * Sentences begin with `path`. */
status tar_members(const char *path, const void *bytes, size_t n, tar_member_fn each, void *user);

#endif
