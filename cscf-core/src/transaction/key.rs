//! Which transaction a message belongs to (RFC 3261 §17.1.3, §17.2.3).
//!
//! A key is a 128-bit `SipHash` of what must be equal, keyed from the node's seed: nothing is
//! allocated, and nobody without the seed can make two keys meet.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};
use smallvec::SmallVec;

use crate::ids::Seed;
use crate::sip::{HeaderName, Method, Request, Response, UsualVia, find_near, first_param};
use crate::transport::via::{cut, semicolons, trimmed};

/// What all RFC 3261 branches begin with (§8.1.1.7).
const MAGIC_COOKIE: &str = "z9hG4bK";

/// The identity of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64, u64);

/// A message that cannot be matched. The culprit is the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The CSeq cannot be read.
    #[error("CSeq is missing or malformed")]
    CSeq,
    /// The top Via cannot be read.
    #[error("Via is missing or malformed")]
    Via,
}

/// Makes keys.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    secret: (u64, u64),
}

impl Keys {
    /// The keys of the node with this seed.
    #[must_use]
    pub fn new(seed: &Seed) -> Self {
        Self { secret: seed.map_keys() }
    }

    /// The server transaction a request belongs to: branch, sent-by and method; an ACK belongs to
    /// its INVITE. Without the magic cookie, or with nothing behind it, the rules of RFC 2543 hold
    /// (RFC 3261 §17.2.3).
    ///
    /// The top Via must be as it was received, or at least changed alike each time.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the top Via or, for RFC 2543, the CSeq cannot be read.
    pub fn server(&self, request: &Request) -> Result<Key, KeyError> {
        self.of_request(request, &request.method)
    }

    /// The INVITE server transaction a CANCEL or an ACK is about (RFC 3261 §9.2).
    ///
    /// # Errors
    ///
    /// As [`Keys::server`].
    pub fn invite_of(&self, request: &Request) -> Result<Key, KeyError> {
        self.of_request(request, &Method::Invite)
    }

    /// The client transaction of a branch of ours (RFC 3261 §17.1.3).
    #[must_use]
    pub fn client(&self, branch: &str, method: &str) -> Key {
        let mut parts = parts(b'c');
        text(&mut parts, branch);
        text(&mut parts, method);
        self.finish(&parts)
    }

    /// The client transaction a response belongs to: branch of the top Via and method of the CSeq,
    /// since an INVITE and its CANCEL share the branch (RFC 3261 §17.1.3).
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the top Via has no branch or the CSeq cannot be read.
    pub fn of_response(&self, response: &Response) -> Result<Key, KeyError> {
        let top = response.headers.first_value(HeaderName::Via).ok_or(KeyError::Via)?;
        let branch =
            first_branch(top).or_else(|| TopVia::read(top)?.branch).ok_or(KeyError::Via)?;
        let cseq = response.headers.get(HeaderName::CSeq).ok_or(KeyError::CSeq)?;
        let method = cseq.split_ascii_whitespace().nth(1).ok_or(KeyError::CSeq)?;
        Ok(self.client(branch, method))
    }

    /// What two copies of one request that came by different paths have in common: From tag,
    /// Call-ID and CSeq (RFC 3261 §8.2.2.2). `None` for a request inside a dialog.
    #[must_use]
    pub fn merged(&self, request: &Request) -> Option<Key> {
        if request.to_tag().is_some() {
            return None;
        }
        let mut parts = parts(b'm');
        text(&mut parts, request.from_tag().unwrap_or_default());
        text(&mut parts, request.call_id()?);
        parts.extend_from_slice(&request.cseq().ok()?.number.to_be_bytes());
        text(&mut parts, request.method.as_str());
        Some(self.finish(&parts))
    }

    fn of_request(&self, request: &Request, method: &Method) -> Result<Key, KeyError> {
        let top = request.headers.first_value(HeaderName::Via).ok_or(KeyError::Via)?;
        let via = TopVia::read(top).ok_or(KeyError::Via)?;
        let method = if *method == Method::Ack { &Method::Invite } else { method };
        match via.branch.filter(|branch| is_rfc3261(branch)) {
            Some(branch) => {
                let mut parts = parts(b's');
                text(&mut parts, branch);
                text(&mut parts, via.host);
                parts.extend_from_slice(&via.port.to_be_bytes());
                text(&mut parts, method.as_str());
                Ok(self.finish(&parts))
            }
            None => self.rfc2543(request, top, method),
        }
    }

