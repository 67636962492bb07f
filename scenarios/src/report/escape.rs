//! Text in markup, of XML and of HTML, and on terminals: whatever a peer has sent stays text.

use std::borrow::Cow;

/// The text with what would be markup written as references, inside and outside of quotes alike,
/// and with U+FFFD for the characters that XML 1.0 has no place for (§2.2).
#[must_use]
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // As it is, a reader of XML would take it for a line end, and the CR of CR LF away.
            '\r' => out.push_str("&#13;"),
            '\t' | '\n' => out.push(letter),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(letter),
        }
    }
    out
}

/// The text without what a terminal, or whoever reads lines, would obey: each control character
/// is U+FFFD.
#[must_use]
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.replace(char::is_control, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The text as the value of an attribute: line ends and tabs, which a reader would make blanks of,
/// are references too.
#[must_use]
pub(super) fn attribute(text: &str) -> String {
    escape(text).replace('\n', "&#10;").replace('\t', "&#9;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_hostile_text_is_an_order() {
        assert_eq!(
            plain("a\x1b[2J\n::error::x\u{9b}31m"),
            "a\u{fffd}[2J\u{fffd}::error::x\u{fffd}31m"
        );
        assert_eq!(plain("häßlich"), "häßlich");
    }

    #[test]
    fn nothing_of_a_hostile_text_is_markup_and_all_of_it_reads_back() {
        let hostile = "]]></script><b a='1' b=\"2\">&amp;\r\n\t\u{1b}[31m\u{0}\u{ffff}é";
        let xml = format!("<a b=\"{}\">{}</a>", attribute(hostile), escape(hostile));
        let document = roxmltree::Document::parse(&xml).expect("well-formed");
        let root = document.root_element();
        let expected = hostile.replace(['\u{1b}', '\u{0}', '\u{ffff}'], "\u{fffd}");
        assert_eq!(root.attribute("b"), Some(&*expected));
        assert_eq!(root.text(), Some(&*expected));
        assert_eq!(root.children().filter(roxmltree::Node::is_element).count(), 0);
    }
}
