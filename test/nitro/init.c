/*
 * The first process of both guests of this test. What it does, by the files that it finds:
 *
 *   /modules/NN-name.ko  loaded in the order of their names
 *   /heartbeat           if there: one byte to CID 3, port 9000, which must come back, as the init that AWS puts into
 *                        every enclave image does before it starts the application
 *   /rootfs              becomes the root, with dev, proc, sys and tmp mounted in it
 *   /cmd, /env           the application's arguments and environment, one per line
 *
 * Until then it prints what the kernel says of each process of the application, whenever that changes: its user, whether
 * it may gain privileges, whether it can be dumped; and the mode of /dev/nsm.
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

/* One line of /proc/<pid>/status as a number, in the base it is written in. */
static long status_field(const char *pid, const char *name) {
  char path[64], line[256];
  long value = -1;
  snprintf(path, sizeof path, "/proc/%.16s/status", pid);
  FILE *file = fopen(path, "re");
  if (file == NULL) return value;
  while (value < 0 && fgets(line, sizeof line, file) != NULL) {
    size_t length = strlen(name);
    if (strncmp(line, name, length) == 0 && line[length] == ':') value = strtol(line + length + 1, NULL, 10);
  }
  fclose(file);
  return value;
}

/* The file that Node runs, which is the first argument that is no option; empty for other processes. */
static void script_of(const char *pid, char *script, size_t room) {
  char path[64], arguments[1024];
  script[0] = '\0';
  snprintf(path, sizeof path, "/proc/%.16s/cmdline", pid);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  ssize_t count = read(file, arguments, sizeof arguments - 1);
  close(file);
  arguments[count > 0 ? count : 0] = '\0';
  for (char *each = arguments; each < arguments + count; each += strlen(each) + 1)
    if (strstr(each, ".cjs") != NULL) {
      snprintf(script, room, "%s", each);
      return;
    }
}

static int is_process(const struct dirent *entry) { return entry->d_name[0] >= '1' && entry->d_name[0] <= '9'; }

static void describe_processes(char *text, size_t room) {
  struct dirent **entries;
  int count = scandir("/proc", &entries, is_process, versionsort);
  text[0] = '\0';
  for (int index = 0; index < count; index++) {
    const char *pid = entries[index]->d_name;
    char script[256], path[64];
    struct stat owner;
    script_of(pid, script, sizeof script);
    snprintf(path, sizeof path, "/proc/%.16s/stat", pid);
    if (script[0] != '\0' && stat(path, &owner) == 0) {
      /* The kernel gives the files of a process that cannot be dumped to root: proc(5). */
      size_t used = strlen(text);
      snprintf(text + used, room - used, "init: %s user %ld no-new-privileges %ld files-of %u\n", script,
               status_field(pid, "Uid"), status_field(pid, "NoNewPrivs"), owner.st_uid);
    }
    free(entries[index]);
  }
  if (count >= 0) free(entries);
  struct stat module;
  size_t used = strlen(text);
  if (stat("/dev/nsm", &module) == 0)
    snprintf(text + used, room - used, "init: /dev/nsm mode %03o\n", module.st_mode & 0777);
}

__attribute__((noreturn)) static void watch_processes(void) {
  static char before[4096], now[4096];
  for (;;) {
    describe_processes(now, sizeof now);
    if (strcmp(before, now) != 0) {
      fputs(now, stdout);
      fflush(stdout);
      memcpy(before, now, sizeof before);
    }
    usleep(1000 * 1000);
  }
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
  pid_t watcher = fork();
  if (watcher == 0) watch_processes();
  int status = 0;
  /* Orphans become children of this process: every one is waited for, one of them ends the guest. */
  for (pid_t ended = 0; ended != application;) ended = wait(&status);
  if (WIFEXITED(status)) printf("init: the application ended with status %d\n", WEXITSTATUS(status));
  else printf("init: the application ended by signal %d\n", WTERMSIG(status));
  fflush(stdout);
  end_guest();
}
