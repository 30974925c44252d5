//! The Markdown of our own documents as HTML: headings with ids, paragraphs, lists, tables, code, links, bold. A
//! document is part of the build, so this reads no foreign text; everything is escaped all the same.

use std::fmt::Write as _;

/// Where links to other documents lead: they are not part of this page, so their words are shown without a link.
const OWN: char = '#';

// Writing to a String cannot fail, so those results are not looked at.

/// The document.
pub(crate) fn html(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (mut at, mut html) = (0, String::new());
    while at < lines.len() {
        let line = lines[at];
        let block = match () {
            () if line.trim().is_empty() => 1,
            () if line.starts_with('#') => heading(line, &mut html),
            () if line.starts_with("```") => fenced(&lines[at..], &mut html),
            () if line.starts_with("    ") => indented(&lines[at..], &mut html),
            () if line.starts_with('|') => table(&lines[at..], &mut html),
            () if item(line).is_some() => list(&lines[at..], &mut html),
            () => paragraph(&lines[at..], &mut html),
        };
        at += block.max(1);
    }
    html
}

/// The id of a heading, as the common renderers make it.
pub(crate) fn slug(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn heading(line: &str, html: &mut String) -> usize {
    let level = line.chars().take_while(|&letter| letter == '#').count().min(6);
    let words = line.trim_start_matches('#').trim();
    _ = write!(html, "<h{level} id=\"{}\">{}</h{level}>", slug(words), inline(words));
    1
}

fn fenced(lines: &[&str], html: &mut String) -> usize {
    let inside = lines[1..].iter().take_while(|line| !line.starts_with("```")).count();
    _ = write!(html, "<pre>{}</pre>", escaped(&lines[1..=inside].join("\n")));
    inside + 2
}

fn indented(lines: &[&str], html: &mut String) -> usize {
    let is_code = |line: &&&str| line.starts_with("    ") || line.trim().is_empty();
    let count = lines.iter().take_while(is_code).count();
    let code: Vec<&str> = lines[..count].iter().map(|line| line.get(4..).unwrap_or_default()).collect();
    _ = write!(html, "<pre>{}</pre>", escaped(code.join("\n").trim_end()));
    count
}

fn cells(line: &str) -> Vec<String> {
    let inside = line.trim().trim_start_matches('|').trim_end_matches('|');
    // A line between two cells may be part of code: `a\|b`.
    inside.replace("\\|", "\u{0}").split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

fn table(lines: &[&str], html: &mut String) -> usize {
    let count = lines.iter().take_while(|line| line.starts_with('|')).count();
    let row = |kind: &str, line: &str| {
        let cell = |cell: String| format!("<{kind}>{}</{kind}>", inline(&cell));
        format!("<tr>{}</tr>", cells(line).into_iter().map(cell).collect::<String>())
    };
    html.push_str("<div class=\"scroll\" tabindex=\"0\"><table><thead>");
    html.push_str(&row("th", lines[0]));
    html.push_str("</thead><tbody>");
    for line in &lines[2.min(count)..count] {
        html.push_str(&row("td", line));
    }
    html.push_str("</tbody></table></div>");
    count
}

/// The words of a list's item, and whether the list is numbered.
fn item(line: &str) -> Option<(&str, bool)> {
    if let Some(words) = line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
        return Some((words, false));
    }
    let (number, words) = line.split_once(". ")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some((words, true))
}

fn list(lines: &[&str], html: &mut String) -> usize {
    let is_numbered = item(lines[0]).is_some_and(|(_, is_numbered)| is_numbered);
    let (mut items, mut count): (Vec<String>, usize) = (Vec::new(), 0);
    for line in lines {
        match (item(line), items.last_mut()) {
            (Some((words, _)), _) => items.push(words.to_owned()),
            (None, Some(last)) if line.starts_with("  ") && !line.trim().is_empty() => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => break,
        }
        count += 1;
    }
    let kind = if is_numbered { "ol" } else { "ul" };
    _ = write!(html, "<{kind}>");
    for words in &items {
        _ = write!(html, "<li>{}</li>", inline(words));
    }
    _ = write!(html, "</{kind}>");
    count
}

fn paragraph(lines: &[&str], html: &mut String) -> usize {
    let goes_on = |line: &&&str| !line.trim().is_empty() && !line.starts_with("```") && !line.starts_with('#');
    let count = lines.iter().take_while(goes_on).count();
    _ = write!(html, "<p>{}</p>", inline(&lines[..count].join(" ")));
    count
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Code, bold and links of a line.
fn inline(text: &str) -> String {
    let (mut html, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['`', '*', '[']) {
        html.push_str(&escaped(&rest[..at]));
        rest = &rest[at..];
        let (taken, piece) =
            code(rest).or_else(|| bold(rest)).or_else(|| link(rest)).unwrap_or_else(|| (1, escaped(&rest[..1])));
        html.push_str(&piece);
        rest = &rest[taken..];
    }
    html + &escaped(rest)
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    text.strip_prefix(open)?.split_once(close).map(|(inside, _)| inside).filter(|inside| !inside.is_empty())
}

fn code(text: &str) -> Option<(usize, String)> {
    let inside = between(text, "`", "`")?;
    Some((inside.len() + 2, format!("<code>{}</code>", escaped(inside))))
}

fn bold(text: &str) -> Option<(usize, String)> {
    let inside = between(text, "**", "**")?;
    Some((inside.len() + 4, format!("<b>{}</b>", inline(inside))))
}

fn link(text: &str) -> Option<(usize, String)> {
    let words = between(text, "[", "](")?;
    let target = between(&text[words.len() + 1..], "](", ")")?;
    let taken = words.len() + target.len() + 4;
    let words = inline(words);
    Some((taken, if target.starts_with(OWN) { format!("<a href=\"{}\">{words}</a>", escaped(target)) } else { words }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_become_what_they_are() {
        for (text, expected) in [
            ("## A `b` C", "<h2 id=\"a-b-c\">A <code>b</code> C</h2>"),
            ("a\nb\n\nc", "<p>a b</p><p>c</p>"),
            ("    x <y>\n\n    z", "<pre>x &lt;y&gt;\n\nz</pre>"),
            ("```sh\na\n```\nb", "<pre>a</pre><p>b</p>"),
            ("- a\n  b\n- c", "<ul><li>a b</li><li>c</li></ul>"),
            ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
            (
                "| a | b |\n|---|---|\n| 1 | `x\\|y` |",
                concat!(
                    "<div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody>",
                    "<tr><td>1</td><td><code>x|y</code></td></tr></tbody></table></div>"
                ),
            ),
        ] {
            assert_eq!(html(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_have_code_bold_and_links_of_their_own_page() {
        assert_eq!(inline("**a `b`** & [c](#d) [e](f.md)"), "<b>a <code>b</code></b> &amp; <a href=\"#d\">c</a> e");
        assert_eq!(inline("a * b ` [c"), "a * b ` [c");
    }

    proptest! {
        #[test]
        fn any_text_ends_and_brings_no_tag_of_its_own(text in "[-a<>&#|`*\\[\\]()\"0-9. \n]{0,200}") {
            let html = html(&text);
            prop_assert!(!html.contains("<a>") && !html.contains("<script"));
        }
    }
}
