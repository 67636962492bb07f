//! What an application server does with requests of sessions and events, as a sentence
//! (TS 24.229 §5.7; docs/application-servers.md).

use std::fmt;

use super::lab::duration;
use super::problem::nearest;
use crate::sip::Uri;
use crate::time::Duration;

/// What an application server does with requests of sessions and events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerBehaviour {
    /// It plays an announcement: 183 with SDP for this long, then it refuses or takes the call for
    /// as long again and ends it (TS 24.229 §5.7.2).
    Announces {
        /// How long.
        time: Duration,
        /// The status it refuses with afterwards; none: it takes the call.
        then: Option<u16>,
    },
    /// It is a back-to-back user agent that takes the caller's name out of what it sends on
    /// (RFC 3323 §5; TS 24.229 §5.7.1.4).
    Anonymises,
    /// It answers requests with this status, 300 to 699, and its `headers`.
    Answers(u16),
    /// It is a back-to-back user agent (TS 24.229 §5.7.5), to the same target or to this URI.
    Bridges(Option<String>),
    /// It refuses requests whose location nobody can use (RFC 6442 §4.3), and passes others on.
    ChecksLocation,
    /// It diverts every call to this URI (communication forwarding unconditional, TS 24.604).
    Diverts(String),
    /// It keeps the state of events: PUBLISH, and presence for subscribers (RFC 3903, RFC 3856).
    Presence,
    /// It is a proxy: passes requests on along their Route, so back to the S-CSCF
    /// (TS 24.229 §5.7.4).
    Proxy,
    /// It keeps calls in a queue for this long, then passes them on (RFC 3261 §21.1.4).
    Queues(Duration),
    /// It answers requests with this status, 300 to 699, and Reason.
    Refuses(u16),
    /// It refuses callers that do not show who they are (TS 24.611), and passes others on.
    RefusesAnonymous,
    /// Nothing: it follows who is registered; other requests get 405.
    #[default]
    Registrations,
    /// It is a proxy that sends requests to somebody else: this URI becomes the Request-URI.
    Retargets(String),
    /// It is an IP-SM-GW with a short message service centre behind it (TS 24.341 §5.3.3).
    ShortMessages,
    /// It says nothing at all.
    Silent,
    /// It takes messages, and delivers them itself (RFC 3428 §7).
    StoresMessages,
}

/// How behaviours begin, and how each is written.
const USAGE: [(&str, &str); 14] = [
    ("announces", "announces for 5s, or announces for 5s then refuses 603"),
    ("anonymises", "anonymises"),
    ("answers", "answers 300 (a status from 300 to 699)"),
    ("b2bua", "b2bua, or b2bua to sip:bob@…"),
    ("checks", "checks location"),
    ("diverts", "diverts to sip:bob@…"),
    ("ip-sm-gw", "ip-sm-gw"),
    ("presence", "presence"),
    ("proxy", "proxy, or proxy to sip:bob@…"),
    ("queues", "queues for 20s"),
    ("refuses", "refuses 503 (a status from 300 to 699), or refuses anonymous"),
    ("registrations", "registrations"),
    ("silent", "silent"),
    ("stores", "stores messages"),
];

fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|it| (300..700).contains(it))
}

fn uri(text: &str) -> Option<String> {
    let fits = Uri::parse(text).is_ok_and(|uri| uri.is_sip() || uri.is_tel());
    fits.then(|| text.to_owned())
}

impl ServerBehaviour {
    /// Reads a behaviour.
    ///
    /// # Errors
    ///
    /// What is wrong, with the nearest right word.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let found = match words.as_slice() {
            ["announces", "for", time] => {
                duration(time).ok().map(|time| Self::Announces { time, then: None })
            }
            ["announces", "for", time, "then", "refuses", code] => {
                let both = duration(time).ok().zip(status(code));
                both.map(|(time, code)| Self::Announces { time, then: Some(code) })
            }
            ["anonymises"] => Some(Self::Anonymises),
            ["answers", code] => status(code).map(Self::Answers),
            ["b2bua"] => Some(Self::Bridges(None)),
            ["b2bua", "to", to] => uri(to).map(|to| Self::Bridges(Some(to))),
            ["checks", "location"] => Some(Self::ChecksLocation),
            ["diverts", "to", to] => uri(to).map(Self::Diverts),
            ["ip-sm-gw"] => Some(Self::ShortMessages),
            ["presence"] => Some(Self::Presence),
            ["proxy"] => Some(Self::Proxy),
            ["proxy", "to", to] => uri(to).map(Self::Retargets),
            ["queues", "for", time] => duration(time).ok().map(Self::Queues),
            ["refuses", "anonymous"] => Some(Self::RefusesAnonymous),
            ["refuses", code] => status(code).map(Self::Refuses),
            ["registrations"] => Some(Self::Registrations),
            ["silent"] => Some(Self::Silent),
            ["stores", "messages"] => Some(Self::StoresMessages),
            _ => None,
        };
        found.ok_or_else(|| mistake(text, words.first().copied().unwrap_or_default()))
    }

    /// Whether it passes requests on as a proxy.
    #[must_use]
    pub const fn is_proxy(&self) -> bool {
        matches!(self, Self::Proxy | Self::Retargets(_))
    }

    /// Whether it passes calls on as a back-to-back user agent.
    #[must_use]
    pub const fn is_bridge(&self) -> bool {
        matches!(
            self,
            Self::Anonymises
                | Self::Bridges(_)
                | Self::ChecksLocation
                | Self::Diverts(_)
                | Self::Queues(_)
                | Self::RefusesAnonymous
        )
    }
}

