import { SecateurError } from '../errors.ts';
import type { CoalitionGame } from '../evaluation/types.ts';

/** The coalition with every unit open. */
export function fullCoalition(players: number): Uint8Array {
  return new Uint8Array(players).fill(1);
}

/** The coalition of a bit mask: unit i is open where bit i is set. */
export function coalitionOf(mask: number, players: number): Uint8Array {
  return Uint8Array.from({ length: players }, (_, unit) => (mask >> unit) & 1);
}

/**
 * Values of `count` coalitions in order, offered to the game about `preferredBatch` at a time and made as late as
 * that, so that large groups take little memory. The numbers do not depend on the batch size.
 * @param make the coalition of that number, 0 … count − 1
 * @param onChunk values so far: indices 0 … done − 1 of the array are final
 * @throws SecateurError 'cancelled' when the signal fires; 'runtime' when a value is not a finite number
 */
export async function evaluateInBatches(
  game: CoalitionGame,
  count: number,
  make: (index: number) => Uint8Array,
  signal?: AbortSignal,
  onChunk?: (done: number, values: Float64Array) => void,
): Promise<Float64Array> {
  const values = new Float64Array(count);
  const batch = Math.max(1, Math.floor(game.preferredBatch) || 1);
  for (let start = 0; start < count; start += batch) {
    if (signal?.aborted) throw cancelled();
    const coalitions = Array.from({ length: Math.min(batch, count - start) }, (_, i) => make(start + i));
    const chunk = await game.evaluate(coalitions, signal);
    if (chunk.length !== coalitions.length)
      throw new SecateurError(
        'internal',
        `The evaluator returned ${chunk.length} values for ${coalitions.length} coalitions of group '${game.group}'.`,
      );
    chunk.forEach((value, i) => {
      if (!Number.isFinite(value)) throw notFinite(game, coalitions[i], value);
    });
    values.set(chunk, start);
    onChunk?.(start + coalitions.length, values);
  }
  return values;
}

/** True for the error by which a cancelled evaluation ends. */
export function isCancellation(thrown: unknown): boolean {
  return (
    (thrown instanceof SecateurError && thrown.code === 'cancelled') ||
    (thrown instanceof Error && thrown.name === 'AbortError')
  );
}

export function cancelled(): SecateurError {
  return new SecateurError('cancelled', 'The ranking was cancelled.');
}

function notFinite(game: CoalitionGame, coalition: Uint8Array, value: number): SecateurError {
  const open = coalition.reduce((sum, bit) => sum + bit, 0);
  return new SecateurError(
    'runtime',
    `The ${game.metric} of group '${game.group}' with ${open} of its ${game.players} units open is ${value}, not a finite number.`,
    'Try another metric, check the data for infinities, or rank the other groups only.',
  );
}
