import { DataType } from '../../onnx/data-type.ts';
import type { Dim, Graph, Value, ValueType } from '../ir.ts';
import type { Content, Rule, RuleContext, RuleTable } from './context.ts';
import { commonShape } from './dims.ts';

/** If, Loop and Scan: their bodies are looked at with the types that flow in, and outputs come from the bodies. */

const unknownType: ValueType = { kind: 'tensor', elemType: 0 };

function subgraph(c: RuleContext, name: string): Graph | undefined {
  const a = c.attribute(name);
  return a?.kind === 'graph' ? a.value : undefined;
}

function bind(c: RuleContext, value: Value | undefined, type: ValueType | undefined, content?: Content): void {
  if (value) c.host.set(value, type ?? value.type ?? unknownType, content);
}

const ifRule: Rule = (c) => {
  const [then, otherwise] = [subgraph(c, 'then_branch'), subgraph(c, 'else_branch')];
  if (then) c.host.graph(then);
  if (otherwise) c.host.graph(otherwise);
  const condition = c.number(0);
  c.node.outputs.forEach((out, i) => {
    if (!out) return;
    const a = then?.outputs[i];
    const b = otherwise?.outputs[i];
    const [ta, tb] = [a && c.host.typeOf(a), b && c.host.typeOf(b)];
    if (condition !== undefined) {
      const taken = condition ? a : b;
      const type = condition ? ta : tb;
      if (taken && type) c.host.set(out, copy(type), c.host.contentOf(taken));
      return;
    }
    if (ta && tb)
      c.host.set(out, { ...ta, elemType: ta.elemType || tb.elemType, shape: commonShape(ta.shape, tb.shape) });
    else if (ta ?? tb) c.host.set(out, { ...(ta ?? tb)!, shape: undefined });
  });
};

/** The number and the condition of an iteration are scalars, or have one axis where the body says so. */
function single(value: Value | undefined, elemType: number): ValueType {
  const declared = value?.type?.shape;
  return { kind: 'tensor', elemType, shape: declared?.length === 1 && declared[0] === 1 ? [1] : [] };
}

const loop: Rule = (c) => {
  const body = subgraph(c, 'body');
  if (!body) return;
  const carried = c.inputCount - 2;
  bind(c, body.inputs[0], single(body.inputs[0], DataType.INT64));
  bind(c, body.inputs[1], single(body.inputs[1], DataType.BOOL));
  const states = Array.from({ length: carried }, (_, i) => c.type(i + 2));
  settle(c, body, states, 2, 1);
  states.forEach((type, i) => {
    const out = c.node.outputs[i];
    if (out && type) c.host.set(out, copy(type));
  });
  const trips = runsThrough(body, c) ? (c.content(0)?.[0] ?? null) : null;
  for (let i = carried; i < c.node.outputs.length; i++) {
    const element = body.outputs[i + 1] && c.host.typeOf(body.outputs[i + 1]);
    const out = c.node.outputs[i];
    if (out && element) c.host.set(out, { ...element, shape: element.shape && [trips, ...element.shape] });
  }
};

/** Whether nothing but the trip count ends the loop: no condition, or one that the body hands on. */
function runsThrough(body: Graph, c: RuleContext): boolean {
  if (c.has(1) && c.number(1) !== 1) return false;
  let condition: Value | undefined = body.outputs[0];
  while (condition?.producer?.op === 'Identity') condition = condition.producer.inputs[0] ?? undefined;
  return condition === body.inputs[1] || (condition !== undefined && c.host.contentOf(condition)?.[0] === 1);
}

/** Looks at a body until the types of its states no longer change; what differs from turn to turn becomes unknown. */
function settle(
  c: RuleContext,
  body: Graph,
  states: (ValueType | undefined)[],
  inputAt: number,
  outputAt: number,
): void {
  for (let turn = 0; turn < 3; turn++) {
    states.forEach((type, i) => bind(c, body.inputs[inputAt + i], type && copy(type)));
    c.host.graph(body);
    let changed = false;
    states.forEach((type, i) => {
      const out = body.outputs[outputAt + i];
      const after = out && c.host.typeOf(out);
      if (!type) {
        states[i] = after && copy(after);
        changed ||= after !== undefined;
        return;
      }
      const shape = commonShape(type.shape, after?.shape);
      if (String(shape) === String(type.shape) && (shape === undefined) === (type.shape === undefined)) return;
      states[i] = { ...type, shape };
      changed = true;
    });
    if (!changed) return;
  }
}

const scan: Rule = (c) => {
  const body = subgraph(c, 'body');
  if (!body) return;
  const scanned = c.int('num_scan_inputs', 1);
  const batched = c.opset < 9; // version 8: lengths first, a batch axis in front of the sequence axis
  const first = batched ? 1 : 0;
  const stateCount = c.inputCount - first - scanned;
  const inputAxes = c.ints('scan_input_axes') ?? [];
  const outputAxes = c.ints('scan_output_axes') ?? [];
  let steps: Dim = null;
  const batch: Dim[] = batched ? [c.shape(c.inputCount - 1)?.[0] ?? null] : [];
  for (let i = 0; i < scanned; i++) {
    const type = c.type(first + stateCount + i);
    const shape = type?.shape;
    const axis = batched ? 1 : at(inputAxes[i] ?? 0, shape?.length ?? 1);
    steps = shape?.[axis] ?? steps;
    const inner = shape?.filter((_, k) => k !== axis && !(batched && k === 0));
    bind(c, body.inputs[stateCount + i], type && { ...type, shape: inner });
  }
  const states = Array.from({ length: stateCount }, (_, i) => {
    const type = c.type(first + i);
    return type && { ...type, shape: batched ? type.shape?.slice(1) : type.shape };
  });
  settle(c, body, states, 0, 0);
  c.node.outputs.forEach((out, i) => {
    if (!out) return;
    if (i < stateCount) {
      const state = states[i];
      if (state) c.host.set(out, { ...state, shape: state.shape && [...batch, ...state.shape] });
      return;
    }
    const element = body.outputs[i] && c.host.typeOf(body.outputs[i]);
    if (!element) return;
    const shape = element.shape && [...element.shape];
    if (shape && !batched) shape.splice(at(outputAxes[i - stateCount] ?? 0, shape.length + 1), 0, steps);
    c.host.set(out, { ...element, shape: shape && (batched ? [...batch, steps, ...shape] : shape) });
  });
};

function at(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

function copy(type: ValueType): ValueType {
  return { ...type, shape: type.shape && [...type.shape] };
}

export const controlRules: RuleTable = { If: ifRule, Loop: loop, Scan: scan };
