/* An index in PostgreSQL: names, the bytes that are sent, and, against the server that LINNET_TEST_POSTGRES names (a
 * URL of a database with pgvector in which tables may be made), what is found there. Without that variable, and without
 * libpq, what needs them is skipped. */
#include "fusion/postgres.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusion/libpq.h"
#include "fusion/postgres_session.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WIDTH = 24, ROWS = 600, K = 8 };

static float rows[ROWS * WIDTH];

static void good(status s) {
  if (s) fail_msg("%s", last_error());
}

static void says(const char *words) {
  if (!strstr(last_error(), words)) fail_msg("'%s' does not say '%s'", last_error(), words);
}

/* --- bytes -------------------------------------------------------------------------------------------------------- */

static void same_bytes(pg_bytes *b, const char *want, size_t n) {
  assert_int_equal(b->bad, STATUS_OK);
  assert_int_equal(b->n, n);
  assert_memory_equal(b->bytes, want, n);
  free(b->bytes);
  *b = (pg_bytes){0};
}

static void vectors_as_bytes(void **state) {
  (void)state;
  const float v[] = {1, -2.5F, 65504};
  pg_bytes b = {0};
  pg_vector(&b, v, 3, false);
  same_bytes(&b, "\0\3\0\0\x3f\x80\0\0\xc0\x20\0\0\x47\x7f\xe0\0", 16);
  pg_vector(&b, v, 3, true);
  same_bytes(&b, "\0\3\0\0\x3c\0\xc1\0\x7b\xff", 10);
}

static void texts_as_bytes(void **state) {
  (void)state;
  pg_bytes b = {0};
  pg_text(&b, "caf\xc3\xa9 \xff\xfe!\xe2\x82", false);
  same_bytes(&b, "caf\xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd!\xef\xbf\xbd", 16);
  pg_text(&b, "{\"a\":\"\\u0000 \\\\u0000 \\\\\\u0000\"}", true);
  same_bytes(&b, "{\"a\":\"\\ufffd \\\\u0000 \\\\\\ufffd\"}", 31);
  pg_text(&b, "\\u0000", false);
  same_bytes(&b, "\\u0000", 6);
  char long_text[1001];
  memset(long_text, 'x', 1000);
  memcpy(long_text + 255, "\xc3\xa9", 2); /* across a border of blocks */
  long_text[1000] = 0;
  pg_text(&b, long_text, true);
  same_bytes(&b, long_text, 1000);
}

/* --- names -------------------------------------------------------------------------------------------------------- */

static void need_libpq(void) {
  if (libpq_open()) return;
  print_message("skipped: libpq.so.5 is not installed\n");
  skip();
}

