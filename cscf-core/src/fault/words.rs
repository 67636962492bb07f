//! The words of a rule with their places; commas, and headers in braces.

use super::rule::Mistake;
use crate::sip::Method;
use crate::time::Duration;
use crate::words::{duration, nearest};

/// The Diameter messages of Cx and of the base protocol, by their short names.
pub const COMMANDS: [&str; 18] = [
    "CEA", "CER", "DPA", "DPR", "DWA", "DWR", "LIA", "LIR", "MAA", "MAR", "PPA", "PPR", "RTA",
    "RTR", "SAA", "SAR", "UAA", "UAR",
];

/// The methods of SIP (RFC 3261, 3262, 3311, 3428, 3515, 3903, 6086, 6665).
pub const METHODS: [&str; 14] = Method::NAMES;

/// A word with its place in the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) at: usize,
    pub(super) len: usize,
    /// It stood in quotation marks: it is a value, no word of the grammar.
    pub(super) quoted: bool,
}

impl Word {
    /// Whether it is this word of the grammar.
    pub(super) fn is(&self, word: &str) -> bool {
        !self.quoted && self.text == word
    }

    /// A mistake at this word.
    pub(super) fn wrong(&self, text: impl Into<String>, help: Option<String>) -> Mistake {
        Mistake { at: self.at, len: self.len, text: text.into(), help }
    }
}

/// Cuts a sentence into words. `"…"` is one word and may hold `\"`, `\\`, `\r`, `\n`; so is `/…/`;
/// a comma behind a word is one of its own.
pub(super) fn words(sentence: &str) -> Result<Vec<Word>, Mistake> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(rest) = sentence.get(at..).filter(|rest| !rest.is_empty()) {
        let skipped = rest.len() - rest.trim_start().len();
        if skipped > 0 {
            at += skipped;
            continue;
        }
        let (text, len, quoted) = if rest.starts_with('"') {
            let (text, len) = quoted_text(rest).ok_or_else(|| Mistake {
                at,
                len: rest.len(),
                text: "a quotation mark is not closed".to_owned(),
                help: None,
            })?;
            (text, len, true)
        } else if rest.starts_with(',') {
            (",".to_owned(), 1, false)
        } else if let Some(len) = pattern(rest) {
            (rest.get(..len).unwrap_or_default().to_owned(), len, false)
        } else {
            let len = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let word = rest.get(..len).unwrap_or_default();
            let bare = word.strip_suffix(',').unwrap_or(word);
            (bare.to_owned(), bare.len(), false)
        };
        out.push(Word { text, at, len, quoted });
        at += len;
    }
    Ok(out)
}

/// A text in quotation marks with its length in the source.
pub(super) fn quoted_text(rest: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((out, at + 1)),
            '\\' => out.push(match letters.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            }),
            other => out.push(other),
        }
    }
    None
}

/// A text in the form that [`quoted_text`] reads.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' | '\\' => out.extend(['\\', letter]),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// The length of a regular expression between slashes at the beginning of a text.
fn pattern(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('/')?;
    let ends = |(at, _): &(usize, &str)| {
        let next = inside.get(at + 1..).unwrap_or_default().chars().next();
        next.is_none_or(|next| next.is_whitespace() || next == ',')
    };
    inside.match_indices('/').find(ends).map(|(at, _)| at + 2)
}

/// Names and values.
pub(super) type Headers = Vec<(String, String)>;

/// Splits `SENTENCE: {Header: value, body: "…"}` into the sentence and what stands in the braces.
pub(super) fn split_headers(text: &str) -> Result<(&str, Headers), Mistake> {
    let Some(open) = brace(text) else { return Ok((text.trim_end(), Vec::new())) };
    let (before, braces) = text.split_at(open);
    let wrong = |text: &str| Mistake {
        at: open,
        len: braces.len(),
        text: text.to_owned(),
        help: Some("write e.g. `: {Retry-After: 30, body: \"text\"}`".to_owned()),
    };
    let sentence = before
        .trim_end()
        .strip_suffix(':')
        .ok_or_else(|| wrong("a colon stands between the sentence and its headers"))?;
    let inside = braces.trim_end().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let mut rest = inside.ok_or_else(|| wrong("the braces are not closed"))?.trim();
    let mut out = Vec::new();
    while !rest.is_empty() {
        let (name, tail) = rest.split_once(':').ok_or_else(|| wrong("a header needs a value"))?;
        let tail = tail.trim_start();
        let (value, tail) = match tail.starts_with('"') {
            true => {
                let (value, len) =
                    quoted_text(tail).ok_or_else(|| wrong("a quotation mark is not closed"))?;
                (value, tail.get(len..).unwrap_or_default().trim_start())
            }
            false => {
                let end = tail.find(',').unwrap_or(tail.len());
                let (value, tail) = tail.split_at(end);
                (value.trim_end().to_owned(), tail)
            }
        };
        let name = name.trim().trim_matches('"').to_owned();
        out.push((name, value));
        rest = match tail.strip_prefix(',') {
            Some(tail) => tail.trim_start(),
            None if tail.is_empty() => "",
            None => return Err(wrong("a comma stands between two headers")),
        };
    }
    Ok((sentence.trim_end(), out))
}

/// Where the braces with headers begin: the first brace that is in no quotation marks.
fn brace(text: &str) -> Option<usize> {
    let (mut inside, mut escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            '{' if !inside
                && text.get(..at).is_some_and(|before| before.trim_end().ends_with(':')) =>
            {
                return Some(at);
            }
            _ => {}
        }
    }
    None
}

/// Walks over the words of one part of the sentence.
pub(super) struct Cursor<'a> {
    words: &'a [Word],
    pub(super) next: usize,
    end: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(words: &'a [Word], sentence: &str) -> Self {
        let end = words.last().map_or(sentence.len(), |last| last.at + last.len);
        Self { words, next: 0, end }
    }

    pub(super) fn peek(&self) -> Option<&'a Word> {
        self.words.get(self.next)
    }

    /// The next word, which must be there.
    pub(super) fn take(&mut self, what: &str) -> Result<&'a Word, Mistake> {
        let Some(word) = self.peek() else {
            let at = self.end.saturating_sub(1);
            return Err(Mistake { at, len: 1, text: format!("here must be {what}"), help: None });
        };
        self.next += 1;
        Ok(word)
    }

    /// Steps over this word if it comes next.
    pub(super) fn skip(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|next| next.is(word));
        self.next += usize::from(found);
        found
    }

    /// Steps over these words, which must come next.
    pub(super) fn must(&mut self, wanted: &[&str]) -> Result<(), Mistake> {
        for word in wanted {
            let next = self.take(&format!("`{word}`"))?;
            if !next.is(word) {
                return Err(next.wrong(format!("`{}` is not understood here", next.text), {
                    Some(format!("here must be `{}`", wanted.join(" ")))
                }));
            }
        }
        Ok(())
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Mistake> {
        match self.peek() {
            None => Ok(()),
            Some(word) => {
                let known = ["for", "from", "to", "of", "with", "by", "twice", "after", "first"];
                let help = nearest(&word.text, known).map(|near| format!("did you mean `{near}`?"));
                Err(word.wrong(format!("`{}` is not understood here", word.text), help))
            }
        }
    }

    pub(super) fn time(&mut self) -> Result<Duration, Mistake> {
        let word = self.take("a time, e.g. 500ms or 2s")?;
        duration(&word.text).map_err(|fault| word.wrong(fault, None))
    }
}
