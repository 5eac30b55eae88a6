/** One bar: its whisker reaches from `low` to `high`, where these differ. */
export interface NamedBar {
  /** What tells it apart, also when the order changes. */
  key: number;
  name: string;
  value: number;
  low: number;
  high: number;
  /** For the tooltip and for those who cannot see the bar. */
  lines: [label: string, value: string][];
}
