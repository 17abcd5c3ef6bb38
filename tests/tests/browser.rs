//! The report's page in a real browser: what is seen in light, in the dark, on a telephone and on paper, what the
//! keyboard does, and what a page keeps that changes while one reads it.

use std::fs;
use std::path::Path;

use querist_tests::browser::{Browser, screenshots};
use querist_tests::cli::Place;
use querist_tests::serving::Serving;
use serde_json::Value;

const STUDY: &str = r#"version = 1
seeds = [0, 1, 2]
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 6, minibatch = 32 }
budget = { initial = 20, batch = 10, rounds = 5 }
compute = { threads = 1 }
strategies = [{ id = "random" }, { id = "margin" }, { id = "k-center-greedy", label = "k-center" }]
"#;

/// A finished study in `s`.
fn study() -> Place {
    let place = Place::new();
    place.write("study.toml", STUDY);
    place.good(&["study", "run", "study.toml", "--out", "s", "--jobs", "2"]);
    place
}

/// How far the page is wider than its window.
const TOO_WIDE: &str = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
/// Parts of the page that begin or end outside the window, but those that scroll by themselves.
const OUTSIDE: &str = "[...document.querySelectorAll('main *')].filter((one) => !one.parentElement.closest('.scroll, \
     pre') && one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1).map((one) => \
     one.outerHTML.slice(0, 80))";

