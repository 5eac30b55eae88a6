import type { SwitchLoss } from '../../../src/ranking/dirichlet/estimators.ts';
import { Rng } from '../../../src/math/random.ts';
import { standardNormal } from '../../../src/math/normal.ts';

/** A gate loss in closed form as a model: value and gradient at one gate vector, tried on every row. */
export function modelOf(
  size: number,
  at: (gates: Float64Array, step: number) => { loss: number; gradient: Float64Array },
  options: { gradients?: boolean; onCall?: (calls: number) => void } = {},
): SwitchLoss {
  let calls = 0;
  return {
    size,
    async evaluate(gates, count, step) {
      options.onCall?.(++calls);
      const rows = Array.from({ length: count }, (_, k) => at(gates.slice(k * size, (k + 1) * size), step));
      const losses = Float64Array.from(rows, (row) => row.loss);
      if (options.gradients === false) return { losses };
      return { losses, gradients: Float64Array.from(rows.flatMap((row) => [...row.gradient])) };
    },
  };
}

/** −Σ w_i g_i / n: with gates n·s its mean over Dir(φ) is −Σ w_i φ_i/φ₀. */
export function linear(weights: readonly number[]): (gates: Float64Array) => { loss: number; gradient: Float64Array } {
  const n = weights.length;
  return (gates) => ({
    loss: -gates.reduce((sum, g, i) => sum + (g * weights[i]) / n, 0),
    gradient: Float64Array.from(weights, (w) => -w / n),
  });
}

/**
 * Mean squared error of a frozen linear layer, Σ g_i w_i a_i against the same with all gates at 1, in batches of 16 of
 * 64 samples. Units with w_i = 0 have no outgoing weight.
 */
export function regression(
  outgoing: readonly number[],
): (gates: Float64Array, step: number) => { loss: number; gradient: Float64Array } {
  const n = outgoing.length;
  const rng = Rng.from(12, 'regression');
  const activations = Array.from({ length: 64 }, () => Float64Array.from(outgoing, () => 1 + standardNormal(rng)));
  return (gates, step) => {
    const gradient = new Float64Array(n);
    let loss = 0;
    for (let b = 0; b < 16; b++) {
      const a = activations[(step * 16 + b) % 64];
      const error = outgoing.reduce((sum, w, i) => sum + (gates[i] - 1) * w * a[i], 0);
      loss += (error * error) / 16;
      outgoing.forEach((w, i) => (gradient[i] += (2 * error * w * a[i]) / 16));
    }
    return { loss, gradient };
  };
}

/**
 * A softmax classifier over the ReLU features of a random layer, trained until its gradient is small, with the last
 * `useless` features left without outgoing weights; 6 overlapping clusters, 192 samples, in batches of 48.
 * @param target what the loss is taken against: the labels, or the classifier's own answers with all gates at 1
 */
export function classifier(
  size: number,
  useless: number,
  target: 'labels' | 'own',
): (gates: Float64Array, step: number) => { loss: number; gradient: Float64Array } {
  const [samples, inputs, classes, batch] = [192, 6, 6, 48];
  const rng = Rng.from(21, 'classifier');
  const normals = (count: number): Float64Array => Float64Array.from({ length: count }, () => standardNormal(rng));
  const centres = Array.from({ length: classes }, () => normals(inputs));
  const hidden = Array.from({ length: size }, () => normals(inputs));
  const labels = Array.from({ length: samples }, (_, s) => s % classes);
  const features = labels.map((label) => {
    const x = normals(inputs).map((e, d) => e + 1.5 * centres[label][d]);
    return hidden.map((row) =>
      Math.max(
        0,
        row.reduce((sum, w, d) => sum + (w * x[d]) / 2, 0),
      ),
    );
  });
  const weights = Array.from({ length: classes }, () => new Float64Array(size));
  const answer = (feature: readonly number[], gates?: Float64Array): Float64Array => {
    const logits = Float64Array.from(weights, (row) =>
      row.reduce((sum, w, i) => sum + w * feature[i] * (gates?.[i] ?? 1), 0),
    );
    const largest = Math.max(...logits);
    const exps = logits.map((l) => Math.exp(l - largest));
    const total = exps.reduce((a, b) => a + b, 0);
    return exps.map((e) => e / total);
  };
  for (let round = 0; round < 400; round++) {
    const errors = features.map((feature, s) => answer(feature).map((p, c) => p - (c === labels[s] ? 1 : 0)));
    weights.forEach((row, c) => {
      for (let i = 0; i < size - useless; i++)
        row[i] -= (0.2 / samples) * errors.reduce((sum, e, s) => sum + e[c] * features[s][i], 0);
    });
  }
  const targets = features.map((feature, s) =>
    target === 'own' ? answer(feature) : Float64Array.from(weights, (_, c) => (c === labels[s] ? 1 : 0)),
  );
  return (gates, step) => {
    const gradient = new Float64Array(size);
    let loss = 0;
    for (let b = 0; b < batch; b++) {
      const s = (step * batch + b) % samples;
      const p = answer(features[s], gates);
      p.forEach((value, c) => {
        loss -= (targets[s][c] * Math.log(value)) / batch;
        for (let i = 0; i < size; i++)
          gradient[i] += ((value - targets[s][c]) * weights[c][i] * features[s][i]) / batch;
      });
    }
    return { loss, gradient };
  };
}
