import type { Value } from '../../graph/ir.ts';
import type { RuleContext } from './rule.ts';

/**
 * The gradient of each operand of an Einsum is an Einsum of the result's gradient with the other operands; letters that
 * only this operand has were summed, and are spread again.
 */
export function einsumGradient(c: RuleContext): void {
  const { terms, result } = readEquation(c);
  if (terms.some((t) => new Set(t).size < t.length)) c.fail('a letter that one operand has twice is not supported');
  const operands = c.node.inputs as Value[];
  operands.forEach((v, i) => {
    if (!c.needs(i)) return;
    const others = operands.filter((_, k) => k !== i);
    const known = new Set([...terms.filter((_, k) => k !== i), result].flatMap((t) => [...t]));
    const own = [...terms[i]];
    const found = own.filter((letter) => known.has(letter));
    const equation = `${[result, ...terms.filter((_, k) => k !== i)].join(',')}->${found.join('')}`;
    let d = c.op('Einsum', [c.grad()!, ...others], { equation });
    const missing = own.flatMap((letter, axis) => (known.has(letter) ? [] : [axis]));
    if (missing.length > 0) d = c.expandLike(c.unsqueeze(d, missing), v);
    // Axes of size 1 that were broadcast.
    c.give(i, c.unbroadcast(d, v));
  });
}

/** The equation in letters alone: what `...` stands for gets letters of its own, counted from the last axis. */
function readEquation(c: RuleContext): { terms: string[]; result: string } {
  const text = c.node.string('equation', '').replace(/\s+/g, '');
  const [left, right] = text.split('->');
  const ranks = (c.node.inputs as Value[]).map((v) => c.rankOf(v));
  const terms = left.split(',');
  const widths = terms.map((t, i) => (t.includes('...') ? ranks[i] - (t.length - 3) : 0));
  const width = Math.max(...widths);
  const free = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'].filter((l) => !text.includes(l));
  if (free.length < width) c.fail('its operands have too many axes');
  const dots = free.slice(0, width).join('');
  const spelled = terms.map((t, i) => t.replace('...', dots.slice(width - widths[i])));
  if (right !== undefined) return { terms: spelled, result: right.replace('...', dots) };
  const all = terms.join('').replaceAll('.', '');
  const once = [...new Set(all)].filter((l) => all.indexOf(l) === all.lastIndexOf(l)).sort();
  return { terms: spelled, result: dots + once.join('') };
}
