/* An index whose writer is killed at any call to the system, or loses its power there; whose disk is full, cannot be
 * synced, moves bytes by thirds; whose memory is short. Afterwards the file is what one of the commits left: the last
 * one that returned, or the one that was under way. It verifies, every item is found, and another writer goes on. All
 * the while another process opens the file, again and again, and must always see one of the commits. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fusion/vector_index_layout.h"
#include "tests/support/index_items.h"
#include "tests/support/inject.h"
#include "tests/support/scratch.h"

#include <cmocka.h> /* last: it defines fail() as a macro, and ours is (fail)() */

enum { ITEMS = 40, EXTRA = ITEMS, STATES = 6, KILLS = 200, POWER_FAILURES = 80 };

/* What an index holds after each commit of a job. The item EXTRA is that of the writer who goes on. */
typedef uint8_t versions[ITEMS + 1];
typedef struct job {
  const char *name;
  status (*run)(const char *path, volatile int *commits); /* counts the commits that returned */
  bool fresh;                                             /* there is no file before */
  int states;
  versions state[STATES];
} job;

static const index_facts facts = {.width = ITEM_WIDTH, .type = VECTOR_I8, .about = "{\"model\": \"none\"}"};

/* --- the jobs ----------------------------------------------------------------------------------------------------- */

static status commit(index_writer *w, volatile int *commits) {
  if (index_commit(w)) return last_status();
  ++*commits;
  return STATUS_OK;
}

static status finish(index_writer *w, status s) {
  index_writer_close(w);
  return s;
}

/* Three commits, of which the second replaces an item; pieces are so small that rows lie in the file before. */
static status build(const char *path, volatile int *commits) {
  index_writer *w = index_create(path, &facts);
  if (!w) return last_status();
  ++*commits;
  index_writer_set_piece(w, 1500);
  status s = STATUS_OK;
  for (unsigned i = 0; !s && i < 15; i++) {
    s = index_item_put(w, i, 1);
    if (!s && i == 7) s = index_item_put(w, 3, 2);
    if (!s && i % 5 == 4) s = commit(w, commits);
  }
  return finish(w, s);
}

static void build_states(versions state[STATES]) {
  for (unsigned i = 0; i < 15; i++)
    for (unsigned c = i / 5 + 1; c <= 3; c++) state[c][i] = i == 3 && c > 1 ? 2 : 1;
}

static void start(versions v) {
  for (unsigned i = 0; i < 20; i++) v[i] = 1;
}

/* New items, items in another version, and one twice in a commit. */
static status add(const char *path, volatile int *commits) {
  index_writer *w = index_append(path);
  if (!w) return last_status();
  index_writer_set_piece(w, 1500);
  status s = STATUS_OK;
  for (unsigned i = 15; !s && i < 25; i++) s = index_item_put(w, i, 2);
  if (!s) s = index_item_put(w, 24, 3);
  if (!s) s = commit(w, commits);
  for (unsigned i = 30; !s && i < 33; i++) s = index_item_put(w, i, 1);
  if (!s) s = commit(w, commits);
  return finish(w, s);
}

static void add_states(versions state[STATES]) {
  for (int c = 0; c < 3; c++) start(state[c]);
  for (int c = 1; c < 3; c++) {
    for (unsigned i = 15; i < 25; i++) state[c][i] = 2;
    state[c][24] = 3;
  }
  for (unsigned i = 30; i < 33; i++) state[2][i] = 1;
}

static status delete (const char *path, volatile int *commits) {
  index_writer *w = index_append(path);
  if (!w) return last_status();
  status s = STATUS_OK;
  for (unsigned i = 0; !s && i < 20; i++) {
    if (i % 3 == 0 && !index_item_remove(w, i)) s = last_status();
    if (!s && i % 10 == 9) s = commit(w, commits);
  }
  return finish(w, s);
}

static void delete_states(versions state[STATES]) {
  for (unsigned c = 0; c < 3; c++) {
    start(state[c]);
    for (unsigned i = 0; i < 10 * c; i += 3) state[c][i] = 0;
  }
}

/* A compaction changes nothing that is found. */
static status compact(const char *path, volatile int *commits) {
  if (index_compact(path)) return last_status();
  ++*commits;
  return STATUS_OK;
}

static void compact_states(versions state[STATES]) {
  start(state[0]);
  start(state[1]);
}

