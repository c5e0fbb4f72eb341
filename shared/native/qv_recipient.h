#ifndef QV_RECIPIENT_H
#define QV_RECIPIENT_H

#include <node_api.h>

/* Adds the functions of qv_recipient.c to the addon's exports. */
napi_value qv_recipient_init(napi_env env, napi_value exports);

#endif
