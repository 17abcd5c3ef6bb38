// Parts of the page.
/** The part of the page with this name, which `page.html` has. */
export function part(id) {
    const found = document.getElementById(id);
    if (found === null)
        throw new Error(`the page has no part ${id}`);
    return found;
}
/** A new part, with text and children; text is never read as a page. */
export function make(name, style = "", ...children) {
    const made = document.createElement(name);
    if (style !== "")
        made.className = style;
    made.append(...children);
    return made;
}
/** Tells somebody who does not see the page what happened. */
export function say(text) {
    part("said").textContent = text;
}
/** Where the bytes of a picture are. */
export function pictureAt(id) {
    return `picture/${id}`;
}
/** Names this tab, for as long as it is open; loaded anew it is the same. */
export function seat(fresh) {
    try {
        const known = sessionStorage.getItem("querist:seat") ?? fresh;
        sessionStorage.setItem("querist:seat", known);
        return known;
    }
    catch {
        return fresh;
    }
}
/** What somebody keeps in this browser; a browser that keeps nothing does for a sitting. */
export const kept = {
    get(name) {
        try {
            return localStorage.getItem(name);
        }
        catch {
            return null;
        }
    },
    set(name, value) {
        try {
            localStorage.setItem(name, value);
            return true;
        }
        catch {
            return false;
        }
    },
    remove(name) {
        try {
            localStorage.removeItem(name);
        }
        catch {
            // Nothing is kept.
        }
    },
    names() {
        try {
            return Object.keys(localStorage);
        }
        catch {
            return [];
        }
    },
};