/* --- laying out and judging --------------------------------------------------------------------------------------- */

/* Puts a file in place in one step, since somebody reads it. */
static void lay_out(const job *j, const char *path, const char *base, size_t bytes) {
  char temporary[600];
  if (j->fresh) {
    unlink(path);
    return;
  }
  snprintf(temporary, sizeof temporary, "%s.new", path);
  scratch_write(temporary, base, bytes);
  assert_int_equal(rename(temporary, path), 0);
}

/* Twenty items in three segments, some of them deleted before: what the jobs other than the first begin with. */
static char *make_base(const char *path, size_t *bytes) {
  unlink(path);
  index_writer *w = index_create(path, &facts);
  if (!w) fail_msg("%s", last_error());
  for (unsigned i = 0; i < 20; i++) {
    assert_int_equal(index_item_put(w, i, i < 8 ? 5 : 1), STATUS_OK);
    if (i % 7 == 6) assert_int_equal(index_commit(w), STATUS_OK);
  }
  for (unsigned i = 0; i < 8; i++) assert_int_equal(index_item_put(w, i, 1), STATUS_OK);
  assert_int_equal(index_commit(w), STATUS_OK);
  index_writer_close(w);
  char *base = scratch_read(path, bytes);
  unlink(path);
  return base;
}

/* Which of the states [first,last] an open index is in, the item EXTRA there or not; -1 if in none. */
static int state_of(const job *j, const vector_index *x, int first, int last) {
  for (int c = first; c <= last && c < j->states; c++)
    for (unsigned extra = 0; extra < 2; extra++) {
      versions v;
      memcpy(v, j->state[c], sizeof v);
      v[EXTRA] = (uint8_t)extra;
      if (!index_items_wrong(x, facts.type, v, ITEMS + 1)) return c;
    }
  return -1;
}

/* The file after a job of which so many commits returned; the sentence of what is wrong, or NULL. */
static const char *judge_file(const job *j, const char *path, int commits) {
  if (j->fresh && access(path, F_OK)) return commits ? "the file is gone" : NULL;
  const int before = commits - j->fresh; /* the first commit of a new file is that it appears, without rows */
  if (index_verify(path)) return last_error();
  vector_index *x = index_open(path);
  if (!x) return last_error();
  const int state = state_of(j, x, before < 0 ? 0 : before, before + 1);
  index_close(x);
  if (state < 0) return "the file holds neither what was committed last nor what was about to be";
  index_writer *w = index_append(path);
  if (!w || index_item_put(w, EXTRA, 1) || index_commit(w)) return last_error();
  index_writer_close(w);
  if (index_verify(path) || !(x = index_open(path))) return last_error();
  const bool goes_on = state_of(j, x, state, state) >= 0;
  index_close(x);
  return goes_on ? NULL : "another writer could not go on";
}

static void judge(const job *j, const char *path, int commits, const char *what, long call) {
  inject_begin(&(inject_plan){0}); /* so that nothing is synced */
  const char *wrong = judge_file(j, path, commits);
  inject_end();
  if (wrong) fail_msg("%s, %s %ld: after %d commits: %s", j->name, what, call, commits, wrong);
}

/* --- the reader --------------------------------------------------------------------------------------------------- */

/* What the processes know of each other. */
typedef struct {
  volatile int commits; /* of the writer */
  volatile int stop;    /* the reader is to end */
  volatile long read;   /* how often it has opened the file */
  char wrong[600];
} shared;

static const char *find_first(const vector_index *x) {
  search_hit hit;
  size_t n, found;
  float query[ITEM_WIDTH];
  const search_part *part = index_parts(x, &n);
  uint64_t row = 0;
  while (row < index_numbers_of(x)->rows && index_deleted(x, row)) row++;
  if (row == index_numbers_of(x)->rows) return NULL;
  index_vector_at(x, row, query);
  if (search_exact(index_numbers_of(x)->facts.type, ITEM_WIDTH, part, n, query, 1, 1, &hit, &found))
    return last_error();
  return found == 1 && hit.row == row ? NULL : "a search does not find a row by its own vector";
}

