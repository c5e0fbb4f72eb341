/** Keys typed at a terminal: never shown, and the terminal afterwards as it was, however it ended. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { ReadSeedOptions } from '@quantumvault/host/cli/import/read-key.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { afterEach, describe, expect, it } from 'vitest';
import { noteCode } from '../../../support/codes-seen.ts';
import { requireProgram } from '../../../support/requires.ts';
import { until } from '../../../support/temporary.ts';
import { masterSeedOf, mnemonicOf, nodesOf, pairOf } from './oracle.ts';
import { Traces } from './traces.ts';

const READER = join(import.meta.dirname, 'reader.ts');
const KEY_PROMPT = 'Key (what you type is not shown): ';
const script = requireProgram('script', 'bsdutils');
const stty = requireProgram('stty', 'coreutils');

const mnemonic = mnemonicOf(Buffer.alloc(16, 0x2d));
const passphrase = 'TREZOR zqxj';
const addressOf = (words: string, secret = ''): string =>
  pairOf(nodesOf(masterSeedOf(words, secret), [44, 501, 0, 0]).at(-1)?.key ?? Buffer.alloc(32)).address;
const pair = toBase58(pairOf(Buffer.alloc(32, 0x44)).pair);

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A pseudo-terminal with the reader on it, and `stty` before and after it. */
class Terminal {
  shown = '';
  readonly #child: ChildProcess;

  constructor(options: ReadSeedOptions & { pause?: true }, input = '') {
    const reader = `sh -c 'echo "pid=$$"; exec "$NODE" "$READER" "$OPTIONS"' ${input}`;
    // What is left over is what a shell would take for its next commands: read until half a second has brought nothing.
    const left = 'stty raw -echo min 0 time 5; left=$(cat); stty $saved; echo "left=[$left]"';
    const line = `saved=$(stty -g); stty -a; ${reader}; echo "exit=$?"; stty -a; ${left}; echo end`;
    this.#child = spawn('script', ['-qec', line, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: {
        PATH: process.env['PATH'],
        NODE: process.execPath,
        READER,
        OPTIONS: JSON.stringify(options),
        SHELL: '/bin/sh',
      },
    });
    children.push(this.#child);
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.shown += text;
    });
  }

  async type(prompt: string, ...keys: readonly (string | Uint8Array)[]): Promise<this> {
    await until(`${prompt} is shown`, () => this.shown.includes(prompt));
    for (const key of keys) this.#child.stdin?.write(key);
    return this;
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.readerPid, name);
  }

  /** Closes the terminal: its window, say. */
  hangUp(): void {
    this.#child.kill('SIGKILL');
  }

  get readerPid(): number {
    return Number(/pid=(\d+)/.exec(this.shown)?.[1]);
  }

  /** What the reader said, how it ended, and whether the terminal is as it was. */
  async ended() {
    await until('the reader has ended', () => /\r\nend\r\n$/.test(this.shown));
    const said = [...this.shown.matchAll(/\{"step":"read".*\}/g)].map(([json]) => JSON.parse(json));
    for (const { code } of said) if (code !== undefined) noteCode(code);
    const [before, after] = [...this.shown.matchAll(/speed[\s\S]*?(?=\r\n(?:pid=|left=))/g)].map(([text]) => text);
    expect(before).toMatch(/[ ;]icanon[\s\S]* echo /);
    expect(after).toBe(before);
    expect(this.shown).toContain('left=[]');
    return { said, exit: Number(/exit=(\d+)/.exec(this.shown)?.[1]) };
  }
}

