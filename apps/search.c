/* linnet search: what of an index lies nearest to texts and pictures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apps/contact_sheet.h"
#include "apps/index.h"
#include "apps/model.h"
#include "apps/output.h"
#include "apps/wanted.h"
#include "fusion/approximate.h"
#include "fusion/filter.h"
#include "fusion/postgres.h"
#include "linnet.h"

extern const char search_help[];
const char search_help[] =
    "  linnet search photos.lidx 'a red car'\n"
    "  linnet search photos.lidx 'a red car' 'a boat at sea' -k 20 --html found.html\n"
    "  linnet search photos.lidx --image like.png --minus text --filter 'width >= 512'\n\n"
    "Usage: linnet search [options] INDEX TEXT...\n"
    "       linnet search [options] postgres://... TEXT...\n\n"
    "Finds the pictures whose vectors lie nearest to a text's or a picture's: score (the cosine), tab,\n"
    "path, and, if it has one, tab, caption; of several queries the query comes first. Every row is\n"
    "compared, so that nothing is missed, but with --approximate. The model must be the one that made\n"
    "the index.\n";

typedef struct {
  const char *index, *model, *vocabulary, *filter, *html, *approximate, *effort;
  wanted_words words;
  int k, threads;
  double threshold;
  bool exact, json;
} settings;

typedef struct {
  const settings *o;
  const char *name; /* of what is searched in, as sentences have it */
  filter *filter;   /* or NULL */
  vector_index *x;  /* or, if it is NULL, */
  postgres *server;
  wanted queries;
  contact_sheet *sheet;
} job;

/* --- results ------------------------------------------------------------------------------------------------------ */

static void print_json(const char *query, size_t rank, double score, uint64_t id, const index_record *r) {
  json_print(json_pack("{s:o,s:I,s:o,s:I,s:o,s:o,s:o}", "query", json_text(query), "rank", (json_int_t)rank, "score",
                       json_number(score), "id", (json_int_t)id, "path", json_text(r->path), "caption",
                       json_text(r->caption), "metadata", record_metadata(r)),
             true);
}

static void print_line(const job *j, const char *query, double score, const index_record *r) {
  if (j->queries.n > 1) {
    text_put(stdout, query, strlen(query));
    putchar('\t');
  }
  printf("%.4f\t", score);
  text_put(stdout, r->path, strlen(r->path));
  if (*r->caption) putchar('\t');
  text_line(r->caption);
}

static status show(job *j, const char *query, size_t rank, double score, uint64_t id, const index_record *r) {
  if (j->o->json)
    print_json(query, rank, score, id, r);
  else
    print_line(j, query, score, r);
  return j->sheet ? sheet_result(j->sheet, score, r) : STATUS_OK;
}

static status show_hits(job *j, const char *query, const search_hit *hit, size_t n) {
  status s = j->sheet ? sheet_query(j->sheet, query) : STATUS_OK;
  for (size_t i = 0; !s && i < n && (double)hit[i].score >= j->o->threshold; i++) {
    index_record r;
    s = index_record_at(j->x, hit[i].row, &r);
    if (!s) s = show(j, query, i + 1, (double)hit[i].score, index_id_at(j->x, hit[i].row), &r);
  }
  return s;
}

/* --- exact -------------------------------------------------------------------------------------------------------- */

/* How many of n queries are answered at a time, so that the room for hits is bounded. */
static size_t block_of(size_t n, size_t k) {
  enum { BLOCK = 1024, HITS = 1 << 24 };
  const size_t most = !k || BLOCK < HITS / k ? BLOCK : HITS / k + 1;
  return n < most ? n : most;
}

