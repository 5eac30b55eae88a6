import type { Model } from '../graph/ir.ts';
import { serializeModel } from '../graph/save.ts';

/** Bytes of a model for the runtime, and the external data that go with them (session option `externalData`). */
export interface PreparedModel {
  bytes: Uint8Array;
  externalData: { path: string; data: Uint8Array }[];
}

/** Serialises a model for a session. */
export function prepareModel(model: Model): PreparedModel {
  return { bytes: serializeModel(model), externalData: [] };
}
