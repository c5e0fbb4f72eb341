import type { Address } from '@quantumvault/shared/brands.ts';

/** What the log line of a request says besides its route: the code it was refused with, the wallet it was about. */
export interface RequestFacts {
  code?: string;
  wallet?: string;
  /** Whose signature it carries. */
  requester?: Address;
  /** Another host of the deployment answered it. */
  relayed?: true;
}

const FACTS = new WeakMap<object, RequestFacts>();

export function factsOf(request: object): RequestFacts {
  let facts = FACTS.get(request);
  if (facts === undefined) {
    facts = {};
    FACTS.set(request, facts);
  }
  return facts;
}