static status search_parts(job *j, const search_part *part, size_t n_parts) {
  const index_numbers *numbers = index_numbers_of(j->x);
  const size_t width = numbers->facts.width, k = (size_t)j->o->k < numbers->live ? (size_t)j->o->k : numbers->live;
  const size_t block = block_of(j->queries.n, k);
  search_hit *hits = mem_alloc(block * k, sizeof *hits);
  size_t *found = mem_zero(block, sizeof *found);
  status s = hits && found ? STATUS_OK : STATUS_MEMORY;
  for (size_t at = 0; !s && at < j->queries.n; at += block) {
    const size_t n = j->queries.n - at < block ? j->queries.n - at : block;
    if (k)
      s = search_exact(numbers->facts.type, width, part, n_parts, j->queries.vector + at * width, n, k, hits, found);
    for (size_t i = 0; !s && i < n; i++) s = show_hits(j, j->queries.label[at + i], hits + i * k, found[i]);
  }
  free(hits);
  free(found);
  return s;
}

static status search_filtered(job *j) {
  filtered_parts parts = {0};
  status s = filter_parts(j->filter, j->x, &parts);
  if (!s && !parts.matching) complain("%s: no row is one that the filter lets through", j->name);
  if (!s) s = search_parts(j, parts.part, parts.n);
  filtered_parts_free(&parts);
  return s;
}

/* --- approximate -------------------------------------------------------------------------------------------------- */

typedef struct {
  job *j;
  approximate *engine;
  size_t k, candidates, block; /* block: queries at a time */
  search_hit *hits;            /* [block,candidates] */
  size_t *found;               /* [block] */
  float *vector;               /* [width] */
} approximate_job;

/* The candidate's row and its score by the index's own vector; false if it is deleted or does not fit the filter. */
static status score_candidate(const approximate_job *a, const float *query, search_hit *hit, bool *good) {
  const vector_index *x = a->j->x;
  const filter *f = a->j->filter;
  const size_t width = index_numbers_of(x)->facts.width;
  index_record r;
  uint64_t row;
  double sum = 0;
  *good = index_row_of(x, hit->row, &row) && !index_deleted(x, row);
  if (!*good) return STATUS_OK;
  status s = f ? index_record_at(x, row, &r) : STATUS_OK;
  if (!s && f) s = filter_matches(f, hit->row, &r, good);
  if (s || !*good) return s;
  index_vector_at(x, row, a->vector);
  for (size_t i = 0; i < width; i++) sum += (double)query[i] * (double)a->vector[i];
  *hit = (search_hit){row, (float)sum};
  return STATUS_OK;
}

static int by_score(const void *one, const void *other) {
  const search_hit *a = one, *b = other;
  if (a->score != b->score) return a->score < b->score ? 1 : -1;
  return (a->row > b->row) - (a->row < b->row);
}

static status show_candidates(const approximate_job *a, const float *query, const char *label, search_hit *hits,
                              size_t n) {
  size_t kept = 0;
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < n; i++) {
    bool good;
    s = score_candidate(a, query, &hits[i], &good);
    if (!s && good) hits[kept++] = hits[i];
  }
  if (s) return s;
  qsort(hits, kept, sizeof *hits, by_score);
  return show_hits(a->j, label, hits, kept < a->k ? kept : a->k);
}

/* Of k results: twice as many, so that deleted ones are made up for; many more where a filter chooses. */
static size_t candidates_of(const job *j, size_t k, size_t all) {
  enum { FILTERED = 20, LEAST = 1000 };
  size_t n = k * (j->filter ? FILTERED : 2);
  if (j->filter && n < LEAST) n = LEAST;
  return n < all ? n : all;
}

static status open_approximate(approximate_job *a, size_t width) {
  const settings *o = a->j->o;
  if (!(a->engine = approximate_read(o->approximate))) return last_status();
  const approximate_numbers *numbers = approximate_numbers_of(a->engine);
  if (numbers->width != width)
    return fail(STATUS_ARGUMENT, "%s has vectors of %zu numbers, and %s of %zu", o->approximate, numbers->width,
                a->j->name, width);
  if (o->effort && approximate_effort(a->engine, o->effort)) return last_status();
  a->k = (size_t)o->k < numbers->count ? (size_t)o->k : numbers->count;
  a->candidates = candidates_of(a->j, a->k, numbers->count);
  a->block = block_of(a->j->queries.n, a->candidates);
  a->hits = mem_alloc(a->block * a->candidates, sizeof *a->hits);
  a->found = mem_zero(a->block, sizeof *a->found);
  a->vector = mem_alloc(width, sizeof *a->vector);
  return a->hits && a->found && a->vector ? STATUS_OK : STATUS_MEMORY;
}

