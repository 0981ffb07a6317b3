/* Where text and picture meet. Names and shapes: spec visualrwkv sections 3 and 8, rwkv-clip sections 2 and 11. */
#include "weights/identify_table.h"

static const size_rule hf_image[] = {
    {COUNT("layers", "encoder.layers.#.layer_norm1.weight")},
    {DIM("width", "embeddings.patch_embedding.weight", 0)},
    {DIM("hidden", "encoder.layers.#.mlp.fc1.weight", 0)},
    {DIM("patch", "embeddings.patch_embedding.weight", 2)},
    {SIDE("grid", "embeddings.position_embedding.weight", 0), .plus = -1}, /* the class token's row */
    {DIM("size", "embeddings.patch_embedding.weight", 2), .by = "grid"},
    {0},
};
static const size_rule hf_text[] = {
    {COUNT("layers", "encoder.layers.#.layer_norm1.weight")},
    {DIM("width", "embeddings.token_embedding.weight", 1)},
    {DIM("hidden", "encoder.layers.#.mlp.fc1.weight", 0)},
    {DIM("vocabulary", "embeddings.token_embedding.weight", 0)},
    {DIM("context", "embeddings.position_embedding.weight", 0)},
    {0},
};
static const size_rule hf_both[] = {{DIM("width", "text_projection.weight", 0)}, {0}};
static const size_rule openai_image[] = {
    {COUNT("layers", "transformer.resblocks.#.ln_1.weight")},
    {DIM("width", "conv1.weight", 0)},
    {DIM("hidden", "transformer.resblocks.#.mlp.c_fc.weight", 0)},
    {DIM("patch", "conv1.weight", 2)},
    {SIDE("grid", "positional_embedding", 0), .plus = -1},
    {DIM("size", "conv1.weight", 2), .by = "grid"},
    {0},
};
static const size_rule openai_text[] = {
    {COUNT("layers", "transformer.resblocks.#.ln_1.weight")},
    {DIM("width", "token_embedding.weight", 1)},
    {DIM("hidden", "transformer.resblocks.#.mlp.c_fc.weight", 0)},
    {DIM("vocabulary", "token_embedding.weight", 0)},
    {DIM("context", "positional_embedding", 0)},
    {0},
};
static const size_rule openai_both[] = {{DIM("width", "text_projection", 1)}, {0}};
static const size_rule timm_vit[] = {
    {COUNT("layers", "blocks.#.norm1.weight")},
    {DIM("width", "patch_embed.proj.weight", 0)},
    {DIM("hidden", "blocks.#.mlp.fc1.weight", 0)},
    PATCH_SIZES("patch_embed.proj.weight", "pos_embed"),
    {DIM("registers", "reg_token", 1)},
    {HAS("class_token", "cls_token")},
    {0},
};
static const size_rule linear_projector[] = {{DIM("inputs", "proj.weight", 1)}, {0}};
static const size_rule gated_projector[] = {{DIM("inputs", "proj.proj.weight", 1)}, {0}};
static const size_rule any_projector[] = {
    {DIM("inputs", "proj.proj.weight", 1)}, {DIM("inputs", "proj.gate.weight", 1)}, {0}};
static const size_rule norm_projector[] = {{DIM("inputs", "proj.gate.weight", 1)}, {0}};
static const size_rule own_picture[] = {
    {METADATA("size", "linnet.image_size")},
    {METADATA("grid", "linnet.image_grid")},
    {0},
};

/* v6.01 projects the sequence and its reverse side by side. */
static bool projects_twice(const name_index *names, const char *root) {
  const int64_t width = name_dim(names, root, "vit.vision_model.embeddings.class_embedding", 0);
  return width && name_dim(names, root, "proj.weight", 1) == 2 * width;
}

/* UHD projects the features of the whole picture and of its tiles side by side: DINOv2's, SigLIP's and four pixels of
 * SAM's. */
static bool projects_tiles(const name_index *names, const char *root) {
  const int64_t width = name_dim(names, root, "vit.dino_featurizer.patch_embed.proj.weight", 0) +
                        name_dim(names, root, "vit.siglip_featurizer.patch_embed.proj.weight", 0) +
                        4 * name_dim(names, root, "vit.sam_featurizer.neck.0.weight", 0);
  return width && name_dim(names, root, "proj.proj.weight", 1) == 2 * width;
}

#define THREE_TOWERS                                                                                                   \
  "vit.dino_featurizer.patch_embed.proj.weight", "vit.siglip_featurizer.patch_embed.proj.weight",                      \
      "vit.sam_featurizer.neck.0.weight"
