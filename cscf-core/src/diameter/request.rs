//! The questions of Cx as AVPs and back: UAR, SAR, LIR, MAR (TS 29.229 §6.1.1 to §6.1.7). Which
//! AVPs must be there stands in the tables of TS 29.228 §6; what breaks them gets the Result-Code
//! that RFC 6733 §7.1 names.

use crate::cx::{
    AssignmentType, AuthScheme, AuthorizationType, CxCommand, CxRequest, Lir, Mar, Sar, Uar,
};
use crate::diameter::codec::{Avp, Fault, FaultKind, Message};
use crate::diameter::dictionary::{self as avp, Definition};
use crate::diameter::restoration;

/// The scheme name of IMS AKA, version 1 and 2 alike (TS 29.229 §6.3.9).
pub(super) const SCHEME_AKA: &str = "Digest-AKAv1-MD5";
/// The scheme name of GIBA (TS 29.229 §6.3.9).
pub(super) const SCHEME_EARLY_IMS: &str = "Early-IMS-Security";
/// The scheme name of SIP digest (TS 29.229 §6.3.9).
pub(super) const SCHEME_DIGEST: &str = "SIP Digest";
/// The scheme name by which the HSS is asked which one the subscriber has (TS 29.229 §6.3.9).
pub(super) const SCHEME_UNKNOWN: &str = "Unknown";

/// The most AVPs of one kind that a request may repeat (public identities of a deregistration).
const REPEAT_MAX: usize = 64;

/// The command code of a question.
pub(super) const fn command_of(request: &CxRequest) -> u32 {
    match request {
        CxRequest::Uar(_) => avp::USER_AUTHORIZATION,
        CxRequest::Mar(_) => avp::MULTIMEDIA_AUTH,
        CxRequest::Sar(_) => avp::SERVER_ASSIGNMENT,
        CxRequest::Lir(_) => avp::LOCATION_INFO,
    }
}

/// The question with this command code.
pub(super) const fn command_named(code: u32) -> Option<CxCommand> {
    match code {
        avp::USER_AUTHORIZATION => Some(CxCommand::Uar),
        avp::MULTIMEDIA_AUTH => Some(CxCommand::Mar),
        avp::SERVER_ASSIGNMENT => Some(CxCommand::Sar),
        avp::LOCATION_INFO => Some(CxCommand::Lir),
        _ => None,
    }
}

