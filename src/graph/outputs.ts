import { SecateurError } from '../errors.ts';
import type { Graph, Value } from './ir.ts';

/** An output of a graph, by name. @throws SecateurError 'usage' when it has none of that name */
export function outputNamed({ outputs }: Graph, name: string): Value {
  const found = outputs.find((v) => v.name === name);
  if (!found)
    throw new SecateurError(
      'usage',
      `The model has no output ${name}.`,
      `Its outputs: ${outputs.map((v) => v.name).join(', ')}.`,
    );
  return found;
}

/** Makes these the only outputs. What only others needed can then be removed as dead. */
export function setOutputs(graph: Graph, outputs: readonly Value[]): void {
  graph.outputs.splice(0, graph.outputs.length, ...outputs);
}

/** Keeps of the outputs those of these names, in this order. @throws SecateurError 'usage' for a name that there is none of */
export function keepOutputs(graph: Graph, names: readonly string[]): void {
  setOutputs(
    graph,
    names.map((name) => outputNamed(graph, name)),
  );
}

/** Removes graph inputs that nothing reads. */
export function dropUnusedInputs(graph: Graph): void {
  for (const v of [...graph.inputs]) if (v.uses.length === 0 && !graph.outputs.includes(v)) graph.removeValue(v);
}