#[test]
fn the_page_is_read_on_every_medium() {
    let Some(mut browser) = Browser::start() else { return };
    let place = study();
    place.good(&["report", "s", "--html", "page.html"]);
    let shots = screenshots();

    browser.size(1200, 900);
    browser.medium("screen", "light");
    browser.open_file(&place.at("page.html"));
    let tables = browser.value("[...document.querySelectorAll('h2')].map((one) => one.textContent)");
    for title in ["Against random", "Results", "Each against each", "Hardest classes", "Training", "Protocol", "Runs"] {
        assert!(tables.as_array().unwrap().iter().any(|found| found == title), "{title} is not among {tables}");
    }
    let rows = browser.value("document.querySelector('table.sortable').tBodies[0].rows.length");
    assert_eq!(rows, 2, "two strategies beside random");
    // Every chart is live: none was left as it was drawn without a script.
    let charts = "[...document.querySelectorAll('[data-chart]')].filter((one) => one.closest('details') === null)";
    assert_eq!(browser.value(&format!("{charts}.length")), 3);
    assert_eq!(browser.value(&format!("{charts}.every((one) => one.querySelector('canvas'))")), true);
    let light = browser.screenshot(&shots.join("light.png"));
    assert!(light.get_pixel(3, 3).0.iter().all(|&value| value > 240), "{:?}", light.get_pixel(3, 3));

    browser.medium("screen", "dark");
    let dark = browser.screenshot(&shots.join("dark.png"));
    assert!(dark.get_pixel(3, 3).0[..3].iter().all(|&value| value < 40), "{:?}", dark.get_pixel(3, 3));
    // Text and ground are told apart as WCAG 2 asks of normal text.
    let contrast = browser.value(CONTRAST);
    assert!(contrast.as_f64().is_some_and(|least| least >= 4.5), "{contrast}");
    browser.medium("screen", "light");
    let contrast = browser.value(CONTRAST);
    assert!(contrast.as_f64().is_some_and(|least| least >= 4.5), "{contrast}");

    browser.size(390, 844);
    for open in [false, true] {
        let opened = format!("document.querySelectorAll('details').forEach((one) => {{ one.open = {open}; }})");
        browser.value(&opened);
        // Charts are drawn anew once the window has its size.
        browser.wait_until(&format!("{OUTSIDE}.length === 0"));
        assert_eq!((browser.value(TOO_WIDE), browser.value(OUTSIDE)), (0.into(), Value::Array(Vec::new())));
    }
    browser.screenshot(&shots.join("phone-open.png"));
    browser.value("document.querySelectorAll('details').forEach((one) => { one.open = false; })");
    browser.screenshot(&shots.join("phone.png"));

    browser.size(1200, 900);
    browser.medium("print", "light");
    let figures = "[...document.querySelectorAll('[data-chart]')].filter((one) => one.closest('details') === null)";
    let drawn = ".every((one) => one.querySelector('svg.chart.wide').getBoundingClientRect().height > 100 && \
                 getComputedStyle(one.querySelector('.live')).display === 'none')";
    assert_eq!(browser.value(&format!("{figures}{drawn}")), true, "paper has the charts as they are drawn");
    assert_eq!(browser.value(TOO_WIDE), 0);
    let pdf = browser.pdf(&shots.join("print.pdf"));
    assert!(pdf.starts_with(b"%PDF") && pdf.len() > 50_000, "{} bytes", pdf.len());
    browser.screenshot(&shots.join("print.png"));
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

/// A suite of seconds, with two pools.
const SUITE: &str = r#"version = 1
seeds = [0, 1, 2]
strategies = [{ id = "random" }]
dataset = { name = "digits", test = 397 }
model = { name = "mlp" }
recipe = { optimiser = "adam", lr = 0.002, epochs = 3, minibatch = 32 }
budget = { initial = 20, batch = 10, rounds = 2 }
compute = { threads = 1 }
launch = { jobs = 2 }
[[axes.pool]]
label = "balanced"
[[axes.pool]]
label = "long tail"
"dataset.variant" = { long_tail = 10 }
[evaluate]
nearest = 1
yardsticks = ["margin", "least-confidence"]
"#;

#[test]
fn a_verdict_is_read_on_every_medium() {
    let Some(mut browser) = Browser::start() else { return };
    let place = Place::new();
    place.write("suite.toml", SUITE);
    place.good(&["evaluate", "entropy", "--suite", "suite.toml", "--out", "e"]);
    let shots = screenshots();
    browser.size(1200, 900);
    browser.medium("screen", "light");
    browser.open_file(&place.at("e/verdict.html"));
    // The page says in words what the file of the verdict has.
    let verdict: Value = serde_json::from_slice(&fs::read(place.at("e/verdict.json")).unwrap()).unwrap();
    let text = browser.value("document.body.innerText");
    let text = text.as_str().unwrap();
    let says = verdict["plugins"][0]["says"].as_array().unwrap();
    assert!(says.len() >= 8, "{says:?}");
    for said in says {
        // Names are set in a type of their own there.
        let answer = said["answer"].as_str().unwrap().replace('`', "");
        assert!(text.contains(&answer), "`{answer}` is missing in {text}");
    }
    for scheme in ["light", "dark"] {
        browser.medium("screen", scheme);
        let contrast = browser.value(CONTRAST);
        assert!(contrast.as_f64().is_some_and(|least| least >= 4.5), "{scheme}: {contrast}");
        browser.screenshot(&shots.join(format!("verdict-{scheme}.png")));
    }
    browser.medium("screen", "light");
    browser.size(390, 844);
    browser.wait_until(&format!("{OUTSIDE}.length === 0"));
    assert_eq!(browser.value(TOO_WIDE), 0);
    browser.screenshot(&shots.join("verdict-phone.png"));
    browser.size(1200, 900);
    browser.medium("print", "light");
    assert_eq!(browser.value(TOO_WIDE), 0);
    assert!(browser.pdf(&shots.join("verdict.pdf")).starts_with(b"%PDF"));
    // The study's own report is one step away, for the keyboard, too.
    browser.medium("screen", "light");
    tab_to(&mut browser, "one.tagName === 'A' && one.getAttribute('href') === 'report.html'");
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

/// The least contrast of a text with its ground, by the formula of WCAG 2.
const CONTRAST: &str = r"(() => {
  const part = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const numbers = (text) => text.match(/[\d.]+/g).map(Number);
  const ground = light(numbers(getComputedStyle(document.body).backgroundColor));
  const texts = [...document.querySelectorAll('main *')].filter((one) => one.offsetParent !== null &&
    [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== ''));
  const ratio = (one) => {
    const text = light(numbers(getComputedStyle(one).color));
    return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
  };
  return Math.min(...texts.map(ratio));
})()";

/// What has the focus: its element, and its text or the chart it is of.
const FOCUS: &str = "(() => { const one = document.activeElement; return `${one.tagName} ${one.type ?? ''} \
     ${one.className}`; })()";

/// Presses Tab until something has the focus that an expression of `one` is true for.
#[track_caller]
fn tab_to(browser: &mut Browser, wanted: &str) {
    for _ in 0..200 {
        browser.press("Tab");
        if browser.value(&format!("((one) => Boolean({wanted}))(document.activeElement)")) == true {
            let seen = "(() => { const style = getComputedStyle(document.activeElement); \
                        return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0; })()";
            assert_eq!(browser.value(seen), true, "it cannot be seen that {wanted} has the focus");
            return;
        }
    }
    panic!("Tab does not reach {wanted}; at the end it is at {}", browser.value(FOCUS));
}

