//! The ordered list of header fields: each a span of the received bytes or of an edit of our own.
//! Fields nobody changed are written as they were received.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;

use super::field::{Field, Text, split_values};
use super::line::{Line, NOT_RECEIVED, Place, RawBox};
use super::name::HeaderName;
use super::spare;

/// The header fields of a message, in order: an index into the bytes that were received, and into
/// one buffer with the lines of our own. So neither a line read nor a line written has memory of
/// its own.
#[derive(Clone, Default)]
pub struct Headers {
    /// The head of the message as received, looked at once as a whole: after that a value is text
    /// without another look. Empty if it is not UTF-8.
    wire: ByteString,
    /// Lines of our own, those too that were replaced since.
    own: String,
    raw: RawBox,
    lines: Vec<Line>,
}

impl Drop for Headers {
    fn drop(&mut self) {
        if self.lines.capacity() > 0 {
            spare::give(std::mem::take(&mut self.own), std::mem::take(&mut self.lines));
        }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.iter().map(|field| String::from_utf8_lossy(field.line()));
        f.debug_list().entries(lines).finish()
    }
}

impl Headers {
    /// No fields yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { wire: ByteString::new(), own: String::new(), raw: None, lines: Vec::new() }
    }

    /// No fields yet, of a message whose head is told when all lines are in
    /// ([`Headers::set_wire`]).
    pub(super) fn received() -> Self {
        let (own, lines) = spare::take();
        Self { wire: ByteString::new(), own, raw: None, lines }
    }

    /// Takes out what was appended.
    pub(super) fn forget_lines(&mut self) {
        self.lines.clear();
    }

    /// Says what the lines were read from; offsets count from its beginning.
    pub(super) fn set_wire(&mut self, head: Bytes) {
        match ByteString::try_from(head.clone()) {
            Ok(text) => self.wire = text,
            Err(_) => self.raw.get_or_insert_with(Box::default).wire = head,
        }
    }

    /// A view of the head as received, without another look whether it is text; none if the head
    /// is not, or does not reach there.
    pub(super) fn shared(&self, place: Range<usize>) -> Option<ByteString> {
        let text = self.wire.get(place)?;
        Some(self.wire.slice_ref(text))
    }

    /// Sees to it that there is room for lines.
    fn prepare(&mut self) {
        if self.lines.capacity() == 0 {
            (self.own, self.lines) = spare::take();
        }
    }

    /// Appends the line `text`, which stands at `start` of the message, with its CRLF; `colon` is
    /// the offset of the colon in it.
    #[inline]
    pub(super) fn push_wire(&mut self, text: &[u8], name: HeaderName, colon: usize, start: usize) {
        self.lines.push(Line::new(text, name, colon, start));
    }

    /// Appends a line that is not as it was received at `offset`.
    pub(super) fn push_mended(
        &mut self,
        line: &[u8],
        name: HeaderName,
        colon: usize,
        offset: usize,
    ) {
        let loose = &mut self.raw.get_or_insert_with(Box::default).loose;
        let start = loose.len();
        loose.extend_from_slice(line);
        let offset = u32::try_from(offset).unwrap_or(NOT_RECEIVED);
        let line = Line::new(line, name, colon, start);
        self.lines.push(Line { place: Place::Loose, offset, ..line });
    }

    /// A line of our own; CR and LF in the value become spaces, so that no value can add a header.
    /// The value comes in pieces.
    fn built(&mut self, known: HeaderName, name: &str, value: &[&str]) -> Line {
        let start = self.own.len();
        self.own.push_str(name);
        self.own.push_str(": ");
        let value_at = self.own.len();
        for piece in value {
            self.own.push_str(piece);
        }
        let written = self.own.get(value_at..).unwrap_or_default();
        if memchr::memchr2(b'\r', b'\n', written.as_bytes()).is_some() {
            let one_line = written.replace(['\r', '\n'], " ");
            self.own.truncate(value_at);
            self.own.push_str(&one_line);
        }
        self.own.push_str("\r\n");
        let text = self.own.as_bytes().get(start..).unwrap_or_default();
        let line = Line::new(text, known, name.len(), start);
        Line { place: Place::Own, offset: NOT_RECEIVED, ..line }
    }

    fn insert(&mut self, at: usize, known: HeaderName, name: &str, value: &[&str]) {
        self.prepare();
        let line = self.built(known, name, value);
        self.lines.insert(at, line);
    }

    fn replace(&mut self, at: usize, value: &[&str]) {
        let Some(name) = self.lines.get(at).map(|line| line.name) else { return };
        let line = self.built(name, name.as_str(), value);
        if let Some(place) = self.lines.get_mut(at) {
            *place = line;
        }
    }

    fn text_of(&self, line: &Line) -> Text<'_> {
        let start = line.start as usize;
        let place = start..start + line.len as usize;
        let text: &str = match (line.place, &self.raw) {
            (Place::Own, _) => &self.own,
            (Place::Wire, Some(raw)) if !raw.wire.is_empty() => {
                return Text::Bytes(raw.wire.get(place).unwrap_or_default());
            }
            (Place::Wire, _) => &self.wire,
            (Place::Loose, raw) => {
                let loose = raw.as_ref().and_then(|raw| raw.loose.get(place));
                return Text::Bytes(loose.unwrap_or_default());
            }
        };
        Text::Str(text.get(place).unwrap_or_default())
    }

    fn view(&self, line: &Line) -> Field<'_> {
        let text = self.text_of(line);
        Field {
            name: line.name,
            line: text,
            colon: usize::from(line.colon),
            value: usize::from(line.value),
            value_end: (line.len as usize).saturating_sub(usize::from(line.tail)),
            offset: (line.offset != NOT_RECEIVED).then_some(line.offset as usize),
        }
    }

    /// [`Field::value`] of a line of which nothing else is wanted.
    #[inline]
    fn value_of(&self, line: &Line) -> &str {
        let text: &str = match (line.place, &self.raw) {
            (Place::Own, _) => &self.own,
            (Place::Wire, None) => &self.wire,
            (Place::Wire | Place::Loose, _) => return self.view(line).value(),
        };
        let start = line.start as usize;
        let value = start + usize::from(line.value);
        let end = (start + line.len as usize).saturating_sub(usize::from(line.tail));
        text.get(value..end).unwrap_or_default()
    }

    fn field_at(&self, at: usize) -> Option<Field<'_>> {
        self.lines.get(at).map(|line| self.view(line))
    }

    /// All fields in order.
    #[must_use]
    pub fn iter(&self) -> Fields<'_> {
        Fields { headers: self, rest: self.lines.iter() }
    }

    /// The number of lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All lines with this name.
    pub fn fields(&self, name: HeaderName) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().filter(move |line| line.name == name).map(|line| self.view(line))
    }

    /// All lines with one of the names for which `wanted` says so.
    pub(super) fn fields_with(
        &self,
        wanted: impl Fn(HeaderName) -> bool,
    ) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().filter(move |line| wanted(line.name)).map(|line| self.view(line))
    }

    /// All lines with this name, known or not, without regard to case.
    pub fn fields_named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Field<'a>> {
        let known = HeaderName::from_bytes(name.as_bytes());
        self.fields(known).filter(move |field| {
            known != HeaderName::Unknown || field.name_text().eq_ignore_ascii_case(name)
        })
    }

    /// The whole value of the first line with this name.
    #[must_use]
    pub fn get(&self, name: HeaderName) -> Option<&str> {
        self.lines.iter().find(|line| line.name == name).map(|line| self.value_of(line))
    }

    /// Whether a line with this name is there.
    #[must_use]
    pub fn contains(&self, name: HeaderName) -> bool {
        self.position(name).is_some()
    }

    /// Which of these names (32 at most) have a line: a bit for each.
    pub(crate) fn which(&self, names: &[HeaderName]) -> u32 {
        let bits = |line: &Line| {
            names.iter().position(|name| *name == line.name).map_or(0, |at| 1_u32 << at)
        };
        self.lines.iter().map(bits).fold(0, std::ops::BitOr::bitor)
    }

    /// All values with this name over all lines, comma lists split.
    pub fn values(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.fields(name).flat_map(|field| field.values())
    }

    /// The topmost value with this name, e.g. the top Via.
    #[must_use]
    pub fn first_value(&self, name: HeaderName) -> Option<&str> {
        let list = name.is_list();
        self.lines
            .iter()
            .filter(|line| line.name == name)
            .find_map(|line| split_values(self.value_of(line), list).next())
    }

    /// Whether a comma list (Require, Supported, Allow …) holds this token, without regard to case.
    #[must_use]
    pub fn has_token(&self, name: HeaderName, token: &str) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(token))
    }

    /// Puts a line before the first one of its name, else before all others.
    pub fn push_front(&mut self, name: HeaderName, value: &str) {
        self.push_front_pieces(name, &[value]);
    }

    /// The same of a value in pieces.
    pub fn push_front_pieces(&mut self, name: HeaderName, value: &[&str]) {
        let at = self.position(name).unwrap_or(0);
        self.insert(at, name, name.as_str(), value);
    }

    /// Puts a line behind the last one of its name, else at the end.
    pub fn push(&mut self, name: HeaderName, value: &str) {
        let at = self.lines.iter().rposition(|line| line.name == name);
        let at = at.map_or(self.lines.len(), |at| at + 1);
        self.insert(at, name, name.as_str(), &[value]);
    }

    /// Appends a line under any name (for headers this list does not know).
    pub fn push_named(&mut self, name: &str, value: &str) {
        let known = HeaderName::from_bytes(name.as_bytes().trim_ascii_end());
        self.insert(self.lines.len(), known, name, &[value]);
    }

    /// Gives the header this one value: replaces the first line, removes the others, or appends.
    /// A first line that has this value already is left as it is.
    pub fn set(&mut self, name: HeaderName, value: &str) {
        let Some(at) = self.position(name) else { return self.push(name, value) };
        if self.next_of(name, at + 1).is_some() {
            let mut seen = false;
            self.lines.retain(|line| line.name != name || !std::mem::replace(&mut seen, true));
        }
        if self.field_at(at).is_some_and(|field| field.value() != value) {
            self.replace(at, &[value]);
        }
    }

    /// Removes all lines with this name; says how many there were.
    pub fn remove(&mut self, name: HeaderName) -> usize {
        let before = self.lines.len();
        self.lines.retain(|line| line.name != name);
        before - self.lines.len()
    }

    /// Removes all lines with one of these names, in one pass.
    pub fn remove_all(&mut self, names: &[HeaderName]) {
        self.lines.retain(|line| !names.contains(&line.name));
    }

    /// Removes all lines with this name, known or not.
    pub fn remove_named(&mut self, name: &str) -> usize {
        let known = HeaderName::from_bytes(name.as_bytes());
        if known != HeaderName::Unknown {
            return self.remove(known);
        }
        let mut gone = 0;
        let mut at = 0;
        while let Some(next) = self.next_of(HeaderName::Unknown, at) {
            at = next;
            let Some(field) = self.field_at(at) else { break };
            if field.name_text().eq_ignore_ascii_case(name) {
                self.lines.remove(at);
                gone += 1;
            } else {
                at += 1;
            }
        }
        gone
    }

    /// Takes the topmost value away (own Via of a response, own Route of a request).
    pub fn drop_front_value(&mut self, name: HeaderName) {
        while let Some(at) = self.position(name) {
            let Some(field) = self.field_at(at) else { return };
            let mut values = field.values();
            let found = values.next().is_some();
            match joined(values) {
                Some(rest) => self.replace(at, &[&rest]),
                None => drop(self.lines.remove(at)),
            }
            // A line without any value is malformed but must not hide the next one.
            if found {
                return;
            }
        }
    }

    /// Replaces the topmost value (e.g. `received` into the top Via), keeping the others.
    pub fn replace_front_value(&mut self, name: HeaderName, value: &str) {
        let Some(at) = self.position(name) else { return self.push(name, value) };
        let rest = self.field_at(at).and_then(|field| joined(field.values().skip(1)));
        match rest {
            Some(rest) => self.replace(at, &[value, ", ", &rest]),
            None => self.replace(at, &[value]),
        }
    }

    /// Keeps only the values for which `keep` says so; lines of which nothing is taken stay as they
    /// are. Says how many values went.
    pub fn retain_values(&mut self, name: HeaderName, keep: impl Fn(&str) -> bool) -> usize {
        let (mut removed, mut at) = (0, 0);
        while let Some(next) = self.next_of(name, at) {
            at = next;
            let Some(field) = self.field_at(at) else { break };
            let gone = field.values().filter(|value| !keep(value)).count();
            removed += gone;
            let kept = match gone {
                0 => None,
                _ => Some(joined(field.values().filter(|value| keep(value)))),
            };
            match kept {
                None => {}
                Some(Some(text)) => self.replace(at, &[&text]),
                Some(None) => {
                    self.lines.remove(at);
                    continue;
                }
            }
            at += 1;
        }
        removed
    }

    /// Rewrites every value for which `edit` returns a new one; other lines stay as they are.
    pub fn map_values(&mut self, name: HeaderName, edit: impl Fn(&str) -> Option<String>) {
        let mut at = 0;
        while let Some(next) = self.next_of(name, at) {
            at = next;
            if let Some(text) = self.field_at(at).and_then(|field| edited(&field, &edit)) {
                self.replace(at, &[&text]);
            }
            at += 1;
        }
    }

    /// Copies all lines with this name from another message, as they are (Via, From, To, Call-ID,
    /// CSeq, Record-Route of a response: RFC 3261 §8.2.6.2).
    pub fn copy_from(&mut self, other: &Self, name: HeaderName) {
        self.prepare();
        if self.wire_bytes().is_empty() {
            self.wire = other.wire.clone();
            if let Some(raw) = other.raw.as_ref().filter(|raw| !raw.wire.is_empty()) {
                self.raw.get_or_insert_with(Box::default).wire = raw.wire.clone();
            }
        }
        let (ours, theirs) = (self.wire_bytes(), other.wire_bytes());
        let same = ours.as_ptr() == theirs.as_ptr() && ours.len() == theirs.len();
        for line in other.lines.iter().filter(|line| line.name == name) {
            let line = match line.place {
                Place::Wire if same => *line,
                _ => line.kept(&other.text_of(line), &mut self.own, &mut self.raw),
            };
            self.lines.push(line);
        }
    }

    /// The lines' bytes together.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.lines.iter().map(|line| line.len as usize).sum()
    }

    /// Writes all lines; neighbours of the received message in one piece.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let wire = self.wire_bytes();
        let mut run = 0..0;
        for line in &self.lines {
            let (start, len) = (line.start as usize, line.len as usize);
            let received = line.place == Place::Wire;
            if received && start == run.end && !run.is_empty() {
                run.end += len;
                continue;
            }
            out.extend_from_slice(wire.get(run).unwrap_or_default());
            run = 0..0;
            if received {
                run = start..start + len;
            } else {
                out.extend_from_slice(self.text_of(line).bytes());
            }
        }
        out.extend_from_slice(wire.get(run).unwrap_or_default());
    }

    /// Copies everything out of the buffer it was received in, so that keeping a few headers does
    /// not keep the datagram.
    pub fn detach(&mut self) {
        let (mut own, mut raw) = (String::with_capacity(self.wire_len()), None);
        let mut lines = std::mem::take(&mut self.lines);
        for line in &mut lines {
            *line = line.kept(&self.text_of(line), &mut own, &mut raw);
        }
        lines.shrink_to_fit();
        *self = Self { wire: ByteString::new(), own, raw, lines };
    }

    /// The head as received.
    fn wire_bytes(&self) -> &[u8] {
        match &self.raw {
            Some(raw) if !raw.wire.is_empty() => &raw.wire,
            _ => self.wire.as_bytes(),
        }
    }

    fn position(&self, name: HeaderName) -> Option<usize> {
        self.lines.iter().position(|line| line.name == name)
    }

    /// The first line with this name from `at` on.
    fn next_of(&self, name: HeaderName, at: usize) -> Option<usize> {
        let rest = self.lines.get(at..)?;
        rest.iter().position(|line| line.name == name).map(|found| at + found)
    }
}

