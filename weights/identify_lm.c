/* Language models. Names and shapes: spec language-models section 2, goldfinch section 3. */
#include "weights/identify_table.h"

/* clang-format off */
#define LM_SIZES                                         \
  {COUNT("layers", "blocks.#.ln1.weight")},              \
  {DIM("width", "emb.weight", 1)},                       \
  {DIM("hidden", "blocks.#.ffn.key.weight", 0)},         \
  {DIM("vocabulary", "emb.weight", 0)}
/* clang-format on */

const size_rule sizes_lm4[] = {LM_SIZES, {0}};
const size_rule sizes_lm5[] = {
    LM_SIZES,
    {DIM("heads", "blocks.#.att.time_decay", 0)},
    {DIM("head_size", "blocks.#.att.key.weight", 0), .per = "heads"},
    {0},
};
const size_rule sizes_lm6[] = {LM_SIZES, WKV6_SIZES("blocks.#"), {0}};
const size_rule sizes_lm7[] = {
    LM_SIZES,
    {DIM("heads", "blocks.#.att.r_k", 0)},
    {DIM("head_size", "blocks.#.att.r_k", 1)},
    {DIM("rank_decay", "blocks.#.att.w1", 1)},
    {DIM("rank_rate", "blocks.#.att.a1", 1)}, /* of the in-context learning rate */
    {DIM("rank_value", "blocks.#.att.v1", 1)},
    {DIM("rank_gate", "blocks.#.att.g1", 1)},
    {0},
};
static const size_rule lm_lora[] = {
    {COUNT("layers", "blocks.#.att.key.lora_A")},
    {DIM("width", "blocks.#.att.key.lora_A", 1)},
    {DIM("rank", "blocks.#.att.key.lora_A", 0)},
    {0},
};
static const size_rule lm_state[] = {
    {COUNT("layers", "blocks.#.att.time_state")},
    {DIM("heads", "blocks.#.att.time_state", 0)},
    {DIM("head_size", "blocks.#.att.time_state", 1)},
    {DIM("width", "blocks.#.att.time_state", 0), .by = "head_size"},
    {0},
};
static const size_rule goldfinch[] = {
    LM_SIZES,
    WKV6_SIZES("blocks.#"),
    {DIM("rank_value2", "blocks.#.att.time_value2_w1", 1)},
    {COUNT("layers_finch", "blocks.#.att.time_decay")}, /* the GOLD layers are above them */
    {DIM("rank_key", "blocks.#.att.time_key_w1", 1)},
    {DIM("rank_value", "blocks.#.att.time_value_w1", 1)},
    {DIM("cache", "w_kv_cache_a.weight", 0)}, /* numbers a token */
    {0},
};
static const size_rule gptalpha[] = {LM_SIZES, {DIM("rank_mix", "blocks.#.att.time_maa_w2", 1)}, {0}};

/* RWKV-5.2's decay is one number a channel, [H,N]; before, one a head, [H] or [H,1]. */
static bool decay_of_channels(const name_index *names, const char *root) {
  return name_dim(names, root, "blocks.#.att.time_decay", 1) > 1;
}

#define RWKV_ROOTS                                                                                                     \
  { "", "rwkv." } /* the second is what stays of a VisualRWKV without its image tower */
#define RWKV_NAMES "emb.weight", "blocks.#.ln1.weight", "head.weight"

