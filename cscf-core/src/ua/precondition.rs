//! Preconditions of a medium (RFC 3312, RFC 4032): the segmented status table as one end sees it,
//! read from and written to the attributes `curr`, `des` and `conf`.

use std::fmt;

/// Directions for which something holds, seen from the end that says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// Sending.
    pub send: bool,
    /// Receiving.
    pub recv: bool,
}

impl Directions {
    /// No direction.
    pub const NONE: Self = Self { send: false, recv: false };
    /// Both directions.
    pub const BOTH: Self = Self { send: true, recv: true };

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Some(Self::NONE),
            "send" => Some(Self { send: true, recv: false }),
            "recv" => Some(Self { send: false, recv: true }),
            "sendrecv" => Some(Self::BOTH),
            _ => None,
        }
    }

    /// The same seen from the other end.
    const fn mirrored(self) -> Self {
        Self { send: self.recv, recv: self.send }
    }

    const fn covers(self, needed: Self) -> bool {
        (self.send || !needed.send) && (self.recv || !needed.recv)
    }
}

impl fmt::Display for Directions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.send, self.recv) {
            (false, false) => "none",
            (true, false) => "send",
            (false, true) => "recv",
            (true, true) => "sendrecv",
        })
    }
}

/// How much a precondition matters (RFC 3312 §4), weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Not at all.
    #[default]
    None,
    /// Nice to have.
    Optional,
    /// No alerting before.
    Mandatory,
    /// The reservation failed.
    Failure,
    /// The peer does not know this kind of precondition.
    Unknown,
}

impl Strength {
    const ALL: [(&'static str, Self); 5] = [
        ("none", Self::None),
        ("optional", Self::Optional),
        ("mandatory", Self::Mandatory),
        ("failure", Self::Failure),
        ("unknown", Self::Unknown),
    ];

    fn parse(text: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        found.map(|(_, strength)| *strength)
    }

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, one)| *one == self).map_or("none", |(name, _)| name)
    }
}

/// One segment: the access network of one end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// For which directions the resources are there.
    pub current: Directions,
    /// How much they matter; for both directions, which is all a telephone needs.
    pub strength: Strength,
    /// Whether its owner is asked to tell when they are there.
    pub confirm: bool,
}

/// The status table of `qos` for one medium: our segment and the peer's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// Ours: `local` in what we write, `remote` in what the peer writes.
    pub local: Segment,
    /// The peer's.
    pub remote: Segment,
}

impl Preconditions {
    /// The caller's first offer: its own resources are mandatory, the peer's optional
    /// (TS 24.229 §5.1.3.1). `reserved`: they are there before the call.
    #[must_use]
    pub const fn caller(reserved: bool) -> Self {
        let current = if reserved { Directions::BOTH } else { Directions::NONE };
        Self {
            local: Segment { current, strength: Strength::Mandatory, confirm: false },
            remote: Segment {
                current: Directions::NONE,
                strength: Strength::Optional,
                confirm: false,
            },
        }
    }

    /// The callee's table after an offer: both ends are mandatory, and the caller is asked to
    /// confirm what it has not got yet (TS 24.229 §5.1.4.1, RFC 3312 §6).
    #[must_use]
    pub const fn callee(offered: Self, reserved: bool) -> Self {
        let current = if reserved { Directions::BOTH } else { Directions::NONE };
        let waits = !offered.remote.current.covers(Directions::BOTH);
        Self {
            local: Segment { current, strength: Strength::Mandatory, confirm: false },
            remote: Segment {
                current: offered.remote.current,
                strength: Strength::Mandatory,
                confirm: waits,
            },
        }
    }

