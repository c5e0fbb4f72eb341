/** The page: reads the form, asks the library, shows the answer. */
import { trustedRoot } from '@quantumvault/shared/attestation/root.ts';
import { verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { type Inspection, inspectAttestation } from '@quantumvault/shared/evidence/inspect.ts';
import { checklist, notice, unusable, verdict } from './checklist.ts';
import { contents, identity } from './contents.ts';
import { byId, el } from './dom.ts';
import { documentOf, expectationsOf, type FormValues } from './question.ts';

const form = byId('form', HTMLFormElement);
const fileInput = byId('file', HTMLInputElement);
const drop = byId('drop', HTMLDivElement);
const pasted = byId('pasted', HTMLTextAreaElement);
const chosen = byId('chosen', HTMLParagraphElement);
const inspectButton = byId('inspect', HTMLButtonElement);
const result = byId('result', HTMLElement);

let file: File | undefined;

function choose(next: File | undefined): void {
  file = next;
  chosen.textContent = next === undefined ? '' : `${next.name}, ${next.size} bytes`;
  // One document at a time: the last one given counts.
  if (next !== undefined) pasted.value = '';
}

function values(): FormValues {
  return {
    file,
    pasted: pasted.value,
    pcrs: byId('pcrs', HTMLTextAreaElement).value,
    nonce: byId('nonce', HTMLInputElement).value,
    allowDebug: byId('debug', HTMLInputElement).checked,
    root: byId('root', HTMLTextAreaElement).value,
  };
}

interface Answer {
  readonly verdict: readonly HTMLElement[];
  readonly details: readonly HTMLElement[];
}

async function verify(form: FormValues): Promise<Answer> {
  const { encoding, bytes } = await documentOf(form);
  const expected = expectationsOf(form);
  const report = await verifyAttestation(bytes, expected);
  const { isAws } = await trustedRoot(expected.unsafeTrustedRootDer);
  const warnings = [
    ...(isAws ? [] : [notice('bad', 'UNSAFE: not AWS’s root', 'Whoever holds its key can attest anything.')]),
    ...(form.allowDebug ? [notice('bad', 'UNSAFE: debug enclaves are accepted', 'Their memory can be read.')] : []),
  ];
  const found = await reading(bytes);
  return {
    verdict: [verdict(report), ...warnings],
    details: [
      // Of a document that fails nothing is known to be true: no summary of it, only the folded contents.
      ...(report.ok && found !== undefined ? [identity(found)] : []),
      el('h2', '', 'Checks'),
      el('p', 'hint', `Read as ${encoding}, ${bytes.length} bytes.`),
      checklist(report.steps),
      ...(found === undefined ? [] : [contents(found, false)]),
    ],
  };
}

/** Undefined when it does not decode: the checklist has said so. */
async function reading(bytes: Uint8Array): Promise<Inspection | undefined> {
  try {
    return await inspectAttestation(bytes);
  } catch {
    return undefined;
  }
}

async function inspect(form: FormValues): Promise<Answer> {
  const { encoding, bytes } = await documentOf(form);
  return {
    verdict: [notice('warn', 'No verdict', `Nothing has been verified. Read as ${encoding}, ${bytes.length} bytes.`)],
    details: [contents(await inspectAttestation(bytes), true)],
  };
}

async function show(ask: (form: FormValues) => Promise<Answer>): Promise<void> {
  let answer: Answer;
  try {
    answer = await ask(values());
  } catch (error) {
    answer = { verdict: [unusable(error)], details: [] };
  }
  result.hidden = false;
  byId('verdict', HTMLDivElement).replaceChildren(...answer.verdict);
  byId('details', HTMLDivElement).replaceChildren(...answer.details);
  result.focus({ preventScroll: true });
  result.scrollIntoView();
}

fileInput.addEventListener('change', () => choose(fileInput.files?.[0]));
pasted.addEventListener('input', () => {
  fileInput.value = '';
  choose(undefined);
});
form.addEventListener('submit', (event) => {
  event.preventDefault();
  void show(verify);
});
inspectButton.addEventListener('click', () => void show(inspect));

// Anywhere on the page, so that a document dropped beside the box does not replace the page.
for (const type of ['dragover', 'dragleave', 'drop'] as const) {
  document.addEventListener(type, (event) => {
    const isText = event.target instanceof HTMLTextAreaElement && event.dataTransfer?.types.includes('Files') !== true;
    if (isText) return;
    event.preventDefault();
    drop.classList.toggle('over', type === 'dragover');
    const dropped = type === 'drop' ? event.dataTransfer?.files[0] : undefined;
    if (dropped !== undefined) choose(dropped);
  });
}

// Plain HTTP: there is no crypto.subtle, and without it no verdict.
if (globalThis.crypto.subtle === undefined) {
  byId('insecure', HTMLParagraphElement).hidden = false;
  for (const button of [byId('verify', HTMLButtonElement), inspectButton]) button.disabled = true;
}
