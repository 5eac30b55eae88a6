import { opsetVersion, type Graph, type Model, type Node, type Value, type ValueType } from '../graph/ir.ts';
import { contentOfTensor } from '../graph/shapes/content.ts';
import { RuleContext, type Content, type Host } from '../graph/shapes/context.ts';
import { inferShapes, type ShapeInfo } from '../graph/shapes/index.ts';
import { rules } from '../graph/shapes/registry.ts';

/**
 * A graph that nodes are added to, with the types of all of its values: those of the model are inferred once, those of
 * a new node when it is added.
 */
export class Workspace {
  readonly model: Model;
  readonly graph: Graph;
  /** Version of ai.onnx. */
  readonly opset: number;
  /** Constants that were made, by type and contents, so that each is stored once. */
  readonly constants = new Map<string, Value>();
  private readonly info: ShapeInfo;
  private readonly contents = new Map<Value, Content>();
  private readonly host: Host = {
    typeOf: (value) => value.type,
    contentOf: (value) => this.content(value),
    set: (value, type, content) => this.set(value, type, content),
    graph: () => undefined,
  };

  /** Infers the shapes of the model, which writes types into its values. */
  constructor(model: Model) {
    this.model = model;
    this.graph = model.graph;
    this.opset = opsetVersion(model);
    this.info = inferShapes(model);
  }

  /** What is known of the elements of a small tensor (graph/shapes). */
  content(value: Value): Content | undefined {
    const known = this.contents.get(value) ?? this.info.constant(value);
    if (known || !value.initializer || value.isGraphInput) return known;
    return contentOfTensor(value.initializer);
  }

  /** Infers the types of what a new node gives. */
  infer(node: Node): void {
    const rule = rules.get(node.op);
    if (rule) rule(new RuleContext(node, this.model.opsets.get(node.domain) ?? 1, this.host));
  }

  private set(value: Value, type: ValueType, content?: Content): void {
    value.type = type;
    const size = type.shape?.reduce<number>((n, d) => (typeof d === 'number' ? n * d : NaN), 1);
    if (content && size === content.length) this.contents.set(value, content);
  }
}
