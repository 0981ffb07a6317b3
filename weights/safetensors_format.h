/* Limits of safetensors that its reader and writer share (spec ecosystem section 6; the first is the official one). */
#ifndef LINNET_WEIGHTS_SAFETENSORS_FORMAT_H
#define LINNET_WEIGHTS_SAFETENSORS_FORMAT_H

#define SAFETENSORS_HEADER_MAX 100000000 /* bytes of JSON */
#define SAFETENSORS_VALUES_MAX (4 << 20) /* JSON values; a tensor takes about ten */
#define SAFETENSORS_DEPTH 3              /* header, tensor, shape */

#endif
