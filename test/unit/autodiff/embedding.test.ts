import ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { DataType } from '../../../src/onnx/data-type.ts';
import { builder } from '../../support/build.ts';
import { checkGradient } from '../../support/gradients.ts';

const int32 = (values: number[], dims: number[]) => new ort.Tensor('int32', Int32Array.from(values), dims);

describe('com.microsoft.EmbedLayerNormalization', () => {
  it.each([
    [true, false],
    [false, false],
    [true, true],
  ])('segments: %s, places given: %s', async (segmented, placed) => {
    const b = builder();
    const ids = (name: string) => b.input(name, ['N', 3], DataType.INT32);
    const table = (rows: number, name: string) => b.weight([rows, 4], name, 1);
    const [words, places, segments] = [table(6, 'words'), table(5, 'places'), segmented ? table(2, 'segments') : null];
    const affine = [b.weight([4], 'gamma', 1), b.weight([4], 'beta', 1)];
    const inputs = [ids('ids'), segmented ? ids('segment') : null, words, places, segments, ...affine];
    if (placed) inputs.push(null, ids('place'));
    const outputs = b.nodes('com.microsoft.EmbedLayerNormalization', inputs, { epsilon: 0.01 }, 3);
    const wrt = [words, places, ...(segments ? [segments] : []), ...affine];
    const feeds: Record<string, ort.Tensor> = { ids: int32([1, 4, 1, 0, 5, 2], [2, 3]) };
    if (segmented) feeds.segment = int32([0, 0, 1, 0, 1, 1], [2, 3]);
    if (placed) feeds.place = int32([0, 1, 2, 3, 4, 0], [2, 3]);
    const options = { feeds, single: true };
    const { compared } = await checkGradient(b.model, [outputs[0], outputs[2]], wrt, options);
    expect(compared).toBeGreaterThan(40);
  });
});
