/* What a build comes to, pinned by a committed text: its manifest. */
#ifndef LINNET_DATA_BUILD_PINNED_H
#define LINNET_DATA_BUILD_PINNED_H

#include "kernels/base.h"

/* Writes the manifest if there is none or `renew`; otherwise it must say exactly what was built: `bytes` of text, with
 * a zero byte after them and none in them. */
status pinned_settle(const char *path, bool renew, const char *fresh, size_t bytes);
/* STATUS_FORMAT if the manifest says something else. */
status pinned_check(const char *path, const char *fresh);

/* Creates the folders that lead to a file. */
void folders_make(const char *path);

#endif
