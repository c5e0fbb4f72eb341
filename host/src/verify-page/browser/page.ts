/** The page: reads the form, asks the library, shows the answer. */
import { trustedRoot } from '@quantumvault/shared/attestation/root.ts';
import type { Answer } from './answer.ts';
import { notice, unusable } from './checklist.ts';
import { inspectDocument, verifyDocument } from './document.ts';
import { byId } from './dom.ts';
import { expectationsOf, type FormValues, inputOf } from './question.ts';
import { inspectReceipt, verifyReceipt } from './receipt.ts';

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
  // One thing at a time: the last one given counts.
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
    witnesses: byId('witnesses', HTMLTextAreaElement).value,
    threshold: byId('threshold', HTMLInputElement).value,
  };
}

async function verify(form: FormValues): Promise<Answer> {
  const input = await inputOf(form);
  const answer = input.kind === 'receipt' ? await verifyReceipt(input.bytes, form) : await verifyDocument(input, form);
  const { isAws } = await trustedRoot(expectationsOf(form).unsafeTrustedRootDer);
  const warnings = [
    ...(isAws ? [] : [notice('bad', 'UNSAFE: not AWS’s root', 'Whoever holds its key can attest anything.')]),
    ...(form.allowDebug ? [notice('bad', 'UNSAFE: debug enclaves are accepted', 'Their memory can be read.')] : []),
  ];
  return { ...answer, verdict: [...answer.verdict, ...warnings] };
}

async function inspect(form: FormValues): Promise<Answer> {
  const input = await inputOf(form);
  return input.kind === 'receipt' ? inspectReceipt(input.bytes) : inspectDocument(input);
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
