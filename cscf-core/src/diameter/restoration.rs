//! SCSCF-Restoration-Info as AVPs and back (TS 29.229 §6.3.46 to §6.3.53).

use crate::cx::{Restoration, RestoredContact, RestoredSubscription};
use crate::diameter::codec::{Avp, Fault};
use crate::diameter::dictionary::{self as avp, Definition};
use crate::diameter::request::Fields;

/// Feature-List-ID of the features of Cx (TS 29.229 §7.1.1).
const FEATURE_LIST: u32 = 1;
/// `IMSRestorationInd`, the only optional feature of Cx that we have (TS 29.229 §7.1.1).
pub(super) const FEATURE_RESTORATION: u32 = 1 << 2;

/// Supported-Features with what we have; not demanded of the peer.
pub(super) fn supported_features() -> Avp {
    let inside = [
        Avp::number(&avp::VENDOR_ID, avp::VENDOR_3GPP),
        Avp::number(&avp::FEATURE_LIST_ID, FEATURE_LIST),
        Avp::number(&avp::FEATURE_LIST, FEATURE_RESTORATION),
    ];
    Avp::group(&avp::SUPPORTED_FEATURES, &inside)
}

/// Whether a Supported-Features AVP that must be understood names only what we have.
pub(super) fn all_supported(features: &Avp) -> bool {
    let Ok(inside) = Fields::inside(features) else { return false };
    let number = |what| inside.number_or(what, 0).unwrap_or(u32::MAX);
    number(&avp::VENDOR_ID) == avp::VENDOR_3GPP
        && number(&avp::FEATURE_LIST_ID) == FEATURE_LIST
        && number(&avp::FEATURE_LIST) & !FEATURE_RESTORATION == 0
}

pub(super) fn encode(info: &Restoration) -> Avp {
    let mut inside = vec![Avp::text(&avp::USER_NAME, &info.impi)];
    inside.extend(info.contacts.iter().map(encode_contact));
    Avp::group(&avp::SCSCF_RESTORATION_INFO, &inside)
}

fn encode_contact(contact: &RestoredContact) -> Avp {
    let mut inside =
        vec![octets(&avp::PATH, &contact.path), octets(&avp::CONTACT, &contact.contact)];
    if let Some(cseq) = contact.cseq {
        inside.push(Avp::number(&avp::INITIAL_CSEQ_SEQUENCE_NUMBER, cseq));
    }
    inside.extend(contact.call_id.as_deref().map(|id| octets(&avp::CALL_ID_SIP_HEADER, id)));
    if let Some(subscription) = &contact.subscription {
        let RestoredSubscription { call_id, from, to, record_route, contact } = subscription;
        let dialog = [
            octets(&avp::CALL_ID_SIP_HEADER, call_id),
            octets(&avp::FROM_SIP_HEADER, from),
            octets(&avp::TO_SIP_HEADER, to),
            octets(&avp::RECORD_ROUTE, record_route),
            octets(&avp::CONTACT, contact),
        ];
        inside.push(Avp::group(&avp::SUBSCRIPTION_INFO, &dialog));
    }
    Avp::group(&avp::RESTORATION_INFO, &inside)
}

fn octets(what: &Definition, text: &str) -> Avp {
    Avp::octets(what, text.as_bytes().to_vec())
}

pub(super) fn decode(group: &Avp) -> Result<Restoration, Fault> {
    let inside = Fields::inside(group)?;
    let contacts: Vec<RestoredContact> =
        inside.all(&avp::RESTORATION_INFO).map(decode_contact).collect::<Result<_, _>>()?;
    if contacts.is_empty() {
        return Err(Fault::missing(&avp::RESTORATION_INFO));
    }
    Ok(Restoration { impi: inside.text(&avp::USER_NAME)?, contacts })
}

fn decode_contact(group: &Avp) -> Result<RestoredContact, Fault> {
    let inside = Fields::inside(group)?;
    let cseq = inside.optional(&avp::INITIAL_CSEQ_SEQUENCE_NUMBER)?;
    let call_id = inside.optional(&avp::CALL_ID_SIP_HEADER)?;
    let subscription = inside.optional(&avp::SUBSCRIPTION_INFO)?;
    Ok(RestoredContact {
        path: inside.text(&avp::PATH)?,
        contact: inside.text(&avp::CONTACT)?,
        call_id: call_id.map(Avp::as_text).transpose()?.map(str::to_owned),
        cseq: cseq.map(Avp::as_u32).transpose()?,
        subscription: subscription.map(decode_subscription).transpose()?,
    })
}

fn decode_subscription(group: &Avp) -> Result<RestoredSubscription, Fault> {
    let inside = Fields::inside(group)?;
    Ok(RestoredSubscription {
        call_id: inside.text(&avp::CALL_ID_SIP_HEADER)?,
        from: inside.text(&avp::FROM_SIP_HEADER)?,
        to: inside.text(&avp::TO_SIP_HEADER)?,
        record_route: inside.text(&avp::RECORD_ROUTE)?,
        contact: inside.text(&avp::CONTACT)?,
    })
}
