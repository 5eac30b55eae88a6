import type { RuleTable } from './rule.ts';

/** Arithmetic: d(a ∘ b), summed over the axes that were broadcast. */
export const pointwiseRules: RuleTable = {
  Add: (c) => {
    const g = c.grad()!;
    for (const i of [0, 1]) if (c.needs(i)) c.give(i, c.unbroadcast(g, c.input(i)));
  },
  Sub: (c) => {
    const g = c.grad()!;
    if (c.needs(0)) c.give(0, c.unbroadcast(g, c.input(0)));
    if (c.needs(1)) c.give(1, c.unbroadcast(c.neg(g), c.input(1)));
  },
  Mul: (c) => {
    const g = c.grad()!;
    for (const i of [0, 1]) if (c.needs(i)) c.give(i, c.unbroadcast(c.mul(g, c.input(1 - i)), c.input(i)));
  },
  Div: (c) => {
    const [a, b] = [c.input(0), c.input(1)];
    const q = c.div(c.grad()!, b);
    if (c.needs(0)) c.give(0, c.unbroadcast(q, a));
    if (c.needs(1)) c.give(1, c.unbroadcast(c.neg(c.mul(q, c.output())), b));
  },
  Neg: (c) => c.give(0, c.neg(c.grad()!)),
  Identity: (c) => c.give(0, c.grad()!),
  /** 0 at 0, as everywhere else in the field. */
  Relu: (c) => c.give(0, c.keep(c.op('Greater', [c.input(0), c.scalar(0, c.input(0))]), c.grad()!)),
};
