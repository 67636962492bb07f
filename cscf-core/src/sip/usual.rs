//! Values that look as nearly all do, read in one pass over their bytes: `sip:` URIs of names and
//! of IPv4, addresses with such a URI in angle brackets, Vias of SIP/2.0 without white space.
//! What looks otherwise, right or wrong, is `None` here and read by the rules; nothing is refused.

use super::name::HeaderName;
use super::plain_run::plain_run;
use super::uri_syntax::{HOST, PARAM_TEXT, USER, VALUE, roles};

/// Parameters of a usual URI or value; more are read by the rules.
const PARAMS_MAX: usize = 16;

/// A SIP URI behind its `sip:`. Written by its pieces it is the text it was read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsualUri<'a> {
    /// The user part, without password.
    pub(crate) user: Option<&'a str>,
    /// The host, a name or an IPv4 address.
    pub(crate) host: &'a str,
    /// The port, if written.
    pub(crate) port: Option<u16>,
    /// The parameters from their first `;`; empty if there are none.
    pub(crate) params: &'a str,
}

/// A URI in angle brackets and what stands behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsualAddress<'a> {
    /// What stands between the brackets.
    pub(crate) text: &'a str,
    /// The same, taken apart.
    pub(crate) uri: UsualUri<'a>,
}

/// A Via up to its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UsualVia<'a> {
    /// The transport as written.
    pub(crate) transport: &'a str,
    /// The host of sent-by.
    pub(crate) host: &'a str,
    /// The port of sent-by, if written.
    pub(crate) port: Option<u16>,
    /// From the first `;`; empty if there are no parameters.
    pub(crate) params: &'a str,
}

impl<'a> UsualUri<'a> {
    /// Reads a URI with its scheme.
    #[inline]
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        Self::behind_scheme(text.strip_prefix("sip:")?)
    }

    /// Reads what stands behind `sip:` or `sips:`.
    pub(super) fn behind_scheme(text: &'a str) -> Option<Self> {
        let mut cursor = Cursor::new(text);
        let uri = cursor.uri()?;
        cursor.is_end().then(|| uri.of(text))
    }
}

impl<'a> UsualAddress<'a> {
    /// Reads one address.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        let mut cursor = Cursor::new(text);
        let AddressSpans { text: inside, uri, .. } = cursor.address()?;
        let address = || Self { text: cut(text, inside), uri: uri.of(text) };
        cursor.is_end().then(address)
    }
}

impl<'a> UsualVia<'a> {
    /// Reads protocol and sent-by of a value; the parameters are not looked at.
    pub(crate) fn head(text: &'a str) -> Option<Self> {
        let mut cursor = Cursor::new(text);
        let SentBySpans { transport, host, port } = cursor.sent_by()?;
        if !matches!(cursor.peek(), None | Some(b';')) {
            return None;
        }
        let params = cut(text, (cursor.at, text.len()));
        Some(Self { transport: cut(text, transport), host: cut(text, host), port, params })
    }
}

/// What the rules that span several headers need of a usual value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usual<'a> {
    /// How many addresses.
    pub(super) count: usize,
    /// Whether the address has a `tag`.
    pub(super) tagged: bool,
    /// The method of CSeq.
    pub(super) method: Option<&'a str>,
}

/// What every branch of RFC 3261 begins with (§8.1.1.7).
pub(super) const MAGIC: &str = "z9hG4bK";

/// Whether a header value that every element checks looks as nearly all of its name do: then it is
/// right.
pub(super) fn value(name: HeaderName, text: &str) -> Option<Usual<'_>> {
    let right = |right: bool| right.then(Usual::default);
    let list = |list: bool| {
        addresses(text, list).map(|(count, tagged)| Usual { count, tagged, method: None })
    };
    match name {
        HeaderName::Via => right(are_vias(text)),
        HeaderName::From | HeaderName::To => list(false),
        HeaderName::Contact | HeaderName::Route | HeaderName::RecordRoute => list(true),
        HeaderName::CSeq => {
            cseq_method(text).map(|method| Usual { method: Some(method), ..Usual::default() })
        }
        HeaderName::CallId => right(is_graphic(text)),
        // Only how often it stands there is looked at.
        HeaderName::ReferTo => right(true),
        HeaderName::MaxForwards => right(is_number(text, 2)),
        HeaderName::ContentLength | HeaderName::Expires => right(is_number(text, 9)),
        _ => None,
    }
}

/// The addresses of a whole header value: how many, and whether the last has a `tag`.
fn addresses(text: &str, list: bool) -> Option<(usize, bool)> {
    let mut cursor = Cursor::new(text);
    let mut count = 0;
    loop {
        let tagged = cursor.address()?.tagged;
        count += 1;
        if cursor.is_end() {
            return Some((count, tagged));
        }
        cursor.comma(list)?;
    }
}

/// Whether all of a header value are usual Vias, each with one branch at most.
fn are_vias(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    loop {
        if cursor.sent_by().is_none() || cursor.via_params().is_none() {
            return false;
        }
        if cursor.is_end() {
            return true;
        }
        if cursor.comma(true).is_none() {
            return false;
        }
    }
}

