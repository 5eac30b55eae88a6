import { expect, it } from 'vitest';
import { Rng } from '../../../src/math/random.ts';
import { Atoms, type Labels } from '../../../src/units/atoms.ts';

/** What was asked of the atoms: the laws that every removal must keep. */
interface Laws {
  equal: [number, number][];
  joined: { position: number; of: number[] }[];
  stays: number[];
}

interface Made {
  atoms: Atoms;
  axes: Labels[];
  laws: Laws;
}

/** Random axes, and random operations on their positions. */
function make(rng: Rng, operations: number, allowed: readonly string[]): Made {
  const atoms = new Atoms();
  const axes = [2, 3, 3, 4, 6, 6].map((size) => atoms.fresh(size));
  axes.push(...atoms.split([2, 3]));
  const laws: Laws = { equal: [], joined: [], stays: [] };
  const pick = <T>(list: ArrayLike<T>) => list[rng.int(list.length)];
  const position = () => pick(pick(axes));
  for (let k = 0; k < operations; k++) {
    const operation = pick(allowed);
    if (operation === 'unite') {
      const [a, b] = [position(), position()];
      atoms.unite(a, b);
      laws.equal.push([a, b]);
    } else if (operation === 'uniteAll') {
      const a = pick(axes);
      const b = pick(axes.filter((other) => other.length === a.length));
      a.forEach((atom, i) => laws.equal.push([atom, b[i]]));
      atoms.uniteAll(a, b);
    } else if (operation === 'merge') {
      // An axis of heads × dimensions.
      const [a, b] = [pick(axes), pick(axes)];
      if (a.length * b.length > 12) continue;
      const merged = Int32Array.from({ length: a.length * b.length }, (_, p) => {
        const of = [a[Math.floor(p / b.length)], b[p % b.length]];
        const joined = atoms.joinTwo(of[0], of[1]);
        laws.joined.push({ position: joined, of });
        return joined;
      });
      axes.push(merged);
    } else if (operation === 'join') {
      const of = Array.from({ length: 1 + rng.int(4) }, position);
      const joined = atoms.join(of);
      laws.joined.push({ position: joined, of });
      axes.push(Int32Array.of(joined));
    } else {
      const a = position();
      atoms.freeze(Int32Array.of(a), `reason ${k}`);
      laws.stays.push(a);
    }
  }
  return { atoms, axes, laws };
}

const positionsOf = ({ axes }: Made) => axes.flatMap((a) => [...a]);

/** Classes that may be removed. */
function freeClasses(made: Made): number[] {
  const { atoms } = made;
  const all = positionsOf(made).flatMap((p) => [...atoms.causes(p)]);
  return [...new Set(all)].filter((c) => atoms.frozenReason(c) === undefined);
}

const SEEDS = Array.from({ length: 300 }, (_, seed) => seed);
const EVERYTHING = ['unite', 'uniteAll', 'merge', 'join', 'freeze'];

it('keeps all laws, whichever classes are removed', () => {
  let removals = 0;
  for (const seed of SEEDS) {
    const rng = Rng.from(seed);
    const made = make(rng, 3 + rng.int(12), EVERYTHING);
    const { atoms, laws } = made;
    const free = freeClasses(made);
    for (let k = 0; k < 40; k++) {
      const gone = new Set(free.filter(() => rng.float() < (k % 2 ? 0.2 : 0.6)));
      const goes = (p: number) => atoms.causes(p).some((c) => gone.has(c));
      for (const [a, b] of laws.equal) expect(goes(a), `${seed}: ${a} with ${b}`).toBe(goes(b));
      for (const { position, of } of laws.joined)
        expect(goes(position), `${seed}: ${position} with any of ${of.join()}`).toBe(of.some(goes));
      for (const p of laws.stays) expect(goes(p), `${seed}: ${p} stays`).toBe(false);
      removals += gone.size;
    }
  }
  expect(removals).toBeGreaterThan(10_000);
});

