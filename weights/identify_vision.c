/* Models of pictures and points. Names and shapes: spec vision-rwkv sections 6 and 9, rwkv-sam 2, restore-rwkv 2,
 * diffusion-rwkv 2, segmentation-cnn 1.8, pointrwkv 2. */
#include "weights/identify_table.h"

/* clang-format off */
#define VRWKV_SIZES                                      \
  {COUNT("layers", "layers.#.ln1.weight")},              \
  {DIM("width", "patch_embed.projection.weight", 0)},    \
  {DIM("hidden", "layers.#.ffn.key.weight", 0)},         \
  PATCH_SIZES("patch_embed.projection.weight", "pos_embed"), \
  {HAS("layer_scale", "layers.#.gamma1")},               \
  {HAS("key_norm", "layers.#.att.key_norm.weight")}
/* clang-format on */

static const size_rule vrwkv[] = {VRWKV_SIZES, {0}};
const size_rule sizes_vrwkv6[] = {VRWKV_SIZES, WKV6_SIZES("layers.#"), {HAS("class_token", "cls_token")}, {0}};
static const size_rule vrwkv_head[] = {
    {DIM("classes", "head.fc.weight", 0)},
    {DIM("classes", "head.2.weight", 0)},
    {DIM("head_hidden", "head.0.weight", 0)},
    {0},
};
static const size_rule own_head[] = {{DIM("classes", "head.weight", 0)}, {0}};
static const size_rule vrwkv_mae[] = {
    {COUNT("layers", "blocks.#.ln1.weight")},
    {DIM("width", "decoder_embed.weight", 1)},
    {COUNT("decoder_layers", "decoder_blocks.#.ln1.weight")},
    {DIM("decoder_width", "decoder_embed.weight", 0)},
    {0},
};
static const size_rule adapter[] = {
    {DIM("width", "spm.stem.0.weight", 0)},
    {COUNT("interactions", "interactions.#.injector.gamma")},
    {0},
};
static const size_rule uper_head[] = {
    {DIM("width", "decode_head.conv_seg.weight", 1)},
    {DIM("classes", "decode_head.conv_seg.weight", 0)},
    {DIM("auxiliary_width", "auxiliary_head.conv_seg.weight", 1)},
    {0},
};

#define RESTORE_BLOCKS(group)                                                                                          \
  { COUNT("layers_" group, group ".#.gamma1") }
