/* Arguments and results of the addon's functions. A wrong argument is a TypeError: it is a fault of our own code. */
#ifndef QV_ARGUMENTS_H
#define QV_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <node_api.h>

#define CHECK(call)                                      \
  do {                                                   \
    if ((call) != napi_ok) {                             \
      throw_last(env);                                   \
      return NULL;                                       \
    }                                                    \
  } while (0)

static inline void throw_last(napi_env env) {
  bool pending = false;
  const napi_extended_error_info *info = NULL;
  napi_is_exception_pending(env, &pending);
  if (pending) return;
  napi_get_last_error_info(env, &info);
  napi_throw_type_error(env, NULL, info != NULL && info->error_message != NULL ? info->error_message : "bad argument");
}

/* All arguments of a call must be there. */
static inline bool take_arguments(napi_env env, napi_callback_info info, size_t count, napi_value *values) {
  size_t given = count;
  if (napi_get_cb_info(env, info, &given, values, NULL, NULL) == napi_ok && given >= count) return true;
  napi_throw_type_error(env, NULL, "missing argument");
  return false;
}

static inline napi_value number(napi_env env, int64_t value) {
  napi_value result = NULL;
  CHECK(napi_create_int64(env, value, &result));
  return result;
}

/* The bytes of a Uint8Array; they stay where they are until the call that has them returns. */
static inline bool take_bytes(napi_env env, napi_value value, uint8_t **bytes, size_t *length) {
  napi_typedarray_type type;
  bool is_typed = false;
  if (napi_is_typedarray(env, value, &is_typed) == napi_ok && is_typed &&
      napi_get_typedarray_info(env, value, &type, length, (void **)bytes, NULL, NULL) == napi_ok &&
      type == napi_uint8_array)
    return true;
  napi_throw_type_error(env, NULL, "not a Uint8Array");
  return false;
}

/* What an external value with this tag stands for. One of another kind is refused like anything else. */
static inline void *take_external(napi_env env, napi_value value, const napi_type_tag *tag) {
  void *data = NULL;
  bool is_ours = false;
  if (napi_check_object_type_tag(env, value, tag, &is_ours) == napi_ok && is_ours &&
      napi_get_value_external(env, value, &data) == napi_ok && data != NULL)
    return data;
  napi_throw_type_error(env, NULL, "not a value of the addon's");
  return NULL;
}

#endif
