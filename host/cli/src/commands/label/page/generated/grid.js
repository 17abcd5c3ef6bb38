// All pictures of the batch, a page of them at a time.
import { make, part, pictureAt } from "./dom.js";
import { send } from "./net.js";
import { words } from "./types.js";
/** Pictures on a page. */
const SHOWN = 60;
export class Grid {
    who;
    open;
    learn;
    away;
    cells = part("cells");
    from = 0;
    all = 0;
    pictures = [];
    focus = 0;
    constructor(who, open, learn, away) {
        this.who = who;
        this.open = open;
        this.learn = learn;
        this.away = away;
        part("page-before").onclick = () => void this.turn(-1);
        part("page-after").onclick = () => void this.turn(1);
        this.cells.onkeydown = (event) => this.key(event);
    }
    /** The picture that keys of classes answer. */
    get current() {
        return this.pictures[this.focus] ?? null;
    }
    async show(from = this.from) {
        this.from = from;
        try {
            const listed = await send("list", { who: this.who(), from, count: SHOWN });
            this.all = listed.all;
            this.pictures = listed.pictures;
        }
        catch (error) {
            this.away(error instanceof Error ? error.message : String(error));
            return;
        }
        this.pictures.forEach(this.learn);
        this.focus = Math.min(this.focus, this.pictures.length - 1);
        this.draw();
        this.look();
    }
    /** Shows an answer to the picture in focus at once, and goes on to the next one. */
    answered(answer) {
        const picture = this.current;
        const cell = this.cells.children[this.focus];
        if (picture === null || cell === undefined)
            return;
        cell.replaceWith(this.cell(picture, this.focus, answer));
        if (answer !== "undo" && this.focus + 1 < this.pictures.length)
            this.focus += 1;
        this.look();
    }
    async turn(by) {
        const from = this.from + by * SHOWN;
        if (from < 0 || from >= this.all)
            return;
        this.focus = 0;
        await this.show(from);
    }
    draw() {
        this.cells.replaceChildren(...this.pictures.map((picture, at) => this.cell(picture, at, picture.mine?.answer)));
        const [first, last] = [this.from + 1, this.from + this.pictures.length];
        part("page-number").textContent = `${first}–${last} of ${this.all}`;
        part("page-before").disabled = this.from === 0;
        part("page-after").disabled = last >= this.all;
    }
    cell(picture, at, answer) {
        const image = make("img");
        image.alt = "";
        image.loading = "lazy";
        image.src = pictureAt(picture.id);
        const isMine = answer !== undefined && answer !== "undo";
        const others = picture.outcome === "open" ? "" : picture.outcome === "disputed" ? "disputed" : "answered";
        const text = isMine ? words(answer) : others;
        const cell = make("div", `cell ${isMine ? "mine" : picture.outcome}`, image, make("span", "", text || " "));
        image.onerror = () => image.replaceWith(make("div", "broken", "cannot be shown"));
        cell.setAttribute("role", "option");
        cell.setAttribute("aria-label", `${picture.name}${text === "" ? "" : `, ${text}`}`);
        cell.onclick = () => {
            const wasHere = at === this.focus;
            this.focus = at;
            this.look();
            if (wasHere)
                this.open(picture);
        };
        cell.ondblclick = () => this.open(picture);
        return cell;
    }
    /** Moves the focus where it belongs. */
    look() {
        [...this.cells.children].forEach((cell, at) => {
            const isHere = at === this.focus;
            cell.setAttribute("aria-selected", String(isHere));
            cell.tabIndex = isHere ? 0 : -1;
        });
        this.cells.children[this.focus]?.focus();
    }
    key(event) {
        const [first] = this.cells.children;
        if (first === undefined)
            return;
        const width = Math.max(1, Math.floor(this.cells.clientWidth / first.offsetWidth));
        const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width };
        const step = steps[event.key];
        if (step !== undefined) {
            event.preventDefault();
            this.focus = Math.min(Math.max(this.focus + step, 0), this.pictures.length - 1);
            this.look();
        }
        else if (event.key === "Enter" && this.current !== null) {
            event.preventDefault();
            this.open(this.current);
        }
        else if (event.key === "PageDown" || event.key === "PageUp") {
            event.preventDefault();
            void this.turn(event.key === "PageDown" ? 1 : -1);
        }
    }
}
