/** What several statements have in common. */
import { QvError } from '../errors.ts';
import { DEPLOYMENT_NAME } from '../names.ts';

/** @throws QvError field_malformed */
export function requireNonce(nonce: Uint8Array): void {
  if (nonce.length !== 16) throw new QvError('field_malformed', { path: 'nonce' });
}

/** A deployment is configuration, but a line break in it could forge a line. @throws QvError field_malformed */
export function checkedDeployment(deployment: string): string {
  if (!DEPLOYMENT_NAME.test(deployment)) throw new QvError('field_malformed', { path: 'deployment' });
  return deployment;
}