static status search_approximate(job *j) {
  const size_t width = index_numbers_of(j->x)->facts.width;
  const wanted *q = &j->queries;
  approximate_job a = {.j = j};
  status s = open_approximate(&a, width);
  for (size_t at = 0; !s && at < q->n; at += a.block) {
    const size_t n = q->n - at < a.block ? q->n - at : a.block;
    if (a.candidates) s = approximate_search(a.engine, q->vector + at * width, n, a.candidates, a.hits, a.found);
    for (size_t i = 0; !s && i < n; i++)
      s = show_candidates(&a, q->vector + (at + i) * width, q->label[at + i], a.hits + i * a.candidates, a.found[i]);
  }
  approximate_close(a.engine);
  free(a.hits);
  free(a.found);
  free(a.vector);
  return s;
}

/* --- PostgreSQL --------------------------------------------------------------------------------------------------- */

static status show_server_hits(job *j, const char *query, const postgres_hits *hits) {
  status s = j->sheet ? sheet_query(j->sheet, query) : STATUS_OK;
  size_t rank = 0;
  for (size_t i = 0; !s && i < hits->n && rank < (size_t)j->o->k; i++) {
    const postgres_hit *hit = &hits->hit[i];
    bool yes = true;
    if ((double)hit->score < j->o->threshold) break;
    if (j->filter) s = filter_matches(j->filter, hit->id, &hit->record, &yes);
    if (!s && yes) s = show(j, query, ++rank, (double)hit->score, hit->id, &hit->record);
  }
  return s;
}

