/* Failures on demand: of any allocation, and of any call by which the library's files reach the system, counted from 1;
 * or the end of the process at such a call, or whatever other processes could do just before it.
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
#include <stdint.h>

enum { INJECT_MEMORY = 1, INJECT_FILES = 2 };

typedef struct {
  unsigned kinds; /* of calls that are counted, and fail */
  long first;     /* the call that fails; 0: none */
  bool all_later; /* it and every later one */
  bool kills;     /* the call does not fail: the process is killed instead */
  uint64_t lost;  /* and the power fails: of what pwrite() wrote since the last fsync() about half is lost, chosen by
                   * this  seed; 0: nothing is */
  void (*before)(void *user); /* the call does not fail: something else happens before it */
  void *user;
  bool in_pieces; /* reads and writes move a third of what they could, and every other write is interrupted first */
  bool bounded;   /* the disk has room for `room` bytes */
  long room;
} inject_plan;

typedef struct {
  long calls;    /* of the plan's kinds */
  long written;  /* bytes */
  long renames;  /* that succeeded */
  long unsynced; /* calls of fsync() that failed */
  long kept;     /* files that were to be removed, but unlink() failed */
  /* What was taken less what was given back: 0, unless something leaks. Blocks are counted only where the
   * whole program's allocations are. */
  long blocks, descriptors, mappings;
} inject_report;

void inject_begin(const inject_plan *plan);
inject_report inject_end(void);

#endif
