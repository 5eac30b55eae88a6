import { expect, test } from 'vitest';
import { featureLayout } from '../../../src/features/layout.ts';
import { selectFeatures } from '../../../src/features/select.ts';
import { pictureOf } from '../../../src/features/picture.ts';

const rows = featureLayout({ name: 'depth', shape: [1, 6, 4] }, 'rows');

test('without a penalty the most important features are chosen, with one none of their neighbours', () => {
  const importance = [0.05, 0.3, 0.29, 0.28, 0.04, 0.04];
  expect(selectFeatures(rows, importance, 3, 0)).toEqual([1, 2, 3]);
  expect(selectFeatures(rows, importance, 3, 2)).toEqual([1, 3, 5]);
});

test('the penalty is that of the nearest feature chosen, as a share of the largest importance', () => {
  // After 0: row 1 scores .9 − .5, row 2 .8 − .5/e, row 3 .7 − .5/e².
  expect(selectFeatures(rows, [1, 0.9, 0.8, 0.7, 0, 0], 2, 0.5)).toEqual([0, 3]);
  expect(selectFeatures(rows, [10, 9, 8, 7, 0, 0], 2, 0.5)).toEqual([0, 3]);
  expect(selectFeatures(rows, [1, 0.9, 0.8, 0.5, 0, 0], 2, 0.5)).toEqual([0, 2]);
});

test('patches have neighbours in both directions', () => {
  const patches = featureLayout({ name: 'x', shape: [1, 9, 9] }, 'patches', 3);
  const even = new Array<number>(9).fill(1);
  const [first, second] = selectFeatures(patches, even, 2, 1);
  expect([first, second]).toEqual([0, 8]);
});

test('a picture is stretched to 0…255, colours side by side', () => {
  expect(pictureOf([0, 1, 2, 3], [1, 2, 2])).toEqual({ height: 2, width: 2, channels: 1, pixels: [0, 85, 170, 255] });
  expect(pictureOf([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2], [3, 2, 2])).toMatchObject({
    channels: 3,
    pixels: [0, 128, 255, 0, 128, 255, 0, 128, 255, 0, 128, 255],
  });
  expect(pictureOf(new Float32Array(600 * 600), [600, 600])).toMatchObject({ height: 200, width: 200 });
  expect(pictureOf([1, 2], [2])).toBeUndefined();
});
