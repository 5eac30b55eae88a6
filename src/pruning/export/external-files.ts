import type { Model } from '../../graph/ir.ts';
import { allTensors } from '../../graph/save.ts';
import { resolveExternal } from '../../onnx/external.ts';

/** What a model says about its external data. */
export interface ExternalData {
  /** Absolute paths of the files that are there, each once. */
  files: string[];
  /** The first problem (missing file, wrong length, outside of the folder): an error that names tensor and file. */
  problem: Error | null;
}

/** Looks up the external data of a model without reading any. */
export function externalData(model: Model): ExternalData {
  const files = new Set<string>();
  let problem: Error | null = null;
  for (const { whole: tensor } of allTensors(model)) {
    if (tensor.storage.kind !== 'external') continue;
    try {
      files.add(resolveExternal(tensor.storage.ref, tensor.name).file.path);
    } catch (thrown) {
      problem ??= thrown as Error;
    }
  }
  return { files: [...files], problem };
}
