import { SecateurError } from '../errors.ts';
import type { GradientSubject, LossKind } from '../evaluation/gradients/index.ts';
import type { MethodName } from '../formats.ts';
import type { RunningVector } from '../math/statistics.ts';
import type { GateDerivatives, RankMethod } from './types.ts';
import { requireGradients } from './require.ts';
import { finishedRanks, secondsSince } from './result.ts';

/** What a method makes of the derivatives of a loss with respect to the gates of a group. */
export interface GradientScores {
  name: MethodName;
  label: string;
  description: string;
  subject: GradientSubject;
  /** @throws SecateurError 'unsupported' where the method means nothing for that loss */
  check?(loss: LossKind): void;
  /** Which mean over samples, and what it is multiplied by. */
  score(derivatives: GateDerivatives): { of: RunningVector; times: number };
  /** In a few words, where it is not evident which loss was differentiated, and how. */
  estimator?(derivatives: GateDerivatives): string | undefined;
}

/** A method whose scores are means over samples, with their standard errors. */
export function gradientMethod(made: GradientScores): RankMethod {
  const { name, label, description, subject, score, estimator } = made;
  return {
    name,
    label,
    description,
    needs: 'gradients',
    comparable: true,
    plannedEvaluations: () => 0,
    async rank(context, _options, signal, onProgress) {
      const started = performance.now();
      const { group } = context;
      const source = requireGradients(name, context);
      made.check?.(source.lossOf(subject));
      const derivatives = await source.derivatives(group, subject, signal, (done, planned) =>
        onProgress?.({ evaluations: done, planned }),
      );
      const { of, times } = score(derivatives);
      const broken = of.mean.findIndex((x) => !Number.isFinite(x));
      if (broken >= 0)
        throw new SecateurError(
          'runtime',
          `The gradient with respect to unit ${broken} of group '${group.id}' is not a finite number.`,
          'Check the data for infinities and NaN, or use a method that needs no gradients.',
        );
      const found = {
        scores: of.mean.map((x) => times * x),
        stderr: of.standardError().map((x) => Math.abs(times) * x),
        estimator: estimator?.(derivatives),
        seconds: secondsSince(started),
      };
      return finishedRanks(group, found, onProgress);
    },
  };
}