    /// Reads the attributes `curr`, `des`, `conf` (name and value) of a medium the peer described:
    /// its `local` is our `remote`. `None` if there is no `curr:qos` or `des:qos` of a segment.
    pub fn parse<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let mut table = Self::default();
        let mut found = false;
        for (name, value) in attributes {
            found |= table.read(name, value).is_some();
        }
        found.then_some(table)
    }

    fn read(&mut self, name: &str, value: &str) -> Option<()> {
        let mut words = value.split_ascii_whitespace();
        if !words.next()?.eq_ignore_ascii_case("qos") {
            return None;
        }
        let (first, second, third) = (words.next()?, words.next()?, words.next());
        match (name, third) {
            ("curr", None) => {
                let current = Directions::parse(second)?;
                self.segment(first)?.current = current.mirrored();
            }
            ("des", Some(directions)) => {
                let _ = Directions::parse(directions)?;
                let strength = Strength::parse(first)?;
                let segment = self.segment(second)?;
                segment.strength = segment.strength.max(strength);
            }
            ("conf", None) => {
                let asked = Directions::parse(second)?;
                self.segment(first)?.confirm = asked != Directions::NONE;
            }
            _ => return None,
        }
        Some(())
    }

    /// The segment the peer calls by this name.
    fn segment(&mut self, name: &str) -> Option<&mut Segment> {
        match name.to_ascii_lowercase().as_str() {
            "local" => Some(&mut self.remote),
            "remote" => Some(&mut self.local),
            _ => None,
        }
    }

    /// The attributes of our description, names with values.
    #[must_use]
    pub fn attributes(&self) -> Vec<(&'static str, String)> {
        let (local, remote) = (&self.local, &self.remote);
        let mut lines = vec![
            ("curr", format!("qos local {}", local.current)),
            ("curr", format!("qos remote {}", remote.current)),
            ("des", format!("qos {} local sendrecv", local.strength.as_str())),
            ("des", format!("qos {} remote sendrecv", remote.strength.as_str())),
        ];
        if remote.confirm {
            lines.push(("conf", "qos remote sendrecv".to_owned()));
        }
        lines
    }

    /// Takes what the peer says in an answer or a later offer: its own status, how much it cares,
    /// and whether it wants to be told of ours. Strengths only grow (RFC 3312 §5).
    pub fn learn(&mut self, said: &Self) {
        self.remote.current = said.remote.current;
        self.remote.strength = self.remote.strength.max(said.remote.strength);
        self.local.strength = self.local.strength.max(said.local.strength);
        self.local.confirm = said.local.confirm;
        self.remote.confirm &= !self.remote.current.covers(Directions::BOTH);
    }

    /// The table that says that our resources cannot be had (RFC 3312 §8).
    #[must_use]
    pub const fn failed(self) -> Self {
        let local = Segment {
            current: Directions::NONE,
            strength: Strength::Failure,
            confirm: self.local.confirm,
        };
        Self { local, ..self }
    }

    /// Our resources are there.
    pub fn reserve(&mut self) {
        self.local.current = Directions::BOTH;
    }

    /// Whether our resources are there.
    #[must_use]
    pub const fn is_reserved(&self) -> bool {
        self.local.current.covers(Directions::BOTH)
    }

    /// Whether everything mandatory is there, so that the callee may be alerted (RFC 3312 §5).
    #[must_use]
    pub fn is_met(&self) -> bool {
        [self.local, self.remote].iter().all(|segment| {
            segment.strength < Strength::Mandatory || segment.current.covers(Directions::BOTH)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Option<Preconditions> {
        Preconditions::parse(lines.iter().filter_map(|line| line.split_once(':')))
    }

    fn written(table: &Preconditions) -> Vec<String> {
        table.attributes().iter().map(|(name, value)| format!("{name}:{value}")).collect()
    }

    #[test]
    fn a_call_with_preconditions_on_both_sides_goes_by_the_book() {
        // The offer of the INVITE.
        let mut caller = Preconditions::caller(false);
        let offer = written(&caller);
        assert_eq!(
            offer,
            [
                "curr:qos local none",
                "curr:qos remote none",
                "des:qos mandatory local sendrecv",
                "des:qos optional remote sendrecv",
            ]
        );
        assert!(!caller.is_met());

        // The answer in the 183.
        let lines: Vec<&str> = offer.iter().map(String::as_str).collect();
        let mut callee = Preconditions::callee(read(&lines).expect("a table"), false);
        let answer = written(&callee);
        assert_eq!(
            answer,
            [
                "curr:qos local none",
                "curr:qos remote none",
                "des:qos mandatory local sendrecv",
                "des:qos mandatory remote sendrecv",
                "conf:qos remote sendrecv",
            ]
        );
        let lines: Vec<&str> = answer.iter().map(String::as_str).collect();
        caller.learn(&read(&lines).expect("a table"));
        assert!(caller.local.confirm && !caller.is_met());

        // The offer of the UPDATE.
        caller.reserve();
        let update = written(&caller);
        assert_eq!(
            update,
            [
                "curr:qos local sendrecv",
                "curr:qos remote none",
                "des:qos mandatory local sendrecv",
                "des:qos mandatory remote sendrecv",
            ]
        );
        let lines: Vec<&str> = update.iter().map(String::as_str).collect();
        callee.learn(&read(&lines).expect("a table"));
        assert!(!callee.is_met(), "its own resources are missing");
        callee.reserve();
        assert!(callee.is_met());

        // The answer in the 200.
        assert_eq!(
            written(&callee),
            [
                "curr:qos local sendrecv",
                "curr:qos remote sendrecv",
                "des:qos mandatory local sendrecv",
                "des:qos mandatory remote sendrecv",
            ]
        );
    }

    #[test]
    fn a_caller_that_has_its_resources_already_is_not_asked_to_confirm() {
        let offer = read(&[
            "curr:qos local sendrecv",
            "curr:qos remote none",
            "des:qos mandatory local sendrecv",
            "des:qos optional remote sendrecv",
        ])
        .expect("a table");
        let mut callee = Preconditions::callee(offer, false);
        assert!(!callee.remote.confirm && !callee.is_met());
        callee.reserve();
        assert!(callee.is_met());
    }

    #[test]
    fn directions_are_seen_from_the_other_end() {
        let table = read(&["curr:qos local send", "des:qos mandatory local sendrecv"]);
        let table = table.expect("a table");
        assert_eq!(table.remote.current, Directions { send: false, recv: true });
        assert_eq!(read(&["curr:qos e2e send", "des:sec mandatory e2e sendrecv"]), None);
        assert_eq!(read(&["curr:qos local maybe", "curr:qos", "curr:"]), None);
    }
}
