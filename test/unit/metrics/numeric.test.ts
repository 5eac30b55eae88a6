import { describe, expect, test } from 'vitest';
import { PROBABILITY_FLOOR } from '../../../src/math/probability.ts';
import {
  klDivergence,
  logDistribution,
  logSoftmax,
  meanAndError,
  softplus,
  topAnswer,
} from '../../../src/evaluation/metrics/index.ts';

/**
 * Golden numbers by PyTorch 2.13 in float64:
 *   z = tensor([[2, -1, .5], [.1, .2, .3], [-3, 4, 1], [1, 1, -2]]); r = tensor([[1.5, -.5, .5], [.3, .2, .1], [-2, 3, 2.5], [1, 0, -2]])
 *   F.log_softmax(z, 1); F.kl_div(F.log_softmax(z, 1), F.log_softmax(r, 1), log_target=True, reduction='none').sum(1)
 */
const Z = [[2, -1, 0.5], [0.1, 0.2, 0.3], [-3, 4, 1], [1, 1, -2]]; // prettier-ignore
const R = [[1.5, -0.5, 0.5], [0.3, 0.2, 0.1], [-2, 3, 2.5], [1, 0, -2]]; // prettier-ignore
const LOG_SOFTMAX = [
  [-0.24131129665715703, -3.241311296657157, -1.7413112966571571], [-1.201942848229244, -1.101942848229244, -1.001942848229244],
  [-7.049455609695646, -0.049455609695645726, -3.0494556096956456], [-0.7177359186667026, -0.7177359186667026, -3.7177359186667025],
]; // prettier-ignore
const KL = [0.04610014091055592, 0.013311159151039337, 0.5194560592745152, 0.10922724155609714];

describe('pure functions', () => {
  test('log-softmax', () => {
    Z.forEach((row, i) => logSoftmax(row).forEach((v, c) => expect(v).toBeCloseTo(LOG_SOFTMAX[i][c], 12)));
    expect([...logSoftmax([1000, 1000])]).toEqual([-Math.LN2, -Math.LN2]);
    expect([...logSoftmax([-Infinity, 0])]).toEqual([-Infinity, 0]);
    // Every second number of a strided block.
    logSoftmax([9, 2, 9, -1, 9, 0.5], 1, 3, 2).forEach((v, c) => expect(v).toBeCloseTo(LOG_SOFTMAX[0][c], 12));
  });
  test('KL divergence', () => {
    Z.forEach((row, i) => expect(klDivergence(logSoftmax(R[i]), logSoftmax(row))).toBeCloseTo(KL[i], 12));
    expect(klDivergence([0, -Infinity], [0, -Infinity])).toBe(0);
  });
  test('binary outputs give two answers', () => {
    const [no, yes] = logDistribution('binary-logit', [0.3], 0, 1, 1);
    expect(Math.exp(no) + Math.exp(yes)).toBeCloseTo(1, 14);
    expect(yes).toBeCloseTo(Math.log(1 / (1 + Math.exp(-0.3))), 14);
    expect(logDistribution('binary-probability', [1], 0, 1, 1)).toEqual(
      Float64Array.of(Math.log(PROBABILITY_FLOOR), 0),
    );
    expect(softplus(800)).toBe(800);
    expect(softplus(-800)).toBe(0);
  });
  test('top answers: first of equals, thresholds, NaN is no answer', () => {
    expect(topAnswer('logits', [1, 3, 3], 0, 3, 1)).toBe(1);
    expect(topAnswer('logits', [1, NaN, 3], 0, 3, 1)).toBe(-1);
    expect([-0.1, 0, 0.1].map((v) => topAnswer('binary-logit', [v], 0, 1, 1))).toEqual([0, 0, 1]);
    expect([0.4, 0.5, 0.6].map((v) => topAnswer('binary-probability', [v], 0, 1, 1))).toEqual([0, 0, 1]);
  });
  test('mean and standard error', () => {
    // numpy.std([1, 0, 1, 0], ddof=1) / 2
    expect(meanAndError([1, 0, 1, 0])).toEqual({ mean: 0.5, stderr: expect.closeTo(0.28867513459481287, 14) });
    expect(meanAndError([3])).toEqual({ mean: 3, stderr: 0 });
  });
});
