/* Prints how many thousand times a second this machine's time stamp counter ticks. Emulated guests see the same one. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

enum { INTERVAL_NS = 250 * 1000 * 1000 };

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Both clocks at one instant. Of several readings the quickest counts: nobody interrupted it. */
static void read_both(uint64_t *ticks, uint64_t *ns) {
  uint64_t quickest = UINT64_MAX;
  for (int attempt = 0; attempt < 64; attempt++) {
    uint64_t before = __rdtsc(), time = now_ns(), after = __rdtsc();
    if (after - before >= quickest) continue;
    quickest = after - before;
    *ticks = before + quickest / 2;
    *ns = time;
  }
}

int main(void) {
  uint64_t ticks[2], ns[2];
  struct timespec pause = {.tv_nsec = INTERVAL_NS};
  read_both(&ticks[0], &ns[0]);
  nanosleep(&pause, NULL);
  read_both(&ticks[1], &ns[1]);
  printf("%llu\n", (unsigned long long)((double)(ticks[1] - ticks[0]) * 1e6 / (double)(ns[1] - ns[0])));
  return 0;
}
