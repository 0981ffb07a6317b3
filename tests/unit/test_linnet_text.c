/* The public API for text (linnet.h): what it refuses, that a text goes on from wherever it stood, and conversations.
 */
#include <ctype.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "linnet.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

static linnet_text_model *open_tiny(void **state, uint64_t seed) {
  char *path = scratch_path(state, "tiny.safetensors");
  assert_int_equal(tiny_model_write(path, seed), 0);
  linnet_text_model *model = linnet_text_open(path, NULL);
  if (!model) fail_msg("%s", linnet_error());
  free(path);
  return model;
}

static linnet_text *begin(const linnet_text_model *model, const char *prompt) {
  linnet_text *text = linnet_text_new(model);
  assert_non_null(text);
  assert_int_equal(linnet_text_read(text, prompt, strlen(prompt)), LINNET_OK);
  return text;
}

static linnet_text_options short_ones(void) {
  linnet_text_options o = linnet_text_defaults();
  o.max_tokens = 20;
  o.seed = 5;
  return o;
}

static char *copy(const char *text) {
  if (!text) fail_msg("%s", linnet_error());
  char *made = strdup(text);
  assert_non_null(made);
  return made;
}

static void test_misuse(void **state) {
  assert_null(linnet_text_open(NULL, NULL));
  assert_null(linnet_text_open("tests", NULL));
  assert_null(linnet_text_new(NULL));
  assert_null(linnet_text_fork(NULL));
  assert_null(linnet_text_generate(NULL, NULL));
  assert_null(linnet_chat_ask(NULL, "", 0, NULL));
  assert_int_equal(linnet_text_read(NULL, "", 0), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_text_start(NULL, "x"), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_text_save(NULL, "x"), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_text_load(NULL, "x"), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_text_tokens(NULL), 0);
  linnet_text_free(NULL);
  linnet_text_close(NULL);

  linnet_text_model *model = open_tiny(state, 1);
  linnet_text *text = begin(model, "a");
  assert_int_equal(linnet_text_read(text, NULL, 3), LINNET_ERROR_ARGUMENT);
  assert_int_equal(linnet_chat_system(text, "rule", 4), LINNET_ERROR_ARGUMENT); /* not at the beginning */
  assert_int_equal(linnet_text_load(text, "tests/no such state"), LINNET_ERROR_IO);
  const linnet_text_options usual = short_ones();
  const char *const empty = "";
  linnet_text_options o;
#define REFUSE(field, bad)                                                                                             \
  (o = usual, o.field = (bad), assert_null(linnet_text_generate(text, &o)),                                            \
   assert_int_equal(linnet_last_status(), LINNET_ERROR_ARGUMENT))
  REFUSE(temperature, -1);
  REFUSE(temperature, NAN);
  REFUSE(top_p, 0);
  REFUSE(top_k, -1);
  REFUSE(min_p, 1.5f);
  REFUSE(presence_penalty, NAN);
  REFUSE(frequency_penalty, INFINITY);
  REFUSE(penalty_decay, 2);
  REFUSE(stops, -1);
  REFUSE(stops, 1);
  o = usual;
  o.stop = &empty;
  o.stops = 1;
  assert_null(linnet_text_generate(text, &o));
  assert_non_null(linnet_text_generate(text, &usual)); /* nothing of it did harm */
  linnet_text_free(text);
  linnet_text_close(model);
}

/* The same words follow however the text got to where it stands: read at once or in pieces, forked, saved and loaded.
 */
static void test_ways_on(void **state) {
  linnet_text_model *model = open_tiny(state, 2), *other = open_tiny(state, 3);
  const linnet_text_options o = short_ones();
  linnet_text *whole = begin(model, "a red cat on a mat"), *pieces = begin(model, "a red"),
              *loaded = linnet_text_new(model);
  assert_int_equal(linnet_text_read(pieces, " cat on a mat", 13), LINNET_OK);
  char *path = scratch_path(state, "text.state");
  assert_int_equal(linnet_text_save(whole, path), LINNET_OK);
  linnet_text *forked = linnet_text_fork(whole);
  assert_non_null(forked);
  assert_int_equal(linnet_text_load(loaded, path), LINNET_OK);

  char *first = copy(linnet_text_generate(whole, &o));
  assert_int_equal(linnet_text_tokens(whole), 20);
  assert_int_equal(linnet_text_ended_by(whole), LINNET_ENDED_BY_LENGTH);
  assert_string_equal(linnet_text_generate(forked, &o), first);
  assert_string_equal(linnet_text_generate(loaded, &o), first);
  assert_string_equal(linnet_text_generate(pieces, &o), first);
  char *second = copy(linnet_text_generate(whole, &o)); /* and so on */
  assert_string_not_equal(first, second);
  assert_string_equal(linnet_text_generate(loaded, &o), second);

  linnet_text *foreign = begin(other, "a");
  assert_int_equal(linnet_text_load(foreign, path), LINNET_ERROR_FORMAT);
  assert_non_null(linnet_text_generate(foreign, &o));
  free(first);
  free(second);
  free(path);
  linnet_text_free(whole);
  linnet_text_free(pieces);
  linnet_text_free(loaded);
  linnet_text_free(forked);
  linnet_text_free(foreign);
  linnet_text_close(other);
  linnet_text_close(model);
}

