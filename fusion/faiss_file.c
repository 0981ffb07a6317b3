#include "fusion/faiss_file.h"

#include <stdio.h>
#include <string.h>

#include "kernels/bytes.h"
#include "kernels/search.h"

/* Every part is walked in the order of the file; `bad` stays set after the first mistake, whose sentence is kept. */
typedef struct {
  const uint8_t *next;
  size_t left;
  status bad;
  int depth;
  bool untrained; /* any part of it */
  char *kind;
  size_t kind_room;
} walk;

typedef enum { FLAT, SCALAR, PRODUCT, LISTS, GRAPH, MAP, CHAIN, REFINED } index_kind;

/* What an index says of itself to the one around it. */
typedef struct {
  size_t width, count;
  bool trained, by_distance;
  bool dense; /* its ids are places: below count */
  index_kind kind;
} part;

/* An array of n items that lie in the file. */
typedef struct {
  const uint8_t *at;
  size_t n;
} array;

enum { DEPTH = 8, LISTS_MAX = 1 << 26, EFFORT_MAX = 1 << 20, LEVELS_MAX = 256 };

static void damaged(walk *w, const char *what) {
  if (!w->bad) w->bad = fail(STATUS_FORMAT, "it is damaged: %s", what);
}

static void require(walk *w, bool holds, const char *what) {
  if (!holds) damaged(w, what);
}

/* The next n bytes; zeros of a fixed place if they are not there, so that callers need not stop at once. */
static const uint8_t *take(walk *w, size_t n) {
  static const uint8_t zeros[16];
  if (n > w->left) damaged(w, "it ends too early");
  if (w->bad) return zeros;
  const uint8_t *p = w->next;
  w->next += n;
  w->left -= n;
  return p;
}

static uint8_t take_u8(walk *w) { return *take(w, 1); }
static int32_t take_i32(walk *w) { return (int32_t)little32(take(w, 4)); }
static uint64_t take_u64(walk *w) { return little64(take(w, 8)); }

static bool take_bool(walk *w) {
  const uint8_t b = take_u8(w);
  require(w, b <= 1, "a yes or no is neither");
  return b == 1;
}

