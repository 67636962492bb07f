//! The choice of the best response (RFC 3261 §16.7 steps 6 and 7).

use crate::sip::{HeaderName, Response};

/// Final responses other than 2xx that compete to go upstream, in the order they came.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    responses: Vec<Response>,
}

impl Candidates {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.responses.is_empty()
    }

    /// Adds one.
    pub fn push(&mut self, response: Response) {
        self.responses.push(response);
    }

    /// Takes the best one: a 6xx if there is one; else of the lowest class the one that tells most.
    /// A 401 or 407 takes the challenges of all others with it (RFC 3261 §16.7 steps 6, 7).
    #[must_use]
    pub fn take_best(&mut self) -> Option<Response> {
        let at = (0..self.responses.len())
            .min_by_key(|at| self.responses.get(*at).map(|response| rank(response.status)))?;
        let mut best = self.responses.remove(at);
        if is_challenge(best.status) {
            for other in self.responses.iter().filter(|other| is_challenge(other.status)) {
                best.headers.copy_from(&other.headers, HeaderName::WwwAuthenticate);
                best.headers.copy_from(&other.headers, HeaderName::ProxyAuthenticate);
            }
        }
        self.responses.clear();
        Some(best)
    }
}

const fn is_challenge(status: u16) -> bool {
    matches!(status, 401 | 407)
}

/// Lower is better: class, then how much it helps the client. Responses of one rank are as good as
/// each other; the first of them is taken.
const fn rank(status: u16) -> (u16, u8) {
    let class = if status >= 600 { 0 } else { status / 100 };
    let within = match status {
        401 | 407 | 415 | 420 | 484 => 0,
        // These say least: somebody did not answer, or should not be asked now.
        408 | 503 => 2,
        _ => 1,
    };
    (class, within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Method, Request};

    fn best(statuses: &[u16]) -> u16 {
        let request = Request::new(Method::Invite, "sip:bob@ims.example");
        let mut candidates = Candidates::default();
        for status in statuses {
            candidates.push(request.reply(*status));
        }
        candidates.take_best().expect("a best one").status
    }

    // T-PRX-030, S-TER-060
    #[test]
    fn the_best_response_is_6xx_then_of_the_lowest_class_what_tells_most() {
        for (statuses, expected) in [
            (vec![486, 603, 302], 603),
            (vec![600, 603], 600),
            (vec![500, 404, 302], 302),
            (vec![500, 404], 404),
            (vec![404, 486], 404),
            (vec![404, 401], 401),
            (vec![404, 407], 407),
            (vec![404, 415], 415),
            (vec![404, 420], 420),
            (vec![404, 484], 484),
            (vec![408, 486], 486),
            (vec![408, 503], 408),
            (vec![503, 504], 504),
            (vec![503], 503),
        ] {
            assert_eq!(best(&statuses), expected, "{statuses:?}");
        }
    }

    // T-PRX-030
    #[test]
    fn a_challenge_takes_the_other_challenges_with_it() {
        let request = Request::new(Method::Invite, "sip:bob@ims.example");
        let mut candidates = Candidates::default();
        for (status, name, value) in [
            (407, HeaderName::ProxyAuthenticate, "Digest realm=\"a\""),
            (401, HeaderName::WwwAuthenticate, "Digest realm=\"b\""),
            (403, HeaderName::WwwAuthenticate, "Digest realm=\"not a challenge\""),
            (407, HeaderName::ProxyAuthenticate, "Digest realm=\"c\""),
        ] {
            let mut response = request.reply(status);
            response.headers.push(name, value);
            candidates.push(response);
        }

        let best = candidates.take_best().expect("a best one");

        assert_eq!(best.status, 407);
        let proxy: Vec<_> = best.headers.values(HeaderName::ProxyAuthenticate).collect();
        assert_eq!(proxy, ["Digest realm=\"a\"", "Digest realm=\"c\""]);
        let www: Vec<_> = best.headers.values(HeaderName::WwwAuthenticate).collect();
        assert_eq!(www, ["Digest realm=\"b\""]);
    }
}