/// The method of a usual CSeq.
fn cseq_method(text: &str) -> Option<&str> {
    let mut cursor = Cursor::new(text);
    // With nine digits it is below 2^31.
    if !(1..=9).contains(&cursor.run(DIGIT)) || !cursor.eat(b' ') {
        return None;
    }
    let method_at = cursor.at;
    let named = cursor.run(TOKEN) > 0;
    (cursor.is_end() && named).then(|| cut(text, (method_at, text.len())))
}

/// Whether the text is something, and all of it printable (a usual Call-ID).
fn is_graphic(text: &str) -> bool {
    !text.is_empty() && text.bytes().fold(true, |all, byte| all & byte.is_ascii_graphic())
}

/// Whether the text is one to `len_max` digits.
fn is_number(text: &str, len_max: usize) -> bool {
    (1..=len_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a byte may be, one bit a class: those of URIs and values, and these.
const TOKEN: u8 = 2;
/// Words in front of a bracket.
const WORD: u8 = 8;
/// Inside quotes, where nothing is escaped.
const QUOTED: u8 = 16;
const DIGIT: u8 = 128;
/// The classes that have all that [`plain_run`] takes.
const PLAIN: u8 = USER | PARAM_TEXT | HOST | VALUE | TOKEN | WORD | QUOTED;

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::indexing_slicing, reason = "evaluated at compile time")]
        {
            table[byte] = classes(byte as u8);
        }
        byte += 1;
    }
    table
};

const fn classes(byte: u8) -> u8 {
    let mut classes = roles(byte) & (USER | PARAM_TEXT | HOST | VALUE);
    let token = super::parse::is_token(byte);
    if token {
        classes |= TOKEN;
    }
    if token || byte == b' ' {
        classes |= WORD;
    }
    if byte == b' ' || byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\') {
        classes |= QUOTED;
    }
    if byte.is_ascii_digit() {
        classes |= DIGIT;
    }
    classes
}

#[inline]
fn class_of(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(0)
}

/// Bytes of a text from left to right. Pieces are places: whoever only checks cuts nothing out.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

/// From and to.
type Span = (usize, usize);

/// The pieces of a [`UsualUri`].
struct UriSpans {
    user: Option<Span>,
    host: Span,
    port: Option<u16>,
    params: Span,
}

/// The pieces of a [`UsualAddress`].
struct AddressSpans {
    text: Span,
    uri: UriSpans,
    tagged: bool,
}

/// The pieces of a [`UsualVia`] before its parameters.
struct SentBySpans {
    transport: Span,
    host: Span,
    port: Option<u16>,
}

fn cut(text: &str, (from, to): Span) -> &str {
    text.get(from..to).unwrap_or_default()
}

impl UriSpans {
    fn of<'a>(&self, text: &'a str) -> UsualUri<'a> {
        UsualUri {
            user: self.user.map(|user| cut(text, user)),
            host: cut(text, self.host),
            port: self.port,
            params: cut(text, self.params),
        }
    }
}

