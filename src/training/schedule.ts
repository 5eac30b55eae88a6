/** How the learning rate goes over a training. */
export interface Schedule {
  /** After the warm-up: half a period of a cosine, down to `floor` (default), or no change. */
  kind?: 'cosine' | 'constant';
  /** Steps over which the rate first rises linearly; 0. */
  warmup?: number;
  /** Share of the learning rate that the cosine ends at; 0. */
  floor?: number;
}

/**
 * Share of the learning rate in a step (from 0) of `total`: (step + 1)/(warmup + 1) while it rises, then
 * floor + (1 − floor)·(1 + cos(π·t/T))/2 at step t of the T that are left (Loshchilov and Hutter, SGDR, ICLR 2017).
 */
export function scheduleShare(
  { kind = 'cosine', warmup = 0, floor = 0 }: Schedule,
  step: number,
  total: number,
): number {
  if (step < warmup) return (step + 1) / (warmup + 1);
  if (kind === 'constant') return 1;
  const t = Math.min(1, (step - warmup) / Math.max(1, total - warmup));
  return floor + ((1 - floor) * (1 + Math.cos(Math.PI * t))) / 2;
}
