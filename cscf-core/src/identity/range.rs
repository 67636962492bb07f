//! Identities that are counted up: so many IMSIs from a first one, each with the identities of a
//! USIM and perhaps a number (TS 23.003 §2.2, §3.3, §13.3, §13.4). A range is never written out:
//! whether an identity is of it, and whether two ranges meet, is arithmetic.

use std::ops::RangeInclusive;

use crate::ids::push_decimal;

/// A range of IMSIs at one home domain, with as many numbers if it has any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImsiRange {
    first: u64,
    /// Digits of each IMSI.
    width: usize,
    count: u64,
    /// The first number in international form, without `+`.
    number: Option<u64>,
    domain: String,
}

/// A range that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeFault {
    /// Nobody is in it.
    #[error("a range of nobody")]
    Empty,
    /// The first IMSI is none (TS 23.003 §2.2).
    #[error("`{0}` is no IMSI of 6 to 15 digits")]
    NotAnImsi(String),
    /// There are no such numbers.
    #[error("the last number has too many digits")]
    NumberTooLong,
    /// The last IMSI would have one digit more than the first.
    #[error("the last IMSI {last} has more than {width} digits")]
    TooLong {
        /// The last one.
        last: String,
        /// Digits of the first.
        width: usize,
    },
}

impl ImsiRange {
    /// `count` IMSIs from `imsi` on; `number` is the first one in international form, without `+`.
    ///
    /// # Errors
    ///
    /// [`RangeFault`].
    pub fn new(
        imsi: &str,
        count: u64,
        number: Option<u64>,
        domain: &str,
    ) -> Result<Self, RangeFault> {
        let (width, first) =
            imsi_value(imsi).ok_or_else(|| RangeFault::NotAnImsi(imsi.to_owned()))?;
        let end = count.checked_sub(1).ok_or(RangeFault::Empty)?;
        let last = first.saturating_add(end).to_string();
        if last.len() > width {
            return Err(RangeFault::TooLong { last, width });
        }
        if number.is_some_and(|number| number.checked_add(count).is_none()) {
            return Err(RangeFault::NumberTooLong);
        }
        Ok(Self { first, width, count, number, domain: domain.to_ascii_lowercase() })
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Digits of each IMSI.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.width
    }

    /// The first and the last IMSI by value.
    #[must_use]
    pub const fn values(&self) -> RangeInclusive<u64> {
        self.first..=self.first + (self.count - 1)
    }

    /// The first and the last number, without `+`.
    #[must_use]
    pub fn numbers(&self) -> Option<RangeInclusive<u64>> {
        self.number.map(|first| first..=first + (self.count - 1))
    }

    /// The domain of all, in lower case.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The IMSI of a member, counted from 0.
    #[must_use]
    pub fn imsi(&self, member: u64) -> String {
        let mut out = String::with_capacity(self.width);
        self.push_imsi(&mut out, member);
        out
    }

    /// Its private identity (TS 23.003 §13.3).
    #[must_use]
    pub fn impi(&self, member: u64) -> String {
        let mut out = String::with_capacity(self.width + 1 + self.domain.len());
        self.push_imsi(&mut out, member);
        out.push('@');
        out.push_str(&self.domain);
        out
    }

    /// Its number with `+`.
    #[must_use]
    pub fn number(&self, member: u64) -> Option<String> {
        self.number.map(|first| {
            let mut out = String::with_capacity(16);
            out.push('+');
            push_decimal(&mut out, first + member);
            out
        })
    }

    /// Its public identities, each with whether it is barred: the number in its two forms, and that
    /// of the IMSI, which is only to register with where there is a number (TS 23.003 §13.4).
    #[must_use]
    pub fn impus(&self, member: u64) -> Vec<(String, bool)> {
        let mut out = Vec::with_capacity(3);
        if let Some(number) = self.number(member) {
            out.push((["sip:", &number, "@", &self.domain, ";user=phone"].concat(), false));
            out.push((["tel:", &number].concat(), false));
        }
        out.push((["sip:", &self.impi(member)].concat(), self.number.is_some()));
        out
    }

    /// Written without formatting: a member is made for each question about it.
    fn push_imsi(&self, out: &mut String, member: u64) {
        let at = out.len();
        push_decimal(out, self.first + member);
        let missing = self.width.saturating_sub(out.len() - at);
        out.insert_str(at, "000000000000000".get(..missing).unwrap_or_default());
    }

    /// The member with this IMSI.
    #[must_use]
    pub fn of_imsi(&self, text: &str) -> Option<u64> {
        let (width, value) = imsi_value(text)?;
        if width == self.width { self.of_value(value) } else { None }
    }

