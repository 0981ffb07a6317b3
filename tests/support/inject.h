/* Failures on demand: of any allocation, and of any call by which the library's files reach the system, counted from 1.
 *
 *   inject_begin(&(inject_plan){.kinds = INJECT_MEMORY, .first = 7});
 *   ... what is tested ...
 *   const inject_report r = inject_end();
 *
 * Only calls of the thread that began are counted and fail. A program that uses this is linked with the options that
 * tests/CMakeLists.txt gives test_files_fail.
 *
 * Calls that reach the system are those of our own objects, which the linker redirects (--wrap). Allocations are those
 * of the whole program, jansson, libzip, zlib and the C library among them, since the program defines malloc itself;
 * under AddressSanitizer, whose malloc must stay, and with clang, whose OpenMP library ends the program when memory is
 * short, they are our own objects' and jansson's only. */
#ifndef LINNET_TESTS_INJECT_H
#define LINNET_TESTS_INJECT_H

#include <stdbool.h>

enum { INJECT_MEMORY = 1, INJECT_FILES = 2 };

typedef struct {
  unsigned kinds; /* of calls that are counted, and fail */
  long first;     /* the call that fails; 0: none */
  bool all_later; /* it and every later one */
  bool in_pieces; /* reads and writes move a third of what they could, and every other write is interrupted first */
  bool bounded;   /* the disk has room for `room` bytes */
  long room;
} inject_plan;

typedef struct {
  long calls;   /* of the plan's kinds */
  long written; /* bytes */
  long renames; /* that succeeded */
  long kept;    /* files that were to be removed, but unlink() failed */
  /* What was taken less what was given back: 0, unless something leaks. Blocks are counted only where the
   * whole program's allocations are. */
  long blocks, descriptors, mappings;
} inject_report;

void inject_begin(const inject_plan *plan);
inject_report inject_end(void);

#endif
