// What the server and the page say to each other; `said.rs` and `site.rs` are the other side.
/** An answer in words. */
export function words(answer) {
    if (answer === null)
        return "taken back";
    if (typeof answer === "object")
        return answer.class;
    const said = { "none-of-these": "none of these", unsure: "unsure", skip: "skipped", undo: "taken back" };
    return said[answer];
}