it('without joins, positions are one class exactly where a chain of equations ties them, and stay where one of them stays', () => {
  for (const seed of SEEDS) {
    const made = make(Rng.from(seed), 20, ['unite', 'unite', 'uniteAll', 'freeze']);
    const { atoms, laws } = made;
    // By repeated relabelling.
    const label = Array.from({ length: atoms.count }, (_, p) => p);
    for (const [a, b] of laws.equal) {
      const [from, to] = [label[a], label[b]];
      label.forEach((l, p) => l === from && (label[p] = to));
    }
    const stays = new Set(laws.stays.map((p) => label[p]));
    for (let a = 0; a < atoms.count; a++) {
      expect(atoms.isComposite(a)).toBe(false);
      expect(atoms.frozenReason(a) !== undefined).toBe(stays.has(label[a]));
      for (let b = 0; b < a; b++) expect(atoms.same(a, b)).toBe(label[a] === label[b]);
    }
  }
});

it('without equations a joined position has the causes of what it was joined of, once each, in their order', () => {
  for (const seed of SEEDS) {
    const made = make(Rng.from(seed), 12, ['join', 'merge']);
    const causes = new Map<number, number[]>();
    const of = (p: number) => causes.get(p) ?? [p];
    for (const { position, of: parts } of made.laws.joined) {
      const expected = [...new Set(parts.flatMap(of))];
      const known = causes.get(position);
      // Joined before, perhaps in another order, or one class alone.
      if (known) expect([...known].sort()).toEqual([...expected].sort());
      else if (expected.length > 1) causes.set(position, expected);
      expect(made.atoms.causes(position)).toEqual(of(position));
    }
  }
});

it('joins of the same positions are one class in any order, those of other positions are others', () => {
  const atoms = new Atoms();
  const [a, b] = [atoms.fresh(300), atoms.fresh(300)];
  const known = new Map<number, string>();
  for (let i = 0; i < 300; i++) {
    for (let j = 0; j < 300; j++) {
      const joined = atoms.joinTwo(a[i], b[j]);
      expect(known.has(joined)).toBe(false);
      known.set(joined, `${i} ${j}`);
    }
  }
  for (let k = 0; k < 300; k++)
    expect(known.get(atoms.join([b[(7 * k) % 300], a[k], b[(7 * k) % 300]]))).toBe(`${k} ${(7 * k) % 300}`);
  expect(atoms.count).toBe(600 + 90_000);
});

it('all ways to ask for causes agree', () => {
  for (const seed of SEEDS) {
    const made = make(Rng.from(seed), 15, EVERYTHING);
    const { atoms, axes } = made;
    const marks = Int32Array.from({ length: atoms.count }, (_, p) => p % 3);
    for (const labels of axes) {
      const visited: number[] = [];
      atoms.forCauses(labels, (root) => visited.push(root));
      expect(visited).toEqual([...labels].flatMap((p) => [...atoms.causes(p)]));
      for (const p of labels) {
        const into = [-1, -1, -1, -1, -1, -1, -1, -1, -1, -1];
        const causes = atoms.causes(p);
        expect(into.slice(0, atoms.readCauses(p, into))).toEqual(causes);
        for (const mark of [0, 1, 2]) {
          const first = causes.find((c) => marks[c] === mark);
          expect(atoms.causeWith(p, marks, mark)).toBe(first ?? -1);
        }
        for (const c of causes) expect(atoms.find(c)).toBe(c);
        expect(atoms.isFrozen(causes[0])).toBe(atoms.frozenReason(causes[0]) !== undefined);
      }
    }
  }
});

it('heads × dimensions that are split, carried and merged again are what they were', () => {
  const atoms = new Atoms();
  const [whole, other] = [atoms.fresh(6), atoms.fresh(6)];
  const [heads, dims] = atoms.split([2, 3]);
  const flat = () => Int32Array.from({ length: 6 }, (_, p) => atoms.joinTwo(heads[Math.floor(p / 3)], dims[p % 3]));
  atoms.uniteAll(whole, flat());
  atoms.uniteAll(other, flat());
  for (let p = 0; p < 6; p++) {
    expect(atoms.same(whole[p], other[p])).toBe(true);
    expect(atoms.causes(whole[p])).toEqual([atoms.find(heads[Math.floor(p / 3)]), atoms.find(dims[p % 3])]);
  }
  atoms.freeze(heads.subarray(0, 1), 'stays');
  expect(atoms.causes(other[1])).toEqual([dims[1]]);
  atoms.freeze(dims, 'stays, too');
  expect(atoms.causes(other[1])).toEqual([heads[0], dims[1]]);
  expect(atoms.frozenReason(heads[0])).toBe('stays');
});