#define THREE_TOWER_PARTS                                                                                              \
  {"DINOv2 tower", "vit.dino_featurizer.", timm_vit}, {"SigLIP tower", "vit.siglip_featurizer.", timm_vit}, {          \
    "SAM tower", "vit.sam_featurizer.", sizes_sam_image                                                                \
  }
#define CLIP_TOWER                                                                                                     \
  { "image tower", "vit.vision_model.", hf_image }
#define LINEAR_PROJECTOR                                                                                               \
  { "projector", "", linear_projector }
#define CLIP_TOWER_NAME "vit.vision_model.embeddings.class_embedding"

const signature identity_fusion[] = {
    {"visualrwkv", "linnet", "Linnet captioner: VisualRWKV with RWKV-CLIP's image tower and RWKV-6",
     "vit.image_model with RWKV-6's rwkv names and a projector",
     .all = {"rwkv.blocks.#.att.time_faaaa", "vit.image_model.layers.#.att.time_faaaa",
             "vit.image_model.patch_embed.projection.weight", "proj.weight"},
     .parts = {{"language model", "rwkv.", sizes_lm6},
               {"image tower", "vit.image_model.", sizes_vrwkv6},
               {"picture", "", own_picture}}},
    {"visualrwkv", "v7.00", "VisualRWKV v7.00: three image towers and RWKV-7", "att.r_k, three towers, proj.ln_v",
     .all = {"rwkv.blocks.#.att.r_k", THREE_TOWERS, "proj.gate.weight", "proj.ln_v.weight"},
     .parts = {{"language model", "rwkv.", sizes_lm7}, THREE_TOWER_PARTS, {"projector", "", norm_projector}}},
    {"visualrwkv", "v6.13", "VisualRWKV-UHD (v6.13): three image towers on the picture and its tiles, RWKV-6",
     "three towers, whose features proj.proj takes twice",
     .all = {"rwkv.blocks.#.att.time_faaaa", THREE_TOWERS, "proj.proj.weight", "proj.o_proj.weight"},
     .fits = projects_tiles,
     .parts = {{"language model", "rwkv.", sizes_lm6}, THREE_TOWER_PARTS, {"projector", "", gated_projector}}},
    {"visualrwkv", "v6.12", "VisualRWKV-HD (v6.12): three image towers and RWKV-6",
     "three towers, proj.proj and proj.gate",
     .all = {"rwkv.blocks.#.att.time_faaaa", THREE_TOWERS, "proj.proj.weight", "proj.o_proj.weight"},
     .parts = {{"language model", "rwkv.", sizes_lm6}, THREE_TOWER_PARTS, {"projector", "", gated_projector}}},
    {"visualrwkv", "v6.12", "VisualRWKV-HD (v6.12) with a linear projector: three image towers and RWKV-6",
     "three towers, one proj.weight", .all = {"rwkv.blocks.#.att.time_faaaa", THREE_TOWERS, "proj.weight"},
     .parts = {{"language model", "rwkv.", sizes_lm6}, THREE_TOWER_PARTS, LINEAR_PROJECTOR}},
    {"visualrwkv", "v6.01", "VisualRWKV v6.01: CLIP image tower and RWKV-6, scanned in four directions",
     "time_maa names, a CLIP tower, whose features proj takes twice",
     .all = {"rwkv.blocks.#.att.time_maa_w1", "rwkv.blocks.#.att.time_faaaa", CLIP_TOWER_NAME, "proj.weight"},
     .fits = projects_twice, .parts = {{"language model", "rwkv.", sizes_lm6}, CLIP_TOWER, LINEAR_PROJECTOR}},
    {"visualrwkv", "v6.0", "VisualRWKV v6.0: CLIP image tower and RWKV-6",
     "time_maa names, a CLIP tower, one proj.weight",
     .all = {"rwkv.blocks.#.att.time_maa_w1", "rwkv.blocks.#.att.time_faaaa", CLIP_TOWER_NAME, "proj.weight"},
     .parts = {{"language model", "rwkv.", sizes_lm6}, CLIP_TOWER, LINEAR_PROJECTOR}},
    {"visualrwkv", "v5.1", "VisualRWKV v5.1: CLIP image tower and RWKV-5",
     "time_mix_g and ln_x, a CLIP tower, one proj.weight",
     .all = {"rwkv.blocks.#.att.time_mix_g", "rwkv.blocks.#.att.ln_x.weight", CLIP_TOWER_NAME, "proj.weight"},
     .parts = {{"language model", "rwkv.", sizes_lm5}, CLIP_TOWER, LINEAR_PROJECTOR}},
    {"visualrwkv", "v4", "VisualRWKV v4: CLIP image tower and RWKV-4", "time_first without ln_x, a CLIP tower",
     "is an experiment that was never released",
     .all = {"rwkv.blocks.#.att.time_first", CLIP_TOWER_NAME, "proj.weight"}, .none = {"rwkv.blocks.#.att.ln_x.weight"},
     .parts = {{"language model", "rwkv.", sizes_lm4}, CLIP_TOWER, LINEAR_PROJECTOR}},
    {"visualrwkv", "split", "visual half of a VisualRWKV that was split in two files",
     "a CLIP tower and one proj.weight, no rwkv names",
     "holds only the image tower and the projector: the language model is in the file that goes with it",
     .all = {CLIP_TOWER_NAME, "proj.weight"}, .none = {"rwkv.emb.weight"}, .parts = {CLIP_TOWER, LINEAR_PROJECTOR}},
    {"visualrwkv", "projector", "projectors of VisualRWKV, without what they join",
     "proj.gate and proj.o_proj, no tower and no language model", .roots = {"", "hd.", "v7."},
     .all = {"proj.gate.weight", "proj.o_proj.weight"}, .none = {"rwkv.emb.weight"},
     .parts = {{"projector", "", any_projector}}},
    {"visualrwkv", "experiment", "VisualRWKV of a version without a release", "rwkv names, a projector, unknown towers",
     "is a version of VisualRWKV that was never released", .all = {"rwkv.emb.weight", "rwkv.blocks.#.ln1.weight"},
     .any = {"proj.weight", "proj.proj.weight", "proj.o_proj.weight"}},
    {"rwkv-clip", "", "RWKV-CLIP: image tower and text tower",
     "text_model.blocks and image_model.layers with time_faaaa",
     .all = {"logit_scale", "text_model.emb.weight", "text_model.blocks.#.att.time_faaaa",
             "image_model.layers.#.att.time_faaaa", "image_model.patch_embed.projection.weight"},
     .parts = {{"image tower", "image_model.", sizes_vrwkv6}, {"text tower", "text_model.", sizes_lm6}}},
    {"rwkv-clip", "image", "image tower of RWKV-CLIP", "image_model.layers with time_faaaa, no text_model",
     .roots = {"image_model.", "vit.image_model."},
     .all = {"layers.#.att.time_faaaa", "patch_embed.projection.weight", "layers.#.ffn.spatial_mix_k"},
     .parts = {{"", "", sizes_vrwkv6}}},
    {"rwkv-clip", "text", "text tower of RWKV-CLIP", "text_model.blocks with time_faaaa, no image_model",
     .roots = {"text_model."}, .all = {"emb.weight", "blocks.#.att.time_faaaa", "ln_out.weight"},
     .parts = {{"", "", sizes_lm6}}},
    {"clip", "openai", "CLIP in the layout of OpenAI and OpenCLIP",
     "visual.transformer.resblocks and transformer.resblocks",
     .all = {"visual.conv1.weight", "visual.class_embedding", "visual.transformer.resblocks.#.ln_1.weight",
             "transformer.resblocks.#.ln_1.weight", "token_embedding.weight", "text_projection", "visual.proj"},
     .parts = {{"image tower", "visual.", openai_image},
               {"text tower", "", openai_text},
               {"embedding", "", openai_both}}},
    {"clip", "resnet", "CLIP with a ResNet image tower, in the layout of OpenAI",
     "visual.layer1 and transformer.resblocks", "has a ResNet for an image tower: only the ViT models run here",
     .all = {"visual.layer1.0.conv1.weight", "transformer.resblocks.#.ln_1.weight", "token_embedding.weight",
             "text_projection"},
     .parts = {{"text tower", "", openai_text}, {"embedding", "", openai_both}}},
    {"clip", "huggingface", "CLIP in the layout of Hugging Face", "vision_model.encoder and text_model.encoder",
     .all = {"vision_model.embeddings.class_embedding", "vision_model.pre_layrnorm.weight",
             "vision_model.encoder.layers.#.self_attn.q_proj.weight", "text_model.embeddings.token_embedding.weight",
             "text_model.encoder.layers.#.self_attn.q_proj.weight", "visual_projection.weight",
             "text_projection.weight"},
     .parts = {{"image tower", "vision_model.", hf_image},
               {"text tower", "text_model.", hf_text},
               {"embedding", "", hf_both}}},
    {"clip", "huggingface-image", "image tower of CLIP in the layout of Hugging Face",
     "vision_model.encoder and the class token, no text_model",
     .all = {"vision_model.embeddings.class_embedding", "vision_model.pre_layrnorm.weight",
             "vision_model.encoder.layers.#.self_attn.q_proj.weight"},
     .none = {"text_model.embeddings.token_embedding.weight"}, .parts = {{"", "vision_model.", hf_image}}},
    {0},
};
