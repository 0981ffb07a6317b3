/* Batches of items that several threads make ahead, handed over one after the other and in their order: pictures that
 * are decoded while others are encoded, batches of scenes that are drawn while a step is computed.
 *
 * Every thread does what can be done next: it takes over the batch whose turn it is, else it makes one for which there
 * is room. So all of them are busy, whichever of the two costs more, and no more than `rooms` batches exist at a time.
 * What is computed does not depend on how many threads there are. */
#ifndef LINNET_DATA_PIPELINE_H
#define LINNET_DATA_PIPELINE_H

#include "kernels/base.h"

typedef struct {
  void *user;
  /* Makes items [first, first+n) into a room, 0..rooms-1. Threads do so at the same time, each in another room. */
  status (*make)(void *user, size_t room, size_t first, size_t n);
  /* Receives them: never two batches at a time, always in order, on any of the threads. The room is then free. */
  status (*take)(void *user, size_t room, size_t first, size_t n);
} pipeline;

/* Runs on up to `threads` threads of OpenMP's, the caller's among them (so that parallel loops of those who are called
 * run serially; with one thread they do not). The first failure ends it, and its sentence becomes the caller's; who is
 * making a batch then still ends it. All numbers at least 1, except n. */
status pipeline_run(const pipeline *p, size_t n, size_t batch, size_t rooms, int threads);

#endif
