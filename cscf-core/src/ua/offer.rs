//! Offer and answer as an exchange (RFC 3264, RFC 3262 §5, RFC 3311 §5): who has an offer open,
//! and what an offer that comes at the wrong time is answered with. The SDP itself is in
//! [`super::Media`].

/// The message that carried an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// INVITE or re-INVITE.
    Invite,
    /// PRACK.
    Prack,
    /// A response to an INVITE without offer.
    Response,
    /// UPDATE.
    Update,
}

/// Where offer and answer stand in one dialog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exchange {
    /// No offer is open, and none was ever answered.
    #[default]
    Nothing,
    /// The peer's offer waits for our answer.
    Received(Carrier),
    /// Our offer waits for the peer's answer.
    Sent(Carrier),
    /// The last offer was answered.
    Stable,
}

/// Why an offer cannot be taken now (RFC 3311 §5.2, RFC 3261 §14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untimely {
    /// An earlier offer of the peer is not answered yet: 500 with Retry-After.
    #[error("an earlier offer of the peer is still open")]
    PeerPending,
    /// Our own offer is open: 491.
    #[error("our own offer is still open")]
    OursPending,
}

impl Untimely {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::PeerPending => 500,
            Self::OursPending => 491,
        }
    }
}

impl Exchange {
    /// Whether we may make an offer now.
    #[must_use]
    pub const fn may_offer(self) -> bool {
        matches!(self, Self::Nothing | Self::Stable)
    }

    /// Whether an offer was ever answered.
    #[must_use]
    pub const fn is_stable(self) -> bool {
        matches!(self, Self::Stable)
    }

    /// Whether our offer waits for an answer.
    #[must_use]
    pub const fn is_sent(self) -> bool {
        matches!(self, Self::Sent(_))
    }

    /// Whether our offer in this carrier waits for an answer. SDP in a response to something else
    /// is no answer to it.
    #[must_use]
    pub fn is_sent_by(self, carrier: Carrier) -> bool {
        self == Self::Sent(carrier)
    }

    /// Whether the first offer of the dialog was answered; a later one may be open.
    #[must_use]
    pub const fn is_agreed(self) -> bool {
        matches!(self, Self::Stable | Self::Sent(Carrier::Update) | Self::Received(Carrier::Update))
    }

    /// Whether the peer's offer waits for our answer.
    #[must_use]
    pub const fn is_received(self) -> bool {
        matches!(self, Self::Received(_))
    }

    /// We send an offer. Says whether we may.
    pub fn send_offer(&mut self, carrier: Carrier) -> bool {
        let may = self.may_offer();
        if may {
            *self = Self::Sent(carrier);
        }
        may
    }

    /// An offer came.
    ///
    /// # Errors
    ///
    /// [`Untimely`] when an offer is open; nothing changes then.
    pub fn receive_offer(&mut self, carrier: Carrier) -> Result<(), Untimely> {
        match self {
            Self::Received(_) => Err(Untimely::PeerPending),
            Self::Sent(_) => Err(Untimely::OursPending),
            Self::Nothing | Self::Stable => {
                *self = Self::Received(carrier);
                Ok(())
            }
        }
    }

    /// We answered, or the answer came: no offer is open.
    pub fn settle(&mut self) {
        *self = Self::Stable;
    }

    /// The open offer was refused (488, 491 …): what was agreed before holds. `agreed` says whether
    /// anything was.
    pub fn withdraw(&mut self, agreed: bool) {
        *self = if agreed { Self::Stable } else { Self::Nothing };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_come_one_at_a_time() {
        use Carrier::{Invite, Prack, Response, Update};
        use Exchange::{Nothing, Received, Sent, Stable};
        // state, offer received by, status of the refusal or the new state
        for (state, carrier, expected) in [
            (Nothing, Invite, Ok(Received(Invite))),
            (Stable, Update, Ok(Received(Update))),
            (Stable, Prack, Ok(Received(Prack))),
            (Sent(Invite), Update, Err(491)),
            (Sent(Update), Update, Err(491)),
            (Sent(Response), Update, Err(491)),
            (Received(Invite), Update, Err(500)),
            (Received(Prack), Update, Err(500)),
            (Received(Update), Update, Err(500)),
        ] {
            let mut exchange = state;
            let result = exchange.receive_offer(carrier).map_err(Untimely::status);
            assert_eq!(result.map(|()| exchange), expected, "{state:?} {carrier:?}");
        }
        for (state, may) in
            [(Nothing, true), (Stable, true), (Sent(Invite), false), (Received(Update), false)]
        {
            let mut exchange = state;
            assert_eq!(exchange.send_offer(Update), may, "{state:?}");
        }
    }

    #[test]
    fn a_refused_offer_leaves_what_was_agreed() {
        let mut exchange = Exchange::Stable;
        assert!(exchange.send_offer(Carrier::Update));
        exchange.withdraw(true);
        assert_eq!(exchange, Exchange::Stable);
    }
}
