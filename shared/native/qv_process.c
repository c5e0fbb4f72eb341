/*
 * What a process of the enclave gives up for good, with all of its threads: system calls that nothing in it needs
 * (seccomp), and more than its share of memory, descriptors and threads (rlimits). Neither can be taken back, and both
 * pass on to whatever the process starts.
 *
 * Calls that are refused answer EPERM. The lists name what must not happen, not what may: a list of everything that
 * Node, V8 and two C libraries ever call would stop an enclave at some other kernel, and nobody could mend it there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "qv_arguments.h"
#include "qv_process.h"

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "no list of system calls for this machine"
#endif

enum { ROLE_VAULT = 0, ROLE_AGENT = 1 };

/* Of both: other processes' memory, the kernel's modules and mounts, files without a name, what watches the machine. */
static const int NEVER[] = {
    SYS_ptrace,        SYS_process_vm_readv, SYS_process_vm_writev, SYS_kcmp,          SYS_perf_event_open,
    SYS_bpf,           SYS_userfaultfd,      SYS_io_uring_setup,    SYS_io_uring_register,
    SYS_add_key,       SYS_request_key,      SYS_keyctl,            SYS_init_module,   SYS_finit_module,
    SYS_delete_module, SYS_kexec_load,       SYS_mount,             SYS_umount2,       SYS_pivot_root,
    SYS_chroot,        SYS_unshare,          SYS_setns,             SYS_open_tree,     SYS_move_mount,
    SYS_fsopen,        SYS_fsmount,          SYS_swapon,            SYS_swapoff,       SYS_reboot,
    SYS_acct,          SYS_syslog,           SYS_personality,       SYS_memfd_create,  SYS_open_by_handle_at,
    SYS_quotactl,      SYS_mknodat,
#ifdef SYS_memfd_secret
    SYS_memfd_secret,
#endif
#ifdef SYS_kexec_file_load
    SYS_kexec_file_load,
#endif
#ifdef SYS_pidfd_getfd
    SYS_pidfd_getfd,
#endif
#ifdef SYS_iopl
    SYS_iopl,          SYS_ioperm,           SYS_modify_ldt,        SYS_mknod,
#endif
};

/* Of the kms-agent: other programs, doors to knock on, and every change to a file system. */
static const int NEVER_OF_AGENT[] = {
    SYS_execve,        SYS_execveat,         SYS_bind,              SYS_listen,        SYS_accept,
    SYS_accept4,       SYS_openat2,          SYS_truncate,          SYS_mkdirat,       SYS_unlinkat,
    SYS_linkat,        SYS_symlinkat,        SYS_renameat,          SYS_renameat2,     SYS_fchmodat,
    SYS_fchownat,      SYS_fallocate,        SYS_setxattr,          SYS_utimensat,     SYS_shmget,
    SYS_msgget,        SYS_semget,           SYS_clock_settime,     SYS_settimeofday,  SYS_io_uring_enter,
    SYS_fchmod,        SYS_fchown,           SYS_ftruncate,         SYS_lsetxattr,     SYS_fsetxattr,
    SYS_removexattr,   SYS_lremovexattr,     SYS_fremovexattr,      SYS_mq_open,       SYS_mq_unlink,
#ifdef SYS_fchmodat2
    SYS_fchmodat2,
#endif
#ifdef SYS_fork
    SYS_fork,          SYS_vfork,            SYS_creat,             SYS_mkdir,         SYS_rmdir,
    SYS_unlink,        SYS_link,             SYS_symlink,           SYS_rename,        SYS_chmod,
    SYS_chown,         SYS_lchown,           SYS_utime,             SYS_utimes,        SYS_futimesat,
#endif
};

/* A process that has just started has some twenty. */
enum { DESCRIPTORS_LOOKED_AT = 256 };

enum { FILTER_MAX = 320 };
struct filter {
  unsigned short length;
  struct sock_filter code[FILTER_MAX];
};

#define REFUSE(error) (SECCOMP_RET_ERRNO | (error))
#define FIELD(field) ((unsigned)offsetof(struct seccomp_data, field))
/* The lower half of an argument: both machines are little-endian, and the kernel takes an int or flags from it. */
#define ARGUMENT(index) (FIELD(args) + 8 * (index))

static void add(struct filter *filter, unsigned short code, unsigned value, unsigned char yes, unsigned char no) {
  filter->code[filter->length++] = (struct sock_filter){code, yes, no, value};
}
static void load(struct filter *filter, unsigned offset) { add(filter, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); }
static void answer(struct filter *filter, unsigned what) { add(filter, BPF_RET | BPF_K, what, 0, 0); }

static void refuse(struct filter *filter, int number, int error) {
  add(filter, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1);
  answer(filter, REFUSE(error));
}

/* Refuses the call if any of the bits of that argument is set. */
static void refuse_bits(struct filter *filter, int number, int argument, unsigned bits) {
  add(filter, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 4);
  load(filter, ARGUMENT(argument));
  add(filter, BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1);
  answer(filter, REFUSE(EPERM));
  load(filter, FIELD(nr));
}

