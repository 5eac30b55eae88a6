import { Graph, type Value } from '../graph/ir.ts';
import { Emitter } from './emit.ts';
import { Workspace } from './workspace.ts';

/** Results of a Scan: the states after the last step, and what the steps gave, joined along a first axis. */
export interface Scanned {
  states: Value[];
  outputs: Value[];
}

/**
 * Adds a Scan: `body` is run for every slice of the inputs along their first axis, which is dropped, and hands its
 * states on to the next. It may read any value of the graph. Opset 9 and later.
 * @param backwards from the last slice to the first; outputs are joined in the order of the slices either way
 */
export function scan(
  e: Emitter,
  states: readonly Value[],
  inputs: readonly Value[],
  backwards: boolean,
  body: (inner: Emitter, states: Value[], inputs: Value[]) => Scanned,
): Scanned {
  if (e.opset < 9) return e.fail('steps over time need opset 9');
  const { model, graph } = e.workspace;
  const node = graph.addNode('Scan', [...states, ...inputs], []);
  const steps = new Graph('steps', node);
  node.attributes.set('body', { kind: 'graph', value: steps });
  const placeholder = (v: Value, drop: number) =>
    steps.addInput(`${e.stem}_step`, {
      kind: 'tensor',
      elemType: e.elemTypeOf(v),
      shape: e.shapeOf(v)?.slice(drop),
    });
  const given = [states.map((v) => placeholder(v, 0)), inputs.map((v) => placeholder(v, 1))] as const;
  const inner = new Emitter(new Workspace({ ...model, graph: steps, functions: [] }), `${e.stem}_step`);
  const made = body(inner, ...given);
  // What a body gives must be computed there, and once for every output.
  steps.outputs.push(...[...made.states, ...made.outputs].map((v) => inner.op('Identity', [v])));
  node.setInt('num_scan_inputs', inputs.length);
  const direction = backwards ? 1 : 0;
  node.setInts(
    'scan_input_directions',
    inputs.map(() => direction),
  );
  node.setInts(
    'scan_output_directions',
    made.outputs.map(() => direction),
  );
  const length = inputs.length > 0 ? e.dimOf(inputs[0], 0) : null;
  const result = (v: Value, stacked: boolean, i: number): Value => {
    const shape = e.shapeOf(v);
    const own = shape && (stacked ? [length, ...shape] : [...shape]);
    const value = graph.freshValue(e.stem, { kind: 'tensor', elemType: e.elemTypeOf(v), shape: own });
    node.setOutput(i, value);
    return value;
  };
  return {
    states: states.map((v, i) => result(v, false, i)),
    outputs: made.outputs.map((v, i) => result(v, true, states.length + i)),
  };
}
