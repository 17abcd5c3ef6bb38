// The page: joins its parts, and says which key does what.
import { Classes } from "./classes.js";
import { kept, make, part, pictureAt, say } from "./dom.js";
import { Grid } from "./grid.js";
import { read, tell } from "./net.js";
import { drawExamples, drawPeople, duration, pace } from "./people.js";
import { isTyping, names, Sitting } from "./sitting.js";
import { words } from "./types.js";
/** Milliseconds between two looks at what others do: while the page is seen, and while it is not. */
const [SEEN, HIDDEN] = [1500, 10_000];
/** Milliseconds that a notice stays. */
const NOTICE = 9000;
class Page {
    sitting;
    grid;
    classes;
    view = "large";
    conflicts = [];
    away = null;
    noticeTimer = 0;
    generation;
    constructor(batch, annotator) {
        this.sitting = new Sitting(batch, annotator, {
            turned: (picture) => this.turned(picture),
            saving: () => this.saving(),
            conflict: (entry, before) => this.conflict(entry, before),
            notice: (text) => this.notice(text),
        });
        this.generation = batch.generation;
        this.classes = this.newClasses(batch);
        this.grid = new Grid(() => this.sitting.who, (picture) => this.openFromGrid(picture), (picture) => this.sitting.learn(picture), (why) => this.notice(why));
        this.buttons();
        this.head();
        document.addEventListener("keydown", (event) => this.key(event));
        addEventListener("pagehide", () => tell("leave", { who: this.sitting.who }));
        addEventListener("pageshow", (event) => {
            if (event.persisted)
                void this.sitting.begin();
        });
        addEventListener("online", () => this.sitting.outbox.hurry());
    }
    async begin() {
        await this.sitting.begin();
        void this.watch();
    }
    newClasses(batch) {
        return new Classes(batch.classes, batch.key, (name) => this.answer({ class: name }));
    }
    async watch() {
        for (;;) {
            try {
                await this.sitting.look();
                if (this.away !== null)
                    this.sitting.outbox.hurry();
                this.away = this.sitting.state?.trouble ?? null;
            }
            catch (error) {
                this.away = error instanceof Error ? error.message : String(error);
            }
            if (this.generation !== this.sitting.batch.generation) {
                this.generation = this.sitting.batch.generation;
                this.classes = this.newClasses(this.sitting.batch);
                this.head();
                this.notice("Another batch waits now.");
            }
            this.saving();
            await new Promise((later) => setTimeout(later, document.hidden ? HIDDEN : SEEN));
        }
    }
    head() {
        const { batch } = this.sitting;
        part("run").textContent = batch.run;
        const stage = batch.stage === "initial" ? "first labels" : batch.stage.replace("-", " ");
        part("stage-name").textContent = `${stage} · ${batch.strategy}`;
        document.title = `${batch.run} · label`;
        part("toggle-guess").hidden = !batch.guesses;
    }
    answer(answer) {
        this.hideNotice();
        if (typeof answer === "object")
            this.classes.used(answer.class);
        if (this.view === "large") {
            this.sitting.answer(answer);
            return;
        }
        const picture = this.grid.current;
        if (picture === null)
            return;
        this.sitting.record(picture, answer, null, false);
        this.grid.answered(answer);
        say(`${picture.name}: ${words(answer)}`);
    }
    undo() {
        if (this.view === "large")
            this.sitting.undo();
        else if (this.grid.current !== null)
            this.answer("undo");
    }
    /** Another picture is shown, or none. */
    turned(picture) {
        part("end").hidden = picture !== null || this.view !== "large";
        part("large").hidden = picture === null || this.view !== "large";
        if (picture === null) {
            this.classes.mark(null, null);
            this.end();
            return;
        }
        const mine = picture.mine?.answer;
        const guess = this.sitting.guessOn ? picture.guess : null;
        this.classes.mark(typeof mine === "object" ? mine.class : null, guess?.class ?? null);
        if (picture.disputed !== null) {
            this.tell(`Third look: people said ${picture.disputed.map(words).join(" and ")}. What is it?`, "third");
        }
        else if (guess !== null) {
            this.tell(`The model takes it for ${guess.class} (${Math.round(100 * guess.probability)} %).`, "guess");
        }
        else if (picture.skipped) {
            this.tell("You skipped this picture before; no others are left.", "again");
        }
        else if (part("notice").dataset["of"] !== "notice") {
            part("notice").hidden = true;
        }
    }
    /** What there is to do when no picture is left. */
    end() {
        const { state, queue, batch, outbox } = this.sitting;
        const end = part("end");
        const isBehind = outbox.waiting > 0 || (state !== null && outbox.latest >= state.answers);
        const lines = [];
        if (state === null) {
            lines.push(make("h1", "", this.away === null ? "One moment" : "The program does not answer"));
        }
        else if (isBehind && this.away === null) {
            lines.push(make("h1", "", "One moment"), make("p", "", "The last answers are being saved."));
        }
        else if (queue === "disputed") {
            lines.push(make("h1", "", "No third look is wanted"), make("p", "", "Nobody disagrees about any other picture."));
        }
        else if (!state.waits) {
            lines.push(make("h1", "", "The run has its labels"), make("p", "soft", "The next batch appears here by itself."));
        }
        else if (state.outcomes.open + state.outcomes.disputed === 0) {
            const command = make("code", "", "querist run --resume");
            lines.push(make("h1", "", "All pictures are answered"), make("p", "", "The run goes on with ", command, "."));
            lines.push(make("p", "soft", "The next batch appears here by itself."));
        }
        else if (state.outcomes.open > 0) {
            const rest = state.outcomes.open;
            lines.push(make("h1", "", "You have seen all of yours"));
            lines.push(make("p", "", `${rest} ${rest === 1 ? "picture waits" : "pictures wait"} for somebody else.`));
        }
        else {
            lines.push(make("h1", "", "You have seen all of yours"));
        }
        if (queue === "open" && state !== null && state.outcomes.disputed > 0) {
            const look = make("button", "main", `Third look at ${state.outcomes.disputed}`);
            look.onclick = () => this.switchQueue();
            lines.push(make("p", "", "People disagree about some pictures. "), look);
        }
        if (queue === "disputed") {
            const back = make("button", "main", "Back to the batch");
            back.onclick = () => this.switchQueue();
            lines.push(back);
        }
        const key = JSON.stringify([state?.outcomes, state?.waits, queue, batch.generation, this.away, isBehind]);
        // What did not change keeps its focus.
        if (end.dataset["of"] === key)
            return;
        end.dataset["of"] = key;
        end.replaceChildren(...lines);
        say(lines[0]?.textContent ?? "");
    }
    switchQueue() {
        this.sitting.queue = this.sitting.queue === "open" ? "disputed" : "open";
        this.setView("large");
        void this.sitting.begin();
    }
    /** Brings numbers and the banner up to date. */
    saving() {
        const { state, outbox, batch, queue } = this.sitting;
        const banner = part("banner");
        const count = outbox.waiting;
        const why = outbox.trouble ?? this.away;
        const isLost = why !== null;
        banner.hidden = !isLost;
        if (isLost)
            banner.textContent = count > 0 ? `Not saved yet: ${count} · ${why}` : `Away: ${why}`;
        if (state === null)
            return;
        const { open, disputed, label, rejected, unsure } = state.outcomes;
        const done = label + rejected + unsure;
        const all = open + disputed + done;
        const bar = part("bar");
        [bar.max, bar.value] = [Math.max(all, 1), done];
        const left = Math.max(state.mine.left - count, 0);
        const parts = [`${done} of ${all}`, `${left} left for you`];
        if (state.seconds !== null) {
            parts.push(`${pace(state.seconds)} each`);
            if (left > 0)
                parts.push(`about ${duration(state.seconds * left)}`);
        }
        part("numbers").textContent = parts.join(" · ");
        const third = part("third");
        third.hidden = disputed === 0 && queue === "open";
        third.textContent = queue === "open" ? `Third look: ${disputed}` : "Back to the batch";
        if (this.sitting.current === null)
            this.turned(null);
        if (part("people").open)
            drawPeople(state, this.sitting.annotator, batch);
    }
    tell(text, of) {
        const notice = part("notice");
        clearTimeout(this.noticeTimer);
        notice.textContent = text;
        notice.dataset["of"] = of;
        notice.hidden = false;
    }
    notice(text) {
        this.tell(text, "notice");
        say(text);
        this.noticeTimer = setTimeout(() => this.hideNotice(), NOTICE);
    }
    hideNotice() {
        if (part("notice").dataset["of"] === "notice")
            part("notice").hidden = true;
    }
    conflict(entry, before) {
        this.conflicts.push({ entry, before });
        if (!part("conflict").open)
            this.showConflict();
    }
    showConflict() {
        const dialog = part("conflict");
        const [conflict] = this.conflicts;
        if (conflict === undefined) {
            dialog.close();
            return;
        }
        const { entry, before } = conflict;
        const image = make("img");
        image.src = pictureAt(entry.id);
        image.alt = entry.name;
        part("conflict-picture").replaceChildren(image);
        const [earlier, now] = [words(before), words(entry.answer)];
        part("conflict-text").textContent =
            `${entry.annotator} answered ${entry.name} in another window: ${earlier}. Here the answer is: ${now}.`;
        const [keep, use] = [part("conflict-keep"), part("conflict-use")];
        keep.textContent = `Keep ${earlier}`;
        use.textContent = `Use ${now}`;
        keep.onclick = () => this.settle(null);
        use.onclick = () => this.settle(entry);
        dialog.oncancel = (event) => event.preventDefault();
        if (!dialog.open)
            dialog.showModal();
        keep.focus();
    }
    settle(entry) {
        this.conflicts.shift();
        if (entry !== null) {
            const { annotator, id, name, answer, seconds, guess_shown, third_look } = entry;
            this.sitting.outbox.add({ annotator, id, name, answer, seconds, guess_shown, third_look });
        }
        this.showConflict();
    }
    openFromGrid(picture) {
        this.setView("large");
        this.sitting.open(picture);
    }
    setView(view) {
        this.view = view;
        part("grid").hidden = view !== "grid";
        part("view-grid").setAttribute("aria-pressed", String(view === "grid"));
        if (view === "grid") {
            part("large").hidden = part("end").hidden = true;
            void this.grid.show();
        }
        else {
            this.turned(this.sitting.current);
        }
    }
    buttons() {
        part("none").onclick = () => this.answer("none-of-these");
        part("unsure").onclick = () => this.answer("unsure");
        part("skip").onclick = () => this.answer("skip");
        part("undo").onclick = () => this.undo();
        part("third").onclick = () => this.switchQueue();
        part("view-grid").onclick = () => this.setView(this.view === "grid" ? "large" : "grid");
        part("view-examples").onclick = () => this.examples();
        part("toggle-guess").onclick = () => this.toggleGuess();
        part("view-people").onclick = () => this.people();
        part("people-done").onclick = () => part("people").close();
        part("examples-done").onclick = () => part("examples").close();
        part("change-name").onclick = () => {
            part("people").close();
            void askName(this.sitting.annotator).then((name) => {
                this.sitting.annotator = name;
                void this.sitting.begin();
            });
        };
        // A button that was clicked must not take the keys that follow.
        document.addEventListener("click", (event) => {
            const button = event.target instanceof Element ? event.target.closest("aside button, header button") : null;
            if (button instanceof HTMLElement && event.detail > 0)
                button.blur();
        });
    }
    toggleGuess() {
        const on = !this.sitting.guessOn;
        this.sitting.setGuess(on);
        part("toggle-guess").setAttribute("aria-pressed", String(on));
        this.hideNotice();
        part("notice").dataset["of"] = "";
        this.turned(this.sitting.current);
        say(on ? "the model's guesses are shown" : "the model's guesses are hidden");
    }
    people() {
        const { state, annotator, batch } = this.sitting;
        if (state !== null)
            drawPeople(state, annotator, batch);
        openDialog("people");
    }
    examples() {
        const shown = [...part("classes").querySelectorAll("button")].map((button) => button.dataset["name"] ?? "");
        openDialog("examples");
        void drawExamples(shown);
    }
    key(event) {
        if (document.querySelector("dialog[open]") !== null || isTyping(event.target))
            return;
        const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
        const isSearching = event.target === this.classes.search && this.classes.search.value !== "";
        if (isSearching || ((event.ctrlKey || event.metaKey) && !isUndo))
            return;
        const action = isUndo ? () => this.undo() : this.action(event);
        if (action !== null) {
            event.preventDefault();
            // A key that is held down answers one picture, not all.
            if (!event.repeat)
                action();
        }
        else if (this.classes.isMany && event.key.length === 1 && !event.altKey) {
            // The letter goes into the box that has the focus now.
            this.classes.search.focus();
        }
    }
    action(event) {
        const { key } = event;
        const onButton = event.target instanceof HTMLButtonElement;
        if (key === " ")
            return onButton ? null : () => this.answer("skip");
        const { stage } = this.sitting;
        const always = {
            Backspace: () => this.undo(),
            ".": () => this.answer("none-of-these"),
            "?": () => this.answer("unsure"),
            "+": () => stage.scale(1.25),
            "=": () => stage.scale(1.25),
            "-": () => stage.scale(0.8),
            "]": () => stage.brighten(10),
            "[": () => stage.brighten(-10),
            "}": () => stage.strengthen(10),
            "{": () => stage.strengthen(-10),
            "/": () => this.classes.search.focus(),
        };
        const found = always[key];
        if (found !== undefined)
            return found;
        const letters = {
            n: () => this.answer("none-of-these"),
            u: () => this.answer("unsure"),
            g: () => this.setView(this.view === "grid" ? "large" : "grid"),
            e: () => this.examples(),
            m: () => (this.sitting.batch.guesses ? this.toggleGuess() : undefined),
            f: () => stage.fit(),
        };
        // With many classes letters search, and commands need Alt, which some keyboards turn into other signs.
        const letter = event.altKey ? event.code.replace("Key", "").toLowerCase() : key.toLowerCase();
        const command = letters[letter];
        if (command !== undefined && (event.altKey || !this.classes.isMany))
            return command;
        const name = event.altKey ? null : this.classes.class(key);
        return name === null ? null : () => this.answer({ class: name });
    }
}
/** Opens a dialog at its beginning, though the first thing in it that takes a focus is at its end. */
function openDialog(name) {
    const dialog = part(name);
    dialog.showModal();
    part(`${name}-done`).focus({ preventScroll: true });
    dialog.scrollTop = 0;
}
const THEMES = ["system", "light", "dark"];
/** Light, dark, or as the system has it. */
function themes() {
    const button = part("theme");
    let now = Math.max(0, THEMES.findIndex((theme) => theme === kept.get("querist:theme")));
    const show = () => {
        const theme = THEMES[now] ?? "system";
        document.documentElement.dataset["theme"] = theme;
        button.textContent = { system: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[theme];
        button.setAttribute("aria-label", `colours: ${theme}`);
    };
    button.onclick = () => {
        now = (now + 1) % THEMES.length;
        kept.set("querist:theme", THEMES[now] ?? "system");
        show();
    };
    show();
}
/** Asks who answers. */
function askName(before) {
    const [dialog, input] = [part("ask-name"), part("annotator")];
    input.value = before ?? "";
    dialog.oncancel = (event) => {
        if (before === null)
            event.preventDefault();
    };
    dialog.showModal();
    input.focus();
    return new Promise((done) => {
        const finish = () => {
            const name = input.value.trim();
            part("name-trouble").textContent = name === "" ? "A name, please." : "";
            if (name === "")
                return;
            names.set(name);
            dialog.close();
            done(name);
        };
        part("name-done").onclick = finish;
        input.onkeydown = (event) => {
            if (event.key === "Enter")
                finish();
        };
    });
}
/** Asks until the server answers. */
async function firstBatch() {
    for (;;) {
        try {
            return await read("batch");
        }
        catch (error) {
            part("banner").hidden = false;
            part("banner").textContent = error instanceof Error ? error.message : String(error);
            await new Promise((later) => setTimeout(later, SEEN));
        }
    }
}
async function start() {
    themes();
    const batch = await firstBatch();
    part("banner").hidden = true;
    const annotator = names.get(batch) ?? (await askName(null));
    await new Page(batch, annotator).begin();
}
void start();
