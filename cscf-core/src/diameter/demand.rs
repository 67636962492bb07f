//! What the HSS asks of an S-CSCF as AVPs and back: RTR, PPR (TS 29.229 §6.1.9, §6.1.11).

use crate::cx::{CxDemand, DemandReply, DeregistrationReason};
use crate::diameter::answer;
use crate::diameter::codec::{Avp, Fault, FaultKind, Message};
use crate::diameter::dictionary as avp;
use crate::diameter::request::Fields;

/// The command code of a demand.
pub(super) const fn command_of(demand: &CxDemand) -> u32 {
    match demand {
        CxDemand::Rtr { .. } => avp::REGISTRATION_TERMINATION,
        CxDemand::Ppr { .. } => avp::PUSH_PROFILE,
    }
}

/// Writes the AVPs of a demand that follow the base protocol's.
pub(super) fn encode(demand: &CxDemand, out: &mut Vec<Avp>) {
    match demand {
        CxDemand::Rtr { impi, impus, reason, info } => {
            out.push(Avp::text(&avp::USER_NAME, impi));
            out.extend(impus.iter().map(|impu| Avp::text(&avp::PUBLIC_IDENTITY, impu)));
            let code = match reason {
                DeregistrationReason::PermanentTermination => 0,
                DeregistrationReason::NewServerAssigned => 1,
                DeregistrationReason::ServerChange => 2,
                DeregistrationReason::RemoveScscf => 3,
            };
            let mut inside = vec![Avp::number(&avp::REASON_CODE, code)];
            if !info.is_empty() {
                inside.push(Avp::text(&avp::REASON_INFO, info));
            }
            out.push(Avp::group(&avp::DEREGISTRATION_REASON, &inside));
        }
        CxDemand::Ppr { impi, user_data, charging_ccf, digest } => {
            out.push(Avp::text(&avp::USER_NAME, impi));
            if let Some(user_data) = user_data {
                out.push(Avp::octets(&avp::USER_DATA, user_data.clone().into_bytes()));
            }
            out.extend(charging_ccf.as_deref().map(answer::encode_charging));
            out.extend(digest.as_ref().map(|item| answer::encode_item(1, item)));
        }
    }
}

/// Writes the AVPs of an answer that follow the base protocol's.
pub(super) fn encode_reply(reply: &DemandReply) -> Vec<Avp> {
    let mut out = vec![answer::encode_result(reply.result)];
    out.extend(reply.emergency.iter().map(|(impi, impu)| {
        let inside = [Avp::text(&avp::USER_NAME, impi), Avp::text(&avp::PUBLIC_IDENTITY, impu)];
        Avp::group(&avp::IDENTITY_WITH_EMERGENCY_REGISTRATION, &inside)
    }));
    out
}

/// Reads a demand.
///
/// # Errors
///
/// What breaks TS 29.229 §6.1.9, §6.1.11, with its Result-Code.
pub(super) fn decode(message: &Message) -> Result<CxDemand, Fault> {
    let fields = Fields::of(message)?;
    fields.base()?;
    let impi = fields.text(&avp::USER_NAME)?;
    if message.header.command == avp::PUSH_PROFILE {
        let user_data = fields.optional(&avp::USER_DATA)?.map(answer::document);
        let charging = fields.optional(&avp::CHARGING_INFORMATION)?;
        let charging_ccf = charging.map(answer::decode_charging).transpose()?.flatten();
        let digest = fields.optional(&avp::SIP_AUTH_DATA_ITEM)?;
        let digest = digest.map(answer::decode_item).transpose()?;
        return Ok(CxDemand::Ppr { impi, user_data, charging_ccf, digest });
    }
    let inside = Fields::inside(fields.required(&avp::DEREGISTRATION_REASON)?)?;
    let code = inside.required(&avp::REASON_CODE)?;
    let reason = match code.as_u32()? {
        0 => DeregistrationReason::PermanentTermination,
        1 => DeregistrationReason::NewServerAssigned,
        2 => DeregistrationReason::ServerChange,
        3 => DeregistrationReason::RemoveScscf,
        _ => return Err(code.fault(FaultKind::AvpValue("no Reason-Code we know"))),
    };
    let info = inside.optional(&avp::REASON_INFO)?.map(Avp::as_text).transpose()?;
    Ok(CxDemand::Rtr {
        impi,
        impus: fields.texts(&avp::PUBLIC_IDENTITY)?,
        reason,
        info: info.unwrap_or_default().to_owned(),
    })
}
