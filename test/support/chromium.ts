/**
 * Drives a real Chromium over the DevTools protocol on a pipe: JSON messages, each ended by a zero byte, on file
 * descriptors 3 and 4 of the browser.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

type Json = Readonly<Record<string, unknown>>;
type Listener = (method: string, parameters: Json) => void;

interface Pending {
  readonly resolve: (result: Json) => void;
  readonly reject: (error: Error) => void;
}

/** The machine's names lead nowhere but to itself: a page that asks for anything else is noticed and gets nothing. */
const RESOLVER = 'MAP plain.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1';

export class Chromium {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Map<string, Listener>();
  #lastId = 0;

  constructor(program: string) {
    this.#profile = mkdtempSync(join(tmpdir(), 'qv-chromium-'));
    const options = [
      '--headless',
      '--remote-debugging-pipe',
      // Chromium's sandbox does not start under root, which is who CI is.
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--disable-background-networking',
      '--no-first-run',
      `--host-resolver-rules=${RESOLVER}`,
      `--user-data-dir=${this.#profile}`,
    ];
    this.#child = spawn(program, options, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    this.#child.once('exit', () => this.#fail(new Error('chromium ended')));
    this.#child.once('error', (error) => this.#fail(error));
    this.#listen(this.#child.stdio[4] as Readable);
  }

  async send(method: string, parameters: Json = {}, sessionId?: string): Promise<Json> {
    const id = ++this.#lastId;
    const message = JSON.stringify({ id, method, params: parameters, ...(sessionId !== undefined && { sessionId }) });
    const reply = new Promise<Json>((resolve, reject) => this.#pending.set(id, { resolve, reject }));
    (this.#child.stdio[3] as Writable).write(`${message}\0`);
    return reply;
  }

  async open(url: string, view: View): Promise<Page> {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, String(sessionId));
    this.#listeners.set(String(sessionId), page.listener);
    await page.start(url, view);
    return page;
  }

  async close(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.send('Browser.close').catch(() => undefined);
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5_000);
    if (this.#child.exitCode === null) await exited;
    clearTimeout(timer);
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #listen(input: Readable): void {
    let rest = '';
    input.setEncoding('utf8');
    input.on('data', (text: string) => {
      const messages = (rest + text).split('\0');
      rest = messages.pop() ?? '';
      for (const message of messages) this.#take(JSON.parse(message) as Json);
    });
  }

  #take({ id, result, error, method, params, sessionId }: Json): void {
    if (typeof id !== 'number') {
      this.#listeners.get(String(sessionId))?.(String(method), params as Json);
      return;
    }
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (error === undefined) pending?.resolve(result as Json);
    else pending?.reject(new Error(JSON.stringify(error)));
  }

  #fail(error: Error): void {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

export interface View {
  readonly width: number;
  readonly height: number;
  readonly scheme: 'light' | 'dark';
}

export class Page {
  readonly #browser: Chromium;
  readonly #session: string;
  #loaded: () => void = () => undefined;
  /** Every address the page asked for. */
  readonly requests: string[] = [];
  /** What the browser complained about: exceptions, errors on the console, violations of the policy. */
  readonly problems: string[] = [];

  constructor(browser: Chromium, session: string) {
    this.#browser = browser;
    this.#session = session;
  }

  readonly listener: Listener = (method, parameters) => {
    if (method === 'Page.loadEventFired') this.#loaded();
    if (method === 'Network.requestWillBeSent') this.requests.push((parameters['request'] as { url: string }).url);
    if (method === 'Runtime.exceptionThrown') this.problems.push(JSON.stringify(parameters));
    if (method === 'Log.entryAdded') this.problems.push((parameters['entry'] as { text: string }).text);
  };

  async start(url: string, { width, height, scheme }: View): Promise<void> {
    for (const domain of ['Page', 'Network', 'Runtime', 'Log', 'DOM']) await this.#send(`${domain}.enable`);
    const mobile = width < 500;
    await this.#send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile });
    const features = [{ name: 'prefers-color-scheme', value: scheme }];
    await this.#send('Emulation.setEmulatedMedia', { features });
    const loaded = new Promise<void>((resolve) => {
      this.#loaded = resolve;
    });
    await this.#send('Page.navigate', { url });
    await loaded;
  }

  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.#send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    const { exceptionDetails, result } = answer as { exceptionDetails?: unknown; result: { value: unknown } };
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return result.value as T;
  }

  text(selector: string): Promise<string> {
    return this.evaluate(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ''`);
  }

  /** As a person would: open what hides the field, focus it, and characters from the keyboard. */
  async type(selector: string, text: string): Promise<void> {
    const focused = await this.evaluate<boolean>(`(() => {
      const field = document.querySelector(${JSON.stringify(selector)});
      const box = field.closest('details');
      if (box !== null) box.open = true;
      field.focus();
      return document.activeElement === field;
    })()`);
    if (!focused) throw new Error(`${selector} does not take the focus`);
    await this.#send('Input.insertText', { text });
  }

  async press(key: 'Tab' | 'Enter' | ' '): Promise<void> {
    const codes = { Tab: 9, Enter: 13, ' ': 32 };
    const text = key === 'Enter' ? '\r' : key;
    const event = { key, windowsVirtualKeyCode: codes[key], ...(key !== 'Tab' && { text }) };
    await this.#send('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
    await this.#send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  async chooseFile(selector: string, path: string): Promise<void> {
    const expression = `document.querySelector(${JSON.stringify(selector)})`;
    const { result } = (await this.#send('Runtime.evaluate', { expression })) as { result: { objectId: string } };
    await this.#send('DOM.setFileInputFiles', { files: [path], objectId: result.objectId });
  }

  async dropFile(path: string, x: number, y: number): Promise<void> {
    const data = { items: [], files: [path], dragOperationsMask: 1 };
    for (const type of ['dragEnter', 'dragOver', 'drop'])
      await this.#send('Input.dispatchDragEvent', { type, x, y, data });
  }

  /** The whole page, not only what fits the window. */
  async screenshot(file: string): Promise<void> {
    const { data } = await this.#send('Page.captureScreenshot', { captureBeyondViewport: true });
    writeFileSync(file, Buffer.from(String(data), 'base64'));
  }

  #send(method: string, parameters: Json = {}): Promise<Json> {
    return this.#browser.send(method, parameters, this.#session);
  }
}
