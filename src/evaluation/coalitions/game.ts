import { SecateurError, checkSignal } from '../../errors.ts';
import type { Structure } from '../../units/types.ts';
import type { Dataset } from '../data/dataset.ts';
import type { CoalitionGame } from '../types.ts';
import { openEvaluator, type EvaluatorInfo, type EvaluatorOptions } from './open.ts';
import { Serial } from './serial.ts';
import type { MaskEvaluator } from './sums.ts';

/** Coalition values that a game remembers; the oldest go first. */
const REMEMBERED = 1 << 18;

/** A coalition game that holds sessions and memory until it is closed. */
export interface OpenGame extends CoalitionGame {
  readonly info: EvaluatorInfo;
  close(): Promise<void>;
}

/**
 * The game over the units of one group: gates at its consumers, everything in front of them computed once, many
 * coalitions per run, the metric inside the graph (architecture.md, ideas 1 to 4). Values are remembered.
 *
 * Values are always finite: a model that gives NaN or infinity under a coalition makes `evaluate` throw 'runtime'.
 * Calls may overlap; their runs are made one after the other. Cancelling takes effect between two runs (each well below
 * half a second for models up to a few GMACs).
 * @throws SecateurError 'usage' for a group that does not exist or cannot be pruned, 'bad-data' for labels that do not
 * fit the output, 'runtime'
 */
export async function openGame(
  structure: Structure,
  groupId: string,
  dataset: Dataset,
  options: EvaluatorOptions,
): Promise<OpenGame> {
  const { evaluator, info } = await openEvaluator(structure, [groupId], dataset, options);
  const players = structure.groups.find((g) => g.id === groupId)!.size;
  const masks = (coalition: Uint8Array): Uint8Array[] => [Uint8Array.from(coalition, (bit) => (bit ? 1 : 0))];
  return new Game({ name: groupId, players, samples: dataset.samples, metric: options.metric, masks }, evaluator, info);
}

/** What a game is about. */
export interface GameRules {
  /** The group, or what stands for one. */
  name: string;
  players: number;
  samples: number;
  metric: CoalitionGame['metric'];
  /** The gates of a coalition: for every gate of the evaluator one byte per unit. */
  masks(coalition: Uint8Array): Uint8Array[];
}

/** A game on any evaluator. */
export class Game implements OpenGame {
  readonly group: string;
  readonly players: number;
  readonly samples: number;
  readonly metric: CoalitionGame['metric'];
  readonly preferredBatch: number;
  private readonly known = new Map<string, number>();
  private readonly serial = new Serial();

  constructor(
    private readonly rules: GameRules,
    private readonly evaluator: MaskEvaluator,
    readonly info: EvaluatorInfo,
  ) {
    this.group = rules.name;
    this.players = rules.players;
    this.samples = rules.samples;
    this.metric = rules.metric;
    this.preferredBatch = evaluator.batch;
  }

  async evaluate(coalitions: readonly Uint8Array[], signal?: AbortSignal): Promise<Float64Array> {
    const keys = coalitions.map((c) => this.key(c));
    return this.serial.run(async () => {
      checkSignal(signal);
      const found = new Map<string, number>();
      const missing = new Map<string, Uint8Array>();
      keys.forEach((key, i) => {
        const value = this.known.get(key);
        if (value === undefined) missing.set(key, coalitions[i]);
        else found.set(key, value);
      });
      if (missing.size > 0) {
        const masks = [...missing.values()].map((c) => this.rules.masks(c));
        const sums = await this.evaluator.evaluate(masks, { from: 0, to: this.samples }, signal);
        [...missing].forEach(([key, coalition], i) => {
          const value = sums.mean(i);
          if (!Number.isFinite(value)) throw notFinite(this.group, coalition, this.metric);
          found.set(key, value);
          this.remember(key, value);
        });
      }
      return Float64Array.from(keys, (key) => found.get(key)!);
    });
  }

  async close(): Promise<void> {
    await this.serial.run(() => this.evaluator.close());
  }

  private remember(key: string, value: number): void {
    if (this.known.size >= REMEMBERED) this.known.delete(this.known.keys().next().value!);
    this.known.set(key, value);
  }

  /** The coalition as a string of 16 units per character. */
  private key(coalition: Uint8Array): string {
    if (coalition.length !== this.players)
      throw new SecateurError(
        'internal',
        `A coalition of group "${this.group}" has ${coalition.length} units instead of ${this.players}.`,
      );
    const codes = new Uint16Array(Math.ceil(coalition.length / 16));
    coalition.forEach((bit, i) => {
      if (bit) codes[i >> 4] |= 1 << (i & 15);
    });
    return String.fromCharCode(...codes);
  }
}

function notFinite(group: string, coalition: Uint8Array, metric: string): SecateurError {
  const open = coalition.reduce((sum, bit) => sum + (bit ? 1 : 0), 0);
  return new SecateurError(
    'runtime',
    `With ${open} of the ${coalition.length} units of "${group}" open, the model's ${metric} is not a number.`,
    'Look for overflow in the model (half precision, division by a sum that can become 0) or choose another metric.',
  );
}
