//! User data: header elements and text (TS 23.040 §9.2.3.24, TS 23.038 §4), and how a long text is
//! cut into messages that are put together again (§9.2.3.24.1).

use super::alphabet;
use super::octets::{Malformed, Octets, length};

/// Octets of user data at most.
const OCTETS_MAX: usize = 140;
/// Septets of a message, and of one part of several.
const SEPTETS: (usize, usize) = (160, 153);
/// Units of UCS2 of a message, and of one part of several.
const UNITS: (usize, usize) = (70, 67);
/// The data coding of the default alphabet (TS 23.038 §4).
const GSM7: u8 = 0x00;
/// The data coding of octets.
const BINARY: u8 = 0x04;
/// The data coding of UCS2.
const UCS2: u8 = 0x08;

/// An element of the header of user data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// What it is, e.g. 0: concatenation.
    pub id: u8,
    /// Its octets.
    pub data: Vec<u8>,
}

/// Which part of a long message this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// What joins the parts.
    pub reference: u16,
    /// How many there are, at least 1.
    pub total: u8,
    /// Which one it is, from 1 to `total`.
    pub number: u8,
}

/// What user data hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Octets that are no text.
    Binary(Vec<u8>),
    /// Text in the default alphabet.
    Gsm7(String),
    /// Text in UCS2.
    Ucs2(String),
}

/// User data of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserData {
    coding: u8,
    header: Vec<Element>,
    content: Content,
}

impl UserData {
    /// Octets that are no text, at most 140.
    #[must_use]
    pub fn binary(octets: &[u8]) -> Option<Self> {
        let content = Content::Binary(octets.to_vec());
        let fits = octets.len() <= OCTETS_MAX;
        fits.then_some(Self { coding: BINARY, header: Vec::new(), content })
    }

    /// What it holds.
    #[must_use]
    pub const fn content(&self) -> &Content {
        &self.content
    }

    /// The elements of its header.
    #[must_use]
    pub fn header(&self) -> &[Element] {
        &self.header
    }

    /// The data coding scheme.
    #[must_use]
    pub const fn coding(&self) -> u8 {
        self.coding
    }

    /// The text; `None` for octets that are none.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Gsm7(text) | Content::Ucs2(text) => Some(text),
            Content::Binary(_) => None,
        }
    }

    /// Which part of a long message it is; `None` where it is whole, or its element makes no sense
    /// and is ignored (TS 23.040 §9.2.3.24.1).
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        let part = self.header.iter().find_map(|element| match (element.id, &*element.data) {
            (0, [reference, total, number]) => {
                Some(Part { reference: (*reference).into(), total: *total, number: *number })
            }
            (8, [high, low, total, number]) => {
                let reference = u16::from_be_bytes([*high, *low]);
                Some(Part { reference, total: *total, number: *number })
            }
            _ => None,
        });
        part.filter(|part| (1..=part.total).contains(&part.number))
    }

    /// Whether it has a header.
    pub(super) fn has_header(&self) -> bool {
        !self.header.is_empty()
    }

    /// TP-UDL and TP-UD; the data coding scheme stands elsewhere.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut octets = Vec::new();
        if self.has_header() {
            octets.push(0);
            for element in &self.header {
                octets.extend([element.id, length(element.data.len())]);
                octets.extend(&element.data);
            }
            let count = length(octets.len() - 1);
            if let Some(first) = octets.first_mut() {
                *first = count;
            }
        }
        let head = octets.len();
        match &self.content {
            Content::Gsm7(text) => {
                let septets = alphabet::septets(text).unwrap_or_default();
                octets.extend(alphabet::pack(&septets, filling(head)));
                out.push(length((head * 8).div_ceil(7) + septets.len()));
            }
            Content::Ucs2(text) => {
                octets.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
                out.push(length(octets.len()));
            }
            Content::Binary(bytes) => {
                octets.extend(bytes);
                out.push(length(octets.len()));
            }
        }
        out.extend(octets);
    }

    pub(super) fn read(
        octets: &mut Octets<'_>,
        coding: u8,
        has_header: bool,
    ) -> Result<Self, Malformed> {
        let count = usize::from(octets.octet("no length of user data")?);
        let kind = alphabet_of(coding);
        let size = if kind == GSM7 { (count * 7).div_ceil(8) } else { count };
        if size > OCTETS_MAX {
            return Err(octets.fault("user data of more than 140 octets"));
        }
        let all = octets.take(size, "user data end too early")?;
        let (head, header) = if has_header { header_of(all, octets)? } else { (0, Vec::new()) };
        let rest = all.get(head..).unwrap_or_default();
        let content = match kind {
            GSM7 => {
                let count = count.saturating_sub((head * 8).div_ceil(7));
                Content::Gsm7(alphabet::text(&alphabet::unpack(rest, filling(head), count)))
            }
            UCS2 => {
                let units = rest.chunks_exact(2).filter_map(|pair| pair.try_into().ok());
                let units: Vec<u16> = units.map(u16::from_be_bytes).collect();
                Content::Ucs2(String::from_utf16_lossy(&units))
            }
            _ => Content::Binary(rest.to_vec()),
        };
        Ok(Self { coding, header, content })
    }
}

