//! Session timers (RFC 4028): the negotiation of the interval and of who refreshes, and the two
//! deadlines that follow from it.

use crate::sip::{HeaderName, Headers, MinSe, SessionExpires};
use crate::time::{Duration, Instant};

/// The smallest Min-SE there may be (RFC 4028 §5).
pub const MIN_SE: Duration = Duration::from_secs(90);

/// Who refreshes, as named in Session-Expires: the client or the server of *that* request
/// (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The client of the request.
    Uac,
    /// The server of the request.
    Uas,
}

impl Refresher {
    /// Its name in Session-Expires.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uac => "uac",
            Self::Uas => "uas",
        }
    }
}

/// What an end wants of session timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerPolicy {
    /// The interval it asks for as a caller, or sets as a callee where the caller names none;
    /// `None`: it asks for none, but goes along with the peer's.
    pub interval: Option<Duration>,
    /// The smallest interval it takes, at least [`MIN_SE`].
    pub min_se: Duration,
}

impl Default for TimerPolicy {
    fn default() -> Self {
        Self { interval: None, min_se: MIN_SE }
    }
}

/// The interval asked for is below our minimum; answered with 422 and Min-SE (RFC 4028 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session interval below {} s", min_se.as_secs())]
pub struct IntervalTooSmall {
    /// The Min-SE for the answer.
    pub min_se: Duration,
}

/// A running session timer. The interval starts anew with each refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// The session interval.
    pub interval: Duration,
    /// Whether we refresh.
    pub ours: bool,
    /// When we refresh, or give up.
    pub due_at: Instant,
}

impl SessionTimer {
    /// A timer started by the 2xx sent or received now.
    #[must_use]
    pub fn start(now: Instant, interval: Duration, ours: bool) -> Self {
        Self { interval, ours, due_at: now + due(interval, ours) }
    }

    /// What the server of a request answers: the timer and the Session-Expires value, or nothing
    /// when neither side wants one (RFC 4028 §9). `refresh` says who refreshed until now, if
    /// anybody did.
    ///
    /// # Errors
    ///
    /// [`IntervalTooSmall`] when a client that supports timers asks for less than our minimum.
    pub fn answer(
        now: Instant,
        request: &Headers,
        policy: &TimerPolicy,
    ) -> Result<Option<(Self, String)>, IntervalTooSmall> {
        let supported = request.has_token(HeaderName::Supported, "timer");
        let asked = session_expires(request);
        let interval = match asked {
            Some((interval, _)) if interval < policy.min_se => {
                if supported {
                    return Err(IntervalTooSmall { min_se: policy.min_se });
                }
                policy.min_se
            }
            Some((interval, _)) => interval,
            None => match policy.interval {
                Some(interval) => interval.max(min_se(request)).max(policy.min_se),
                None => return Ok(None),
            },
        };
        let named = asked.and_then(|(_, who)| who);
        // A client without timer support cannot refresh (RFC 4028 §9, table 2).
        let who = match (supported, named) {
            (false, _) => Refresher::Uas,
            (true, Some(named)) => named,
            (true, None) => Refresher::Uac,
        };
        let value = format!("{};refresher={}", interval.as_secs(), who.as_str());
        Ok(Some((Self::start(now, interval, who == Refresher::Uas), value)))
    }

    /// What the client learns from a 2xx: a timer if it names an interval (RFC 4028 §7.2).
    #[must_use]
    pub fn learn(now: Instant, response: &Headers) -> Option<Self> {
        let (interval, who) = session_expires(response)?;
        Some(Self::start(now, interval.max(MIN_SE), who != Some(Refresher::Uas)))
    }

    /// The Session-Expires value of our refresh: we go on refreshing (RFC 4028 §7.4).
    #[must_use]
    pub fn refresh_value(&self) -> String {
        format!("{};refresher=uac", self.interval.as_secs())
    }
}

/// How long after the start something is due: the refresher refreshes at half the interval; the
/// other end sends BYE before the end by the lesser of 32 s and a third (RFC 4028 §10).
#[must_use]
pub fn due(interval: Duration, ours: bool) -> Duration {
    if ours {
        interval / 2
    } else {
        interval.saturating_sub(Duration::from_secs(32).min(interval / 3))
    }
}

/// The Session-Expires of a message, if it is there and well-formed.
fn session_expires(headers: &Headers) -> Option<(Duration, Option<Refresher>)> {
    let value = SessionExpires::parse(headers.get(HeaderName::SessionExpires)?).ok()?;
    let who = match value.refresher() {
        Some(who) if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
        Some(who) if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
        _ => None,
    };
    Some((Duration::from_secs(value.seconds.into()), who))
}

fn min_se(headers: &Headers) -> Duration {
    let value = headers.get(HeaderName::MinSe).and_then(|text| MinSe::parse(text).ok());
    value.map_or(MIN_SE, |value| Duration::from_secs(value.seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[(HeaderName, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in lines {
            headers.push(*name, value);
        }
        headers
    }

    /// Asked headers, own interval → the Session-Expires answered and whether we refresh.
    fn check(
        lines: &[(HeaderName, &str)],
        interval: Option<u64>,
        expected: Result<Option<(&str, bool)>, u64>,
    ) {
        let policy =
            TimerPolicy { interval: interval.map(Duration::from_secs), ..TimerPolicy::default() };
        let answer = SessionTimer::answer(Instant::EPOCH, &asked(lines), &policy);
        let answer = match &answer {
            Ok(answer) => Ok(answer.as_ref().map(|(timer, text)| (text.as_str(), timer.ours))),
            Err(small) => Err(small.min_se.as_secs()),
        };
        assert_eq!(answer, expected, "{lines:?}");
    }

    #[test]
    fn the_callee_answers_by_the_table_of_rfc_4028() {
        use HeaderName::{MinSe, SessionExpires, Supported};
        check(&[], None, Ok(None));
        check(&[(Supported, "timer")], None, Ok(None));
        check(&[(Supported, "timer")], Some(1800), Ok(Some(("1800;refresher=uac", false))));
        check(&[], Some(1800), Ok(Some(("1800;refresher=uas", true))));
        check(
            &[(Supported, "timer"), (SessionExpires, "600;refresher=uas")],
            None,
            Ok(Some(("600;refresher=uas", true))),
        );
        check(&[(Supported, "timer"), (SessionExpires, "60")], None, Err(90));
        check(&[(Supported, "timer"), (MinSe, "3600")], Some(1800), {
            Ok(Some(("3600;refresher=uac", false)))
        });
    }

    #[test]
    fn the_refresher_acts_at_half_and_the_other_end_gives_up_before_the_end() {
        let start = Instant::from_secs(10);
        let headers = asked(&[(HeaderName::SessionExpires, "90;refresher=uas")]);
        let timer = SessionTimer::learn(start, &headers).expect("a timer");
        assert_eq!((timer.ours, timer.due_at), (false, Instant::from_secs(10 + 60)));
        let headers = asked(&[(HeaderName::SessionExpires, "1800")]);
        let timer = SessionTimer::learn(start, &headers).expect("a timer");
        assert_eq!((timer.ours, timer.due_at), (true, Instant::from_secs(10 + 900)));
        assert_eq!(timer.refresh_value(), "1800;refresher=uac");
    }
}
