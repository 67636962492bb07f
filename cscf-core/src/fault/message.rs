//! A message as a rule looks at it: what it is, whose it is, what its headers or AVPs say.

use std::borrow::Cow;
use std::net::SocketAddr;

use bytes::Bytes;

use super::rule::{About, Condition, Direction, Known, Rule, What};
use crate::diameter::dictionary::{self, command_name};
use crate::diameter::{self, Avp};
use crate::sip::{self, HeaderName, Headers, Message};
use crate::transport::stun::is_stun;

/// A message at the edge of a node.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Which way it goes.
    pub direction: Direction,
    /// The other end.
    pub remote: SocketAddr,
    /// What it says.
    pub content: Content,
    /// For an answer of Diameter: the request it answers, where that was seen.
    pub asked: Option<Bytes>,
}

/// What a message says.
#[derive(Clone, Debug)]
pub enum Content {
    /// A message of SIP.
    Sip(Box<Message>),
    /// A message of Diameter with its bytes.
    Diameter(diameter::Message, Bytes),
    /// A keep-alive or its answer: line ends, or STUN (RFC 5626 §3.5).
    KeepAlive,
}

impl Looked {
    /// Reads a whole message or a keep-alive; `None` if it is neither.
    #[must_use]
    pub fn read(direction: Direction, remote: SocketAddr, bytes: &Bytes) -> Option<Self> {
        let blank = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        let content = match bytes.first() {
            Some(_) if bytes.iter().all(blank) || is_stun(bytes) => Content::KeepAlive,
            Some(1) => {
                let message = diameter::Message::decode(bytes).ok()?;
                Content::Diameter(message, bytes.clone())
            }
            _ => Content::Sip(Box::new(sip::parse(bytes).ok()?)),
        };
        Some(Self { direction, remote, content, asked: None })
    }

    /// The message, if it is one of SIP.
    #[must_use]
    pub fn sip(&self) -> Option<&Message> {
        match &self.content {
            Content::Sip(message) => Some(message),
            Content::Diameter(..) | Content::KeepAlive => None,
        }
    }

    /// What makes copies of a message the same: label, branch and CSeq, for answers of several
    /// branches or several in a row the To tag and RSeq (RFC 3262 §3); or the identifiers of
    /// Diameter.
    #[must_use]
    pub fn identity(&self) -> String {
        match &self.content {
            Content::Diameter(message, _) => {
                let header = &message.header;
                format!("{} {} {}", self.label(), header.hop_by_hop, header.end_to_end)
            }
            Content::Sip(message) => {
                let headers = message.headers();
                let branch = headers.top_branch().unwrap_or_default();
                let text = |name| headers.get(name).unwrap_or_default();
                let (cseq, call_id) = (text(HeaderName::CSeq), text(HeaderName::CallId));
                let tag = parameter(text(HeaderName::To), "tag").unwrap_or_default();
                let rseq = text(HeaderName::RSeq);
                format!("{} {branch} {call_id} {cseq} {tag} {rseq}", self.label())
            }
            Content::KeepAlive => self.label().into_owned(),
        }
    }

