import type { DeviceName, FeatureScaling, FeatureScore } from '../../formats.ts';
import { SecateurError } from '../../errors.ts';
import { Adam } from '../../math/adam.ts';
import { sampleDirichlet } from '../../math/dirichlet-sampling.ts';
import { dirichletKlGradient, dirichletMean, dirichletVariance, pullBackMean } from '../../math/dirichlet.ts';
import { Rng } from '../../math/random.ts';
import { sigmoid, softplus, softplusInverse } from '../../math/softplus.ts';
import { pathwiseGradient, scoreFunctionGradient } from '../../ranking/dirichlet/estimators.ts';
import { pullBackScaling, scaleShares } from '../../ranking/dirichlet/scaling.ts';
import { batchOf, openAndClosed } from '../data-loss.ts';
import type { Explained, OnStep } from '../explain.ts';
import type { FeatureModel, RowLosses } from '../feature-model.ts';
import type { QfitSettings } from '../settings.ts';
import { SelectorInputs } from './inputs.ts';
import { SelectorNetwork } from './network.ts';

const HIDDEN = 200;
/** φ stays above this: draws and derivatives are exact down to there. */
const SMALLEST_PHI = 1e-4;
/** Samples that are explained at the end, at most: they are one run of the network. */
const MOST_EXPLAINED = 20_000;

/** An explanation of each sample, and what they come to together. */
export interface EachExplained extends Explained {
  /** Position of the sample in the data set, and φ of its Dirichlet distribution. */
  each: { sample: number; phi: Float64Array }[];
}

/** What one step works with: a batch, its Dirichlet parameters, and gates drawn for each of its samples. */
interface Draws {
  samples: Int32Array;
  phi: Float64Array[];
  /** By sample. */
  draws: ReturnType<typeof sampleDirichlet>[][];
}

/**
 * Q-FIT in its local mode for many samples (Adamczewski, Harder, Park 2020, arXiv 2010.13872): a selector network gives
 * φ(x) = softplus(g(x)), and its weights minimise the mean over samples of
 * E_{s ~ Dir(φ(x))}[loss of b + s ⊙ (x − b)] + β KL(Dir(φ(x)) ‖ Dir(α₀)). The network reads the samples standardised,
 * element by element.
 * @throws SecateurError 'cancelled' before the first step is done; 'unsupported' for the point form of a model without
 *   gradients, or samples too large for the network; 'runtime'
 */
export async function explainEach(
  model: FeatureModel,
  samples: Int32Array,
  settings: QfitSettings,
  device: DeviceName,
  signal?: AbortSignal,
  onStep?: OnStep,
): Promise<EachExplained> {
  const { steps, seed, learningRate, batch } = settings;
  const { size, names } = model.layout;
  if (settings.form === 'point' && !model.hasGradients)
    throw new SecateurError(
      'unsupported',
      'The point form of Q-FIT needs gradients, which this model does not have.',
      'Use the sampled form.',
    );
  const value = await openAndClosed(model, samples, signal);
  const inputs = await SelectorInputs.open(model, samples, device, signal);
  const rng = Rng.from(seed, 'selector');
  const network = await SelectorNetwork.open(
    { inputs: inputs.width, hidden: HIDDEN, features: size },
    softplusInverse(1),
    rng,
    device,
  );
  try {
    const adam = new Adam(network.parameters.length, { learningRate });
    let estimator: Explained['estimator'] = 'point';
    let step = 0;
    for (; step < steps && !signal?.aborted; step++) {
      const chosen = batchOf(samples, batch, step, seed);
      const x = await inputs.of(chosen);
      const theta = await network.forward(x);
      const drawn = drawGates(chosen, theta, settings, rng);
      let losses: RowLosses;
      try {
        losses = await runGates(model, drawn, settings.scaling, signal);
      } catch (thrown) {
        if (thrown instanceof SecateurError && thrown.code === 'cancelled') break;
        throw thrown;
      }
      if (settings.form === 'sampled') estimator = losses.gradients ? 'pathwise' : 'score-function';
      const gradient = gradientOfNumbers(drawn, theta, losses, settings);
      adam.learningRate = learningRate * 0.5 * (1 + Math.cos((Math.PI * step) / steps));
      adam.step(network.parameters, await network.backward(x, gradient));
      onStep?.(step + 1, steps, together(names, drawn.phi));
    }
    if (step === 0) throw new SecateurError('cancelled', 'The explanation was cancelled.');
    const explained = samples.slice(0, MOST_EXPLAINED);
    const phi = parametersOf(await network.forward(await inputs.of(explained)), size);
    return {
      samples: samples.length,
      features: together(names, phi),
      phi: null,
      value,
      estimator,
      steps: step,
      complete: step === steps,
      each: phi.map((p, i) => ({ sample: explained[i], phi: p })),
    };
  } finally {
    await network.close();
    await inputs.close();
  }
}