    /// The member with this number, `+` and digits.
    #[must_use]
    pub fn of_number(&self, text: &str) -> Option<u64> {
        let value = number_value(text)?;
        let member = value.checked_sub(self.number?)?;
        Some(member).filter(|member| *member < self.count)
    }

    /// The member with this private identity; the domain in lower case.
    #[must_use]
    pub fn of_impi(&self, text: &str) -> Option<u64> {
        let (imsi, domain) = text.split_once('@')?;
        if domain == self.domain { self.of_imsi(imsi) } else { None }
    }

    /// The member with this public identity, written as [`Self::impus`] writes it.
    #[must_use]
    pub fn of_impu(&self, text: &str) -> Option<u64> {
        if let Some(number) = text.strip_prefix("tel:") {
            return self.of_number(number);
        }
        let rest = text.strip_prefix("sip:")?;
        match rest.strip_suffix(";user=phone") {
            Some(rest) => {
                let (number, domain) = rest.split_once('@')?;
                if domain == self.domain { self.of_number(number) } else { None }
            }
            None => self.of_impi(rest),
        }
    }

    /// The member with this public identity, in the form it is looked up by
    /// ([`super::Impu`]).
    #[must_use]
    pub fn of_key(&self, key: &str) -> Option<u64> {
        if let Some(number) = key.strip_prefix("tel:") {
            return self.of_number(number);
        }
        let (user, domain) = key.strip_prefix("sip:")?.split_once('@')?;
        if domain == self.domain { self.of_user(user) } else { None }
    }

    /// The member whose user part of an identity this is: an IMSI, or a number with `+`.
    #[must_use]
    pub fn of_user(&self, user: &str) -> Option<u64> {
        if user.starts_with('+') { self.of_number(user) } else { self.of_imsi(user) }
    }

    fn of_value(&self, value: u64) -> Option<u64> {
        value.checked_sub(self.first).filter(|member| *member < self.count)
    }

    /// The first member whose IMSI is of the other range, too.
    #[must_use]
    pub fn meets(&self, other: &Self) -> Option<u64> {
        let same = self.width == other.width && self.domain == other.domain;
        let start = self.first.max(other.first);
        self.of_value(start).filter(|_| same && other.of_value(start).is_some())
    }

    /// Those before a member, and those behind it.
    #[must_use]
    pub fn without(&self, member: u64) -> (Option<Self>, Option<Self>) {
        let before = Self { count: member.min(self.count), ..self.clone() };
        let behind = Self {
            first: self.first + member + 1,
            number: self.number.map(|first| first + member + 1),
            count: self.count.saturating_sub(member + 1),
            ..self.clone()
        };
        let some = |range: Self| Some(range).filter(|range| range.count > 0);
        (some(before), some(behind))
    }

    /// The first member from `from` on whose private identity has `part` in it.
    #[must_use]
    pub fn next_with(&self, from: u64, part: &str) -> Option<u64> {
        if from >= self.count {
            return None;
        }
        let start = self.first + from;
        let tail = format!("@{}", self.domain);
        let found = match part.split_once('@') {
            _ if tail.contains(part) => Some(start),
            // What stands before the domain is the end of the IMSI.
            Some((end, domain)) if self.domain.starts_with(domain) => self.next_at(start, end, 0),
            Some(_) => None,
            None => {
                let places = 0..=self.width.checked_sub(part.len())?;
                places.filter_map(|place| self.next_at(start, part, place)).min()
            }
        };
        found.and_then(|value| self.of_value(value))
    }

    /// The least value from `start` on with these digits so many places before its end.
    fn next_at(&self, start: u64, digits: &str, place: usize) -> Option<u64> {
        if digits.len() > self.width || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let power = |digits: usize| 10_u64.checked_pow(u32::try_from(digits).ok()?);
        let (unit, size) = (power(place)?, power(digits.len())?);
        let wanted = if digits.is_empty() { 0 } else { digits.parse::<u64>().ok()? };
        if start / unit % size == wanted {
            return Some(start);
        }
        // As it is in front of the digits, or one more.
        let above = start / unit / size;
        let candidate =
            |above: u64| above.checked_mul(size)?.checked_add(wanted)?.checked_mul(unit);
        [above, above + 1].into_iter().filter_map(candidate).find(|value| *value >= start)
    }
}

/// Width and value of an IMSI of 6 to 15 digits (TS 23.003 §2.2).
#[must_use]
pub fn imsi_value(text: &str) -> Option<(usize, u64)> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let fine = digits && (6..=15).contains(&text.len());
    fine.then(|| text.parse().ok())?.map(|value| (text.len(), value))
}

