import { BASE_STYLE } from '../page-style/base-style.ts';

/** The style of the reference page; the page allows it by its hash. */
export const STYLE = `${BASE_STYLE}
.page { display: grid; grid-template-columns: 18rem minmax(0, 60rem); gap: 2rem; padding: 0 1.5rem 4rem }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1.5rem 0; font-size: .875rem }
nav ul { list-style: none; margin: 0 0 1rem; padding: 0 }
nav li { overflow-wrap: anywhere }
a { color: var(--accent); text-decoration: none }
a:hover, a:focus { text-decoration: underline }
h1 { font-size: 1.6rem } h2 { margin-top: 3rem } h3 { margin: 0; font-size: 1.1rem }
h4 { margin: 1.25rem 0 .25rem; font-size: .95rem }
section.operation, section.schema { margin: 1rem 0; padding: 1rem 1.25rem; border: 1px solid var(--line);
  border-radius: .5rem; background: var(--panel) }
code, pre { font-family: var(--mono); font-size: .85em; overflow-wrap: anywhere }
pre { overflow: auto; padding: .75rem; border: 1px solid var(--line); border-radius: .25rem }
.method { display: inline-block; min-width: 3rem; font-weight: 600; color: var(--accent) }
.soft { color: var(--soft) }
table { width: 100%; border-collapse: collapse; font-size: .875rem }
th, td { padding: .3rem .6rem .3rem 0; border-top: 1px solid var(--line); text-align: left; vertical-align: top }
td p { margin: 0 }
summary { cursor: pointer }
@media (max-width: 60rem) { .page { display: block } nav { position: static; height: auto } }
@media print { nav { display: none } .page { display: block } }
`;
