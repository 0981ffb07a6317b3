/* identify: one hand-made file for every row of the table, each of them again without each piece of its evidence;
 * files that only look like a known system; hostile names and shapes. Reference checkpoints: test_identify_goldens.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/identity_text.h"
#include "weights/identify.h"
#include "weights/identify_table.h"

#include <cmocka.h> /* last: it defines fail() as a macro */

/* --- files from a line of text ------------------------------------------------------------------------------------ */

/* A file is written as "NAME:SHAPE NAME:SHAPE ...", shapes as "2,3" or nothing for a scalar. "#3" in a name makes one
 * tensor for each of 0, 1, 2; "@key=value" is metadata. */
typedef struct {
  char *text; /* the header, then zeros: the data */
  size_t length, room, data;
  bool first;
} file_maker;

static void append(file_maker *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(file_maker *m, const char *format, ...) {
  va_list args;
  while (m->length + 1024 > m->room) {
    m->text = realloc(m->text, m->room = 2 * m->room + 4096);
    assert_non_null(m->text);
  }
  va_start(args, format);
  const int n = vsnprintf(m->text + m->length, m->room - m->length, format, args);
  va_end(args);
  assert_true(n >= 0 && n < 1024);
  m->length += (size_t)n;
}

/* Whether a name is `pattern`, in which one number may be '#'; NULL is no name's pattern. */
static bool matches(const char *name, const char *pattern) {
  if (!pattern) return false;
  const size_t n = strcspn(pattern, "#");
  if (!pattern[n]) return !strcmp(name, pattern);
  const size_t digits = strncmp(name, pattern, n) ? 0 : strspn(name + n, "0123456789");
  return digits && !strcmp(name + n + digits, pattern + n + 1);
}

static void add_tensor(file_maker *m, const char *name, const char *shape) {
  size_t bytes = 1;
  for (const char *s = shape; *s; s += strcspn(s, ",") + (s[strcspn(s, ",")] != 0)) bytes *= strtoull(s, NULL, 10);
  append(m, "%s\"%s\":{\"dtype\":\"I8\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", m->first ? "" : ",", name, shape,
         m->data, m->data + bytes);
  m->data += bytes;
  m->first = false;
}

/* One "NAME:SHAPE", with `prefix` before the name, but for what matches `without`. */
static void add_item(file_maker *m, const char *item, const char *prefix, const char *without) {
  char name[300], full[340];
  const char *colon = strchr(item, ':'), *hash = strchr(item, '#');
  assert_non_null(colon);
  const long count = hash ? strtol(hash + 1, NULL, 10) : 1;
  for (long i = 0; i < count; i++) {
    if (hash)
      snprintf(name, sizeof name, "%.*s%ld%.*s", (int)(hash - item), item, i,
               (int)(colon - hash - 1 - (long)strspn(hash + 1, "0123456789")),
               hash + 1 + strspn(hash + 1, "0123456789"));
    else
      snprintf(name, sizeof name, "%.*s", (int)(colon - item), item);
    snprintf(full, sizeof full, "%s%s", prefix, name);
    if (!matches(name, without)) add_tensor(m, full, colon + 1);
  }
}

static checkpoint *make_file(const char *description, const char *prefix, const char *without, char **block) {
  file_maker m = {.first = true};
  append(&m, "{");
  char *copy = strdup(description), *rest = NULL;
  for (char *item = strtok_r(copy, " ", &rest); item; item = strtok_r(NULL, " ", &rest)) {
    char *value = strchr(item, '=');
    if (*item == '@' && value) {
      *value = 0;
      append(&m, "%s\"__metadata__\":{\"%s\":\"%s\"}", m.first ? "" : ",", item + 1, value + 1);
      m.first = false;
    } else {
      add_item(&m, item, prefix, without);
    }
  }
  append(&m, "}");
  free(copy);
  *block = calloc(8 + m.length + m.data, 1);
  assert_non_null(*block);
  for (int i = 0; i < 8; i++) (*block)[i] = (char)(m.length >> 8 * i);
  memcpy(*block + 8, m.text, m.length);
  checkpoint *c = checkpoint_parse(*block, 8 + m.length + m.data, "memory");
  if (!c) fail_msg("%s\nof: %s", last_error(), description);
  free(m.text);
  return c;
}

/* --- a file for every row ----------------------------------------------------------------------------------------- */

#define LM_TOP(r) r "emb.weight:16,8 " r "blocks.0.ln0.weight:8 " r "ln_out.weight:8 " r "head.weight:16,8 "
#define LM_BLOCKS(r)                                                                                                   \
  r "blocks.#2.ln1.weight:8 " r "blocks.#2.att.key.weight:8,8 " r "blocks.#2.att.output.weight:8,8 " r                 \
    "blocks.#2.ffn.key.weight:24,8 "
#define MIX5(r)                                                                                                        \
  r "blocks.#2.att.time_mix_k:1,1,8 " r "blocks.#2.att.time_mix_g:1,1,8 " r "blocks.#2.att.ln_x.weight:8 " r           \
    "blocks.#2.att.gate.weight:8,8 " r "blocks.#2.att.time_faaaa:2,4 "
#define LM4(r)                                                                                                         \
  LM_TOP(r)                                                                                                            \
  LM_BLOCKS(r) r "blocks.#2.att.time_mix_k:1,1,8 " r "blocks.#2.att.time_first:8 " r "blocks.#2.att.time_decay:8 "
#define LM5(r) LM_TOP(r) LM_BLOCKS(r) MIX5(r) r "blocks.#2.att.time_decay:2,4 "
#define MIX6(r, at)                                                                                                    \
  r at ".att.time_maa_w1:8,15 " r at ".att.time_maa_w2:5,3,8 " r at ".att.time_decay:1,1,8 " r at                      \
       ".att.time_decay_w1:8,6 " r at ".att.time_faaaa:2,4 " r at ".att.gate.weight:8,8 " r at ".att.ln_x.weight:8 "
#define LM6(r) LM_TOP(r) LM_BLOCKS(r) MIX6(r, "blocks.#2")
#define LM7(r)                                                                                                         \
  LM_TOP(r)                                                                                                            \
  LM_BLOCKS(r)                                                                                                         \
  r "blocks.#2.att.r_k:2,4 " r "blocks.#2.att.w0:1,1,8 " r "blocks.#2.att.x_r:1,1,8 " r "blocks.#2.ffn.x_k:1,1,8 " r   \
    "blocks.#2.att.w1:8,2 " r "blocks.#2.att.a1:8,3 " r "blocks.1.att.v1:8,4 " r "blocks.#2.att.g1:8,5 "
#define LM_TEXT "layers 2, width 8, hidden 24, vocabulary 16"
#define LM6_TEXT LM_TEXT ", heads 2, head_size 4, rank_mix 3, rank_decay 6"
#define LM7_TEXT LM_TEXT ", heads 2, head_size 4, rank_decay 2, rank_rate 3, rank_value 4, rank_gate 5"

#define VRWKV_TOP(r)                                                                                                   \
  r "pos_embed:1,9,8 " r "patch_embed.projection.weight:8,3,4,4 " r "layers.#3.ln1.weight:8 " r                        \
    "layers.#3.ffn.spatial_mix_k:1,1,8 " r "layers.#3.ffn.key.weight:32,8 "
#define VRWKV(r)                                                                                                       \
  VRWKV_TOP(r)                                                                                                         \
  r "layers.#3.att.spatial_decay:8 " r "layers.#3.att.spatial_first:8 " r "layers.#3.att.spatial_mix_k:1,1,8 "
#define VRWKV6(r) VRWKV_TOP(r) MIX6(r, "layers.#3")
#define VRWKV_TEXT "layers 3, width 8, hidden 32, patch 4, grid 3, size 12, layer_scale 0, key_norm 0"
#define VRWKV6_TEXT VRWKV_TEXT ", heads 2, head_size 4, rank_mix 3, rank_decay 6, class_token 0"

#define HF_VISION(r)                                                                                                   \
  r "embeddings.class_embedding:6 " r "embeddings.patch_embedding.weight:6,3,7,7 " r                                   \
    "embeddings.position_embedding.weight:5,6 " r "pre_layrnorm.weight:6 " r                                           \
    "encoder.layers.#2.layer_norm1.weight:6 " r "encoder.layers.#2.self_attn.q_proj.weight:6,6 " r                     \
    "encoder.layers.#2.mlp.fc1.weight:10,6 "
#define HF_VISION_TEXT "layers 2, width 6, hidden 10, patch 7, grid 2, size 14"
#define OPENAI_TEXT_TOWER                                                                                              \
  "transformer.resblocks.#2.ln_1.weight:4 transformer.resblocks.#2.mlp.c_fc.weight:16,4 token_embedding.weight:20,4 "  \
  "positional_embedding:7,4 text_projection:4,5 "

#define TIMM(r, extra)                                                                                                 \
  r extra r "pos_embed:1,4,6 " r "patch_embed.proj.weight:6,3,2,2 " r "blocks.#2.norm1.weight:6 " r                    \
            "blocks.#2.mlp.fc1.weight:9,6 "
#define SAM_VISION(r)                                                                                                  \
  r "pos_embed:1,4,4,6 " r "patch_embed.proj.weight:6,3,2,2 " r "blocks.#2.norm1.weight:6 " r                          \
    "blocks.#2.attn.rel_pos_h:5,3 " r "blocks.#2.mlp.lin1.weight:12,6 " r "neck.0.weight:5,6,1,1 "
#define THREE                                                                                                          \
  TIMM("vit.dino_featurizer.", "reg_token:1,4,6 vit.dino_featurizer.cls_token:1,1,6 ")                                 \
  TIMM("vit.siglip_featurizer.", "norm.weight:6 ") SAM_VISION("vit.sam_featurizer.")
#define SAM_VISION_TEXT "layers 2, width 6, hidden 12, head_size 3, heads 2, patch 2, grid 4, size 8, window 3, neck 5"
#define THREE_TEXT                                                                                                     \
  "; DINOv2 tower: layers 2, width 6, hidden 9, patch 2, grid 2, size 4, registers 4, class_token 1; SigLIP tower: "   \
  "layers 2, width 6, hidden 9, patch 2, grid 2, size 4, class_token 0; SAM tower: " SAM_VISION_TEXT
#define SAM_DECODER(r)                                                                                                 \
  r "mask_tokens.weight:4,8 " r "transformer.layers.#2.norm1.weight:8 " r "transformer.layers.#2.mlp.lin1.weight:16,"  \
    "8 "
#define SAM_DECODER_TEXT "mask decoder: layers 2, width 8, hidden 16, masks 4"
#define RWKV_SAM(r)                                                                                                    \
  r "stem.conv1.weight:4,3,3,3 " r "conv_stages.0.#2.conv3_1x1.weight:4,16,1,1 " r                                     \
    "conv_stages.1.#4.conv3_1x1.weight:6,24,1,1 " r "conv_final_pool.proj.weight:8,6,3,3 " r                           \
    "layers.#3.layer_scale_1:8 " r "layers.#3.attn.spatial_decay:8 " r "layers.#3.mlp.key.weight:16,8 "
#define RWKV_SAM_TEXT                                                                                                  \
  "layers 3, width 8, hidden 16, width_stem 4, width_stride4 4, layers_stride4 2, width_stride8 6, layers_stride8 4, " \
  "position 0"
#define POINT                                                                                                          \
  "backbone.norms.#2.weight:6 backbone.blocks.0.#3.norm1.weight:6 backbone.blocks.1.0.norm1.weight:6 "                 \
  "backbone.blocks.0.0.spatial_mixing.decay_base:6 backbone.blocks.0.0.spatial_mixing.u:3,2 "                          \
  "backbone.blocks.0.0.channel_mixing.key_proj.weight:24,6 "                                                           \
  "backbone.blocks.0.0.lgm.graph_stabilizer.offset_pred.0.weight:6,6 "                                                 \
  "backbone.blocks.0.0.lgm.graph_stabilizer.edge_mlps.#4.0.weight:6,9 "
#define POINT_TEXT "scales 2, layers_1 3, layers_2 1, width 6, hidden 24, heads 3, head_size 2, graph_steps 4"
#define ADAPTER "backbone.spm.stem.0.weight:5,3,3,3 backbone.interactions.#4.injector.gamma:8 "
#define GOLD(at) at ".att.time_maa_kv_w1:8,6 " at ".att.time_key_w1:8,7 " at ".att.time_value_w1:8,5 "
#define CACHE "w_kv_cache_a.weight:2,8 w_kv_cache_b.weight:8,10 "
#define FINCHC2                                                                                                        \
  LM_TOP("")                                                                                                           \
  LM_BLOCKS("")                                                                                                        \
  "blocks.0.att.time_value2_w1:8,5 blocks.0.att.time_faaaa:2,4 blocks.0.att.time_decay:1,1,8 "                         \
  "blocks.0.att.time_maa_w1:8,15 blocks.0.att.time_maa_w2:5,3,8 blocks.0.att.time_decay_w1:8,6 "
#define FINCHC2_TEXT LM6_TEXT ", rank_value2 5, layers_finch 1"

static const struct {
  const char *file, *system, *version, *root, *sizes;
} cases[] = {
    {LM4(""), "rwkv", "4", "", LM_TEXT},
    {LM4("rwkv."), "rwkv", "4", "rwkv.", LM_TEXT},
    {LM_TOP("") LM_BLOCKS("") "blocks.#2.att.time_mix_k:1,1,8 blocks.#2.att.ln_x.weight:8 blocks.#2.att.time_first:2 "
                              "blocks.#2.att.time_decay:2",
     "rwkv", "5.0", "", LM_TEXT ", heads 2, head_size 4"},
    {LM_TOP("") LM_BLOCKS("") MIX5("") "blocks.#2.att.time_decay:2", "rwkv", "5.1", "",
     LM_TEXT ", heads 2, head_size 4"},
    {LM5(""), "rwkv", "5.2", "", LM_TEXT ", heads 2, head_size 4"},
    {LM6(""), "rwkv", "6", "", LM6_TEXT},
    {LM6("") "blocks.#2.att.time_state:2,4,4", "rwkv", "6", "", LM6_TEXT},
    {LM7(""), "rwkv", "7", "", LM7_TEXT},
    {"blocks.#3.att.time_state:2,4,4", "rwkv-state", "", "", "layers 3, heads 2, head_size 4, width 8"},
    {LM4("") "head_q.weight:4,8", "rwkv", "experiment", "", LM_TEXT},
    {LM5("") "blocks.1.tiny_q.weight:4,8", "rwkv", "experiment", "", LM_TEXT},
    {"rwkv.embeddings.weight:16,8 rwkv.blocks.#2.attention.key.weight:8,8 rwkv.blocks.#2.feed_forward.key.weight:32,8 "
     "head.weight:16,8",
     "rwkv", "huggingface", "", ""},
    {"emb.weight:16,8 head.weight:16,8 " LM_BLOCKS("") MIX6("", "blocks.#2"), "rwkv", "inference", "", ""},
    {LM_TOP("") LM_BLOCKS("") MIX5("") "blocks.#2.att.time_mix_w1:8,15 blocks.#2.att.time_decay_w1:8,6", "rwkv",
     "web-rwkv", "", ""},
    {LM_TOP("") LM_BLOCKS("") "blocks.#2.att.time_maa_rkvw_w1:8,12 blocks.#2.att.time_faaaa:2,4", "rwkv", "x060b", "",
     LM_TEXT ", heads 2, head_size 4"},
    {LM_TOP("") LM_BLOCKS("") "blocks.#2.att.wq.weight:8,8", "goldfinch", "llama", "", ""},
    {FINCHC2 GOLD("blocks.1") CACHE, "goldfinch", "goldfinch", "", FINCHC2_TEXT ", rank_key 7, rank_value 5, cache 2"},
    {LM6("") GOLD("blocks.2") CACHE, "goldfinch", "upgrade", "",
     LM6_TEXT ", layers_finch 2, rank_key 7, rank_value 5, cache 2"},
    {FINCHC2 "blocks.1.att.ln_r.weight:8", "goldfinch", "hybrid", "", FINCHC2_TEXT},
    {FINCHC2, "goldfinch", "finchc2", "", FINCHC2_TEXT},
    {LM_TOP("") LM_BLOCKS("") "blocks.#2.att.ln_r.weight:8 blocks.#2.att.query.weight:8,8 "
                              "blocks.#2.att.time_maa_w1:8,9 blocks.#2.att.time_maa_w2:3,3,8",
     "goldfinch", "gptalpha", "", LM_TEXT ", rank_mix 3"},

    {VRWKV("backbone.") "head.fc.weight:10,8", "vrwkv", "", "backbone.", VRWKV_TEXT ", classes 10"},
    {VRWKV("backbone.") "backbone.layers.#3.gamma1:8 backbone.layers.#3.att.key_norm.weight:8 head.0.weight:12,8 "
                        "head.2.weight:10,12",
     "vrwkv", "", "backbone.",
     "layers 3, width 8, hidden 32, patch 4, grid 3, size 12, layer_scale 1, key_norm 1, classes 10, head_hidden 12"},
    {VRWKV(""), "vrwkv", "", "", VRWKV_TEXT},
    {"blocks.#3.att.spatial_decay:8 blocks.#3.ln1.weight:8 decoder_blocks.#2.att.spatial_decay:4 "
     "decoder_blocks.#2.ln1.weight:4 mask_token:1,1,4 decoder_embed.weight:4,8",
     "vrwkv", "mae", "", "layers 3, width 8, decoder_layers 2, decoder_width 4"},
    {VRWKV6("backbone.") "head.fc.weight:10,8", "vrwkv6", "", "backbone.", VRWKV6_TEXT ", classes 10"},
    {VRWKV6(""), "vrwkv6", "", "", VRWKV6_TEXT},
    {VRWKV("backbone.") ADAPTER "decode_head.conv_seg.weight:5,6,1,1 decode_head.psp_modules.#4.1.conv.weight:6,8,1,1 "
                                "auxiliary_head.conv_seg.weight:5,7,1,1",
     "vrwkv-upernet", "", "",
     "image tower: " VRWKV_TEXT "; adapter: width 5, interactions 4; head: width 6, classes 5, auxiliary_width 7"},
    {VRWKV("backbone.") ADAPTER "rpn_head.rpn_conv.weight:8,8,3,3", "vrwkv-maskrcnn", "", "",
     "image tower: " VRWKV_TEXT "; adapter: width 5, interactions 4"},

    {VRWKV6("image_model.") LM6("text_model.") "logit_scale:", "rwkv-clip", "", "",
     "image tower: " VRWKV6_TEXT "; text tower: " LM6_TEXT},
    {VRWKV6("image_model.") "image_model.cls_token:1,1,8", "rwkv-clip", "image", "image_model.",
     VRWKV_TEXT ", heads 2, head_size 4, rank_mix 3, rank_decay 6, class_token 1"},
    {VRWKV6("vit.image_model."), "rwkv-clip", "image", "vit.image_model.", VRWKV6_TEXT},
    {LM6("text_model."), "rwkv-clip", "text", "text_model.", LM6_TEXT},
    {"visual.conv1.weight:6,3,7,7 visual.class_embedding:6 visual.positional_embedding:10,6 visual.proj:6,5 "
     "visual.transformer.resblocks.#3.ln_1.weight:6 "
     "visual.transformer.resblocks.#3.mlp.c_fc.weight:24,6 " OPENAI_TEXT_TOWER,
     "clip", "openai", "",
     "image tower: layers 3, width 6, hidden 24, patch 7, grid 3, size 21; text tower: layers 2, width 4, hidden 16, "
     "vocabulary 20, context 7; embedding: width 5"},
    {"visual.conv1.weight:6,3,3,3 visual.layer1.0.conv1.weight:6,6,1,1 " OPENAI_TEXT_TOWER, "clip", "resnet", "",
     "text tower: layers 2, width 4, hidden 16, vocabulary 20, context 7; embedding: width 5"},
    {HF_VISION("vision_model.") "text_model.embeddings.token_embedding.weight:20,4 "
                                "text_model.embeddings.position_embedding.weight:7,4 "
                                "text_model.encoder.layers.#1.self_attn.q_proj.weight:4,4 "
                                "text_model.encoder.layers.#1.layer_norm1.weight:4 "
                                "text_model.encoder.layers.#1.mlp.fc1.weight:16,4 "
                                "visual_projection.weight:5,6 text_projection.weight:5,4",
     "clip", "huggingface", "",
     "image tower: " HF_VISION_TEXT "; text tower: layers 1, width 4, hidden 16, vocabulary 20, context 7; embedding: "
     "width 5"},
    {HF_VISION("vision_model."), "clip", "huggingface-image", "", HF_VISION_TEXT},

    {RWKV_SAM("backbone.") "backbone.pos_embed:1,9,8 neck.out_proj.0.weight:8,8,1,1 "
                           "mask_decoder.hr_feat_proj.0.weight:2,4,3,3 " SAM_DECODER("mask_decoder.mask_decoder."),
     "rwkv-sam", "", "",
     "image tower: layers 3, width 8, hidden 16, width_stem 4, width_stride4 4, layers_stride4 2, width_stride8 6, "
     "layers_stride8 4, grid 3, position 1; neck: width 8; " SAM_DECODER_TEXT},
    {RWKV_SAM("backbone.") "head.fc.weight:5,8", "rwkv-sam", "backbone", "backbone.", RWKV_SAM_TEXT},
    {RWKV_SAM("backbone_student.") "neck_student.out_proj.0.weight:8,8,1,1", "rwkv-sam", "backbone",
     "backbone_student.", RWKV_SAM_TEXT},
    {RWKV_SAM(""), "rwkv-sam", "backbone", "", RWKV_SAM_TEXT},
    {SAM_VISION("image_encoder.") SAM_DECODER("mask_decoder.") "prompt_encoder.no_mask_embed.weight:1,8", "sam", "", "",
     "image tower: " SAM_VISION_TEXT "; " SAM_DECODER_TEXT},
    {SAM_DECODER("mask_decoder.") "prompt_encoder.no_mask_embed.weight:1,8", "sam", "decoder", "", SAM_DECODER_TEXT},

    {"enc.#3.conv.0.weight:8,3,3,3 enc.0.conv.1.weight:4,8,3,3 enc.0.conv.4.weight:1,1,3,3 dec.0.conv.4.weight:1,1,3,3 "
     "up.0.weight:16,16,2,2 head.weight:2,16,1,1 enc.0.norm.0.running_mean:8",
     "sdunet", "", "", "levels 3, channels 3, width 16, dilated 4, classes 2, batch_norm 1"},
    {"patch_embed.weight:8,1,3,3 output.weight:2,16,3,3 encoder_level1.#4.gamma1:8 "
     "encoder_level1.#4.att.omni_shift.alpha:4 encoder_level1.#4.att.spatial_decay:2,8 "
     "encoder_level1.#4.ffn.key.weight:32,8 encoder_level2.#6.gamma1:16 latent.#5.gamma1:64 "
     "latent.#5.att.omni_shift.alpha:4 refinement.#3.gamma1:16 refinement.#3.att.omni_shift.alpha:4",
     "restore-rwkv", "", "",
     "width 8, channels 1, channels_out 2, hidden 32, recurrences 2, layers_encoder_level1 4, layers_encoder_level2 6, "
     "layers_latent 5, layers_refinement 3"},
    {"pos_embed:1,16,8 patch_embed.proj.weight:8,4,2,2 time_embed.mlp.0.weight:8,256 in_blocks.#2.ln1.weight:8 "
     "in_blocks.#2.att.spatial_decay:8 in_blocks.#2.adaLN_modulation.1.weight:48,8 in_blocks.#2.ffn.key.weight:32,8 "
     "out_blocks.#2.skip_linear.weight:8,16 final_layer.linear.weight:32,8 label_emb.embedding_table.weight:11,8",
     "diffusion-rwkv", "", "", "layers 5, width 8, hidden 32, channels 4, patch 2, grid 4, size 8, classes 10"},
    {POINT "head.8.weight:40,9", "point-rwkv", "cls", "", POINT_TEXT ", classes 40"},
    {POINT "propagation_layers.#3.mlp_convs.0.weight:6,12,1 seg_head.7.weight:50,9,1 cls_embed.0.weight:9,16",
     "point-rwkv", "seg", "", POINT_TEXT ", classes 50, shapes 16"},
    {"encoder_blocks.#2.spatial_mixing.decay_base:6 encoder_blocks.#2.norm1.weight:6 encoder_norm.weight:6 "
     "mask_token:1,1,4 decoder_norm.weight:4 decoder_blocks.#3.norm1.weight:4",
     "point-rwkv", "pretrain", "", "layers 2, width 6, decoder_layers 3, decoder_width 4"},

    {VRWKV6("tower.") "head.weight:10,8 head.bias:10", "image-classifier", "linnet", "",
     "image tower: " VRWKV6_TEXT "; head: classes 10"},
    {"blocks.#3.att.key.lora_A:4,16 blocks.#3.att.key.lora_B:16,4", "rwkv-lora", "", "", "layers 3, width 16, rank 4"},
    {LM6("rwkv.") VRWKV6("vit.image_model.") "proj.weight:8,8 @linnet.image_size=12", "visualrwkv", "linnet", "",
     "language model: " LM6_TEXT "; image tower: " VRWKV6_TEXT "; picture: size 12"},
    {LM7("rwkv.") THREE "proj.gate.weight:32,32 proj.o_proj.weight:8,32 proj.ln_v.weight:8", "visualrwkv", "v7.00", "",
     "language model: " LM7_TEXT THREE_TEXT "; projector: inputs 32"},
    {LM6("rwkv.") THREE "proj.proj.weight:8,64 proj.gate.weight:8,8 proj.o_proj.weight:8,8", "visualrwkv", "v6.13", "",
     "language model: " LM6_TEXT THREE_TEXT "; projector: inputs 64"},
    {LM6("rwkv.") THREE "proj.proj.weight:8,32 proj.gate.weight:8,8 proj.o_proj.weight:8,8", "visualrwkv", "v6.12", "",
     "language model: " LM6_TEXT THREE_TEXT "; projector: inputs 32"},
    {LM6("rwkv.") THREE "proj.weight:8,32", "visualrwkv", "v6.12", "",
     "language model: " LM6_TEXT THREE_TEXT "; projector: inputs 32"},
    {LM6("rwkv.") HF_VISION("vit.vision_model.") "proj.weight:8,12", "visualrwkv", "v6.01", "",
     "language model: " LM6_TEXT "; image tower: " HF_VISION_TEXT "; projector: inputs 12"},
    {LM6("rwkv.") HF_VISION("vit.vision_model.") "proj.weight:8,6", "visualrwkv", "v6.0", "",
     "language model: " LM6_TEXT "; image tower: " HF_VISION_TEXT "; projector: inputs 6"},
    {LM5("rwkv.") HF_VISION("vit.vision_model.") "proj.weight:8,6", "visualrwkv", "v5.1", "",
     "language model: " LM_TEXT ", heads 2, head_size 4; image tower: " HF_VISION_TEXT "; projector: inputs 6"},
    {LM4("rwkv.") HF_VISION("vit.vision_model.") "proj.weight:8,6", "visualrwkv", "v4", "",
     "language model: " LM_TEXT "; image tower: " HF_VISION_TEXT "; projector: inputs 6"},
    {HF_VISION("vit.vision_model.") "proj.weight:8,6", "visualrwkv", "split", "",
     "image tower: " HF_VISION_TEXT "; projector: inputs 6"},
    {"proj.gate.weight:8,6 proj.o_proj.weight:8,8 proj.ln_v.weight:8", "visualrwkv", "projector", "",
     "projector: inputs 6"},
    {LM6("rwkv.") "vit.something.weight:2 proj.weight:8,6", "visualrwkv", "experiment", "", ""},
};
enum { CASES = sizeof cases / sizeof *cases };

static void check(const char *file, const char *prefix, const char *system, const char *version, const char *root,
                  const char *sizes) {
  char *block, text[IDENTITY_TEXT];
  checkpoint *c = make_file(file, prefix, NULL, &block);
  identity id;
  if (!identify(c, &id)) fail_msg("%s %s: %s", system, version, last_error());
  if (strcmp(id.system, system) || strcmp(id.version, version))
    fail_msg("%s %s was taken for %s %s (%s)", system, version, id.system, id.version, id.why);
  assert_string_equal(id.root, root);
  assert_string_equal(identity_text(&id, text), sizes);
  assert_true(strlen(id.title) > 5 && strlen(id.why) > 3 && (!id.refusal || strlen(id.refusal) > 10));
  checkpoint_close(c);
  free(block);
}

static void test_every_system(void **state) {
  (void)state;
  for (int i = 0; i < CASES; i++)
    check(cases[i].file, "", cases[i].system, cases[i].version, cases[i].root, cases[i].sizes);
}

static void test_wrapped_names(void **state) {
  static const char *const prefix[] = {"module.", "_forward_module.", "module._orig_mod."};
  (void)state;
  for (int i = 0; i < CASES; i++)
    check(cases[i].file, prefix[i % 3], cases[i].system, cases[i].version, cases[i].root, cases[i].sizes);
}

static const signature *row_of(const identity *id) {
  const signature *const lists[] = {identity_fusion, identity_vision, identity_lm};
  for (int k = 0; k < 3; k++)
    for (const signature *s = lists[k]; s->system; s++)
      if (s->title == id->title) return s;
  fail_msg("no row is called \"%s\"", id->title);
  return NULL;
}

/* A file that lacks one piece of evidence is not of the same row any more. */
static void test_every_piece_of_evidence_counts(void **state) {
  (void)state;
  int tried = 0;
  for (int i = 0; i < CASES; i++) {
    char *block, *less_block, name[300];
    identity id, other;
    checkpoint *c = make_file(cases[i].file, "", NULL, &block);
    assert_true(identify(c, &id));
    const signature *row = row_of(&id);
    for (int k = 0; k < MOST_EVIDENCE && row->all[k]; k++, tried++) {
      snprintf(name, sizeof name, "%s%s", id.root, row->all[k]);
      checkpoint *less = make_file(cases[i].file, "", name, &less_block);
      assert_true(checkpoint_count(less) < checkpoint_count(c));
      if (identify(less, &other) && other.title == id.title && other.root == id.root)
        fail_msg("%s %s needs no %s", id.system, id.version, name);
      checkpoint_close(less);
      free(less_block);
    }
    checkpoint_close(c);
    free(block);
  }
  assert_true(tried > 200);
}

/* No row goes untested, and none has more roots, evidence or sizes than there is room for. */
static void test_every_row_has_a_case(void **state) {
  const signature *const lists[] = {identity_fusion, identity_vision, identity_lm};
  const char *title[CASES];
  (void)state;
  for (int i = 0; i < CASES; i++) {
    char *block;
    identity id;
    checkpoint *c = make_file(cases[i].file, "", NULL, &block);
    assert_true(identify(c, &id));
    assert_true(id.n_sizes < IDENTITY_SIZES);
    title[i] = id.title;
    checkpoint_close(c);
    free(block);
  }
  for (int k = 0; k < 3; k++)
    for (const signature *s = lists[k]; s->system; s++) {
      int i = 0;
      while (i < CASES && title[i] != s->title) i++;
      if (i == CASES) fail_msg("no case is recognised as \"%s\"", s->title);
      for (int p = 0; p < MOST_PARTS_OF_SYSTEM && s->parts[p].sizes; p++)
        for (int r = 0; r < MOST_ROOTS; r++)
          assert_true(strlen(s->parts[p].root) + (s->roots[r] ? strlen(s->roots[r]) : 0) < 64);
    }
}

/* --- what is not known -------------------------------------------------------------------------------------------- */

static void test_unknown(void **state) {
  static const char *const files[] = {
      "",
      "weight:2",
      /* GPT-2, Llama, a timm ViT, a BERT */
      "wte.weight:16,8 wpe.weight:4,8 h.#2.ln_1.weight:8 h.#2.attn.c_attn.weight:8,24 ln_f.weight:8",
      "model.embed_tokens.weight:16,8 model.layers.#2.self_attn.q_proj.weight:8,8 lm_head.weight:16,8",
      "cls_token:1,1,8 pos_embed:1,5,8 patch_embed.proj.weight:8,3,4,4 blocks.#2.attn.qkv.weight:24,8 norm.weight:8",
      "embeddings.word_embeddings.weight:16,8 encoder.layer.#2.attention.self.query.weight:8,8",
      /* SigLIP has neither the class token nor the misspelt norm of CLIP */
      "vision_model.embeddings.patch_embedding.weight:6,3,7,7 vision_model.embeddings.position_embedding.weight:4,6 "
      "vision_model.encoder.layers.#2.self_attn.q_proj.weight:6,6",
      /* a language model without its head; blocks alone; names that continue what they should end with */
      "emb.weight:16,8 blocks.0.ln0.weight:8 " LM_BLOCKS("") MIX6("", "blocks.#2"),
      LM_BLOCKS("") MIX6("", "blocks.#2"),
      "emb.weight.x:16,8 blocks.x.ln1.weight:8 head.weights:16,8",
      /* another's prefix */
      "student.emb.weight:16,8 student.head.weight:16,8 student.blocks.#2.ln1.weight:8 student.blocks.#2.att.r_k:2,4",
      "@linnet.system=visualrwkv a:1",
  };
  (void)state;
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    char *block;
    checkpoint *c = make_file(files[i], "", NULL, &block);
    identity id;
    if (identify(c, &id)) fail_msg("%s\nwas taken for %s %s", files[i], id.system, id.version);
    assert_int_equal(last_status(), STATUS_UNSUPPORTED);
    assert_non_null(strstr(last_error(), "memory: holds "));
    checkpoint_close(c);
    free(block);
  }
}