static const size_rule restore[] = {
    {DIM("width", "patch_embed.weight", 0)},
    {DIM("channels", "patch_embed.weight", 1)},
    {DIM("channels_out", "output.weight", 0)},
    {DIM("hidden", "encoder_level1.#.ffn.key.weight", 0)},
    {DIM("recurrences", "encoder_level1.#.att.spatial_decay", 0)},
    RESTORE_BLOCKS("encoder_level1"),
    RESTORE_BLOCKS("encoder_level2"),
    RESTORE_BLOCKS("encoder_level3"),
    RESTORE_BLOCKS("latent"),
    RESTORE_BLOCKS("decoder_level3"),
    RESTORE_BLOCKS("decoder_level2"),
    RESTORE_BLOCKS("decoder_level1"),
    RESTORE_BLOCKS("refinement"),
    {0},
};
static const size_rule diffusion[] = {
    {COUNT("layers", "in_blocks.#.ln1.weight"), .times = 2, .plus = 1}, /* down, one in the middle, up */
    {DIM("width", "patch_embed.proj.weight", 0)},
    {DIM("hidden", "in_blocks.#.ffn.key.weight", 0)},
    {DIM("channels", "patch_embed.proj.weight", 1)},
    PATCH_SIZES("patch_embed.proj.weight", "pos_embed"),
    {DIM("classes", "label_emb.embedding_table.weight", 0), .plus = -1}, /* one row is "no class" */
    {0},
};
const size_rule sizes_sam_image[] = {
    {COUNT("layers", "blocks.#.norm1.weight")},
    {DIM("width", "patch_embed.proj.weight", 0)},
    {DIM("hidden", "blocks.#.mlp.lin1.weight", 0)},
    {DIM("head_size", "blocks.#.attn.rel_pos_h", 1)},
    {DIM("heads", "patch_embed.proj.weight", 0), .per = "head_size"},
    {DIM("patch", "patch_embed.proj.weight", 2)},
    {DIM("grid", "pos_embed", 1)},
    {DIM("size", "patch_embed.proj.weight", 2), .by = "grid"},
    {DIM("window", "blocks.0.attn.rel_pos_h", 0), .plus = 1, .over = 2}, /* a table of 2n - 1 offsets */
    {DIM("neck", "neck.0.weight", 0)},
    {0},
};
static const size_rule sam_decoder[] = {
    {COUNT("layers", "transformer.layers.#.norm1.weight")},
    {DIM("width", "mask_tokens.weight", 1)},
    {DIM("hidden", "transformer.layers.#.mlp.lin1.weight", 0)},
    {DIM("masks", "mask_tokens.weight", 0)},
    {0},
};
static const size_rule rwkv_sam_image[] = {
    {COUNT("layers", "layers.#.layer_scale_1")},
    {DIM("width", "conv_final_pool.proj.weight", 0)},
    {DIM("hidden", "layers.#.mlp.key.weight", 0)},
    {DIM("width_stem", "stem.conv1.weight", 0)},
    {DIM("width_stride4", "conv_stages.0.#.conv3_1x1.weight", 0)},
    {COUNT("layers_stride4", "conv_stages.0.#.conv3_1x1.weight")},
    {DIM("width_stride8", "conv_stages.1.#.conv3_1x1.weight", 0)},
    {COUNT("layers_stride8", "conv_stages.1.#.conv3_1x1.weight")},
    {SIDE("grid", "pos_embed", 1)},
    {HAS("position", "pos_embed")},
    {0},
};
static const size_rule rwkv_sam_neck[] = {{DIM("width", "out_proj.0.weight", 0)}, {0}};
static const size_rule sdunet[] = {
    {COUNT("levels", "enc.#.conv.0.weight")},
    {DIM("channels", "enc.0.conv.0.weight", 1)},
    {DIM("width", "enc.0.conv.0.weight", 0), .times = 2}, /* the first convolution makes half of a level */
    {COUNT("dilated", "enc.0.conv.#.weight"), .plus = -1},
    {DIM("classes", "head.weight", 0)},
    {HAS("batch_norm", "enc.0.norm.0.running_mean")},
    {0},
};
static const size_rule point[] = {
    {COUNT("scales", "norms.#.weight")},
    {COUNT("layers_1", "blocks.0.#.norm1.weight")},
    {COUNT("layers_2", "blocks.1.#.norm1.weight")},
    {COUNT("layers_3", "blocks.2.#.norm1.weight")},
    {DIM("width", "norms.#.weight", 0)},
    {DIM("hidden", "blocks.0.0.channel_mixing.key_proj.weight", 0)},
    {DIM("heads", "blocks.0.0.spatial_mixing.u", 0)},
    {DIM("head_size", "blocks.0.0.spatial_mixing.u", 1)},
    {COUNT("graph_steps", "blocks.0.0.lgm.graph_stabilizer.edge_mlps.#.0.weight")},
    {0},
};
static const size_rule point_cls_head[] = {{DIM("classes", "head.8.weight", 0)}, {0}};
static const size_rule point_seg_head[] = {
    {DIM("classes", "seg_head.7.weight", 0)},
    {DIM("shapes", "cls_embed.0.weight", 1)},
    {0},
};
static const size_rule point_pretrain[] = {
    {COUNT("layers", "encoder_blocks.#.norm1.weight")},
    {DIM("width", "encoder_norm.weight", 0)},
    {COUNT("decoder_layers", "decoder_blocks.#.norm1.weight")},
    {DIM("decoder_width", "decoder_norm.weight", 0)},
    {0},
};

