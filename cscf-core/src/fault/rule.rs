//! What a fault rule is.

use std::fmt;
use std::net::SocketAddr;

use regex::Regex;

use crate::cx::CxResult;
use crate::policy::Conduct;
use crate::time::Duration;

/// One rule of one node. Its text is the sentence it was read from, with its headers in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The text that reads back as the same rule.
    pub text: String,
    /// The node that does something wrong; [`super::POLICY`] for the policy functions.
    pub node: String,
    /// Which messages.
    pub about: About,
    /// What is done with them.
    pub action: Action,
    /// With how many of them, and from when until when.
    pub when: When,
    /// Who the names in it are; filled in by whoever knows the lab.
    pub known: Vec<Known>,
}

impl Rule {
    /// The names in it that must be those of nodes or users, with their offsets in its text.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        let About { peer, of, .. } = &self.about;
        let names = peer.iter().chain(of).map(String::as_str);
        names.map(|name| (self.offset_of(name), name))
    }

    /// Whether this is its text, with the headers in braces or without.
    #[must_use]
    pub fn is_called(&self, text: &str) -> bool {
        let rest = self.text.strip_prefix(text);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(": {"))
    }

    fn offset_of(&self, name: &str) -> usize {
        let is_word = |at: &usize| {
            let before = self.text.get(..*at).is_some_and(|text| text.ends_with(' '));
            let after = self.text.get(at + name.len()..).unwrap_or_default();
            before && after.chars().next().is_none_or(|next| ", :".contains(next))
        };
        self.text.match_indices(name).map(|(at, _)| at).find(is_word).unwrap_or_default()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What is known of a name: where it is and what it is called in messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its name in the lab.
    pub name: String,
    /// Its addresses; a node has one.
    pub addresses: Vec<SocketAddr>,
    /// The identities of a user: private and public ones. A node has none.
    pub identities: Vec<String>,
}

/// Which messages a rule is about. What is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// What they are.
    pub what: What,
    /// For responses: the method they answer.
    pub answers: Option<String>,
    /// Whether the node receives them or sends them.
    pub direction: Direction,
    /// The other end of the hop: a node or a UE.
    pub peer: Option<String>,
    /// The user they are about, at whatever hop.
    pub of: Option<String>,
    /// What their headers (or AVPs) must be.
    pub conditions: Vec<Condition>,
}

/// What a message is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum What {
    /// Anything.
    #[default]
    Anything,
    /// A class of responses, 1 to 6.
    Class(u16),
    /// A Diameter command, e.g. `MAR`.
    Command(&'static str),
    /// Keep-alives and their answers: line ends, and STUN.
    KeepAlives,
    /// A request of this method.
    Method(String),
    /// Any request, of Diameter too.
    Requests,
    /// Any response, or answer of Diameter.
    Responses,
    /// Responses with this status.
    Status(u16),
}

/// Which way a message goes at the node of the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// The node receives it.
    #[default]
    Received,
    /// The node sends it.
    Sent,
}

/// What a header, a parameter of one, or an AVP must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The header or AVP.
    pub name: String,
    /// The parameter of the header.
    pub parameter: Option<String>,
    /// What it must be.
    pub matching: Matching,
}

/// A condition on values.
#[derive(Clone, Debug)]
pub enum Matching {
    /// There is none.
    Absent,
    /// One contains this text.
    Contains(String),
    /// One is this text.
    Is(String),
    /// None contains this text.
    Lacks(String),
    /// One matches.
    Matches(Regex),
    /// There is one.
    Present,
}

impl PartialEq for Matching {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) | (Self::Present, Self::Present) => true,
            (Self::Contains(one), Self::Contains(other))
            | (Self::Is(one), Self::Is(other))
            | (Self::Lacks(one), Self::Lacks(other)) => one == other,
            (Self::Matches(one), Self::Matches(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Eq for Matching {}

impl Matching {
    /// Whether these values satisfy it.
    #[must_use]
    pub fn accepts(&self, values: &[String]) -> bool {
        match self {
            Self::Absent => values.is_empty(),
            Self::Contains(text) => values.iter().any(|value| value.contains(text.as_str())),
            Self::Is(text) => values.iter().any(|value| value == text),
            Self::Lacks(text) => !values.iter().any(|value| value.contains(text.as_str())),
            Self::Matches(regex) => values.iter().any(|value| regex.is_match(value)),
            Self::Present => !values.is_empty(),
        }
    }
}

/// What is done with a message that a rule hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The request does not reach the node and gets this answer.
    Answer(Answer),
    /// The Diameter request gets an answer with this result and no data.
    Result(CxResult),
    /// The HSS makes the data of its answer wrong.
    Spoil(Spoilt),
    /// So many copies of it go on at once, 2 to 10.
    Copies(u32),
    /// Some of its bytes become others.
    Corrupt,
    /// The node stops: its connections end, its state is gone.
    Crash {
        /// After this time it starts again; none: it does not.
        back_after: Option<Duration>,
    },
    /// It goes on, then the connection it travelled by is ended.
    Cut,
    /// It goes on so much later.
    Delay(Duration),
    /// It is lost.
    Drop,
    /// Something in it becomes something else.
    Edit(Edit),
    /// From begin to end of the rule the node refuses new work (Retry-After in seconds).
    Overload(u32),
    /// What the policy function does.
    Policy(Conduct),
    /// It goes on behind the next message of its direction and peer, 2 s later at most.
    Reorder,
    /// The MAC in its challenge becomes another one: in `WWW-Authenticate`, or in the vectors of an
    /// MAA.
    SpoilMac,
}

/// A SIP response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// 100 to 699.
    pub status: u16,
    /// The reason phrase, where it is not the usual one.
    pub reason: Option<String>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body, with its Content-Type among the headers.
    pub body: String,
}

/// What an HSS may make wrong in an MAA, or in any answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoilt {
    /// AVPs that are none behind a right header.
    Garbage,
    /// Success with data nobody can read.
    GarbledData,
    /// Vectors whose sequence number was used before (TS 33.102 §6.3.3).
    OldSqn,
    /// Vectors with a wrong MAC (TS 33.102 §6.3.3).
    WrongMac,
}

/// A change of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// A header more.
    AddHeader(String, String),
    /// A line more in the SDP, at its end.
    AddLine(String),
    /// The header away, all its lines; or the AVP.
    RemoveHeader(String),
    /// The parameter of the header away.
    RemoveParameter(String, String),
    /// Lines of the SDP that begin so away.
    RemoveLine(String),
    /// A text in head or body becomes another one, everywhere.
    Replace(String, String),
    /// The header with this one value.
    SetHeader(String, String),
    /// The parameter of the header with this value.
    SetParameter(String, String, String),
    /// The lines of the SDP that begin with the same name (`a=rtpmap`, `b=AS`) become this one.
    SetLine(String),
}

/// With how many messages, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// Which of those that fit.
    pub count: Count,
    /// The chance of each, in thousandths; none: all.
    pub chance: Option<u32>,
    /// From this time after the rule was given.
    pub after: Duration,
    /// Until this time after the rule was given.
    pub until: Option<Duration>,
}

/// Which of the messages that fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Count {
    /// All.
    #[default]
    Every,
    /// The first so many.
    First(u32),
    /// That one only, counted from 1.
    Nth(u32),
}

/// What is wrong in the text of a rule, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistake {
    /// The byte in the sentence at which it begins.
    pub at: usize,
    /// How many bytes it is long.
    pub len: usize,
    /// What is wrong.
    pub text: String,
    /// What would be right.
    pub help: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}
