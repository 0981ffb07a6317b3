/* A small CLIP vocabulary: the 512 bytes and these merges. */
#ifndef LINNET_TESTS_SUPPORT_CLIP_SKELETON_H
#define LINNET_TESTS_SUPPORT_CLIP_SKELETON_H

/* "cat" is one token, "the" too; "th" and "at" are beginnings and endings. */
#define CLIP_SKELETON "#version: 0.2\nt h\na t</w>\nth e</w>\nc at</w>\n"
enum { CLIP_SKELETON_MERGES = 4, CLIP_SKELETON_START = 512 + CLIP_SKELETON_MERGES, CLIP_SKELETON_END };

#endif