    /// `INVITE`, `200`, `MAR`.
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        match &self.content {
            Content::Sip(message) => match &**message {
                Message::Request(request) => Cow::Borrowed(request.method.as_str()),
                Message::Response(response) => Cow::Owned(response.status.to_string()),
            },
            Content::Diameter(message, _) => {
                let header = &message.header;
                Cow::Borrowed(command_name(header.command, header.flags.request).unwrap_or("?"))
            }
            Content::KeepAlive => Cow::Borrowed("keep-alive"),
        }
    }

    /// Whether a rule is about this message.
    #[must_use]
    pub fn fits(&self, rule: &Rule) -> bool {
        let About { what, answers, direction, peer, of, conditions } = &rule.about;
        let known = |name: &String| rule.known.iter().find(|known| known.name == *name);
        *direction == self.direction
            && self.is(what, answers.as_deref())
            && peer
                .as_ref()
                .is_none_or(|name| known(name).is_some_and(|known| self.is_peer(known, rule)))
            && of.as_ref().is_none_or(|name| known(name).is_some_and(|known| self.is_of(known)))
            && conditions.iter().all(|condition| self.satisfies(condition))
    }

    fn is(&self, what: &What, answers: Option<&str>) -> bool {
        let response = |wanted: &dyn Fn(u16) -> bool| match self.sip() {
            Some(Message::Response(response)) => {
                let cseq = response.headers.get(HeaderName::CSeq).unwrap_or_default();
                let method = cseq.split_whitespace().nth(1);
                wanted(response.status) && answers.is_none_or(|answers| method == Some(answers))
            }
            _ => false,
        };
        let of_diameter = |request: bool| match &self.content {
            Content::Diameter(message, _) => message.header.flags.request == request,
            Content::Sip(_) | Content::KeepAlive => false,
        };
        match what {
            What::Anything => true,
            What::KeepAlives => matches!(self.content, Content::KeepAlive),
            What::Class(class) => response(&|status| status / 100 == *class),
            What::Command(command) => {
                matches!(self.content, Content::Diameter(..)) && self.label() == *command
            }
            What::Method(method) => match self.sip() {
                Some(Message::Request(request)) => request.method.as_str() == method,
                _ => false,
            },
            What::Requests => matches!(self.sip(), Some(Message::Request(_))) || of_diameter(true),
            What::Responses => response(&|_| true) || (answers.is_none() && of_diameter(false)),
            What::Status(wanted) => response(&|status| status == *wanted),
        }
    }

    /// Whether the other end is this node or UE. A UE is known by its address, else by its
    /// identities where the other end is no node of the lab.
    fn is_peer(&self, known: &Known, rule: &Rule) -> bool {
        if let Some(peer) = self.peer_of(rule) {
            return peer.name == known.name;
        }
        let Some(message) = self.sip() else { return false };
        if known.identities.is_empty() {
            return false;
        }
        let headers = message.headers();
        let caller = [HeaderName::From, HeaderName::PPreferredIdentity, HeaderName::Authorization];
        let callee = [HeaderName::To, HeaderName::PCalledPartyId];
        // A request comes from its From and goes to its To; a response the other way.
        let names = match (message, self.direction) {
            (Message::Request(_), Direction::Received)
            | (Message::Response(_), Direction::Sent) => &caller[..],
            (Message::Request(request), Direction::Sent) => {
                if mentions_one(request.request_uri.as_bytes(), &known.identities) {
                    return true;
                }
                &callee[..]
            }
            (Message::Response(_), Direction::Received) => &callee[..],
        };
        named_in(headers, names, &known.identities)
    }

    /// Who has the address of the other end: who listens there, else the only one at that IP
    /// address, since a connection may come from any port.
    fn peer_of<'a>(&self, rule: &'a Rule) -> Option<&'a Known> {
        let others = || rule.known.iter().filter(|known| known.name != rule.node);
        let mut listening = others().filter(|known| known.addresses.contains(&self.remote));
        if let Some(peer) = listening.next() {
            return Some(peer);
        }
        let is_there =
            |known: &&Known| known.addresses.iter().any(|it| it.ip() == self.remote.ip());
        let mut there = rule.known.iter().filter(is_there);
        match (there.next(), there.next()) {
            (Some(peer), None) if peer.identities.is_empty() && peer.name != rule.node => {
                Some(peer)
            }
            _ => None,
        }
    }

    /// Whether it is about this user.
    fn is_of(&self, known: &Known) -> bool {
        match &self.content {
            Content::KeepAlive => false,
            Content::Diameter(_, bytes) => {
                let asked = self.asked.as_ref();
                mentions_one(bytes, &known.identities)
                    || asked.is_some_and(|asked| mentions_one(asked, &known.identities))
            }
            Content::Sip(message) => {
                let uri = match &**message {
                    Message::Request(request) => request.request_uri.as_bytes().as_ref(),
                    Message::Response(_) => b"",
                };
                mentions_one(uri, &known.identities)
                    || named_in(message.headers(), &IDENTITIES, &known.identities)
            }
        }
    }

    fn satisfies(&self, condition: &Condition) -> bool {
        let values = self.values(&condition.name);
        let values = match &condition.parameter {
            None => values,
            Some(name) => values.iter().filter_map(|value| parameter(value, name)).collect(),
        };
        condition.matching.accepts(&values)
    }

    /// The values of a header, an AVP, `request_uri` or `body`.
    fn values(&self, name: &str) -> Vec<String> {
        match (&self.content, name) {
            (Content::KeepAlive, _) => Vec::new(),
            (Content::Diameter(message, _), _) => {
                let mut out = Vec::new();
                avp_values(&message.avps, name, &mut out);
                out
            }
            (Content::Sip(message), "body") => {
                let body = message.body();
                if body.is_empty() {
                    return Vec::new();
                }
                vec![String::from_utf8_lossy(body).into_owned()]
            }
            (Content::Sip(message), "request_uri") => match &**message {
                Message::Request(request) => vec![request.request_uri.to_string()],
                Message::Response(_) => Vec::new(),
            },
            (Content::Sip(message), _) => {
                let fields = message.headers().fields_named(name);
                fields.map(|field| field.unfolded().into_owned()).collect()
            }
        }
    }
}