/* Only sockets of this machine and of its parent's. */
static void only_local_sockets(struct filter *filter, int number) {
  add(filter, BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 5);
  load(filter, ARGUMENT(0));
  add(filter, BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 2, 0);
  add(filter, BPF_JMP | BPF_JEQ | BPF_K, AF_VSOCK, 1, 0);
  answer(filter, REFUSE(EPERM));
  load(filter, FIELD(nr));
}

/* Threads are of this process; everything else that clone makes is another one. */
static void only_threads(struct filter *filter) {
  /* Its flags are behind a pointer. The C library then uses clone. */
  refuse(filter, SYS_clone3, ENOSYS);
  add(filter, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4);
  load(filter, ARGUMENT(0));
  add(filter, BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0);
  answer(filter, REFUSE(EPERM));
  load(filter, FIELD(nr));
}

/* Two instructions for each call of the lists; what stands beside them has fewer than 64. */
#define COUNT(list) (sizeof(list) / sizeof(list)[0])
_Static_assert(2 * (COUNT(NEVER) + COUNT(NEVER_OF_AGENT)) + 64 <= FILTER_MAX, "room for the filter");

static void fill(struct filter *filter, int role) {
  load(filter, FIELD(arch));
  add(filter, BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
  answer(filter, SECCOMP_RET_KILL_PROCESS);
  load(filter, FIELD(nr));
#ifdef __x86_64__
  /* The x32 ABI has numbers of its own for the same calls. */
  add(filter, BPF_JMP | BPF_JSET | BPF_K, 0x40000000, 0, 1);
  answer(filter, REFUSE(ENOSYS));
#endif
  for (size_t i = 0; i < COUNT(NEVER); i++) refuse(filter, NEVER[i], EPERM);
  only_local_sockets(filter, SYS_socket);
  if (role == ROLE_AGENT) {
    const unsigned writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC;
    for (size_t i = 0; i < COUNT(NEVER_OF_AGENT); i++) refuse(filter, NEVER_OF_AGENT[i], EPERM);
    only_threads(filter);
    refuse_bits(filter, SYS_openat, 2, writing);
#ifdef SYS_open
    refuse_bits(filter, SYS_open, 1, writing);
#endif
    /* Without a compiler (--jitless) nothing becomes executable once all libraries are there. */
    refuse_bits(filter, SYS_mmap, 2, PROT_EXEC);
    refuse_bits(filter, SYS_mprotect, 2, PROT_EXEC);
    refuse_bits(filter, SYS_pkey_mprotect, 2, PROT_EXEC);
  }
  answer(filter, SECCOMP_RET_ALLOW);
}

/*
 * What is asked of an io_uring no filter sees. libuv makes one at its start where the kernel lets it, and cannot work on
 * without it: so the vault process keeps its own, and what it starts has none.
 */
static bool has_ring(void) {
  static const char ring[] = "anon_inode:[io_uring]";
  char path[32], target[sizeof ring];
  for (int fd = 0; fd < DESCRIPTORS_LOOKED_AT; fd++) {
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (readlink(path, target, sizeof target) == sizeof ring - 1 && memcmp(target, ring, sizeof ring - 1) == 0)
      return true;
  }
  return false;
}

/*
 * confine(role): from now on, on every thread. A negative errno where the kernel cannot: ESRCH if a thread did not
 * follow, EBUSY for a kms-agent that was not started by a confined process.
 */
static napi_value qv_confine(napi_env env, napi_callback_info info) {
  napi_value value;
  int32_t role = -1;
  struct filter filter = {0};
  if (!take_arguments(env, info, 1, &value)) return NULL;
  CHECK(napi_get_value_int32(env, value, &role));
  if (role != ROLE_VAULT && role != ROLE_AGENT) {
    napi_throw_range_error(env, NULL, "no such role");
    return NULL;
  }
  if (role == ROLE_AGENT && has_ring()) return number(env, -EBUSY);
  fill(&filter, role);
  const struct sock_fprog program = {.len = filter.length, .filter = filter.code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return number(env, -errno);
  long done = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
  return number(env, done == 0 ? 0 : done < 0 ? -errno : -ESRCH);
}

/* limit(dataBytes, descriptors, threads): of memory this process can write to, of open files, and of its user's threads. */
static napi_value qv_limit(napi_env env, napi_callback_info info) {
  static const int resources[3] = {RLIMIT_DATA, RLIMIT_NOFILE, RLIMIT_NPROC};
  napi_value values[3];
  int64_t most[3] = {0};
  if (!take_arguments(env, info, 3, values)) return NULL;
  for (int i = 0; i < 3; i++) {
    CHECK(napi_get_value_int64(env, values[i], &most[i]));
    if (most[i] <= 0) {
      napi_throw_range_error(env, NULL, "not a limit");
      return NULL;
    }
  }
  for (int i = 0; i < 3; i++) {
    const struct rlimit limit = {(rlim_t)most[i], (rlim_t)most[i]};
    if (setrlimit(resources[i], &limit) != 0) return number(env, -errno);
  }
  return number(env, 0);
}

napi_value qv_process_init(napi_env env, napi_value exports) {
  const napi_property_descriptor properties[] = {
      {"confine", NULL, qv_confine, NULL, NULL, NULL, napi_enumerable, NULL},
      {"limit", NULL, qv_limit, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  CHECK(napi_define_properties(env, exports, sizeof properties / sizeof properties[0], properties));
  return exports;
}
