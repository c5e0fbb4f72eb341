/** Values that several parts of the host's configuration have. Each throws QvError field_malformed with its path. */
import type { JsonFields } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type Network, parseNetwork } from './client-address.ts';

/** Absolute, because a service manager's working directory is nobody's intention. */
export function absolutePath(fields: JsonFields, key: string): string {
  const value = fields.text(key);
  if (!value.startsWith('/') || value.length > 4095 || value.includes('\0'))
    throw fields.fault(key, 'not an absolute path');
  return value;
}

/** CIDR blocks, undefined when there is no such list. */
export function networks(fields: JsonFields, key: string): readonly Network[] | undefined {
  if (fields.optional(key) === undefined) return undefined;
  const listed = fields.list(key);
  if (listed.length > LIMITS.configNetworks) throw fields.fault(key, 'too many');
  return listed.map((value) => {
    const network = typeof value === 'string' ? parseNetwork(value) : undefined;
    if (network === undefined) throw fields.fault(key, 'not CIDR: 192.0.2.0/24, 2001:db8::/32, or one address');
    return network;
  });
}
