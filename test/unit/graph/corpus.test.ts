import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fromBinary } from '@bufbuild/protobuf';
import { SecateurError } from '../../../src/errors.ts';
import { modelCost } from '../../../src/graph/cost.ts';
import { loadModel, parseModel } from '../../../src/graph/load.ts';
import { allTensors, serializeModel } from '../../../src/graph/save.ts';
import { inferShapes } from '../../../src/graph/shapes/index.ts';
import { ModelProtoSchema } from '../../../src/onnx/onnx_pb.ts';
import { firstDifference } from '../../support/difference.ts';
import { checkShapes } from '../../support/ort-shapes.ts';

const corpus = process.env.SECATEUR_CORPUS;
const files =
  corpus && existsSync(corpus)
    ? (readdirSync(corpus, { recursive: true }) as string[]).filter((f) => f.endsWith('.onnx'))
    : [];
/** Files that are no models at all. */
const NOT_MODELS = /broken_(lfs_pointer|symlink_text)/;
/** Sizes that these models need for inputs of free size. */
const SIZES: [RegExp, number][] = [[/yunet|qdq_minimal|super_resolution/, 64]];

describe.runIf(files.length > 0)('the corpus', () => {
  const models = files.filter((f) => !NOT_MODELS.test(f));

  test('every model opens, is measured, and says the same when written again', () => {
    expect(models.length).toBeGreaterThan(600);
    for (const file of models) {
      const path = join(corpus!, file);
      const model = loadModel(path);
      const tensors = allTensors(model);
      if (tensors.every((t) => t.storage.kind !== 'external' || t.location)) {
        const bytes = serializeModel(model);
        const again = fromBinary(ModelProtoSchema, serializeModel(parseModel(bytes)));
        expect(firstDifference(again, fromBinary(ModelProtoSchema, bytes)), file).toBeNull();
      }
      inferShapes(model, { strict: true });
      const cost = modelCost(model);
      expect(Number.isFinite(cost.macs) && Number.isFinite(cost.parameters), file).toBe(true);
    }
  });

  test('what is no model is refused with a sentence', () => {
    for (const file of files.filter((f) => NOT_MODELS.test(f)))
      expect(() => loadModel(join(corpus!, file)), file).toThrowError(SecateurError);
  });

  test('shapes are those of onnxruntime', { timeout: 300_000 }, async () => {
    const total = { values: 0, open: 0 };
    const wrong: string[] = [];
    for (const file of models) {
      const model = loadModel(join(corpus!, file));
      if (allTensors(model).some((t) => t.isExternal && !t.location)) continue;
      const wanted = SIZES.find(([pattern]) => pattern.test(file))?.[1];
      const check = await checkShapes(model, wanted ? (_, axis) => (axis >= 2 ? wanted : 1) : undefined);
      if (!check) continue;
      total.values += check.values;
      total.open += check.open.length;
      wrong.push(...check.wrong.map((w) => `${dirname(file)}: ${w}`));
    }
    expect(wrong).toEqual([]);
    expect(total.values).toBeGreaterThan(8000);
    // Data-dependent sizes (NonZero and what follows from it) and shapes that are inputs of the run stay open.
    expect(total.open / total.values).toBeLessThan(0.06);
  });
});
