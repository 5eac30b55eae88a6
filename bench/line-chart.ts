import { scaleLog } from 'd3-scale';
import { line } from 'd3-shape';

const WIDTH = 640;
const HEIGHT = 400;
const MARGIN = { top: 40, right: 110, bottom: 50, left: 70 };
const COLOURS = ['#888888', '#1f77b4', '#d95f02', '#1b9e77', '#7570b3', '#e7298a'];

/** Lines over two logarithmic axes as the text of an SVG file, named at their ends. */
export function lineChart(
  curves: readonly { name: string; points: readonly [number, number][] }[],
  words: { title: string; x: string; y: string },
): string {
  const points = curves.flatMap((c) => c.points);
  const x = scaleLog(
    [Math.min(...points.map((p) => p[0])), Math.max(...points.map((p) => p[0]))],
    [MARGIN.left, WIDTH - MARGIN.right],
  );
  const y = scaleLog(
    [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))],
    [HEIGHT - MARGIN.bottom, MARGIN.top],
  ).nice();
  const draw = line<[number, number]>(
    (p) => x(p[0]),
    (p) => y(p[1]),
  );
  const round = (value: number): string => value.toFixed(1);
  const text = (at: [number, number], content: string, more = ''): string =>
    `<text x="${round(at[0])}" y="${round(at[1])}" ${more}>${content}</text>`;
  const parts: string[] = [];
  for (const [tick] of curves[0].points) {
    parts.push(
      `<line x1="${round(x(tick))}" x2="${round(x(tick))}" y1="${MARGIN.top}" y2="${HEIGHT - MARGIN.bottom}" stroke="#dddddd"/>`,
      text([x(tick), HEIGHT - MARGIN.bottom + 18], String(tick), 'text-anchor="middle"'),
    );
  }
  const [low, high] = y.domain().map((v) => Math.round(Math.log10(v)));
  for (let power = low; power <= high; power++) {
    const at = y(10 ** power);
    parts.push(
      `<line x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${round(at)}" y2="${round(at)}" stroke="#dddddd"/>`,
      text([MARGIN.left - 8, at + 4], `10<tspan dy="-5" font-size="9">${power}</tspan>`, 'text-anchor="end"'),
    );
  }
  // Names at the ends of their lines, pushed apart where these meet.
  const ends = curves
    .map((curve, i) => ({ i, at: y(curve.points[curve.points.length - 1][1]) }))
    .sort((a, b) => a.at - b.at);
  for (let k = 1; k < ends.length; k++) ends[k].at = Math.max(ends[k].at, ends[k - 1].at + 15);
  curves.forEach((curve, i) => {
    const colour = COLOURS[i % COLOURS.length];
    parts.push(`<path d="${draw([...curve.points])}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    const end = ends.find((e) => e.i === i)!;
    parts.push(text([WIDTH - MARGIN.right + 8, end.at + 4], curve.name, `fill="${colour}"`));
  });
  parts.push(
    text([MARGIN.left, 22], words.title, 'font-weight="bold"'),
    text([(MARGIN.left + WIDTH - MARGIN.right) / 2, HEIGHT - 12], words.x, 'text-anchor="middle"'),
    text([0, 0], words.y, `text-anchor="middle" transform="translate(18 ${HEIGHT / 2}) rotate(-90)"`),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#333333">
<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>
${parts.join('\n')}
</svg>
`;
}
