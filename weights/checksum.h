/* The checksum of a whole file (writer.h): XXH3-128 of its bytes as 32 hexadecimal digits, those digits themselves
 * counted as '0'. It finds damage, not malice: anybody can compute it. */
#ifndef LINNET_WEIGHTS_CHECKSUM_H
#define LINNET_WEIGHTS_CHECKSUM_H

#include "weights/checkpoint.h"

#define CHECKSUM_DIGITS 32
#define CHECKSUM_ZERO "00000000000000000000000000000000"

/* Over bytes that come in any pieces. */
typedef struct XXH3_state_s checksum;
checksum *checksum_new(void); /* NULL with a STATUS_MEMORY sentence */
void checksum_add(checksum *sum, const void *data, size_t bytes);
void checksum_text(const checksum *sum, char text[CHECKSUM_DIGITS + 1]); /* of all bytes until now; lower case */
void checksum_values(void *sum, const float *values, size_t n);          /* the same for params_each_value() */
void checksum_free(checksum *sum);                                       /* NULL is fine */

/* Compares a file's checksum, if it has one, with its bytes: STATUS_FORMAT, with a sentence that begins with what is
 * wrong, if they differ or if the file says that it has been robbed of it (WRITER_FORMAT). */
status checkpoint_checksum_verify(const checkpoint *c, bool *has_checksum);

#endif
