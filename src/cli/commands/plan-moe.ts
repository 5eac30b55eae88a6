import type { Command } from 'commander';
import { Option } from 'commander';
import { GPT2_VOCABULARY } from '../../experts/planner/family.ts';
import type { FineGrainedExpansion } from '../../experts/planner/fine-grained-law.ts';
import { FINE_GRAINED_EXPANSIONS, FINE_GRAINED_GRANULARITIES } from '../../experts/planner/fine-grained-law.ts';
import { JOINT_EXPERTS } from '../../experts/planner/joint-law.ts';
import { planMoe } from '../../experts/planner/plan.ts';
import type { MoeBudget, MoeCandidate, MoeLawPlan, MoePlan, MoeRangeName } from '../../formats.ts';
import { bytes, count, percent, significant } from '../numbers.ts';
import { byteSize, numberAboveZero, positiveNumber, wholeNumber, wholeNumbers } from '../options.ts';
import { print, printWarnings } from '../run.ts';
import type { Column } from '../table.ts';
import { facts, table } from '../table.ts';

interface PlanMoeOptions {
  compute: number;
  memory?: number;
  inferenceTokens: number;
  context: number;
  bytesPerNumber: number;
  vocabulary: number;
  maxTokensPerParameter?: number;
  experts: number[];
  expansion: FineGrainedExpansion;
  granularity: number[];
  json?: boolean;
}

const TITLES: Record<MoeLawPlan['law'], string> = {
  joint: 'Joint law of dense and MoE models: one expert a token, as large as a dense layer',
  'fine-grained': 'Law of fine-grained experts: G experts a token, each 1/G of a dense layer',
};

export function addPlanMoe(program: Command): void {
  program
    .command('plan-moe')
    .description('how many experts a language model should have under a budget, by published scaling laws')
    .requiredOption('--compute <flops>', 'floating-point operations, such as 1e22', numberAboveZero)
    .option('--memory <size>', 'memory for parameters and cache, such as 80GB (default: no limit)', byteSize)
    .option('--inference-tokens <n>', 'tokens in use whose cost is part of the compute', positiveNumber, 0)
    .option('--context <n>', 'tokens in the cache of keys and values', wholeNumber(0), 16_384)
    .option('--bytes-per-number <n>', 'of parameters and cache', numberAboveZero, 2)
    .option('--vocabulary <n>', 'tokens of the vocabulary', wholeNumber(1), GPT2_VOCABULARY)
    .option(
      '--max-tokens-per-parameter <n>',
      'most tokens of training for an active parameter (default: no limit)',
      numberAboveZero,
    )
    .option('--experts <list>', 'numbers of experts of the joint law', wholeNumbers, [...JOINT_EXPERTS])
    .addOption(
      new Option('--expansion <n>', 'fine-grained law: parameters of all experts for each one that a token passes')
        .choices(FINE_GRAINED_EXPANSIONS.map(String))
        .default(64),
    )
    .option('--granularity <list>', 'granularities of the fine-grained law', wholeNumbers, [
      ...FINE_GRAINED_GRANULARITIES,
    ])
    .option('--json', 'print one JSON object on stdout and nothing else')
    .addHelpText(
      'after',
      `
Examples:
  $ secateur plan-moe --compute 1e21 --memory 24GB
  $ secateur plan-moe --compute 1e22 --memory 80GB --inference-tokens 1e11 --max-tokens-per-parameter 70
  $ secateur plan-moe --compute 1e20 --json | jq '.laws[] | .candidates[.best]'`,
    )
    .action((options: PlanMoeOptions) => {
      const { experts, expansion, granularity: granularities } = options;
      const plan = planMoe(budgetOf(options), {
        experts,
        expansion: Number(expansion) as FineGrainedExpansion,
        granularities,
      });
      const note = (sentence: string): void => void process.stderr.write(`${sentence}\n`);
      printWarnings({ note }, plan.warnings, options.json);
      print(options.json, plan, () => describe(plan));
    });
}

