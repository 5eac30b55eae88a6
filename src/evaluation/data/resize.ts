/** Filters of a resize, by their support (radius in source pixels at scale 1). */
export type Resample = 'nearest' | 'bilinear' | 'bicubic';

const FILTERS: Record<'bilinear' | 'bicubic', { support: number; at: (x: number) => number }> = {
  bilinear: { support: 1, at: (x) => (Math.abs(x) < 1 ? 1 - Math.abs(x) : 0) },
  // Keys' cubic with a = −0.5.
  bicubic: {
    support: 2,
    at: (t) => {
      const x = Math.abs(t);
      if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
      return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    },
  },
};

/**
 * Resizes an image of interleaved 8-bit channels as image libraries for training do: separable, with the filter widened
 * when shrinking (so that no pixel is skipped), rounded to 8 bits after each direction.
 * @param pixels height × width × channels
 */
export function resizeImage(
  pixels: Uint8Array,
  width: number,
  height: number,
  channels: number,
  toWidth: number,
  toHeight: number,
  resample: Resample = 'bilinear',
): Uint8Array {
  const across = width === toWidth ? pixels : resizeAxis(pixels, height, width, channels, toWidth, resample);
  // Rows as the axis: height rows of (toWidth·channels) values that stay together.
  return height === toHeight ? across : resizeAxis(across, 1, height, toWidth * channels, toHeight, resample);
}

/** Resizes the middle axis of an outer × size × inner array. */
function resizeAxis(
  data: Uint8Array,
  outer: number,
  size: number,
  inner: number,
  to: number,
  resample: Resample,
): Uint8Array {
  const out = new Uint8Array(outer * to * inner);
  const taps = weights(size, to, resample);
  for (let o = 0; o < outer; o++)
    for (let t = 0; t < to; t++) {
      const { first, values } = taps[t];
      for (let i = 0; i < inner; i++) {
        let sum = 0;
        for (let k = 0; k < values.length; k++) sum += values[k] * data[(o * size + first + k) * inner + i];
        out[(o * to + t) * inner + i] = Math.max(0, Math.min(255, Math.floor(sum + 0.5)));
      }
    }
  return out;
}

function weights(size: number, to: number, resample: Resample): { first: number; values: Float64Array }[] {
  const scale = size / to;
  return Array.from({ length: to }, (_, t) => {
    const center = (t + 0.5) * scale;
    if (resample === 'nearest') return { first: Math.min(size - 1, Math.floor(center)), values: Float64Array.of(1) };
    const { support, at } = FILTERS[resample];
    const widen = Math.max(scale, 1);
    const first = Math.max(0, Math.floor(center - support * widen + 0.5));
    const last = Math.min(size, Math.floor(center + support * widen + 0.5));
    const values = Float64Array.from({ length: Math.max(1, last - first) }, (_, k) =>
      at((first + k - center + 0.5) / widen),
    );
    const sum = values.reduce((a, b) => a + b, 0);
    return { first, values: values.map((v) => v / sum) };
  });
}
