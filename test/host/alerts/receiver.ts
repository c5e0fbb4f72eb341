/** Somebody who is told: an HTTP server that verifies what comes with the `standardwebhooks` package. */
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { Webhook } from 'standardwebhooks';
import { Contract } from '../openapi/contract.ts';

const CONTRACT = new Contract();

export interface Told {
  readonly type: string;
  readonly timestamp: string;
  readonly data: Record<string, unknown>;
}

export class Receiver {
  readonly #server: Server;
  readonly #secrets: readonly string[];
  /** What was delivered, in order, each with its webhook-id. */
  readonly told: (Told & { readonly id: string })[] = [];
  /** Every request, answered with 2xx or not. */
  readonly requests: { readonly path: string; readonly headers: IncomingHttpHeaders }[] = [];
  /** Status of the next answers; then 204. */
  answers: number[] = [];
  /** What the OpenAPI document does not say of an alert that came. */
  readonly faults: string[] = [];
  /** Answers nothing at all. */
  hangs = false;

  constructor(...secrets: readonly string[]) {
    this.#secrets = secrets;
    this.#server = createServer(async (request, response) => {
      const body = await text(request);
      const { headers, url: path = '' } = request;
      this.requests.push({ path, headers });
      if (this.hangs) return;
      const status = this.answers.shift() ?? 204;
      if (status >= 200 && status < 300) this.#take(body, headers);
      response.writeHead(status, status === 302 ? { location: '/elsewhere' } : {}).end();
    });
  }

  /** @throws when a signature does not verify */
  #take(body: string, headers: IncomingHttpHeaders): void {
    const signed = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
    for (const secret of this.#secrets) {
      const told = new Webhook(secret).verify(body, signed) as Told;
      this.faults.push(...CONTRACT.alertFaults(told));
      if (secret === this.#secrets[0]) this.told.push({ ...told, id: String(headers['webhook-id']) });
    }
  }

  of(type: string): (Told & { readonly id: string })[] {
    return this.told.filter((told) => told.type === type);
  }

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/hook?key=hidden`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
