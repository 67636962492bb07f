//! The end of a session for other reasons than the user's: media or their resources are lost
//! (TS 24.229 §5.1.3.1, §5.1.5; RFC 3312 §8), and the Reason that goes with it (§7.2A.18).

use super::{Session, SessionPhase, Turn};
use crate::clause::{rfc3312, ts24229};
use crate::dialog::DialogSide;

/// Why such a call ended.
const LOST: &str = "the bearer is lost";
/// The bearer of the media is gone (TS 24.229 §7.2A.18.11).
const BEARER_LOST: &str = "RELEASE_CAUSE;cause=3;text=\"Media bearer loss\"";
/// No ACK came for our 2xx (TS 24.229 §7.2A.18.11).
const NO_ACK: &str = "RELEASE_CAUSE;cause=4;text=\"SIP timeout - no ACK\"";
/// The caller cannot reserve what the call needs (RFC 3326 §2, RFC 3312 §8).
const NO_RESOURCES: &str = "SIP;cause=580;text=\"Precondition Failure\"";

impl<C: Copy> Session<C> {
    /// The bearer is lost: CANCEL, 580 or BYE, whatever fits the state of the call.
    pub fn lose_resources(&mut self, turn: &mut Turn<'_, C>) {
        match self.phase {
            SessionPhase::Calling => {
                turn.refuse(ts24229("5.1.3.1"), || "the bearer is lost: CANCEL".to_owned());
                self.cancel_because(turn, Some(BEARER_LOST));
            }
            SessionPhase::Incoming => self.fail_resources(turn),
            SessionPhase::Talking => {
                turn.refuse(ts24229("5.1.5"), || "the bearer is lost: BYE".to_owned());
                let early = self.side == DialogSide::Callee && !self.established;
                if early && self.peer.is_some() {
                    // The callee may not send BYE before the ACK (RFC 3261 §15).
                    self.wishes.bye = Some(LOST);
                } else {
                    self.bye(turn, LOST);
                }
            }
            SessionPhase::Ending | SessionPhase::Over => {}
        }
    }

    /// The reservation of this end failed while the call is set up.
    pub(super) fn on_reservation_failed(&mut self, turn: &mut Turn<'_, C>) {
        match self.phase {
            SessionPhase::Calling => {
                turn.refuse(rfc3312("8"), || "the resources cannot be had: CANCEL".to_owned());
                self.cancel_because(turn, Some(NO_RESOURCES));
            }
            SessionPhase::Incoming => self.fail_resources(turn),
            SessionPhase::Ending | SessionPhase::Over | SessionPhase::Talking => {}
        }
    }
}

/// The Reason of a BYE that nobody's user wanted.
pub(super) fn reason_of(why: &str) -> Option<&'static str> {
    match why {
        LOST => Some(BEARER_LOST),
        "no ACK" => Some(NO_ACK),
        _ => None,
    }
}
