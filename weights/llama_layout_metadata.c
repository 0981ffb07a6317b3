/* The metadata that llama.cpp wants of an RWKV model, its vocabulary among it. Facts: llama.cpp's converter and loader;
 * docs/llama.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/gguf_format.h"
#include "weights/llama_layout.h"
#include "weights/llama_layout_rows.h"
#include "weights/params.h"

#define TOKENS_KEY "tokenizer.ggml.tokens"
#define TYPES_KEY "tokenizer.ggml.token_type"
#define MODEL_KEY "tokenizer.ggml.model"

/* ggml's kinds of tokens. */
enum { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3, TOKEN_UNUSED = 5 };

/* How llama.cpp knows the World models' conversations; programs that run templates run this one. */
static const char chat_template[] =
    "{#- rwkv-world -#}{{- bos_token -}}"
    "{%- set names = {'system': 'System', 'user': 'User', 'assistant': 'Assistant'} -%}"
    "{%- for m in messages -%}{{- names[m.role] + ': ' + m.content | trim + '\\n\\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- 'Assistant:' -}}{%- endif -%}";

/* --- writing ------------------------------------------------------------------------------------------------------ */

typedef struct {
  writer *out;
  const llama_layout *layout;
} sink;

/* Failures stay in the writer. */
static void put_u32(const sink *k, const char *key, uint32_t value) {
  writer_metadata(k->out, key, &(metadata_value){METADATA_U32, (const uint8_t *)&value, sizeof value});
}

/* Under "rwkv6." or "rwkv7.". */
static void put_size(const sink *k, const char *what, int64_t value) {
  char key[LLAMA_KEY];
  put_u32(k, llama_key(k->layout, what, key), (uint32_t)value);
}

static status put_sizes(const checkpoint *in, const sink *k, int blocks, int rescale_every) {
  const bool six = !strcmp(k->layout->architecture, "rwkv6");
  const float eps = 1e-5f;
  char key[LLAMA_KEY], last[64];
  int64_t embedding[2], heads[2], ffn[2];
  if (checkpoint_shape(in, "", "emb.weight", 2, embedding) ||
      checkpoint_shape(in, "blocks.0.", six ? "att.time_faaaa" : "att.r_k", 2, heads) ||
      checkpoint_shape(in, "blocks.0.", "ffn.key.weight", 2, ffn))
    return last_status();
  put_size(k, "context_length", 1 << 20); /* nominal: there is no bound */
  put_size(k, "embedding_length", embedding[1]);
  put_size(k, "block_count", blocks);
  put_size(k, "feed_forward_length", ffn[0]);
  put_size(k, "attention.head_count", 0); /* asked for, not used */
  put_size(k, "wkv.head_size", heads[1]);
  writer_metadata(k->out, llama_key(k->layout, "attention.layer_norm_epsilon", key),
                  &(metadata_value){METADATA_F32, (const uint8_t *)&eps, sizeof eps});
  /* how many columns which matrix has: the low ranks */
  static const struct {
    const char *key, *official;
    bool six;
    int share; /* that many low ranks side by side */
  } ranks[] = {
      {"time_mix_extra_dim", "att.time_maa_w1", true, 5},
      {"time_decay_extra_dim", "att.time_decay_w1", true, 1},
      {"attention.decay_lora_rank", "att.w1", false, 1},
      {"attention.iclr_lora_rank", "att.a1", false, 1},
      {"attention.value_residual_mix_lora_rank", "att.v1", false, 1},
      {"attention.gate_lora_rank", "att.g1", false, 1},
  };
  for (size_t i = 0; i < sizeof ranks / sizeof *ranks; i++) {
    int64_t dim[2];
    if (ranks[i].six != six) continue;
    /* the last block: the first one's v1 is none */
    snprintf(last, sizeof last, "blocks.%d.", blocks - 1);
    const char *stem = blocks == 1 && !strcmp(ranks[i].official, "att.v1") ? "att.a1" : ranks[i].official;
    if (checkpoint_shape(in, last, stem, 2, dim)) return last_status();
    put_size(k, ranks[i].key, dim[1] / ranks[i].share);
  }
  if (six) put_size(k, "rescale_every_n_layers", rescale_every);
  return STATUS_OK;
}

/* A token as llama.cpp wants it: what stands between the quotes where Python prints the bytes. */
static void escape(const char *bytes, size_t n, metadata_bytes *out) {
  static const char blanks[] = "\t\n\r\\", letters[] = "tnr\\";
  const bool quoted = memchr(bytes, '\'', n) && memchr(bytes, '"', n);
  for (size_t i = 0; i < n; i++) {
    const uint8_t c = (uint8_t)bytes[i];
    const char *named = memchr(blanks, c, strlen(blanks));
    char text[5] = {(char)c};
    int length = 1;
    if (named)
      length = snprintf(text, sizeof text, "\\%c", letters[named - blanks]);
    else if (c == '\'' && quoted)
      length = snprintf(text, sizeof text, "\\'");
    else if (c < 0x20 || c >= 0x7f)
      length = snprintf(text, sizeof text, "\\x%02x", c);
    metadata_put(out, text, (size_t)length);
  }
}