/* Until it is told to end, or whoever would tell it has ended. */
static void read_on(const job *j, const char *path, shared *with, pid_t parent) {
  while (!with->stop && !*with->wrong && getppid() == parent) {
    vector_index *x = index_open(path);
    const char *wrong = x ? NULL : j->fresh && last_status() == STATUS_IO ? NULL : last_error();
    if (x && state_of(j, x, 0, j->states) < 0) wrong = "a reader sees no commit, but something between";
    if (x && !wrong) wrong = find_first(x);
    if (wrong) snprintf(with->wrong, sizeof with->wrong, "%s", wrong);
    index_close(x);
    with->read++;
    usleep(2000);
  }
  _exit(0);
}

/* --- killing ------------------------------------------------------------------------------------------------------ */

static void run_killed(const job *j, const char *path, const inject_plan *plan, shared *with) {
  with->commits = 0;
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    inject_begin(plan);
    j->run(path, &with->commits);
    _exit(0);
  }
  int how;
  assert_int_equal(waitpid(child, &how, 0), child);
  if (!WIFSIGNALED(how) || WTERMSIG(how) != SIGKILL) fail_msg("%s: call %ld was not reached", j->name, plan->first);
}

static long count_calls(const job *j, const char *path, const inject_plan *plan, int *commits) {
  volatile int n = 0;
  inject_begin(plan);
  const status s = j->run(path, &n);
  const long calls = inject_end().calls;
  if (s) fail_msg("%s: %s", j->name, last_error());
  *commits = n;
  return calls;
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

typedef struct {
  char *path, *base;
  size_t bytes;
  shared *with;
  pid_t reader;
} scene;

static scene begin(void **state, const job *j) {
  scene s = {.path = scratch_path(state, "pictures.lidx")};
  s.base = make_base(s.path, &s.bytes);
  s.with = mmap(NULL, sizeof *s.with, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(s.with != MAP_FAILED);
  lay_out(j, s.path, s.base, s.bytes);
  return s;
}

static void begin_reading(scene *s, const job *j) {
  const pid_t self = getpid();
  s->reader = fork();
  assert_true(s->reader >= 0);
  if (s->reader == 0) read_on(j, s->path, s->with, self);
}

static void end(scene *s, const job *j) {
  int how = 0;
  s->with->stop = 1;
  if (s->reader) {
    assert_int_equal(waitpid(s->reader, &how, 0), s->reader);
    if (*s->with->wrong) fail_msg("%s: the reader: %s", j->name, s->with->wrong);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_true(s->with->read > 0);
  }
  munmap(s->with, sizeof *s->with);
  free(s->base);
  free(s->path);
}

/* At calls drawn by chance; every other time a write is one of three pieces, so that some are killed half way. */
static void kill_often(scene *s, const job *j, bool power) {
  inject_plan plan = {.kinds = INJECT_FILES};
  long calls[2];
  rng g = rng_make(2024, power);
  for (int pieces = 0; pieces < 2; pieces++) {
    int commits;
    plan.in_pieces = pieces;
    lay_out(j, s->path, s->base, s->bytes);
    calls[pieces] = count_calls(j, s->path, &plan, &commits);
    assert_true(calls[pieces] > 10);
    assert_int_equal(commits, j->states - !j->fresh);
    judge(j, s->path, commits, "no call", 0);
  }
  plan.kills = true;
  for (int i = 0; i < (power ? POWER_FAILURES : KILLS); i++) {
    plan.in_pieces = i % 2;
    plan.first = 1 + (long)rng_below(&g, (uint32_t)calls[i % 2]);
    plan.lost = power ? (uint64_t)i + 1 : 0;
    lay_out(j, s->path, s->base, s->bytes);
    run_killed(j, s->path, &plan, s->with);
    judge(j, s->path, s->with->commits, plan.in_pieces ? "killed in pieces at call" : "killed at call", plan.first);
  }
}

static void try_kills(void **state, const job *j) {
  scene s = begin(state, j);
  begin_reading(&s, j);
  kill_often(&s, j, false);
  end(&s, j);
  s = begin(state, j); /* whose reader would not outlive the power */
  kill_often(&s, j, true);
  end(&s, j);
}

/* Runs a job under a plan whose failures it survives. */
static inject_report attempt(const scene *s, const job *j, const inject_plan *plan) {
  volatile int commits = 0;
  lay_out(j, s->path, s->base, s->bytes);
  (fail)(STATUS_OK, "%s", "");
  inject_begin(plan);
  const status failed = j->run(s->path, &commits);
  const inject_report r = inject_end();
  const char *kind = plan->bounded ? "room" : plan->kinds == INJECT_MEMORY ? "allocation" : "system call";
  const long call = plan->bounded ? plan->room : plan->first;
  if (!failed && (commits != j->states - !j->fresh || r.unsynced))
    fail_msg("%s, %s %ld: a failure is not told", j->name, kind, call);
  if (failed && (last_status() != failed || strlen(last_error()) < 12))
    fail_msg("%s, %s %ld: no sentence, but \"%s\"", j->name, kind, call, last_error());
  if (r.blocks || r.descriptors || r.mappings) fail_msg("%s, %s %ld: something leaks", j->name, kind, call);
  judge(j, s->path, commits, kind, call);
  return r;
}

static void try_failures(void **state, const job *j) {
  scene s = begin(state, j);
  begin_reading(&s, j);
  attempt(&s, j, &(inject_plan){0}); /* makes what libraries keep for good */
  const long written = attempt(&s, j, &(inject_plan){.in_pieces = true}).written;
  for (unsigned kinds = INJECT_MEMORY; kinds <= INJECT_FILES; kinds++) {
    const long calls = attempt(&s, j, &(inject_plan){.kinds = kinds}).calls;
    assert_true(calls > 10);
    for (long k = 1; k <= calls; k++)
      for (int later = 0; later < 2; later++)
        attempt(&s, j, &(inject_plan){.kinds = kinds, .first = k, .all_later = later});
  }
  for (long i = 0; i < 60; i++) attempt(&s, j, &(inject_plan){.bounded = true, .room = written * i / 60});
  end(&s, j);
}

static void each_job(void **state, void (*attempt_all)(void **state, const job *j)) {
  job jobs[] = {{.name = "build", .run = build, .fresh = true, .states = 4},
                {.name = "add", .run = add, .states = 3},
                {.name = "delete", .run = delete, .states = 3},
                {.name = "compact", .run = compact, .states = 2}};
  void (*const states[])(versions[STATES]) = {build_states, add_states, delete_states, compact_states};
  for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
    states[i](jobs[i].state);
    attempt_all(state, jobs + i);
  }
}

/* What another process may do while a job is at a call: read, and try to compact, which the lock may refuse. */
typedef struct {
  const job *j;
  const char *path;
  volatile int commits;
  int compacted;
} interruption;

static void interrupt(void *user) {
  interruption *at = user;
  const int before = at->commits - at->j->fresh;
  vector_index *x = index_open(at->path);
  if (!x && at->commits) fail_msg("%s", last_error());
  if (x && state_of(at->j, x, before < 0 ? 0 : before, before + 1) < 0) fail_msg("a reader sees no commit");
  index_close(x);
  at->compacted += !index_compact(at->path);
}

static void try_interruptions(void **state, const job *j) {
  scene s = begin(state, j);
  interruption at = {.j = j, .path = s.path};
  int commits, done = 0;
  lay_out(j, s.path, s.base, s.bytes);
  const long calls = count_calls(j, s.path, &(inject_plan){.kinds = INJECT_FILES}, &commits);
  for (long k = 1; k <= calls; k++) {
    lay_out(j, s.path, s.base, s.bytes);
    at.commits = at.compacted = 0;
    inject_begin(&(inject_plan){.kinds = INJECT_FILES, .first = k, .before = interrupt, .user = &at});
    const status failed = j->run(s.path, &at.commits);
    inject_end();
    if (failed) fail_msg("%s, interrupted at call %ld: %s", j->name, k, last_error());
    judge(j, s.path, at.commits, "interrupted at call", k);
    done += at.compacted;
  }
  assert_true(done > 0 && done < calls); /* sometimes the lock was free, and sometimes not */
  end(&s, j);
}

static void test_interrupted(void **state) { each_job(state, try_interruptions); }
static void test_killed(void **state) { each_job(state, try_kills); }
static void test_failing(void **state) { each_job(state, try_failures); }

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_interrupted, scratch_setup, scratch_teardown),
                                     cmocka_unit_test_setup_teardown(test_killed, scratch_setup, scratch_teardown),
                                     cmocka_unit_test_setup_teardown(test_failing, scratch_setup, scratch_teardown)};
  scratch_in_memory();
  return cmocka_run_group_tests(tests, NULL, NULL);
}
