import { SecateurError } from '../../errors.ts';
import type { DeviceName } from '../../formats.ts';
import { PointValues } from '../baseline.ts';
import type { FeatureModel } from '../feature-model.ts';

/** Numbers of a sample at most, for a network of a few hundred hidden units that is trained on the spot. */
const MOST_INPUTS = 8192;

/** What a selector network reads: samples as they stand at the gates, each element standardised over the data. */
export class SelectorInputs {
  /** Numbers of a sample. */
  readonly width: number;
  private readonly values: PointValues;
  private readonly mean: Float64Array;
  private readonly scale: Float64Array;

  private constructor(values: PointValues, mean: Float64Array, scale: Float64Array) {
    this.values = values;
    this.mean = mean;
    this.scale = scale;
    this.width = mean.length;
  }

  /**
   * Takes mean and deviation over these samples.
   * @throws SecateurError 'unsupported' for samples that are too large; 'cancelled'
   */
  static async open(
    model: FeatureModel,
    samples: Int32Array,
    device: DeviceName,
    signal?: AbortSignal,
  ): Promise<SelectorInputs> {
    const values = new PointValues(model.model, model.dataset, model.input, model.points[0], device);
    const width = model.layout.shape.reduce((p, d) => p * d, 1);
    if (width > MOST_INPUTS)
      throw new SecateurError(
        'unsupported',
        `Samples of ${width} numbers are too large for a selector network.`,
        'Explain them one at a time, with --sample.',
      );
    const sums = new Float64Array(width);
    const squares = new Float64Array(width);
    const add = (row: Float32Array): void =>
      row.forEach((v, i) => {
        sums[i] += v;
        squares[i] += v * v;
      });
    await values.forEach(samples, add, signal);
    const mean = sums.map((s) => s / samples.length);
    // What never changes tells nothing, and is not divided by.
    const scale = squares.map((s, i) => 1 / (Math.sqrt(Math.max(0, s / samples.length - mean[i] ** 2)) || 1));
    return new SelectorInputs(values, mean, scale);
  }

  /** [samples, width], row-major. */
  async of(samples: Int32Array): Promise<Float32Array> {
    const found = new Float32Array(samples.length * this.width);
    await this.values.forEach(samples, (row, at) => {
      for (let i = 0; i < this.width; i++) found[at * this.width + i] = (row[i] - this.mean[i]) * this.scale[i];
    });
    return found;
  }

  close(): Promise<void> {
    return this.values.close();
  }
}
