/*
 * What wallets of QuantumVault v2 were encrypted with, to open them once more: AES-256-GCM, and scrypt.
 *
 * Done here because libsodium has neither as v2 used them, and JavaScript cannot wipe what Node's crypto leaves behind.
 * Results are written to memory of the caller's, which is guarded; OpenSSL wipes its own when it frees it.
 */
#include <errno.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "qv_arguments.h"
#include "qv_legacy.h"

enum { KEY_BYTES = 32, IV_BYTES = 12, TAG_BYTES = 16, TEXT_BYTES_MAX = 1024 };
/* OpenSSL refuses what would take more: 64 MiB, and some for its blocks. */
enum { SCRYPT_MEMORY_BYTES = 66 * 1024 * 1024 };

struct bytes {
  uint8_t *at;
  size_t length;
};

static bool take_all(napi_env env, const napi_value *values, size_t count, struct bytes *all) {
  for (size_t index = 0; index < count; index++)
    if (!take_bytes(env, values[index], &all[index].at, &all[index].length)) return false;
  return true;
}

static bool gcm_open(const struct bytes *key, const struct bytes *iv, const struct bytes *ciphertext,
                     const struct bytes *tag, uint8_t *plaintext) {
  uint8_t expected[TAG_BYTES];
  int length = 0, rest = 0;
  memcpy(expected, tag->at, TAG_BYTES);
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  bool done = context != NULL && EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key->at, iv->at) == 1 &&
              EVP_DecryptUpdate(context, plaintext, &length, ciphertext->at, (int)ciphertext->length) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, expected) == 1 &&
              EVP_DecryptFinal_ex(context, plaintext + length, &rest) == 1 &&
              (size_t)length + (size_t)rest == ciphertext->length;
  EVP_CIPHER_CTX_free(context);
  return done;
}

/*
 * legacyOpen(key, iv, ciphertext, tag, plaintext): 0, and as many bytes of `plaintext` as there are of `ciphertext`; or
 * a negative errno, and nothing but zeros there.
 */
static napi_value qv_legacy_open(napi_env env, napi_callback_info info) {
  napi_value values[5];
  struct bytes all[5];
  if (!take_arguments(env, info, 5, values) || !take_all(env, values, 5, all)) return NULL;
  const struct bytes *key = &all[0], *iv = &all[1], *ciphertext = &all[2], *tag = &all[3], *plaintext = &all[4];
  if (key->length != KEY_BYTES || iv->length != IV_BYTES || tag->length != TAG_BYTES || ciphertext->length == 0 ||
      ciphertext->length > TEXT_BYTES_MAX || plaintext->length != ciphertext->length) {
    napi_throw_range_error(env, NULL, "not of the length it must have");
    return NULL;
  }
  bool done = gcm_open(key, iv, ciphertext, tag, plaintext->at);
  /* What does not authenticate is nobody's to see. */
  if (!done) OPENSSL_cleanse(plaintext->at, plaintext->length);
  ERR_clear_error();
  return number(env, done ? 0 : -EBADMSG);
}

/* legacyScrypt(secret, salt, n, r, p, key): RFC 7914; 0 and 32 bytes in `key`, or a negative errno. */
static napi_value qv_legacy_scrypt(napi_env env, napi_callback_info info) {
  napi_value values[6];
  struct bytes secret, salt, key;
  uint32_t n = 0, r = 0, p = 0;
  if (!take_arguments(env, info, 6, values) || !take_bytes(env, values[0], &secret.at, &secret.length) ||
      !take_bytes(env, values[1], &salt.at, &salt.length) || !take_bytes(env, values[5], &key.at, &key.length))
    return NULL;
  CHECK(napi_get_value_uint32(env, values[2], &n));
  CHECK(napi_get_value_uint32(env, values[3], &r));
  CHECK(napi_get_value_uint32(env, values[4], &p));
  if (key.length != KEY_BYTES) {
    napi_throw_range_error(env, NULL, "not of the length it must have");
    return NULL;
  }
  bool done = EVP_PBE_scrypt((const char *)secret.at, secret.length, salt.at, salt.length, n, r, p,
                             SCRYPT_MEMORY_BYTES, key.at, KEY_BYTES) == 1;
  if (!done) OPENSSL_cleanse(key.at, KEY_BYTES);
  ERR_clear_error();
  return number(env, done ? 0 : -EINVAL);
}

napi_value qv_legacy_init(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"legacyOpen", NULL, qv_legacy_open, NULL, NULL, NULL, napi_enumerable, NULL},
      {"legacyScrypt", NULL, qv_legacy_scrypt, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  CHECK(napi_define_properties(env, exports, sizeof properties / sizeof properties[0], properties));
  return exports;
}
