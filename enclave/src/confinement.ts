/** What each process of the image has the kernel take away from it, before it reads anything but its own code. */

import { LIMITS } from '@quantumvault/shared/limits.ts';
import { confine, harden, limitResources, type Native } from '@quantumvault/shared/native.ts';

/** @throws Error with the errno of what the kernel refused */
export function confineVault(native: Native): void {
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
