import type { Node, Value } from '../../graph/ir.ts';
import type { Structure } from '../types.ts';
import { Constants } from './constants.ts';
import { expertsOf, sharedExperts } from './experts.ts';
import { fusedMixture, isFused } from './fused.ts';
import { choice, describeRouter, scoresBehind, type Scores } from './router.ts';
import type { Expert, MixtureOfExperts } from './types.ts';
import { Order, Walk } from './walk.ts';

/**
 * Finds the mixtures of experts of a model: every layer whose scores choose, by TopK, ArgMax, Hardmax or comparison with
 * the largest, among parts with weights of their own. The scores are followed forwards to where the results of the
 * experts meet; what works for one expert alone is that expert. Forms: {@link ExpertForm}. Reads no weights, changes
 * nothing; nodes and values of the result are those of `structure.model`. In graph order of the routers' choices.
 */
export function findMixtures(structure: Structure): MixtureOfExperts[] {
  const { model, layerName } = structure;
  const constants = new Constants(structure.flow.shapes);
  const order = new Order(model.graph);
  const found: MixtureOfExperts[] = [];
  const tried = new Set<Node>();
  for (const node of model.graph.nodes) {
    if (isFused(node)) {
      found.push(fusedMixture(node, constants, layerName));
      continue;
    }
    const chosen = choice(node);
    const scores = chosen && scoresBehind(chosen.value, chosen.width, constants);
    if (!scores || tried.has(scores.node)) continue;
    tried.add(scores.node);
    const mixture = routedMixture(scores, constants, order, layerName);
    if (mixture) found.push(mixture);
  }
  return found;
}

function routedMixture(
  scores: Scores,
  constants: Constants,
  order: Order,
  layerName: (n: Node) => string,
): MixtureOfExperts | null {
  const walk = new Walk(scores.width, constants, order);
  walk.run(scores.logits, scores.axis);
  if (!walk.chooser) return null;
  const { experts, form, sharedNodes } = expertsOf(walk, order);
  if (experts.length < 2) return null;
  const k = walk.k ?? sizeOfChoice(walk.indices);
  return {
    id: layerName(scores.node),
    router: describeRouter(scores, walk),
    k,
    experts,
    shared: sharedExperts([...walk.joins, ...(walk.end ? [walk.end] : [])], walk, scores.tokens, constants),
    form,
    sharedNodes,
    tokens: scores.tokens,
    problems: problemsOf(scores.width, experts, k, walk.places),
  };
}

function sizeOfChoice(indices: Value | null): number | null {
  const shape = indices?.type?.shape;
  const size = shape?.[shape.length - 1];
  return typeof size === 'number' ? size : null;
}

/** What is not as it should be, in sentences. */
function problemsOf(width: number, experts: readonly Expert[], k: number | null, places: boolean): string[] {
  const problems: string[] = [];
  const present = new Set(experts.map((e) => e.index));
  const missing = Array.from({ length: width }, (_, e) => e).filter((e) => !present.has(e));
  if (missing.length > 0)
    problems.push(
      `The router chooses among ${width} experts, but only ${width - missing.length} are in the graph: ` +
        `${missing.slice(0, 8).join(', ')}${missing.length > 8 ? ', …' : ''} missing. The exporter may have dropped experts that its sample did not reach.`,
    );
  if (k === null) problems.push('How many experts a token takes is computed while the model runs.');
  if (places)
    problems.push(
      'The exporter counted experts among those that its sample reached: where the tokens of a run do not reach all of them, ' +
        'the graph takes wrong ones, or fails.',
    );
  if (new Set(experts.map((e) => e.parameters)).size > 1) problems.push('Its experts differ in size.');
  return problems;
}
