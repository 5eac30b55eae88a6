import { SecateurError } from '../../errors.ts';
import type { Dim, Model, Value } from '../../graph/ir.ts';
import { dataTypeName } from '../../onnx/data-type.ts';
import { type HostType, hostTypeOf } from '../../runtime/host-tensor.ts';

/** An input that every run must be given. */
export interface ModelInput {
  name: string;
  type: HostType;
  /** As declared; undefined: not even the rank is known. */
  shape: Dim[] | undefined;
  value: Value;
}

/**
 * The inputs of a model that have no default (an initializer that is also an input is one the runtime never asks for).
 * @throws SecateurError 'unsupported' for inputs that are not tensors of numbers
 */
export function modelInputs(model: Model): ModelInput[] {
  return model.graph.inputs
    .filter((v) => !v.initializer)
    .map((value) => {
      const kind = value.type?.kind ?? 'tensor';
      const type = kind === 'tensor' ? hostTypeOf(value.type?.elemType ?? 1) : undefined;
      if (!type) {
        const what = kind === 'tensor' ? dataTypeName(value.type!.elemType) : `a ${kind}`;
        throw new SecateurError(
          'unsupported',
          `The model's input ${value.name} is ${what}, which Secateur cannot feed.`,
        );
      }
      return { name: value.name, type, shape: value.type?.shape, value };
    });
}

/** Name in lower case with everything but letters and digits as `_`: `Input:0` and `input_0` are the same. */
export function plainName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, '_');
}

/**
 * Symbol of the batch dimension: that of axis 0 of the inputs, if it has one.
 */
export function batchSymbol(inputs: readonly ModelInput[]): string | null {
  for (const input of inputs) {
    const first = input.shape?.[0];
    if (typeof first === 'string' && first !== '') return first;
  }
  return null;
}
