// The comparison as a picture: bars of requests a second, readable on light and on dark pages.
import { ratiosOf } from "./report.mjs";
import { REFERENCE_GROUPS } from "./servers.mjs";

const WIDTH = 860;
const LEFT = 250;
const RIGHT = 150;
const LEGEND_TOP = 48;
const LEGEND_LINE = 20;
const TOP = 128;
const BAR = 15;
const GAP = 18;
const PLOT = WIDTH - LEFT - RIGHT;

const NAMES = {
  gateway: "KYC gateway",
  audited: "… AUDIT_READS=on",
  bare: "bare node:http",
  mercurius: "Mercurius, JIT",
  "bare-duties": "bare node:http",
  "mercurius-duties": "Mercurius, JIT",
};

// The chart has its own background, because a page can be dark while the system is light.
const STYLE = `
  .page { fill: #ffffff; stroke: #d8dee4 }
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .name { font-weight: 600 }
  .quiet { fill: #59636e }
  .grid { stroke: #d8dee4 }
  .gateway { fill: #0969da }
  .audited { fill: #54aeff }
  .bare-duties { fill: #6e7781 }
  .mercurius-duties { fill: #bc6a16 }
  .bare { fill: #c3c9d0 }
  .mercurius { fill: #efc08e }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #30363d }
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .grid { stroke: #30363d }
    .gateway { fill: #4493f8 }
    .audited { fill: #79c0ff }
    .bare-duties { fill: #8b949e }
    .mercurius-duties { fill: #db9a4e }
    .bare { fill: #484f58 }
    .mercurius { fill: #7a5222 }
  }
`;

/**
 * @param {import("./compare.mjs").Comparison[]} comparisons
 * @param {ReturnType<typeof import("./report.mjs").describeRun>} run
 * @returns {string} an SVG
 */
export function drawChart(comparisons, run) {
  const fastest = Math.max(...comparisons.flatMap(({ results }) => results.map(({ rate }) => rate)));
  const step = tickStep(fastest);
  const most = Math.ceil(fastest / step) * step;
  const scale = (/** @type {number} */ rate) => (rate / most) * PLOT;

  const bars = [];
  let y = TOP;
  for (const comparison of comparisons) {
    bars.push(drawGroup(comparison, y, scale));
    y += comparison.results.length * BAR + GAP;
  }
  const bottom = y - GAP + 6;
  const grid = [];
  for (let rate = 0; rate <= most; rate += step) {
    const x = round(LEFT + scale(rate));
    grid.push(`<line class="grid" x1="${x}" y1="${TOP - 8}" x2="${x}" y2="${bottom}"/>`);
    grid.push(
      `<text class="quiet" x="${x}" y="${bottom + 16}" text-anchor="middle">${thousands(rate)}</text>`,
    );
  }
  const height = bottom + 46;
  const { machine, setting } = run;
  const caption = `${setting.connections} connections, ${thousands(setting.records)} records, ${setting.pool} database connections a server · ${machine.cores} × ${machine.cpu}, Node ${machine.node.slice(1)}, PostgreSQL ${machine.postgres} · ${run.at.slice(0, 10)}`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Requests a second of the KYC gateway and of the reference servers">
<style>${STYLE}</style>
<rect class="page" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="6"/>
<text x="20" y="32"><tspan class="title">Requests a second</tspan><tspan class="quiet" dx="12">more is better; × is how many times a reference’s rate the gateway reaches</tspan></text>
${drawLegend(comparisons)}
${grid.join("\n")}
${bars.join("\n")}
<text class="quiet" x="20" y="${height - 12}" font-size="11">${escapeXml(caption)}</text>
</svg>
`;
}

/**
 * @param {import("./compare.mjs").Comparison} comparison
 * @param {number} top
 * @param {(rate: number) => number} scale
 */
function drawGroup(comparison, top, scale) {
  const { workload, results } = comparison;
  const ratios = new Map(ratiosOf(comparison).map(({ reference, ratio }) => [String(reference), ratio]));
  const middle = top + (results.length * BAR) / 2 + 4;
  const [name, ...rest] = [workload.name, ...workload.title.split(": ")];
  const bars = results.map(({ server, rate }, index) => {
    const y = top + index * BAR;
    const width = round(Math.max(1, scale(rate)));
    const ratio = ratios.get(server);
    const label = thousands(rate) + (ratio === undefined ? "" : `  (gateway ${ratio.toFixed(2)} ×)`);
    return (
      `<rect class="${server}" x="${LEFT}" y="${y + 1}" width="${width}" height="${BAR - 2}" rx="2"/>` +
      `<text class="${server === "gateway" ? "name" : "quiet"}" x="${LEFT + width + 6}" y="${y + 12}">${label}</text>`
    );
  });
  const title = `<text x="20" y="${middle}"><tspan class="name">${name}</tspan> ${escapeXml(String(rest[0]))}</text>`;
  return [title, ...bars].join("\n");
}

/** One line for the gateway and one for each group of references. @param {import("./compare.mjs").Comparison[]} comparisons */
function drawLegend(comparisons) {
  const shown = new Set(comparisons.flatMap(({ results }) => results.map(({ server }) => server)));
  /** @type {{ title: string, servers: import("./servers.mjs").ServerName[] }[]} */
  const lines = [
    { title: "", servers: ["gateway", "audited"] },
    ...REFERENCE_GROUPS.map(({ title, references }) => ({
      title: `references ${title}`,
      servers: references,
    })),
  ];
  return lines
    .flatMap(({ title, servers }, line) => {
      const y = LEGEND_TOP + line * LEGEND_LINE;
      const keys = servers.filter((server) => shown.has(server));
      const heading =
        keys.length > 0 ? [`<text class="quiet" x="20" y="${y + 10}">${escapeXml(title)}</text>`] : [];
      return heading.concat(
        keys.map((server, index) => {
          const x = LEFT + index * 150;
          return `<rect class="${server}" x="${x}" y="${y}" width="12" height="12" rx="2"/><text x="${x + 18}" y="${y + 10}">${NAMES[server]}</text>`;
        }),
      );
    })
    .join("\n");
}

/** About five ticks, at 1, 2 or 5 times a power of ten. @param {number} most */
function tickStep(most) {
  const power = 10 ** Math.floor(Math.log10(most / 4));
  return power * ([1, 2, 5, 10].find((factor) => power * factor >= most / 5) ?? 10);
}

/** @param {number} value */
const thousands = (value) => Math.round(value).toLocaleString("en");
/** @param {number} value */
const round = (value) => Math.round(value * 10) / 10;
/** @param {string} text */
const escapeXml = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
