/** Probabilities below this count as this, so that logarithms stay finite: in metrics and in losses alike. */
export const PROBABILITY_FLOOR = 1e-12;