/* Token 0, the end of a text, has a name that stands for no bytes. */
static void put_token(const llama_layout_options *o, uint32_t id, metadata_bytes *tokens, metadata_bytes *types) {
  metadata_bytes text = {0};
  size_t n = 0;
  char name[32];
  const char *bytes = id > 0 && id < o->tokens ? o->token(o->token_self, (int32_t)id, &n) : NULL;
  if (n)
    escape(bytes, n, &text);
  else
    metadata_put(
        &text, name,
        (size_t)(id ? snprintf(name, sizeof name, "[PAD%u]", (unsigned)id) : snprintf(name, sizeof name, "<s>")));
  metadata_put_text(tokens, (const char *)text.bytes, text.size);
  metadata_put_number(types, n ? TOKEN_NORMAL : id ? TOKEN_UNUSED : TOKEN_CONTROL, 4);
  tokens->failed |= text.failed;
  free(text.bytes);
}

/* The token that ends a turn of a conversation: two newlines. 0 if there is none. */
static uint32_t find_turn_end(const llama_layout_options *o) {
  for (uint32_t id = 1; id < o->tokens; id++) {
    size_t n = 0;
    const char *bytes = o->token(o->token_self, (int32_t)id, &n);
    if (n == 2 && !memcmp(bytes, "\n\n", 2)) return id;
  }
  return 0;
}

static status put_vocabulary(const sink *k, const llama_layout_options *o, uint32_t rows) {
  metadata_bytes tokens = {0}, types = {0};
  metadata_put_array(&tokens, METADATA_STRING, rows);
  metadata_put_array(&types, METADATA_I32, rows);
  for (uint32_t id = 0; id < rows; id++) put_token(o, id, &tokens, &types);
  const bool failed = tokens.failed || types.failed;
  if (!failed) {
    writer_string(k->out, MODEL_KEY, "rwkv");
    writer_metadata(k->out, TOKENS_KEY, &(metadata_value){METADATA_ARRAY, tokens.bytes, tokens.size});
    writer_metadata(k->out, TYPES_KEY, &(metadata_value){METADATA_ARRAY, types.bytes, types.size});
    put_u32(k, "tokenizer.ggml.bos_token_id", 0);
    put_u32(k, "tokenizer.ggml.eos_token_id", 0);
    const uint32_t turn_end = find_turn_end(o);
    if (turn_end) put_u32(k, "tokenizer.ggml.eot_token_id", turn_end);
    writer_string(k->out, "tokenizer.chat_template", chat_template);
  }
  free(tokens.bytes);
  free(types.bytes);
  return failed ? last_status() : STATUS_OK;
}

static bool begins(const char *text, const char *with) { return !strncmp(text, with, strlen(with)); }

/* What a file says beside its sizes stays said. */
static status copy_metadata(const checkpoint *in, const sink *k, bool tokenizer) {
  static const char *const made[] = {"general.architecture", "general.type", "general.file_type", GGUF_ALIGNMENT_KEY};
  for (size_t i = 0; i < checkpoint_metadata_count(in); i++) {
    const checkpoint_entry *e = checkpoint_metadata_at(in, i);
    bool skip = writer_owns(e->key) || (begins(e->key, "tokenizer.") && !tokenizer);
    skip |= begins(e->key, k->layout->architecture) && e->key[strlen(k->layout->architecture)] == '.';
    for (size_t j = 0; j < sizeof made / sizeof *made; j++) skip |= !strcmp(e->key, made[j]);
    if (!skip && writer_metadata(k->out, e->key, &e->value)) return last_status();
  }
  return STATUS_OK;
}

