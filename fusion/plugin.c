/* dladdr is not in POSIX 2008. */
#define _GNU_SOURCE
#include "fusion/plugin.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLACES = 4 };

typedef struct {
  char path[PLACES][PATH_MAX];
  size_t n;
} places;

static void add_place(places *p, const char *folder, const char *below, const char *name) {
  const int length = snprintf(p->path[p->n], PATH_MAX, "%s/%sliblinnet-%s.so", folder, below, name);
  if (length > 0 && length < PATH_MAX) p->n++;
}

/* The folder of the command or library that this function is in; false if the system does not say. A command that was
 * found along PATH goes by the name that it was called by, which may be another file's here. */
static bool own_folder(char folder[PATH_MAX]) {
  static const plugin_host here = {fail};
  Dl_info info;
  if (!dladdr(&here, &info) || !info.dli_fname || info.dli_fname[0] != '/' || !realpath(info.dli_fname, folder)) {
    const ssize_t n = readlink("/proc/self/exe", folder, PATH_MAX - 1);
    if (n <= 0) return false;
    folder[n] = 0;
  }
  char *slash = strrchr(folder, '/');
  if (slash) *slash = 0;
  return slash;
}

/* LINNET_PLUGIN_BELOW_BIN and _LIB lead from the command's and the library's folder to that of installed modules. */
static void find_places(places *p, const char *name) {
  const char *wish = getenv("LINNET_PLUGIN_DIR");
  char folder[PATH_MAX];
  p->n = 0;
  if (wish && *wish) {
    add_place(p, wish, "", name);
  } else if (own_folder(folder)) {
    add_place(p, folder, "", name);
    add_place(p, folder, LINNET_PLUGIN_BELOW_BIN "/", name);
    add_place(p, folder, LINNET_PLUGIN_BELOW_LIB "/", name);
  }
}

static const plugin_head *open_at(const char *path, uint32_t version) {
  static const plugin_host host = {fail};
  void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!module) return fail_null(STATUS_UNSUPPORTED, "the plug-in %s cannot be opened: %s", path, dlerror());
  plugin_entry *entry = NULL;
  void *symbol = dlsym(module, PLUGIN_ENTRY);
  memcpy(&entry, &symbol, sizeof entry);
  if (!entry) return fail_null(STATUS_UNSUPPORTED, "%s is not a plug-in: it lacks " PLUGIN_ENTRY, path);
  const plugin_head *head = entry(&host);
  if (head->version == version) return head;
  return fail_null(STATUS_UNSUPPORTED, "the plug-in %s is of version %u, and this program needs version %u", path,
                   (unsigned)head->version, (unsigned)version);
}

const plugin_head *plugin_open(const char *name, uint32_t version, const char *package) {
  places p;
  find_places(&p, name);
  for (size_t i = 0; i < p.n; i++)
    if (!access(p.path[i], F_OK)) return open_at(p.path[i], version);
  return fail_null(STATUS_UNSUPPORTED,
                   "the plug-in liblinnet-%s.so was not found%s%s: build with %s installed (scripts/deps plugins), or "
                   "name its folder in LINNET_PLUGIN_DIR",
                   name, p.n ? " at " : "", p.n ? p.path[0] : "", package);
}