/// Values as one line has them; `None` if there are none.
fn joined<'a>(values: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut all: Option<String> = None;
    for value in values {
        match &mut all {
            None => all = Some(value.to_owned()),
            Some(all) => {
                all.push_str(", ");
                all.push_str(value);
            }
        }
    }
    all
}

/// The values of a line with the edits; `None` if there are none.
fn edited(field: &Field<'_>, edit: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut all: Option<String> = None;
    for (at, value) in field.values().enumerate() {
        let new = edit(value);
        if new.is_none() && all.is_none() {
            continue;
        }
        let new = new.as_deref().unwrap_or(value);
        let before = all.take().or_else(|| joined(field.values().take(at)));
        all = Some(match before {
            None => new.to_owned(),
            Some(before) => before + ", " + new,
        });
    }
    all
}

/// The fields of a message in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    headers: &'a Headers,
    rest: std::slice::Iter<'a, Line>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        self.rest.next().map(|line| self.headers.view(line))
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = Field<'a>;
    type IntoIter = Fields<'a>;
    fn into_iter(self) -> Fields<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_smuggle_a_header_line() {
        let mut headers = Headers::new();
        headers.push(HeaderName::Reason, "SIP\r\nRoute: <sip:evil>");
        assert_eq!(headers.len(), 1);
        let line = headers.iter().next().expect("one").line().to_vec();
        assert_eq!(line, b"Reason: SIP  Route: <sip:evil>\r\n");
    }

    #[test]
    fn the_topmost_value_goes_and_the_rest_of_its_line_stays() {
        let mut headers = Headers::new();
        headers.push(HeaderName::Route, "<sip:a;lr>, <sip:b;lr>");
        headers.push(HeaderName::Route, "<sip:c;lr>");
        for expected in ["<sip:a;lr>", "<sip:b;lr>"] {
            assert_eq!(headers.first_value(HeaderName::Route), Some(expected));
            headers.drop_front_value(HeaderName::Route);
        }
        assert_eq!(headers.values(HeaderName::Route).collect::<Vec<_>>(), ["<sip:c;lr>"]);
    }

    #[test]
    fn set_leaves_one_line_and_does_not_touch_an_equal_one() {
        let mut headers = Headers::new();
        headers.push_mended(b"l:  0\r\n", HeaderName::ContentLength, 1, 0);
        headers.push(HeaderName::ContentLength, "5");
        headers.set(HeaderName::ContentLength, "0");
        let lines: Vec<&[u8]> = headers.iter().map(|field| field.line()).collect();
        assert_eq!(lines, [b"l:  0\r\n"]);
    }
}
