import { expect, test } from 'vitest';
import { SelectorNetwork } from '../../../src/features/selector/network.ts';
import { Rng } from '../../../src/math/random.ts';
import { numbers } from '../../support/build.ts';

const sizes = { inputs: 3, hidden: 8, features: 4 };
const rows = 6;

test('the network starts with nearly the same numbers for all samples', async () => {
  const network = await SelectorNetwork.open(sizes, 0.5, Rng.from(1), 'cpu');
  const next = numbers(2);
  const out = await network.forward(Float32Array.from({ length: rows * 3 }, next));
  expect(out).toHaveLength(rows * 4);
  for (const v of out) expect(Math.abs(v - 0.5)).toBeLessThan(0.5);
  await network.close();
});

test('hidden layers are normalised over the rows: scale and shift of an input change nothing', async () => {
  const network = await SelectorNetwork.open(sizes, 0.5, Rng.from(1), 'cpu');
  const next = numbers(3);
  const x = Float32Array.from({ length: rows * 3 }, next);
  const [before, after] = [await network.forward(x), await network.forward(x.map((v) => 3 * v + 7))];
  before.forEach((v, i) => expect(after[i]).toBeCloseTo(v, 3));
  await network.close();
});

test('its gradient equals central differences', async () => {
  const network = await SelectorNetwork.open(sizes, 0.5, Rng.from(1), 'cpu');
  const next = numbers(4);
  const x = Float32Array.from({ length: rows * 3 }, next);
  const seed = Float32Array.from({ length: rows * 4 }, next);
  const gradient = await network.backward(x, seed);
  const value = async (): Promise<number> => (await network.forward(x)).reduce((sum, v, i) => sum + v * seed[i], 0);
  const h = 1e-2;
  let checked = 0;
  for (let i = 0; i < network.parameters.length; i += 5) {
    const kept = network.parameters[i];
    const at = async (p: number): Promise<number> => {
      network.parameters[i] = p;
      return value();
    };
    const [up, down, middle] = [await at(kept + h), await at(kept - h), await at(kept)];
    // Across a bend of a ReLU the two sides differ.
    const bent = Math.abs(up + down - 2 * middle) > 1e-4;
    if (bent) continue;
    const wanted = (up - down) / (2 * h);
    expect(Math.abs(gradient[i] - wanted)).toBeLessThan(5e-3 * Math.max(1, Math.abs(wanted)));
    checked++;
  }
  expect(checked).toBeGreaterThan(15);
  await network.close();
});