const signature identity_lm[] = {
    {"rwkv-state", "", "initial state of an RWKV model (state tuning)", "att.time_state and nothing else",
     .all = {"blocks.#.att.time_state"}, .none = {"emb.weight", "head.weight", "blocks.#.att.key.weight"},
     .parts = {{"", "", lm_state}}},
    {"rwkv-lora", "", "LoRA's factors for an RWKV language model", "lora_A and lora_B, no emb",
     "has LoRA's factors alone: take the model that they were merged into",
     .all = {"blocks.#.att.key.lora_A", "blocks.#.att.key.lora_B"}, .none = {"emb.weight", "blocks.#.att.key.weight"},
     .parts = {{"", "", lm_lora}}},
    {"rwkv", "experiment", "RWKV language model with an experiment of its training code",
     "head_q, copy_mask, tiny_*, pos_emb_x or ffnPre",
     "has parts (head_q, copy_mask, tiny attention, pos_emb or ffnPre) that no released model has", .roots = RWKV_ROOTS,
     .all = {RWKV_NAMES},
     .any = {"head_q.weight", "head_k.weight", "copy_mask", "blocks.#.tiny_q.weight", "blocks.0.pos_emb_x",
             "blocks.0.ffnPre.key.weight"},
     .parts = {{"", "", sizes_lm4}}},
    {"rwkv", "huggingface", "RWKV language model under Hugging Face's names",
     "rwkv.blocks with attention and feed_forward",
     "has Hugging Face's names and order: take the .pth that its author published",
     .all = {"rwkv.embeddings.weight", "rwkv.blocks.#.attention.key.weight", "rwkv.blocks.#.feed_forward.key.weight"}},
    {"rwkv", "inference", "RWKV language model prepared by the inference package", "RWKV's names, no blocks.0.ln0",
     "was prepared by RWKV's inference package (transposed, ln0 merged): take the .pth it was made from",
     .roots = RWKV_ROOTS, .all = {RWKV_NAMES, "blocks.#.att.key.weight"}, .none = {"blocks.0.ln0.weight"}},
    {"rwkv", "web-rwkv", "RWKV-6 language model under web-rwkv's names", "time_mix_w1 and time_decay_w1",
     "has web-rwkv's names and order: take the .pth that its author published", .roots = RWKV_ROOTS,
     .all = {RWKV_NAMES, "blocks.#.att.time_mix_w1", "blocks.#.att.time_decay_w1"}},
    {"rwkv", "x060b", "RWKV-6 experiment x060b or x060c", "time_maa_rkvw_w1",
     "is an experiment (x060b or x060c) that no released model uses", .roots = RWKV_ROOTS,
     .all = {RWKV_NAMES, "blocks.#.att.time_maa_rkvw_w1"}, .parts = {{"", "", sizes_lm6}}},
    {"goldfinch", "llama", "Llama baseline of the GoldFinch paper", "att.wq",
     "is a plain transformer, the paper's baseline", .all = {RWKV_NAMES, "blocks.#.att.wq.weight"}},
    {"goldfinch", "upgrade", "RWKV-6 upgraded with GOLD attention", "time_maa_kv_w1 above, att.gate below",
     .all = {RWKV_NAMES, "w_kv_cache_a.weight", "w_kv_cache_b.weight", "blocks.#.att.time_maa_kv_w1",
             "blocks.#.att.gate.weight"},
     .parts = {{"", "", goldfinch}}},
    {"goldfinch", "goldfinch", "GoldFinch language model: Finch-C2 below, GOLD attention above",
     "time_value2_w1 below, time_maa_kv_w1 above",
     .all = {RWKV_NAMES, "w_kv_cache_a.weight", "w_kv_cache_b.weight", "blocks.#.att.time_maa_kv_w1",
             "blocks.#.att.time_value2_w1"},
     .parts = {{"", "", goldfinch}}},
    {"goldfinch", "hybrid", "language model of the GoldFinch paper: Finch-C2 below, GPTAlpha above",
     "time_value2_w1 below, att.ln_r above",
     .all = {RWKV_NAMES, "blocks.#.att.time_value2_w1", "blocks.#.att.ln_r.weight"}, .parts = {{"", "", goldfinch}}},
    {"goldfinch", "finchc2", "Finch-C2 language model", "time_value2_w1 in all layers",
     .all = {RWKV_NAMES, "blocks.#.att.time_value2_w1", "blocks.#.att.time_faaaa"}, .none = {"w_kv_cache_a.weight"},
     .parts = {{"", "", goldfinch}}},
    {"goldfinch", "gptalpha", "GPTAlpha language model", "att.ln_r",
     .all = {RWKV_NAMES, "blocks.#.att.ln_r.weight", "blocks.#.att.query.weight", "blocks.#.att.time_maa_w1"},
     .parts = {{"", "", gptalpha}}},
    {"rwkv", "7", "RWKV-7 \"Goose\" language model", "att.r_k", .roots = RWKV_ROOTS,
     .all = {RWKV_NAMES, "blocks.#.att.r_k", "blocks.#.att.w0", "blocks.#.att.x_r", "blocks.#.ffn.x_k"},
     .parts = {{"", "", sizes_lm7}}},
    {"rwkv", "6", "RWKV-6 \"Finch\" language model", "time_maa names, no r_k", .roots = RWKV_ROOTS,
     .all = {RWKV_NAMES, "blocks.#.att.time_maa_w1", "blocks.#.att.time_faaaa", "blocks.#.att.gate.weight",
             "blocks.#.att.ln_x.weight"},
     .parts = {{"", "", sizes_lm6}}},
    {"rwkv", "5.2", "RWKV-5.2 \"Eagle\" language model", "ln_x and gate, a decay of every channel", .roots = RWKV_ROOTS,
     .all = {RWKV_NAMES, "blocks.#.att.time_mix_k", "blocks.#.att.ln_x.weight", "blocks.#.att.gate.weight"},
     .fits = decay_of_channels, .parts = {{"", "", sizes_lm5}}},
    {"rwkv", "5.1", "RWKV-5.1 language model", "ln_x and gate, one decay a head", .roots = RWKV_ROOTS,
     .all = {RWKV_NAMES, "blocks.#.att.time_mix_k", "blocks.#.att.ln_x.weight", "blocks.#.att.gate.weight"},
     .parts = {{"", "", sizes_lm5}}},
    {"rwkv", "5.0", "RWKV-5.0 language model", "ln_x, no gate", .roots = RWKV_ROOTS,
     .all = {RWKV_NAMES, "blocks.#.att.time_mix_k", "blocks.#.att.ln_x.weight"}, .parts = {{"", "", sizes_lm5}}},
    {"rwkv", "4", "RWKV-4 \"Dove\" language model", "time_mix names, no ln_x", .roots = RWKV_ROOTS,
     .all = {RWKV_NAMES, "blocks.#.att.time_mix_k", "blocks.#.att.time_first", "blocks.#.att.time_decay"},
     .parts = {{"", "", sizes_lm4}}},
    {0},
};
