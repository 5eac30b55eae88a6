import { SecateurError } from '../errors.ts';
import { inlineFunctions, readBy } from '../graph/edit.ts';
import { opsetVersion, type Model, type Node, type Value } from '../graph/ir.ts';
import { inferShapes } from '../graph/shapes/index.ts';
import { DataType, dataTypeName, isFloatType } from '../onnx/data-type.ts';
import { openBranches } from '../units/normalise/branches.ts';
import { Emitter } from './emit.ts';
import { gradientRules } from './rules/index.ts';
import { RuleContext, type Accounts, type GradientRule, type Seeds } from './rules/rule.ts';
import { Workspace } from './workspace.ts';

/** Broadcasting as it is since; before, operands said along which axis. */
const OLDEST_OPSET = 7;

export interface GradientOptions {
  /** Rules to use besides the known ones, or in place of them. */
  rules?: ReadonlyMap<string, GradientRule>;
}

export interface Gradients {
  /** For every value of `wrt` the value that holds d scalar / d value, of its shape and type. */
  gradients: Map<Value, Value>;
}

/**
 * Adds nodes to a model, in place, that compute the gradient of a scalar with respect to graph inputs, intermediate
 * values and initializers: reverse-mode differentiation in plain ONNX ops of the model's opset. No output is added.
 * Only what lies between `wrt` and the scalar is differentiated; integers and booleans carry no gradient, but rounding to
 * quantised codes passes it on. A value that the scalar does not depend on has the gradient 0. Calls of local functions
 * are inlined first, and so are branches whose condition is constant. Gradients may be constants or shared by several
 * values.
 * @throws SecateurError 'unsupported' naming the node, where an op on the way has no rule, or where the opset is older than
 * 7; 'usage' where the scalar has more than one element, or a value is not of the main graph or not of a floating-point type
 */
export function addGradients(
  model: Model,
  scalar: Value,
  wrt: readonly Value[],
  options: GradientOptions = {},
): Gradients {
  const workspace = openWorkspace(model);
  requireScalar(scalar);
  return walk(
    workspace,
    new Map([[scalar, ones(new Emitter(workspace, `${scalar.name}_grad`), scalar)]]),
    wrt,
    options,
  );
}

/**
 * As `addGradients`, of Σ ⟨seed, output⟩ over the given outputs: vector-Jacobian products.
 * @param seeds for every output a value of its shape and type that does not depend on it, such as a graph input
 */
export function addVectorJacobianProducts(
  model: Model,
  seeds: ReadonlyMap<Value, Value>,
  wrt: readonly Value[],
  options: GradientOptions = {},
): Gradients {
  return walk(openWorkspace(model), seeds, wrt, options);
}

function openWorkspace(model: Model): Workspace {
  if (opsetVersion(model) < OLDEST_OPSET)
    throw new SecateurError(
      'unsupported',
      `Gradients need opset ${OLDEST_OPSET} or newer; the model's is ${opsetVersion(model)}.`,
      'Convert the model to a newer opset.',
    );
  inlineFunctions(model);
  // Branches that are always taken; what is inside of one may be known once it is open.
  const branches = () => model.graph.nodes.some((node) => node.op === 'If');
  while (branches() && openBranches(model, inferShapes(model)));
  return new Workspace(model);
}

function walk(
  workspace: Workspace,
  seeds: ReadonlyMap<Value, Value>,
  wrt: readonly Value[],
  { rules }: GradientOptions,
): Gradients {
  const { model } = workspace;
  for (const v of [...seeds.keys(), ...wrt]) requireFloat(v, model);
  const ruleOf = (op: string) => rules?.get(op) ?? gradientRules.get(op);
  const sums = walkBack(workspace, model.graph.nodes, [...seeds], wrt, ruleOf);
  const zero = (v: Value) => new Emitter(workspace, `${v.name}_grad`).zerosLike(v);
  return { gradients: new Map(wrt.map((v) => [v, sums.gradient(v) ?? zero(v)])) };
}

