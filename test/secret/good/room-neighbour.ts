// read as host/src/cli/import/neighbour.ts
export function neighbour(seed: Uint8Array): void {
  seed.fill(0);
}
