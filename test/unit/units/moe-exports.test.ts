import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadModel, parseModel } from '../../../src/graph/load.ts';
import { analyseStructure } from '../../../src/units/analyse.ts';
import { findMixtures } from '../../../src/units/moe/detect.ts';
import { filledBytes, loadZoo, zooModels } from '../../support/zoo.ts';

/** What the configuration of an export says (scripts/golden/moe.py). */
interface Facts {
  name: string;
  layers: number;
  experts: number;
  k: number;
  kind: string;
  normalised: boolean;
  /** Shared experts of a layer. */
  shared: number;
  /** Whether a bias counts for choosing only. */
  bias?: boolean;
  /** Experts of each layer that the sample reached, where the exporter writes no others. */
  reached?: number[];
  /** Where the code alone decides it. */
  form?: string;
}

const FOLDER = new URL('../../fixtures/moe/', import.meta.url);
const manifest = JSON.parse(readFileSync(new URL('manifest.json', FOLDER), 'utf8')) as { models: Facts[] };

describe('exports of mixtures of experts', () => {
  it.each(manifest.models)('$name', (facts) => {
    const structure = analyseStructure(parseModel(filledBytes(new URL(`${facts.name}.onnx.gz`, FOLDER))));
    const found = findMixtures(structure);
    const summary = found.map(({ router, experts, k, shared, form }) => ({
      experts: experts.map((e) => e.index),
      width: router.width,
      k,
      kind: router.kind,
      normalised: router.normalised,
      shared: shared.length,
      bias: router.selectionBias !== null,
      form,
    }));
    const expected = (layer: number) => ({
      experts: Array.from({ length: facts.reached?.[layer] ?? facts.experts }, (_, e) => e),
      width: facts.experts,
      k: facts.k,
      kind: facts.kind,
      normalised: facts.normalised,
      shared: facts.shared,
      bias: facts.bias ?? false,
      form: facts.form ?? summary[0]?.form,
    });
    expect(summary).toEqual(Array.from({ length: facts.layers }, (_, i) => expected(i)));
    const lost = (layer: number) => (facts.reached?.[layer] ?? facts.experts) < facts.experts;
    expect(found.map((m) => m.problems.some((p) => p.includes('experts, but only')))).toEqual(
      found.map((_, i) => lost(i)),
    );
    for (const { experts, router } of found) {
      // All experts of these models are of one size, and the router's weight has a place for each.
      expect(new Set(experts.map((e) => e.parameters)).size).toBe(1);
      expect(experts[0].parameters).toBeGreaterThanOrEqual(experts[0].macs);
      expect(experts[0].macs).toBeGreaterThan(0);
      expect(router.weight?.initializer?.dims[router.weightAxis]).toBe(facts.experts);
    }
    // Where the exporter kept the names of torch, they say whose a weight is.
    for (const { experts } of found)
      for (const { index, weights } of experts)
        for (const { value } of weights) {
          const named = /experts\.(?:expert_)?(\d+)\./.exec(value.name);
          if (named) expect(Number(named[1])).toBe(index);
        }
    // Weights of different experts are different places.
    for (const { experts } of found) {
      const places = experts.flatMap((e) => e.weights.map((w) => `${w.value.name} ${w.axis} ${w.index}`));
      expect(new Set(places).size).toBe(places.length);
    }
    for (const group of structure.groups) expect(group.prunable || group.reason).toBeTruthy();
  });

  it('finds none in models that have none', { timeout: 120_000 }, () => {
    const found = zooModels().filter(({ name }) => findMixtures(analyseStructure(loadZoo(name))).length > 0);
    expect(found).toEqual([]);
  });
});

const corpus = process.env.SECATEUR_CORPUS;

describe.skipIf(!corpus)('models of the corpus', () => {
  it('finds the mixtures of the language model in all of its exports', () => {
    for (const [file, form] of [
      ['model', 'dense'],
      ['model_contrib_moe', 'fused'],
      ['model_contrib_qmoe', 'fused'],
    ]) {
      const path = join(corpus!, 'trained/moe_charlm_shakespeare', `${file}.onnx`);
      const found = findMixtures(analyseStructure(loadModel(path)));
      expect(found.map((m) => [m.form, m.experts.length, m.router.width, m.k, m.problems.length])).toEqual(
        Array.from({ length: 4 }, () => [form, 8, 8, 2, 0]),
      );
      expect(found.map((m) => m.router.probabilities?.name)).toEqual([0, 1, 2, 3].map((i) => `router_probs_${i}`));
      expect(found.every((m) => m.experts.every((e) => e.parameters === 37152))).toBe(true);
    }
  });

  it('finds none in third-party models', { timeout: 60_000 }, () => {
    let seen = 0;
    for (const folder of readdirSync(join(corpus!, 'models'))) {
      const path = join(corpus!, 'models', folder);
      if (/^(broken_|bulk_)/.test(folder) || !statSync(path).isDirectory()) continue;
      for (const file of readdirSync(path).filter((name) => name.endsWith('.onnx'))) {
        expect(findMixtures(analyseStructure(loadModel(join(path, file))))).toEqual([]);
        seen++;
      }
    }
    expect(seen).toBeGreaterThan(20);
  });
});
