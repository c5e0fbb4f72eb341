/*
 * What Node.js cannot do by itself: AF_VSOCK sockets, the ioctl of /dev/nsm, and process hardening.
 *
 * This file makes system calls and watches descriptors; what a stream is, TypeScript decides (shared/src/native.ts).
 * System calls answer a count or a negative errno, as the kernel does. A wrong argument is a TypeError: it is a fault
 * of our own code. Everything runs on the thread of its environment, but the ioctl, which has a worker's.
 *
 * A socket has two owners, libuv's handle and the JavaScript value, and is freed by whichever lets go last. Its
 * descriptor is closed exactly once, in sock_close, and is -1 from then on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <linux/random.h>
#include <linux/vm_sockets.h>

#include <openssl/rand.h>
#include <uv.h>

#include "qv_arguments.h"
#include "qv_legacy.h"
#include "qv_process.h"
#include "qv_recipient.h"

/* A vsock transport may lose or hang what is written in larger pieces (see native.ts). */
enum { WRITE_MAX = 32 * 1024 };
/* Nitro Secure Module: most bytes of a request and of a response (linux/nsm.h). */
enum { NSM_REQUEST_MAX = 0x1000, NSM_RESPONSE_MAX = 0x3000 };

/* ---- sockets ---- */

static const napi_type_tag SOCK_TAG = {0x7176736f636b6574, 0x9d4a1c02f6b85e37};

struct sock {
  uv_poll_t poll;
  napi_env env;
  napi_ref on_event;
  int fd;
  /* libuv's handle and the JavaScript value. */
  int owners;
};

static void sock_disown(struct sock *sock) {
  if (--sock->owners == 0) free(sock);
}

static void on_poll_closed(uv_handle_t *handle) { sock_disown(handle->data); }

static void sock_close(void *data) {
  struct sock *sock = data;
  if (sock->fd < 0) return;
  /* First libuv forgets the descriptor, then its number may be given to somebody else. */
  uv_close((uv_handle_t *)&sock->poll, on_poll_closed);
  close(sock->fd);
  sock->fd = -1;
  napi_delete_reference(sock->env, sock->on_event);
  napi_remove_env_cleanup_hook(sock->env, sock_close, sock);
}

static void on_collected(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  sock_close(data);
  sock_disown(data);
}

/* Tells JavaScript: (status, events). It reads, writes or accepts by itself. */
static void on_poll(uv_poll_t *poll, int status, int events) {
  struct sock *sock = poll->data;
  napi_env env = sock->env;
  napi_handle_scope scope;
  napi_value callback, receiver, arguments[2];
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  if (napi_get_reference_value(env, sock->on_event, &callback) == napi_ok &&
      napi_get_global(env, &receiver) == napi_ok && napi_create_int32(env, status, &arguments[0]) == napi_ok &&
      napi_create_int32(env, events, &arguments[1]) == napi_ok &&
      /* sock may be gone once JavaScript has run. */
      napi_make_callback(env, NULL, receiver, callback, 2, arguments, NULL) == napi_pending_exception) {
    napi_value error = NULL;
    bool pending = false;
    /* A thread that is being ended has nothing to report. */
    if (napi_is_exception_pending(env, &pending) == napi_ok && pending &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok && error != NULL)
      napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

/* Takes over fd, also when it fails. Answers the JavaScript value, or a negative errno as a number. */
static napi_value sock_wrap(napi_env env, int fd, napi_value on_event) {
  uv_loop_t *loop = NULL;
  napi_value result = NULL;
  struct sock *sock = calloc(1, sizeof *sock);
  int failed = sock == NULL ? UV_ENOMEM : 0;
  if (failed == 0 && napi_get_uv_event_loop(env, &loop) != napi_ok) failed = UV_EINVAL;
  if (failed == 0) failed = uv_poll_init(loop, &sock->poll, fd);
  if (failed != 0) {
    close(fd);
    free(sock);
    return number(env, failed);
  }
  sock->env = env;
  sock->fd = fd;
  sock->owners = 1;
  sock->poll.data = sock;
  if (napi_create_reference(env, on_event, 1, &sock->on_event) != napi_ok) {
    sock->on_event = NULL;
    uv_close((uv_handle_t *)&sock->poll, on_poll_closed);
    close(fd);
    throw_last(env);
    return NULL;
  }
  napi_add_env_cleanup_hook(env, sock_close, sock);
  if (napi_create_external(env, sock, on_collected, NULL, &result) != napi_ok) {
    sock_close(sock);
    throw_last(env);
    return NULL;
  }
  sock->owners++;
  if (napi_type_tag_object(env, result, &SOCK_TAG) != napi_ok) {
    sock_close(sock);
    throw_last(env);
    return NULL;
  }
  return result;
}

static struct sock *take_sock(napi_env env, napi_value value) { return take_external(env, value, &SOCK_TAG); }

static bool take_function(napi_env env, napi_value value) {
  napi_valuetype type;
  if (napi_typeof(env, value, &type) == napi_ok && type == napi_function) return true;
  napi_throw_type_error(env, NULL, "not a function");
  return false;
}

static int vsock_socket(void) { return socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

/* listen(port, backlog, onEvent): on every CID of this machine. Port 2^32-1 lets the kernel choose. */
static napi_value qv_listen(napi_env env, napi_callback_info info) {
  napi_value values[3];
  struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
  int32_t backlog = 0;
  if (!take_arguments(env, info, 3, values) || !take_function(env, values[2])) return NULL;
  CHECK(napi_get_value_uint32(env, values[0], &address.svm_port));
  CHECK(napi_get_value_int32(env, values[1], &backlog));
  int fd = vsock_socket();
  if (fd < 0) return number(env, -errno);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, backlog) != 0) {
    int failed = -errno;
    close(fd);
    return number(env, failed);
  }
  return sock_wrap(env, fd, values[2]);
}

/* connect(cid, port, onEvent): under way when it returns; writable when it is through, or socketError says why not. */
static napi_value qv_connect(napi_env env, napi_callback_info info) {
  napi_value values[3];
  struct sockaddr_vm address = {.svm_family = AF_VSOCK};
  if (!take_arguments(env, info, 3, values) || !take_function(env, values[2])) return NULL;
  CHECK(napi_get_value_uint32(env, values[0], &address.svm_cid));
  CHECK(napi_get_value_uint32(env, values[1], &address.svm_port));
  int fd = vsock_socket();
  if (fd < 0) return number(env, -errno);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS) {
    int failed = -errno;
    close(fd);
    return number(env, failed);
  }
  return sock_wrap(env, fd, values[2]);
}

