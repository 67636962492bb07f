//! Digits pressed in a call: as telephone-event (RFC 4733, GSMA IR.92 §3.3) or in INFO, one at a
//! time, since a request that overtakes another is refused.
//!
//! The emulated UE sends no RTP: for telephone-event it says only in which payload they would go.

use std::collections::VecDeque;

use cscf_core::clause::{own, rfc6086};
use cscf_core::role::{Action, Actions, Env};
use cscf_core::sip::{HeaderName, Request};
use cscf_core::ua::{Media, SessionPhase, media_type};

use super::{Dtmf, Ue, UeTimer};

/// Digits that wait at most.
const DIGITS_MAX: usize = 64;
/// How long a digit lasts, in ms.
const DURATION: u32 = 160;
/// The info package of DTMF (TS 24.229 §7.12.1).
const PACKAGE: &str = "infoDtmf";
const CONTENT_TYPE: &str = "application/dtmf-relay";

/// Digits that are still to be sent in INFO.
#[derive(Debug, Default)]
pub(super) struct Digits {
    waiting: VecDeque<char>,
    packed: bool,
}

impl Ue {
    /// The user presses digits.
    pub(super) fn send_dtmf(
        &mut self,
        env: &mut Env<'_>,
        digits: &str,
        by: Dtmf,
        out: &mut Actions<UeTimer>,
    ) {
        let number = self.meant(&[SessionPhase::Talking]);
        let Some((number, call)) = number.and_then(|it| Some((it, self.calls.get_mut(&it)?)))
        else {
            return out.push(Action::State("no call".to_owned()));
        };
        if by == Dtmf::Rtp {
            let tones = call.session().media().and_then(Media::tones);
            let Some((payload, rate)) = tones else {
                env.refuse(own("dtmf"), || "no telephone-event was agreed".to_owned());
                return out.push(Action::State("dtmf not sent".to_owned()));
            };
            env.note(own("dtmf"), || format!("telephone-event {payload}/{rate}: {digits}"));
            return out.push(Action::State(format!("dtmf sent {digits}")));
        }
        let queue = call.digits_mut();
        queue.packed = by == Dtmf::Package;
        let idle = queue.waiting.is_empty();
        queue.waiting.extend(digits.chars().take(DIGITS_MAX));
        queue.waiting.truncate(DIGITS_MAX);
        if idle {
            self.next_digit(env, number, out);
        }
    }

    /// Sends the digit that is next, if one waits.
    pub(super) fn next_digit(
        &mut self,
        env: &mut Env<'_>,
        number: u16,
        out: &mut Actions<UeTimer>,
    ) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let queue = call.digits_mut();
        let Some(digit) = queue.waiting.pop_front() else { return };
        let body = format!("Signal={digit}\r\nDuration={DURATION}\r\n");
        let packed = queue.packed;
        let what = if packed { PACKAGE } else { "no package" };
        env.note(rfc6086("4.2"), || format!("INFO with {digit}, {what}"));
        self.drive(env, number, out, |session, turn| {
            if packed {
                session.info_package(turn, PACKAGE, CONTENT_TYPE, body.into());
            } else {
                session.info(turn, CONTENT_TYPE, body.into());
            }
        });
    }
}

/// The digit in an INFO.
pub(super) fn digit_of(info: &Request) -> Option<char> {
    let kind = info.headers.get(HeaderName::ContentType).map(media_type)?;
    if !kind.eq_ignore_ascii_case(CONTENT_TYPE) {
        return None;
    }
    let body = std::str::from_utf8(&info.body).ok()?;
    let value = body.lines().find_map(|line| line.trim().strip_prefix("Signal="))?;
    value.trim().chars().next()
}
