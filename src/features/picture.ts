import type { FeaturePicture } from '../formats.ts';
import { imageAxes } from './layout.ts';

/** Pixels in each direction at most. */
const MOST_PIXELS = 256;

/**
 * A picture of numbers, to lay a heat map over: their range is stretched to 0…255. One or three channels are taken as grey
 * and colours, others are averaged. Large ones lose pixels.
 * @param values a sample, row-major, of this shape
 * @returns undefined where the shape is not that of an image
 */
export function pictureOf(values: ArrayLike<number>, shape: readonly number[]): FeaturePicture | undefined {
  const axes = imageAxes(shape);
  if (!axes) return undefined;
  const strides = shape.map((_, a) => shape.slice(a + 1).reduce((p, d) => p * d, 1));
  const [fullHeight, fullWidth] = [shape[axes.height], shape[axes.width]];
  const all = axes.channels === null ? 1 : shape[axes.channels];
  const channels = all === 3 ? 3 : 1;
  const step = Math.ceil(Math.max(fullHeight, fullWidth) / MOST_PIXELS);
  const [height, width] = [Math.ceil(fullHeight / step), Math.ceil(fullWidth / step)];
  const numbers: number[] = [];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const at = y * step * strides[axes.height] + x * step * strides[axes.width];
      const colours = Array.from({ length: all }, (_, c) =>
        axes.channels === null ? values[at] : values[at + c * strides[axes.channels]],
      );
      if (channels === 3) numbers.push(...colours);
      else numbers.push(colours.reduce((sum, v) => sum + v, 0) / all);
    }
  let [low, high] = [Infinity, -Infinity];
  for (const v of numbers) [low, high] = [Math.min(low, v), Math.max(high, v)];
  const range = high - low || 1;
  return { height, width, channels, pixels: numbers.map((v) => Math.round((255 * (v - low)) / range)) };
}