/// Writes the AVPs of a question that follow the base protocol's.
pub(super) fn encode(request: &CxRequest, out: &mut Vec<Avp>) {
    match request {
        CxRequest::Uar(uar) => {
            out.push(Avp::text(&avp::USER_NAME, &uar.impi));
            out.push(Avp::text(&avp::PUBLIC_IDENTITY, &uar.impu));
            out.push(Avp::text(&avp::VISITED_NETWORK_IDENTIFIER, &uar.visited_network));
            let kind = authorization_code(uar.authorization_type);
            out.push(Avp::number(&avp::USER_AUTHORIZATION_TYPE, kind));
            if uar.emergency {
                out.push(Avp::number(&avp::UAR_FLAGS, 1));
            }
        }
        CxRequest::Lir(lir) => {
            if lir.originating {
                out.push(Avp::number(&avp::ORIGINATING_REQUEST, 0));
            }
            out.push(Avp::text(&avp::PUBLIC_IDENTITY, &lir.impu));
            if lir.capabilities {
                let kind = authorization_code(AuthorizationType::RegistrationAndCapabilities);
                out.push(Avp::number(&avp::USER_AUTHORIZATION_TYPE, kind));
            }
        }
        CxRequest::Sar(sar) => {
            if let Some(impi) = &sar.impi {
                out.push(Avp::text(&avp::USER_NAME, impi));
            }
            out.extend(sar.impus.iter().map(|impu| Avp::text(&avp::PUBLIC_IDENTITY, impu)));
            out.push(Avp::text(&avp::SERVER_NAME, &sar.server_name));
            out.push(Avp::number(&avp::SERVER_ASSIGNMENT_TYPE, sar.assignment_type.code()));
            let available = u32::from(sar.profile_available);
            out.push(Avp::number(&avp::USER_DATA_ALREADY_AVAILABLE, available));
            if let Some(wildcard) = &sar.wildcard {
                out.push(Avp::text(&avp::WILDCARDED_PUBLIC_IDENTITY, wildcard));
            }
            if let Some(info) = &sar.restoration {
                out.push(restoration::supported_features());
                out.push(restoration::encode(info));
            }
        }
        CxRequest::Mar(mar) => {
            out.push(Avp::text(&avp::USER_NAME, &mar.impi));
            out.push(Avp::text(&avp::PUBLIC_IDENTITY, &mar.impu));
            let scheme = match mar.scheme {
                AuthScheme::Aka => SCHEME_AKA,
                AuthScheme::EarlyIms => SCHEME_EARLY_IMS,
                AuthScheme::Other => "Other",
                AuthScheme::SipDigest => SCHEME_DIGEST,
                AuthScheme::Unknown => SCHEME_UNKNOWN,
            };
            let mut item = vec![Avp::text(&avp::SIP_AUTHENTICATION_SCHEME, scheme)];
            if let Some((rand, auts)) = &mar.resync {
                let both: Vec<u8> = rand.iter().chain(auts).copied().collect();
                item.push(Avp::octets(&avp::SIP_AUTHORIZATION, both));
            }
            out.push(Avp::group(&avp::SIP_AUTH_DATA_ITEM, &item));
            out.push(Avp::number(&avp::SIP_NUMBER_AUTH_ITEMS, mar.count));
            out.push(Avp::text(&avp::SERVER_NAME, &mar.server_name));
        }
    }
}

/// Reads a question.
///
/// # Errors
///
/// What breaks TS 29.229 §6.1 or the tables of TS 29.228 §6, with its Result-Code.
pub(super) fn decode(message: &Message) -> Result<CxRequest, Fault> {
    let fields = Fields::of(message)?;
    fields.base()?;
    match message.header.command {
        avp::USER_AUTHORIZATION => decode_uar(&fields).map(CxRequest::Uar),
        avp::SERVER_ASSIGNMENT => decode_sar(&fields).map(CxRequest::Sar),
        avp::LOCATION_INFO => decode_lir(&fields).map(CxRequest::Lir),
        _ => decode_mar(&fields).map(CxRequest::Mar),
    }
}

fn decode_uar(fields: &Fields<'_>) -> Result<Uar, Fault> {
    let kind = fields.optional(&avp::USER_AUTHORIZATION_TYPE)?;
    let visited = fields.required(&avp::VISITED_NETWORK_IDENTIFIER)?;
    Ok(Uar {
        impi: fields.text(&avp::USER_NAME)?,
        impu: fields.text(&avp::PUBLIC_IDENTITY)?,
        visited_network: visited.as_text()?.to_owned(),
        authorization_type: kind.map_or(Ok(AuthorizationType::Registration), authorization_type)?,
        emergency: fields.number_or(&avp::UAR_FLAGS, 0)? & 1 != 0,
    })
}

fn decode_lir(fields: &Fields<'_>) -> Result<Lir, Fault> {
    let originating = fields.optional(&avp::ORIGINATING_REQUEST)?;
    if let Some(found) = originating
        && found.as_u32()? != 0
    {
        return Err(found.fault(FaultKind::AvpValue("only ORIGINATING (0) is defined")));
    }
    let kind = fields.optional(&avp::USER_AUTHORIZATION_TYPE)?.map(authorization_type);
    Ok(Lir {
        impu: fields.text(&avp::PUBLIC_IDENTITY)?,
        originating: originating.is_some(),
        capabilities: kind.transpose()? == Some(AuthorizationType::RegistrationAndCapabilities),
    })
}

