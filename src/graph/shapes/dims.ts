import type { Dim } from '../ir.ts';

/**
 * Arithmetic on dims. A dim is a number, null (unknown) or a text: a symbol of the file, or an expression over symbols
 * in a canonical form (`2*N + 1`, `floor((H + 1)/2)`), so that equal texts mean equal sizes.
 */

/** Sum of coefficient × product of atoms; the key is the sorted product, '' for the constant. */
type Polynomial = Map<string, { coefficient: number; atoms: string[] }>;

const MAX_TERMS = 8;
const MAX_TEXT = 240;
/** Expressions that were made here, by their text. Symbols of files are atoms and need no entry. */
const known = new Map<string, Polynomial>();
/** How to compute atoms that are no symbols. */
const functions = new Map<string, (symbol: (name: string) => number) => number>();

/** Value of a dim where every symbol (and every unknown) has the value that `symbol` gives; by default 1. */
export function evaluateDim(dim: Dim, symbol: (name: string) => number = () => 1): number {
  if (typeof dim === 'number') return dim;
  if (dim === null) return symbol('');
  let sum = 0;
  for (const { coefficient, atoms } of polynomial(dim).values())
    sum += atoms.reduce((product, a) => product * (functions.get(a)?.(symbol) ?? symbol(a)), coefficient);
  return sum;
}

function polynomial(dim: number | string): Polynomial {
  if (typeof dim === 'number') return dim === 0 ? new Map() : new Map([['', { coefficient: dim, atoms: [] }]]);
  return known.get(dim) ?? new Map([[dim, { coefficient: 1, atoms: [dim] }]]);
}

/** The dim of a polynomial: a number when it is constant, null when it has grown beyond use. */
function toDim(p: Polynomial): Dim {
  const terms = [...p.values()].filter((t) => t.coefficient !== 0);
  if (terms.length === 0) return 0;
  if (terms.length === 1 && terms[0].atoms.length === 0) return terms[0].coefficient;
  if (terms.length === 1 && terms[0].coefficient === 1 && terms[0].atoms.length === 1) return terms[0].atoms[0];
  if (terms.length > MAX_TERMS) return null;
  // Symbols first, constant last, so that texts read as people write them.
  const key = (t: { atoms: string[] }) => t.atoms.join('*');
  terms.sort((a, b) => (b.atoms.length > 0 ? 1 : 0) - (a.atoms.length > 0 ? 1 : 0) || (key(a) < key(b) ? -1 : 1));
  const text = terms
    .map(({ coefficient, atoms }, i) => {
      const size = Math.abs(coefficient);
      const factors = [...(size === 1 && atoms.length > 0 ? [] : [String(size)]), ...atoms.map(quote)];
      const sign = coefficient < 0 ? (i === 0 ? '-' : ' - ') : i === 0 ? '' : ' + ';
      return sign + factors.join('*');
    })
    .join('');
  if (text.length > MAX_TEXT) return null;
  if (known.size > 50_000) known.clear();
  known.set(text, new Map(terms.map((t) => [t.atoms.join('*'), t])));
  return text;
}

function quote(atom: string): string {
  return /^[\w.:#]+$|^(floor|max|min)\(.*\)$/.test(atom) ? atom : `(${atom})`;
}

/** A dim as a number times a product of symbols; undefined for sums and unknown dims. */
export function factorDim(dim: Dim): { coefficient: number; rest: Dim } | undefined {
  if (dim === null) return undefined;
  if (typeof dim === 'number') return { coefficient: dim, rest: 1 };
  const terms = [...polynomial(dim).values()];
  if (terms.length !== 1) return undefined;
  const [{ coefficient, atoms }] = terms;
  return { coefficient, rest: toDim(new Map([[atoms.join('*'), { coefficient: 1, atoms }]])) };
}

/** a + b */
export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  if (a === null || b === null) return null;
  const sum: Polynomial = new Map(polynomial(a));
  for (const [key, term] of polynomial(b)) {
    const coefficient = (sum.get(key)?.coefficient ?? 0) + term.coefficient;
    sum.set(key, { coefficient, atoms: term.atoms });
  }
  return toDim(sum);
}

/** a − b */
export function subDims(a: Dim, b: Dim): Dim {
  return addDims(a, mulDims(b, -1));
}

/** a · b */
export function mulDims(a: Dim, b: Dim): Dim {
  if (typeof a === 'number' && typeof b === 'number') return a * b;
  if (a === 0 || b === 0) return 0;
  if (a === null || b === null) return null;
  const product: Polynomial = new Map();
  for (const x of polynomial(a).values())
    for (const y of polynomial(b).values()) {
      const atoms = [...x.atoms, ...y.atoms].sort();
      const key = atoms.join('*');
      const coefficient = (product.get(key)?.coefficient ?? 0) + x.coefficient * y.coefficient;
      product.set(key, { coefficient, atoms });
    }
  return toDim(product);
}

/** Product of dims; 1 for none. */
export function productOf(dims: readonly Dim[]): Dim {
  return dims.reduce<Dim>(mulDims, 1);
}