impl<'a> Cursor<'a> {
    const fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0 }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Takes these bytes if they are next.
    #[inline]
    fn eat_all(&mut self, bytes: &[u8]) -> bool {
        let hit = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(bytes));
        if hit {
            self.at += bytes.len();
        }
        hit
    }

    #[inline]
    fn is_end(&self) -> bool {
        self.at >= self.text.len()
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    /// Takes the bytes of a class, which all are ASCII; says how many.
    #[inline]
    fn run(&mut self, class: u8) -> usize {
        let from = self.at;
        let mut rest = self.text.get(from..).unwrap_or_default();
        if class & PLAIN == class {
            // All but the last is done sixteen at a time where the text is long enough.
            while let Some(run) = plain_run(rest) {
                rest = rest.get(run..).unwrap_or_default();
                if run == 16 {
                    continue;
                }
                match rest.split_first() {
                    Some((byte, more)) if class_of(*byte) & class != 0 => rest = more,
                    _ => {
                        self.at = self.text.len() - rest.len();
                        return self.at - from;
                    }
                }
            }
        }
        // Four at a time: more are wasted on the shortest pieces.
        while let Some((four, more)) = rest.split_first_chunk::<4>()
            && four.iter().fold(class, |all, byte| all & class_of(*byte)) != 0
        {
            rest = more;
        }
        while let Some((byte, more)) = rest.split_first()
            && class_of(*byte) & class != 0
        {
            rest = more;
        }
        self.at = self.text.len() - rest.len();
        self.at - from
    }

    #[inline]
    fn spaces(&mut self) {
        while self.eat(b' ') {}
    }

    /// A comma before another element of a list.
    #[inline]
    fn comma(&mut self, list: bool) -> Option<()> {
        if !list || !self.eat(b',') {
            return None;
        }
        self.spaces();
        Some(())
    }

    /// A port behind a colon, written as a number is.
    fn port(&mut self) -> Option<Option<u16>> {
        if !self.eat(b':') {
            return Some(None);
        }
        let from = self.at;
        let mut port = 0_u32;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            if port > u32::from(u16::MAX) || digit == b'0' && port == 0 {
                return None;
            }
            port = port * 10 + u32::from(digit - b'0');
            self.at += 1;
        }
        u16::try_from(port).ok().filter(|_| self.at > from).map(Some)
    }

    /// What stands behind `sip:`.
    fn uri(&mut self) -> Option<UriSpans> {
        let from = self.at;
        self.run(HOST);
        // Neither `:` nor `;` of a user part gets past what follows a host: no `@` may stand there.
        if !matches!(self.peek(), None | Some(b'@' | b':' | b';' | b'>')) {
            self.run(USER);
            if self.peek() != Some(b'@') {
                return None;
            }
        }
        let first = (from, self.at);
        let (user, host) = if self.eat(b'@') {
            let from = self.at;
            self.run(HOST);
            (Some(first), (from, self.at))
        } else {
            (None, first)
        };
        if first.0 == first.1 || host.0 == host.1 {
            return None;
        }
        let port = self.port()?;
        let params_at = self.at;
        let mut count = 0;
        while self.eat(b';') {
            count += 1;
            if count > PARAMS_MAX || self.peek() == Some(b'=') || self.run(PARAM_TEXT) == 0 {
                return None;
            }
        }
        let params = (params_at, self.at);
        matches!(self.peek(), None | Some(b'>')).then_some(UriSpans { user, host, port, params })
    }

    /// A name or nothing, a URI in angle brackets, parameters.
    fn address(&mut self) -> Option<AddressSpans> {
        match self.peek()? {
            b'<' => {}
            b'"' => {
                self.at += 1;
                self.run(QUOTED);
                if !self.eat(b'"') {
                    return None;
                }
                self.spaces();
            }
            _ => {
                self.run(WORD);
            }
        }
        if !self.eat(b'<') {
            return None;
        }
        let from = self.at;
        if !self.eat_all(b"sip:") {
            return None;
        }
        let uri = self.uri()?;
        let text = (from, self.at);
        if !self.eat(b'>') {
            return None;
        }
        let (mut tagged, mut count) = (false, 0);
        while self.eat(b';') {
            count += 1;
            let name_at = self.at;
            if self.run(TOKEN) == 0 || count > PARAMS_MAX {
                return None;
            }
            let is_tag = self.is_name(name_at, b"tag");
            if self.eat(b'=') {
                let quoted = !is_tag && self.eat(b'"');
                let class = if is_tag { TOKEN } else { VALUE };
                if quoted {
                    self.run(QUOTED);
                    self.eat(b'"').then_some(())?;
                } else if self.run(class) == 0 {
                    return None;
                }
            } else if is_tag {
                return None;
            }
            if is_tag && std::mem::replace(&mut tagged, true) {
                return None;
            }
        }
        let ends = matches!(self.peek(), None | Some(b','));
        ends.then_some(AddressSpans { text, uri, tagged })
    }

    /// Whether what was taken since `from` is this name, given in lower case.
    #[inline]
    fn is_name(&self, from: usize, name: &[u8]) -> bool {
        self.at - from == name.len()
            && self.text.get(from..self.at).is_some_and(|text| text.eq_ignore_ascii_case(name))
    }

    /// Protocol, transport and sent-by of a Via.
    fn sent_by(&mut self) -> Option<SentBySpans> {
        if !self.eat_all(b"SIP/2.0/") {
            return None;
        }
        let from = self.at;
        let transport = if self.eat_all(b"UDP ") || self.eat_all(b"TCP ") {
            (from, self.at - 1)
        } else {
            self.run(TOKEN);
            let transport = (from, self.at);
            if transport.0 == transport.1 || !self.eat(b' ') {
                return None;
            }
            transport
        };
        let from = self.at;
        if self.run(HOST) == 0 {
            return None;
        }
        let host = (from, self.at);
        let port = self.port()?;
        Some(SentBySpans { transport, host, port })
    }

    /// The parameters of a Via, one branch at most.
    fn via_params(&mut self) -> Option<()> {
        let (mut branch, mut count) = (false, 0);
        while self.eat(b';') {
            count += 1;
            let name_at = self.at;
            if self.run(TOKEN) == 0 || count > PARAMS_MAX {
                return None;
            }
            let is_branch = self.is_name(name_at, b"branch");
            if !self.eat(b'=') {
                if is_branch {
                    return None;
                }
                continue;
            }
            let value_at = self.at;
            if self.run(if is_branch { TOKEN } else { VALUE }) == 0 {
                return None;
            }
            // The bare cookie identifies no transaction (RFC 4475 §3.2.1).
            let bare = || self.text.get(value_at..self.at) == Some(MAGIC.as_bytes());
            if is_branch && (bare() || std::mem::replace(&mut branch, true)) {
                return None;
            }
        }
        matches!(self.peek(), None | Some(b',')).then_some(())
    }
}

#[cfg(test)]
mod tests;
