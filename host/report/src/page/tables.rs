//! Tables on the page.

use maud::{Markup, html};

use crate::sheet::{Cell, Sheet};

pub(super) fn heading(title: &str) -> Markup {
    html! { h2 { (title) } }
}

/// A table with its heading and note.
pub(super) fn sheet(sheet: &Sheet) -> Markup {
    html! { (heading(&sheet.title)) (body(sheet)) }
}

/// A table that can be sorted by each column, and its note.
pub(super) fn body(sheet: &Sheet) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(sheet.title) {
            table.sortable {
                thead { tr { @for column in &sheet.columns { th scope="col" { (column) } } } }
                tbody {
                    @for row in &sheet.rows {
                        tr {
                            @for (at, cell) in row.iter().enumerate() {
                                @if at == 0 { th scope="row" { (cell.text) } } @else { (number(cell)) }
                            }
                        }
                    }
                }
            }
        }
        p.note { (sheet.note) }
    }
}

fn number(cell: &Cell) -> Markup {
    html! { td.best[cell.strong] data-value=[cell.value] { (cell.text) } }
}

/// Rows by columns of the same names; colour says again what the numbers say.
pub(super) fn square(title: &str, rows: &[(String, Vec<Cell>)], width: usize, note: &str) -> Markup {
    let most = rows.iter().flat_map(|(_, cells)| cells).filter_map(|cell| cell.value).map(f64::abs).fold(0.0, f64::max);
    let tint = |cell: &Cell| {
        let share = cell.value.filter(|_| most > 0.0)? / most;
        let hue = if share < 0.0 { "--below" } else { "--above" };
        Some(format!("background: color-mix(in srgb, var({hue}) {:.0}%, transparent)", share.abs() * 45.0))
    };
    html! {
        (heading(title))
        div.scroll tabindex="0" role="region" aria-label=(title) {
            table.square {
                thead { tr { th {} @for (name, _) in rows.iter().take(width) { th scope="col" { span { (name) } } } } }
                tbody {
                    @for (name, cells) in rows {
                        tr {
                            th scope="row" { (name) }
                            @for cell in cells { td.best[cell.strong] style=[tint(cell)] { (cell.text) } }
                        }
                    }
                }
            }
        }
        p.note { (note) }
    }
}
