/* The table of llama.cpp's RWKV tensors, and the scaling that both directions need. Facts: llama.cpp's conversion of
 * RWKV-6 and RWKV-7 models and its loader for them; official shapes: spec language-models section 2. */
#include "weights/llama_layout.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/half.h"
#include "weights/llama_layout_rows.h"

const llama_row llama_outer[] = {
    {"emb.weight", "token_embd.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"blocks.0.ln0.weight", "token_embd_norm.weight", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"blocks.0.ln0.bias", "token_embd_norm.bias", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"ln_out.weight", "output_norm.weight", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"ln_out.bias", "output_norm.bias", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"head.weight", "output.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
};
const size_t llama_outer_count = sizeof llama_outer / sizeof *llama_outer;

#define FUSED "time_mix_lerp_fused.weight"

static const llama_row rwkv6_rows[] = {
    {"ln1.weight", "attn_norm.weight", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"ln1.bias", "attn_norm.bias", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"ln2.weight", "attn_norm_2.weight", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"ln2.bias", "attn_norm_2.bias", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"att.time_maa_x", "time_mix_lerp_x.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, false},
    {"att.time_maa_w", FUSED, LLAMA_FUSED, LLAMA_F32, 0, NULL, false},
    {"att.time_maa_k", FUSED, LLAMA_FUSED, LLAMA_F32, 1, NULL, false},
    {"att.time_maa_v", FUSED, LLAMA_FUSED, LLAMA_F32, 2, NULL, false},
    {"att.time_maa_r", FUSED, LLAMA_FUSED, LLAMA_F32, 3, NULL, false},
    {"att.time_maa_g", FUSED, LLAMA_FUSED, LLAMA_F32, 4, NULL, false},
    {"att.time_maa_w", "time_mix_lerp_w.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, true},
    {"att.time_maa_k", "time_mix_lerp_k.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, true},
    {"att.time_maa_v", "time_mix_lerp_v.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, true},
    {"att.time_maa_r", "time_mix_lerp_r.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, true},
    {"att.time_maa_g", "time_mix_lerp_g.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, true},
    {"att.time_maa_w1", "time_mix_w1.weight", LLAMA_TRANSPOSED, LLAMA_F32, 0, NULL, false},
    {"att.time_maa_w2", "time_mix_w2.weight", LLAMA_TRANSPOSED, LLAMA_F32, 0, NULL, false},
    {"att.time_decay", "time_mix_decay.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, false},
    {"att.time_decay_w1", "time_mix_decay_w1.weight", LLAMA_TRANSPOSED, LLAMA_F32, 0, NULL, false},
    {"att.time_decay_w2", "time_mix_decay_w2.weight", LLAMA_TRANSPOSED, LLAMA_F32, 0, NULL, false},
    {"att.time_faaaa", "time_mix_first.weight", LLAMA_HEADS, LLAMA_F32, 0, NULL, false},
    {"att.receptance.weight", "time_mix_receptance.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"att.key.weight", "time_mix_key.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"att.value.weight", "time_mix_value.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"att.gate.weight", "time_mix_gate.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"att.output.weight", "time_mix_output.weight", LLAMA_DIVIDED, LLAMA_ANY, 0, NULL, false},
    {"att.ln_x.weight", "time_mix_ln.weight", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"att.ln_x.bias", "time_mix_ln.bias", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"ffn.time_maa_k", "channel_mix_lerp_k.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, false},
    {"ffn.time_maa_r", "channel_mix_lerp_r.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, false},
    {"ffn.key.weight", "channel_mix_key.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"ffn.receptance.weight", "channel_mix_receptance.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"ffn.value.weight", "channel_mix_value.weight", LLAMA_DIVIDED, LLAMA_ANY, 0, NULL, false},
};

static const llama_row rwkv7_rows[] = {
    {"ln1.weight", "attn_norm.weight", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"ln1.bias", "attn_norm.bias", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"ln2.weight", "attn_norm_2.weight", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"ln2.bias", "attn_norm_2.bias", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"att.x_r", FUSED, LLAMA_FUSED, LLAMA_F32, 0, NULL, false},
    {"att.x_w", FUSED, LLAMA_FUSED, LLAMA_F32, 1, NULL, false},
    {"att.x_k", FUSED, LLAMA_FUSED, LLAMA_F32, 2, NULL, false},
    {"att.x_v", FUSED, LLAMA_FUSED, LLAMA_F32, 3, NULL, false},
    {"att.x_a", FUSED, LLAMA_FUSED, LLAMA_F32, 4, NULL, false},
    {"att.x_g", FUSED, LLAMA_FUSED, LLAMA_F32, 5, NULL, false},
    {"att.w0", "time_mix_w0.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, false},
    {"att.w1", "time_mix_w1.weight", LLAMA_TRANSPOSED, LLAMA_F32, 0, NULL, false},
    {"att.w2", "time_mix_w2.weight", LLAMA_TRANSPOSED, LLAMA_F32, 0, NULL, false},
    {"att.a0", "time_mix_a0.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, false},
    {"att.a1", "time_mix_a1.weight", LLAMA_TRANSPOSED, LLAMA_FLOAT, 0, NULL, false},
    {"att.a2", "time_mix_a2.weight", LLAMA_TRANSPOSED, LLAMA_FLOAT, 0, NULL, false},
    {"att.v0", "time_mix_v0.weight", LLAMA_VECTOR, LLAMA_F32, 0, "att.a0", false},
    {"att.v1", "time_mix_v1.weight", LLAMA_TRANSPOSED, LLAMA_FLOAT, 0, "att.a1", false},
    {"att.v2", "time_mix_v2.weight", LLAMA_TRANSPOSED, LLAMA_FLOAT, 0, "att.a2", false},
    {"att.g1", "time_mix_g1.weight", LLAMA_TRANSPOSED, LLAMA_FLOAT, 0, NULL, false},
    {"att.g2", "time_mix_g2.weight", LLAMA_TRANSPOSED, LLAMA_FLOAT, 0, NULL, false},
    {"att.k_k", "time_mix_k_k.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, false},
    {"att.k_a", "time_mix_k_a.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, false},
    {"att.r_k", "time_mix_r_k.weight", LLAMA_HEADS_FLAT, LLAMA_F32, 0, NULL, false},
    {"att.receptance.weight", "time_mix_receptance.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"att.key.weight", "time_mix_key.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"att.value.weight", "time_mix_value.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"att.output.weight", "time_mix_output.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"att.ln_x.weight", "time_mix_ln.weight", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"att.ln_x.bias", "time_mix_ln.bias", LLAMA_SAME, LLAMA_F32, 0, NULL, false},
    {"ffn.x_k", "channel_mix_lerp_k.weight", LLAMA_VECTOR, LLAMA_F32, 0, NULL, false},
    {"ffn.key.weight", "channel_mix_key.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
    {"ffn.value.weight", "channel_mix_value.weight", LLAMA_SAME, LLAMA_ANY, 0, NULL, false},
};

const llama_layout llama_layouts[] = {
    {"rwkv6", "blocks.0.att.time_maa_w1", rwkv6_rows, sizeof rwkv6_rows / sizeof *rwkv6_rows, 5},
    {"rwkv7", "blocks.0.att.r_k", rwkv7_rows, sizeof rwkv7_rows / sizeof *rwkv7_rows, 6},
};
const size_t llama_layout_count = sizeof llama_layouts / sizeof *llama_layouts;

const char *llama_key(const llama_layout *layout, const char *what, char *buffer) {
  snprintf(buffer, LLAMA_KEY, "%s.%s", layout->architecture, what);
  return buffer;
}

/* Where the F16 factors of a type's unit lie: its one number, or the scales (and minima) of a block (ggml's formats,
 * kernels/quant.h). */
static const struct {
  uint8_t count, at[2];
} factors[CHECKPOINT_DTYPES] = {
    [CHECKPOINT_F16] = {1, {0, 0}},  [CHECKPOINT_Q8_0] = {1, {0, 0}}, [CHECKPOINT_Q4_0] = {1, {0, 0}},
    [CHECKPOINT_Q4_1] = {2, {0, 2}}, [CHECKPOINT_Q5_0] = {1, {0, 0}}, [CHECKPOINT_Q5_1] = {2, {0, 2}},
    [CHECKPOINT_Q4_K] = {2, {0, 2}}, [CHECKPOINT_Q5_K] = {2, {0, 2}}, [CHECKPOINT_Q6_K] = {1, {208, 0}},
};

/* One number of a 16-bit or 32-bit type. */
static bool scale_number(checkpoint_dtype dtype, uint8_t *at, int exponent) {
  uint16_t half;
  float value, scaled;
  memcpy(&half, at, 2);
  if (dtype == CHECKPOINT_F32)
    memcpy(&value, at, 4);
  else
    value = dtype == CHECKPOINT_BF16 ? bf16_to_f32(half) : f16_to_f32(half);
  scaled = ldexpf(value, exponent);
  if (dtype == CHECKPOINT_F32) {
    memcpy(at, &scaled, 4);
  } else {
    half = dtype == CHECKPOINT_BF16 ? f32_to_bf16(scaled) : f32_to_f16(scaled);
    memcpy(at, &half, 2);
    scaled = dtype == CHECKPOINT_BF16 ? bf16_to_f32(half) : f16_to_f32(half);
  }
  return isfinite(scaled) || !isfinite(value);
}

bool llama_scales(checkpoint_dtype dtype) {
  return dtype == CHECKPOINT_F32 || dtype == CHECKPOINT_BF16 || factors[dtype].count > 0;
}

bool llama_scale(checkpoint_dtype dtype, void *values, size_t bytes, int exponent) {
  const size_t unit = checkpoint_dtype_size(dtype);
  const bool half = factors[dtype].count > 0;
  bool finite = true;
  for (uint8_t *at = values, *end = at + bytes; at < end; at += unit)
    for (int i = 0; i < (half ? factors[dtype].count : 1); i++)
      finite &= scale_number(half ? CHECKPOINT_F16 : dtype, at + factors[dtype].at[i], exponent);
  return finite;
}
