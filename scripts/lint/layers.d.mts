import type { Rule } from 'eslint';

export const LINES: string[][];
export const RESERVED: Record<string, string[]>;
export function importProblem(from: string, specifier: string, typeOnly: boolean): string | null;
export const layers: Rule.RuleModule;