    /// Request-URI, tags, Call-ID, CSeq and top Via. The To tag is left out for an INVITE, since
    /// its ACK has that of the response; the layer compares it with the response.
    fn rfc2543(&self, request: &Request, top: &str, method: &Method) -> Result<Key, KeyError> {
        let mut parts = parts(b'o');
        exact(&mut parts, &request.request_uri);
        exact(&mut parts, request.from_tag().unwrap_or_default());
        exact(&mut parts, request.call_id().unwrap_or_default());
        let number = request.cseq().map_err(|_| KeyError::CSeq)?.number;
        parts.extend_from_slice(&number.to_be_bytes());
        exact(&mut parts, top);
        exact(&mut parts, method.as_str());
        if *method != Method::Invite {
            exact(&mut parts, request.to_tag().unwrap_or_default());
        }
        Ok(self.finish(&parts))
    }

    fn finish(&self, parts: &Parts) -> Key {
        let mut hash = SipHasher13::new_with_keys(self.secret.0, self.secret.1);
        hash.write(parts);
        let (high, low) = hash.finish128().as_u64();
        Key(high, low)
    }
}

/// Whether the top Via of this request has a branch by RFC 3261, so that an ACK is told from the
/// others by it alone.
pub(super) fn has_rfc3261_branch(request: &Request) -> bool {
    let top = request.headers.first_value(HeaderName::Via).and_then(TopVia::read);
    top.and_then(|via| via.branch).is_some_and(is_rfc3261)
}

fn is_rfc3261(branch: &str) -> bool {
    // A branch that is the cookie and nothing else names no transaction; some old clients send it.
    branch.len() > MAGIC_COOKIE.len()
        && branch
            .get(..MAGIC_COOKIE.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(MAGIC_COOKIE))
}

/// What is hashed, gathered first: a hash of many short pieces costs more than one of all.
type Parts = SmallVec<[u8; 128]>;

fn parts(kind: u8) -> Parts {
    let mut parts = Parts::new();
    parts.push(kind);
    parts
}

/// Tokens and host names are equal without regard to case (RFC 3261 §7.3.1).
fn text(parts: &mut Parts, text: &str) {
    let start = parts.len();
    exact(parts, text);
    parts.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
}

fn exact(parts: &mut Parts, text: &str) {
    parts.extend_from_slice(text.as_bytes());
    parts.push(0);
}

/// What of a Via tells transactions apart, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TopVia<'a> {
    host: &'a str,
    port: u16,
    branch: Option<&'a str>,
}

impl<'a> TopVia<'a> {
    fn read(value: &'a str) -> Option<Self> {
        if let Some(UsualVia { transport, host, port, params }) = UsualVia::head(value)
            && memchr::memchr(b'"', params.as_bytes()).is_none()
        {
            let port = port.unwrap_or(default_port(transport));
            return Some(Self { host, port, branch: branch_of(params) });
        }
        let mut parts = semicolons(value);
        let (_, rest) = cut(parts.next()?, b'/')?;
        let rest = cut(rest, b'/')?.1.trim_start();
        let (transport, sent_by) = rest.split_once(|c: char| c.is_ascii_whitespace())?;
        let sent_by = sent_by.trim();
        let (host, port) = match sent_by.rsplit_once(':') {
            // The colons of an IPv6 address are inside brackets.
            Some((host, port)) if !port.contains(']') => (host.trim_end(), port.trim_start()),
            _ => (sent_by, ""),
        };
        let port = match port {
            "" => default_port(transport),
            digits => digits.parse().ok()?,
        };
        let branch = parts.find_map(|param| {
            let (name, value) = cut(param, b'=')?;
            name.trim().eq_ignore_ascii_case("branch").then(|| value.trim())
        });
        (!host.is_empty()).then_some(Self { host, port, branch })
    }
}

fn default_port(transport: &str) -> u16 {
    if transport.eq_ignore_ascii_case("TLS") { 5061 } else { 5060 }
}

/// The branch, where it is the first parameter, as nearly all write it.
fn first_branch(via: &str) -> Option<&str> {
    first_param(via.get(find_near(via.as_bytes(), b';')?..)?, "branch")
}

