/** A worker that ends in the middle of everything. */
import { workerData } from 'node:worker_threads';
import { loadNative, nsmDevice, vsockTransport } from '@quantumvault/shared/native.ts';

const { addon, round } = workerData as { addon: string; round: number };
const native = loadNative(addon);
const cid = Number(process.env['QV_SHIM_CID']);
const transport = vsockTransport(native, { acceptFrom: cid });
const address = { kind: 'vsock', cid, port: 8000 + round } as const;
await transport.listen(address, (stream) => stream.pipe(stream));
const stream = transport.connect(address);
await new Promise((resolve) => stream.once('connect', resolve));
stream.write(Buffer.alloc(10_000_000));
void nsmDevice(native).request(Buffer.of(1));
await new Promise((resolve) => stream.once('data', resolve));
process.exit(0);
