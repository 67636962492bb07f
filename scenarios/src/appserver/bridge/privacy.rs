//! The privacy service (RFC 3323 §5; TS 24.229 §5.7.1.4): who calls is taken out of what is sent
//! on. That the legs are separate hides Via, Record-Route, Call-ID and Contact already.

use cscf_core::clause::rfc3323;
use cscf_core::role::Env;
use cscf_core::sip::{HeaderName, NameAddr, Request, Response};

/// What may tell who somebody is (RFC 3323 §4.1, §5.1).
const TELLING: [HeaderName; 8] = [
    HeaderName::CallInfo,
    HeaderName::InReplyTo,
    HeaderName::Organization,
    HeaderName::ReferredBy,
    HeaderName::ReplyTo,
    HeaderName::Server,
    HeaderName::Subject,
    HeaderName::UserAgent,
];

/// Takes the caller's name out of a request. `user` and `header` in Privacy are done with; `id` and
/// others are for those further on.
pub(super) fn anonymise(env: &mut Env<'_>, request: &mut Request) {
    let headers = &mut request.headers;
    let tag = headers.from_tag().unwrap_or_default().to_owned();
    let anonymous = format!("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag={tag}");
    headers.set(HeaderName::From, &anonymous);
    let mut taken = vec!["From"];
    for name in TELLING {
        if headers.remove(name) > 0 {
            taken.push(name.as_str());
        }
    }
    if let Some(privacy) = headers.get(HeaderName::Privacy) {
        let left: Vec<&str> = privacy.split(';').map(str::trim).filter(|it| !done(it)).collect();
        let left = match left.as_slice() {
            // Nothing is left to be critical about.
            [] | ["critical"] => None,
            some => Some(some.join(";")),
        };
        match left {
            Some(left) => headers.set(HeaderName::Privacy, &left),
            None => {
                headers.remove(HeaderName::Privacy);
            }
        }
    }
    env.note(rfc3323("5.1"), || format!("takes the caller out of {}", taken.join(", ")));
}

fn done(value: &str) -> bool {
    value.eq_ignore_ascii_case("user") || value.eq_ignore_ascii_case("header")
}

/// The same for what the callee answers with `Privacy: header` or `user`.
pub(super) fn anonymise_answer(response: &mut Response) {
    let asked = response.headers.get(HeaderName::Privacy).is_some_and(|it| it.split(';').any(done));
    if asked {
        for name in TELLING {
            response.headers.remove(name);
        }
    }
}

/// Whether a request hides who sends it (TS 24.611 §4.5.2.6.1).
pub(super) fn is_anonymous(request: &Request) -> bool {
    let hides = |value: &str| {
        ["id", "user", "header"].iter().any(|it| value.trim().eq_ignore_ascii_case(it))
    };
    let privacy = request.headers.get(HeaderName::Privacy);
    privacy.is_some_and(|it| it.split(';').any(hides))
}

/// Whether the asserted caller is one of these.
pub(super) fn is_asserted_as(request: &Request, known: &[String]) -> bool {
    let asserted = request.headers.addresses(HeaderName::PAssertedIdentity).unwrap_or_default();
    let key = |it: &NameAddr| cscf_core::registrar::identity_key(&it.uri);
    asserted.iter().filter_map(key).any(|key| known.contains(&key))
}
