/*
 * The enclave's recipient key, and what KMS sealed for it: RSA-2048 OAEP, then AES-256-CBC (RFC 5652 as AWS uses it).
 *
 * Done here because JavaScript cannot wipe what Node's crypto leaves behind: Decipher frees a buffer with the
 * plaintext in it, and a private key waits for the garbage collector. Everything secret is written to memory of the
 * caller's, which is guarded, and to OpenSSL's own, which wipes what it frees; the padding is taken off here because
 * OpenSSL's OAEP frees the padded block as it is. One answer for every failure: the envelope has no MAC.
 *
 * OpenSSL is that of the node binary, whose headers, of exactly its version, this is compiled against.
 */
#define _GNU_SOURCE
#define OPENSSL_SUPPRESS_DEPRECATED
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "qv_arguments.h"
#include "qv_recipient.h"

enum { RSA_BITS = 2048, RSA_BYTES = 256, KEY_BYTES = 32, IV_BYTES = 16, BLOCK_BYTES = 16 };
/* A 32-byte key under AES-CBC with PKCS#7 padding: its two blocks and one block of sixteen 16s. */
enum { WRAPPED_BYTES = 48 };
/* The most of the stack that is wiped at a time: Node's has eight times as much. */
enum { STACK_BYTES_MAX = 128 * 1024 };

/* What the caller's guarded memory is divided into. */
struct work {
  /* The result. */
  uint8_t key[KEY_BYTES];
  uint8_t content_key[KEY_BYTES];
  uint8_t encoded[RSA_BYTES];
  uint8_t padded[WRAPPED_BYTES];
};

static const napi_type_tag RECIPIENT_TAG = {0x7176726563697069, 0x3be07f5dc2918a64};

struct recipient {
  EVP_PKEY *pair;
};

static void recipient_free(struct recipient *recipient) {
  EVP_PKEY_free(recipient->pair);
  recipient->pair = NULL;
}

static void on_collected(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  recipient_free(data);
  free(data);
}

/* ---- what calls leave behind ---- */

/*
 * Vector registers are nobody's to restore, so code that used them for keys leaves the keys in them; V8 copies them to
 * the heap when it drops optimised code. On x86-64 the upper sixteen of AVX-512 are cleared by vzeroall not.
 */
