import type { MoeRange, MoeRangeName } from '../../formats.ts';

/** Blocks of a model of width d: d / 64, the rule of thumb of both papers for depth (heads are 64 wide). */
export const WIDTH_PER_BLOCK = 64;

/** Tokens known to the GPT-2 tokenizer, which both papers use. */
export const GPT2_VOCABULARY = 50_257;

export function blocksOf(width: number): number {
  return width / WIDTH_PER_BLOCK;
}

/**
 * Models of one make (so many experts, of such a size) that differ in their width alone. All numbers grow with the width,
 * which need not be whole.
 */
export interface ModelFamily {
  /** Experts per layer are expansion × granularity. */
  expansion: number;
  granularity: number;
  /** Parameters that a token passes, counted as the law counts them. */
  active(width: number): number;
  /** All parameters that are stored: embeddings, unembeddings and routers included. */
  total(width: number): number;
  /** Floating-point operations for a token, in training (forward and backward) and in use (forward). */
  trainingFlops(width: number): number;
  inferenceFlops(width: number): number;
  /** Predicted loss in nats per token after training on so many tokens. */
  loss(width: number, tokens: number): number;
  /** Peak learning rate, where the source has a law for it. */
  learningRate?(width: number): number;
  /** Multiplications of the routers for each one of the rest of a block. */
  routerShare?(width: number): number;
  /** What the law was fitted to. */
  range: FittedRange;
}

/** Least and largest value that occurs among the experiments of a law. */
export type FittedRange = Partial<Record<MoeRangeName, readonly [number, number]>>;

/** Which of the numbers lie outside of what the law was fitted to. */
export function outsideOf(range: FittedRange, values: Partial<Record<MoeRangeName, number>>): MoeRange[] {
  return (Object.keys(range) as MoeRangeName[]).flatMap((name) => {
    const value = values[name];
    const [low, high] = range[name]!;
    return value === undefined || (value >= low && value <= high) ? [] : [{ name, value, low, high }];
  });
}
