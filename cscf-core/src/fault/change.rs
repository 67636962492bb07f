//! Changes of messages: headers, parameters, lines of SDP, AVPs, the MAC of a challenge, any bytes.
//!
//! Everything else of a message keeps its bytes, and Content-Length follows the body, unless it is
//! what is changed.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::message::{Content, Looked};
use super::rule::Edit;
use crate::auth::AkaNonce;
use crate::diameter::dictionary::{self, Kind};
use crate::diameter::{self, Avp};
use crate::ids::Ids;
use crate::sip::{HeaderName, Headers, Message};

/// A message after a change; `None` where it has nothing that could be changed so.
#[must_use]
pub fn edited(message: &Looked, edit: &Edit) -> Option<Bytes> {
    match &message.content {
        Content::Sip(message) => edited_sip(message, edit),
        Content::Diameter(message, _) => edited_diameter(message, edit),
        Content::KeepAlive => None,
    }
}

fn edited_sip(message: &Message, edit: &Edit) -> Option<Bytes> {
    if let Edit::Replace(old, new) = edit {
        return replaced(message, old, new);
    }
    let mut message = message.clone();
    let (headers, body) = match &mut message {
        Message::Request(request) => (&mut request.headers, &mut request.body),
        Message::Response(response) => (&mut response.headers, &mut response.body),
    };
    match edit {
        Edit::AddHeader(name, value) => headers.push_named(name, value),
        Edit::RemoveHeader(name) => {
            if headers.remove_named(name) == 0 {
                return None;
            }
        }
        Edit::SetHeader(name, value) => set(headers, name, value),
        Edit::RemoveParameter(name, parameter) => {
            each_value(headers, name, |value| without_parameter(value, parameter))?;
        }
        Edit::SetParameter(name, parameter, value) => {
            each_value(headers, name, |text| Some(with_parameter(text, parameter, value)))?;
        }
        Edit::AddLine(_) | Edit::RemoveLine(_) | Edit::SetLine(_) => {
            let new = edited_lines(std::str::from_utf8(body).ok()?, edit)?;
            *body = Bytes::from(new);
            fit_length(headers, body.len());
        }
        Edit::Replace(..) => {}
    }
    Some(message.to_bytes())
}

/// Gives a header one value, whether this core knows its name or not.
fn set(headers: &mut Headers, name: &str, value: &str) {
    match HeaderName::from_bytes(name.as_bytes()) {
        HeaderName::Unknown => {
            headers.remove_named(name);
            headers.push_named(name, value);
        }
        known => headers.set(known, value),
    }
}

/// Changes every line of a header, which keeps its place; `None` if nothing was changed.
fn each_value(
    headers: &mut Headers,
    name: &str,
    change: impl Fn(&str) -> Option<String>,
) -> Option<()> {
    let old: Vec<String> =
        headers.fields_named(name).map(|field| field.unfolded().into_owned()).collect();
    let mut changed = false;
    let new: Vec<String> = old
        .into_iter()
        .map(|value| match change(&value) {
            Some(new) => {
                changed = true;
                new
            }
            None => value,
        })
        .collect();
    if !changed {
        return None;
    }
    let mut new = new.into_iter();
    match HeaderName::from_bytes(name.as_bytes()) {
        HeaderName::Unknown => {
            headers.remove_named(name);
            new.for_each(|value| headers.push_named(name, &value));
        }
        known => {
            // The first line keeps its place, and the others stand behind it.
            if let Some(first) = new.next() {
                headers.set(known, &first);
            }
            new.for_each(|value| headers.push(known, &value));
        }
    }
    Some(())
}

fn fit_length(headers: &mut Headers, len: usize) {
    if headers.contains(HeaderName::ContentLength) {
        headers.set(HeaderName::ContentLength, &len.to_string());
    }
}

/// Where a parameter stands in a value.
pub(super) struct Place {
    /// With the separator before it.
    pub(super) whole: Range<usize>,
    /// What stands behind its equals sign.
    pub(super) value: Range<usize>,
}

/// Finds a parameter behind a semicolon or between the commas of a challenge.
pub(super) fn parameter_place(value: &str, name: &str) -> Option<Place> {
    let (mut begin, mut quoted, mut escaped, mut angled) = (0, false, false, false);
    let mut ends: Vec<usize> = Vec::new();
    for (at, byte) in value.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => angled = true,
            b'>' if !quoted => angled = false,
            b';' | b',' if !quoted && !angled => ends.push(at),
            _ => {}
        }
    }
    ends.push(value.len());
    for end in ends {
        let piece = value.get(begin..end)?;
        let (head, equals) = match piece.find('=') {
            Some(at) => (piece.get(..at)?, Some(begin + at + 1)),
            None => (piece, None),
        };
        // The first parameter of a challenge stands behind its scheme.
        let word = head.trim_start_matches([';', ',']).trim();
        let word = word.rsplit([' ', '\t']).next().unwrap_or_default();
        if word.eq_ignore_ascii_case(name) {
            let at = begin + head.rfind(word)?;
            let value_at = equals.unwrap_or(end);
            let whole = if head.starts_with([';', ',']) { begin } else { at };
            return Some(Place { whole: whole..end, value: value_at..end });
        }
        begin = end;
    }
    None
}

