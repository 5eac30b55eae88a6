import { describe, expect, it } from 'vitest';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { directionalError, gatedLoss } from '../../support/gated-gradients.ts';
import { loadZoo, zooFeeds, zooModels } from '../../support/zoo.ts';

/*
 * Gradients by all gates of the zoo (scripts/zoo): one export of every other architecture, from both exporters and all
 * opsets; of all of them with SECATEUR_GRADIENTS=all.
 */
const all = zooModels();
const models = [...new Set(all.map((entry) => entry.model))];
const chosen =
  process.env.SECATEUR_GRADIENTS === 'all'
    ? all
    : models.flatMap((model, i) => {
        const exports = all.filter((entry) => entry.model === model);
        return i % 2 === 0 ? [exports[(i / 2) % exports.length]] : [];
      });

describe('every operator between the gates and a loss has a gradient rule', () => {
  it.each(chosen.map((entry) => entry.name))('%s', { timeout: 30_000 }, (name) => {
    const { gates, gradients } = gatedLoss(analyseStructure(loadZoo(name)));
    expect(gradients.length).toBe(gates.length);
    expect(gradients.length).toBeGreaterThan(0);
  });
});

/** Without kinks, so that differences in 32 bits show more than three digits. */
const SMOOTH = [
  'gpt2.dynamo18',
  't5_encoder.ts14',
  'bert.dynamo24',
  'gru.ts17',
  'lstm_bidirectional.ts9',
  'efficientnet_v2.dynamo18',
];

describe('gradients by all gates are the differences of the loss', () => {
  const entries = new Map(all.map((entry) => [entry.name, entry]));
  it.each(SMOOTH)('%s', { timeout: 30_000 }, async (name) => {
    const feeds = zooFeeds(entries.get(name)!);
    expect(await directionalError(analyseStructure(loadZoo(name)), feeds)).toBeLessThan(2e-3);
  });
});