static float take_f32(walk *w) {
  const uint32_t bits = little32(take(w, 4));
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static array take_items(walk *w, size_t n, size_t item) {
  size_t bytes;
  array a = {NULL, n};
  if (!size_mul(n, item, &bytes) || bytes > w->left) damaged(w, "an array is longer than the file");
  if (w->bad) return (array){NULL, 0};
  a.at = take(w, bytes);
  return a;
}

static array take_array(walk *w, size_t item) {
  const uint64_t n = take_u64(w);
  return take_items(w, w->bad ? 0 : (size_t)n, item);
}

static int32_t i32_at(array a, size_t i) { return (int32_t)little32(a.at + 4 * i); }
static uint64_t u64_at(array a, size_t i) { return little64(a.at + 8 * i); }

static bool is(const uint8_t *code, const char *name) { return !memcmp(code, name, 4); }

static void say(walk *w, const char *text, size_t number) {
  char one[32];
  int n = number ? snprintf(one, sizeof one, "%s%zu", text, number) : snprintf(one, sizeof one, "%s", text);
  if (n < 0 || (size_t)n >= w->kind_room) return;
  memcpy(w->kind, one, (size_t)n + 1);
  w->kind += n;
  w->kind_room -= (size_t)n;
}

/* --- the parts of an index ---------------------------------------------------------------------------------------- */

static part take_header(walk *w, index_kind kind) {
  part p = {.dense = true, .kind = kind};
  const int32_t width = take_i32(w);
  const uint64_t count = take_u64(w);
  take(w, 16);
  p.trained = take_bool(w);
  const int32_t metric = take_i32(w);
  require(w, width > 0 && width <= VECTOR_WIDTH_MAX, "its width is out of range");
  require(w, count <= INT64_MAX && count <= w->left, "it has more vectors than bytes");
  if (!w->bad && metric != 0 && metric != 1)
    w->bad = fail(STATUS_UNSUPPORTED, "it compares by metric %d: only inner products and distances are read", metric);
  p.width = w->bad ? 1 : (size_t)width;
  p.count = w->bad ? 0 : (size_t)count;
  p.by_distance = metric == 1;
  w->untrained |= !p.trained;
  require(w, p.trained || !p.count, "it holds vectors and is not trained");
  return p;
}

/* `n` items of `each`; the count stands before them. */
static void take_table(walk *w, size_t n, size_t each, size_t item, const char *what) {
  size_t want = 0;
  const bool fits = size_mul(n, each, &want);
  const array a = take_array(w, item);
  require(w, fits && a.n == want, what);
}

/* A product quantizer of `width` -> bytes of a code. */
static size_t take_pq(walk *w, size_t width) {
  const uint64_t d = take_u64(w), parts = take_u64(w), bits = take_u64(w);
  require(w, d == width && parts >= 1 && parts <= d && d % parts == 0, "the parts of its product quantizer");
  require(w, bits >= 1 && bits <= 16, "the bits of its product quantizer");
  if (w->bad) return 0;
  take_table(w, width, (size_t)1 << bits, 4, "the centroids of its product quantizer");
  say(w, "PQ", (size_t)parts);
  if (bits != 8) say(w, "x", (size_t)bits);
  return (size_t)(parts * bits + 7) / 8;
}

/* A scalar quantizer of `width` -> bytes of a code. */
static size_t take_sq(walk *w, size_t width, bool trained) {
  enum { EIGHT, FOUR, EIGHT_UNIFORM, FOUR_UNIFORM, HALF, EIGHT_DIRECT, SIX, TYPES };
  static const char *const names[TYPES] = {"SQ8", "SQ4", "SQ8", "SQ4", "SQfp16", "SQ8", "SQ6"};
  const size_t bytes[TYPES] = {width, (width + 1) / 2, width, (width + 1) / 2, 2 * width, width, (6 * width + 7) / 8};
  const size_t learnt[TYPES] = {2 * width, 2 * width, 2, 2, 0, 0, 2 * width};
  const int32_t type = take_i32(w);
  take(w, 8); /* how ranges are found when it is trained */
  const uint64_t d = take_u64(w), code = take_u64(w);
  const array ranges = take_array(w, 4);
  require(w, type >= 0 && type < TYPES && d == width, "its scalar quantizer");
  if (w->bad) return 0;
  require(w, code == bytes[type] && (!trained || ranges.n == learnt[type]), "the sizes of its scalar quantizer");
  say(w, names[type], 0);
  return bytes[type];
}

static part take_index(walk *w);

static part take_flat(walk *w) {
  part p = take_header(w, FLAT);
  take_table(w, p.count, p.width, 4, "the number of its vectors");
  say(w, "Flat", 0);
  return p;
}

static part take_coded(walk *w, index_kind kind) {
  part p = take_header(w, kind);
  const size_t code = kind == PRODUCT ? take_pq(w, p.width) : take_sq(w, p.width, p.trained);
  take_table(w, p.count, code, 1, "the number of its codes");
  if (kind == PRODUCT) {
    const int32_t how = take_i32(w);
    take(w, 1 + 4);
    if (!w->bad && how) w->bad = fail(STATUS_UNSUPPORTED, "it compares codes of PQ in way %d: only 0 is read", how);
  }
  return p;
}

/* --- inverted lists ----------------------------------------------------------------------------------------------- */

/* One list of n codes and ids; the smallest and largest ids decide whether all are places. */
static void take_list(walk *w, part *p, size_t n, size_t code, size_t *sum) {
  take_items(w, n, code);
  const array ids = take_items(w, n, 8);
  for (size_t i = 0; i < ids.n; i++) {
    const uint64_t id = u64_at(ids, i);
    require(w, id <= INT64_MAX, "an id is negative");
    if (id >= p->count) p->dense = false;
  }
  if (!size_add(*sum, n, sum)) damaged(w, "the lengths of its lists");
}

static void take_lists(walk *w, part *p, size_t n_lists, size_t code) {
  const uint8_t *how = take(w, 4);
  if (!w->bad && !is(how, "ilar")) w->bad = fail(STATUS_UNSUPPORTED, "its lists are in another file");
  require(w, take_u64(w) == n_lists && take_u64(w) == code, "the sizes of its lists");
  how = take(w, 4);
  const bool full = is(how, "full");
  require(w, full || is(how, "sprs"), "the kind of its lists");
  const array sizes = take_array(w, 8);
  require(w, full ? sizes.n == n_lists : sizes.n % 2 == 0, "the number of its lists");
  const size_t step = full ? 1 : 2;
  size_t sum = 0;
  for (size_t i = 0; i + step <= sizes.n && !w->bad; i += step) {
    if (!full) require(w, u64_at(sizes, i) < n_lists && (!i || u64_at(sizes, i) > u64_at(sizes, i - 2)), "its lists");
    const uint64_t n = u64_at(sizes, i + step - 1);
    require(w, n <= w->left, "a list is longer than the file");
    if (!w->bad) take_list(w, p, (size_t)n, code, &sum);
  }
  require(w, sum == p->count, "its lists do not hold as many vectors as it says");
}

static part take_ivf(walk *w, const char *kind) {
  part p = take_header(w, LISTS);
  const uint64_t n = take_u64(w), probes = take_u64(w);
  require(w, n >= 1 && n <= LISTS_MAX && probes >= 1 && probes <= INT64_MAX, "the number of its lists");
  say(w, "IVF", w->bad ? 1 : (size_t)n);
  char *const before = w->kind;
  const size_t room = w->kind_room;
  const part centres = take_index(w);
  if (!w->bad && centres.kind == FLAT) { /* what goes without saying */
    w->kind = before;
    w->kind_room = room;
    *before = 0;
  }
  require(w, centres.kind <= PRODUCT || centres.kind == GRAPH, "what its cells are found with");
  require(w, centres.width == p.width && (p.trained ? centres.count == n : centres.count <= n && !p.count),
          "the number of its cells");
  if (take_u8(w) || take_array(w, 8).n) {
    if (!w->bad) w->bad = fail(STATUS_UNSUPPORTED, "it was written with a direct map: write it without");
  }
  say(w, ",", 0);
  size_t code = p.width * 4;
  if (is((const uint8_t *)kind, "IwPQ")) {
    take_bool(w);
    const uint64_t size = take_u64(w);
    code = take_pq(w, p.width);
    require(w, size == code, "the size of its codes");
  } else if (!is((const uint8_t *)kind, "IwFl")) {
    code = take_sq(w, p.width, p.trained);
    require(w, take_u64(w) == code, "the size of its codes");
    if (is((const uint8_t *)kind, "IwSq")) take_bool(w);
  } else {
    say(w, "Flat", 0);
  }
  take_lists(w, &p, w->bad ? 0 : (size_t)n, code);
  return p;
}

/* --- HNSW --------------------------------------------------------------------------------------------------------- */

/* Node i has levels[i] levels; its neighbours on level l are neighbours[offsets[i] + before[l] .. + before[l+1]). */
typedef struct {
  array before, levels, offsets, neighbours;
} graph;

static void check_node(walk *w, const graph *g, size_t count, size_t i) {
  const int32_t levels = i32_at(g->levels, i);
  const uint64_t at = u64_at(g->offsets, i), end = u64_at(g->offsets, i + 1);
  require(w, levels >= 1 && (size_t)levels < g->before.n, "the levels of its graph");
  require(w, !w->bad && at <= end && end <= g->neighbours.n && end - at == (uint64_t)i32_at(g->before, (size_t)levels),
          "the offsets of its graph");
  for (int32_t level = 0; level < levels && !w->bad; level++)
    for (uint64_t j = at + (uint64_t)i32_at(g->before, (size_t)level);
         j < at + (uint64_t)i32_at(g->before, (size_t)level + 1); j++) {
      const int32_t to = i32_at(g->neighbours, (size_t)j);
      if (to == -1) continue;
      require(w, to >= 0 && (size_t)to < count && i32_at(g->levels, (size_t)to) > level, "the edges of its graph");
      if (w->bad) return;
    }
}

static part take_hnsw(walk *w, index_kind stored) {
  part p = take_header(w, GRAPH);
  take_array(w, 8); /* how likely each level is */
  graph g = {.before = take_array(w, 4)};
  g.levels = take_array(w, 4);
  g.offsets = take_array(w, 8);
  g.neighbours = take_array(w, 4);
  const int32_t entry = take_i32(w), top = take_i32(w);
  const int32_t build_effort = take_i32(w), effort = take_i32(w), beam = take_i32(w);
  require(w, g.levels.n == p.count && (g.offsets.n == p.count + 1 || (!p.count && !g.offsets.n)),
          "the size of its graph");
  require(w, g.before.n >= 2 && g.before.n <= LEVELS_MAX && !i32_at(g.before, 0), "the levels of its graph");
  for (size_t i = 1; i < g.before.n && !w->bad; i++)
    require(w, i32_at(g.before, i) >= i32_at(g.before, i - 1), "the levels of its graph");
  for (size_t i = 0; i < p.count && !w->bad; i++) check_node(w, &g, p.count, i);
  if (p.count && !w->bad)
    require(w, entry >= 0 && (size_t)entry < p.count && top >= 0 && i32_at(g.levels, (size_t)entry) > top,
            "the entry of its graph");
  require(w, p.count || entry == -1, "the entry of its graph");
  require(w, effort >= 1 && effort <= EFFORT_MAX && build_effort >= 1 && build_effort <= EFFORT_MAX && beam == 1,
          "the effort of its graph");
  say(w, "HNSW", w->bad ? 0 : (size_t)i32_at(g.before, 1) / 2);
  say(w, "_", 0);
  const part below = take_index(w);
  require(w, below.kind == stored && below.width == p.width && below.count == p.count, "what its graph connects");
  return p;
}

/* --- what stands around another index ----------------------------------------------------------------------------- */

static part take_map(walk *w, const char *name) {
  part p = take_header(w, MAP);
  say(w, name, 0);
  const part below = take_index(w);
  const array ids = take_array(w, 8);
  require(w, below.kind != MAP && below.dense && below.width == p.width && below.count == p.count && ids.n == p.count,
          "what its ids stand for");
  for (size_t i = 0; i < ids.n && !w->bad; i++) require(w, u64_at(ids, i) <= INT64_MAX, "an id is negative");
  return p;
}

/* A transform from `width` dimensions -> how many come out. */
static size_t take_transform(walk *w, size_t width) {
  const uint8_t *code = take(w, 4);
  const bool pca = is(code, "PCAm") || is(code, "PcAm") || is(code, "Pcam");
  const bool linear = pca || is(code, "rrot") || is(code, "LTra");
  array matrix = {0}, bias = {0};
  bool has_bias = false;
  if (pca) {
    take(w, is(code, "Pcam") ? 8 : 4);
    take_bool(w);
    if (!is(code, "PCAm")) take(w, 4);
    for (int i = 0; i < 3; i++) take_array(w, 4);
  }
  if (linear) {
    has_bias = take_bool(w);
    matrix = take_array(w, 4);
    bias = take_array(w, 4);
  } else if (is(code, "VNrm")) {
    take(w, 4);
  } else if (!w->bad) {
    w->bad = fail(STATUS_UNSUPPORTED, "it changes vectors by \"%.4s\", which is not read", (const char *)code);
  }
  const int32_t in = take_i32(w), out = take_i32(w);
  const bool trained = take_bool(w);
  require(w, in > 0 && (size_t)in == width && out > 0 && out <= VECTOR_WIDTH_MAX, "the widths of a transform");
  if (w->bad) return 1;
  if (linear && trained)
    require(w, matrix.n == width * (size_t)out && (!has_bias || bias.n == (size_t)out), "the sizes of a transform");
  if (!linear) require(w, in == out, "the widths of a transform");
  say(w, pca ? "PCA" : linear ? "Linear" : "L2norm", linear ? (size_t)out : 0);
  say(w, ",", 0);
  return (size_t)out;
}

static part take_chain(walk *w) {
  part p = take_header(w, CHAIN);
  const int32_t n = take_i32(w);
  require(w, n >= 1 && n <= DEPTH, "the number of its transforms");
  size_t width = p.width;
  for (int32_t i = 0; i < n && !w->bad; i++) width = take_transform(w, width);
  const part below = take_index(w);
  require(w, below.width == width && below.count == p.count, "what its transforms lead to");
  p.dense = below.dense;
  return p;
}

static part take_refined(walk *w) {
  part p = take_header(w, REFINED);
  const part below = take_index(w);
  say(w, ",Refine(", 0);
  const part again = take_index(w);
  say(w, ")", 0);
  const float factor = take_f32(w);
  require(w, below.dense && below.kind != MAP && below.width == p.width && below.count == p.count, "what it refines");
  require(w, again.kind <= PRODUCT && again.width == p.width && again.count == p.count, "what it refines with");
  require(w, factor >= 1 && factor <= EFFORT_MAX, "the factor of its refinement");
  return p;
}

static part take_index(walk *w) {
  part p = {.width = 1};
  if (++w->depth > DEPTH) damaged(w, "it is nested too deep");
  const uint8_t *code = take(w, 4);
  if (w->bad) return p;
  if (is(code, "IxFI") || is(code, "IxF2") || is(code, "IxFl"))
    p = take_flat(w);
  else if (is(code, "IxSQ"))
    p = take_coded(w, SCALAR);
  else if (is(code, "IxPq"))
    p = take_coded(w, PRODUCT);
  else if (is(code, "IwFl") || is(code, "IwSQ") || is(code, "IwSq") || is(code, "IwPQ"))
    p = take_ivf(w, (const char *)code);
  else if (is(code, "IHNf"))
    p = take_hnsw(w, FLAT);
  else if (is(code, "IHNs"))
    p = take_hnsw(w, SCALAR);
  else if (is(code, "IxMp") || is(code, "IxM2"))
    p = take_map(w, is(code, "IxM2") ? "IDMap2," : "IDMap,");
  else if (is(code, "IxPT"))
    p = take_chain(w);
  else if (is(code, "IxRF"))
    p = take_refined(w);
  else
    w->bad = fail(STATUS_UNSUPPORTED, "it is not an index of FAISS, or of a kind that is not read (\"%.4s\")",
                  (const char *)code);
  w->depth--;
  return p;
}

status faiss_file_check(const void *data, size_t size, faiss_file_facts *facts) {
  *facts = (faiss_file_facts){0};
  walk w = {.next = data, .left = size, .kind = facts->kind, .kind_room = sizeof facts->kind};
  const part p = take_index(&w);
  require(&w, w.left == 0, "there is more than an index");
  if (w.bad) return w.bad;
  facts->width = p.width;
  facts->count = p.count;
  facts->trained = !w.untrained;
  facts->by_distance = p.by_distance;
  return STATUS_OK;
}