describe.runIf(script !== undefined && stty !== undefined)('a terminal', () => {
  it('is asked for a mnemonic and its passphrase, and shows neither', async () => {
    const terminal = new Terminal({ key: 'terminal', passphrase: 'terminal' });
    await terminal.type(KEY_PROMPT, `${mnemonic}\r`);
    await terminal.type('Passphrase: ', `${passphrase}\r`);
    const { said, exit } = await terminal.ended();
    expect(said).toEqual([{ step: 'read', address: addressOf(mnemonic, passphrase) }]);
    expect(exit).toBe(0);
    for (const word of [...mnemonic.split(' '), ...passphrase.split(' ')]) expect(terminal.shown).not.toContain(word);
    // Nor stars for them: how long it is, is nobody's business.
    expect(terminal.shown).toContain(`${KEY_PROMPT}\r\nPassphrase: \r\n{`);
  });

  it('takes backspace, for characters of several bytes too, and Ctrl-U', async () => {
    const terminal = new Terminal({ key: 'terminal' });
    const [first, ...rest] = mnemonic;
    await terminal.type(KEY_PROMPT, 'zqxj zqxj\u0015', `${first}xé€😀`, '\u007f\u007f\b\u007f', `${rest.join('')}\n`);
    expect((await terminal.ended()).said).toEqual([{ step: 'read', address: addressOf(mnemonic) }]);
    expect(terminal.shown).not.toMatch(/zqxj|é|€|😀/);
  });

  it('takes keys one by one, and drops what follows the line', async () => {
    const terminal = new Terminal({ key: 'terminal' });
    await terminal.type(KEY_PROMPT);
    for (const key of pair) {
      await terminal.type(KEY_PROMPT, key);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await terminal.type(KEY_PROMPT, '\rzqxjzqxj', '\recho zqxj\r'.repeat(50));
    expect((await terminal.ended()).said).toEqual([{ step: 'read', address: pairOf(Buffer.alloc(32, 0x44)).address }]);
    expect(terminal.shown).not.toContain(pair.slice(0, 8));
  });

  it('is asked also when standard input is something else', async () => {
    const terminal = new Terminal({ key: 'terminal' }, '< /dev/null');
    await terminal.type(KEY_PROMPT, `${pair}\r`);
    expect((await terminal.ended()).said).toEqual([{ step: 'read', address: pairOf(Buffer.alloc(32, 0x44)).address }]);
  });

  it.each([
    ['Ctrl-C', '\u0003', 'input_unreadable', 'interrupted'],
    ['Ctrl-\\', '\u001c', 'input_unreadable', 'interrupted'],
    ['an arrow', '\u001b[D\r', 'input_unreadable', 'a control key was pressed, such as an arrow'],
    ['a NUL', '\0\r', 'input_unreadable', 'a control key was pressed, such as an arrow'],
    ['a wrong word', ' zqxjz\r', 'mnemonic_malformed', '13 words; there have to be 12, 15, 18, 21, 24'],
    ['nothing', '\u0015\r', 'key_malformed', 'nothing was there'],
    ['Ctrl-D', '\u0015\u0004', 'key_malformed', 'nothing was there'],
    ['far too much', `${'zqxj '.repeat(1_000)}\r`, 'body_too_large', undefined],
  ])('is as it was after %s', async (_, keys, code, value) => {
    const terminal = new Terminal({ key: 'terminal' });
    await terminal.type(KEY_PROMPT, mnemonic, keys);
    const { said, exit } = await terminal.ended();
    expect(said).toEqual([expect.objectContaining({ step: 'read', code, ...(value !== undefined && { value }) })]);
    expect(exit).toBe(0);
    expect(terminal.shown).not.toMatch(/zqxj/);
    expect(terminal.shown).not.toContain(mnemonic.split(' ')[0]);
  });

  it('leaves nothing in memory of what was typed but the seed, and then not that', async () => {
    const entropy = randomBytes(16);
    const words = mnemonicOf(entropy);
    const traces = new Traces().mnemonic(words, entropy, passphrase, [44, 501, 0, 0]);
    const terminal = new Terminal({ key: 'terminal', passphrase: 'terminal', pause: true });
    await terminal.type(KEY_PROMPT, words, '\r');
    await terminal.type('Passphrase: ', ...passphrase, '\r');
    await until('it has read', () => terminal.shown.includes('"step":"read"'));
    const found = await traces.in(terminal.readerPid);
    expect(found.filter(({ where }) => where !== 'guarded')).toEqual([]);
    expect(found.map(({ what }) => what)).toContain('key at depth 4: raw, whole');
    await terminal.type('"step":"read"', '\n');
    await until('it has wiped', () => terminal.shown.includes('"step":"wiped"'));
    expect(await traces.in(terminal.readerPid)).toEqual([]);
    await terminal.type('"step":"wiped"', '\n');
    expect((await terminal.ended()).said).toEqual([{ step: 'read', address: addressOf(words, passphrase) }]);
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
    ['SIGQUIT', 131],
  ] as const)('is as it was after %s, of which the process dies', async (name, status) => {
    const terminal = new Terminal({ key: 'terminal', passphrase: 'terminal' });
    await terminal.type(KEY_PROMPT, `${mnemonic}\r`);
    await terminal.type('Passphrase: ');
    terminal.signal(name);
    const { said, exit } = await terminal.ended();
    expect([said, exit]).toEqual([[], status]);
    expect(terminal.shown).not.toContain(mnemonic.split(' ')[0]);
  });

  it('that goes away takes the process with it', async () => {
    const terminal = new Terminal({ key: 'terminal' });
    await terminal.type(KEY_PROMPT, mnemonic);
    const { readerPid } = terminal;
    terminal.hangUp();
    await until('the reader has gone', () => !isAlive(readerPid));
  });

  it('is not read as a descriptor, where what is typed would show', async () => {
    const { said } = await new Terminal({ key: { descriptor: 0 } }).ended();
    expect(said).toEqual([
      expect.objectContaining({
        code: 'input_unreadable',
        path: 'descriptor 0',
        value: 'a terminal; without a descriptor or a file qv asks there, unseen',
      }),
    ]);
  });
});

describe('without a terminal', () => {
  it('nobody is asked', async () => {
    // A session of its own has none.
    const child = spawn(process.execPath, [READER, JSON.stringify({ key: 'terminal' })], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    children.push(child);
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    await until('it has ended', () => child.exitCode !== null);
    expect(JSON.parse(said.split('\n')[0] ?? '')).toMatchObject({
      code: 'usage_invalid',
      value: 'no terminal to ask on: name a descriptor or a file',
    });
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
