/* What the calls of a pickle stand for: their results, put together from data. Nothing is called; a name that is not in
 * the list below is refused. See pickle.h.
 *
 * The rebuilding functions are torch._utils' and torch._tensor's, of PyTorch 1.6 and later; those of torch.jit._pickle
 * are TorchScript's. The records are what training programs leave beside their tensors: argparse, configuration classes
 * (yacs, omegaconf, mmengine, Lightning, ...), histories, numpy values, DeepSpeed's loss scalers. */
#include <string.h>

#include "weights/pickle_machine.h"

typedef enum {
  CALL_DICT,      /* an empty dictionary */
  CALL_TENSOR,    /* (storage, offset, sizes, strides, ...) */
  CALL_TENSOR_V3, /* the same with the type as the seventh: types without a storage class of their own */
  CALL_SUBCLASS,  /* (rebuilding function, class, its arguments, state) */
  CALL_UNREAD,    /* a tensor of another layout */
  CALL_FIRST,     /* its first argument: a parameter's tensor, a list that TorchScript gives a type */
  CALL_MEMBER,    /* (class, name): a method that is only named */
  CALL_BY_CLASS,  /* (class, ...): a record of that class */
  CALL_NONE,      /* a class that is never called itself: Tensor, Parameter */
  CALL_RECORD,
} call_kind;