static void names(void **state) {
  (void)state;
  assert_true(postgres_named("postgres://a/b") && postgres_named("postgresql:///b"));
  assert_false(postgres_named("postgres.lidx") || postgres_named("http://a"));
  need_libpq();
  static const struct {
    const char *url, *words;
  } bad[] = {
      {"postgres:///?table=", "1 to 55 bytes"},
      {"postgres:///?table=a%zz", "1 to 55 bytes"},
      {"postgres:///?table=a%00b", "1 to 55 bytes"},
      {"postgres:///?table=%ff", "1 to 55 bytes"},
      {"postgres:///?table=a123456789b123456789c123456789d123456789e123456789f12345", "1 to 55 bytes"},
      {"postgres:///?table=a&table=b", "two tables"},
      {"postgres://127.0.0.1:1/?table=t&connect_timeout=2", "connecting"},
      {"postgres://user:secret@127.0.0.1:1/x?connect_timeout=2", "connecting"},
      {"postgres:///?nonsense=1&table=t", "nonsense"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_null(postgres_open(bad[i].url));
    says(bad[i].words);
    assert_null(strstr(last_error(), "secret"));
  }
}

/* --- a server that is not to be trusted --------------------------------------------------------------------------- */

/* An answer of one row, as libpq would hand it over. */
enum { FIELDS = 5 };
static struct {
  int rows, fields, length[FIELDS];
  bool null[FIELDS];
  const char *value[FIELDS];
} answer;

static PGresult *fake_exec(PGconn *c, const char *sql) {
  (void)c;
  (void)sql;
  return NULL;
}
static PGresult *fake_params(PGconn *c, const char *sql, int n, const unsigned *types, const char *const *values,
                             const int *lengths, const int *formats, int format) {
  (void)n, (void)types, (void)values, (void)lengths, (void)formats, (void)format;
  return fake_exec(c, sql);
}
static int fake_status(const PGresult *r) {
  (void)r;
  return PGRES_TUPLES_OK;
}
static void fake_clear(PGresult *r) { (void)r; }
static int fake_rows(const PGresult *r) { return (void)r, answer.rows; }
static int fake_fields(const PGresult *r) { return (void)r, answer.fields; }
static int fake_null(const PGresult *r, int row, int field) { return (void)r, (void)row, answer.null[field]; }
static int fake_length(const PGresult *r, int row, int field) { return (void)r, (void)row, answer.length[field]; }
static char *fake_value(const PGresult *r, int row, int field) {
  (void)r, (void)row;
  return (char *)(uintptr_t)answer.value[field];
}

static const libpq fake = {.exec = fake_exec,
                           .execParams = fake_params,
                           .resultStatus = fake_status,
                           .clear = fake_clear,
                           .ntuples = fake_rows,
                           .nfields = fake_fields,
                           .getisnull = fake_null,
                           .getlength = fake_length,
                           .getvalue = fake_value};

static void set_field(int field, const char *value, int length) {
  answer.value[field] = value;
  answer.length[field] = length;
  answer.null[field] = false;
}

static void good_answer(void) {
  answer.rows = 1;
  answer.fields = FIELDS;
  set_field(0, "\0\0\0\0\0\0\1\2", 8);
  set_field(1, "\x3f\xe0\0\0\0\0\0\0", 8); /* 0.5 */
  set_field(2, "a.png", 5);
  set_field(3, "", 0);
  set_field(4, "{}", 2);
}

static void wrong_answers(void **state) {
  (void)state;
  static const struct {
    int field, length;
    const char *value;
  } bad[] = {
      {0, 4, "\0\0\0\1"},
      {0, 8, "\xff\xff\xff\xff\xff\xff\xff\xff"},
      {1, 4, "\x3f\0\0\0"},
      {1, 8, "\x7f\xf8\0\0\0\0\0\0"}, /* NaN */
      {1, 8, "\x7f\xf0\0\0\0\0\0\0"} /* inf */,
      {1, 8, "\x7f\xe0\0\0\0\0\0\0"},
      {2, 3, "a\0b"},
      {3, 2, "\xff\xfe"},
      {4, -1, "{}"},
      {4, INDEX_TEXT_MAX + 1, "{}"},
  };
  char name[] = "t", quoted[] = "\"t\"";
  postgres p = {.pq = &fake, .table = name, .quoted = quoted};
  const postgres_query query = {.vector = rows, .width = WIDTH, .k = 1};
  postgres_hits hits;
  good_answer();
  good(postgres_search(&p, &query, &hits));
  assert_true(hits.n == 1 && hits.hit[0].id == 258 && hits.hit[0].score == 0.5F);
  assert_string_equal(hits.hit[0].record.path, "a.png");
  assert_string_equal(hits.hit[0].record.metadata, "{}");
  postgres_hits_free(&hits);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    good_answer();
    set_field(bad[i].field, bad[i].value, bad[i].length);
    assert_int_equal(postgres_search(&p, &query, &hits), STATUS_FORMAT);
    assert_true(!hits.n && !hits.hit);
  }
  for (int field = 0; field < FIELDS; field++) {
    good_answer();
    answer.null[field] = true;
    assert_int_equal(postgres_search(&p, &query, &hits), STATUS_FORMAT);
  }
  good_answer();
  answer.rows = 2;
  assert_int_equal(postgres_search(&p, &query, &hits), STATUS_FORMAT);
  answer.rows = 1;
  answer.fields = 4;
  assert_int_equal(postgres_search(&p, &query, &hits), STATUS_FORMAT);
}

