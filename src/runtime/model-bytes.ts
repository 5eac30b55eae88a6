import type { Model } from '../graph/ir.ts';
import { serializeModel } from '../graph/save.ts';
import { modelToProto } from '../graph/to-proto.ts';
import type { Tensor } from '../onnx/tensor.ts';
import type { TensorSink } from '../onnx/tensor-proto.ts';
import { gather, modelPieces } from '../onnx/write.ts';

/** Bytes of a model for the runtime, and the external data that go with them (session option `externalData`). */
export interface PreparedModel {
  bytes: Uint8Array;
  externalData: { path: string; data: Uint8Array }[];
}

/** Above so many bytes of weights the model and its weights go to the runtime apart: one message holds 2 GB at most. */
export const INLINE_BYTES = 1.5e9;
/** Smaller tensors always stay inside: shape constants must be there when the runtime infers shapes. */
const SMALL_TENSOR = 4096;

/** Serialises a model for a session. @throws SecateurError 'bad-model' or 'io' when weights cannot be read */
export function prepareModel(model: Model, inlineBytes = INLINE_BYTES): PreparedModel {
  if (weightBytes(model) <= inlineBytes) return { bytes: serializeModel(model), externalData: [] };
  const memory: TensorSink['memory'] = [];
  const externalData: PreparedModel['externalData'] = [];
  const external = (tensor: Tensor) => {
    if (tensor.byteLength < SMALL_TENSOR) return undefined;
    const location = `secateur-${externalData.length}.data`;
    externalData.push({ path: location, data: tensor.bytes() });
    return { location, offset: 0, length: tensor.byteLength };
  };
  const { pieces, length } = modelPieces(modelToProto(model, { memory, external }), memory);
  return { bytes: gather(pieces, length), externalData };
}

function weightBytes(model: Model): number {
  return model.graph.initializers.reduce((sum, v) => sum + v.initializer!.byteLength, 0);
}
