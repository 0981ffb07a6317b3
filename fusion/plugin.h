/* Modules that are opened at run time, for engines that not every machine has: liblinnet-NAME.so.
 *
 * A module is looked for in the folder that LINNET_PLUGIN_DIR names, and nowhere else if it is set; otherwise beside
 * the file that this code is in (the command or the library) and in the folders that an installation puts modules in.
 * It shows one function, plugin_entry, which answers with a table of functions. No exception and no type of C++ crosses
 * that border: a module reports mistakes through the host's fail(). */
#ifndef LINNET_FUSION_PLUGIN_H
#define LINNET_FUSION_PLUGIN_H

#include "kernels/base.h"

/* What a module gets from us. */
typedef struct {
  status (*fail)(status code, const char *format, ...);
} plugin_host;

/* What every table begins with. A table changes its version with any change of its fields. */
typedef struct {
  uint32_t version;
  const char *engine; /* "FAISS 1.7.3" */
} plugin_head;

#define PLUGIN_ENTRY "linnet_plugin" /* the name of that function */
typedef const plugin_head *plugin_entry(const plugin_host *host);

/* The table of liblinnet-NAME.so, which stays open; further calls are cheap. NULL with STATUS_UNSUPPORTED and a
 * sentence (`package` is what it needs to be built) if there is no such module, or none of this version. */
const plugin_head *plugin_open(const char *name, uint32_t version, const char *package);

#endif
