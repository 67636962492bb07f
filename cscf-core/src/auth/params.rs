//! The parameter lists of the authentication header fields (RFC 3261 §25.1 `auth-param`,
//! RFC 7616 §3.3 – §3.5): read with limits, kept in their order and quoting, printed again.
//!
//! A value is held as it stands between its quotes, escapes included, because that is what goes
//! into the digest on both sides (`unq`, RFC 7616 §3.3).

mod reader;

use std::borrow::Cow;
use std::fmt;

use thiserror::Error;

use self::reader::Reader;
use crate::sip::is_token_byte;

/// Octets of one header field value that are read at most.
pub const VALUE_MAX: usize = 8192;

/// Parameters in one header field that are read at most.
pub const PARAMS_MAX: usize = 64;

/// Parameters that are written without quotes (RFC 7616 §3.4; for `qop` it depends).
const TOKENS: [&str; 5] = ["algorithm", "charset", "nc", "stale", "userhash"];

/// One parameter as received or to be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthParam<'a> {
    name: &'a str,
    raw: &'a str,
    quoted: bool,
}

impl<'a> AuthParam<'a> {
    /// The name in its own case.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// The value without its quotes, escapes kept.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        self.raw
    }
}

impl fmt::Display for AuthParam<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        f.write_str(if self.quoted { "=\"" } else { "=" })?;
        f.write_str(self.raw)?;
        if self.quoted { f.write_str("\"") } else { Ok(()) }
    }
}

/// Where a parameter stands in [`AuthParams::text`].
#[derive(Clone, Copy)]
struct Place {
    name: Span,
    raw: Span,
    /// [`mark`] of the name.
    mark: u32,
    quoted: bool,
}

/// Differs for most names that differ, and for none that are equal in any case: looked at first.
fn mark(name: &str) -> u32 {
    let len = u32::try_from(name.len()).unwrap_or(u32::MAX);
    match name.as_bytes() {
        [first, .., last] => len << 16 | u32::from(first | 0x20) << 8 | u32::from(last | 0x20),
        [one] => len << 16 | u32::from(one | 0x20),
        [] => 0,
    }
}

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    len: u32,
}

impl Span {
    fn new(start: usize, len: usize) -> Self {
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        Self { start, len: u32::try_from(len).unwrap_or(0) }
    }

    fn of(self, text: &str) -> &str {
        let start = self.start as usize;
        text.get(start..start + self.len as usize).unwrap_or_default()
    }
}

/// An ordered list of parameters, each name once.
#[derive(Clone, Default)]
pub struct AuthParams {
    /// What was read, and behind it what was set since: one piece of memory for all parameters.
    text: String,
    list: Vec<Place>,
}

impl fmt::Debug for AuthParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for AuthParams {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for AuthParams {}

impl AuthParams {
    /// An empty list with room for two values of so many bytes together, and for what else stands
    /// in a challenge.
    pub(super) fn with_room(len: usize) -> Self {
        Self { text: String::with_capacity(len + 160), list: Vec::with_capacity(8) }
    }

    /// Reads `Digest` and the parameters behind it.
    ///
    /// # Errors
    ///
    /// [`AuthHeaderError`], all of them the peer's fault.
    pub fn parse_with_scheme(value: &str) -> Result<Self, AuthHeaderError> {
        let mut reader = Reader::new(value)?;
        reader.skip_space();
        let at = reader.at;
        let scheme = reader.token();
        if !scheme.eq_ignore_ascii_case("Digest") {
            let scheme = scheme.chars().take(32).collect();
            return Err(AuthHeaderError::SchemeUnsupported { at, scheme });
        }
        if reader.skip_space() == 0 {
            return Err(AuthHeaderError::NameMissing { at: reader.at });
        }
        reader.params()
    }

    /// Reads a list without a scheme, as in Authentication-Info.
    ///
    /// # Errors
    ///
    /// [`AuthHeaderError`], all of them the peer's fault.
    pub fn parse(value: &str) -> Result<Self, AuthHeaderError> {
        Reader::new(value)?.params()
    }

    /// The parameter `name`, in any case.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<AuthParam<'_>> {
        self.list.get(self.position(name)?).map(|place| self.view(place))
    }

    fn position(&self, name: &str) -> Option<usize> {
        let mark = mark(name);
        self.list.iter().position(|place| {
            place.mark == mark && place.name.of(&self.text).eq_ignore_ascii_case(name)
        })
    }