static const struct {
  const char *name;
  call_kind kind;
} callables[] = {
    {"collections.OrderedDict", CALL_DICT},
    {"collections.defaultdict", CALL_DICT},
    {"torch._utils._rebuild_tensor", CALL_TENSOR},
    {"torch._utils._rebuild_tensor_v2", CALL_TENSOR},
    {"torch._utils._rebuild_tensor_v3", CALL_TENSOR_V3},
    {"torch._utils._rebuild_parameter", CALL_FIRST},
    {"torch._utils._rebuild_parameter_with_state", CALL_FIRST},
    {"torch._tensor._rebuild_from_type", CALL_SUBCLASS},
    {"torch._tensor._rebuild_from_type_v2", CALL_SUBCLASS},
    {"torch.Tensor", CALL_NONE},
    {"torch.nn.parameter.Parameter", CALL_NONE},
    {"torch.nn.parameter.Buffer", CALL_NONE},
    {"torch._utils._rebuild_sparse_tensor", CALL_UNREAD},
    {"torch._utils._rebuild_sparse_csr_tensor", CALL_UNREAD},
    {"torch._utils._rebuild_nested_tensor", CALL_UNREAD},
    {"torch._utils._rebuild_qtensor", CALL_UNREAD},
    {"torch._utils._rebuild_device_tensor_from_cpu_tensor", CALL_UNREAD},
    {"torch._utils._rebuild_device_tensor_from_numpy", CALL_UNREAD},
    {"torch._utils._rebuild_meta_tensor_no_storage", CALL_UNREAD},
    {"torch._utils._rebuild_wrapper_subclass", CALL_UNREAD},
    {"torch._utils._rebuild_xla_tensor", CALL_UNREAD},
    {"torch.jit._pickle.build_boollist", CALL_FIRST},
    {"torch.jit._pickle.build_doublelist", CALL_FIRST},
    {"torch.jit._pickle.build_intlist", CALL_FIRST},
    {"torch.jit._pickle.build_tensorlist", CALL_FIRST},
    {"torch.jit._pickle.restore_type_tag", CALL_FIRST},
    {"__builtin__.getattr", CALL_MEMBER},
    {"builtins.getattr", CALL_MEMBER},
    {"copy_reg._reconstructor", CALL_BY_CLASS},
    {"copyreg._reconstructor", CALL_BY_CLASS},
    {"copy_reg.__newobj__", CALL_BY_CLASS},
    {"copyreg.__newobj__", CALL_BY_CLASS},
    {"copy_reg.__newobj_ex__", CALL_BY_CLASS},
    {"copyreg.__newobj_ex__", CALL_BY_CLASS},
    {"__builtin__.bytearray", CALL_RECORD},
    {"__builtin__.complex", CALL_RECORD},
    {"__builtin__.frozenset", CALL_RECORD},
    {"__builtin__.set", CALL_RECORD},
    {"__builtin__.slice", CALL_RECORD},
    {"__builtin__.xrange", CALL_RECORD},
    {"_codecs.encode", CALL_RECORD},
    {"addict.addict.Dict", CALL_RECORD},
    {"argparse.Namespace", CALL_RECORD},
    {"builtins.bytearray", CALL_RECORD},
    {"builtins.complex", CALL_RECORD},
    {"builtins.frozenset", CALL_RECORD},
    {"builtins.range", CALL_RECORD},
    {"builtins.set", CALL_RECORD},
    {"builtins.slice", CALL_RECORD},
    {"collections.Counter", CALL_RECORD},
    {"collections.deque", CALL_RECORD},
    {"datetime.date", CALL_RECORD},
    {"datetime.datetime", CALL_RECORD},
    {"datetime.time", CALL_RECORD},
    {"datetime.timedelta", CALL_RECORD},
    {"datetime.timezone", CALL_RECORD},
    {"decimal.Decimal", CALL_RECORD},
    {"deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler", CALL_RECORD},
    {"deepspeed.runtime.fp16.loss_scaler.LossScaler", CALL_RECORD},
    {"deepspeed.runtime.zero.config.ZeroStageEnum", CALL_RECORD},
    {"deepspeed.utils.tensor_fragment.fragment_address", CALL_RECORD},
    {"detectron2.config.config.CfgNode", CALL_RECORD},
    {"easydict.EasyDict", CALL_RECORD},
    {"fractions.Fraction", CALL_RECORD},
    {"fvcore.common.config.CfgNode", CALL_RECORD},
    {"lightning.fabric.utilities.data.AttributeDict", CALL_RECORD},
    {"lightning.pytorch.utilities.parsing.AttributeDict", CALL_RECORD},
    {"lightning_fabric.utilities.data.AttributeDict", CALL_RECORD},
    {"ml_collections.config_dict.config_dict.ConfigDict", CALL_RECORD},
    {"mmcv.utils.config.Config", CALL_RECORD},
    {"mmcv.utils.config.ConfigDict", CALL_RECORD},
    {"mmengine.config.config.Config", CALL_RECORD},
    {"mmengine.config.config.ConfigDict", CALL_RECORD},
    {"mmengine.logging.history_buffer.HistoryBuffer", CALL_RECORD},
    {"mmengine.logging.message_hub.MessageHub", CALL_RECORD},
    {"numpy._core.multiarray._reconstruct", CALL_RECORD},
    {"numpy._core.multiarray.scalar", CALL_RECORD},
    {"numpy._core.numeric._frombuffer", CALL_RECORD},
    {"numpy.core.multiarray._reconstruct", CALL_RECORD},
    {"numpy.core.multiarray.scalar", CALL_RECORD},
    {"numpy.core.numeric._frombuffer", CALL_RECORD},
    {"numpy.dtype", CALL_RECORD},
    {"numpy.random._pickle.__bit_generator_ctor", CALL_RECORD},
    {"numpy.random._pickle.__generator_ctor", CALL_RECORD},
    {"numpy.random._pickle.__randomstate_ctor", CALL_RECORD},
    {"omegaconf.base.ContainerMetadata", CALL_RECORD},
    {"omegaconf.base.Metadata", CALL_RECORD},
    {"omegaconf.dictconfig.DictConfig", CALL_RECORD},
    {"omegaconf.listconfig.ListConfig", CALL_RECORD},
    {"omegaconf.nodes.AnyNode", CALL_RECORD},
    {"omegaconf.nodes.BooleanNode", CALL_RECORD},
    {"omegaconf.nodes.FloatNode", CALL_RECORD},
    {"omegaconf.nodes.IntegerNode", CALL_RECORD},
    {"omegaconf.nodes.StringNode", CALL_RECORD},
    {"openpoints.utils.config.EasyConfig", CALL_RECORD},
    {"pathlib.PosixPath", CALL_RECORD},
    {"pathlib.PurePosixPath", CALL_RECORD},
    {"pathlib.PureWindowsPath", CALL_RECORD},
    {"pathlib.WindowsPath", CALL_RECORD},
    {"pathlib._local.PosixPath", CALL_RECORD},
    {"pathlib._local.WindowsPath", CALL_RECORD},
    {"pytorch_lightning.utilities.parsing.AttributeDict", CALL_RECORD},
    {"torch.Size", CALL_RECORD},
    {"torch.device", CALL_RECORD},
    {"torch.serialization._get_layout", CALL_RECORD},
    {"torch.torch_version.TorchVersion", CALL_RECORD},
    {"types.SimpleNamespace", CALL_RECORD},
    {"uuid.UUID", CALL_RECORD},
    {"yacs.config.CfgNode", CALL_RECORD},
};

