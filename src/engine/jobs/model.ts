/** Models that jobs work on, kept from job to job while the file does not change. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { asSecateurError, SecateurError } from '../../errors.ts';
import type { CostTerm, ModelRef } from '../../formats.ts';
import { modelCost } from '../../graph/cost.ts';
import type { ModelCost } from '../../graph/cost.ts';
import type { Model } from '../../graph/ir.ts';
import { loadModel } from '../../graph/load.ts';
import { externalData } from '../../pruning/export/external-files.ts';
import { analyseStructure } from '../../units/analyse.ts';
import { costTerms } from '../../units/cost-terms.ts';
import type { Structure } from '../../units/types.ts';
import { Cache } from './cache.ts';
import { fileKey } from './file-key.ts';
import { fileSha256 } from './hash.ts';

/** A model file that was opened; what is costly is computed when it is first asked for. */
export interface OpenModel {
  path: string;
  /** Changes when the file does. */
  key: string;
  model: Model;
  /** Bytes on disk, external data included. */
  bytes: number;
  /** Absolute paths of its external data. */
  external: string[];
  /** Why weights cannot be read, when external data is missing: the graph can be shown, but not run. */
  missingData: SecateurError | null;
  structure(): Structure;
  cost(): ModelCost;
  costTerms(): CostTerm[];
  ref(): Promise<ModelRef>;
}

const models = new Cache<OpenModel>(4);

/** Opens a model without reading its weights. @throws SecateurError 'bad-model' */
export function openModel(path: string): Promise<OpenModel> {
  const absolute = resolve(path);
  const key = fileKey(absolute);
  return models.get(key, async () => {
    if (!statSync(absolute).isFile()) throw new SecateurError('bad-model', `${absolute} is not a file.`);
    const model = loadModel(absolute);
    const { files: external, problem } = externalData(model);
    // A missing file leaves something to look at; a path that leaves the folder, or a wrong length, does not.
    if (problem && problem.cause === undefined) throw problem;
    const missingData = problem ? asSecateurError(problem, 'bad-model') : null;
    const sizes = [absolute, ...external].map((file) => statSync(file, { throwIfNoEntry: false })?.size ?? 0);
    const bytes = sizes.reduce((a, b) => a + b, 0);
    const structure = once(() => analyseStructure(model));
    return {
      path: absolute,
      key,
      model,
      bytes,
      external,
      missingData,
      structure,
      // The structure's copy of the model has inferred shapes.
      cost: once(() => modelCost(structure().model)),
      costTerms: once(() => costTerms(structure())),
      ref: async () => ({ path: absolute, sha256: await fileSha256(absolute), bytes }),
    };
  });
}

function once<T>(compute: () => T): () => T {
  let done: { value: T } | undefined;
  return () => (done ??= { value: compute() }).value;
}