/// Bits from the end of a header to the next septet.
fn filling(head: usize) -> u32 {
    let bits = head * 8;
    u32::try_from(bits.div_ceil(7) * 7 - bits).unwrap_or(0)
}

/// How many octets the header has with its length, and its elements.
fn header_of(all: &[u8], place: &Octets<'_>) -> Result<(usize, Vec<Element>), Malformed> {
    let mut octets = Octets::new(all);
    let fault = place.fault("the header of user data ends too early");
    let content = octets.counted("header").map_err(|_| fault)?;
    let mut inner = Octets::new(content);
    let mut out = Vec::new();
    while !inner.is_empty() {
        let id = inner.octet("element").map_err(|_| fault)?;
        let data = inner.counted("element").map_err(|_| fault)?.to_vec();
        out.push(Element { id, data });
    }
    Ok((content.len() + 1, out))
}

/// Which alphabet a data coding scheme means (TS 23.038 §4); compressed text counts as octets.
const fn alphabet_of(coding: u8) -> u8 {
    match coding >> 4 {
        0x0..=0x7 if coding & 0x20 != 0 => BINARY,
        0x0..=0x7 => match coding & 0x0c {
            0x04 => BINARY,
            0x08 => UCS2,
            _ => GSM7,
        },
        0xe => UCS2,
        0xf if coding & 0x04 != 0 => BINARY,
        _ => GSM7,
    }
}

/// A text as user data of as many messages as it needs, in the default alphabet if that has all
/// its characters, else in UCS2. `None` where 255 are not enough.
#[must_use]
pub fn segments(text: &str, reference: u8) -> Option<Vec<UserData>> {
    let gsm7 = alphabet::septets(text);
    let cost = |char: char| match gsm7 {
        Some(_) => alphabet::septets_of(char).map_or(0, |septets| septets.len()),
        None => char.len_utf16(),
    };
    let (whole, part) = if gsm7.is_some() { SEPTETS } else { UNITS };
    let total: usize = text.chars().map(cost).sum();
    let room = if total <= whole { whole } else { part };
    let mut pieces = vec![(String::new(), 0)];
    for char in text.chars() {
        let cost = cost(char);
        match pieces.last_mut() {
            Some((piece, used)) if *used + cost <= room => {
                piece.push(char);
                *used += cost;
            }
            _ => pieces.push((char.to_string(), cost)),
        }
    }
    let total = u8::try_from(pieces.len()).ok()?;
    let piece = |(number, (text, _)): (u8, (String, usize))| {
        let (coding, content) = match gsm7 {
            Some(_) => (GSM7, Content::Gsm7(text)),
            None => (UCS2, Content::Ucs2(text)),
        };
        let element = Element { id: 0, data: vec![reference, total, number] };
        let header = if total > 1 { vec![element] } else { Vec::new() };
        UserData { coding, header, content }
    };
    Some((1..=total).zip(pieces).map(piece).collect())
}
