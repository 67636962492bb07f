//! Who the two peers of a connection are and what they speak: configuration of our side, and what
//! CER and CEA say of it (RFC 6733 §5.3).

use std::net::IpAddr;

use crate::diameter::codec::{Avp, Fault, FaultKind, Message};
use crate::diameter::dictionary::{self as avp, APPLICATION_CX, APPLICATION_RELAY, VENDOR_3GPP};
use crate::time::Duration;

/// The spans of a Diameter node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a question may wait for its answer.
    pub answer_within: Duration,
    /// How long connection, capabilities exchange and disconnection may take each.
    pub handshake_within: Duration,
    /// The first pause before a failed connection is tried again; doubles each time.
    pub retry_first: Duration,
    /// The longest such pause: Tc (RFC 6733 §2.1).
    pub retry_max: Duration,
    /// Tw, without its jitter of ± 2 s (RFC 3539 §3.4.1).
    pub watchdog: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            answer_within: Duration::from_secs(5),
            handshake_within: Duration::from_secs(10),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(30),
            watchdog: Duration::from_secs(30),
        }
    }
}

/// Who we are to a Diameter peer (RFC 6733 §5.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalPeer {
    /// Origin-Host.
    pub origin_host: String,
    /// Origin-Realm.
    pub origin_realm: String,
    /// Origin-State-Id: grows with each restart that loses state (RFC 6733 §8.16).
    pub origin_state_id: u32,
}

impl LocalPeer {
    /// Origin-Host and Origin-Realm.
    pub(super) fn origin(&self) -> Vec<Avp> {
        vec![
            Avp::text(&avp::ORIGIN_HOST, &self.origin_host),
            Avp::text(&avp::ORIGIN_REALM, &self.origin_realm),
        ]
    }

    /// Origin-State-Id.
    pub(super) fn origin_state(&self) -> Avp {
        Avp::number(&avp::ORIGIN_STATE_ID, self.origin_state_id)
    }

    /// What CER and CEA carry of us. Both forms of the application stand here, as some peers look
    /// only for one of them.
    pub(super) fn capabilities(&self, address: IpAddr) -> Vec<Avp> {
        let mut avps = self.origin();
        avps.extend([
            Avp::address(&avp::HOST_IP_ADDRESS, address),
            Avp::number(&avp::VENDOR_ID, VENDOR_3GPP),
            Avp::text(&avp::PRODUCT_NAME, "cscf"),
            Avp::number(&avp::SUPPORTED_VENDOR_ID, VENDOR_3GPP),
            Avp::number(&avp::AUTH_APPLICATION_ID, APPLICATION_CX),
            cx_application(),
            self.origin_state(),
        ]);
        avps
    }
}

/// Vendor-Specific-Application-Id of Cx (TS 29.229 §5.6).
pub(super) fn cx_application() -> Avp {
    Avp::group(
        &avp::VENDOR_SPECIFIC_APPLICATION_ID,
        &[
            Avp::number(&avp::VENDOR_ID, VENDOR_3GPP),
            Avp::number(&avp::AUTH_APPLICATION_ID, APPLICATION_CX),
        ],
    )
}

/// Origin-Host and Origin-Realm; the other AVPs that RFC 6733 §5.3.1 demands must be there too.
pub(super) fn peer_of(exchange: &Message) -> Result<(String, String), Fault> {
    let needed = [
        &avp::ORIGIN_HOST,
        &avp::ORIGIN_REALM,
        &avp::HOST_IP_ADDRESS,
        &avp::VENDOR_ID,
        &avp::PRODUCT_NAME,
    ];
    if let Some(missing) = needed.into_iter().find(|what| exchange.find(what).is_none()) {
        return Err(Fault::missing(missing));
    }
    let text = |what| {
        let found = exchange.find(what).ok_or_else(|| Fault::missing(what))?;
        match found.as_text()? {
            "" => Err(found.fault(FaultKind::AvpValue("empty"))),
            text => Ok(text.to_owned()),
        }
    };
    Ok((text(&avp::ORIGIN_HOST)?, text(&avp::ORIGIN_REALM)?))
}

/// Whether the peer advertises Cx in one form or the other, or is a relay (RFC 6733 §5.3).
pub(super) fn shares_cx(exchange: &Message) -> bool {
    let serves = |avp: &Avp| matches!(avp.as_u32(), Ok(APPLICATION_CX | APPLICATION_RELAY));
    exchange.all(&avp::AUTH_APPLICATION_ID).any(serves)
        || exchange
            .all(&avp::VENDOR_SPECIFIC_APPLICATION_ID)
            .filter_map(|group| group.as_group().ok())
            .any(|inside| inside.iter().any(|avp| avp.is(&avp::AUTH_APPLICATION_ID) && serves(avp)))
}
