import { SecateurError } from '../errors.ts';
import type { Graph, Value } from '../graph/ir.ts';
import { constantTensor } from '../graph/edit.ts';
import { DataType, isFloatType } from '../onnx/data-type.ts';

/** A value that stands for an input where gates can be put: floating-point numbers that nothing has mixed yet. */
export interface GatePoint {
  value: Value;
  /** The width of the embedding where the input is looked up in a table: the value has one axis more than the input. */
  width: number | null;
}

/**
 * Where an input's values first are floating-point numbers: the input itself; behind the cast of integers; or, of
 * integers that are looked up in a table, the rows of that table (the embedding).
 */
export function gatePoints(graph: Graph, name: string): GatePoint[] {
  const input = graph.inputs.find((v) => v.name === name);
  if (!input) throw new SecateurError('internal', `The model has no input ${name}.`);
  const found: GatePoint[] = [];
  const visit = (v: Value): void => {
    if (isFloat(v)) {
      found.push({ value: v, width: null });
      return;
    }
    for (const { node, index } of v.uses) {
      const [output] = node.outputs;
      if (!output) continue;
      if (node.op === 'Cast' || node.op === 'Identity') visit(output);
      else if (node.op === 'Gather' && index === 1 && node.int('axis', 0) === 0) {
        const width = tableWidth(node.inputs[0]);
        if (width !== undefined) found.push({ value: output, width });
      }
    }
  };
  visit(input);
  return found;
}

function isFloat(v: Value): boolean {
  return v.type !== undefined && v.type.elemType !== DataType.BFLOAT16 && isFloatType(v.type.elemType);
}

/** Columns of a constant matrix of floating-point numbers. */
function tableWidth(table: Value | null): number | undefined {
  if (!table) return undefined;
  const dims = constantTensor(table)?.dims ?? table.staticShape;
  return dims?.length === 2 && isFloat(table) ? dims[1] : undefined;
}
