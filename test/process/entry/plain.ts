/** The attempts in an ordinary process. */
import { tryAll } from './attempts.ts';

void tryAll().then((outcomes) => process.stdout.write(JSON.stringify(outcomes)));
