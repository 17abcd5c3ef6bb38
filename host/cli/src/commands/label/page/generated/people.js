// How far everybody is, how well people agree, and what each class looks like.
import { make, part, pictureAt } from "./dom.js";
import { send } from "./net.js";
/** A number of seconds as people say it. */
export function duration(seconds) {
    if (seconds < 90)
        return `${Math.max(1, Math.round(seconds))} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}
/** Seconds of one answer. */
export function pace(seconds) {
    return seconds < 10 ? `${seconds.toFixed(1)} s` : duration(seconds);
}
const kappa = (value) => (value === null ? "–" : value.toFixed(2));
function agreement(pair) {
    const [first, second] = pair.annotators;
    const head = make("h3", "", `${first} and ${second}`);
    const share = pair.pictures > 0 ? Math.round((100 * pair.agreed) / pair.pictures) : 0;
    const text = `Both answered ${pair.pictures}, and agree on ${pair.agreed} (${share} %). Cohen's kappa `;
    const line = make("p", "", text, make("strong", "", kappa(pair.kappa)), ".");
    const rows = [...pair.classes]
        .sort((a, b) => (a.kappa ?? 2) - (b.kappa ?? 2))
        .map((one) => make("tr", "", make("th", "", one.class), make("td", "", kappa(one.kappa))));
    if (rows.length === 0)
        return [head, line];
    const body = make("tbody", "", ...rows);
    const table = make("table", "", make("thead", "", make("tr", "", make("th", "", "class"), make("th", "", "kappa"))), body);
    return [head, line, make("div", "scroll", table)];
}
function advice(told) {
    const rows = told.curve.map((point) => {
        const percent = (value) => `${(100 * value).toFixed(1)} %`;
        const interval = `${percent(point.low)} – ${percent(point.high)}`;
        const cells = [make("td", "", percent(point.value)), make("td", "", interval)];
        return make("tr", "", make("th", "", String(point.labelled)), ...cells);
    });
    const head = make("tr", "", ...["labels", "score", "interval"].map((name) => make("th", "", name)));
    const table = make("table", "", make("thead", "", head), make("tbody", "", ...rows));
    return [make("h3", "", "The model so far"), ...told.says.map((text) => make("p", "", text)), table];
}
/** Everything that is known of everybody. */
export function drawPeople(state, annotator, looks) {
    const { outcomes, mine } = state;
    const asked = looks === 1 ? "One person looks at each picture." : "Two people look at each picture.";
    const counts = [
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
    const told = state.advice ? advice(state.advice) : [];
    part("people-text").replaceChildren(make("p", "soft", asked), own, make("dl", "", ...list), ...(pairs.length > 0 ? pairs : [alone]), ...told);
}
/** Classes with examples at once at most. */
const MOST_CLASSES = 30;
/** What classes look like, as far as people said. */
export async function drawExamples(classes) {
    const list = part("examples-list");
    list.replaceChildren();
    for (const name of classes.slice(0, MOST_CLASSES)) {
        const row = make("div", "examples", make("h3", "", name));
        list.append(row);
        try {
            const { pictures } = await send("examples", { class: name });
            const images = pictures.map((id) => {
                const image = make("img");
                image.src = pictureAt(id);
                image.alt = `example of ${name}`;
                return image;
            });
            row.append(...(images.length > 0 ? images : [make("p", "soft", "none so far")]));
        }
        catch (error) {
            row.append(make("p", "soft", error instanceof Error ? error.message : String(error)));
        }
    }
    if (classes.length > MOST_CLASSES) {
        list.append(make("p", "soft", `The first ${MOST_CLASSES} of ${classes.length} classes: search to see others.`));
    }
}