/* A torch.dtype by its name, and the class of storages that older files name instead. */
static const struct {
  const char *type, *storage;
  checkpoint_dtype dtype;
} types[] = {
    {"torch.float64", "torch.DoubleStorage", CHECKPOINT_F64},
    {"torch.float32", "torch.FloatStorage", CHECKPOINT_F32},
    {"torch.float16", "torch.HalfStorage", CHECKPOINT_F16},
    {"torch.bfloat16", "torch.BFloat16Storage", CHECKPOINT_BF16},
    {"torch.int64", "torch.LongStorage", CHECKPOINT_I64},
    {"torch.int32", "torch.IntStorage", CHECKPOINT_I32},
    {"torch.int16", "torch.ShortStorage", CHECKPOINT_I16},
    {"torch.int8", "torch.CharStorage", CHECKPOINT_I8},
    {"torch.uint64", "", CHECKPOINT_U64},
    {"torch.uint32", "", CHECKPOINT_U32},
    {"torch.uint16", "", CHECKPOINT_U16},
    {"torch.uint8", "torch.ByteStorage", CHECKPOINT_U8},
    {"torch.bool", "torch.BoolStorage", CHECKPOINT_BOOL},
    /* bytes without a type of their own */
    {"", "torch.UntypedStorage", CHECKPOINT_U8},
    {"", "torch.storage.UntypedStorage", CHECKPOINT_U8},
};

static bool starts(const pickle_value *v, const char *text) {
  return v->count > strlen(text) && !memcmp(v->text, text, strlen(text));
}

static bool ends(const pickle_value *v, const char *text) {
  const size_t length = strlen(text);
  return v->count > length && !memcmp(v->text + v->count - length, text, length);
}

int64_t pickle_callable(const pickle_value *global) {
  const size_t n = sizeof callables / sizeof *callables;
  for (size_t i = 0; i < n; i++)
    if (pickle_says(global, callables[i].name)) return (int64_t)i;
  return -1;
}

static status refuse_call(const pickle_value *callee) {
  return fail(STATUS_UNSUPPORTED,
              "the pickle calls %.*s, which no tensors need: refused, and nothing was run (save "
              "the state_dict() alone)",
              pickle_quoted(callee), callee->text);
}

static bool is_kind(const pickle_value *v, call_kind kind) {
  return v->kind == PICKLE_GLOBAL && v->integer >= 0 && callables[v->integer].kind == kind;
}

static bool is_record(const pickle_value *v) { return is_kind(v, CALL_RECORD) || is_kind(v, CALL_DICT); }

static status push_named(pickle *p, pickle_kind kind, const char *text, size_t length) {
  pickle_value *v = pickle_push_new(p, kind);
  if (!v) return last_status();
  v->text = text;
  v->count = length;
  return STATUS_OK;
}

/* --- tensors ------------------------------------------------------------------------------------------------------ */

static bool ints_only(const pickle_value *tuple) {
  if (tuple->kind != PICKLE_TUPLE) return false;
  for (size_t i = 0; i < tuple->count; i++)
    if (tuple->items[i]->kind != PICKLE_INT) return false;
  return true;
}

/* The type of a tensor: the one that is named, or else its storage's. false if it is none that is read; then *named
 * says it. */
