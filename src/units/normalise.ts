import { cloneModel } from '../graph/clone.ts';
import { allNodes, inlineFunctions, removeDeadNodes } from '../graph/edit.ts';
import { inferShapes, type ShapeInfo } from '../graph/shapes/index.ts';
import type { Graph, Model, Node } from '../graph/ir.ts';
import { openBranches } from './normalise/branches.ts';
import { constantsToInitializers, foldShapes } from './normalise/constants.ts';
import { piecesOfConcat } from './normalise/pieces.ts';
import { foldScatters } from './normalise/scatter.ts';
import { unshare, unshareFills } from './normalise/sharing.ts';
import { gathersToReshapes } from './normalise/strided.ts';

export { shareConstants } from './normalise/sharing.ts';

/** Each writes some nodes otherwise, equal in meaning for every input, and leaves what nothing reads any more. */
const REWRITINGS: readonly ((model: Model, shapes: ShapeInfo) => void)[] = [
  gathersToReshapes,
  piecesOfConcat,
  foldScatters,
];

/**
 * A copy of a model in which the analysis has an easy time, equal in meaning: calls of local functions and branches that
 * are always taken are opened; Constant nodes are initializers; integers that shape inference knows are constants (so that an attention scale or a
 * channel count that is computed from a shape keeps its original value); every use of a constant has a copy of its own,
 * so that sharing never couples layers (the storage is shared; `shareConstants` joins what stayed equal); and what
 * exporters tie up for no need is written otherwise (see normalise/).
 */
export function normalise(model: Model): { model: Model; shapes: ShapeInfo; origin: (n: Node) => Node | undefined } {
  const clone = cloneModel(model);
  const copies = new Map<Node, Node>();
  for (const node of model.graph.nodes) copies.set(clone.node(node), node);
  const graph = clone.model.graph;
  let opened = openFunctions(clone.model);
  dropDefaultedInputs(clone.model);
  constantsToInitializers(graph);
  let shapes = inferShapes(clone.model);
  // Conditions inside of a branch may be known once it is opened.
  while (openBranches(clone.model, shapes)) {
    shapes = inferShapes(clone.model);
    opened = true;
  }
  if (opened) nameApart(graph);
  foldShapes(clone.model, shapes);
  for (const rewrite of REWRITINGS) rewrite(clone.model, shapes);
  removeDeadNodes(clone.model);
  unshare(graph);
  unshareFills(graph);
  return { model: clone.model, shapes: inferShapes(clone.model), origin: (n) => copies.get(n) };
}

/**
 * Puts the bodies of local functions in the place of their calls, and forgets functions that nothing calls any more.
 * @returns Whether there was a call.
 */
function openFunctions(model: Model): boolean {
  if (inlineFunctions(model) === 0) return false;
  const called = new Set([model.graph, ...model.functions.map((f) => f.body)].flatMap(allNodes).map((n) => n.op));
  model.functions = model.functions.filter((f) => called.has(f.domain ? `${f.domain}.${f.name}` : f.name));
  return true;
}

/** Bodies may name their nodes alike, or not at all; a runtime may refuse two nodes of one name. */
function nameApart(graph: Graph): void {
  const taken = new Set<string>();
  for (const node of graph.nodes) {
    const stem = node.name;
    for (let i = 2; node.name && taken.has(node.name); i++) node.name = `${stem}#${i}`;
    taken.add(node.name);
  }
}

/**
 * Weights that are also listed as inputs become plain initializers, which IR 4 allows: IR version 3 asks for the list,
 * and older exporters went on writing it. Where only some are listed, they are meant as inputs with a default.
 */
function dropDefaultedInputs(model: Model): void {
  const { inputs } = model.graph;
  const listed = new Set(inputs);
  if (model.irVersion >= 4 && !model.graph.initializers.every((v) => listed.has(v))) return;
  for (let i = inputs.length - 1; i >= 0; i--) if (inputs[i].initializer) inputs.splice(i, 1);
  model.irVersion = Math.max(4, model.irVersion);
}
