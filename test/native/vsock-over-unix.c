/*
 * Preloaded by tests: AF_VSOCK of a machine with several CIDs, played by abstract Unix sockets, so that the addon runs
 * without a hypervisor and the machine's own vsock is never touched. What a real vsock does differently is tested in
 * a guest (test/vm).
 *
 * QV_SHIM_SCOPE names the machine, QV_SHIM_CID is the CID of this process, QV_SHIM_NSM makes the ioctl of /dev/nsm:
 * `echo` answers the request, `fail` EIO, `lie` a length that no buffer has. QV_SHIM_RANDOM stands for the kernel's
 * random numbers, of a kernel that is `new`, `old` (knows no RNDRESEEDCRNG) or lets nobody (`denied`); what it was asked
 * for is appended to the file QV_SHIM_RANDOM_LOG.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

/* So that a test can see that this file is in place before it opens anything. */
const char *const qv_shim = "qv-vsock-over-unix";

static size_t largest_send;
size_t qv_shim_largest_send(void) { return largest_send; }

static unsigned own_cid(void) { return (unsigned)strtoul(getenv("QV_SHIM_CID"), NULL, 10); }

static socklen_t name_of(struct sockaddr_un *name, unsigned cid, unsigned port) {
  memset(name, 0, sizeof *name);
  name->sun_family = AF_UNIX;
  int length = snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "qv/%s/%u/%u", getenv("QV_SHIM_SCOPE"), cid, port);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

int socket(int domain, int type, int protocol) {
  int (*real)(int, int, int) = dlsym(RTLD_NEXT, "socket");
  return real(domain == AF_VSOCK ? AF_UNIX : domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t size) {
  int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
  if (address->sa_family != AF_VSOCK) return real(fd, address, size);
  struct sockaddr_un name;
  socklen_t length = name_of(&name, own_cid(), ((const struct sockaddr_vm *)address)->svm_port);
  return real(fd, (struct sockaddr *)&name, length);
}

int connect(int fd, const struct sockaddr *address, socklen_t size) {
  int (*real_bind)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
  int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
  static unsigned next_port = 1u << 30;
  const struct sockaddr_vm *vm = (const struct sockaddr_vm *)address;
  struct sockaddr_un name;
  socklen_t length;
  if (address->sa_family != AF_VSOCK) return real(fd, address, size);
  do length = name_of(&name, own_cid(), next_port++ ^ ((unsigned)getpid() << 8));
  while (real_bind(fd, (struct sockaddr *)&name, length) != 0 && errno == EADDRINUSE);
  length = name_of(&name, vm->svm_cid, vm->svm_port);
  return real(fd, (struct sockaddr *)&name, length);
}

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags) {
  int (*real)(int, struct sockaddr *, socklen_t *, int) = dlsym(RTLD_NEXT, "accept4");
  struct sockaddr_un name;
  socklen_t length = sizeof name;
  struct sockaddr_vm vm = {.svm_family = AF_VSOCK};
  char text[sizeof name.sun_path] = {0};
  char *slash;
  int accepted;
  if (address == NULL) return real(fd, NULL, NULL, flags);
  accepted = real(fd, (struct sockaddr *)&name, &length, flags);
  if (accepted < 0) return accepted;
  memcpy(text, name.sun_path + 1, length - offsetof(struct sockaddr_un, sun_path) - 1);
  slash = strrchr(text, '/');
  vm.svm_port = (unsigned)strtoul(slash + 1, NULL, 10);
  *slash = 0;
  vm.svm_cid = (unsigned)strtoul(strrchr(text, '/') + 1, NULL, 10);
  memcpy(address, &vm, *size < sizeof vm ? *size : sizeof vm);
  *size = sizeof vm;
  return accepted;
}

ssize_t send(int fd, const void *bytes, size_t count, int flags) {
  ssize_t (*real)(int, const void *, size_t, int) = dlsym(RTLD_NEXT, "send");
  if (count > largest_send) {
    largest_send = count;
    /* The tests are after this one number; more than 32 KiB is what they look for. */
    if (count > 32 * 1024) abort();
  }
  return real(fd, bytes, count, flags);
}

static const char *nsm_mode(void) { return getenv("QV_SHIM_NSM"); }

int open(const char *path, int flags, ...) {
  int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
  va_list list;
  va_start(list, flags);
  int mode = va_arg(list, int);
  va_end(list);
  return real(strcmp(path, "/dev/nsm") == 0 && nsm_mode() != NULL ? "/dev/null" : path, flags, mode);
}

/* RNDADDENTROPY and RNDRESEEDCRNG (linux/random.h) */
enum { ADD_ENTROPY = 0x40085203, RESEED = 0x5207 };

static int random_ioctl(unsigned long request, const int *pool) {
  const char *kernel = getenv("QV_SHIM_RANDOM");
  FILE *log = fopen(getenv("QV_SHIM_RANDOM_LOG"), "a");
  if (request == ADD_ENTROPY) fprintf(log, "add %d bits of %d bytes, %u first\n", pool[0], pool[1], ((unsigned char *)(pool + 2))[0]);
  else fprintf(log, "reseed\n");
  fclose(log);
  errno = strcmp(kernel, "denied") == 0 ? EPERM : EINVAL;
  return strcmp(kernel, "denied") == 0 || (request == RESEED && strcmp(kernel, "old") == 0) ? -1 : 0;
}

int ioctl(int fd, unsigned long request, ...) {
  int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  if (getenv("QV_SHIM_RANDOM") != NULL && (request == ADD_ENTROPY || request == RESEED)) return random_ioctl(request, argument);
  if (request != 0xC0200A00 || nsm_mode() == NULL) return real(fd, request, argument);
  struct iovec *messages = argument;
  if (strcmp(nsm_mode(), "fail") == 0) {
    errno = EIO;
    return -1;
  }
  if (strcmp(nsm_mode(), "lie") == 0) {
    messages[1].iov_len++;
    return 0;
  }
  memcpy(messages[1].iov_base, messages[0].iov_base, messages[0].iov_len);
  messages[1].iov_len = messages[0].iov_len;
  return 0;
}
