/*
 * For tests: system calls as a compromised process would make them, by number. Answers what the kernel answers, or the
 * negative errno. An argument is a number, or a Uint8Array whose address is meant.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <node_api.h>

static napi_value call(napi_env env, napi_callback_info info) {
  napi_value values[7], result;
  size_t count = 7;
  long words[7] = {0};
  napi_get_cb_info(env, info, &count, values, NULL, NULL);
  for (size_t i = 0; i < count && i < 7; i++) {
    int64_t number = 0;
    void *bytes = NULL;
    size_t length = 0;
    if (napi_get_value_int64(env, values[i], &number) == napi_ok)
      words[i] = (long)number;
    else if (napi_get_typedarray_info(env, values[i], NULL, &length, &bytes, NULL, NULL) == napi_ok)
      words[i] = (long)bytes;
  }
  errno = 0;
  long done = syscall(words[0], words[1], words[2], words[3], words[4], words[5], words[6]);
  napi_create_int64(env, done < 0 ? -errno : done, &result);
  return result;
}

/* Numbers by name, because they differ between machines. */
static napi_value numbers(napi_env env) {
  napi_value table, value;
  napi_create_object(env, &table);
#define NUMBER(name)                             \
  napi_create_int64(env, SYS_##name, &value);    \
  napi_set_named_property(env, table, #name, value);
  NUMBER(ptrace) NUMBER(process_vm_readv) NUMBER(process_vm_writev) NUMBER(kcmp) NUMBER(perf_event_open)
  NUMBER(bpf) NUMBER(userfaultfd) NUMBER(io_uring_setup) NUMBER(io_uring_enter) NUMBER(keyctl) NUMBER(add_key) NUMBER(init_module)
  NUMBER(finit_module) NUMBER(delete_module) NUMBER(kexec_load) NUMBER(mount) NUMBER(umount2) NUMBER(pivot_root)
  NUMBER(chroot) NUMBER(unshare) NUMBER(setns) NUMBER(swapon) NUMBER(reboot) NUMBER(acct) NUMBER(syslog)
  NUMBER(personality) NUMBER(memfd_create) NUMBER(open_by_handle_at) NUMBER(mknodat) NUMBER(socket) NUMBER(execve)
  NUMBER(execveat) NUMBER(clone) NUMBER(clone3) NUMBER(bind) NUMBER(listen) NUMBER(accept4) NUMBER(openat)
  NUMBER(openat2) NUMBER(mkdirat) NUMBER(unlinkat) NUMBER(renameat2) NUMBER(linkat) NUMBER(symlinkat)
  NUMBER(fchmodat) NUMBER(truncate) NUMBER(mmap) NUMBER(mprotect) NUMBER(shmget) NUMBER(getpid) NUMBER(prctl)
  NUMBER(prlimit64) NUMBER(clock_settime) NUMBER(seccomp) NUMBER(fchmod) NUMBER(fchown) NUMBER(ftruncate)
  NUMBER(fsetxattr) NUMBER(removexattr) NUMBER(mq_open)
#ifdef SYS_fork
  NUMBER(fork) NUMBER(vfork) NUMBER(open) NUMBER(creat) NUMBER(unlink) NUMBER(mkdir) NUMBER(utime) NUMBER(futimesat)
#endif
  return table;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "call", NAPI_AUTO_LENGTH, call, NULL, &function);
  napi_set_named_property(env, exports, "call", function);
  napi_set_named_property(env, exports, "numbers", numbers(env));
  return exports;
}
