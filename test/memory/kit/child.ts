/**
 * A process with known bytes in known kinds of memory. argv: the number that they are derived from, and the C addon's
 * file if the process is to harden itself as production entries do. Counts on standard output until its input ends.
 */
import { harden, loadNative } from '@quantumvault/shared/native.ts';
import sodium from 'sodium-native';
import { planted } from './planted.ts';

const [number = '', addon] = process.argv.slice(2);
const guarded = sodium.sodium_malloc(32);
planted(number, 'guarded').copy(guarded);
sodium.sodium_mprotect_noaccess(guarded);
const buffer = Buffer.allocUnsafeSlow(32);
planted(number, 'buffer').copy(buffer);
const kept = [guarded, buffer, new Uint8Array(planted(number, 'small array')), planted(number, 'text').toString('hex')];

if (addon !== undefined) harden(loadNative(addon));
let count = 0;
setInterval(() => process.stdout.write(`${kept.length} ${++count}\n`), 5);
process.stdin.resume();
process.stdin.on('end', () => process.exit(0));
