//! Charts as SVG files, which many programs read that know no variables of CSS.

use maud::Markup;

/// Rules of the page's style sheet that charts are drawn by.
const RULES: [&str; 9] = [".grid ", ".zero ", ".tick ", ".axis ", ".name ", ".leader ", ".curve ", ".dot ", ".band "];
/// Hues of the style sheet.
const HUES: usize = 8;

/// A chart as a file, in the light colours of the page, on its ground.
pub(super) fn file(svg: &Markup, style: &str) -> String {
    let named = svg.0.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" ", 1);
    let ground = colours(style).find_map(|(name, value)| (name == "--ground").then_some(value)).unwrap_or("#fff");
    let begin =
        format!("><style>{}</style><rect width=\"100%\" height=\"100%\" fill=\"{ground}\"/>", plain_rules(style));
    named.replacen('>', &begin, 1)
}

/// The variables of the light page: `--ink` and `#1c1f23`.
fn colours(style: &str) -> impl Iterator<Item = (&str, &str)> {
    let block = style.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(block, _)| block);
    block.split(';').filter_map(|entry| entry.trim().split_once(": ")).filter(|(name, _)| name.starts_with("--"))
}

/// The rules of charts with every variable replaced by its value, once for each hue where they depend on it.
fn plain_rules(style: &str) -> String {
    let filled = |rule: &str| {
        colours(style).fold(rule.to_owned(), |rule, (name, value)| rule.replace(&format!("var({name})"), value))
    };
    let mut rules = Vec::new();
    for rule in style.lines().filter(|line| RULES.iter().any(|start| line.starts_with(start))) {
        match rule.split_once(' ').filter(|_| rule.contains("var(--h)")) {
            None => rules.push(filled(rule)),
            Some((class, body)) => rules.extend((0..HUES).map(|hue| {
                let body = body.replace("var(--h)", &format!("var(--h{hue})"));
                filled(&format!(".hue{hue} {class}, .hue{hue}{class} {body}"))
            })),
        }
    }
    rules.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_variable_is_left() {
        let rules = plain_rules(super::super::STYLE);
        assert!(!rules.contains("var("), "{rules}");
        assert!(rules.contains(".hue1 .curve, .hue1.curve { fill: none; stroke: #0072b2;"), "{rules}");
        assert!(rules.contains(".grid { stroke: #dfe3e8;"), "{rules}");
        assert_eq!(colours(super::super::STYLE).filter(|(name, _)| name.starts_with("--h")).count(), HUES);
    }
}
