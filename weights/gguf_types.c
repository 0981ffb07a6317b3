/* ggml's numbers of tensor types (enum ggml_type), also of those that are gone or that this library does not read. */
#include "weights/gguf_format.h"

#define NOT_READ CHECKPOINT_DTYPES

static const struct {
  const char *name;
  checkpoint_dtype dtype;
} types[] = {
    [0] = {"F32", CHECKPOINT_F32},    [1] = {"F16", CHECKPOINT_F16},    [2] = {"Q4_0", CHECKPOINT_Q4_0},
    [3] = {"Q4_1", CHECKPOINT_Q4_1},  [4] = {"Q4_2", NOT_READ},         [5] = {"Q4_3", NOT_READ},
    [6] = {"Q5_0", CHECKPOINT_Q5_0},  [7] = {"Q5_1", CHECKPOINT_Q5_1},  [8] = {"Q8_0", CHECKPOINT_Q8_0},
    [9] = {"Q8_1", NOT_READ},         [10] = {"Q2_K", NOT_READ},        [11] = {"Q3_K", NOT_READ},
    [12] = {"Q4_K", CHECKPOINT_Q4_K}, [13] = {"Q5_K", CHECKPOINT_Q5_K}, [14] = {"Q6_K", CHECKPOINT_Q6_K},
    [15] = {"Q8_K", NOT_READ},        [16] = {"IQ2_XXS", NOT_READ},     [17] = {"IQ2_XS", NOT_READ},
    [18] = {"IQ3_XXS", NOT_READ},     [19] = {"IQ1_S", NOT_READ},       [20] = {"IQ4_NL", NOT_READ},
    [21] = {"IQ3_S", NOT_READ},       [22] = {"IQ2_S", NOT_READ},       [23] = {"IQ4_XS", NOT_READ},
    [24] = {"I8", CHECKPOINT_I8},     [25] = {"I16", CHECKPOINT_I16},   [26] = {"I32", CHECKPOINT_I32},
    [27] = {"I64", CHECKPOINT_I64},   [28] = {"F64", CHECKPOINT_F64},   [29] = {"IQ1_M", NOT_READ},
    [30] = {"BF16", CHECKPOINT_BF16}, [31] = {"Q4_0_4_4", NOT_READ},    [32] = {"Q4_0_4_8", NOT_READ},
    [33] = {"Q4_0_8_8", NOT_READ},    [34] = {"TQ1_0", NOT_READ},       [35] = {"TQ2_0", NOT_READ},
    [36] = {"IQ4_NL_4_4", NOT_READ},  [37] = {"IQ4_NL_4_8", NOT_READ},  [38] = {"IQ4_NL_8_8", NOT_READ},
    [39] = {"MXFP4", NOT_READ},       [40] = {"NVFP4", NOT_READ},       [41] = {"Q1_0", NOT_READ},
    [42] = {"Q2_0", NOT_READ},
};
#define TYPES (sizeof types / sizeof *types)

bool gguf_type_number(checkpoint_dtype dtype, uint32_t *number) {
  if ((unsigned)dtype >= CHECKPOINT_DTYPES) return false;
  for (uint32_t i = 0; i < TYPES; i++)
    if (types[i].dtype == dtype) {
      *number = i;
      return true;
    }
  return false;
}

bool gguf_type_parse(uint32_t number, checkpoint_dtype *dtype) {
  if (number >= TYPES || types[number].dtype == NOT_READ) return false;
  *dtype = types[number].dtype;
  return true;
}

const char *gguf_type_name(uint32_t number) { return number < TYPES ? types[number].name : NULL; }