/* accept(listener, peer: Uint32Array(2), onEvent): peer gets the CID and the port, as the kernel knows them. */
static napi_value qv_accept(napi_env env, napi_callback_info info) {
  napi_value values[3];
  struct sock *listener;
  uint32_t *peer = NULL;
  size_t length = 0;
  napi_typedarray_type type;
  struct sockaddr_vm address = {0};
  socklen_t size = sizeof address;
  if (!take_arguments(env, info, 3, values) || !take_function(env, values[2])) return NULL;
  if ((listener = take_sock(env, values[0])) == NULL) return NULL;
  CHECK(napi_get_typedarray_info(env, values[1], &type, &length, (void **)&peer, NULL, NULL));
  if (type != napi_uint32_array || length < 2) {
    napi_throw_type_error(env, NULL, "not a Uint32Array of two");
    return NULL;
  }
  int fd = accept4(listener->fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return number(env, -errno);
  if (size < sizeof address || address.svm_family != AF_VSOCK) {
    close(fd);
    return number(env, -EAFNOSUPPORT);
  }
  peer[0] = address.svm_cid;
  peer[1] = address.svm_port;
  return sock_wrap(env, fd, values[2]);
}

/* watch(socket, events): 1 readable, 2 writable, 0 nothing. */
static napi_value qv_watch(napi_env env, napi_callback_info info) {
  napi_value values[2];
  struct sock *sock;
  int32_t events = 0;
  if (!take_arguments(env, info, 2, values) || (sock = take_sock(env, values[0])) == NULL) return NULL;
  CHECK(napi_get_value_int32(env, values[1], &events));
  if (sock->fd < 0) return number(env, -EBADF);
  events &= UV_READABLE | UV_WRITABLE;
  return number(env, events == 0 ? uv_poll_stop(&sock->poll) : uv_poll_start(&sock->poll, events, on_poll));
}

/* read(socket, into): the count, 0 at the end of what the peer sends. */
static napi_value qv_read(napi_env env, napi_callback_info info) {
  napi_value values[2];
  struct sock *sock;
  uint8_t *bytes = NULL;
  size_t length = 0;
  if (!take_arguments(env, info, 2, values) || (sock = take_sock(env, values[0])) == NULL) return NULL;
  if (!take_bytes(env, values[1], &bytes, &length)) return NULL;
  ssize_t count = recv(sock->fd, bytes, length, MSG_DONTWAIT);
  return number(env, count < 0 ? -errno : count);
}

/* write(socket, from, offset): the count, at most WRITE_MAX. */
static napi_value qv_write(napi_env env, napi_callback_info info) {
  napi_value values[3];
  struct sock *sock;
  uint8_t *bytes = NULL;
  size_t length = 0;
  uint32_t offset = 0;
  if (!take_arguments(env, info, 3, values) || (sock = take_sock(env, values[0])) == NULL) return NULL;
  if (!take_bytes(env, values[1], &bytes, &length)) return NULL;
  CHECK(napi_get_value_uint32(env, values[2], &offset));
  if (offset > length) {
    napi_throw_range_error(env, NULL, "offset behind the end");
    return NULL;
  }
  size_t rest = length - offset;
  ssize_t count = send(sock->fd, bytes + offset, rest > WRITE_MAX ? WRITE_MAX : rest, MSG_DONTWAIT | MSG_NOSIGNAL);
  return number(env, count < 0 ? -errno : count);
}

/* shutdown(socket): nothing more will be written; reading goes on. */
static napi_value qv_shutdown(napi_env env, napi_callback_info info) {
  napi_value value;
  struct sock *sock;
  if (!take_arguments(env, info, 1, &value) || (sock = take_sock(env, value)) == NULL) return NULL;
  return number(env, shutdown(sock->fd, SHUT_WR) == 0 ? 0 : -errno);
}

/* socketError(socket): what the kernel has to say of it, as a negative errno, or 0. Asking clears it. */
static napi_value qv_socket_error(napi_env env, napi_callback_info info) {
  napi_value value;
  struct sock *sock;
  int failed = 0;
  socklen_t size = sizeof failed;
  if (!take_arguments(env, info, 1, &value) || (sock = take_sock(env, value)) == NULL) return NULL;
  if (getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0) failed = errno;
  return number(env, -failed);
}

/* close(socket): at once, and as often as one likes. */
static napi_value qv_close(napi_env env, napi_callback_info info) {
  napi_value value;
  struct sock *sock;
  if (!take_arguments(env, info, 1, &value) || (sock = take_sock(env, value)) == NULL) return NULL;
  sock_close(sock);
  return NULL;
}

/* ---- Nitro Secure Module ---- */

/* drivers/misc/nsm.c: _IOWR(0x0A, 0, struct nsm_raw) */
struct nsm_raw {
  struct iovec request;
  struct iovec response;
};
#define NSM_IOCTL_RAW _IOWR(0x0A, 0, struct nsm_raw)
_Static_assert(NSM_IOCTL_RAW == 0xC0200A00, "the number of the ioctl");

struct nsm_call {
  napi_async_work work;
  napi_deferred deferred;
  int failed;
  char path[256];
  struct nsm_raw raw;
  uint8_t request[NSM_REQUEST_MAX];
  uint8_t response[NSM_RESPONSE_MAX];
};

/* On a worker: the driver serves one at a time and may take minutes. Opened for each call, so nobody has to own it. */
static void nsm_run(napi_env env, void *data) {
  struct nsm_call *call = data;
  (void)env;
  int fd = open(call->path, O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    call->failed = -errno;
    return;
  }
  if (ioctl(fd, NSM_IOCTL_RAW, &call->raw) != 0) call->failed = -errno;
  /* More than there is room for cannot have been written: the driver is not what we think. */
  if (call->failed == 0 && call->raw.response.iov_len > NSM_RESPONSE_MAX) call->failed = -EMSGSIZE;
  close(fd);
}

static void nsm_done(napi_env env, napi_status status, void *data) {
  struct nsm_call *call = data;
  napi_value value = NULL;
  napi_status made;
  if (status != napi_ok) call->failed = UV_ECANCELED;
  if (call->failed != 0)
    made = napi_create_int32(env, call->failed, &value);
  else
    made = napi_create_buffer_copy(env, call->raw.response.iov_len, call->response, NULL, &value);
  if (made == napi_ok) napi_resolve_deferred(env, call->deferred, value);
  napi_delete_async_work(env, call->work);
  explicit_bzero(call, sizeof *call);
  free(call);
}

/* nsmRequest(path, request): a promise of the response, or of a negative errno. */
static napi_value qv_nsm_request(napi_env env, napi_callback_info info) {
  napi_value values[2], promise = NULL, name = NULL;
  uint8_t *bytes = NULL;
  size_t length = 0;
  if (!take_arguments(env, info, 2, values) || !take_bytes(env, values[1], &bytes, &length)) return NULL;
  if (length > NSM_REQUEST_MAX) {
    napi_throw_range_error(env, NULL, "the request is longer than the module takes");
    return NULL;
  }
  CHECK(napi_create_string_utf8(env, "qv:nsm", NAPI_AUTO_LENGTH, &name));
  struct nsm_call *call = calloc(1, sizeof *call);
  if (call == NULL) {
    napi_throw_error(env, NULL, "out of memory");
    return NULL;
  }
  call->raw.request = (struct iovec){call->request, length};
  call->raw.response = (struct iovec){call->response, NSM_RESPONSE_MAX};
  memcpy(call->request, bytes, length);
  if (napi_get_value_string_utf8(env, values[0], call->path, sizeof call->path, NULL) != napi_ok ||
      napi_create_promise(env, &call->deferred, &promise) != napi_ok ||
      napi_create_async_work(env, NULL, name, nsm_run, nsm_done, call, &call->work) != napi_ok) {
    throw_last(env);
    free(call);
    return NULL;
  }
  if (napi_queue_async_work(env, call->work) != napi_ok) {
    throw_last(env);
    napi_delete_async_work(env, call->work);
    free(call);
    return NULL;
  }
  return promise;
}

/* ---- the process ---- */

/* harden(): no core file, no reading of this memory by others of its user, no privileges from files it executes. */
static napi_value qv_harden(napi_env env, napi_callback_info info) {
  const struct rlimit none = {0, 0};
  (void)info;
  if (setrlimit(RLIMIT_CORE, &none) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 ||
      prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
    return number(env, -errno);
  return number(env, prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : -EPERM);
}

/* Most bytes of one mixRandomness: what the security module gives at once. */
enum { ENTROPY_MAX = 256 };

/*
 * mixRandomness(bytes): into the kernel's pool, and at once into what it hands out. Bytes that are only written to
 * /dev/urandom wait there for the next turn of its generator's key, which may be a minute away. Kernels before 4.17
 * cannot be asked to turn it.
 */
static napi_value qv_mix_randomness(napi_env env, napi_callback_info info) {
  napi_value value;
  uint8_t *bytes = NULL;
  size_t length = 0;
  /* linux/random.h: struct rand_pool_info */
  struct {
    int bits;
    int length;
    uint8_t bytes[ENTROPY_MAX];
  } entropy = {0};
  int failed = 0;
  if (!take_arguments(env, info, 1, &value) || !take_bytes(env, value, &bytes, &length)) return NULL;
  if (length == 0 || length > ENTROPY_MAX) {
    napi_throw_range_error(env, NULL, "not 1 to 256 bytes");
    return NULL;
  }
  entropy.bits = (int)length * 8;
  entropy.length = (int)length;
  memcpy(entropy.bytes, bytes, length);
  int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
  if (fd < 0)
    failed = -errno;
  else if (ioctl(fd, RNDADDENTROPY, &entropy) != 0 || (ioctl(fd, RNDRESEEDCRNG) != 0 && errno != EINVAL))
    failed = -errno;
  if (fd >= 0) close(fd);
  /* OpenSSL's generator was seeded when Node started: once more, from the kernel as it is now and from these. */
  if (failed == 0) RAND_seed(bytes, (int)length);
  explicit_bzero(&entropy, sizeof entropy);
  return number(env, failed);
}

/* setClock(seconds, nanoseconds): the system's clock. */
static napi_value qv_set_clock(napi_env env, napi_callback_info info) {
  napi_value values[2];
  int64_t seconds = 0, nanoseconds = 0;
  if (!take_arguments(env, info, 2, values)) return NULL;
  CHECK(napi_get_value_int64(env, values[0], &seconds));
  CHECK(napi_get_value_int64(env, values[1], &nanoseconds));
  struct timespec time = {.tv_sec = seconds, .tv_nsec = nanoseconds};
  return number(env, clock_settime(CLOCK_REALTIME, &time) == 0 ? 0 : -errno);
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor properties[] = {
#define FUNCTION(name, function) {name, NULL, function, NULL, NULL, NULL, napi_enumerable, NULL}
      FUNCTION("listen", qv_listen),         FUNCTION("connect", qv_connect),
      FUNCTION("accept", qv_accept),         FUNCTION("watch", qv_watch),
      FUNCTION("read", qv_read),             FUNCTION("write", qv_write),
      FUNCTION("shutdown", qv_shutdown),     FUNCTION("socketError", qv_socket_error),
      FUNCTION("close", qv_close),           FUNCTION("nsmRequest", qv_nsm_request),
      FUNCTION("harden", qv_harden),         FUNCTION("setClock", qv_set_clock),
      FUNCTION("mixRandomness", qv_mix_randomness),
#undef FUNCTION
  };
  CHECK(napi_define_properties(env, exports, sizeof properties / sizeof properties[0], properties));
  if (qv_process_init(env, exports) == NULL || qv_legacy_init(env, exports) == NULL) return NULL;
  return qv_recipient_init(env, exports);
}