function budgetOf(options: PlanMoeOptions): MoeBudget {
  const { compute, memory, inferenceTokens, context, bytesPerNumber, vocabulary, maxTokensPerParameter } = options;
  return {
    compute,
    memory: memory ?? null,
    inferenceTokens,
    context,
    bytesPerNumber,
    vocabulary,
    maxTokensPerParameter: maxTokensPerParameter ?? null,
  };
}

function describe({ budget, laws }: MoePlan): string {
  const { compute, memory, inferenceTokens, context, bytesPerNumber, maxTokensPerParameter } = budget;
  const use = inferenceTokens > 0 ? `training and ${count(inferenceTokens)} tokens in use` : 'training';
  const rows: [string, string][] = [
    ['compute', `${compute.toExponential(2)} operations: ${use}`],
    [
      'memory',
      `${memory === null ? 'no limit' : bytes(memory)}; ${bytesPerNumber} bytes a number, ${context} tokens in the cache`,
    ],
  ];
  if (maxTokensPerParameter !== null)
    rows.push(['data', `at most ${significant(maxTokensPerParameter)} tokens an active parameter`]);
  return [
    facts(rows),
    ...laws.map(describeLaw),
    `→ least loss (nats per token). Losses of the two laws are of different data and do not compare.
* outside of what the law was fitted to: an extrapolation.`,
  ].join('\n\n');
}

function describeLaw(plan: MoeLawPlan): string {
  const { law, source, error, candidates, best, impossible } = plan;
  const fit = error ? `, error ${error.fit} nats (fit), ${error.heldOut} (held out)` : ', preliminary fit';
  const parts = [`${TITLES[law]} (${source}${fit})`];
  if (candidates.length > 0) {
    const rows = candidates.map((c, i) => [
      i === best ? '→' : '',
      ...COLUMNS[law].map(({ cell }) => cell(c)),
      notes(c),
    ]);
    parts.push(table([{ title: '' }, ...COLUMNS[law], { title: 'notes' }], rows));
  }
  for (const { expansion, granularity, reason } of impossible)
    parts.push(
      `${expansion * granularity} experts${granularity > 1 ? ` of granularity ${granularity}` : ''}: ${reason}.`,
    );
  return parts.join('\n');
}

type Cell = Column & { cell: (candidate: MoeCandidate) => string };

function column(title: string, text: (candidate: MoeCandidate) => string, ...range: MoeRangeName[]): Cell {
  const mark = ({ outside }: MoeCandidate): string => (outside.some(({ name }) => range.includes(name)) ? '*' : '');
  return { title, align: 'right', cell: (candidate) => mark(candidate) + text(candidate) };
}

const SIZES: Cell[] = [
  column('active', (c) => count(c.active), 'active'),
  column('total', (c) => count(c.total), 'total'),
  column('tokens', (c) => count(c.tokens), 'tokens'),
  column('tokens/active', (c) => significant(c.tokensPerParameter), 'tokensPerParameter'),
  column('width×blocks', (c) => `${Math.round(c.width)}×${Math.max(1, Math.round(c.blocks))}`),
  column('memory', (c) => bytes(c.memory)),
];

const COLUMNS: Record<MoeLawPlan['law'], Cell[]> = {
  joint: [
    column('experts', (c) => String(c.experts), 'expansion'),
    ...SIZES,
    column('learning rate', (c) => (c.learningRate === undefined ? '' : significant(c.learningRate, 2))),
    column('loss', (c) => significant(c.loss, 4)),
  ],
  'fine-grained': [
    column('G', (c) => (c.experts === 1 ? 'dense' : String(c.granularity)), 'granularity'),
    column('experts', (c) => String(c.experts), 'expansion'),
    ...SIZES,
    column('routers', (c) => (c.routerShare === undefined ? '' : percent(c.routerShare))),
    column('loss', (c) => significant(c.loss, 4)),
  ],
};

function notes({ limit }: MoeCandidate): string {
  if (limit === 'memory') return 'as large as the memory allows';
  return limit === 'tokens' ? 'as many tokens as allowed' : '';
}
