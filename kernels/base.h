/* What every folder stands on: error reporting, overflow-safe sizes, little allocation helpers.
 *
 * Errors. A function that can fail on its input returns a negative `status` (or NULL) after leaving one sentence with
 * `fail(...)`: which file, which item, what was expected, what was found, what to do. The sentence belongs to the
 * calling thread. Nothing here prints, exits or aborts. */
#ifndef LINNET_KERNELS_BASE_H
#define LINNET_KERNELS_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The same values as linnet.h's linnet_status (linnet.c asserts it). */
typedef enum {
  STATUS_OK = 0,
  STATUS_ARGUMENT = -1,    /* the caller asked for something that makes no sense */
  STATUS_IO = -2,          /* a file could not be opened, read or written */
  STATUS_FORMAT = -3,      /* a file or message is damaged or not of the expected kind */
  STATUS_UNSUPPORTED = -4, /* valid, but not something this build can do */
  STATUS_MEMORY = -5,      /* an allocation failed or a cap was exceeded */
  STATUS_INTERRUPTED = -6, /* the caller's callback or a signal asked to stop */
} status;

/* Formats the thread's error sentence (no trailing newline) and returns `code`: `return fail(STATUS_IO, ...)`. Control
 * characters become '?': words of a hostile file must not steer the terminal or break the line. */
status fail(status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As fail(), for functions that return pointers: `return fail_null(STATUS_IO, ...)`. */
void *fail_null(status code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prefixes the current sentence with "format: " (adds context on the way up) and returns the current code. */
status fail_within(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The last sentence and code of this thread; "" and STATUS_OK if nothing failed yet. */
const char *last_error(void);
status last_status(void);

/* What went wrong on several threads, begun as {0}: the first sentence is kept, whoever left it, to be said on the
 * thread that began them. */
typedef struct {
  int code;
  char *sentence;
} failure;
void failure_keep(failure *f);       /* this thread's last one, unless another is kept */
bool failure_kept(const failure *f); /* is there no more use in going on? */
status failure_say(failure *f);      /* as fail(), and empties f; STATUS_OK if nothing was kept */

/* Overflow-safe size arithmetic: false (and *out untouched) if the result does not fit. */
bool size_add(size_t a, size_t b, size_t *out);
bool size_mul(size_t a, size_t b, size_t *out);

/* The size of the equal pieces, at most `most` items each, that n items are cut into; the last may be smaller. 0 of 0.
 */
static inline size_t piece_of(size_t n, size_t most) {
  const size_t pieces = n / most + (n % most != 0);
  return pieces ? n / pieces + (n % pieces != 0) : 0;
}

/* malloc/calloc/realloc of n items of `size` bytes with an overflow check; NULL with a STATUS_MEMORY sentence on
 * failure. n == 0 gives a valid pointer. Free with free(). */
void *mem_alloc(size_t n, size_t size);
void *mem_zero(size_t n, size_t size);
void *mem_grow(void *old, size_t n, size_t size); /* `old` stays valid on failure */
char *mem_string(const char *text);               /* strdup with the same rule */
/* Bytes that begin with a cache line and, if they are many, lie on large pages where the system has such. */
void *mem_aligned(size_t bytes);
/* Room for one item more in an array of `count` that doubles: the array, moved or not; NULL as mem_grow. */
void *mem_room(void *items, size_t count, size_t *capacity, size_t size);
bool text_ends_with(const char *text, const char *ending);

/* Counter-based random numbers: a pure function of (seed, stream, index), so that any item can be drawn again at any
 * time and in any order. Philox-like quality is not needed; this is SplitMix64 over a mixed key. */
uint64_t random_u64(uint64_t seed, uint64_t stream, uint64_t index);

/* A sequential generator for host-side work (scenes, shuffles, initial values). Copying it forks it. */
typedef struct {
  uint64_t key, counter;
} rng;
rng rng_make(uint64_t seed, uint64_t stream);
uint64_t rng_u64(rng *g);
uint32_t rng_below(rng *g, uint32_t n);              /* uniform in [0,n), n >= 1, unbiased */
float rng_uniform(rng *g);                           /* [0,1) */
float rng_range(rng *g, float low, float high);      /* [low,high) */
float rng_normal(rng *g);                            /* mean 0, variance 1 */
void rng_shuffle(rng *g, uint32_t *items, size_t n); /* Fisher-Yates */

/* Monotonic seconds, for progress and benchmarks. */
double clock_seconds(void);

#endif
