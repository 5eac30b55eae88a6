import { checkSignal } from '../errors.ts';
import type { HostTensor, Session } from './session.ts';

export interface Latency {
  /** Median wall time of one run in milliseconds. */
  medianMs: number;
  /** First and third quartile. */
  lowMs: number;
  highMs: number;
  runs: number;
}

export interface LatencyOptions {
  /** Runs that are not counted: the first ones allocate memory and compile kernels. Default 3. */
  warmup?: number;
  /** At least so many counted runs (default 10) … */
  runs?: number;
  /** … and more until so many milliseconds have passed, up to 200 runs. Default 500. */
  minMs?: number;
  signal?: AbortSignal;
}

type Feeds = Readonly<Record<string, HostTensor>>;

/** Wall time of one run of a session on these feeds. Wants a quiet machine; see `compareLatency` for two models. */
export async function measureLatency(session: Session, feeds: Feeds, options: LatencyOptions = {}): Promise<Latency> {
  return (await timeInterleaved([{ session, feeds }], options))[0];
}

/**
 * Wall times of two sessions, run turn by turn with the order swapped every round, so that drift of the machine
 * (frequency, other programs) meets both alike.
 */
export async function compareLatency(
  a: { session: Session; feeds: Feeds },
  b: { session: Session; feeds: Feeds },
  options: LatencyOptions = {},
): Promise<{ a: Latency; b: Latency; speedup: number }> {
  const [timesA, timesB] = await timeInterleaved([a, b], options);
  return { a: timesA, b: timesB, speedup: timesA.medianMs / timesB.medianMs };
}

async function timeInterleaved(
  sides: { session: Session; feeds: Feeds }[],
  { warmup = 3, runs = 10, minMs = 500, signal }: LatencyOptions,
): Promise<Latency[]> {
  const times: number[][] = sides.map(() => []);
  const start = performance.now();
  for (let round = 0; round < warmup + 200; round++) {
    checkSignal(signal);
    const counted = round - warmup;
    if (counted >= runs && performance.now() - start >= minMs * sides.length) break;
    const order = sides.map((_, i) => i);
    if (round % 2) order.reverse();
    for (const i of order) {
      const before = performance.now();
      await sides[i].session.run(sides[i].feeds);
      if (counted >= 0) times[i].push(performance.now() - before);
    }
  }
  return times.map(summarise);
}

/** Quartiles with linear interpolation. */
function summarise(times: number[]): Latency {
  const sorted = [...times].sort((x, y) => x - y);
  const quantile = (q: number): number => {
    const at = q * (sorted.length - 1);
    const low = Math.floor(at);
    const high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
  };
  return { medianMs: quantile(0.5), lowMs: quantile(0.25), highMs: quantile(0.75), runs: sorted.length };
}
