/* FAISS (Johnson, Douze, Jegou, "Billion-scale similarity search with GPUs", 2017; version 1.7.3 of Debian 12) behind
 * the table of faiss.h. libfaiss.a needs BLAS and LAPACK: they come from the OpenBLAS that kernels/blas.c has opened
 * before, since both know it by the name libopenblas.so.0. */
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <string>

#include <faiss/AutoTune.h>
#include <faiss/IVFlib.h>
#include <faiss/Index.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIDMap.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/IndexRefine.h>
#include <faiss/VectorTransform.h>
#include <faiss/impl/FaissException.h>
#include <faiss/impl/io.h>
#include <faiss/index_factory.h>
#include <faiss/index_io.h>

extern "C" {
#include "fusion/plugins/faiss.h"
}

namespace {

using faiss::Index;

const plugin_host *host;

struct held {
  std::unique_ptr<Index> index;
  std::unique_ptr<faiss::ProductQuantizer> rotation; /* what OPQ trains with */
  std::vector<int64_t> own_ids;                      /* of an IVF index without a map, once they were asked for */
};

/* Calls what may throw, and makes a sentence of that. FAISS puts its own source line into what it says. */
template <typename Call> status guarded(const char *doing, Call call) {
  try {
    call();
    return STATUS_OK;
  } catch (const std::bad_alloc &) {
    return host->fail(STATUS_MEMORY, "FAISS: out of memory while %s", doing);
  } catch (const faiss::FaissException &e) {
    const char *at = std::strstr(e.what(), "Error: ");
    return host->fail(STATUS_UNSUPPORTED, "FAISS, %s: %s", doing, at ? at + 7 : e.what());
  } catch (const std::exception &e) {
    return host->fail(STATUS_UNSUPPORTED, "FAISS, %s: %s", doing, e.what());
  } catch (...) {
    return host->fail(STATUS_UNSUPPORTED, "FAISS gave up while %s", doing);
  }
}

Index *inner(Index *index) {
  if (auto *map = dynamic_cast<faiss::IndexIDMap *>(index)) return inner(map->index);
  if (auto *chain = dynamic_cast<faiss::IndexPreTransform *>(index)) return inner(chain->index);
  if (auto *refine = dynamic_cast<faiss::IndexRefine *>(index)) return inner(refine->base_index);
  return index;
}

/* The first transform that is trained by k-means, below maps; null if there is none. */
faiss::OPQMatrix *rotation_of(Index *index) {
  if (auto *map = dynamic_cast<faiss::IndexIDMap *>(index)) return rotation_of(map->index);
  if (auto *refine = dynamic_cast<faiss::IndexRefine *>(index)) return rotation_of(refine->base_index);
  auto *chain = dynamic_cast<faiss::IndexPreTransform *>(index);
  if (!chain) return nullptr;
  for (faiss::VectorTransform *t : chain->chain)
    if (auto *opq = dynamic_cast<faiss::OPQMatrix *>(t)) return opq;
  return rotation_of(chain->index);
}

/* How it is to be trained. k-means would warn on standard error where it has few vectors for each centroid: the sample
 * is our caller's choice. Codes of PQ are not ordered for polysemous search: nothing here searches so, and it takes
 * longer than all the rest. */
void prepare(held &h) {
  Index *index = inner(h.index.get());
  faiss::ProductQuantizer *pq = nullptr;
  if (auto *ivf = dynamic_cast<faiss::IndexIVF *>(index)) ivf->cp.min_points_per_centroid = 1;
  if (auto *ivfpq = dynamic_cast<faiss::IndexIVFPQ *>(index)) {
    ivfpq->do_polysemous_training = false;
    pq = &ivfpq->pq;
  }
  if (auto *flat = dynamic_cast<faiss::IndexPQ *>(index)) {
    flat->do_polysemous_training = false;
    pq = &flat->pq;
  }
  if (pq) pq->cp.min_points_per_centroid = 1;
  if (faiss::OPQMatrix *opq = rotation_of(h.index.get())) {
    h.rotation = std::make_unique<faiss::ProductQuantizer>(opq->d_out, opq->M, 8);
    h.rotation->cp.min_points_per_centroid = 1;
    opq->pq = h.rotation.get();
  }
}

void *make(const char *factory, size_t width) {
  held *made = nullptr;
  guarded("making the index", [&] {
    auto h = std::make_unique<held>();
    std::unique_ptr<Index> below(faiss::index_factory((int)width, factory, faiss::METRIC_INNER_PRODUCT));
    auto map = std::make_unique<faiss::IndexIDMap2>(below.get());
    below.release();
    map->own_fields = true;
    h->index = std::move(map);
    prepare(*h);
    made = h.release();
  });
  return made;
}

void close(void *index) { delete static_cast<held *>(index); }

Index *of(const void *index) { return static_cast<const held *>(index)->index.get(); }

/* As many as FAISS would take of a longer list: for k-means with k centroids 256 k. Cells get 64 each: their training
 * dominates, and more changes little. */
size_t sample(const void *index) {
  if (of(index)->is_trained) return 0;
  const size_t least = 65536;
  const faiss::IndexIVF *ivf = dynamic_cast<faiss::IndexIVF *>(inner(of(index)));
  return ivf && ivf->nlist > least / 64 ? ivf->nlist * 64 : least;
}

status train(void *index, const float *vectors, size_t n) {
  return guarded("training", [&] { of(index)->train((Index::idx_t)n, vectors); });
}

status add(void *index, const float *vectors, const int64_t *ids, size_t n) {
  return guarded("adding vectors", [&] { of(index)->add_with_ids((Index::idx_t)n, vectors, ids); });
}

status set(void *index, const char *name, double value) {
  return guarded("setting a parameter", [&] { faiss::ParameterSpace().set_index_parameter(of(index), name, value); });
}

status search(const void *index, const float *queries, size_t n, size_t k, float *scores, int64_t *ids) {
  return guarded("searching", [&] {
    of(index)->search((Index::idx_t)n, queries, (Index::idx_t)k, scores, ids);
    /* Of vectors of length 1 the squared distance is 2 - 2 cos. */
    if (of(index)->metric_type == faiss::METRIC_L2)
      for (size_t i = 0; i < n * k; i++) scores[i] = 1 - scores[i] / 2;
  });
}

size_t count(const void *index) { return (size_t)of(index)->ntotal; }

/* Ids that an IVF index keeps itself, list by list; and a map from them to the places in the lists. */
void find_own_ids(held &h, faiss::IndexIVF *ivf) {
  if (!h.own_ids.empty()) return;
  h.own_ids.reserve((size_t)ivf->ntotal);
  for (size_t list = 0; list < ivf->nlist; list++) {
    faiss::InvertedLists::ScopedIds ids(ivf->invlists, list);
    h.own_ids.insert(h.own_ids.end(), ids.get(), ids.get() + ivf->invlists->list_size(list));
  }
  ivf->set_direct_map_type(faiss::DirectMap::Hashtable);
}

status vectors(void *index, size_t first, size_t n, float *out, int64_t *ids) {
  held &h = *static_cast<held *>(index);
  return guarded("reading vectors back", [&] {
    auto *map = dynamic_cast<faiss::IndexIDMap *>(h.index.get());
    const Index *below = map ? map->index : h.index.get();
    auto *ivf = dynamic_cast<faiss::IndexIVF *>(inner(h.index.get()));
    if (ivf && !map) find_own_ids(h, ivf);
    if (ivf && map && ivf->direct_map.no()) ivf->make_direct_map(true);
    for (size_t i = 0; i < n; i++) {
      const int64_t place = (int64_t)(first + i), key = ivf && !map ? h.own_ids[first + i] : place;
      below->reconstruct(key, out + i * (size_t)below->d);
      ids[i] = map ? map->id_map[first + i] : key;
    }
  });
}

struct sink_writer : faiss::IOWriter {
  faiss_sink *sink;
  void *to;
  status state = STATUS_OK;
  size_t operator()(const void *data, size_t size, size_t items) override {
    if (!state && items) state = sink(to, data, size * items);
    return state ? 0 : items;
  }
};

struct memory_reader : faiss::IOReader {
  const char *next;
  size_t left;
  size_t operator()(void *data, size_t size, size_t items) override {
    if (!items || !size || left / size < items) return items && size ? 0 : items;
    std::memcpy(data, next, size * items);
    next += size * items;
    left -= size * items;
    return items;
  }
};

status write(const void *index, faiss_sink *sink, void *to) {
  sink_writer writer;
  writer.sink = sink;
  writer.to = to;
  /* The map that reading vectors back needs is no part of what is stored. */
  if (auto *ivf = dynamic_cast<faiss::IndexIVF *>(inner(of(index)))) ivf->set_direct_map_type(faiss::DirectMap::NoMap);
  const status s = guarded("writing", [&] {
    try {
      faiss::write_index(of(index), &writer);
    } catch (...) {
      if (!writer.state) throw; /* otherwise the sink has said why */
    }
  });
  return writer.state ? writer.state : s;
}

void *read(const void *data, size_t size) {
  held *got = nullptr;
  guarded("reading", [&] {
    memory_reader reader;
    reader.next = static_cast<const char *>(data);
    reader.left = size;
    auto h = std::make_unique<held>();
    h->index.reset(faiss::read_index(&reader));
    got = h.release();
  });
  return got;
}

} // namespace

extern "C" __attribute__((visibility("default"))) const plugin_head *linnet_plugin(const plugin_host *given) {
  static const std::string engine = "FAISS " + std::to_string(FAISS_VERSION_MAJOR) + "." +
                                    std::to_string(FAISS_VERSION_MINOR) + "." + std::to_string(FAISS_VERSION_PATCH);
  static const faiss_table table = {{FAISS_PLUGIN_VERSION, engine.c_str()},
                                    make,
                                    close,
                                    sample,
                                    train,
                                    add,
                                    set,
                                    search,
                                    count,
                                    vectors,
                                    write,
                                    read};
  host = given;
  return &table.head;
}
