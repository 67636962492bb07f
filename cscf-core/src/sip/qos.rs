//! Preconditions in SDP: `curr`, `des` and `conf` lines of type `qos` (RFC 3312, RFC 4032).

use std::fmt;

use super::sdp::Media;

/// Which part of the path a line speaks of (RFC 3312 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QosSegment {
    /// `e2e`: the whole path.
    EndToEnd,
    /// `local`: the sender's own access.
    Local,
    /// `remote`: the access of the receiver of the description.
    Remote,
}

/// The direction in which resources are there or wanted, seen from the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QosDirection {
    /// `none`.
    None,
    /// `recv`.
    Recv,
    /// `send`.
    Send,
    /// `sendrecv`.
    SendRecv,
}

/// How much a precondition is wanted (RFC 3312 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QosStrength {
    /// `failure`: it could not be met.
    Failure,
    /// `mandatory`.
    Mandatory,
    /// `none`.
    None,
    /// `optional`.
    Optional,
    /// `unknown`.
    Unknown,
}

macro_rules! words {
    ($name:ident { $($variant:ident = $text:literal),* }) => {
        impl $name {
            fn parse(text: &str) -> Option<Self> {
                $(if text.eq_ignore_ascii_case($text) { return Some(Self::$variant); })*
                None
            }

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(QosSegment { EndToEnd = "e2e", Local = "local", Remote = "remote" });
words!(QosDirection { None = "none", Recv = "recv", Send = "send", SendRecv = "sendrecv" });
words!(QosStrength {
    Failure = "failure",
    Mandatory = "mandatory",
    None = "none",
    Optional = "optional",
    Unknown = "unknown"
});

impl QosSegment {
    /// The segment as the receiver of the description names it.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::EndToEnd => Self::EndToEnd,
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }
}

impl QosDirection {
    /// Whether resources in this direction cover what `wanted` asks for.
    #[must_use]
    pub const fn covers(self, wanted: Self) -> bool {
        match wanted {
            Self::None => true,
            Self::Recv => matches!(self, Self::Recv | Self::SendRecv),
            Self::Send => matches!(self, Self::Send | Self::SendRecv),
            Self::SendRecv => matches!(self, Self::SendRecv),
        }
    }

    /// The direction as the receiver of the description names it.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Recv => Self::Send,
            Self::Send => Self::Recv,
            other => other,
        }
    }
}

/// The preconditions of one media stream, from the point of view of who wrote the description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// `a=curr:qos`: what is there.
    pub current: Vec<(QosSegment, QosDirection)>,
    /// `a=des:qos`: what is wanted.
    pub desired: Vec<(QosStrength, QosSegment, QosDirection)>,
    /// `a=conf:qos`: what the other side is to confirm.
    pub confirm: Vec<(QosSegment, QosDirection)>,
}

impl Preconditions {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.current.is_empty() && self.desired.is_empty() && self.confirm.is_empty()
    }

    /// What is there on a segment; `none` if it is not told.
    #[must_use]
    pub fn current_on(&self, segment: QosSegment) -> QosDirection {
        self.current
            .iter()
            .find(|(its, _)| *its == segment)
            .map_or(QosDirection::None, |(_, direction)| *direction)
    }

    /// Says what is there on a segment.
    pub fn set_current(&mut self, segment: QosSegment, direction: QosDirection) {
        match self.current.iter_mut().find(|(its, _)| *its == segment) {
            Some((_, its)) => *its = direction,
            None => self.current.push((segment, direction)),
        }
    }

    /// Whether every mandatory precondition is met, so that the callee may be alerted
    /// (RFC 3312 §5.2).
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.desired
            .iter()
            .filter(|(strength, ..)| *strength == QosStrength::Mandatory)
            .all(|(_, segment, wanted)| self.current_on(*segment).covers(*wanted))
    }

    /// The same preconditions from the receiver's point of view: local and remote, send and receive
    /// change places (RFC 3312 §5.1.2).
    #[must_use]
    pub fn reversed(&self) -> Self {
        let turn = |list: &[(QosSegment, QosDirection)]| {
            list.iter().map(|(segment, to)| (segment.reversed(), to.reversed())).collect()
        };
        let desired = self.desired.iter();
        let desired = desired.map(|(how, segment, to)| (*how, segment.reversed(), to.reversed()));
        Self {
            current: turn(&self.current),
            desired: desired.collect(),
            confirm: turn(&self.confirm),
        }
    }
}

