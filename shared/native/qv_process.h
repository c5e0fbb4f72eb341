#ifndef QV_PROCESS_H
#define QV_PROCESS_H

#include <node_api.h>

/* Adds the functions of qv_process.c to the addon's exports. */
napi_value qv_process_init(napi_env env, napi_value exports);

#endif
