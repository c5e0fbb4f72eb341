/** Policies: the document and its types, its canonical bytes, and their hash. */
export { policyBytes, policyFromBytes, policyHash, policyJson } from './canonical.ts';
export * from './parse.ts';