fn status(value: &str) -> Option<(QosSegment, QosDirection)> {
    let mut words = value.split_ascii_whitespace();
    if words.next() != Some("qos") {
        return None;
    }
    let it = (QosSegment::parse(words.next()?)?, QosDirection::parse(words.next()?)?);
    words.next().is_none().then_some(it)
}

fn desire(value: &str) -> Option<(QosStrength, QosSegment, QosDirection)> {
    let (kind, rest) = value.split_once(' ')?;
    let (strength, rest) = rest.trim_start().split_once(' ')?;
    let (segment, direction) = status(&format!("{kind} {rest}"))?;
    Some((QosStrength::parse(strength)?, segment, direction))
}

impl Media {
    /// The preconditions of this stream; lines of another type or malformed ones are left out.
    #[must_use]
    pub fn preconditions(&self) -> Preconditions {
        Preconditions {
            current: self.attributes("curr").filter_map(status).collect(),
            desired: self.attributes("des").filter_map(desire).collect(),
            confirm: self.attributes("conf").filter_map(status).collect(),
        }
    }

    /// Replaces the preconditions of this stream.
    pub fn set_preconditions(&mut self, it: &Preconditions) {
        for name in ["curr", "des", "conf"] {
            self.remove_attribute(name);
        }
        for (segment, direction) in &it.current {
            self.push_attribute("curr", &format!("qos {segment} {direction}"));
        }
        for (strength, segment, direction) in &it.desired {
            self.push_attribute("des", &format!("qos {strength} {segment} {direction}"));
        }
        for (segment, direction) in &it.confirm {
            self.push_attribute("conf", &format!("qos {segment} {direction}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::sdp::Sdp;

    const BODY: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 1 RTP/AVP 0\r\n\
        a=curr:qos local sendrecv\r\na=curr:qos remote none\r\n\
        a=des:qos mandatory local sendrecv\r\na=des:qos mandatory remote sendrecv\r\n\
        a=conf:qos remote sendrecv\r\na=curr:sec e2e none\r\n";

    #[test]
    fn preconditions_are_read_edited_and_written() {
        let mut sdp = Sdp::parse(BODY.as_bytes()).expect("parses");
        let mut it = sdp.media[0].preconditions();
        assert_eq!((it.current.len(), it.desired.len(), it.confirm.len()), (2, 2, 1));
        assert!(!it.is_met());
        it.set_current(QosSegment::Remote, QosDirection::SendRecv);
        it.confirm.clear();
        assert!(it.is_met());
        sdp.media[0].set_preconditions(&it);
        let text = sdp.to_string();
        assert!(
            text.contains("a=curr:qos remote sendrecv\r\na=des:qos mandatory local sendrecv\r\n")
        );
        assert!(!text.contains("conf:"));
    }

    #[test]
    fn the_receiver_sees_them_mirrored() {
        let it = Preconditions {
            current: vec![(QosSegment::Local, QosDirection::Send)],
            desired: vec![(QosStrength::Mandatory, QosSegment::Remote, QosDirection::Recv)],
            confirm: Vec::new(),
        };
        let turned = it.reversed();
        assert_eq!(turned.current, [(QosSegment::Remote, QosDirection::Recv)]);
        assert_eq!(
            turned.desired,
            [(QosStrength::Mandatory, QosSegment::Local, QosDirection::Send)]
        );
        assert_eq!(turned.reversed(), it);
    }

    #[test]
    fn a_wanted_direction_is_covered_by_both() {
        assert!(QosDirection::SendRecv.covers(QosDirection::Send));
        assert!(!QosDirection::Send.covers(QosDirection::SendRecv));
        assert!(QosDirection::None.covers(QosDirection::None));
    }
}