fn without_parameter(value: &str, name: &str) -> Option<String> {
    let place = parameter_place(value, name)?;
    let mut out = value.to_owned();
    let whole = place.whole;
    // The first of a challenge leaves no comma behind.
    let is_first = !value.get(whole.clone())?.starts_with([';', ',']);
    let end = if is_first {
        let rest = value.get(whole.end..)?;
        whole.end + rest.len() - rest.trim_start_matches([',', ' ']).len()
    } else {
        whole.end
    };
    out.replace_range(whole.start..end, "");
    Some(out)
}

/// The value with this parameter, quoted where it was quoted; a new one stands at the end.
fn with_parameter(value: &str, name: &str, new: &str) -> String {
    let Some(place) = parameter_place(value, name) else {
        let is_challenge = ["Digest ", "digest "].iter().any(|scheme| value.starts_with(scheme));
        let separator = if is_challenge { ", " } else { ";" };
        return format!("{value}{separator}{name}={new}");
    };
    let old = value.get(place.value.clone()).unwrap_or_default();
    let new = if old.trim_start().starts_with('"') {
        format!("\"{}\"", new.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        new.to_owned()
    };
    let equals =
        if value.get(..place.value.start).is_some_and(|it| it.ends_with('=')) { "" } else { "=" };
    let mut out = value.to_owned();
    out.replace_range(place.value, &format!("{equals}{new}"));
    out
}

/// The lines of an SDP after a change; `None` if there is no SDP or nothing to change.
fn edited_lines(body: &str, edit: &Edit) -> Option<String> {
    if !body.starts_with("v=") {
        return None;
    }
    let lines = body.lines();
    let mut changed = false;
    let mut out: Vec<&str> = Vec::new();
    match edit {
        Edit::AddLine(line) => {
            out.extend(lines);
            out.push(line);
            changed = true;
        }
        Edit::RemoveLine(begin) => {
            let count = lines.clone().count();
            out.extend(lines.filter(|line| !line.starts_with(begin.as_str())));
            changed = out.len() != count;
        }
        Edit::SetLine(new) => {
            // `a=sendrecv` takes the place of every direction: they are one attribute.
            const DIRECTIONS: [&str; 4] = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];
            let name = |line: &str| line.split([':', ' ']).next().unwrap_or_default().to_owned();
            for line in lines {
                let same = match DIRECTIONS.contains(&new.as_str()) {
                    true => DIRECTIONS.contains(&line),
                    false => match new.split_once('=') {
                        Some(("a" | "b" | "m", _)) => name(line) == name(new),
                        _ => line.get(..2) == new.get(..2),
                    },
                };
                changed |= same;
                out.push(if same { new } else { line });
            }
        }
        _ => {}
    }
    changed.then(|| out.iter().map(|line| format!("{line}\r\n")).collect())
}

/// Head and body with one text in the place of another.
fn replaced(message: &Message, old: &str, new: &str) -> Option<Bytes> {
    let bytes = message.to_bytes();
    let head_len = bytes.len().checked_sub(message.body().len())?;
    let (head, body) = bytes.split_at_checked(head_len)?;
    let new_body = replace(body, old.as_bytes(), new.as_bytes());
    let new_head = replace(head, old.as_bytes(), new.as_bytes());
    if new_head.is_none() && new_body.is_none() {
        return None;
    }
    let mut head = new_head.unwrap_or_else(|| head.to_vec());
    let body = match new_body {
        Some(new) => {
            head = with_length(&head, new.len());
            new
        }
        None => body.to_vec(),
    };
    let mut out = BytesMut::from(&*head);
    out.extend_from_slice(&body);
    Some(out.freeze())
}

/// A head whose Content-Length names this many bytes.
fn with_length(head: &[u8], len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len());
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii();
        match name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l") {
            true => out.extend_from_slice(format!("Content-Length: {len}\r\n").as_bytes()),
            false => out.extend_from_slice(line),
        }
    }
    out
}

fn replace(bytes: &[u8], old: &[u8], new: &[u8]) -> Option<Vec<u8>> {
    if old.is_empty() {
        return None;
    }
    let (mut out, mut rest, mut found) = (Vec::with_capacity(bytes.len()), bytes, false);
    while let Some(at) = memchr::memmem::find(rest, old) {
        out.extend_from_slice(rest.get(..at)?);
        out.extend_from_slice(new);
        rest = rest.get(at + old.len()..)?;
        found = true;
    }
    out.extend_from_slice(rest);
    found.then_some(out)
}