static void wipe_registers(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    __asm__ volatile(
        "vzeroall\n"
        ".irp i,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
        "vpxorq %%zmm\\i,%%zmm\\i,%%zmm\\i\n"
        ".endr\n" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
              "xmm12", "xmm13", "xmm14", "xmm15");
  else if (__builtin_cpu_supports("avx"))
    __asm__ volatile("vzeroall" ::
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                           "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
  else
    __asm__ volatile(
        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "pxor %%xmm\\i,%%xmm\\i\n"
        ".endr\n" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
              "xmm12", "xmm13", "xmm14", "xmm15");
#elif defined(__aarch64__)
  /* v8 to v15 are the caller's in their lower halves: whoever used them has restored those. */
  __asm__ volatile(
      ".irp i,0,1,2,3,4,5,6,7,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
      "movi v\\i\\().2d, #0\n"
      ".endr\n" ::
          : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23",
            "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
#else
#error "no registers are wiped on this processor"
#endif
}

/* Not inlined, so that its array lies below every frame that is still in use. */
static __attribute__((noinline)) void wipe_below(size_t size) {
  uint8_t stack[size];
  explicit_bzero(stack, size);
}

/* ---- making one ---- */

struct generation {
  napi_async_work work;
  napi_deferred deferred;
  struct recipient *recipient;
};

static void generation_run(napi_env env, void *data) {
  struct generation *call = data;
  (void)env;
  call->recipient->pair = EVP_RSA_gen(RSA_BITS);
  ERR_clear_error();
  /* A worker's stack has the primes' traces, and other work comes to it. */
  wipe_below(STACK_BYTES_MAX);
  wipe_registers();
}

static void generation_done(napi_env env, napi_status status, void *data) {
  struct generation *call = data;
  struct recipient *recipient = call->recipient;
  napi_value value = NULL;
  bool made = status == napi_ok && recipient->pair != NULL;
  if (made && napi_create_external(env, recipient, on_collected, NULL, &value) == napi_ok) {
    recipient = NULL; /* JavaScript's now */
    made = napi_type_tag_object(env, value, &RECIPIENT_TAG) == napi_ok;
  } else {
    made = false;
  }
  if (made || napi_create_int32(env, -ENOMEM, &value) == napi_ok) napi_resolve_deferred(env, call->deferred, value);
  if (recipient != NULL) on_collected(env, recipient, NULL);
  napi_delete_async_work(env, call->work);
  free(call);
}

/* recipientKey(): a promise of a key pair, or of a negative errno. On a worker: it takes a tenth of a second. */
static napi_value qv_recipient_key(napi_env env, napi_callback_info info) {
  napi_value promise = NULL, name = NULL;
  (void)info;
  CHECK(napi_create_string_utf8(env, "qv:recipient", NAPI_AUTO_LENGTH, &name));
  struct generation *call = calloc(1, sizeof *call);
  struct recipient *recipient = calloc(1, sizeof *recipient);
  if (call == NULL || recipient == NULL) {
    free(call);
    free(recipient);
    napi_throw_error(env, NULL, "out of memory");
    return NULL;
  }
  call->recipient = recipient;
  if (napi_create_promise(env, &call->deferred, &promise) == napi_ok &&
      napi_create_async_work(env, NULL, name, generation_run, generation_done, call, &call->work) == napi_ok) {
    if (napi_queue_async_work(env, call->work) == napi_ok) return promise;
    napi_delete_async_work(env, call->work);
  }
  throw_last(env);
  free(recipient);
  free(call);
  return NULL;
}

/* ---- using it ---- */

static struct recipient *take_recipient(napi_env env, napi_value value) {
  return take_external(env, value, &RECIPIENT_TAG);
}

/* recipientSpki(recipient): DER SubjectPublicKeyInfo, or a negative errno. */
static napi_value qv_recipient_spki(napi_env env, napi_callback_info info) {
  napi_value value, result = NULL;
  struct recipient *recipient;
  unsigned char *der = NULL;
  if (!take_arguments(env, info, 1, &value) || (recipient = take_recipient(env, value)) == NULL) return NULL;
  int length = recipient->pair == NULL ? -1 : i2d_PUBKEY(recipient->pair, &der);
  if (length <= 0) return number(env, -EINVAL);
  napi_status made = napi_create_buffer_copy(env, (size_t)length, der, NULL, &result);
  OPENSSL_free(der);
  CHECK(made);
  return result;
}

/* The block under the RSA key, without its padding removed. */
static bool rsa_decrypt(EVP_PKEY *pair, const uint8_t *encrypted, struct work *work) {
  size_t length = RSA_BYTES;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pair, NULL);
  bool done = context != NULL && EVP_PKEY_decrypt_init(context) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(context, RSA_NO_PADDING) == 1 &&
              EVP_PKEY_decrypt(context, work->encoded, &length, encrypted, RSA_BYTES) == 1 && length == RSA_BYTES;
  EVP_PKEY_CTX_free(context);
  return done;
}

/* RSAES-OAEP with SHA-256, MGF1 with SHA-256, and no label. In constant time, as OpenSSL has it. */
static bool oaep_decode(struct work *work) {
  return RSA_padding_check_PKCS1_OAEP_mgf1(work->content_key, KEY_BYTES, work->encoded, RSA_BYTES, RSA_BYTES, NULL, 0,
                                           EVP_sha256(), EVP_sha256()) == KEY_BYTES;
}

static bool aes_decrypt(const uint8_t *iv, const uint8_t *ciphertext, struct work *work) {
  static const uint8_t padding[BLOCK_BYTES] = {16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16};
  int length = 0;
  EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
  /* OpenSSL would hold the last block back and judge its padding by itself: it is compared here, whole. */
  bool done = context != NULL && EVP_DecryptInit_ex(context, EVP_aes_256_cbc(), NULL, work->content_key, iv) == 1 &&
              EVP_CIPHER_CTX_set_padding(context, 0) == 1 &&
              EVP_DecryptUpdate(context, work->padded, &length, ciphertext, WRAPPED_BYTES) == 1 &&
              length == WRAPPED_BYTES && CRYPTO_memcmp(work->padded + KEY_BYTES, padding, BLOCK_BYTES) == 0;
  EVP_CIPHER_CTX_free(context);
  return done;
}

/*
 * recipientOpen(recipient, encryptedKey, iv, ciphertext, work): 0, and the 32-byte key at the start of `work`; or a
 * negative errno, the same for every failure, and nothing but zeros in `work`.
 */
static napi_value qv_recipient_open(napi_env env, napi_callback_info info) {
  napi_value values[5];
  struct recipient *recipient;
  uint8_t *encrypted = NULL, *iv = NULL, *ciphertext = NULL, *bytes = NULL;
  size_t encrypted_length = 0, iv_length = 0, ciphertext_length = 0, length = 0;
  if (!take_arguments(env, info, 5, values) || (recipient = take_recipient(env, values[0])) == NULL ||
      !take_bytes(env, values[1], &encrypted, &encrypted_length) || !take_bytes(env, values[2], &iv, &iv_length) ||
      !take_bytes(env, values[3], &ciphertext, &ciphertext_length) || !take_bytes(env, values[4], &bytes, &length))
    return NULL;
  if (encrypted_length != RSA_BYTES || iv_length != IV_BYTES || ciphertext_length != WRAPPED_BYTES ||
      length < sizeof(struct work)) {
    napi_throw_range_error(env, NULL, "not of the length it must have");
    return NULL;
  }
  struct work *work = (struct work *)bytes;
  memset(work, 0, sizeof *work);
  bool done = recipient->pair != NULL && rsa_decrypt(recipient->pair, encrypted, work) && oaep_decode(work) &&
              aes_decrypt(iv, ciphertext, work);
  if (done) memcpy(work->key, work->padded, KEY_BYTES);
  OPENSSL_cleanse(bytes + KEY_BYTES, length - KEY_BYTES);
  ERR_clear_error();
  return number(env, done ? 0 : -EBADMSG);
}

/* recipientDrop(recipient): wipes the private key at once, and as often as one likes. */
static napi_value qv_recipient_drop(napi_env env, napi_callback_info info) {
  napi_value value;
  struct recipient *recipient;
  if (!take_arguments(env, info, 1, &value) || (recipient = take_recipient(env, value)) == NULL) return NULL;
  recipient_free(recipient);
  return NULL;
}

/* wipeTraces(stackBytes): what calls before this one left in registers, and on the stack below it. */
static napi_value qv_wipe_traces(napi_env env, napi_callback_info info) {
  napi_value value;
  uint32_t size = 0;
  if (!take_arguments(env, info, 1, &value)) return NULL;
  CHECK(napi_get_value_uint32(env, value, &size));
  if (size == 0 || size > STACK_BYTES_MAX) {
    napi_throw_range_error(env, NULL, "not a part of the stack");
    return NULL;
  }
  wipe_below(size);
  wipe_registers();
  return NULL;
}

napi_value qv_recipient_init(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
#define FUNCTION(name, function) {name, NULL, function, NULL, NULL, NULL, napi_enumerable, NULL}
      FUNCTION("recipientKey", qv_recipient_key),   FUNCTION("recipientSpki", qv_recipient_spki),
      FUNCTION("recipientOpen", qv_recipient_open), FUNCTION("recipientDrop", qv_recipient_drop),
      FUNCTION("wipeTraces", qv_wipe_traces),
#undef FUNCTION
  };
  CHECK(napi_define_properties(env, exports, sizeof properties / sizeof properties[0], properties));
  return exports;
}