/// The branch among parameters without quotes.
fn branch_of(mut params: &str) -> Option<&str> {
    while let Some(rest) = params.strip_prefix(';') {
        let end = find_near(rest.as_bytes(), b';').unwrap_or(rest.len());
        let (param, behind) = rest.split_at_checked(end)?;
        if let Some((name, value)) = cut(param, b'=')
            && trimmed(name).eq_ignore_ascii_case("branch")
        {
            return Some(trimmed(value));
        }
        params = behind;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::testing::{SEED, request};

    fn keys() -> Keys {
        Keys::new(&SEED)
    }

    fn server(method: &str, via: &str) -> Key {
        keys().server(&request(method, via)).expect("a key")
    }

    // T-TRN-050
    #[test]
    fn a_server_transaction_is_branch_and_sent_by_and_method() {
        let base = server("INVITE", "SIP/2.0/UDP a.example:5070;branch=z9hG4bKx");
        for (method, via, same) in [
            ("INVITE", "SIP/2.0/UDP a.example:5070;rport=7;branch=z9hG4bKx", true),
            ("INVITE", "SIP / 2.0 / UDP A.Example : 5070 ; Branch = z9hG4bKX", true),
            ("INVITE", "SIP/2.0/UDP a.example:5070;q=\";branch=z\";branch=z9hG4bKx", true),
            ("ACK", "SIP/2.0/UDP a.example:5070;branch=z9hG4bKx", true),
            ("CANCEL", "SIP/2.0/UDP a.example:5070;branch=z9hG4bKx", false),
            ("OPTIONS", "SIP/2.0/UDP a.example:5070;branch=z9hG4bKx", false),
            ("INVITE", "SIP/2.0/UDP a.example;branch=z9hG4bKx", false),
            ("INVITE", "SIP/2.0/UDP b.example:5070;branch=z9hG4bKx", false),
            ("INVITE", "SIP/2.0/UDP a.example:5070;branch=z9hG4bKy", false),
        ] {
            assert_eq!(server(method, via) == base, same, "{method} {via}");
        }
        let cancel = request("CANCEL", "SIP/2.0/UDP a.example:5070;branch=z9hG4bKx");
        assert_eq!(keys().invite_of(&cancel), Ok(base));
    }

    #[test]
    fn an_ipv6_sent_by_keeps_its_colons() {
        let via = TopVia::read("SIP/2.0/UDP [2001:db8::1]:5062;branch=z9hG4bKx").expect("a Via");
        assert_eq!((via.host, via.port), ("[2001:db8::1]", 5062));
        let via = TopVia::read("SIP/2.0/TLS [2001:db8::1]").expect("a Via");
        assert_eq!((via.host, via.port, via.branch), ("[2001:db8::1]", 5061, None));
        for bad in ["", "SIP/2.0", "SIP/2.0/UDP", "SIP/2.0/UDP ;branch=z9hG4bKx", "a/b/c d:e"] {
            assert_eq!(TopVia::read(bad), None, "{bad}");
        }
    }

    // T-TRN-050
    #[test]
    fn a_client_transaction_is_branch_and_method_of_cseq() {
        let via = "SIP/2.0/UDP p1.ims.example;branch=z9hG4bKx";
        let invite = keys().client("z9hG4bKx", "INVITE");
        let ok = request("INVITE", via).reply(200);
        assert_eq!(keys().of_response(&ok), Ok(invite));
        let later = "SIP/2.0/UDP p1.ims.example;q=\";branch=z\";Branch=z9hG4bKx;rport=7";
        assert_eq!(keys().of_response(&request("INVITE", later).reply(200)), Ok(invite));
        let ok = request("CANCEL", via).reply(200);
        assert_ne!(keys().of_response(&ok), Ok(invite));
        let headless = Response { headers: crate::sip::Headers::new(), ..ok };
        assert_eq!(keys().of_response(&headless), Err(KeyError::Via));
    }

    #[test]
    fn a_branch_without_more_than_the_cookie_falls_back_to_rfc_2543() {
        for via in ["SIP/2.0/UDP a.example;branch=z9hG4bK", "SIP/2.0/UDP a.example;branch=1"] {
            let first = request("INVITE", via);
            let mut other = first.clone();
            other.headers.set(HeaderName::CallId, "another");
            let mut ack = request("ACK", via);
            ack.headers.set(HeaderName::To, "<sip:bob@ims.example>;tag=b1");
            let key = keys().server(&first);
            assert_eq!(keys().server(&first.clone()), key);
            assert_ne!(keys().server(&other), key);
            assert_eq!(keys().server(&ack), key);
            assert!(!has_rfc3261_branch(&first));

            let bye = request("BYE", via);
            let mut in_other_dialog = bye.clone();
            in_other_dialog.headers.set(HeaderName::To, "<sip:bob@ims.example>;tag=b2");
            assert_ne!(keys().server(&bye), keys().server(&in_other_dialog));
        }
    }
}