/// Whether identities may be absent depends on the type (TS 29.228 table 6.1.2.1).
fn decode_sar(fields: &Fields<'_>) -> Result<Sar, Fault> {
    let code = fields.required(&avp::SERVER_ASSIGNMENT_TYPE)?;
    let assignment_type = AssignmentType::from_code(code.as_u32()?)
        .ok_or_else(|| code.fault(FaultKind::AvpValue("no Server-Assignment-Type we know")))?;
    let impi = fields.optional(&avp::USER_NAME)?.map(owned_text).transpose()?;
    let impus = fields.texts(&avp::PUBLIC_IDENTITY)?;
    let ends = assignment_type.is_deregistration();
    if impus.is_empty() && (!ends || impi.is_none()) {
        return Err(Fault::missing(&avp::PUBLIC_IDENTITY));
    }
    let nameless = ends || assignment_type == AssignmentType::UnregisteredUser;
    if impi.is_none() && !nameless {
        return Err(Fault::missing(&avp::USER_NAME));
    }
    let available = fields.required(&avp::USER_DATA_ALREADY_AVAILABLE)?;
    let profile_available = match available.as_u32()? {
        0 => false,
        1 => true,
        _ => return Err(available.fault(FaultKind::AvpValue("neither 0 nor 1"))),
    };
    Ok(Sar {
        impi,
        impus,
        server_name: fields.text(&avp::SERVER_NAME)?,
        assignment_type,
        profile_available,
        restoration: fields
            .optional(&avp::SCSCF_RESTORATION_INFO)?
            .map(restoration::decode)
            .transpose()?,
        wildcard: fields.optional(&avp::WILDCARDED_PUBLIC_IDENTITY)?.map(owned_text).transpose()?,
    })
}

fn decode_mar(fields: &Fields<'_>) -> Result<Mar, Fault> {
    let item = fields.required(&avp::SIP_AUTH_DATA_ITEM)?;
    let inside = Fields::inside(item)?;
    let scheme = match inside.text(&avp::SIP_AUTHENTICATION_SCHEME)?.as_str() {
        SCHEME_AKA => Some(AuthScheme::Aka),
        SCHEME_DIGEST => Some(AuthScheme::SipDigest),
        SCHEME_EARLY_IMS => Some(AuthScheme::EarlyIms),
        SCHEME_UNKNOWN => Some(AuthScheme::Unknown),
        _ => None,
    };
    let authorization = inside.optional(&avp::SIP_AUTHORIZATION)?;
    let resync = match (authorization, scheme) {
        (None, _) => None,
        (Some(found), Some(AuthScheme::Aka)) => Some(split_auts(found)?),
        (Some(found), _) => return Err(found.fault(FaultKind::AvpNotAllowed)),
    };
    Ok(Mar {
        impi: fields.text(&avp::USER_NAME)?,
        impu: fields.text(&avp::PUBLIC_IDENTITY)?,
        server_name: fields.text(&avp::SERVER_NAME)?,
        scheme: scheme.unwrap_or(AuthScheme::Other),
        count: fields.required(&avp::SIP_NUMBER_AUTH_ITEMS)?.as_u32()?,
        resync,
    })
}

/// RAND and AUTS one after the other (TS 29.229 §6.3.11).
fn split_auts(found: &Avp) -> Result<([u8; 16], [u8; 14]), Fault> {
    let wrong = || found.fault(FaultKind::AvpValue("not RAND and AUTS of 30 bytes"));
    let (rand, auts) = found.data.split_at_checked(16).ok_or_else(wrong)?;
    Ok((rand.try_into().map_err(|_| wrong())?, auts.try_into().map_err(|_| wrong())?))
}

const fn authorization_code(kind: AuthorizationType) -> u32 {
    match kind {
        AuthorizationType::Registration => 0,
        AuthorizationType::Deregistration => 1,
        AuthorizationType::RegistrationAndCapabilities => 2,
    }
}

