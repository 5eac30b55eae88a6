import { expect, test } from 'vitest';
import { minimiseUnimodal } from '../../../src/math/minimise.ts';
import { lastNotAbove } from '../../../src/math/root.ts';

test('a root is found to neighbouring numbers, whatever the function does on the way', () => {
  expect(lastNotAbove((x) => x * x - 2, 0, 10)).toBeCloseTo(Math.SQRT2, 15);
  expect(lastNotAbove((x) => Math.expm1(x - 300), 0, 1000)).toBeCloseTo(300, 12);
  expect(lastNotAbove((x) => (x < 7 ? -1 : 1), 0, 1e6)).toBeCloseTo(7, 9);
  expect(lastNotAbove((x) => x ** 3, -5, 4)).toBeCloseTo(0, 12);
});

test('without a root it is the end on the side of zero', () => {
  expect(lastNotAbove((x) => x - 20, 0, 10)).toBe(10);
  expect(lastNotAbove((x) => x + 20, 0, 10)).toBe(0);
  // no number below 3: as if zero were crossed there
  expect(lastNotAbove((x) => (x < 3 ? -Infinity : x), 0, 10)).toBeCloseTo(3, 12);
});

test('the least value of functions that fall and rise', () => {
  expect(minimiseUnimodal((x) => (x - 2) ** 2, -10, 10)).toBeCloseTo(2, 7);
  expect(minimiseUnimodal(Math.abs, -3, 8)).toBeCloseTo(0, 9);
  expect(minimiseUnimodal((x) => Math.exp(-x) + 2 * Math.exp(x), -40, 40)).toBeCloseTo(-Math.log(2) / 2, 6);
  // steep on one side, flat on the other
  expect(minimiseUnimodal((x) => (x < 1 ? 1e9 * (1 - x) : 1e-3 * (x - 1)), -100, 100)).toBeCloseTo(1, 7);
});

test('a minimum at an end is that end exactly', () => {
  expect(minimiseUnimodal((x) => x, 0.1, 7)).toBe(0.1);
  expect(minimiseUnimodal((x) => -x, 0.1, 7)).toBe(7);
  expect(minimiseUnimodal((x) => x * x, 3, 3)).toBe(3);
});
