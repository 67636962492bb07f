//! A light reader of received messages: one pass over the head, nothing is copied.
//!
//! A load generator asks little of a message and must cost little; what is hostile or broken is
//! counted by the fleet, not explained. Folded header lines are read up to the fold.

/// What a message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// A request with this method.
    Request(&'a [u8]),
    /// A response with this status code.
    Response(u16),
}

/// A message as far as a fleet looks at it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Request or response.
    pub start: Start<'a>,
    /// The Call-ID.
    pub call_id: &'a [u8],
    /// The number of CSeq.
    pub cseq: u32,
    /// The method of CSeq.
    pub method: &'a [u8],
    /// From, whole.
    pub from: &'a [u8],
    /// To, whole.
    pub to: &'a [u8],
    /// The header lines.
    head: &'a [u8],
}

/// Reads a message; `None` for what is none, or lacks what every message has.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Seen<'_>> {
    let line_end = memchr::memchr(b'\n', bytes)?;
    let (line, head) = (bytes.get(..line_end)?.trim_ascii_end(), bytes.get(line_end + 1..)?);
    let start = match line.strip_prefix(b"SIP/2.0 ") {
        Some(rest) => Start::Response(u16::try_from(number(rest.get(..3)?)?).ok()?),
        None => Start::Request(words(line).next()?),
    };
    let (mut call_id, mut cseq, mut from, mut to) = (None, None, None, None);
    for (name, value) in (Lines { rest: head }) {
        let place = match name.len() {
            1 => match name.first().map(u8::to_ascii_lowercase) {
                Some(b'i') => &mut call_id,
                Some(b'f') => &mut from,
                Some(b't') => &mut to,
                _ => continue,
            },
            2 if name.eq_ignore_ascii_case(b"To") => &mut to,
            4 if name.eq_ignore_ascii_case(b"From") => &mut from,
            4 if name.eq_ignore_ascii_case(b"CSeq") => &mut cseq,
            7 if name.eq_ignore_ascii_case(b"Call-ID") => &mut call_id,
            _ => continue,
        };
        place.get_or_insert(value);
    }
    let mut cseq = words(cseq?);
    Some(Seen {
        start,
        call_id: call_id?,
        cseq: number(cseq.next()?)?,
        method: cseq.next()?,
        from: from?,
        to: to?,
        head,
    })
}

impl<'a> Seen<'a> {
    /// The values of all header lines of this name, or of its compact form, as they stand.
    pub fn all(&self, name: &'a str, compact: &'a str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let is = move |found: &[u8], name: &str| {
            !name.is_empty() && found.eq_ignore_ascii_case(name.as_bytes())
        };
        Lines { rest: self.head }
            .filter(move |(found, _)| is(found, name) || is(found, compact))
            .map(|(_, value)| value)
    }

    /// The value of the first header line of this name.
    #[must_use]
    pub fn first(&self, name: &'a str, compact: &'a str) -> Option<&'a [u8]> {
        self.all(name, compact).next()
    }
}

struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let end = memchr::memchr(b'\n', self.rest)?;
            let line = self.rest.get(..end)?;
            self.rest = self.rest.get(end + 1..)?;
            if line.is_empty() || line == b"\r" {
                self.rest = &[];
                return None;
            }
            if let Some(colon) = memchr::memchr(b':', line) {
                let name = line.get(..colon)?.trim_ascii_end();
                return Some((name, line.get(colon + 1..)?.trim_ascii()));
            }
        }
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// A decimal number that fits.
#[must_use]
pub fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u32, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u32::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// The elements of a comma list of addresses; commas inside `<>` and quotes are their own.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut inside) = (false, false);
    value
        .split(move |byte| {
            match byte {
                b'"' => quoted = !quoted,
                b'<' if !quoted => inside = true,
                b'>' if !quoted => inside = false,
                _ => {}
            }
            *byte == b',' && !quoted && !inside
        })
        .map(<[u8]>::trim_ascii)
}

/// The URI of an address: what stands in `<>`, else all before the first parameter.
#[must_use]
pub fn uri(address: &[u8]) -> &[u8] {
    if let Some(open) = memchr::memchr(b'<', address) {
        let rest = address.get(open + 1..).unwrap_or_default();
        let close = memchr::memchr(b'>', rest).unwrap_or(rest.len());
        return rest.get(..close).unwrap_or_default();
    }
    let end = memchr::memchr(b';', address).unwrap_or(address.len());
    address.get(..end).unwrap_or_default().trim_ascii()
}

/// The host and, if there is one, the port of a SIP URI or of the sent-by of a Via.
#[must_use]
pub fn host_port(text: &[u8]) -> (&[u8], Option<u16>) {
    let text = text.splitn(2, |byte| matches!(byte, b';' | b'?')).next().unwrap_or_default();
    let text = text.rsplit(|byte| *byte == b'@').next().unwrap_or_default();
    let text = ["sip:", "sips:"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme.as_bytes()))
        .unwrap_or(text)
        .trim_ascii();
    match text.iter().rposition(|byte| *byte == b':') {
        Some(at) if !text.ends_with(b"]") => {
            let port = text.get(at + 1..).and_then(number);
            let port = port.and_then(|port| u16::try_from(port).ok());
            (text.get(..at).unwrap_or_default(), port)
        }
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"SIP/2.0 200 OK\r\nv: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1\r\n\
        Via: SIP/2.0/UDP 127.1.1.1\r\nFrom: <sip:a@x>;tag=a1\r\nt: <sip:b@x>;tag=b1\r\n\
        Record-Route: <sip:p@1.2.3.4:5070;lr>, <sip:s.example;lr>\r\n\
        Call-ID: c1-2-3\r\nCSeq: 7  INVITE\r\nContent-Length: 0\r\n\r\nVia: body\r\n";

    #[test]
    fn a_response_is_read_with_compact_forms() {
        let seen = read(OK).expect("a message");
        assert_eq!((seen.start, seen.cseq, seen.method), (Start::Response(200), 7, &b"INVITE"[..]));
        assert_eq!((seen.call_id, seen.to), (&b"c1-2-3"[..], &b"<sip:b@x>;tag=b1"[..]));
        assert_eq!(seen.all("Via", "v").count(), 2);
        let routes = seen.first("Record-Route", "").expect("routes");
        let routes: Vec<_> = elements(routes).map(uri).collect();
        assert_eq!(routes, [&b"sip:p@1.2.3.4:5070;lr"[..], b"sip:s.example;lr"]);
        assert_eq!(host_port(routes[0]), (&b"1.2.3.4"[..], Some(5070)));
        assert_eq!(host_port(routes[1]), (&b"s.example"[..], None));
    }

    #[test]
    fn what_is_cut_anywhere_is_no_message_or_a_smaller_one_and_never_a_panic() {
        for end in 0..OK.len() {
            let _ = read(&OK[..end]);
        }
        for junk in [&b""[..], b"\r\n\r\n", b"SIP/2.0 x\r\n\r\n", b"SIP/2.0 99999 \n\n", b"\xff\n"]
        {
            assert!(read(junk).is_none());
        }
        assert_eq!(number(b"4294967296"), None);
        assert_eq!(elements(b"\"a,b\" <sip:x,y>, <sip:z>").count(), 2);
    }
}
