/*
 * The first process of both guests of this test. What it does, by the files that it finds:
 *
 *   /modules/NN-name.ko  loaded in the order of their names
 *   /heartbeat           if there: one byte to CID 3, port 9000, which must come back, as the init that AWS puts into
 *                        every enclave image does before it starts the application
 *   /rootfs              becomes the root, with dev, proc, sys and tmp mounted in it
 *   /cmd, /env           the application's arguments and environment, one per line
 *
 * When the application ends, this guest restarts, which ends QEMU (-no-reboot).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

enum { PARENT_CID = 3, HEARTBEAT_PORT = 9000, HEARTBEAT = 0xb7, LINES_MAX = 32 };

static void end_guest(void) {
  sync();
  reboot(RB_AUTOBOOT);
  for (;;) pause();
}

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...) {
  int reason = errno;
  va_list arguments;
  va_start(arguments, format);
  printf("init: ");
  vprintf(format, arguments);
  printf(": %s\n", strerror(reason));
  va_end(arguments);
  fflush(stdout);
  end_guest();
  _exit(1);
}

static void mount_at(const char *type, const char *target, unsigned long flags, const char *data) {
  mkdir(target, 0755);
  if (mount(type, target, type, flags, data) != 0) fail("mount %s", target);
}

static void open_console(void) {
  int console = open("/dev/console", O_RDWR);
  if (console < 0) return;
  for (int descriptor = 0; descriptor <= 2; descriptor++) dup2(console, descriptor);
  if (console > 2) close(console);
}

static int is_module(const struct dirent *entry) { return entry->d_name[0] != '.'; }

static void load_modules(void) {
  struct dirent **entries;
  int count = scandir("/modules", &entries, is_module, alphasort);
  for (int index = 0; index < count; index++) {
    char path[512];
    snprintf(path, sizeof path, "/modules/%s", entries[index]->d_name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || (syscall(SYS_finit_module, file, "", 0) != 0 && errno != EEXIST)) fail("module %s", path);
    close(file);
  }
}

/* Without it nothing in a guest reaches 127.0.0.1. */
static void raise_loopback(void) {
  struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
  int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (any < 0 || ioctl(any, SIOCSIFFLAGS, &request) != 0) fail("loopback");
  close(any);
}

static int heartbeat_once(void) {
  struct sockaddr_vm parent = {.svm_family = AF_VSOCK, .svm_cid = PARENT_CID, .svm_port = HEARTBEAT_PORT};
  unsigned char byte = HEARTBEAT;
  int stream = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (stream < 0) fail("vsock");
  int echoed = connect(stream, (struct sockaddr *)&parent, sizeof parent) == 0 && write(stream, &byte, 1) == 1 &&
               read(stream, &byte, 1) == 1;
  close(stream);
  if (echoed && byte != HEARTBEAT) fail("heartbeat: another byte, 0x%02x, came back", byte);
  return echoed;
}

/* The parent listens already; on a busy machine its answer may still take longer than one attempt. */
static void heartbeat(void) {
  printf("init: calling the parent\n");
  fflush(stdout);
  for (int attempt = 0; attempt < 120; attempt++) {
    if (heartbeat_once()) {
      printf("init: heartbeat\n");
      fflush(stdout);
      return;
    }
    usleep(500 * 1000);
  }
  fail("heartbeat: nobody echoes it");
}

/* The file's lines, with a NULL behind the last. */
static char **read_lines(const char *path) {
  static char *none[] = {NULL};
  FILE *file = fopen(path, "re");
  if (file == NULL) return none;
  char **lines = calloc(LINES_MAX + 1, sizeof *lines);
  size_t count = 0, room = 0;
  char *line = NULL;
  ssize_t length;
  while (count < LINES_MAX && (length = getline(&line, &room, file)) > 0) {
    if (line[length - 1] == '\n') line[length - 1] = '\0';
    lines[count++] = strdup(line);
  }
  free(line);
  fclose(file);
  return lines;
}

static void enter_root(void) {
  mount_at("devtmpfs", "/rootfs/dev", MS_NOSUID, NULL);
  mkdir("/rootfs/dev/shm", 01777);
  if (symlink("/proc/self/fd", "/rootfs/dev/fd") != 0 && errno != EEXIST) fail("/dev/fd");
  mount_at("proc", "/rootfs/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount_at("sysfs", "/rootfs/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  mount_at("tmpfs", "/rootfs/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
  mount_at("tmpfs", "/rootfs/run", MS_NOSUID | MS_NODEV, "mode=755");
  if (chdir("/rootfs") != 0 || chroot(".") != 0 || chdir("/") != 0) fail("/rootfs");
}

int main(void) {
  mount_at("devtmpfs", "/dev", MS_NOSUID, NULL);
  open_console();
  load_modules();
  raise_loopback();
  char **command = read_lines("/cmd");
  char **environment = read_lines("/env");
  if (access("/heartbeat", F_OK) == 0) heartbeat();
  enter_root();
  pid_t application = fork();
  if (application < 0) fail("fork");
  if (application == 0) {
    setsid();
    execve(command[0], command, environment);
    fail("%s", command[0]);
  }
  int status = 0;
  /* Orphans become children of this process: every one is waited for, one of them ends the guest. */
  for (pid_t ended = 0; ended != application;) ended = wait(&status);
  if (WIFEXITED(status)) printf("init: the application ended with status %d\n", WEXITSTATUS(status));
  else printf("init: the application ended by signal %d\n", WTERMSIG(status));
  fflush(stdout);
  end_guest();
}