/// The value of a global number: `+`, and digits of which the first is not 0.
#[must_use]
pub fn number_value(text: &str) -> Option<u64> {
    let digits = text.strip_prefix('+')?;
    let fine = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> ImsiRange {
        ImsiRange::new("001010000000001", 10_000_000, Some(1_555_000_000), "Ims.example")
            .expect("a range")
    }

    #[test]
    fn both_ends_are_found_by_each_form_and_one_outside_is_not() {
        let range = range();
        for member in [0, 9_999_999] {
            assert_eq!(range.of_imsi(&range.imsi(member)), Some(member));
            assert_eq!(range.of_impi(&range.impi(member)), Some(member));
            assert_eq!(range.of_number(&range.number(member).expect("one")), Some(member));
            for (impu, _) in range.impus(member) {
                assert_eq!(range.of_impu(&impu), Some(member), "{impu}");
                let key = super::super::Impu::parse(&impu).expect("an identity");
                assert_eq!(range.of_key(key.as_str()), Some(member), "{impu}");
            }
        }
        for text in [
            "001010000000000@ims.example",
            "001010010000001@ims.example",
            "01010000000001@ims.example",
            "001010000000001@ims.example.org",
            "00101000000000x@ims.example",
        ] {
            assert_eq!(range.of_impi(text), None, "{text}");
            assert_eq!(range.of_impu(&format!("sip:{text}")), None, "{text}");
        }
        for text in ["+1554999999", "+1565000000", "1555000000", "+01555000000", "+"] {
            assert_eq!(range.of_number(text), None, "{text}");
            assert_eq!(range.of_impu(&format!("tel:{text}")), None, "{text}");
        }
        assert_eq!(range.of_impu("sip:+1555000000@ims.example"), None, "not as it is written");
        let alone = ImsiRange::new("001010", 1, None, "ims.example").expect("a range");
        assert_eq!(alone.impus(0), [("sip:001010@ims.example".to_owned(), false)]);
    }

    #[test]
    fn ranges_meet_where_they_have_an_imsi_in_common() {
        let of = |imsi, count| ImsiRange::new(imsi, count, None, "ims.example").expect("a range");
        let one = of("001010000000100", 100);
        for (other, expected) in [
            (of("001010000000000", 100), None),
            (of("001010000000000", 101), Some(0)),
            (of("001010000000199", 1), Some(99)),
            (of("001010000000200", 9), None),
            (of("001010000000000", 1_000), Some(0)),
            (of("01010000000100", 100), None),
        ] {
            assert_eq!(one.meets(&other), expected, "{other:?}");
            assert_eq!(other.meets(&one).is_some(), expected.is_some(), "{other:?}");
        }
    }

    #[test]
    fn taking_one_out_leaves_those_around_it() {
        let range = ImsiRange::new("001010000000100", 3, Some(1_555), "ims.example");
        let range = range.expect("a range");
        let (before, behind) = range.without(1);
        let behind = behind.expect("one");
        assert_eq!(before.expect("one").values(), 1_010_000_000_100..=1_010_000_000_100);
        assert_eq!((behind.imsi(0), behind.number(0)), (range.imsi(2), range.number(2)));
        assert_eq!((range.without(0).0, range.without(2).1), (None, None));
    }

    #[test]
    fn parts_of_an_identity_are_found_in_order_without_trying_each() {
        let range = ImsiRange::new("000098", 2_000, None, "ims.example").expect("a range");
        let parts = ["98", "1", "0", "000099", "00@", "5@ims.ex", "@", "ims", "x", "7@org", "2097"];
        for part in parts {
            let tried: Vec<u64> =
                (0..2_000).filter(|member| range.impi(*member).contains(part)).collect();
            let mut found = Vec::new();
            let mut from = 0;
            while let Some(member) = range.next_with(from, part) {
                found.push(member);
                from = member + 1;
            }
            assert_eq!(found, tried, "{part}");
        }
    }

    #[test]
    fn what_cannot_be_is_no_range() {
        let new = |imsi, count| ImsiRange::new(imsi, count, None, "ims.example");
        assert_eq!(new("12", 1), Err(RangeFault::NotAnImsi("12".into())));
        assert_eq!(new("001010", 0), Err(RangeFault::Empty));
        assert_eq!(new("999999", 2), Err(RangeFault::TooLong { last: "1000000".into(), width: 6 }));
        assert!(new("999999", 1).is_ok());
    }
}
