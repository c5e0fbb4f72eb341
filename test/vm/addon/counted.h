/*
 * Compiled in front of each of the addon's files for one check: counts what is allocated and not freed, and the bytes
 * of each send, and says so when the process ends. Nothing of the addon changes. Weak: all of them count together.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#define SHARED __attribute__((weak))
SHARED long live_allocations, allocations, sends;
SHARED size_t largest_send;

static inline void *counted_calloc(size_t count, size_t size) {
  void *memory = calloc(count, size);
  if (memory != NULL) {
    __atomic_add_fetch(&live_allocations, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&allocations, 1, __ATOMIC_SEQ_CST);
  }
  return memory;
}

static inline void counted_free(void *memory) {
  if (memory != NULL) __atomic_sub_fetch(&live_allocations, 1, __ATOMIC_SEQ_CST);
  free(memory);
}

static inline ssize_t counted_send(int fd, const void *bytes, size_t length, int flags) {
  sends++;
  if (length > largest_send) largest_send = length;
  return send(fd, bytes, length, flags);
}

SHARED __attribute__((destructor)) void tell(void) {
  dprintf(2, "counted {\"live\":%ld,\"allocations\":%ld,\"sends\":%ld,\"largestSend\":%zu}\n",
          live_allocations, allocations, sends, largest_send);
}

#define calloc counted_calloc
#define free counted_free
#define send counted_send