/* The server looks for what metadata contain, if the filter is a JSON object; a question is asked of what it finds. */
static status search_server(job *j, const index_facts *facts) {
  const settings *o = j->o;
  int64_t effort = 0;
  if (o->effort && !number_whole(o->effort, 1, 1000, &effort))
    return fail(STATUS_ARGUMENT, "--effort is ef_search for PostgreSQL, 1 to 1000, found '%s'", o->effort);
  postgres_query query = {.width = facts->width,
                          .k = j->filter ? candidates_of(j, (size_t)o->k, SIZE_MAX) : (size_t)o->k,
                          .half = facts->type == VECTOR_F16,
                          .effort = (int)effort,
                          .exact = o->exact,
                          .filter = j->filter ? NULL : o->filter};
  status s = STATUS_OK;
  for (size_t i = 0; !s && i < j->queries.n; i++) {
    postgres_hits hits = {0};
    query.vector = j->queries.vector + i * facts->width;
    s = postgres_search(j->server, &query, &hits);
    if (!s) s = show_server_hits(j, j->queries.label[i], &hits);
    postgres_hits_free(&hits);
  }
  return s;
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

static status search(job *j, const index_facts *facts) {
  size_t n;
  if (j->server) return search_server(j, facts);
  if (j->o->approximate) return search_approximate(j);
  if (j->filter) return search_filtered(j);
  const search_part *part = index_parts(j->x, &n);
  return search_parts(j, part, n);
}

/* *about is to be freed. A server's URL may hold a password, so it is called by its table. */
static status open_index(job *j, index_facts *facts, char **about) {
  const settings *o = j->o;
  const bool on_server = postgres_named(o->index);
  const bool contains = on_server && o->filter && o->filter[strspn(o->filter, " \t\n")] == '{';
  if (o->filter && !contains && !(j->filter = filter_parse(o->filter))) return last_status();
  j->name = o->index;
  if (!on_server) {
    if (!(j->x = index_open(o->index))) return last_status();
    *facts = index_numbers_of(j->x)->facts;
    return STATUS_OK;
  }
  if (!(j->server = postgres_open(o->index))) return last_status();
  j->name = postgres_table(j->server);
  const status s = postgres_facts(j->server, &facts->width, &facts->type, about);
  facts->about = *about;
  return s;
}

static status make_queries(job *j, const index_facts *facts) {
  const char *path = model_path(j->o->model, SHIPPED_PAIR);
  clip_model *m = path ? clip_model_open(path, j->o->vocabulary) : NULL;
  status s = m ? about_check(j->name, facts, m, path) : last_status();
  if (!s) s = wanted_make(&j->queries, &j->o->words, m);
  clip_model_close(m);
  return s;
}

static int run_job(job *j) {
  const settings *o = j->o;
  index_facts facts = {0};
  char *about = NULL;
  status s = open_index(j, &facts, &about);
  if (!s) s = make_queries(j, &facts);
  if (!s && o->html && !(j->sheet = sheet_create(o->html, j->name, j->x ? o->index : ""))) s = last_status();
  if (!s) s = search(j, &facts);
  output_flush();
  if (!s && j->sheet) {
    s = sheet_commit(j->sheet);
    j->sheet = NULL;
  }
  sheet_abandon(j->sheet);
  wanted_free(&j->queries);
  postgres_close(j->server);
  index_close(j->x);
  filter_free(j->filter);
  free(about);
  return s ? failed() : EXIT_DONE;
}

int run_search(const verb *self, int argc, char **argv) {
  settings o = {.k = 10, .threshold = -2, .words.weight = 1};
  int at, code;
  const arg list[] = {
      ARG_MODEL(&o.model),
      {"vocab", 0, ARG_TEXT, &o.vocabulary, 0, 0, "FILE", "the vocabulary of a pair whose file carries none"},
      {"image", 'i', ARG_TEXTS, &o.words.images, 0, 0, "PICTURE", "a picture to look for"},
      {"queries", 0, ARG_TEXT, &o.words.file, 0, 0, "FILE", "texts to look for, one a line; - is standard input"},
      {"plus", 0, ARG_TEXTS, &o.words.plus, 0, 0, "TEXT", "more of this, in every query"},
      {"minus", 0, ARG_TEXTS, &o.words.minus, 0, 0, "TEXT", "less of this, in every query"},
      {"weight", 0, ARG_REAL, &o.words.weight, 0, 100, "W", "of --plus and --minus"},
      {"template", 0, ARG_TEXTS, &o.words.templates, 0, 0, "TEXT",
       "what to say of a picture of {}; several are averaged (else the text as it is)"},
      {"count", 'k', ARG_INT, &o.k, 1, 1 << 24, "N", "results a query, at most"},
      {"threshold", 0, ARG_REAL, &o.threshold, -2, 2, "S", "only results of at least this score"},
      {"filter", 'f', ARG_TEXT, &o.filter, 0, 0, "QUESTION", "only what it fits (docs/indexes.md)"},
      {"approximate", 0, ARG_TEXT, &o.approximate, 0, 0, "FILE", "candidates by FAISS, from what index export wrote"},
      {"effort", 0, ARG_TEXT, &o.effort, 0, 0, "SETTINGS",
       "how hard it looks: nprobe=16, efSearch=64; in PostgreSQL 64"},
      {"exact", 0, ARG_SWITCH, &o.exact, 0, 0, NULL, "in PostgreSQL: reads the whole table"},
      {"html", 0, ARG_TEXT, &o.html, 0, 0, "FILE", "also a contact sheet for a browser"},
      ARG_JSON(&o.json),
      ARG_THREADS(&o.threads),
  };
  if (!args_parse(self, list, sizeof list / sizeof *list, argc, argv, &at, &code)) return code;
  if (at == argc) return misuse(self, "which index? give the path of its file");
  o.index = argv[at++];
  o.words.texts = argv + at;
  o.words.n_texts = (size_t)(argc - at);
  const bool on_server = postgres_named(o.index);
  if (o.effort && !o.approximate && !on_server) return misuse(self, "--effort goes with --approximate or PostgreSQL");
  if (on_server && o.approximate) return misuse(self, "--approximate is for the file of an index");
  if (o.exact && !on_server)
    return misuse(self, "--exact is for PostgreSQL: the file of an index is searched so anyway");
  if (at == argc && !o.words.images.n && !o.words.file) return misuse(self, "there is nothing to search for");
  linnet_set_threads(o.threads);
  return run_job(&(job){.o = &o});
}
