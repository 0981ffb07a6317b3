#include "lm/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lm/rwkv_version.h"
#include "weights/llama_layout.h"

/* --- backbone ----------------------------------------------------------------------------------------------------- */

/* What stands before the names of the first backbone with a head: "" in published files. */
static status find_prefix(const checkpoint *file, char prefix[CHECKPOINT_NAME_MAX]) {
  static const char end[] = "emb.weight";
  for (size_t i = 0; i < checkpoint_count(file); i++) {
    const char *name = checkpoint_at(file, i)->name;
    const size_t length = strlen(name);
    if (length < sizeof end - 1 || length - (sizeof end - 1) >= CHECKPOINT_NAME_MAX) continue;
    const int before = (int)(length - (sizeof end - 1));
    if (strcmp(name + before, end) || (before && name[before - 1] != '.')) continue;
    snprintf(prefix, CHECKPOINT_NAME_MAX, "%.*s", before, name);
    if (rwkv_has(file, prefix, "head.weight") && rwkv_has(file, prefix, "blocks.0.att.key.weight")) return STATUS_OK;
  }
  return fail(STATUS_UNSUPPORTED,
              "%s: not an RWKV text model (it has no emb.weight, head.weight and blocks.0.att.key.weight)",
              checkpoint_path(file));
}

static status load_backbone(text_model *m, const checkpoint *file) {
  char prefix[CHECKPOINT_NAME_MAX];
  rwkv_config config;
  status s = find_prefix(file, prefix);
  if (!s) s = rwkv_config_read(&config, file, prefix);
  if (!s) s = rwkv_new(&m->lm, &config, prefix, &m->params);
  return s ? s : params_open(&m->params, file, PARAMS_FOR_USE);
}

/* --- vocabulary --------------------------------------------------------------------------------------------------- */

status text_vocabulary(const checkpoint *file, tokenizer **words) {
  char name[CHECKPOINT_NAME_MAX + 64], *text = NULL;
  const char *own = checkpoint_metadata(file, TEXT_VOCABULARY);
  size_t n;
  *words = NULL;
  if (!own && !checkpoint_metadata_find(file, "tokenizer.ggml.tokens")) return STATUS_OK;
  snprintf(name, sizeof name, "%.200s: its vocabulary", checkpoint_path(file));
  if (!own && llama_layout_vocabulary(file, &text, &n)) return last_status();
  *words = own ? tokenizer_parse(own, strlen(own), name) : tokenizer_parse(text, n, name);
  free(text);
  return *words ? STATUS_OK : last_status();
}

/* Fewer tokens than logits are usual: World has 65,530 of 65,536. */
static status load_words(text_model *m, const checkpoint *file, const char *vocabulary) {
  if (vocabulary)
    m->words = tokenizer_open(vocabulary);
  else if (!text_vocabulary(file, &m->words) && !m->words)
    fail(STATUS_ARGUMENT, "%s: carries no vocabulary; name its file with --vocab", checkpoint_path(file));
  if (!m->words) return last_status();
  const uint32_t tokens = tokenizer_size(m->words);
  if (tokens <= (uint32_t)m->lm.config.vocab_size) return STATUS_OK;
  return fail(STATUS_ARGUMENT, "%s: the vocabulary has %u tokens, but the model knows %d: it is not this model's",
              vocabulary ? vocabulary : checkpoint_path(file), (unsigned)tokens, m->lm.config.vocab_size);
}

text_model *text_model_load(const checkpoint *file, const char *vocabulary) {
  text_model *m = mem_zero(1, sizeof *m);
  if (!m || (!load_backbone(m, file) && !load_words(m, file, vocabulary))) return m;
  text_model_close(m);
  return NULL;
}

text_model *text_model_open(const char *path, const char *vocabulary) {
  checkpoint *file = checkpoint_open(path);
  text_model *m = file ? text_model_load(file, vocabulary) : NULL;
  checkpoint_close(file);
  return m;
}

/* --- initial states ----------------------------------------------------------------------------------------------- */

static status load_start(text_model *m, const checkpoint *file) {
  const int layers = checkpoint_blocks(file, "", "blocks.");
  if (layers && layers != m->lm.config.n_layer)
    return fail(STATUS_ARGUMENT, "%s: initial states of %d layers, but the model has %d", checkpoint_path(file), layers,
                m->lm.config.n_layer);
  status s = rwkv_declare_start(&m->lm, "", &m->start);
  return s ? s : params_open(&m->start, file, PARAMS_FOR_USE);
}

status text_model_start(text_model *m, const char *path) {
  checkpoint *file = checkpoint_open(path);
  const status s = file ? load_start(m, file) : last_status();
  checkpoint_close(file);
  return s;
}

void text_model_close(text_model *m) {
  if (!m) return;
  tokenizer_free(m->words);
  rwkv_free(&m->lm);
  params_free(&m->start);
  params_free(&m->params);
  free(m);
}
