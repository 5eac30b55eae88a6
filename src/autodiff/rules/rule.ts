import { SecateurError } from '../../errors.ts';
import type { Node, Value } from '../../graph/ir.ts';
import { Emitter } from '../emit.ts';
import type { Workspace } from '../workspace.ts';

/**
 * Gives the gradients of a node's inputs, computed from those of its outputs by nodes that it adds (vector-Jacobian
 * products). It may read the node's inputs and outputs, which are computed anyway. It need not give a gradient that
 * nobody `needs`, and gives none where it is zero everywhere.
 */
export type GradientRule = (context: RuleContext) => void;

/** Rules by op: `Conv`, `com.microsoft.Gelu`. */
export type RuleTable = Readonly<Record<string, GradientRule>>;

/** Values with what is known of their gradients from outside. */
export type Seeds = readonly (readonly [value: Value, gradient: Value])[];

/** How the walk backwards keeps the gradients. */
export interface Accounts {
  gradient(v: Value): Value | undefined;
  needs(v: Value): boolean;
  give(v: Value, gradient: Value): void;
  /** A walk of its own, over these nodes only, from the seeds back to `wrt`. */
  through(nodes: readonly Node[], seeds: Seeds, wrt: readonly Value[]): Pick<Accounts, 'gradient'>;
}

/** One node as its gradient rule sees it, with the means to add nodes. */
export class RuleContext extends Emitter {
  readonly node: Node;
  private readonly accounts: Accounts;

  constructor(workspace: Workspace, node: Node, accounts: Accounts) {
    super(workspace, `${node.outputs.find((v) => v)?.name ?? node.opType}_grad`);
    this.node = node;
    this.accounts = accounts;
  }

  /** Gradient of output `i`, of the output's shape and type; undefined when the scalar does not depend on it. */
  grad(i = 0): Value | undefined {
    const v = this.node.outputs[i];
    return v ? this.accounts.gradient(v) : undefined;
  }
  /** Whether a gradient of input `i` is asked for. */
  needs(i: number): boolean {
    const v = this.node.inputs[i];
    return !!v && this.accounts.needs(v);
  }
  /** Adds to the gradient of input `i` a value of the input's shape and type; nothing where none is asked for. */
  give(i: number, gradient: Value): void {
    const v = this.node.inputs[i];
    if (!v || !this.needs(i)) return;
    const [is, expected] = [this.shapeOf(gradient), this.shapeOf(v)];
    const differs = is?.some((d, k) => typeof d === 'number' && typeof expected?.[k] === 'number' && d !== expected[k]);
    if (is && expected && (is.length !== expected.length || differs))
      throw new SecateurError(
        'internal',
        `The gradient of input ${i} of ${this.describe()} has the shape [${is.join()}], not [${expected.join()}].`,
      );
    this.accounts.give(v, this.typedAs(gradient, v));
  }
  has(i: number): boolean {
    return !!this.node.inputs[i];
  }
  /** Input `i`, which is there. */
  input(i: number): Value {
    return this.node.inputs[i] ?? this.fail(`input ${i} is missing`);
  }
  /** Output `i`, which is there. */
  output(i = 0): Value {
    return this.node.outputs[i] ?? this.fail(`output ${i} is missing`);
  }
  /** Output `i`, which the node is made to give where it did not (indices of a pool, a mask, saved statistics). */
  madeOutput(i: number): Value {
    const known = this.node.outputs[i];
    if (known) return known;
    const made = this.workspace.graph.freshValue(`${this.node.outputs[0]?.name ?? this.node.opType}_${i}`);
    this.node.setOutput(i, made);
    this.workspace.infer(this.node);
    return made;
  }
  /**
   * Differentiates plain nodes in place of this one: `build` adds them and gives what equals the node's outputs, as far
   * as they are supported. What is computed on the way is computed once more, for the gradients.
   */
  instead(build: (e: Emitter) => readonly (Value | undefined)[]): void {
    this.along((e) => {
      const outputs = build(e);
      return this.node.outputs.flatMap((_, i) => {
        const [g, plain] = [this.grad(i), outputs[i]];
        if (g && !plain) this.fail(`gradients of its output ${i} are not supported`);
        return g && plain ? [[plain, g] as const] : [];
      });
    });
  }

  /**
   * Walks back over nodes that `build` adds, from values whose gradients it gives to the node's inputs. What it reads
   * besides those inputs counts as constant.
   */
  along(build: (e: Emitter) => Seeds): void {
    const { nodes } = this.workspace.graph;
    const before = nodes.length;
    const seeds = build(new Emitter(this.workspace, `${this.node.outputs[0]?.name ?? this.node.opType}_plain`));
    const wrt = new Set(this.node.inputs.filter((v): v is Value => v !== null && this.accounts.needs(v)));
    const inner = this.accounts.through(nodes.slice(before), seeds, [...wrt]);
    for (const v of wrt) {
      const gradient = inner.gradient(v);
      if (gradient) this.accounts.give(v, this.typedAs(gradient, v));
    }
  }

  private describe(): string {
    return `node "${this.node.name || (this.node.outputs[0]?.name ?? '')}" (${this.node.op})`;
  }
  /** Gives up on the node, which the message names: the reason completes "…, because". */
  override fail(reason: string): never {
    throw new SecateurError(
      'unsupported',
      `No gradient can be computed through ${this.describe()}: ${reason}.`,
      'Methods that need no gradients still work.',
    );
  }
}
