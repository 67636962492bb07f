//! What a fleet measures: latencies, what failed and why, what was sent again.

use std::collections::BTreeMap;
use std::fmt;

use super::histogram::Histogram;
use super::plan::Work;

/// What is measured between a request and what answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Latency {
    /// The first REGISTER to its challenge.
    RegisterChallenge,
    /// The REGISTER with credentials to its 200.
    Register,
    /// INVITE to 180.
    Ringing,
    /// INVITE to 200, the ring time in it.
    Answer,
    /// BYE to 200.
    Bye,
    /// MESSAGE to 200.
    Message,
}

impl Latency {
    /// All, in the order of tables.
    pub const ALL: [Self; 6] = [
        Self::RegisterChallenge,
        Self::Register,
        Self::Ringing,
        Self::Answer,
        Self::Bye,
        Self::Message,
    ];

    /// Its name in tables and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RegisterChallenge => "REGISTER-401",
            Self::Register => "REGISTER-200",
            Self::Ringing => "INVITE-180",
            Self::Answer => "INVITE-200",
            Self::Bye => "BYE-200",
            Self::Message => "MESSAGE-200",
        }
    }
}

/// Why something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// A request without a final answer in time.
    Timeout(&'static str),
    /// A final answer that is none of success.
    Code(&'static str, u16),
    /// A challenge that cannot be answered, and why.
    Challenge(&'static str),
    /// What the other side should not do.
    Unexpected(&'static str),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(method) => write!(f, "{method} without answer"),
            Self::Code(method, code) => write!(f, "{method} answered {code}"),
            Self::Challenge(why) => write!(f, "REGISTER: {why}"),
            Self::Unexpected(what) => f.write_str(what),
        }
    }
}

/// The results of one phase.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// What was begun, by work.
    pub begun: BTreeMap<Work, u64>,
    /// What went well to its end, by work.
    pub ok: BTreeMap<Work, u64>,
    /// What failed, by cause.
    pub failed: BTreeMap<Cause, u64>,
    /// Messages that the fleet sent again, because nothing came back.
    pub sent_again: u64,
    /// Messages that came again: the network saw no answer in time.
    pub came_again: u64,
    /// Messages that belong to nothing that runs, or are no SIP.
    pub unexpected: u64,
    /// Arrivals for which there was no UE in the right state.
    pub skipped: u64,
    /// Messages that left and that arrived.
    pub sent: u64,
    /// Messages that arrived.
    pub received: u64,
    /// The most that ran at one time.
    pub running_max: usize,
    latencies: [Histogram; Latency::ALL.len()],
}

impl Results {
    /// The histogram of a latency.
    #[must_use]
    pub fn latency(&self, of: Latency) -> &Histogram {
        let [challenge, register, ringing, answer, bye, message] = &self.latencies;
        match of {
            Latency::RegisterChallenge => challenge,
            Latency::Register => register,
            Latency::Ringing => ringing,
            Latency::Answer => answer,
            Latency::Bye => bye,
            Latency::Message => message,
        }
    }

    pub(super) fn latency_mut(&mut self, of: Latency) -> &mut Histogram {
        let [challenge, register, ringing, answer, bye, message] = &mut self.latencies;
        match of {
            Latency::RegisterChallenge => challenge,
            Latency::Register => register,
            Latency::Ringing => ringing,
            Latency::Answer => answer,
            Latency::Bye => bye,
            Latency::Message => message,
        }
    }

    /// How much was begun.
    #[must_use]
    pub fn begun_all(&self) -> u64 {
        self.begun.values().sum()
    }

    /// How much went well.
    #[must_use]
    pub fn ok_all(&self) -> u64 {
        self.ok.values().sum()
    }

    /// How much failed.
    #[must_use]
    pub fn failed_all(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Whether nothing was lost, sent again or refused.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed.is_empty() && self.sent_again == 0 && self.came_again == 0
    }
}
