/** Elements by function. Content only ever becomes text: nothing from a document is read as HTML. */

export type Child = Node | string;

export function el<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  className: string,
  ...children: readonly Child[]
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  if (className !== '') element.className = className;
  element.append(...children);
  return element;
}

/** @throws Error when page.html and the code disagree */
export function byId<Type extends HTMLElement>(id: string, type: new () => Type): Type {
  const element = document.getElementById(id);
  if (!(element instanceof type)) throw new Error(`page.html has no ${type.name} #${id}`);
  return element;
}

/** Label and value pairs. */
export function definitions(rows: readonly (readonly [string, Child])[]): HTMLElement {
  return el('dl', '', ...rows.flatMap(([label, value]) => [el('dt', '', label), el('dd', '', value)]));
}

export const mono = (text: string): HTMLElement => el('span', 'mono', text);