typedef struct {
  char text[4096];
  size_t n;
  int calls, stop_at;
} listener;

static bool listen(void *user, const char *text, size_t n) {
  listener *l = user;
  assert_true(l->n + n < sizeof l->text);
  memcpy(l->text + l->n, text, n);
  l->n += n;
  return ++l->calls != l->stop_at;
}

static void test_streaming_and_stops(void **state) {
  linnet_text_model *model = open_tiny(state, 2);
  listener all = {.stop_at = 0}, some = {.stop_at = 5};
  linnet_text *text = begin(model, "a blue dog"), *again = linnet_text_fork(text), *stopped = linnet_text_fork(text);
  linnet_text_options o = short_ones();
  o.on_token = listen;
  o.user = &all;
  char *said = copy(linnet_text_generate(text, &o));
  assert_int_equal(all.n, strlen(said));
  assert_memory_equal(all.text, said, all.n);
  o.user = &some;
  const char *part = linnet_text_generate(again, &o);
  assert_int_equal(linnet_text_ended_by(again), LINNET_ENDED_BY_CALLBACK);
  assert_int_equal(some.calls, 5);
  assert_int_equal(strncmp(said, part, strlen(part)), 0);

  const char *letter = said + strlen(said) / 2;
  while (*letter && !isalpha((unsigned char)*letter)) letter++;
  assert_true(*letter);
  char middle[] = {*letter, 0}; /* a letter that is said, as a stop text */
  const char *const stop = middle;
  o = short_ones();
  o.stop = &stop;
  o.stops = 1;
  const char *before = linnet_text_generate(stopped, &o);
  assert_int_equal(linnet_text_ended_by(stopped), LINNET_ENDED_BY_STOP);
  assert_int_equal(strlen(before), strchr(said, *middle) - said);
  assert_int_equal(strncmp(said, before, strlen(before)), 0);
  free(said);
  linnet_text_free(text);
  linnet_text_free(again);
  linnet_text_free(stopped);
  linnet_text_close(model);
}

/* A conversation is a text of a certain form. */
static void test_conversation(void **state) {
  linnet_text_model *model = open_tiny(state, 4);
  linnet_text_options o = linnet_chat_defaults();
  o.max_tokens = 12;
  linnet_text *chat = linnet_text_new(model);
  assert_int_equal(linnet_chat_system(chat, " Be brief.\n\n", 12), LINNET_OK);
  char *reply = copy(linnet_chat_ask(chat, "hello\r\n\r\nthere ", 15, &o));
  assert_in_range(linnet_text_tokens(chat), 0, 12);
  linnet_text *plain = begin(model, "System: Be brief.\n\nUser: hello\nthere\n\nAssistant:");
  const char *words = linnet_text_generate(plain, &o);
  words += strspn(words, " \t\n\v\f\r");
  assert_int_equal(strncmp(words, reply, strlen(reply)), 0);
  assert_non_null(linnet_chat_ask(chat, "and now?", 8, NULL));
  free(reply);
  linnet_text_free(plain);
  linnet_text_free(chat);
  linnet_text_close(model);
}

static void *go_on(void *model) {
  linnet_text *text = linnet_text_new(model);
  char *said = NULL;
  if (text && !linnet_text_read(text, "a", 1)) {
    const linnet_text_options o = short_ones();
    const char *words = linnet_text_generate(text, &o);
    said = words ? strdup(words) : NULL;
  }
  linnet_text_free(text);
  return said;
}

static void test_threads(void **state) {
  enum { THREADS = 4 };
  linnet_text_model *model = open_tiny(state, 5);
  linnet_set_threads(1);
  char *alone = go_on(model);
  assert_non_null(alone);
  pthread_t thread[THREADS];
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&thread[i], NULL, go_on, model), 0);
  for (int i = 0; i < THREADS; i++) {
    void *said;
    pthread_join(thread[i], &said);
    assert_non_null(said);
    assert_string_equal(said, alone);
    free(said);
  }
  free(alone);
  linnet_set_threads(0);
  linnet_text_close(model);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_misuse, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_ways_on, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_streaming_and_stops, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_conversation, scratch_setup, scratch_teardown),
      cmocka_unit_test_setup_teardown(test_threads, scratch_setup, scratch_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
