/* The tensors of a TorchScript archive (torch.jit.save): its data.pkl is the tree of a program's objects, each a
 * dictionary of attributes (numbers, tensors, further objects). Tensors get the names of their attributes joined by
 * dots, as state_dict() would call them. The program itself (code/) and its constants are not read. */
#ifndef LINNET_WEIGHTS_TORCHSCRIPT_H
#define LINNET_WEIGHTS_TORCHSCRIPT_H

#include "weights/pickle.h"

/* Gives every tensor of the tree below a PICKLE_OBJECT to `found`, in the order of the attributes; ends with what that
 * returns if it is not STATUS_OK. STATUS_FORMAT or STATUS_UNSUPPORTED if the tree is too deep or too large. */
status torchscript_walk(const pickle_value *root,
                        status (*found)(void *context, const char *name, size_t length, const pickle_value *tensor),
                        void *context);

#endif
