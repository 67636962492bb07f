//! What a load is: phases of work at a rate.

use std::fmt;

use cscf_core::time::Duration;
use cscf_core::words::duration;

/// One kind of work of a UE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// A registration with challenge, of the next UE in turn.
    Register,
    /// The registration of a registered UE anew, in its Call-ID.
    Reregister,
    /// The deregistration of a registered UE.
    Deregister,
    /// A call: INVITE, 180, 200, ACK, and after the hold time BYE.
    Call,
    /// A MESSAGE.
    Message,
}

impl Work {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Register, Self::Reregister, Self::Deregister, Self::Call, Self::Message];

    /// Its word on the command line and in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Reregister => "reregister",
            Self::Deregister => "deregister",
            Self::Call => "call",
            Self::Message => "message",
        }
    }
}

/// How often something begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// So often a second.
    PerSecond(f64),
    /// As often as goes well.
    Max,
}

/// How long a phase goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// So long.
    For(Duration),
    /// Until so much has begun.
    Count(u64),
}

/// A phase: `call=8,message=2:500:10s`.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Each work with its weight.
    pub mix: Vec<(Work, u32)>,
    /// How often work begins.
    pub rate: Rate,
    /// How long.
    pub extent: Extent,
}

/// The highest rate that can be asked for.
const RATE_MAX: f64 = 1e6;

impl Phase {
    /// Reads `WORK[=WEIGHT][,…]:RATE[:TIME or COUNT]`.
    ///
    /// # Errors
    ///
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(3, ':');
        let mix = parts.next().unwrap_or_default();
        let mix: Vec<_> = mix.split(',').map(part).collect::<Result<_, _>>()?;
        let rate = match parts.next() {
            Some("max") => Rate::Max,
            Some(rate) => {
                let fine = |rate: &f64| (0.01..=RATE_MAX).contains(rate);
                let rate = rate.parse().ok().filter(fine);
                let fault = || format!("`{text}`: a rate is 0.01 to {RATE_MAX} a second, or `max`");
                Rate::PerSecond(rate.ok_or_else(fault)?)
            }
            None => return Err(format!("`{text}` needs a rate: write e.g. `{text}:100:10s`")),
        };
        let extent = match parts.next() {
            None => Extent::For(Duration::from_secs(10)),
            Some(count) if count.bytes().all(|byte| byte.is_ascii_digit()) => {
                let fault = || format!("`{text}`: `{count}` is no count above 0");
                Extent::Count(count.parse().ok().filter(|it| *it > 0).ok_or_else(fault)?)
            }
            Some(time) => {
                Extent::For(duration(time).map_err(|fault| format!("`{text}`: {fault}"))?)
            }
        };
        if rate == Rate::Max && matches!(extent, Extent::Count(_)) {
            return Err(format!("`{text}`: a search for the maximum needs the time of each try"));
        }
        Ok(Self { mix, rate, extent })
    }

    /// Whether its UEs must be registered before.
    #[must_use]
    pub fn needs_registered(&self) -> bool {
        self.mix.iter().any(|(work, _)| *work != Work::Register)
    }

    /// The sum of all weights.
    #[must_use]
    pub fn weights(&self) -> u64 {
        self.mix.iter().map(|(_, weight)| u64::from(*weight)).sum()
    }

    /// The work on which the number falls, of those below the sum of all weights.
    #[must_use]
    pub fn work_at(&self, mut number: u64) -> Work {
        for (work, weight) in &self.mix {
            match number.checked_sub(u64::from(*weight)) {
                Some(rest) => number = rest,
                None => return *work,
            }
        }
        self.mix.first().map_or(Work::Register, |(work, _)| *work)
    }
}

fn part(text: &str) -> Result<(Work, u32), String> {
    let (word, weight) = text.split_once('=').unwrap_or((text, "1"));
    let Some(work) = Work::ALL.into_iter().find(|work| work.word() == word) else {
        let words = Work::ALL.map(Work::word).join(", ");
        return Err(format!("`{word}` is no work of a UE; there are {words}"));
    };
    let weight = weight.parse().ok().filter(|it| (1..=1_000_000).contains(it));
    Ok((work, weight.ok_or_else(|| format!("`{text}`: a weight is 1 to 1000000"))?))
}

/// As it is written, without the weight of work that stands alone.
impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.mix.iter().map(|(work, weight)| match self.mix.len() {
            1 => work.word().to_owned(),
            _ => format!("{}={weight}", work.word()),
        });
        f.write_str(&words.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_read_and_their_weights_obeyed() {
        let phase = Phase::parse("call=8,message=2:500:10s").expect("a phase");
        assert_eq!(phase.mix, [(Work::Call, 8), (Work::Message, 2)]);
        assert_eq!(phase.rate, Rate::PerSecond(500.0));
        assert_eq!(phase.extent, Extent::For(Duration::from_secs(10)));
        assert_eq!((phase.work_at(7), phase.work_at(8)), (Work::Call, Work::Message));
        assert_eq!(phase.to_string(), "call=8,message=2");
        assert!(phase.needs_registered());
        let count = Phase::parse("register:1000:5000").expect("a phase");
        assert_eq!(count.extent, Extent::Count(5000));
        assert!(!count.needs_registered());
        assert_eq!(Phase::parse("call:max:2s").expect("a phase").rate, Rate::Max);
    }

    #[test]
    fn what_is_wrong_in_a_phase_is_said() {
        for (text, expected) in [
            ("cal:1", "`cal` is no work"),
            ("call", "needs a rate"),
            ("call:0", "a rate is"),
            ("call:NaN", "a rate is"),
            ("call=0:1", "a weight is"),
            ("call:1:0", "no count"),
            ("call:1:10x", "`call:1:10x`"),
            ("call:max:10", "needs the time"),
        ] {
            let fault = Phase::parse(text).expect_err("wrong");
            assert!(fault.contains(expected), "{text}: {fault}");
        }
    }
}