static void wrong_facts(void **state) {
  (void)state;
  static const struct {
    const char *type, *size, *about;
    status want;
  } cases[] = {
      {"vector", "12", "{}", STATUS_OK},       {"halfvec", "12", "{}", STATUS_OK},
      {"int4", "12", "{}", STATUS_FORMAT},     {"vector", "-1", "{}", STATUS_FORMAT},
      {"vector", "0", "{}", STATUS_FORMAT},    {"vector", "99999", "{}", STATUS_FORMAT},
      {"vector", "", "{}", STATUS_FORMAT},     {"vector", "12x", "{}", STATUS_FORMAT},
      {"vector", "12", "\xff", STATUS_FORMAT},
  };
  char name[] = "t", quoted[] = "\"t\"";
  postgres p = {.pq = &fake, .table = name, .quoted = quoted};
  answer.rows = 1;
  answer.fields = 3;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t width = 0;
    vector_type type;
    char *about = NULL;
    set_field(0, cases[i].type, (int)strlen(cases[i].type));
    set_field(1, cases[i].size, (int)strlen(cases[i].size));
    set_field(2, cases[i].about, (int)strlen(cases[i].about));
    assert_int_equal(postgres_facts(&p, &width, &type, &about), cases[i].want);
    assert_int_equal(width, cases[i].want ? 0 : 12);
    free(about);
  }
  answer.rows = 0;
  size_t width;
  vector_type type;
  char *about;
  assert_int_equal(postgres_facts(&p, &width, &type, &about), STATUS_ARGUMENT);
  says("there is no table t");
}

/* --- with a server ------------------------------------------------------------------------------------------------ */

/* The server, with a table of a name that is of no use to SQL unless it is quoted. */
static postgres *server(const char *table) {
  const char *url = getenv("LINNET_TEST_POSTGRES");
  if (!url || !*url) {
    print_message("skipped: LINNET_TEST_POSTGRES names no server\n");
    skip();
  }
  char full[1024];
  snprintf(full, sizeof full, "%s%ctable=%s", url, strchr(url, '?') ? '&' : '?', table);
  postgres *p = postgres_open(full);
  if (!p) fail_msg("%s", last_error());
  return p;
}

static void drop(postgres *p) {
  good(pg_do(p, pg_format("DROP TABLE IF EXISTS %s", p->quoted), "dropping"));
  postgres_close(p);
}

#define ODD_TABLE "linnet test%22; drop"

static double dot(const float *a, const float *b) {
  double sum = 0;
  for (int j = 0; j < WIDTH; j++) sum += (double)a[j] * b[j];
  return sum;
}

typedef struct {
  int generation; /* what captions say */
  size_t bad_row; /* where the source gives up; ROWS = never */
} source;

static status give(void *from, size_t place, float *vector, uint64_t *id, index_record *r) {
  static char path[64], caption[64], metadata[128];
  const source *s = from;
  if (place == s->bad_row) return (fail)(STATUS_INTERRUPTED, "enough");
  memcpy(vector, rows + place * WIDTH, WIDTH * sizeof *vector);
  *id = 10 + 2 * place;
  snprintf(path, sizeof path, place == 3 ? "bad \xff byte" : "a/%zu \t\\N\n\"'.png", place);
  snprintf(caption, sizeof caption, "%d", s->generation);
  snprintf(metadata, sizeof metadata, "{\"kind\": \"%s\", \"n\": %zu, \"zero\": \"\\u0000\"}",
           place % 3 ? "cat" : "dog", place);
  *r = (index_record){path, caption, metadata};
  return STATUS_OK;
}

static postgres_export_plan plan_of(source *s, bool half) {
  return (postgres_export_plan){
      .width = WIDTH, .n = ROWS, .half = half, .about = "{\"model\": \"it's \\\\ one\"}", .row = give, .from = s};
}

