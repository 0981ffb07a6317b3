#include "data/pipeline.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct {
  const pipeline *p;
  size_t n, batch, batches, rooms;
  pthread_mutex_t lock; /* of what follows */
  pthread_cond_t changed;
  size_t begun, taken; /* batches; b of them lies in room b % rooms, and may be begun when b < taken + rooms */
  bool *ready;         /* [rooms] */
  bool taking;
  status failed;
  char sentence[1024];
} run;

/* Makes or takes batch b, without the lock; notes a failure, with it. */
static void work_on(run *r, size_t b, status (*work)(void *user, size_t room, size_t first, size_t n)) {
  const size_t first = b * r->batch, left = r->n - first;
  pthread_mutex_unlock(&r->lock);
  const status s = work(r->p->user, b % r->rooms, first, left < r->batch ? left : r->batch);
  pthread_mutex_lock(&r->lock);
  if (s && !r->failed) {
    r->failed = s;
    snprintf(r->sentence, sizeof r->sentence, "%s", last_error());
  }
}

/* What one thread does until there is no more to do. */
static void take_part(run *r) {
  pthread_mutex_lock(&r->lock);
  while (!r->failed && r->taken < r->batches) {
    const size_t turn = r->taken % r->rooms;
    if (!r->taking && r->ready[turn]) {
      r->taking = true;
      work_on(r, r->taken, r->p->take);
      r->taking = r->ready[turn] = false;
      r->taken++;
      pthread_cond_broadcast(&r->changed);
    } else if (r->begun < r->batches && r->begun < r->taken + r->rooms) {
      const size_t b = r->begun++;
      work_on(r, b, r->p->make);
      r->ready[b % r->rooms] = true;
      pthread_cond_broadcast(&r->changed);
    } else {
      pthread_cond_wait(&r->changed, &r->lock);
    }
  }
  pthread_mutex_unlock(&r->lock);
}

status pipeline_run(const pipeline *p, size_t n, size_t batch, size_t rooms, int threads) {
  run r = {.p = p, .n = n, .batch = batch, .batches = n / batch + (n % batch != 0), .rooms = rooms};
  if (!(r.ready = mem_zero(rooms, sizeof *r.ready))) return STATUS_MEMORY;
  pthread_mutex_init(&r.lock, NULL);
  pthread_cond_init(&r.changed, NULL);
#pragma omp parallel num_threads(threads)
  take_part(&r);
  pthread_cond_destroy(&r.changed);
  pthread_mutex_destroy(&r.lock);
  free(r.ready);
  return r.failed ? fail(r.failed, "%s", r.sentence) : STATUS_OK;
}
