//! A message in a word or two: `INVITE`, `183 (INVITE)`, `UAR`, `UAA 2001`.

use bytes::Bytes;
use cscf_core::diameter::dictionary::{Kind, lookup};
use cscf_core::diameter::{self, Avp};
use cscf_core::sip::{self, HeaderName, Message};
use cscf_core::sms;
use cscf_core::trace::{Protocol, Wire};

use super::plain;

/// The label of a message: a request's method, a response's code with the method it answers, a
/// Diameter command's abbreviation.
#[must_use]
pub fn label(wire: &Wire) -> String {
    let label = match wire.protocol {
        Protocol::Diameter => diameter_label(&wire.bytes),
        Protocol::Sip => sip_label(wire),
    };
    plain(&label).into_owned()
}

fn sip_label(wire: &Wire) -> String {
    match sip::parse(&wire.bytes) {
        Ok(Message::Request(request)) => {
            let kind = request.headers.get(HeaderName::ContentType);
            match kind.is_some_and(sms::is_content_type) {
                true => format!("{} {}", request.method, sms::short(&request.body)),
                false => request.method.to_string(),
            }
        }
        Ok(Message::Response(response)) => {
            let cseq = response.headers.get(HeaderName::CSeq).unwrap_or_default();
            match cseq.split_whitespace().nth(1) {
                Some(method) => format!("{} ({method})", response.status),
                None => response.status.to_string(),
            }
        }
        Err(_) => "?".to_owned(),
    }
}

/// The abbreviation of a Diameter message (RFC 6733 §3, TS 29.229 §6.1), from its header alone.
#[must_use]
pub fn diameter_label(bytes: &[u8]) -> String {
    let [_, _, _, _, flags, a, b, c, ..] = *bytes else { return "?".to_owned() };
    let name = match u32::from_be_bytes([0, a, b, c]) {
        257 => "CE",
        280 => "DW",
        282 => "DP",
        300 => "UA",
        301 => "SA",
        302 => "LI",
        303 => "MA",
        304 => "RT",
        305 => "PP",
        code => return format!("Diameter {code}"),
    };
    format!("{name}{}", if flags & 0x80 == 0 { 'A' } else { 'R' })
}

/// The values of an AVP by its name, at any depth: text as it is, numbers in decimal, octets in
/// hexadecimal.
#[must_use]
pub fn avp_values(bytes: &Bytes, name: &str) -> Vec<String> {
    let mut out = Vec::new();
    if let Ok(message) = diameter::Message::decode(bytes) {
        collect(&message.avps, name, &mut out);
    }
    out
}

/// The names of all AVPs of a Diameter message, at any depth.
#[must_use]
pub fn avp_names(bytes: &Bytes) -> Vec<String> {
    fn walk(avps: &[Avp], out: &mut Vec<String>) {
        for avp in avps {
            out.push(avp.name().to_string());
            if lookup(avp.code, avp.vendor).map(|row| row.kind) == Some(Kind::Grouped)
                && let Ok(inner) = avp.as_group()
            {
                walk(&inner, out);
            }
        }
    }
    let mut out = Vec::new();
    if let Ok(message) = diameter::Message::decode(bytes) {
        walk(&message.avps, &mut out);
    }
    out
}

/// The result of an answer: Result-Code, else Experimental-Result-Code (TS 29.229 §6.2).
#[must_use]
pub fn result_code(bytes: &Bytes) -> Option<u32> {
    let of = |name| avp_values(bytes, name).first().and_then(|value| value.parse().ok());
    of("Result-Code").or_else(|| of("Experimental-Result-Code"))
}

/// A Diameter message for a person: its name, then an AVP a line, those of a group indented.
#[must_use]
pub fn diameter_lines(bytes: &Bytes) -> Vec<String> {
    let message = match diameter::Message::decode(bytes) {
        Ok(message) => message,
        Err(fault) => return vec![format!("not readable: {fault}")],
    };
    let mut out = vec![message.name()];
    describe(&message.avps, 0, &mut out);
    out
}

fn describe(avps: &[Avp], depth: usize, out: &mut Vec<String>) {
    for avp in avps {
        let (indent, name) = ("  ".repeat(depth), avp.name());
        let grouped = lookup(avp.code, avp.vendor).is_some_and(|row| row.kind == Kind::Grouped);
        match avp.as_group() {
            Ok(inner) if grouped => {
                out.push(format!("{indent}{name}"));
                describe(&inner, depth + 1, out);
            }
            _ => match readable(&avp.data) {
                // A user profile has lines of its own.
                Some(text) => out.push(format!("{indent}{name}: {text}")),
                None => out.push(format!("{indent}{name}: {}", value(avp))),
            },
        }
    }
}

/// Octets that are text, e.g. User-Data, which numbers and keys as good as never are.
fn readable(data: &[u8]) -> Option<&str> {
    const BYTES_MIN: usize = 5;
    let text = std::str::from_utf8(data).ok().filter(|text| text.len() >= BYTES_MIN)?;
    text.chars().all(|letter| !letter.is_control() || letter.is_ascii_whitespace()).then_some(text)
}

/// The value of an AVP that is no group.
fn value(avp: &Avp) -> String {
    match lookup(avp.code, avp.vendor).map(|row| row.kind) {
        Some(Kind::Text) => avp.as_text().unwrap_or_default().to_owned(),
        Some(Kind::Enumerated | Kind::Unsigned32) => {
            avp.as_u32().map(|number| number.to_string()).unwrap_or_default()
        }
        _ => avp.data.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn collect(avps: &[Avp], name: &str, out: &mut Vec<String>) {
    for avp in avps {
        let kind = lookup(avp.code, avp.vendor).map(|row| row.kind);
        if avp.name() == name {
            out.push(value(avp));
        }
        if kind == Some(Kind::Grouped)
            && let Ok(inner) = avp.as_group()
        {
            collect(&inner, name, out);
        }
    }
}