/* The share of the K best rows of a few queries that were found; exact search must find each at its place. */
static double recall(postgres *p, bool half, bool exact) {
  size_t right = 0, asked = 0;
  for (size_t q = 0; q < ROWS; q += 60, asked += K) {
    float vector[WIDTH];
    for (int j = 0; j < WIDTH; j++) vector[j] = rows[q * WIDTH + j] + 0.3F * rows[(q + 1) * WIDTH + j];
    const postgres_query query = {.vector = vector, .width = WIDTH, .k = K, .half = half, .exact = exact};
    postgres_hits hits;
    good(postgres_search(p, &query, &hits));
    assert_int_equal(hits.n, K);
    for (size_t i = 0; i < K; i++) {
      const size_t place = (size_t)(hits.hit[i].id - 10) / 2;
      const double score = dot(vector, rows + place * WIDTH);
      assert_true(fabs(score - hits.hit[i].score) < (half ? 2e-3 : 1e-5));
      if (i) assert_true(hits.hit[i].score <= hits.hit[i - 1].score);
      size_t better = 0;
      for (size_t r = 0; r < ROWS; r++) better += dot(vector, rows + r * WIDTH) > score + (half ? 2e-3 : 1e-7);
      right += better < K;
    }
    postgres_hits_free(&hits);
  }
  return (double)right / (double)asked;
}

static void finds(void **state) {
  (void)state;
  for (int half = 0; half < 2; half++) {
    postgres *p = server(ODD_TABLE);
    source from = {1, ROWS};
    const postgres_export_plan plan = plan_of(&from, half);
    good(postgres_export(p, &plan));
    size_t width;
    vector_type type;
    char *about;
    good(postgres_facts(p, &width, &type, &about));
    assert_int_equal(width, WIDTH);
    assert_int_equal(type, half ? VECTOR_F16 : VECTOR_F32);
    assert_string_equal(about, plan.about);
    free(about);
    assert_true(recall(p, half, true) == 1);
    assert_true(recall(p, half, false) >= 0.9);
    drop(p);
  }
}

static void texts_and_filters(void **state) {
  (void)state;
  postgres *p = server(ODD_TABLE);
  source from = {1, ROWS};
  const postgres_export_plan plan = plan_of(&from, false);
  good(postgres_export(p, &plan));
  for (int exact = 0; exact < 2; exact++) {
    postgres_query query = {.vector = rows + 3 * WIDTH, .width = WIDTH, .k = 40, .exact = exact};
    query.filter = "{\"kind\": \"dog\"}";
    postgres_hits hits;
    good(postgres_search(p, &query, &hits));
    assert_int_equal(hits.n, 40);
    assert_true(hits.hit[0].id == 16); /* row 3 itself */
    assert_string_equal(hits.hit[0].record.path, "bad \xef\xbf\xbd byte");
    assert_string_equal(hits.hit[0].record.metadata, "{\"n\": 3, \"kind\": \"dog\", \"zero\": \"\xef\xbf\xbd\"}");
    for (size_t i = 1; i < hits.n; i++) {
      char path[64];
      assert_true((hits.hit[i].id - 10) / 2 % 3 == 0);
      snprintf(path, sizeof path, "a/%d \t\\N\n\"'.png", (int)(hits.hit[i].id - 10) / 2);
      assert_string_equal(hits.hit[i].record.path, path);
    }
    postgres_hits_free(&hits);
    query.filter = "{\"kind\": \"bird\"}";
    good(postgres_search(p, &query, &hits));
    assert_int_equal(hits.n, 0);
    postgres_hits_free(&hits);
  }
  drop(p);
}

/* Searches a table over and over until it is told to stop; every answer is whole and of one export. */
typedef struct {
  postgres *p;
  atomic_bool stop;
  int answers, mixed, failed, last;
} reader;

static void *read_on(void *arg) {
  reader *r = arg;
  const postgres_query query = {.vector = rows, .width = WIDTH, .k = 30};
  while (!atomic_load(&r->stop)) {
    postgres_hits hits;
    if (postgres_search(r->p, &query, &hits)) {
      r->failed++;
      continue;
    }
    for (size_t i = 1; i < hits.n; i++) r->mixed += strcmp(hits.hit[i].record.caption, hits.hit[0].record.caption) != 0;
    r->failed += hits.n != 30;
    if (hits.n) r->last = atoi(hits.hit[0].record.caption);
    postgres_hits_free(&hits);
    r->answers++;
  }
  return NULL;
}

