//! Times of day (TS 23.040 §9.2.3.11) and how long a message is kept (§9.2.3.12).

use std::fmt;

use super::octets::{Malformed, Octets};
use crate::time::{Duration, UnixTime};

/// A time of day as it stands in a message: seven octets of swapped digits, the last one the
/// distance from GMT in quarters of an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeStamp([u8; 7]);

impl TimeStamp {
    /// This moment, in GMT.
    #[must_use]
    pub fn at(time: UnixTime) -> Self {
        let (days, seconds) = (time.0 / 86_400, time.0 % 86_400);
        let (year, month, day) = date(days);
        let fields = [year % 100, month, day, seconds / 3600, seconds / 60 % 60, seconds % 60];
        let mut out = [0; 7];
        for (octet, field) in out.iter_mut().zip(fields) {
            *octet = swapped(field);
        }
        Self(out)
    }

    /// The moment it means in this century; `None` where it is none.
    #[must_use]
    pub fn unix(&self) -> Option<UnixTime> {
        let [year, month, day, hour, minute, second, zone] = self.0;
        let [year, month, day] = [two(year)?, two(month)?, two(day)?];
        let [hour, minute, second] = [two(hour)?, two(minute)?, two(second)?];
        let fits = (1..=12).contains(&month) && (1..=31).contains(&day);
        if !fits || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let quarters = two(zone & 0xf7)? * 900;
        let local = days(2000 + year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        let west = zone & 8 != 0;
        Some(UnixTime(if west { local + quarters } else { local.saturating_sub(quarters) }))
    }

    pub(super) const fn octets(&self) -> [u8; 7] {
        self.0
    }

    pub(super) fn read(octets: &mut Octets<'_>) -> Result<Self, Malformed> {
        let taken = octets.take(7, "a time stamp ends too early")?;
        let fault = octets.fault("no time stamp");
        taken.try_into().map(Self).map_err(|_| fault)
    }
}

impl fmt::Display for TimeStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |octet: u8| match two(octet) {
            Some(number) => format!("{number:02}"),
            None => "??".to_owned(),
        };
        let [year, month, day, hour, minute, second, zone] = self.0;
        let [year, month, day] = [text(year), text(month), text(day)];
        let [hour, minute, second] = [text(hour), text(minute), text(second)];
        write!(f, "{year}-{month}-{day} {hour}:{minute}:{second}")?;
        let sign = if zone & 8 == 0 { '+' } else { '-' };
        let quarters = two(zone & 0xf7).unwrap_or(0);
        write!(f, " GMT{sign}{}:{:02}", quarters / 4, quarters % 4 * 15)
    }
}

/// Two decimal digits, the low one first.
fn swapped(number: u64) -> u8 {
    u8::try_from(((number % 10) << 4) | (number / 10 % 10)).unwrap_or(0)
}

fn two(octet: u8) -> Option<u64> {
    let (tens, ones) = (octet & 0x0f, octet >> 4);
    (tens < 10 && ones < 10).then(|| u64::from(tens * 10 + ones))
}

/// Days since 1970 of a date of the Gregorian calendar.
const fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years begin in March, so that the leap day is their last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date so many days after 1970 began.
const fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * of_era + of_era / 4 - of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let january = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + of_era + if january <= 2 { 1 } else { 0 };
    (year, january, date)
}

/// How long a service centre is to keep a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Until then.
    Absolute(TimeStamp),
    /// In the enhanced format, as it came.
    Enhanced([u8; 7]),
    /// From when it is received, as the octet counts (TS 23.040 §9.2.3.12.1).
    Relative(u8),
}

impl Validity {
    /// How long from `now`; `None` where the centre has its own time.
    #[must_use]
    pub fn lasts(&self, now: UnixTime) -> Option<Duration> {
        let minutes = match self {
            Self::Relative(octet) => {
                let count = u64::from(*octet);
                match count {
                    0..=143 => (count + 1) * 5,
                    144..=167 => 720 + (count - 143) * 30,
                    168..=196 => (count - 166) * 1440,
                    _ => (count - 192) * 10_080,
                }
            }
            Self::Absolute(until) => {
                let seconds = until.unix()?.0.saturating_sub(now.0);
                return Some(Duration::from_secs(seconds));
            }
            Self::Enhanced(_) => return None,
        };
        Some(Duration::from_secs(minutes * 60))
    }
}