static bool find_type(const pickle_value *storage, const pickle_value **named, checkpoint_dtype *dtype) {
  if (!*named) {
    *dtype = storage->dtype;
    *named = storage->items[0];
    return *dtype != CHECKPOINT_DTYPES;
  }
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (pickle_says(*named, types[i].type)) {
      *dtype = types[i].dtype;
      return true;
    }
  return false;
}

static status push_tensor(pickle *p, const pickle_value *args, const pickle_value *named) {
  if (args->count < 4 || args->items[0]->kind != PICKLE_STORAGE || args->items[1]->kind != PICKLE_INT ||
      !ints_only(args->items[2]) || !ints_only(args->items[3]) || args->items[2]->count != args->items[3]->count ||
      (named && !(named->kind == PICKLE_GLOBAL && starts(named, "torch."))))
    return fail(STATUS_FORMAT, "a tensor is not described by storage, offset, sizes and strides, before byte %zu",
                p->at);
  checkpoint_dtype dtype = CHECKPOINT_DTYPES;
  if (!find_type(args->items[0], &named, &dtype)) return push_named(p, PICKLE_UNREAD, named->text, named->count);
  pickle_value *tensor = pickle_push_new(p, PICKLE_TENSOR);
  if (!tensor) return last_status();
  tensor->dtype = dtype;
  for (size_t i = 0; i < 4; i++)
    if (pickle_add_item(p, tensor, args->items[i])) return last_status();
  return STATUS_OK;
}

static status push_tensor_v3(pickle *p, const pickle_value *args) {
  if (args->count < 7)
    return fail(STATUS_FORMAT, "a tensor is described by %zu values and not by its type, before byte %zu", args->count,
                p->at);
  return push_tensor(p, args, args->items[6]);
}

/* A tensor with attributes or of class Parameter is its tensor. The function must be one that makes plain ones: no
 * recursion. */
static status push_subclass(pickle *p, const pickle_value *args) {
  if (args->count < 3 || args->items[0]->kind != PICKLE_GLOBAL || args->items[1]->kind != PICKLE_GLOBAL ||
      args->items[2]->kind != PICKLE_TUPLE)
    return fail(STATUS_FORMAT, "a tensor is not described by function, class and arguments, before byte %zu", p->at);
  const pickle_value *function = args->items[0], *class = args->items[1];
  if (!is_kind(class, CALL_NONE)) return refuse_call(class);
  if (is_kind(function, CALL_TENSOR)) return push_tensor(p, args->items[2], NULL);
  if (is_kind(function, CALL_TENSOR_V3)) return push_tensor_v3(p, args->items[2]);
  if (is_kind(function, CALL_UNREAD)) return push_named(p, PICKLE_UNREAD, function->text, function->count);
  return refuse_call(function);
}

status pickle_push_storage(pickle *p, const pickle_value *id) {
  if (id->kind != PICKLE_TUPLE || id->count < 5 || id->items[0]->kind != PICKLE_STRING ||
      !pickle_says(id->items[0], "storage") || id->items[1]->kind != PICKLE_GLOBAL ||
      id->items[2]->kind != PICKLE_STRING || id->items[4]->kind != PICKLE_INT || id->items[4]->integer < 0)
    return fail(STATUS_FORMAT, "a storage is not described as PyTorch does, before byte %zu", p->at);
  const size_t n = sizeof types / sizeof *types;
  pickle_value *class = id->items[1];
  size_t i = 0;
  while (i < n && !pickle_says(class, types[i].storage)) i++;
  if (i == n && !(starts(class, "torch.") && ends(class, "Storage")))
    return fail(STATUS_UNSUPPORTED, "a storage is of class %.*s, which is none of PyTorch's", pickle_quoted(class),
                class->text);
  pickle_value *v = pickle_push_new(p, PICKLE_STORAGE);
  if (!v || pickle_add_item(p, v, class)) return last_status();
  v->dtype = i < n ? types[i].dtype : CHECKPOINT_DTYPES;
  v->text = id->items[2]->text;
  v->count = id->items[2]->count;
  v->integer = id->items[4]->integer;
  return STATUS_OK;
}

/* --- everything else ---------------------------------------------------------------------------------------------- */