/* --- hostile files ------------------------------------------------------------------------------------------------ */

/* Every shape of every case becomes one that no honest file has: same names, no crash, nothing but sane sizes. */
static void test_absurd_shapes(void **state) {
  static const char *const shapes[] = {"",
                                       "0",
                                       "0,0,0,0",
                                       "1,1,1,1,1,1,1,1",
                                       "0,9007199254740992",
                                       "9007199254740992,0",
                                       "2147483648,0,0",
                                       "2147483647,0,1,16777215",
                                       "46341,46341,0,46341",
                                       "0,2147483647,16777215,1"};
  (void)state;
  for (int i = 0; i < CASES; i++)
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
      char file[16384], *copy = strdup(cases[i].file), *rest = NULL, *block;
      size_t n = 0;
      file[0] = 0;
      for (char *item = strtok_r(copy, " ", &rest); item; item = strtok_r(NULL, " ", &rest))
        if (*item != '@')
          n += (size_t)snprintf(file + n, sizeof file - n, "%.*s:%s ", (int)strcspn(item, ":"), item, shapes[k]);
      free(copy);
      assert_true(n < sizeof file);
      checkpoint *c = make_file(file, "", NULL, &block);
      identity id;
      assert_true(identify(c, &id)); /* names are as they were; a version may differ */
      assert_true(!strcmp(id.system, cases[i].system));
      for (int s = 0; s < id.n_sizes; s++) assert_in_range(id.size[s].value, 0, INT32_MAX);
      checkpoint_close(c);
      free(block);
    }
}