#[test]
fn the_page_is_used_by_the_keyboard() {
    let Some(mut browser) = Browser::start() else { return };
    let place = study();
    place.good(&["report", "s", "--html", "page.html"]);
    browser.size(1200, 900);
    browser.open_file(&place.at("page.html"));

    // A chart: arrows read its values, Space takes a curve away.
    tab_to(&mut browser, "one.classList.contains('live')");
    browser.press("ArrowRight");
    let read = "document.activeElement.parentElement.querySelector('.readout').textContent";
    browser.wait_until(&format!("{read}.startsWith('labelled samples 20: ')"));
    tab_to(&mut browser, "one.type === 'checkbox'");
    browser.press(" ");
    assert_eq!(browser.value("document.activeElement.checked"), false);
    browser.press(" ");
    assert_eq!(browser.value("document.activeElement.checked"), true);

    // A table: Enter sorts by its column, and again the other way round.
    let sorted = "one.tagName === 'BUTTON' && one.closest('th') && one.textContent.startsWith('area, points')";
    tab_to(&mut browser, sorted);
    let order = "[...document.activeElement.closest('table').tBodies[0].rows].map((row) => \
                 Number(row.children[1].dataset.value))";
    for (way, sign) in [("ascending", 1.0), ("descending", -1.0)] {
        browser.press("Enter");
        assert_eq!(browser.value("document.activeElement.closest('th').ariaSort"), way);
        let order: Vec<f64> = serde_json::from_value(browser.value(order)).unwrap();
        assert!(order.len() == 2 && order.windows(2).all(|pair| sign * pair[0] <= sign * pair[1]), "{order:?}");
    }

    // What is folded opens.
    tab_to(&mut browser, "one.tagName === 'SUMMARY'");
    browser.press("Enter");
    assert_eq!(browser.value("document.activeElement.parentElement.open"), true);
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn a_live_page_keeps_what_the_reader_did() {
    let Some(mut browser) = Browser::start() else { return };
    let place = study();
    for cell in ["random/seed-0", "random/seed-1", "margin/seed-0", "margin/seed-1"] {
        copy(&place.run_of("s", cell), &place.at("seen").join(cell));
    }
    let server = Serving::start(&place, &["report", "seen", "--live"]);
    browser.size(1000, 700);
    browser.open(&server.address);
    browser.wait_until("document.getElementById('connection').textContent.startsWith('Live')");
    browser.value(
        "document.querySelectorAll('[data-chart]')[1].querySelectorAll('input')[0].click(); \
         document.querySelector('th button').click(); \
         document.querySelector('[data-key^=queried]').open = true; \
         document.querySelector('[data-key^=queried]').scrollIntoView(); \
         document.querySelectorAll('select')[1].value = 'none'; \
         document.querySelectorAll('select')[1].dispatchEvent(new Event('change'));",
    );
    let top = "Math.round(document.querySelector('[data-key^=queried]').getBoundingClientRect().top) + 0";
    let before = browser.value(top);
    let digest = browser.value("document.getElementById('report').dataset.digest");

    // Another strategy is there all at once, as a run folder appears.
    copy(&place.run_of("s", "k-center/seed-0"), &place.at("new"));
    fs::create_dir_all(place.at("seen/k-center")).unwrap();
    fs::rename(place.at("new"), place.at("seen/k-center/seed-0")).unwrap();
    browser.wait_until(&format!("document.getElementById('report').dataset.digest !== {digest}"));
    browser.wait_until("[...document.querySelectorAll('tbody th')].some((one) => one.textContent === 'k-center')");
    let state = browser.value(
        "[document.querySelectorAll('[data-chart]')[1].querySelectorAll('input')[0].checked, \
          document.querySelectorAll('[data-chart]')[1].querySelectorAll('input')[2].checked, \
          document.querySelector('th').ariaSort, document.querySelector('[data-key^=queried]').open, \
          document.querySelectorAll('select')[1].value]",
    );
    assert_eq!(state, serde_json::json!([false, true, "ascending", true, "none"]));
    let after = browser.value(top);
    let moved = after.as_f64().unwrap() - before.as_f64().unwrap();
    assert!(moved.abs() <= 2.0, "what was read moved by {moved} pixels");
    browser.screenshot(&screenshots().join("live.png"));

    // The page outlives its server, and says that it does.
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
    drop(server);
    browser.wait_until("document.getElementById('connection').textContent.startsWith('The server cannot be reached')");
}
