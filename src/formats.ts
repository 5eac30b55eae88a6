/** The JSON that Secateur prints and writes. A contract: tests, scripts and the webview read it. Types only. */
export type * from './formats/common.ts';
export type * from './formats/inspect.ts';
export type * from './formats/ranks.ts';
export type * from './formats/plan.ts';
export type * from './formats/features.ts';
export type * from './formats/moe-plan.ts';