static void test_hostile_names(void **state) {
  (void)state;
  char *block, text[IDENTITY_TEXT];
  identity id;
  /* Numbers that no layer has do not make a model of a thousand million layers; '#' in a name stands for itself. */
  checkpoint *c = make_file(LM6("") "blocks.999999999.ln1.weight:8 blocks.99999999999999999999.ln1.weight:8 "
                                    "blocks.5.ln1.weight:8 .:1 ..:1 7:1 1.2.3.4.5.6.7.8.9.10.11.12:1 module.:1",
                            "", NULL, &block);
  assert_true(identify(c, &id));
  assert_string_equal(identity_text(&id, text), "layers 6, width 8, hidden 24, vocabulary 16, heads 2, head_size 4, "
                                                "rank_mix 3, rank_decay 6");
  assert_int_equal(identity_value(&id, "", "heads"), 2);
  assert_int_equal(identity_value(&id, "image tower", "heads"), 0);
  checkpoint_close(c);
  free(block);
  /* Metadata that is no number of pixels. */
  static const char *const number[] = {"-1", "", "0", "12x", "99999999999", "1e3"};
  for (size_t i = 0; i < sizeof number / sizeof *number; i++) {
    char file[8192];
    snprintf(file, sizeof file, "%s proj.weight:8,8 @linnet.image_size=%s", LM6("rwkv.") VRWKV6("vit.image_model."),
             number[i]);
    c = make_file(file, "", NULL, &block);
    assert_true(identify(c, &id));
    assert_int_equal(identity_value(&id, "picture", "size"), 0);
    checkpoint_close(c);
    free(block);
  }
}

/* A hundred thousand tensors whose names differ late, of an unknown and of a known system. */
static void test_very_many_tensors(void **state) {
  (void)state;
  char *block;
  identity id;
  checkpoint *c = make_file("blocks.0.att.time_maa_w1.0.0.0.#100000.weight:", "", NULL, &block);
  assert_int_equal(checkpoint_count(c), 100000);
  assert_false(identify(c, &id));
  checkpoint_close(c);
  free(block);
  c = make_file(LM7("") "blocks.#100000.ln2.weight: blocks.99999.ln1.weight:8", "", NULL, &block);
  assert_true(identify(c, &id));
  assert_string_equal(id.version, "7");
  assert_int_equal(identity_value(&id, "", "layers"), 100000);
  checkpoint_close(c);
  free(block);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_system),
      cmocka_unit_test(test_wrapped_names),
      cmocka_unit_test(test_every_piece_of_evidence_counts),
      cmocka_unit_test(test_every_row_has_a_case),
      cmocka_unit_test(test_unknown),
      cmocka_unit_test(test_absurd_shapes),
      cmocka_unit_test(test_hostile_names),
      cmocka_unit_test(test_very_many_tensors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
