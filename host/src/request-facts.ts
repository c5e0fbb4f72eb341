/** What the log line of a request says besides its route: the code it was refused with, the wallet it was about. */
export interface RequestFacts {
  code?: string;
  wallet?: string;
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
