// How far everybody is, how well people agree, and what each class looks like.

import { make, part, pictureAt } from "./dom.js";
import { send } from "./net.js";
import type { Agreement, Batch, Share, Standing, State } from "./types.js";

/** A number of seconds as people say it. */
export function duration(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}

/** Seconds of one answer. */
export function pace(seconds: number): string {
  return seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds);
}

const kappa = (value: number | null): string => (value === null ? "–" : value.toFixed(2));

function agreement(pair: Agreement): Node[] {
  const [first, second] = pair.annotators;
  const head = make("h3", "", `${first} and ${second}`);
  const share = pair.pictures > 0 ? Math.round((100 * pair.agreed) / pair.pictures) : 0;
  const text = `Both answered ${pair.pictures}, and agree on ${pair.agreed} (${share} %). Cohen's kappa `;
  const line = make("p", "", text, make("strong", "", kappa(pair.kappa)), ".");
  const rows = [...pair.classes]
    .sort((a, b) => (a.kappa ?? 2) - (b.kappa ?? 2))
    .map((one) => make("tr", "", make("th", "", one.class), make("td", "", kappa(one.kappa))));
  if (rows.length === 0) return [head, line];
  const body = make("tbody", "", ...rows);
  const table = make("table", "", make("thead", "", make("tr", "", make("th", "", "class"), make("th", "", "kappa"))), body);
  return [head, line, make("div", "scroll", table)];
}

const percent = (value: number): string => (100 * value).toFixed(1);

/** The curve as a drawing: accuracy over labels, with its intervals. */
function drawn(points: { x: number; share: Share }[]): Node {
  const [width, height, edge] = [440, 120, 14];
  const most = Math.max(...points.map((point) => point.x), 1);
  const low = Math.min(...points.map((point) => point.share.low));
  const span = Math.max(...points.map((point) => point.share.high)) - low || 1;
  const at = (x: number, y: number): [number, number] => [
    edge + (x / most) * (width - 2 * edge),
    height - edge - ((y - low) / span) * (height - 2 * edge),
  ];
  const draw = (name: string, attributes: Record<string, string | number>): SVGElement => {
    const one = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, String(value));
    return one;
  };
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img" });
  svg.setAttribute("aria-label", "accuracy over labels; the table below has the numbers");
  const line = points.map((point) => at(point.x, point.share.value).join(","));
  for (const { x, share } of points) {
    const [[x1, y1], [, y2]] = [at(x, share.low), at(x, share.high)];
    svg.append(draw("line", { x1, y1, x2: x1, y2, class: "interval" }));
  }
  svg.append(draw("polyline", { points: line.join(" "), class: "line" }));
  for (const { x, share } of points) {
    const [cx, cy] = at(x, share.value);
    svg.append(draw("circle", { cx, cy, r: 3, class: "dot" }));
  }
  return svg;
}

/** The curve so far, what the next batch costs, and whether to go on. */
function standing(told: Standing): Node[] {
  const points = told.curve.flatMap((one) => (one.accuracy === null ? [] : [{ x: one.labelled, share: one.accuracy }]));
  const rows = told.curve.map((one) => {
    const share = one.accuracy;
    const interval = share === null ? "–" : `${percent(share.low)} to ${percent(share.high)}`;
    const cells = [String(one.labelled), share === null ? "–" : percent(share.value), interval];
    return make("tr", "", make("th", "", String(one.round)), ...cells.map((text) => make("td", "", text)));
  });
  const names = ["round", "labels", "accuracy %", "95 % interval"];
  const head = make("thead", "", make("tr", "", ...names.map((name) => make("th", "", name))));
  const table = make("table", "", head, make("tbody", "", ...rows));
  const verdicts = { stop: "enough", "go-on": "go on", "too-early": "too early to tell" };
  const rules = told.advice.map(({ rule, advice, why }) => {
    const name = make("strong", "", `${rule.replaceAll("-", " ")}: ${verdicts[advice]}`);
    return make("li", advice, name, make("span", "soft", ` ${why}`));
  });
  const cost = told.next_batch;
  const minutes = cost?.minutes == null ? "" : `, about ${duration(60 * cost.minutes)}`;
  const price = cost === null ? [] : [make("p", "", `This batch: ${cost.pictures} pictures, ${cost.answers} answers${minutes}.`)];
  return [
    make("h3", "", "The model so far"),
    ...(points.length > 1 ? [drawn(points)] : []),
    ...(rows.length > 0 ? [make("div", "scroll", table)] : []),
    ...price,
    make("ul", "advice", ...rules),
  ];
}

/** Everything that is known of everybody. */
export function drawPeople(state: State, annotator: string, batch: Batch): void {
  const { outcomes, mine } = state;
  const asked = batch.looks === 1 ? "One person looks at each picture." : "Two people look at each picture.";
  const counts: [string, number][] = [
    ["with a class", outcomes.label],
    ["none of the classes", outcomes.rejected],
    ["unsure", outcomes.unsure],
    ["disputed", outcomes.disputed],
    ["open", outcomes.open],
  ];
  const list = counts.flatMap(([name, count]) => [make("dt", "", name), make("dd", "", String(count))]);
  const own = make("p", "", make("strong", "", annotator), ` answered ${mine.answered} and can answer ${mine.left} more.`);
  const pairs = state.agreement.flatMap(agreement);
  const alone = make("p", "soft", "Nobody else has answered the same pictures, so that there is no agreement to measure.");
  const told = batch.standing === null ? [] : standing(batch.standing);
  part("people-text").replaceChildren(
    make("p", "soft", asked),
    own,
    make("dl", "", ...list),
    ...(pairs.length > 0 ? pairs : [alone]),
    ...told,
  );
}

/** Classes with examples at once at most. */
const MOST_CLASSES = 30;

/** What classes look like, as far as people said. */
export async function drawExamples(classes: string[]): Promise<void> {
  const list = part("examples-list");
  list.replaceChildren();
  for (const name of classes.slice(0, MOST_CLASSES)) {
    const row = make("div", "examples", make("h3", "", name));
    list.append(row);
    try {
      const { pictures } = await send<{ pictures: number[] }>("examples", { class: name });
      const images = pictures.map((id) => {
        const image = make("img");
        image.src = pictureAt(id);
        image.alt = `example of ${name}`;
        return image;
      });
      row.append(...(images.length > 0 ? images : [make("p", "soft", "none so far")]));
    } catch (error) {
      row.append(make("p", "soft", error instanceof Error ? error.message : String(error)));
    }
  }
  if (classes.length > MOST_CLASSES) {
    list.append(make("p", "soft", `The first ${MOST_CLASSES} of ${classes.length} classes: search to see others.`));
  }
}
