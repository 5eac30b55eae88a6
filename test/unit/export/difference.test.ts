import { expect, test } from 'vitest';
import { DifferenceMeter } from '../../../src/pruning/export/difference.ts';
import { float32Tensor } from '../../../src/runtime/host-tensor.ts';

const tensor = (...values: number[]) => float32Tensor([values.length], values);

test('relative difference is the largest difference over the largest magnitude of all batches', () => {
  const meter = new DifferenceMeter();
  meter.add('y', tensor(1, 2), tensor(1, 2.5));
  meter.add('y', tensor(10, -4), tensor(10, -4.25));
  meter.add('z', tensor(1), tensor(1));
  expect(meter.of('y')).toEqual({ maxAbsDiff: 0.5, maxRelDiff: 0.05 });
  expect(meter.worst()).toEqual({ maxAbsDiff: 0.5, maxRelDiff: 0.05, output: 'y' });
});

test('equal infinities and NaN on both sides are equal, on one side they are not', () => {
  const meter = new DifferenceMeter();
  meter.add('y', tensor(Infinity, NaN, 1), tensor(Infinity, NaN, 1));
  expect(meter.worst().maxRelDiff).toBe(0);
  meter.add('y', tensor(NaN), tensor(1));
  expect(meter.worst().maxRelDiff).toBe(Infinity);
});

test('an output that is zero must be zero on both sides', () => {
  const meter = new DifferenceMeter();
  meter.add('y', tensor(0, 0), tensor(0, 0));
  expect(meter.worst().maxRelDiff).toBe(0);
  meter.add('y', tensor(1e-9), tensor(0));
  expect(meter.worst().maxRelDiff).toBe(Infinity);
});

test('other shapes are refused', () => {
  expect(() => new DifferenceMeter().add('y', tensor(1), tensor(1, 2))).toThrow(RangeError);
});
