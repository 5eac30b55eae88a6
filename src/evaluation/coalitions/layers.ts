import { SecateurError } from '../../errors.ts';
import type { Structure } from '../../units/types.ts';
import type { Dataset } from '../data/dataset.ts';
import { Game, type OpenGame } from './game.ts';
import { openEvaluator, type EvaluatorOptions } from './open.ts';

/** A group as one player. */
export interface LayerPlayer {
  group: string;
  /** One byte per unit, 1 open, 0 closed: the group while the player is not in the coalition. */
  closed: Uint8Array;
}

/**
 * The game whose players are whole groups: which layer matters. A player in the coalition has all of its units, one that
 * is not has those that `closed` leaves it. Where closing means that no unit is left, every coalition of a plain chain of
 * layers but the full one gives the same answers for all inputs; residual networks go on without a layer.
 * @param name what the game calls itself
 * @throws SecateurError as `openGame`
 */
export async function openLayerGame(
  structure: Structure,
  name: string,
  players: readonly LayerPlayer[],
  dataset: Dataset,
  options: EvaluatorOptions,
): Promise<OpenGame> {
  const open = players.map(({ group, closed }) => {
    const size = structure.groups.find((g) => g.id === group)?.size;
    if (size !== undefined && size !== closed.length)
      throw new SecateurError(
        'internal',
        `The mask of group '${group}' has ${closed.length} units instead of ${size}.`,
      );
    return new Uint8Array(closed.length).fill(1);
  });
  const ids = players.map((p) => p.group);
  const { evaluator, info } = await openEvaluator(structure, ids, dataset, options);
  const masks = (coalition: Uint8Array): Uint8Array[] =>
    players.map(({ closed }, i) => (coalition[i] ? open[i] : closed));
  return new Game(
    { name, players: players.length, samples: dataset.samples, metric: options.metric, masks },
    evaluator,
    info,
  );
}