static status push_first(pickle *p, const pickle_value *args, const char *name) {
  return args->count ? pickle_push(p, args->items[0])
                     : fail(STATUS_FORMAT, "%s is called without arguments, before byte %zu", name, p->at);
}

/* getattr(class, name) is how protocols below 4 name a method. Of anything but a known record it is the way to any
 * function at all, and refused. */
static status push_member(pickle *p, const pickle_value *callee, const pickle_value *args) {
  if (args->count != 2 || !is_record(args->items[0]) || args->items[1]->kind != PICKLE_STRING)
    return refuse_call(callee);
  return push_named(p, PICKLE_OPAQUE, callee->text, callee->count);
}

static status push_by_class(pickle *p, const pickle_value *callee, const pickle_value *args) {
  const pickle_value *class = args->count ? args->items[0] : callee;
  if (class->kind != PICKLE_GLOBAL) return refuse_call(callee);
  if (!is_record(class)) return refuse_call(class);
  return push_named(p, PICKLE_OPAQUE, class->text, class->count);
}

static status push_dict(pickle *p, const pickle_value *callee, const pickle_value *args) {
  /* a default factory is only named */
  if (args->count > (pickle_says(callee, "collections.defaultdict") ? 1 : 0))
    return fail(STATUS_UNSUPPORTED, "a dictionary of class %.*s is made of %zu arguments; only an empty one is known",
                pickle_quoted(callee), callee->text, args->count);
  return pickle_push_new(p, PICKLE_DICT) ? STATUS_OK : last_status();
}

status pickle_call(pickle *p, const pickle_value *callee, const pickle_value *args) {
  if (callee->kind != PICKLE_GLOBAL)
    return fail(STATUS_FORMAT, "the pickle calls something that is no class, before byte %zu", p->at);
  const bool script = starts(callee, "__torch__.");
  if (callee->integer < 0 && !script) return refuse_call(callee);
  if (args->kind != PICKLE_TUPLE)
    return fail(STATUS_FORMAT, "%.*s is called without a tuple", pickle_quoted(callee), callee->text);
  if (script) return push_named(p, PICKLE_OBJECT, NULL, 0);
  switch (callables[callee->integer].kind) {
  case CALL_DICT:
    return push_dict(p, callee, args);
  case CALL_TENSOR:
    return push_tensor(p, args, NULL);
  case CALL_TENSOR_V3:
    return push_tensor_v3(p, args);
  case CALL_SUBCLASS:
    return push_subclass(p, args);
  case CALL_UNREAD:
    return push_named(p, PICKLE_UNREAD, callee->text, callee->count);
  case CALL_FIRST:
    return push_first(p, args, callables[callee->integer].name);
  case CALL_MEMBER:
    return push_member(p, callee, args);
  case CALL_BY_CLASS:
    return push_by_class(p, callee, args);
  case CALL_RECORD:
    return push_named(p, PICKLE_OPAQUE, callee->text, callee->count);
  case CALL_NONE:
    break;
  }
  return refuse_call(callee);
}

/* A dictionary's state is `_metadata` (versions of modules), a tensor's its attributes: nothing that is needed. What
 * would make a tensor another one (a tuple for Tensor.__setstate__) is refused. */
status pickle_set_state(pickle *p, pickle_value *object, pickle_value *state) {
  switch (object->kind) {
  case PICKLE_OBJECT:
    object->count = 0;
    return pickle_add_item(p, object, state);
  case PICKLE_DICT:
  case PICKLE_OPAQUE:
  case PICKLE_UNREAD:
    return STATUS_OK;
  case PICKLE_TENSOR:
    if (state->kind == PICKLE_DICT) return STATUS_OK;
    return fail(STATUS_UNSUPPORTED, "the pickle changes a tensor after it was made, before byte %zu", p->at);
  case PICKLE_GLOBAL:
    return fail(STATUS_UNSUPPORTED, "the pickle changes %.*s: refused, and nothing was run", pickle_quoted(object),
                object->text);
  default:
    return fail(STATUS_FORMAT, "the pickle gives a state to something that has none, before byte %zu", p->at);
  }
}
