import { describe, expect, it } from 'vitest';
import { Adam } from '../../../src/math/adam.ts';
import { sigmoid, softplus, softplusInverse } from '../../../src/math/softplus.ts';
import { golden, relativeError } from './golden.ts';

interface Run {
  options: { lr: number; betas?: [number, number]; eps?: number };
  start: number[];
  gradients: number[][];
  trajectory: number[][];
}

describe('Adam', () => {
  const { runs } = golden<{ runs: Run[] }>('adam');
  const make = ({ options, start }: Run): Adam =>
    new Adam(start.length, {
      learningRate: options.lr,
      beta1: options.betas?.[0],
      beta2: options.betas?.[1],
      epsilon: options.eps,
    });

  it.each(runs.map((run, i) => [i, run] as const))('takes the twenty steps of torch.optim.Adam, run %i', (_, run) => {
    const adam = make(run);
    const x = Float64Array.from(run.start);
    expect(run.trajectory).toHaveLength(20);
    run.gradients.forEach((gradient, step) => {
      adam.step(x, gradient);
      expect(relativeError(x, run.trajectory[step])).toBeLessThan(1e-11);
    });
  });

  it('goes on from a state that went through JSON, bit for bit', () => {
    const run = runs[0];
    const [whole, first, second] = [make(run), make(run), make(run)];
    const x = Float64Array.from(run.start);
    const y = Float64Array.from(run.start);
    for (const gradient of run.gradients) whole.step(x, gradient);
    for (const gradient of run.gradients.slice(0, 8)) first.step(y, gradient);
    second.restore(JSON.parse(JSON.stringify(first.state())));
    for (const gradient of run.gradients.slice(8)) second.step(y, gradient);
    expect(y).toEqual(x);
  });
});

describe('softplus', () => {
  it('keeps its digits at both ends', () => {
    expect(softplus(0)).toBeCloseTo(Math.LN2, 15);
    expect(relativeError([softplus(-40)], [Math.exp(-40)])).toBeLessThan(1e-14);
    expect(softplus(1000)).toBe(1000);
    expect(sigmoid(-1000)).toBe(0);
    expect(sigmoid(1000)).toBe(1);
    expect(relativeError([sigmoid(-40)], [Math.exp(-40)])).toBeLessThan(1e-14);
  });

  it('has its inverse and its derivative', () => {
    for (const y of [1e-12, 1e-4, 0.3, 2, 40, 1e4])
      expect(relativeError([softplus(softplusInverse(y))], [y])).toBeLessThan(1e-14);
    for (const x of [-9, -1, 0, 0.5, 12]) {
      const slope = (softplus(x + 1e-5) - softplus(x - 1e-5)) / 2e-5;
      expect(Math.abs(slope - sigmoid(x))).toBeLessThan(1e-9);
    }
  });
});
