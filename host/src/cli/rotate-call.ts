/** Rotating one wallet over the admin socket. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { AdminCommands } from '../admin-protocol.ts';
import { adminCall } from './admin-client.ts';

/** The enclave asks the key service three times; then the database is written. */
const TIMEOUT_MILLISECONDS = LIMITS.walletRewrapMilliseconds + LIMITS.storeTimeoutMilliseconds;

export const rotateCall = (socket: string, parameters: AdminCommands['wallet-rotate']['arguments']) =>
  adminCall(socket, 'wallet-rotate', parameters, TIMEOUT_MILLISECONDS);
