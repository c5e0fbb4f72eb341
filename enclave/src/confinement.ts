/** What each process of the image has the kernel take away from it, before it reads anything but its own code. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { confine, harden, limitResources, type Native } from '@quantumvault/shared/native.ts';
import { lockedKilobytes } from './locked-memory.ts';
import { SECURE_HEAP_BYTES } from './node-flags.ts';

/** @throws Error with the errno of what the kernel refused, or naming what is not locked */
export function confineVault(native: Native): void {
  // Node says one line when the kernel refuses, and goes on.
  if (lockedKilobytes() * 1024 < SECURE_HEAP_BYTES) throw new Error('the secure heap of OpenSSL is not locked');
  harden(native);
  // What it starts inherits that, and so has no io_uring, by which system calls would go past its own filter.
  confine(native, 'vault');
}

/** @throws Error with the errno; EBUSY when no confined process started this one */
export function confineAgent(native: Native): void {
  harden(native);
  limitResources(native, {
    dataBytes: LIMITS.kmsAgentDataBytes,
    descriptors: LIMITS.kmsAgentDescriptors,
    threads: LIMITS.kmsAgentThreads,
  });
  confine(native, 'agent');
}