fn authorization_type(found: &Avp) -> Result<AuthorizationType, Fault> {
    match found.as_u32()? {
        0 => Ok(AuthorizationType::Registration),
        1 => Ok(AuthorizationType::Deregistration),
        2 => Ok(AuthorizationType::RegistrationAndCapabilities),
        _ => Err(found.fault(FaultKind::AvpValue("no User-Authorization-Type"))),
    }
}

fn owned_text(found: &Avp) -> Result<String, Fault> {
    found.as_text().map(str::to_owned)
}

/// The AVPs of a message or group, looked up by the rules of presence.
pub(super) struct Fields<'a> {
    avps: std::borrow::Cow<'a, [Avp]>,
}

impl<'a> Fields<'a> {
    /// The AVPs of a message.
    ///
    /// # Errors
    ///
    /// 5001 when one that we do not know has the M bit (RFC 6733 §4.1).
    pub(super) fn of(message: &'a Message) -> Result<Self, Fault> {
        refuse_unknown(&message.avps)?;
        Ok(Self { avps: message.avps.as_slice().into() })
    }

    /// The AVPs of a group.
    ///
    /// # Errors
    ///
    /// As [`Fields::of`], and what is wrong with the group's bytes.
    pub(super) fn inside(group: &Avp) -> Result<Self, Fault> {
        let avps = group.as_group()?;
        refuse_unknown(&avps)?;
        Ok(Self { avps: avps.into() })
    }

    /// What every Cx request must carry (TS 29.229 §6.1).
    pub(super) fn base(&self) -> Result<(), Fault> {
        self.required(&avp::SESSION_ID)?.as_text()?;
        Self::inside(self.required(&avp::VENDOR_SPECIFIC_APPLICATION_ID)?)?;
        self.required(&avp::AUTH_SESSION_STATE)?.as_u32()?;
        self.required(&avp::ORIGIN_HOST)?.as_text()?;
        self.required(&avp::ORIGIN_REALM)?.as_text()?;
        self.required(&avp::DESTINATION_REALM)?.as_text()?;
        Ok(())
    }

    pub(super) fn required(&self, what: &Definition) -> Result<&Avp, Fault> {
        self.optional(what)?.ok_or_else(|| Fault::missing(what))
    }

    pub(super) fn optional(&self, what: &Definition) -> Result<Option<&Avp>, Fault> {
        let mut found = self.avps.iter().filter(|avp| avp.is(what));
        let first = found.next();
        match found.next() {
            Some(second) => Err(second.fault(FaultKind::AvpRepeated)),
            None => Ok(first),
        }
    }

    pub(super) fn text(&self, what: &Definition) -> Result<String, Fault> {
        owned_text(self.required(what)?)
    }

    pub(super) fn number_or(&self, what: &Definition, default: u32) -> Result<u32, Fault> {
        self.optional(what)?.map_or(Ok(default), Avp::as_u32)
    }

    pub(super) fn texts(&self, what: &Definition) -> Result<Vec<String>, Fault> {
        let mut out = Vec::new();
        for found in self.all(what) {
            if out.len() == REPEAT_MAX {
                return Err(found.fault(FaultKind::AvpRepeated));
            }
            out.push(owned_text(found)?);
        }
        Ok(out)
    }

    pub(super) fn all(&self, what: &Definition) -> impl Iterator<Item = &Avp> {
        let what = *what;
        self.avps.iter().filter(move |avp| avp.is(&what))
    }
}

fn refuse_unknown(avps: &[Avp]) -> Result<(), Fault> {
    let unknown = avps
        .iter()
        .find(|found| found.mandatory && avp::lookup(found.code, found.vendor).is_none());
    unknown.map_or(Ok(()), |found| Err(found.fault(FaultKind::AvpUnknown)))
}