/// What is said about a text that is no behaviour.
fn mistake(text: &str, first: &str) -> String {
    let usage = |word: &str| USAGE.iter().find(|(known, _)| *known == word).map(|(_, how)| *how);
    if let Some(how) = usage(first) {
        return format!("`{text}` is no behaviour; write {how}");
    }
    let words = USAGE.iter().map(|(word, _)| *word);
    match nearest(first, words.clone()) {
        Some(near) => {
            let how = usage(near).unwrap_or(near);
            format!("`{text}` is no behaviour; did you mean `{near}`? Write {how}")
        }
        None => {
            let known: Vec<&str> = words.collect();
            format!("`{text}` is no behaviour; one begins with {}", known.join(", "))
        }
    }
}

impl fmt::Display for ServerBehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announces { time, then: None } => {
                write!(f, "announces for {}ms", time.as_millis())
            }
            Self::Announces { time, then: Some(status) } => {
                write!(f, "announces for {}ms then refuses {status}", time.as_millis())
            }
            Self::Anonymises => f.write_str("anonymises"),
            Self::Answers(status) => write!(f, "answers {status}"),
            Self::Bridges(None) => f.write_str("b2bua"),
            Self::Bridges(Some(uri)) => write!(f, "b2bua to {uri}"),
            Self::ChecksLocation => f.write_str("checks location"),
            Self::Diverts(uri) => write!(f, "diverts to {uri}"),
            Self::Presence => f.write_str("presence"),
            Self::Proxy => f.write_str("proxy"),
            Self::Queues(time) => write!(f, "queues for {}ms", time.as_millis()),
            Self::Refuses(status) => write!(f, "refuses {status}"),
            Self::RefusesAnonymous => f.write_str("refuses anonymous"),
            Self::Registrations => f.write_str("registrations"),
            Self::Retargets(uri) => write!(f, "proxy to {uri}"),
            Self::ShortMessages => f.write_str("ip-sm-gw"),
            Self::Silent => f.write_str("silent"),
            Self::StoresMessages => f.write_str("stores messages"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviours_are_read_as_they_are_written() {
        let to = || "tel:+15550100009".to_owned();
        let time = Duration::from_millis(1500);
        for behaviour in [
            ServerBehaviour::Announces { time, then: None },
            ServerBehaviour::Announces { time, then: Some(603) },
            ServerBehaviour::Anonymises,
            ServerBehaviour::Answers(300),
            ServerBehaviour::Bridges(None),
            ServerBehaviour::Bridges(Some(to())),
            ServerBehaviour::ChecksLocation,
            ServerBehaviour::Diverts(to()),
            ServerBehaviour::Presence,
            ServerBehaviour::Proxy,
            ServerBehaviour::Queues(time),
            ServerBehaviour::Refuses(486),
            ServerBehaviour::RefusesAnonymous,
            ServerBehaviour::Registrations,
            ServerBehaviour::Retargets(to()),
            ServerBehaviour::ShortMessages,
            ServerBehaviour::Silent,
            ServerBehaviour::StoresMessages,
        ] {
            assert_eq!(ServerBehaviour::read(&behaviour.to_string()), Ok(behaviour));
        }
    }

    #[test]
    fn what_is_no_behaviour_is_said_with_the_nearest_one() {
        for (text, said) in [
            ("proxi", "did you mean `proxy`? Write proxy, or proxy to"),
            ("proxy to nobody", "write proxy, or proxy to"),
            ("refuses 200", "a status from 300 to 699"),
            ("answer 300", "did you mean `answers`?"),
            ("queues for ever", "write queues for 20s"),
            ("whatever it is", "one begins with announces, anonymises,"),
        ] {
            let error = ServerBehaviour::read(text).expect_err(text);
            assert!(error.contains(said), "{error}");
        }
    }
}