/** φ of each row from the network's numbers. */
function parametersOf(theta: Float32Array, size: number): Float64Array[] {
  return Array.from({ length: theta.length / size }, (_, r) =>
    Float64Array.from(theta.subarray(r * size, (r + 1) * size), (t) => Math.max(SMALLEST_PHI, softplus(t))),
  );
}

function drawGates(samples: Int32Array, theta: Float32Array, { form, draws }: QfitSettings, rng: Rng): Draws {
  const phi = parametersOf(theta, theta.length / samples.length);
  if (form === 'point') return { samples, phi, draws: [] };
  return { samples, phi, draws: phi.map((p) => Array.from({ length: draws }, () => sampleDirichlet(rng, p))) };
}

/** One row per sample and draw, those of a sample next to each other; in the point form one per sample, at the mean. */
function runGates(
  model: FeatureModel,
  { samples, phi, draws }: Draws,
  scaling: FeatureScaling,
  signal?: AbortSignal,
): Promise<RowLosses> {
  const { size } = model.layout;
  const shares = phi.map((p, i) => draws[i]?.map((d) => d.shares) ?? [dirichletMean(p)]);
  const each = shares[0].length;
  const gates = new Float64Array(samples.length * each * size);
  shares.flat().forEach((s, r) => gates.set(scaleShares(scaling, s), r * size));
  const rows = Int32Array.from({ length: samples.length * each }, (_, r) => samples[Math.floor(r / each)]);
  return model.run(rows, gates, { gradients: true, signal });
}

/** The gradient of the mean objective of the batch with respect to the numbers that the network gave. */
function gradientOfNumbers(
  { samples, phi, draws }: Draws,
  theta: Float32Array,
  { losses, gradients }: RowLosses,
  { prior, klWeight, scaling }: QfitSettings,
): Float32Array {
  const b = samples.length;
  const size = theta.length / b;
  const alpha = new Float64Array(size).fill(prior);
  const each = losses.length / b;
  const found = new Float32Array(theta.length);
  phi.forEach((p, i) => {
    const [from, to] = [i * each, (i + 1) * each];
    const own = gradients?.subarray(from * size, to * size);
    let data: Float64Array;
    if (!draws[i]) data = pullBackMean(p, pullBackScaling(scaling, dirichletMean(p), own!));
    else if (own) data = pathwiseGradient(p, draws[i], scaling, own);
    else data = scoreFunctionGradient(p, draws[i], losses.subarray(from, to));
    const kl = dirichletKlGradient(p, alpha);
    for (let f = 0; f < size; f++)
      found[i * size + f] = ((data[f] + klWeight * kl[f]) * sigmoid(theta[i * size + f])) / b;
  });
  return found;
}

/** Importances of several samples as one: the mean share, and its standard deviation within and between samples. */
function together(names: readonly string[], phi: readonly Float64Array[]): FeatureScore[] {
  const means = phi.map(dirichletMean);
  const variances = phi.map(dirichletVariance);
  const n = phi.length;
  return names.map((name, index) => {
    let [mean, within, squares] = [0, 0, 0];
    for (let i = 0; i < n; i++) {
      mean += means[i][index] / n;
      within += variances[i][index] / n;
      squares += means[i][index] ** 2 / n;
    }
    return { index, name, importance: mean, sd: Math.sqrt(within + Math.max(0, squares - mean * mean)) };
  });
}
