import { expect, test } from 'vitest';
import { bytes, change, count, duration, metricChange, metricValue, significant } from '../../../src/cli/numbers.ts';
import { table } from '../../../src/cli/table.ts';

test.each([
  [0, '0'],
  [1, '1.00'],
  [12.345, '12.3'],
  [0.012345, '0.0123'],
  [99999, '99999'],
  [1e7, '1.00e+7'],
  [3e-7, '3.00e-7'],
  [-4.5, '-4.50'],
])('significant(%d) is %s', (value, text) => expect(significant(value)).toBe(text));

test.each([
  [0, '0'],
  [87, '87'],
  [1000, '1.00 k'],
  [12_500_000, '12.5 M'],
  [999_999, '1.00 M'],
  [2.5e9, '2.50 G'],
])('count(%d) is %s', (value, text) => expect(count(value)).toBe(text));

test('bytes, times, changes', () => {
  expect(bytes(12)).toBe('12 B');
  expect(bytes(313_000)).toBe('313 kB');
  expect(duration(0.05)).toBe('50.0 µs');
  expect(duration(4.1)).toBe('4.10 ms');
  expect(duration(200_000)).toBe('3 min 20 s');
  expect(change(200, 100)).toBe('−50.0 %');
  expect(change(100, 100)).toBe('±0 %');
  expect(change(null, 100)).toBe('');
});

test('accuracy has no more digits than the samples support', () => {
  expect(metricValue('accuracy', 0.98765, 50)).toBe('99 %');
  expect(metricValue('accuracy', 0.98765, 500)).toBe('98.8 %');
  expect(metricValue('cross-entropy', -0.0123456, 50)).toBe('-0.01235');
  expect(metricChange('accuracy', 0.98, 0.972, 500)).toBe('−0.8 points');
  expect(metricValue('accuracy', null, 10)).toBe('–');
});

test('columns line up, long names keep both ends', () => {
  const text = table(
    [
      { title: 'a', max: 9 },
      { title: 'n', align: 'right' },
    ],
    [
      ['x', '1'],
      ['/features/conv_12/Conv', '200'],
    ],
  );
  expect(text.split('\n')).toEqual(['a            n', '─────────  ───', 'x            1', '/fea…Conv  200']);
});