    fn view(&self, place: &Place) -> AuthParam<'_> {
        let (name, raw) = (place.name.of(&self.text), place.raw.of(&self.text));
        AuthParam { name, raw, quoted: place.quoted }
    }

    /// The value of `name` without its quotes, escapes kept: what the digest takes.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.param(name).map(|param| param.raw)
    }

    /// The value of `name` as it is meant: without quotes and escapes.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let raw = self.raw(name)?;
        if !raw.contains('\\') {
            return Some(Cow::Borrowed(raw));
        }
        let mut plain = String::with_capacity(raw.len());
        let mut characters = raw.chars();
        while let Some(character) = characters.next() {
            plain.extend(if character == '\\' { characters.next() } else { Some(character) });
        }
        Some(Cow::Owned(plain))
    }

    /// Sets `name` to the plain text `value`, in its old place or at the end, and quotes it
    /// unless its grammar is a bare token.
    ///
    /// Control characters are left out: nothing that is set here can end the header field.
    pub fn set(&mut self, name: &str, value: &str) {
        let bare = TOKENS.iter().any(|token| name.eq_ignore_ascii_case(token));
        self.put(name, value, !bare);
    }

    /// Sets `name` to a bare token; a value that is none is quoted nevertheless.
    pub fn set_token(&mut self, name: &str, value: &str) {
        self.put(name, value, false);
    }

    /// Takes a parameter over from another list, with its escapes.
    pub fn copy(&mut self, name: &str, from: &Self) {
        if let Some(param) = from.param(name) {
            let mark = mark(param.name);
            let (name, raw) = (self.kept_whole(param.name), self.kept_whole(param.raw));
            self.insert(Place { name, raw, mark, quoted: param.quoted });
        }
    }

    /// Removes `name` and tells whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        match self.position(name) {
            Some(at) => {
                self.list.remove(at);
                true
            }
            None => false,
        }
    }

    /// Writes the list as `Display` does, piece by piece into memory of the right size.
    pub(super) fn write(&self, out: &mut String) {
        out.reserve(self.iter().map(|it| it.name.len() + it.raw.len() + ", =\"\"".len()).sum());
        for (at, param) in self.iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            out.push_str(param.name);
            out.push_str(if param.quoted { "=\"" } else { "=" });
            out.push_str(param.raw);
            if param.quoted {
                out.push('"');
            }
        }
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = AuthParam<'_>> {
        self.list.iter().map(|place| self.view(place))
    }

    fn put(&mut self, name: &str, value: &str, quoted: bool) {
        let quoted = quoted || value.is_empty() || !value.bytes().all(is_token_byte);
        let name = if name.bytes().all(is_token_byte) {
            self.kept_whole(name)
        } else {
            self.kept(name.chars().filter(|c| u8::try_from(*c).is_ok_and(is_token_byte)))
        };
        let mark = mark(name.of(&self.text));
        // As nearly every value is: nothing to escape, and nothing to leave out.
        if value.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
            let raw = self.kept_whole(value);
            return self.insert(Place { name, raw, mark, quoted });
        }
        let escaped = value.chars().filter(|c| !is_forbidden(*c)).flat_map(|character| {
            let escape = matches!(character, '"' | '\\').then_some('\\');
            escape.into_iter().chain([character])
        });
        let raw = self.kept(escaped);
        self.insert(Place { name, raw, mark, quoted });
    }

    fn kept_whole(&mut self, piece: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(piece);
        Span::new(start, piece.len())
    }

    fn kept(&mut self, characters: impl Iterator<Item = char>) -> Span {
        let start = self.text.len();
        self.text.extend(characters);
        Span::new(start, self.text.len() - start)
    }

    fn insert(&mut self, new: Place) {
        let at = self.position(new.name.of(&self.text));
        match at.and_then(|at| self.list.get_mut(at)) {
            Some(old) => *old = new,
            None => self.list.push(new),
        }
    }
}

/// The list with `, ` between, without a scheme.
impl fmt::Display for AuthParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

/// What is wrong with a header field value; `at` counts octets from its start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthHeaderError {
    /// Something other than a comma between two parameters.
    #[error("octet {at}: a comma is missing")]
    CommaMissing {
        /// Where it should be.
        at: usize,
    },
    /// A control character.
    #[error("octet {at}: a control character")]
    ControlCharacter {
        /// Where it is.
        at: usize,
    },
    /// No parameter where one must be.
    #[error("octet {at}: a parameter name is missing")]
    NameMissing {
        /// Where it should be.
        at: usize,
    },
    /// A parameter twice; which one counts would be anybody's guess.
    #[error("octet {at}: parameter {name:?} comes twice")]
    Repeated {
        /// Where the second is.
        at: usize,
        /// Its name.
        name: String,
    },
    /// A scheme other than Digest.
    #[error("octet {at}: the scheme {scheme:?} is not Digest")]
    SchemeUnsupported {
        /// Where it is.
        at: usize,
        /// Its first 32 characters.
        scheme: String,
    },
    /// A value longer than [`VALUE_MAX`].
    #[error("{length} octets, more than the {VALUE_MAX} allowed")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// More parameters than [`PARAMS_MAX`].
    #[error("octet {at}: more than {PARAMS_MAX} parameters")]
    TooMany {
        /// Where the first surplus one is.
        at: usize,
    },
    /// A quoted string without end.
    #[error("octet {at}: the quoted string does not end")]
    Unterminated {
        /// Where it starts.
        at: usize,
    },
    /// A name without `=` and value.
    #[error("octet {at}: parameter {name:?} has no value")]
    ValueMissing {
        /// Where it should be.
        at: usize,
        /// The parameter's name.
        name: String,
    },
}

/// What may stand in no header field value, quoted or not.
fn is_forbidden(character: char) -> bool {
    character.is_control() && character != '\t'
}

