import type { Rng } from '../../math/random.ts';

/** Random coalitions that a set of units is tried in. */
const TRIALS = 12;

/**
 * Units among the candidates that change nothing: units whose opening or closing leaves the value exactly as it is, in
 * random coalitions of all sizes. They are tried together, a random half of them flipped at a time; where something
 * changes, each half of the candidates is tried for itself. What the budget does not pay for counts as not silent.
 * @param candidates units that change nothing when they are opened first and when they are opened last
 * @param budget evaluations that may be spent
 */
export async function findSilent(
  candidates: readonly number[],
  players: number,
  budget: number,
  rng: Rng,
  ask: (coalitions: readonly Uint8Array[]) => Promise<Float64Array>,
): Promise<number[]> {
  const silent: number[] = [];
  const queue = candidates.length > 0 ? [[...candidates]] : [];
  let spent = 0;
  while (queue.length > 0 && spent + 2 * TRIALS <= budget) {
    const units = queue.shift()!;
    const coalitions: Uint8Array[] = [];
    for (let trial = 0; trial < TRIALS; trial++) {
      const one = randomCoalition(players, rng);
      const other = one.slice();
      for (const unit of units) if (units.length === 1 || rng.int(2)) other[unit] ^= 1;
      coalitions.push(one, other);
    }
    const values = await ask(coalitions);
    spent += values.length;
    let same = true;
    for (let i = 0; i < values.length; i += 2) same &&= values[i] === values[i + 1];
    if (same) silent.push(...units);
    else if (units.length > 1) {
      const middle = units.length >> 1;
      queue.push(units.slice(0, middle), units.slice(middle));
    }
  }
  return silent.sort((a, b) => a - b);
}

/** A coalition of a uniformly random size, 0 … n. */
function randomCoalition(players: number, rng: Rng): Uint8Array {
  const size = rng.int(players + 1);
  const coalition = new Uint8Array(players);
  const order = rng.permutation(players);
  for (let i = 0; i < size; i++) coalition[order[i]] = 1;
  return coalition;
}