status llama_layout_describe(const checkpoint *in, writer *w, const llama_layout_options *o, const llama_layout *layout,
                             int blocks, uint32_t file_type) {
  const sink k = {w, layout};
  const bool carried = !o->token && checkpoint_metadata_find(in, TOKENS_KEY);
  int64_t embedding[2];
  if (checkpoint_shape(in, "", "emb.weight", 2, embedding)) return last_status();
  if (o->token && (int64_t)o->tokens > embedding[0])
    return fail(STATUS_ARGUMENT, "%s: the vocabulary has %u tokens, but the model has %lld", checkpoint_path(in),
                (unsigned)o->tokens, (long long)embedding[0]);
  writer_string(w, "general.architecture", layout->architecture);
  writer_string(w, "general.type", "model");
  put_u32(&k, "general.file_type", file_type);
  if (put_sizes(in, &k, blocks, o->rescale_every) || copy_metadata(in, &k, carried)) return last_status();
  if (o->token) return put_vocabulary(&k, o, (uint32_t)embedding[0]);
  if (carried) return STATUS_OK;
  put_size(&k, "vocab_size", embedding[0]);
  return writer_string(w, MODEL_KEY, "no_vocab");
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static int hex_digit(uint8_t c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* The next byte of an escaped token, by llama.cpp's rules; false at the end or (*at stays short of n) at a damaged
 * escape. */
static bool next_byte(const uint8_t *text, size_t n, size_t *at, uint8_t *byte) {
  static const char letters[] = "tnr", blanks[] = "\t\n\r";
  const size_t left = n - *at;
  if (left == 0) return false;
  const uint8_t *c = text + *at;
  if (*c != '\\') {
    *byte = *c;
    *at += 1;
  } else if (left >= 2 && c[1] != 'x') {
    const char *letter = memchr(letters, c[1], strlen(letters));
    *byte = letter ? (uint8_t)blanks[letter - letters] : c[1];
    *at += 2;
  } else if (left >= 4 && hex_digit(c[2]) >= 0 && hex_digit(c[3]) >= 0) {
    *byte = (uint8_t)(hex_digit(c[2]) * 16 + hex_digit(c[3]));
    *at += 4;
  } else {
    return false;
  }
  return true;
}

/* The line of a token; false if its text is damaged. */
static bool put_line(metadata_bytes *out, size_t id, const uint8_t *text, size_t n) {
  char piece[48];
  size_t at = 0, length = 0;
  metadata_put(out, piece, (size_t)snprintf(piece, sizeof piece, "%zu b'", id));
  for (uint8_t byte; next_byte(text, n, &at, &byte); length++) {
    const bool plain = byte >= 0x20 && byte < 0x7f && byte != '\'' && byte != '\\';
    metadata_put(out, piece, (size_t)snprintf(piece, sizeof piece, plain ? "%c" : "\\x%02x", byte));
  }
  metadata_put(out, piece, (size_t)snprintf(piece, sizeof piece, "' %zu\n", length));
  return length && at == n;
}

/* Two arrays side by side: tokens, and their kinds (all NORMAL, if there is no second). */
static status put_lines(const metadata_value *tokens, const metadata_value *types, metadata_bytes *out) {
  metadata_cursor token = metadata_items(tokens), type = types ? metadata_items(types) : (metadata_cursor){0};
  size_t id = 0, unused = 0;
  for (metadata_value item, kind; metadata_next(&token, &item); id++) {
    const char *text = NULL;
    size_t n = 0;
    int64_t number = TOKEN_NORMAL;
    if (!metadata_text(&item, &text, &n)) return fail(STATUS_FORMAT, "metadata " TOKENS_KEY " holds no texts");
    if (types && (!metadata_next(&type, &kind) || !metadata_integer(&kind, &number)))
      return fail(STATUS_FORMAT, "metadata " TYPES_KEY " has no number for token %zu", id);
    if (id == 0) continue;
    if (number == TOKEN_UNUSED || number == TOKEN_CONTROL) {
      unused = unused ? unused : id;
    } else if (unused) {
      return fail(STATUS_FORMAT, "token %zu follows the unused token %zu: a World vocabulary has no gaps", id, unused);
    } else if (!put_line(out, id, (const uint8_t *)text, n)) {
      return fail(STATUS_FORMAT, "the text of token %zu is empty or has a damaged escape", id);
    }
  }
  return STATUS_OK;
}

status llama_layout_vocabulary(const checkpoint *c, char **text, size_t *n) {
  const char *model = checkpoint_metadata(c, MODEL_KEY);
  const checkpoint_entry *tokens = checkpoint_metadata_find(c, TOKENS_KEY);
  const checkpoint_entry *types = checkpoint_metadata_find(c, TYPES_KEY);
  metadata_bytes out = {0};
  if (!model || strcmp(model, "rwkv") || !tokens)
    return fail(STATUS_FORMAT, "%s: holds no World vocabulary of llama.cpp (" MODEL_KEY " is %s)", checkpoint_path(c),
                model ? model : "missing");
  status s = put_lines(&tokens->value, types ? &types->value : NULL, &out);
  if (s) fail_within("%s", checkpoint_path(c));
  metadata_put(&out, "", 1);
  if (!s && out.failed) s = last_status();
  if (!s && out.size == 1) s = fail(STATUS_FORMAT, "%s: its vocabulary is empty", checkpoint_path(c));
  if (s) {
    free(out.bytes);
    return s;
  }
  *text = (char *)out.bytes;
  *n = out.size - 1;
  return STATUS_OK;
}