static void replaced_while_read(void **state) {
  (void)state;
  postgres *p = server("linnet_test");
  source from = {1, ROWS};
  postgres_export_plan plan = plan_of(&from, false);
  good(postgres_export(p, &plan));
  reader r = {.p = server("linnet_test")};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, read_on, &r), 0);
  for (from.generation = 2; from.generation < 5; from.generation++) good(postgres_export(p, &plan));
  /* One that fails half-way leaves the table of the last. */
  from.generation = 9;
  from.bad_row = ROWS / 2;
  assert_int_equal(postgres_export(p, &plan), STATUS_INTERRUPTED);
  says("enough");
  atomic_store(&r.stop, true);
  pthread_join(thread, NULL);
  assert_true(r.answers > 0 && !r.mixed);
  assert_int_equal(r.failed, 0);
  const postgres_query query = {.vector = rows, .width = WIDTH, .k = 1};
  postgres_hits hits;
  good(postgres_search(p, &query, &hits));
  assert_string_equal(hits.hit[0].record.caption, "4");
  postgres_hits_free(&hits);
  postgres_close(r.p);
  drop(p);
}

static void mistakes(void **state) {
  (void)state;
  postgres *p = server("linnet_test_none");
  size_t width;
  vector_type type;
  char *about;
  assert_int_equal(postgres_facts(p, &width, &type, &about), STATUS_ARGUMENT);
  says("linnet_test_none");
  postgres_query query = {.vector = rows, .width = WIDTH, .k = 3};
  postgres_hits hits;
  assert_int_equal(postgres_search(p, &query, &hits), STATUS_IO);
  says("does not exist");
  source from = {1, ROWS};
  postgres_export_plan plan = plan_of(&from, false);
  plan.n = 0;
  good(postgres_export(p, &plan)); /* an empty one is one */
  good(postgres_search(p, &query, &hits));
  assert_int_equal(hits.n, 0);
  postgres_hits_free(&hits);
  query.filter = "{no json";
  assert_int_equal(postgres_search(p, &query, &hits), STATUS_IO);
  says("json");
  query = (postgres_query){.vector = rows, .width = WIDTH - 1, .k = 3};
  plan.n = 5;
  good(postgres_export(p, &plan));
  assert_int_equal(postgres_search(p, &query, &hits), STATUS_IO);
  says("dimensions");
  plan.width = 0;
  assert_int_equal(postgres_export(p, &plan), STATUS_ARGUMENT);
  plan = plan_of(&from, false);
  plan.links = 1;
  assert_int_equal(postgres_export(p, &plan), STATUS_IO);
  says("HNSW");
  good(pg_do(p, pg_format("DROP TABLE %s; CREATE TABLE %s (embedding int)", p->quoted, p->quoted), "making"));
  assert_int_equal(postgres_facts(p, &width, &type, &about), STATUS_FORMAT);
  drop(p);
}

int main(void) {
  for (size_t i = 0; i < ROWS; i++) {
    rng g = rng_make(21, i);
    double sum = 0;
    for (size_t j = 0; j < WIDTH; j++) {
      rows[i * WIDTH + j] = rng_normal(&g);
      sum += (double)rows[i * WIDTH + j] * rows[i * WIDTH + j];
    }
    for (size_t j = 0; j < WIDTH; j++) rows[i * WIDTH + j] /= (float)sqrt(sum);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(vectors_as_bytes),  cmocka_unit_test(texts_as_bytes),      cmocka_unit_test(names),
      cmocka_unit_test(wrong_answers),     cmocka_unit_test(wrong_facts),         cmocka_unit_test(finds),
      cmocka_unit_test(texts_and_filters), cmocka_unit_test(replaced_while_read), cmocka_unit_test(mistakes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