const signature identity_vision[] = {
    {"image-classifier", "linnet", "Linnet classifier: RWKV-CLIP's image tower and a linear head",
     "tower with att.time_faaaa, and head",
     .all = {"tower.patch_embed.projection.weight", "tower.layers.#.att.time_faaaa", "tower.layers.#.ffn.spatial_mix_k",
             "head.weight"},
     .parts = {{"image tower", "tower.", sizes_vrwkv6}, {"head", "", own_head}}},
    {"rwkv-sam", "", "RWKV-SAM: image tower, prompt encoder and mask decoder",
     "hr_feat_proj beside SAM's decoder, attn.spatial_decay",
     .all = {"backbone.stem.conv1.weight", "backbone.layers.#.attn.spatial_decay", "neck.out_proj.0.weight",
             "mask_decoder.hr_feat_proj.0.weight", "mask_decoder.mask_decoder.mask_tokens.weight"},
     .parts = {{"image tower", "backbone.", rwkv_sam_image},
               {"neck", "neck.", rwkv_sam_neck},
               {"mask decoder", "mask_decoder.mask_decoder.", sam_decoder}}},
    {"rwkv-sam", "backbone", "image tower of RWKV-SAM", "conv_stages and attn.spatial_decay, no decoder",
     .roots = {"backbone.", "backbone_student.", ""},
     .all = {"stem.conv1.weight", "conv_final_pool.proj.weight", "layers.#.attn.spatial_decay",
             "layers.#.layer_scale_1"},
     .parts = {{"", "", rwkv_sam_image}}},
    {"sam", "", "SAM: image tower, prompt encoder and mask decoder", "image_encoder with rel_pos_h, SAM's decoder",
     .all = {"image_encoder.patch_embed.proj.weight", "image_encoder.blocks.#.attn.rel_pos_h",
             "prompt_encoder.no_mask_embed.weight", "mask_decoder.mask_tokens.weight"},
     .parts = {{"image tower", "image_encoder.", sizes_sam_image}, {"mask decoder", "mask_decoder.", sam_decoder}}},
    {"sam", "decoder", "prompt encoder and mask decoder of SAM", "SAM's decoder, no image_encoder",
     .all = {"prompt_encoder.no_mask_embed.weight", "mask_decoder.mask_tokens.weight",
             "mask_decoder.transformer.layers.#.norm1.weight"},
     .none = {"image_encoder.patch_embed.proj.weight"}, .parts = {{"mask decoder", "mask_decoder.", sam_decoder}}},
    {"vrwkv-upernet", "", "Vision-RWKV with adapter and UperNet, for semantic segmentation",
     "backbone.interactions and decode_head",
     .all = {"backbone.layers.#.att.spatial_decay", "backbone.interactions.#.injector.gamma",
             "decode_head.conv_seg.weight", "decode_head.psp_modules.#.1.conv.weight"},
     .parts = {{"image tower", "backbone.", vrwkv}, {"adapter", "backbone.", adapter}, {"head", "", uper_head}}},
    {"vrwkv-maskrcnn", "", "Vision-RWKV with adapter and Mask R-CNN, for detection",
     "backbone.interactions and rpn_head", "is a detector: Mask R-CNN does not run here",
     .all = {"backbone.layers.#.att.spatial_decay", "backbone.interactions.#.injector.gamma",
             "rpn_head.rpn_conv.weight"},
     .parts = {{"image tower", "backbone.", vrwkv}, {"adapter", "backbone.", adapter}}},
    {"vrwkv", "mae", "Vision-RWKV in masked pre-training", "decoder_blocks and mask_token with spatial_decay",
     "is a pre-training checkpoint, without a head",
     .all = {"blocks.#.att.spatial_decay", "decoder_blocks.#.att.spatial_decay", "mask_token", "decoder_embed.weight"},
     .parts = {{"", "", vrwkv_mae}}},
    {"vrwkv", "", "Vision-RWKV (VRWKV)", "layers with att.spatial_decay and patch_embed.projection",
     .roots = {"backbone.", ""},
     .all = {"patch_embed.projection.weight", "layers.#.att.spatial_decay", "layers.#.att.spatial_first",
             "layers.#.att.spatial_mix_k", "layers.#.ffn.spatial_mix_k"},
     .none = {"interactions.#.injector.gamma"}, .parts = {{"", "", vrwkv}, {"", "/", vrwkv_head}}},
    {"vrwkv6", "", "Vision-RWKV6 (VRWKV6)", "layers with att.time_faaaa and ffn.spatial_mix_k",
     .roots = {"backbone.", ""},
     .all = {"patch_embed.projection.weight", "layers.#.att.time_faaaa", "layers.#.att.time_maa_w1",
             "layers.#.ffn.spatial_mix_k"},
     .parts = {{"", "", sizes_vrwkv6}, {"", "/", vrwkv_head}}},
    {"restore-rwkv", "", "Restore-RWKV, for restoring medical pictures",
     "encoder_level1 and latent blocks with omni_shift",
     .all = {"patch_embed.weight", "encoder_level1.#.att.omni_shift.alpha", "latent.#.att.omni_shift.alpha",
             "refinement.#.att.omni_shift.alpha", "output.weight"},
     .parts = {{"", "", restore}}},
    {"diffusion-rwkv", "", "Diffusion-RWKV, for generating pictures",
     "in_blocks with att.spatial_decay and adaLN_modulation",
     .all = {"in_blocks.#.att.spatial_decay", "in_blocks.#.adaLN_modulation.1.weight",
             "out_blocks.#.skip_linear.weight", "time_embed.mlp.0.weight", "final_layer.linear.weight"},
     .parts = {{"", "", diffusion}}},
    {"sdunet", "", "SDU-Net, for segmentation", "enc, up and dec of five chained convolutions each",
     .all = {"enc.0.conv.0.weight", "enc.0.conv.4.weight", "dec.0.conv.4.weight", "up.0.weight", "head.weight"},
     .parts = {{"", "", sdunet}}},
    {"point-rwkv", "cls", "PointRWKV, classifier of point clouds", "graph_stabilizer and a head of three layers",
     .all = {"backbone.blocks.0.0.spatial_mixing.decay_base",
             "backbone.blocks.0.0.lgm.graph_stabilizer.offset_pred.0.weight", "backbone.norms.#.weight",
             "head.8.weight"},
     .parts = {{"", "backbone.", point}, {"", "", point_cls_head}}},
    {"point-rwkv", "seg", "PointRWKV, part segmentation of point clouds",
     "graph_stabilizer, propagation_layers and seg_head",
     .all = {"backbone.blocks.0.0.spatial_mixing.decay_base",
             "backbone.blocks.0.0.lgm.graph_stabilizer.offset_pred.0.weight", "backbone.norms.#.weight",
             "propagation_layers.#.mlp_convs.0.weight", "seg_head.7.weight"},
     .parts = {{"", "backbone.", point}, {"", "", point_seg_head}}},
    {"point-rwkv", "pretrain", "PointRWKV in masked pre-training", "encoder_blocks with spatial_mixing, mask_token",
     "is a pre-training checkpoint, without a head",
     .all = {"encoder_blocks.#.spatial_mixing.decay_base", "encoder_norm.weight", "mask_token", "decoder_norm.weight"},
     .parts = {{"", "", point_pretrain}}},
    {0},
};
