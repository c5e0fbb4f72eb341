/** The error table for readers: every code, with what a caller can do about it. */
import { ERRORS } from '@quantumvault/shared/errors.ts';

export function errorsMarkdown(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, retryable, meaning }]) =>
      `| \`${code}\` | ${status} | ${retryable ? 'yes' : 'no'} | ${meaning.replaceAll('|', '\\|')} |`,
  );
  return `# Errors

Everything that the client and the appliance refuse is a \`QvError\` with one of these as its \`code\`. Codes and their
meanings never change; new ones are added. \`facts.path\` names the field or rule at fault, \`facts.value\` what broke it.
"Repeat" says whether the same request may succeed later; the client has tried that already, with the same id.

| code | HTTP status | repeat | meaning |
| --- | --- | --- | --- |
${rows.join('\n')}
`;
}