fn edited_diameter(message: &diameter::Message, edit: &Edit) -> Option<Bytes> {
    let mut message = message.clone();
    match edit {
        Edit::RemoveHeader(name) => {
            let count = message.avps.len();
            message.avps.retain(|avp| avp.name() != *name);
            if message.avps.len() == count {
                return None;
            }
        }
        Edit::SetHeader(name, value) | Edit::AddHeader(name, value) => {
            let known = dictionary::ALL.iter().find(|known| known.name == *name)?;
            let avp = match known.kind {
                Kind::Text | Kind::Octets => Avp::text(known, value),
                Kind::Enumerated | Kind::Unsigned32 => Avp::number(known, value.parse().ok()?),
                Kind::Address | Kind::Grouped => return None,
            };
            let found = message.avps.iter_mut().find(|its| its.is(known));
            match found {
                Some(its) if matches!(edit, Edit::SetHeader(..)) => *its = avp,
                _ => message.avps.push(avp),
            }
        }
        _ => return None,
    }
    Some(message.encode())
}

/// A message with another MAC in its challenge: in the nonce of `WWW-Authenticate` (RFC 3310 §3.2),
/// or in the vectors of an MAA (TS 29.229 §6.3.10). `None` if it has no challenge of AKA.
#[must_use]
pub fn with_spoilt_mac(message: &Looked) -> Option<Bytes> {
    match &message.content {
        Content::KeepAlive => None,
        Content::Sip(sip) => {
            let mut sip = sip.clone();
            let headers = match &mut *sip {
                Message::Request(request) => &mut request.headers,
                Message::Response(response) => &mut response.headers,
            };
            each_value(headers, "WWW-Authenticate", |value| {
                let nonce = super::message::parameter(value, "nonce")?;
                let mut nonce = AkaNonce::decode(&nonce).ok()?;
                nonce.autn.mac_a = nonce.autn.mac_a.map(|byte| !byte);
                Some(with_parameter(value, "nonce", &nonce.encode()))
            })?;
            Some(sip.to_bytes())
        }
        Content::Diameter(message, _) => {
            let mut message = message.clone();
            let mut changed = false;
            for avp in &mut message.avps {
                if !avp.is(&dictionary::SIP_AUTH_DATA_ITEM) {
                    continue;
                }
                let Ok(mut inside) = avp.as_group() else { continue };
                let challenges =
                    inside.iter_mut().filter(|it| it.is(&dictionary::SIP_AUTHENTICATE));
                for challenge in challenges.filter(|it| it.data.len() == 32) {
                    let mac = |(at, byte): (usize, &u8)| if at < 24 { *byte } else { !*byte };
                    challenge.data = challenge.data.iter().enumerate().map(mac).collect();
                    changed = true;
                }
                *avp = Avp::group(&dictionary::SIP_AUTH_DATA_ITEM, &inside);
            }
            changed.then(|| message.encode())
        }
    }
}

/// A message in which some bytes are others: one, and one more for each 200. Line ends stay. On a
/// stream so do the bytes by which the next message is found, Content-Length and the length of
/// Diameter: what is behind it must not suffer.
#[must_use]
pub fn corrupted(bytes: &Bytes, on_stream: bool, chance: &mut Ids) -> Bytes {
    let mut out = BytesMut::from(&**bytes);
    let kept = if on_stream { framing(bytes) } else { Vec::new() };
    let len = u64::try_from(out.len()).unwrap_or(u64::MAX);
    let count = 1 + out.len() / 200;
    // A message of line ends only has nothing to change.
    let tries = 20 * count;
    let mut done = 0;
    for _ in 0..tries {
        let at = usize::try_from(chance.below(len)).unwrap_or_default();
        let value = u8::try_from(1 + chance.below(255)).unwrap_or(1);
        if done == count || kept.iter().any(|range| range.contains(&at)) {
            continue;
        }
        if let Some(byte) = out.get_mut(at)
            && !matches!(*byte, b'\r' | b'\n')
            && !matches!(*byte ^ value, b'\r' | b'\n')
        {
            *byte ^= value;
            done += 1;
        }
    }
    out.freeze()
}

/// The bytes by which a stream is cut into messages.
fn framing(bytes: &[u8]) -> Vec<Range<usize>> {
    if bytes.first() == Some(&1) {
        return vec![Range { start: 0, end: 4 }];
    }
    let head = memchr::memmem::find(bytes, b"\r\n\r\n").unwrap_or(bytes.len());
    let mut out = Vec::new();
    let mut at = 0;
    for line in bytes.get(..head).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii();
        let is_length =
            name.eq_ignore_ascii_case(b"Content-Length") || name.eq_ignore_ascii_case(b"l");
        if is_length {
            out.push(at..at + line.len());
        }
        at += line.len();
    }
    // Nor may another header become Content-Length; its name has ten letters that would have to
    // change, so that needs no care.
    out
}