/// Where the identities of those whom a message is about stand.
const IDENTITIES: [HeaderName; 8] = [
    HeaderName::Authorization,
    HeaderName::From,
    HeaderName::PAssertedIdentity,
    HeaderName::PAssociatedUri,
    HeaderName::PCalledPartyId,
    HeaderName::PPreferredIdentity,
    HeaderName::PServedUser,
    HeaderName::To,
];

fn named_in(headers: &Headers, names: &[HeaderName], identities: &[String]) -> bool {
    let fields = names.iter().flat_map(|name| headers.fields(*name));
    fields.into_iter().any(|field| mentions_one(field.raw_value(), identities))
}

/// Whether one of these identities stands in these bytes, whatever its scheme, whole.
#[must_use]
pub fn mentions_one(bytes: &[u8], identities: &[String]) -> bool {
    identities.iter().any(|identity| mentions(bytes, identity))
}

/// Whether an identity stands in these bytes, whatever its scheme, and not as a part of another.
fn mentions(bytes: &[u8], identity: &str) -> bool {
    let bare = ["sip:", "sips:", "tel:"].iter().find_map(|scheme| identity.strip_prefix(scheme));
    let bare = bare.unwrap_or(identity).as_bytes();
    if bare.is_empty() {
        return false;
    }
    let inside =
        |byte: Option<&u8>| byte.is_some_and(|it| it.is_ascii_alphanumeric() || *it == b'_');
    bytes.windows(bare.len()).enumerate().any(|(at, window)| {
        let after = bytes.get(at + bare.len()..).unwrap_or_default();
        let goes_on = match after.first() {
            Some(b'.' | b'-') => inside(after.get(1)),
            next => inside(next),
        };
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        window == bare && !goes_on && !(inside(before) || before == Some(&b'.'))
    })
}

/// The value of a parameter, behind a semicolon or between the commas of a challenge; without
/// quotation marks, empty where it has none.
pub(super) fn parameter(value: &str, name: &str) -> Option<String> {
    let place = super::change::parameter_place(value, name)?;
    let text = value.get(place.value).unwrap_or_default();
    Some(text.trim_matches('"').to_owned())
}

fn avp_values(avps: &[Avp], name: &str, out: &mut Vec<String>) {
    for avp in avps {
        let kind = dictionary::lookup(avp.code, avp.vendor).map(|known| known.kind);
        if avp.name() == name {
            out.push(match kind {
                Some(dictionary::Kind::Unsigned32 | dictionary::Kind::Enumerated) => {
                    avp.as_u32().map(|number| number.to_string()).unwrap_or_default()
                }
                _ => String::from_utf8_lossy(&avp.data).into_owned(),
            });
        }
        if kind == Some(dictionary::Kind::Grouped)
            && let Ok(inside) = avp.as_group()
        {
            avp_values(&inside, name, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_found_whole_only() {
        let text = b"<sip:alice@ims.example>, <tel:+15550100001>;x";
        assert!(mentions(text, "sip:alice@ims.example") && mentions(text, "tel:+15550100001"));
        assert!(!mentions(text, "tel:+1555010000") && !mentions(text, "sip:lice@ims.example"));
        assert!(!mentions(text, "sip:alice@ims") && !mentions(text, ""));
        assert!(mentions(b"alice@ims.example.", "sip:alice@ims.example"));
    }
}
