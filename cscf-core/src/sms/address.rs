//! Addresses: in TP counted in digits (TS 23.040 §9.1.2.5), in RP in octets (TS 24.011 §8.2.5.1).

use std::fmt;

use super::alphabet;
use super::octets::{Malformed, Octets, length};

/// Digits of an address at most (TS 23.040 §9.1.2.5: ten octets).
const DIGITS_MAX: usize = 20;
/// The type of number of an international number.
const INTERNATIONAL: u8 = 1;
/// The type of number of letters.
const ALPHANUMERIC: u8 = 5;
/// The digits by their codes.
const DIGITS: [char; 15] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'a', 'b', 'c'];

/// An address: a number, or letters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Type of number, three bits.
    kind: u8,
    /// Numbering plan, four bits.
    plan: u8,
    /// The digits, or the letters, at most 20.
    text: String,
}

impl Address {
    /// A number as it is dialled: with `+` an international one. Separators (`-`, `.`, brackets)
    /// are left out. `None` where other characters or no digits are in it, or more than 20.
    #[must_use]
    pub fn number(text: &str) -> Option<Self> {
        let (kind, digits) = match text.strip_prefix('+') {
            Some(digits) => (INTERNATIONAL, digits),
            None => (0, text),
        };
        let digits: String = digits.chars().filter(|char| !"-.()".contains(*char)).collect();
        let known = digits.chars().all(|char| DIGITS.contains(&char));
        let fits = known && !digits.is_empty() && digits.len() <= DIGITS_MAX;
        fits.then_some(Self { kind, plan: 1, text: digits })
    }

    /// Letters as they stand in place of a number, e.g. the name of a service: at most eleven.
    #[must_use]
    pub fn letters(text: &str) -> Option<Self> {
        let septets = alphabet::septets(text)?;
        let fits = !septets.is_empty() && septets.len() <= 11;
        fits.then(|| Self { kind: ALPHANUMERIC, plan: 0, text: text.to_owned() })
    }

    fn octets(&self) -> Vec<u8> {
        if self.kind == ALPHANUMERIC {
            return alphabet::pack(&alphabet::septets(&self.text).unwrap_or_default(), 0);
        }
        let code = |char| (0..).zip(DIGITS).find(|(_, known)| *known == char).map(|(at, _)| at);
        let codes: Vec<u8> = self.text.chars().filter_map(code).collect();
        let pair = |pair: &[u8]| match pair {
            [low, high] => high << 4 | low,
            [low] => 0xf0 | low,
            _ => 0xff,
        };
        codes.chunks(2).map(pair).collect()
    }

    const fn head(&self) -> u8 {
        0x80 | self.kind << 4 | self.plan
    }

    /// In TP: how many half octets, what kind, the digits.
    pub(super) fn write_tp(&self, out: &mut Vec<u8>) {
        let octets = self.octets();
        let halves = match self.kind {
            // The half octets that hold letters (TS 23.040 §9.1.2.5).
            ALPHANUMERIC => {
                let septets = alphabet::septets(&self.text).unwrap_or_default();
                (septets.len() * 7).div_ceil(4)
            }
            _ => self.text.len(),
        };
        out.push(length(halves));
        out.push(self.head());
        out.extend(octets);
    }

    /// In RP: how many octets follow, what kind, the digits.
    pub(super) fn write_rp(&self, out: &mut Vec<u8>) {
        let octets = self.octets();
        out.push(length(octets.len() + 1));
        out.push(self.head());
        out.extend(octets);
    }

    pub(super) fn read_tp(octets: &mut Octets<'_>) -> Result<Self, Malformed> {
        let halves = usize::from(octets.octet("no address")?);
        if halves > DIGITS_MAX {
            return Err(octets.fault("an address of more than 20 digits"));
        }
        let head = octets.octet("no type of address")?;
        let digits = octets.take(halves.div_ceil(2), "an address ends too early")?;
        let (kind, plan) = (head >> 4 & 7, head & 0x0f);
        if kind == ALPHANUMERIC {
            let septets = alphabet::unpack(digits, 0, halves * 4 / 7);
            return Ok(Self { kind, plan, text: alphabet::text(&septets) });
        }
        let text = digits_of(digits, halves).ok_or(octets.fault("no digit of a number"))?;
        Ok(Self { kind, plan, text })
    }

    /// `None`: the address has no octets.
    pub(super) fn read_rp(octets: &mut Octets<'_>) -> Result<Option<Self>, Malformed> {
        let content = octets.counted("an address ends too early")?;
        let Some((head, digits)) = content.split_first() else { return Ok(None) };
        if digits.len() * 2 > DIGITS_MAX {
            return Err(octets.fault("an address of more than 20 digits"));
        }
        if head >> 4 & 7 == ALPHANUMERIC {
            return Err(octets.fault("letters in place of a number"));
        }
        let open = digits.last().is_some_and(|last| last >> 4 == 0x0f);
        let halves = digits.len() * 2 - usize::from(open);
        let text = digits_of(digits, halves).ok_or(octets.fault("no digit of a number"))?;
        Ok(Some(Self { kind: head >> 4 & 7, plan: head & 0x0f, text }))
    }
}

fn digits_of(octets: &[u8], halves: usize) -> Option<String> {
    let codes = octets.iter().flat_map(|octet| [octet & 0x0f, octet >> 4]).take(halves);
    codes.map(|code| DIGITS.get(usize::from(code)).copied()).collect()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == INTERNATIONAL {
            f.write_str("+")?;
        }
        f.write_str(&self.text)
    }
}
