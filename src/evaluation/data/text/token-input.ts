import { constantTensor } from '../../../graph/edit.ts';
import type { Model, Value } from '../../../graph/ir.ts';
import { isFloatHost } from '../../../runtime/host-tensor.ts';
import { batchSymbol, type ModelInput, plainName } from '../model-inputs.ts';

const INDEX_OPS = new Set(['Gather', 'GatherElements', 'GatherND']);
const CARRY = new Set(['Cast', 'Identity', 'Reshape', 'Squeeze', 'Unsqueeze', 'Flatten', 'Transpose', 'Slice']);
const TOKEN_NAMES = ['input_ids', 'tokens', 'token_ids', 'ids', 'x', 'input', 'inputs'];

/** What an input beside the tokens means by the names that exporters give them. */
export type Convention = 'mask' | 'positions' | 'types' | 'past' | 'cache-positions' | 'use-cache';

/** Undefined: none. Caches of an encoder are not empty at the start and mean something else. */
export function conventionOf(name: string): Convention | undefined {
  const plain = plainName(name);
  if (/^(attention|input|padding)_mask(_\d+)?$/.test(plain) || plain === 'mask') return 'mask';
  if (/^positions?_ids?(_\d+)?$/.test(plain)) return 'positions';
  if (/^(token_type|segment)_ids?(_\d+)?$/.test(plain)) return 'types';
  if (/^past(_|$)/.test(plain) && !/cross|encoder/.test(plain)) return 'past';
  if (plain === 'cache_position') return 'cache-positions';
  if (plain === 'use_cache_branch') return 'use-cache';
  return undefined;
}

/** The one input that takes the numbers of tokens: by a usual name, or the only one of integers; undefined: unclear. */
export function tokenInput(inputs: readonly ModelInput[]): ModelInput | undefined {
  const candidates = inputs.filter(
    (i) => !isFloatHost(i.type) && i.type !== 'bool' && !conventionOf(i.name) && (i.shape?.length ?? 2) === 2,
  );
  for (const name of TOKEN_NAMES) {
    const found = candidates.find((i) => plainName(i.name) === name);
    if (found) return found;
  }
  return candidates.length === 1 ? candidates[0] : undefined;
}

/** Shapes of the tables that the numbers of an input index, as far as they are known. */
export function indexedTables(input: Value): number[][] {
  const tables: number[][] = [];
  const seen = new Set([input]);
  const queue = [input];
  for (let value = queue.pop(); value; value = queue.pop())
    for (const { node, index } of value.uses) {
      if (INDEX_OPS.has(node.opType) && index === 1) {
        const table = node.inputs[0];
        const dims = table && (constantTensor(table)?.dims ?? table.type?.shape);
        const axis = node.opType === 'GatherND' ? 0 : node.int('axis', 0);
        if (dims && typeof dims[axis] === 'number')
          tables.push([dims[axis], ...dims.filter((d, i): d is number => i !== axis && typeof d === 'number')]);
      } else if (CARRY.has(node.opType) && index === 0)
        for (const out of node.outputs)
          if (out && !seen.has(out)) {
            seen.add(out);
            queue.push(out);
          }
    }
  return tables;
}

/** Number of tokens that a model knows: the rows of the table of their embeddings; undefined where that is not plain. */
export function vocabularySize(tokens: ModelInput): number | undefined {
  const rows = indexedTables(tokens.value).map(([count]) => count);
  return rows.length > 0 ? Math.min(...rows) : undefined;
}

/**
 * Whether a model predicts, at every position, the token that comes next: it gives a number for each token of its
 * vocabulary, and does not look ahead, as models with token types or a token for masked words do.
 */
export function predictsNextToken(
  model: Model,
  inputs: readonly ModelInput[],
  tokens: ModelInput,
  masks: boolean,
): boolean {
  const size = vocabularySize(tokens);
  const over = model.graph.outputs.some((o) => {
    const last = o.type?.shape?.at(-1);
    const rank = o.type?.shape?.length;
    if (size === undefined) return rank === 3 && plainName(o.name).includes('logits');
    return last === size && (rank === 3 || rank === 2);
  });
  if (!over) return false;
  const conventions = inputs.map((i) => conventionOf(i.name));
  return conventions.includes('past') || !(masks || conventions.includes('types'));
}

/**
 * The longest text that a model's table of positions allows; undefined: no table was found. Positions are looked up in, or
 * cut from, a constant table of the embeddings' width.
 */
export function positionLimit(model: Model, tokens: ModelInput): number | undefined {
  const width = indexedTables(tokens.value)[0]?.[1];
  const size = vocabularySize(tokens);
  if (width === undefined) return undefined;
  const rows = model.graph.nodes.flatMap((node) => {
    const table = node.opType === 'Gather' || node.opType === 'Slice' ? node.inputs[0] : undefined;
    const dims = table?.initializer?.dims.filter(
      (d, i) => !(i === 0 && d === 1 && table.initializer!.dims.length === 3),
    );
    return dims?.length === 2 && dims[1] === width && dims[0] !== size && dims[0] > 4 ? [dims[0]] : [];
  });
  return rows.length > 0 ? Math.min(...rows) : undefined;
}

/** The length of texts that the declared shape of the tokens demands; undefined: any. */
export function fixedLength(tokens: ModelInput): number | undefined {
  const length = tokens.shape?.[1];
  return typeof length === 'number' ? length : undefined;
}

/** Symbol of the batch axis of the tokens. */
export function tokenBatch(tokens: ModelInput): string | null {
  return batchSymbol([tokens]);
}