/** ⌊a / n⌋ for a positive integer n. */
export function floorDiv(a: Dim, n: number): Dim {
  if (a === null || !(n > 0) || !Number.isInteger(n)) return null;
  if (typeof a === 'number') return Math.floor(a / n);
  if (n === 1) return a;
  const whole: Polynomial = new Map();
  const rest: Polynomial = new Map();
  for (const [key, { coefficient, atoms }] of polynomial(a)) {
    const q = Math.floor(coefficient / n);
    if (q !== 0) whole.set(key, { coefficient: q, atoms });
    if (coefficient !== q * n) rest.set(key, { coefficient: coefficient - q * n, atoms });
  }
  const remainder = toDim(rest);
  if (remainder === null) return null;
  return addDims(toDim(whole), typeof remainder === 'number' ? Math.floor(remainder / n) : floorAtom(remainder, n));
}

/** What a floor atom divides, so that floors of floors become one. */
const floors = new Map<string, { of: string; by: number }>();

function floorAtom(dim: string, n: number): Dim {
  // ⌊(⌊x/m⌋ + c)/n⌋ = ⌊(x + c·m)/(m·n)⌋
  const terms = [...polynomial(dim).values()];
  const inner = terms.find((t) => t.atoms.length === 1 && t.coefficient === 1 && floors.has(t.atoms[0]));
  if (inner && terms.every((t) => t === inner || t.atoms.length === 0)) {
    const { of, by } = floors.get(inner.atoms[0])!;
    const constant = terms.find((t) => t.atoms.length === 0)?.coefficient ?? 0;
    const merged = addDims(of, constant * by);
    if (merged !== null) return floorDiv(merged, by * n);
  }
  const text = atom(`floor(${group(dim)}/${n})`, (symbol) => Math.floor(evaluateDim(dim, symbol) / n));
  if (typeof text === 'string') {
    if (floors.size > 50_000) floors.clear();
    floors.set(text, { of: dim, by: n });
  }
  return text;
}

/** ⌈a / n⌉ for a positive integer n. */
export function ceilDiv(a: Dim, n: number): Dim {
  return floorDiv(addDims(a, n - 1), n);
}

/** a / b where that is known to come out even; null otherwise (also when it does not). */
export function exactDiv(a: Dim, b: Dim): Dim {
  if (a === null || b === null || b === 0) return null;
  if (a === b) return 1;
  if (a === 0) return 0;
  if (typeof a === 'number' && typeof b === 'number') return a % b === 0 ? a / b : null;
  const divisor = [...polynomial(b).values()];
  const dividend = [...polynomial(a).values()];
  // Try the quotient of every pair of terms: right when multiplying gives `a` back. One divisor term: divide each term.
  if (divisor.length === 1) {
    const quotient: Polynomial = new Map();
    for (const term of dividend) {
      const q = divideTerm(term, divisor[0]);
      if (!q) return null;
      quotient.set(q.atoms.join('*'), q);
    }
    return toDim(quotient);
  }
  for (const term of dividend) {
    const q = divideTerm(term, divisor[0]);
    const candidate = q && toDim(new Map([[q.atoms.join('*'), q]]));
    if (candidate !== null && mulDims(candidate, b) === a) return candidate;
  }
  return null;
}

type Term = { coefficient: number; atoms: string[] };

function divideTerm(a: Term, b: Term): Term | null {
  if (a.coefficient % b.coefficient !== 0) return null;
  const atoms = [...a.atoms];
  for (const factor of b.atoms) {
    const at = atoms.indexOf(factor);
    if (at < 0) return null;
    atoms.splice(at, 1);
  }
  return { coefficient: a.coefficient / b.coefficient, atoms };
}

/** Larger or smaller of two dims. */
export function extremeDim(a: Dim, b: Dim, which: 'max' | 'min'): Dim {
  if (a === b) return a;
  if (a === null || b === null) return null;
  if (typeof a === 'number' && typeof b === 'number') return Math[which](a, b);
  // Sizes that are not fixed are taken to be at least 1.
  if (a === 1 || b === 1) return which === 'min' ? 1 : a === 1 ? b : a;
  const [x, y] = [String(a), String(b)].sort();
  return atom(`${which}(${x}, ${y})`, (symbol) => Math[which](evaluateDim(a, symbol), evaluateDim(b, symbol)));
}

/** Size of an axis of the result of broadcasting; null where it cannot be told. */
export function broadcastDim(a: Dim, b: Dim): Dim {
  if (a === b) return a;
  if (a === 1) return b;
  if (b === 1) return a;
  if (typeof a === 'number') return a;
  if (typeof b === 'number') return b;
  return null;
}

/** Shape of the result of numpy broadcasting; undefined when any rank is unknown. */
export function broadcast(shapes: readonly (readonly Dim[] | undefined)[]): Dim[] | undefined {
  if (shapes.some((s) => s === undefined)) return undefined;
  const all = shapes as readonly (readonly Dim[])[];
  const rank = Math.max(0, ...all.map((s) => s.length));
  return Array.from({ length: rank }, (_, i) =>
    all.reduce<Dim>((dim, s) => {
      const at = i - (rank - s.length);
      return at < 0 ? dim : broadcastDim(dim, s[at]);
    }, 1),
  );
}

/** What two descriptions of one shape have in common: null where the dims differ, undefined where the ranks do. */
export function commonShape(a: readonly Dim[] | undefined, b: readonly Dim[] | undefined): Dim[] | undefined {
  if (!a || !b || a.length !== b.length) return undefined;
  return a.map((d, i) => (d === b[i] ? d : null));
}

function atom(text: string, value: (symbol: (name: string) => number) => number): Dim {
  if (text.length > MAX_TEXT) return null;
  if (functions.size > 50_000) functions.clear();
  functions.set(text, value);
  return text;
}

function group(text: string): string {
  return known.has(text) ? `(${text})` : quote(text);
}