/** From the seeds, gradients of values, back over nodes in graph order to `wrt`. */
function walkBack(
  workspace: Workspace,
  nodes: readonly Node[],
  seeds: Seeds,
  wrt: readonly Value[],
  ruleOf: (op: string) => GradientRule | undefined,
): Sums {
  const active = dependents(nodes, wrt);
  const through: Accounts['through'] = (...inner) => walkBack(workspace, ...inner, ruleOf);
  const sums = new Sums(workspace, active, through);
  for (const [output, seed] of seeds) if (active.has(output)) sums.give(output, seed);
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((v) => v && sums.has(v))) continue;
    if (!readBy(node).some((v) => active.has(v))) continue;
    const context = new RuleContext(workspace, node, sums);
    const rule = ruleOf(node.op);
    if (rule) rule(context);
    else context.fail(`the operator ${node.op} has no gradient rule`);
  }
  return sums;
}

/**
 * Values that depend on one of `wrt` and carry a gradient, those included: floating-point values, the codes between
 * a QuantizeLinear and its DequantizeLinear, which stand for such, and sums of products of codes.
 */
function dependents(nodes: readonly Node[], wrt: readonly Value[]): Set<Value> {
  const found = new Set<Value>(wrt);
  for (const node of nodes) {
    const sources = readBy(node).filter((v) => found.has(v));
    if (sources.length === 0) continue;
    const codes = new Set(sources.flatMap((v) => (mayBeFloat(v) ? [] : [v.type!.elemType])));
    const quantises = QUANTISES.test(node.opType) || makesCodes(node);
    for (const v of node.outputs) if (v && (mayBeFloat(v) || quantises || codes.has(v.type!.elemType))) found.add(v);
  }
  return found;
}

/** Ops that make codes, or take codes to sums of their products. */
const QUANTISES = /^(Dynamic)?QuantizeLinear$|^QLinear|Integer(16)?$/;

/** Whether numbers are cast to what is read as codes: their gradient is not 0, though nobody knows it. */
function makesCodes({ op, outputs }: Node): boolean {
  return op === 'Cast' && !!outputs[0]?.uses.some(({ node }) => QUANTISES.test(node.opType));
}

function mayBeFloat(v: Value): boolean {
  return !v.type || v.type.elemType === DataType.UNDEFINED || isFloatType(v.type.elemType);
}

/** The gradients so far: one value for each use of a value, added up when the sum is asked for. */
class Sums implements Accounts {
  readonly through: Accounts['through'];
  private readonly parts = new Map<Value, Value[]>();
  private readonly workspace: Workspace;
  private readonly active: ReadonlySet<Value>;

  constructor(workspace: Workspace, active: ReadonlySet<Value>, through: Accounts['through']) {
    this.workspace = workspace;
    this.active = active;
    this.through = through;
  }
  has(v: Value): boolean {
    return this.parts.has(v);
  }
  needs(v: Value): boolean {
    return this.active.has(v);
  }
  give(v: Value, gradient: Value): void {
    const parts = this.parts.get(v);
    if (parts) parts.push(gradient);
    else this.parts.set(v, [gradient]);
  }
  gradient(v: Value): Value | undefined {
    const parts = this.parts.get(v);
    if (!parts || parts.length === 1) return parts?.[0];
    const emitter = new Emitter(this.workspace, `${v.name}_grad`);
    const sum = parts.reduce((a, b) => emitter.typedAs(emitter.add(a, b), v));
    this.parts.set(v, [sum]);
    return sum;
  }
}

function ones(emitter: Emitter, scalar: Value): Value {
  const rank = scalar.type?.shape?.length ?? 0;
  return emitter.numbers([1], Array<number>(rank).fill(1), emitter.elemTypeOf(scalar));
}

function requireFloat(v: Value, model: Model): void {
  if (v.graph !== model.graph)
    throw new SecateurError('usage', `Value "${v.name}" is not one of the model's main graph: it has no gradient.`);
  if (!mayBeFloat(v))
    throw new SecateurError(
      'usage',
      `Value "${v.name}" is of type ${dataTypeName(v.type!.elemType)}: only floating-point values have gradients.`,
    );
}

function requireScalar(v: Value): void {
  const shape = v.type?.shape;
  if (shape?.some((d) => d !== 1))
    throw new SecateurError(
      'usage',
      `Value "${v.name}" has the shape [${shape.join(', ')}]: gradients are those of a single number.`,
      'Reduce it first.',
    );
}
