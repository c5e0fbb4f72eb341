#ifndef QV_LEGACY_H
#define QV_LEGACY_H

#include <node_api.h>

/* Adds the functions of qv_legacy.c to the addon's exports. */
napi_value qv_legacy_init(napi_env env, napi_value exports);

#endif
