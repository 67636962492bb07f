//! Max-Breadth (RFC 5393 §5): on how many branches at a time a request may be, over all the proxies
//! that fork it. A proxy shares what came among the branches it has pending, and never gives more.

use crate::ids::Decimal;
use crate::sip::{HeaderName, Request};

/// What a request without Max-Breadth has, and the most that any may have (RFC 5393 §5.3.3).
pub const MAX_BREADTH: u32 = 60;

/// The Max-Breadth of a request: 60 where it is absent or unreadable, and never more.
#[must_use]
pub fn max_breadth(request: &Request) -> u32 {
    let text = request.headers.get(HeaderName::MaxBreadth).map(str::trim);
    let digits = text.filter(|text| text.bytes().all(|it| it.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).unwrap_or(MAX_BREADTH).min(MAX_BREADTH)
}

/// Writes the only Max-Breadth of a request that is forwarded (RFC 5393 §5.3.3).
pub fn set_max_breadth(request: &mut Request, breadth: u32) {
    request.headers.set(HeaderName::MaxBreadth, &Decimal::new(breadth.into()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{BranchNumber, BranchRefused, ContextSettings, ResponseContext};
    use crate::sip::Method;
    use crate::time::Instant;
    use crate::transaction::testing::invite;

    const START: Instant = Instant::from_secs(1000);

    // T-PRX-050
    #[test]
    fn an_absent_or_overlarge_max_breadth_is_60() {
        let mut request = Request::new(Method::Invite, "sip:bob@ims.example");
        assert_eq!(max_breadth(&request), 60);
        for (text, expected) in
            [("1", 1), ("60", 60), ("61", 60), ("99999999999", 60), ("0", 0), ("-1", 60), ("", 60)]
        {
            request.headers.set(HeaderName::MaxBreadth, text);
            assert_eq!(max_breadth(&request), expected, "{text}");
        }
    }

    // T-PRX-050
    #[test]
    fn pending_branches_share_the_max_breadth_of_the_request() {
        for (breadth, shares) in [("7", &[3, 2, 2][..]), ("3", &[1, 1, 1]), ("60", &[60])] {
            let mut request = invite("z9hG4bK1");
            request.headers.set(HeaderName::MaxBreadth, breadth);
            let mut context = ResponseContext::new(&request, ContextSettings::default());
            let mut others = u32::try_from(shares.len()).expect("few");
            for share in shares {
                others -= 1;
                let branch = context.open_branch(START).expect("open");
                assert_eq!(context.take_breadth(branch, others), *share, "{breadth}");
            }
            assert_eq!(context.open_branch(START), Err(BranchRefused::NoBreadth));
            context.on_response(START, BranchNumber(0), 486, &mut Vec::new());
            assert_eq!(context.breadth_left(), shares[0], "answered branches give it back");
        }
    }
}
