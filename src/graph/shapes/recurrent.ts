import type { Dim } from '../ir.ts';
import type { Rule, RuleTable } from './context.ts';

/** RNN, GRU, LSTM: X [sequence, batch, input] (layout 1: batch first), R [directions, gates·hidden, hidden]. */

const recurrent: Rule = (c) => {
  const x = c.shape(0);
  const r = c.shape(2);
  const hidden: Dim = c.int('hidden_size') ?? r?.[2] ?? null;
  const directions: Dim = c.string('direction', 'forward') === 'bidirectional' ? 2 : 1;
  const batchFirst = c.int('layout', 0) === 1;
  const [sequence, batch] = batchFirst ? [x?.[1] ?? null, x?.[0] ?? null] : [x?.[0] ?? null, x?.[1] ?? null];
  const type = c.elem(0);
  const state = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
  // Opset 1 gives the whole sequence only where asked to, by an attribute that later versions dropped.
  c.out(0, type, batchFirst ? [batch, sequence, directions, hidden] : [sequence, directions, batch, hidden]);
  c.out(1, type, state);
  c.out(2, type, state);
};

export const recurrentRules: RuleTable = {
  RNN: recurrent,
  GRU: recurrent,
  LSTM: recurrent,
  'com.microsoft.DynamicQuantizeLSTM': (c) => {
    const x = c.shape(0);
    const hidden: Dim = c.int('hidden_size') ?? null;
    const directions = c.string('direction', 'forward') === 'bidirectional' ? 2 : 1;
    c.out(0, c.elem(0), [x?.[0] ?? null, directions, x?.[1] ?? null, hidden]);
    c.out(1, c.elem(0), [directions, x?.[1] ?? null, hidden]);
    c.out(2, c.elem(0), [directions, x?.[1] ?? null, hidden]);
  },
};