#[cfg(test)]
mod tests {
    use super::reader::is_control;
    use super::*;

    #[test]
    fn what_was_read_is_printed_in_order_and_quoting() {
        for text in [
            r#"username="a@b", realm="r", nonce="", uri="sip:r", response="""#,
            r#"qop=auth, x-unknown="q \" \\ z", nc=00000001, opaque="", NONCE="a,b=c""#,
            r#"username="Jäsøn", algorithm=AKAv1-MD5, integrity-protected="yes""#,
        ] {
            assert_eq!(AuthParams::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn blanks_folds_and_empty_elements_do_no_harm() {
        let params =
            AuthParams::parse_with_scheme("  dIGEST\r\n a = \"1\" ,, b=2\t, \r\n c = x/y== ,");
        assert_eq!(params.unwrap().to_string(), r#"a="1", b=2, c=x/y=="#);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        use AuthHeaderError as E;
        let name = || "a".to_owned();
        for (text, expected) in [
            ("", E::SchemeUnsupported { at: 0, scheme: String::new() }),
            ("Basic abc", E::SchemeUnsupported { at: 0, scheme: "Basic".into() }),
            ("Digest", E::NameMissing { at: 6 }),
            ("Digest ", E::NameMissing { at: 7 }),
            ("Digest ,,", E::NameMissing { at: 9 }),
            ("Digest =1", E::NameMissing { at: 7 }),
            ("Digest a", E::ValueMissing { at: 8, name: name() }),
            ("Digest a=", E::ValueMissing { at: 9, name: name() }),
            ("Digest a=,", E::ValueMissing { at: 9, name: name() }),
            ("Digest a=\"x", E::Unterminated { at: 9 }),
            ("Digest a=\"x\\\"", E::Unterminated { at: 9 }),
            ("Digest a=\"x\0\"", E::ControlCharacter { at: 11 }),
            ("Digest a=\"x\r\ny\"", E::ControlCharacter { at: 11 }),
            ("Digest a=\"x\" b=1", E::CommaMissing { at: 13 }),
            ("Digest a=1;b=2", E::CommaMissing { at: 10 }),
            ("Digest a=1, A=2", E::Repeated { at: 12, name: "A".into() }),
        ] {
            assert_eq!(AuthParams::parse_with_scheme(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn limits_hold_to_the_number() {
        let list =
            |count: usize| (0..count).map(|n| format!("p{n}=1")).collect::<Vec<_>>().join(",");
        assert!(AuthParams::parse(&list(PARAMS_MAX)).is_ok());
        let surplus = AuthParams::parse(&list(PARAMS_MAX + 1));
        assert!(matches!(surplus, Err(AuthHeaderError::TooMany { .. })));
        let long = format!("a=\"{}\"", "x".repeat(VALUE_MAX - 4));
        assert!(AuthParams::parse(&long).is_ok());
        let longer = AuthParams::parse(&format!("{long} "));
        assert_eq!(longer, Err(AuthHeaderError::TooLong { length: VALUE_MAX + 1 }));
    }

    #[test]
    fn set_values_cannot_break_out() {
        let mut params = AuthParams::default();
        params.set("username", "a\"b\\c\r\nEvil: 1");
        params.set("nc", "0 1\"");
        params.set("na\r\nme", "");
        let printed = params.to_string();
        assert_eq!(printed, r#"username="a\"b\\cEvil: 1", nc="0 1\"", name="""#);
        assert_eq!(params.value("username").unwrap(), "a\"b\\cEvil: 1");
        assert_eq!(params.raw("username"), Some(r#"a\"b\\cEvil: 1"#));
        assert_eq!(AuthParams::parse(&printed), Ok(params));
    }

    #[test]
    fn set_keeps_the_place_and_remove_takes_any_case() {
        let mut params = AuthParams::parse(r#"Nonce="x", ck="1", IK="2", z=1"#).unwrap();
        params.set("nonce", "y");
        assert!(params.remove("CK"));
        assert!(params.remove("ik"));
        assert!(!params.remove("ik"));
        assert_eq!(params.to_string(), r#"nonce="y", z=1"#);
    }

    #[test]
    fn control_characters_are_the_same_in_bytes() {
        for character in '\0'..='\u{1ff}' {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            let found = is_control(bytes[0], bytes.get(1).copied());
            assert_eq!(found, is_forbidden(character), "{character:?}");
        }
    }

    /// Cuts, doublings and swaps of a good value at every place: errors are fine, panics are not.
    #[test]
    fn damaged_values_never_panic_and_accepted_ones_stay_the_same_when_printed() {
        let good = "Digest username=\"a\\\"b\u{e9}\", realm=\"r\", qop=auth , nc = 1, x=\"\"";
        let cuts: Vec<usize> = (0..=good.len()).filter(|at| good.is_char_boundary(*at)).collect();
        for from in &cuts {
            for to in &cuts {
                let text = format!("{}{}", &good[..*from], &good[*to..]);
                if let Ok(params) = AuthParams::parse_with_scheme(&text) {
                    let again = AuthParams::parse(&params.to_string());
                    assert_eq!(again, Ok(params), "{text:?}");
                }
            }
        }
    }
}
