/** HTML whose holes are always escaped: what callers wrote, a reason or a rule's value, stays text. */

/** Made by `html` alone. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Hole = string | number | Html | readonly Html[];

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function html(parts: TemplateStringsArray, ...holes: readonly Hole[]): Html {
  return new Html(String.raw({ raw: parts }, ...holes.map(render)));
}

function render(hole: Hole): string {
  if (hole instanceof Html) return hole.text;
  if (typeof hole === 'object') return hole.map(({ text }) => text).join('');
  return String(hole).replace(/[&<>"']/g, (character) => ESCAPES[character] ?? '');
}
