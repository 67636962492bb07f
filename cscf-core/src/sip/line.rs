//! Where a header line stands and what is where in it, and the bytes that were received.

use bytes::Bytes;

use super::field::Text;
use super::name::HeaderName;

/// A line: where it stands, and what is where in it. Offsets inside a line are clipped, which only
/// a name or white space of more than 64 KiB could notice; the head of a message is shorter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) start: u32,
    pub(super) len: u32,
    /// Where it began in the message it was read from; [`NOT_RECEIVED`] for our own lines.
    pub(super) offset: u32,
    pub(super) colon: u16,
    pub(super) value: u16,
    /// What follows the value: white space and the CRLF.
    pub(super) tail: u16,
    pub(super) name: HeaderName,
    pub(super) place: Place,
}

/// Which bytes a line stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In [`Raw::loose`].
    Loose,
    /// Among the lines of our own.
    Own,
    /// In the message as received.
    Wire,
}

/// What of a message is not known to be text: hardly any has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Raw {
    /// The head as received, if something in it is not UTF-8: each value is looked at by itself.
    pub(super) wire: Bytes,
    /// Lines that are neither as received nor known to be text.
    pub(super) loose: Vec<u8>,
}

/// None where everything is text.
pub(super) type RawBox = Option<Box<Raw>>;

/// The offset of a line of our own.
pub(super) const NOT_RECEIVED: u32 = u32::MAX;

impl Line {
    /// The line `text` (with its CRLF), which stands at `start`.
    #[inline]
    pub(super) fn new(text: &[u8], name: HeaderName, colon: usize, start: usize) -> Self {
        let rest = text.get(colon + 1..).unwrap_or_default();
        let (value_len, tail) = match rest {
            // As nearly every line is: one space, the value, CRLF.
            [b' ', first, .., last, b'\r', b'\n'] if *first > b' ' && *last > b' ' => {
                (rest.len() - 1, 2)
            }
            _ => {
                let from_value = rest.trim_ascii_start();
                (from_value.len(), from_value.len() - from_value.trim_ascii_end().len())
            }
        };
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        Self {
            start,
            len: u32::try_from(text.len()).unwrap_or(u32::MAX),
            offset: start,
            colon: clip(colon),
            value: clip(text.len() - value_len),
            tail: clip(tail),
            name,
            place: Place::Wire,
        }
    }

    /// Copies a line out of its message, to where text is or to where other bytes are.
    pub(super) fn kept(&self, text: &Text<'_>, own: &mut String, raw: &mut RawBox) -> Self {
        let (start, place) = match text {
            Text::Bytes(bytes) => {
                let loose = &mut raw.get_or_insert_with(Box::default).loose;
                let start = loose.len();
                loose.extend_from_slice(bytes);
                (start, Place::Loose)
            }
            Text::Str(text) => {
                let start = own.len();
                own.push_str(text);
                (start, Place::Own)
            }
        };
        Self { start: u32::try_from(start).unwrap_or(u32::MAX), place, ..*self }
    }
}

fn clip(offset: usize) -> u16 {
    u16::try_from(offset).unwrap_or(u16::MAX)
}
