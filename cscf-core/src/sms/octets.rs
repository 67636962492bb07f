//! Reads octets one after another, and says where they end too early.

use std::fmt;

/// What is wrong with an RP or TP message, and at which octet of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Octets before the fault.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "octet {}: {}", self.at, self.what)
    }
}

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Octets<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Octets<'a> {
    pub(super) const fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    pub(super) const fn fault(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.all.len()
    }

    pub(super) fn octet(&mut self, what: &'static str) -> Result<u8, Malformed> {
        let octet = self.all.get(self.at).copied().ok_or(self.fault(what))?;
        self.at += 1;
        Ok(octet)
    }

    pub(super) fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let taken = self.all.get(self.at..).and_then(|rest| rest.get(..count));
        let taken = taken.ok_or(self.fault(what))?;
        self.at += count;
        Ok(taken)
    }

    /// A length octet and so many octets.
    pub(super) fn counted(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let count = self.octet(what)?;
        self.take(count.into(), what)
    }
}

/// The low octet of a length whose bound is known to be below 256.
pub(super) fn length(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}
