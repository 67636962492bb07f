//! The answers of Cx as AVPs and back: UAA, SAA, LIA, MAA (TS 29.229 §6.1.2 to §6.1.8). The result
//! stands in Result-Code or, for the codes of 3GPP, in Experimental-Result (TS 29.229 §6.2).

use std::net::IpAddr;

use crate::cx::{
    AuthItem, CxAnswer, CxRequest, CxResult, Maa, ResultCode, Saa, ServerAnswer, ServerCapabilities,
};
use crate::diameter::codec::{Avp, Fault, FaultKind, Message};
use crate::diameter::dictionary::{self as avp, VENDOR_3GPP};
use crate::diameter::request::{Fields, SCHEME_AKA, SCHEME_DIGEST, SCHEME_EARLY_IMS};
use crate::diameter::restoration;

/// The only qop of IMS, and what the HSS sets (TS 29.228 table 6.3.7).
const QOP: &str = "auth";
/// The length of a UE's IPv6 prefix, in bits.
const PREFIX_BITS: u8 = 64;
/// The algorithm of Digest-HA1 (TS 29.228 table 6.3.7).
const MD5: &str = "MD5";
/// The alternate algorithm that IMS knows (TS 29.228 table 6.3.7).
const SHA_256: &str = "SHA-256";

/// A result as an AVP (TS 29.229 §6.2).
pub(super) fn encode_result(result: CxResult) -> Avp {
    match result.code() {
        ResultCode::Base(code) => Avp::number(&avp::RESULT_CODE, code),
        ResultCode::Experimental(code) => Avp::group(
            &avp::EXPERIMENTAL_RESULT,
            &[
                Avp::number(&avp::VENDOR_ID, VENDOR_3GPP),
                Avp::number(&avp::EXPERIMENTAL_RESULT_CODE, code),
            ],
        ),
    }
}

/// Reads the result of an answer. An experimental code of a vendor other than 3GPP means nothing to
/// us but its class.
///
/// # Errors
///
/// [`FaultKind::AvpMissing`] when there is neither Result-Code nor Experimental-Result.
pub(super) fn decode_result(message: &Message) -> Result<CxResult, Fault> {
    result_in(&Fields::of(message)?)
}

fn result_in(fields: &Fields<'_>) -> Result<CxResult, Fault> {
    if let Some(group) = fields.optional(&avp::EXPERIMENTAL_RESULT)? {
        let inside = Fields::inside(group)?;
        let code = inside.required(&avp::EXPERIMENTAL_RESULT_CODE)?.as_u32()?;
        let vendor = inside.number_or(&avp::VENDOR_ID, 0)?;
        return Ok(if vendor == VENDOR_3GPP {
            CxResult::from_code(ResultCode::Experimental(code))
        } else {
            CxResult::OtherExperimental(code)
        });
    }
    let code = fields.required(&avp::RESULT_CODE)?.as_u32()?;
    Ok(CxResult::from_code(ResultCode::Base(code)))
}

/// Writes the AVPs of an answer that follow the base protocol's, the result first. `request` lends
/// the identities that a positive MAA repeats.
pub(super) fn encode(answer: &CxAnswer, request: &CxRequest, out: &mut Vec<Avp>) {
    match answer {
        CxAnswer::Server(server) => {
            out.push(encode_result(server.result));
            if let Some(name) = &server.server_name {
                out.push(Avp::text(&avp::SERVER_NAME, name));
            }
            if let Some(capabilities) = &server.capabilities {
                out.push(encode_capabilities(capabilities));
            }
            if let Some(wildcard) = &server.wildcard {
                out.push(Avp::text(&avp::WILDCARDED_PUBLIC_IDENTITY, wildcard));
            }
        }
        CxAnswer::Maa(maa) => encode_maa(maa, request, out),
        CxAnswer::Saa(saa) => encode_saa(saa, request, out),
        CxAnswer::Unreachable => out.push(encode_result(CxResult::UnableToComply)),
    }
}

fn encode_capabilities(capabilities: &ServerCapabilities) -> Avp {
    let mandatory =
        capabilities.mandatory.iter().map(|one| Avp::number(&avp::MANDATORY_CAPABILITY, *one));
    let optional =
        capabilities.optional.iter().map(|one| Avp::number(&avp::OPTIONAL_CAPABILITY, *one));
    let names = capabilities.server_names.iter().map(|one| Avp::text(&avp::SERVER_NAME, one));
    let inside: Vec<Avp> = mandatory.chain(optional).chain(names).collect();
    Avp::group(&avp::SERVER_CAPABILITIES, &inside)
}

/// On success the identities of the request come back (TS 29.228 table 6.3.4).
fn encode_maa(maa: &Maa, request: &CxRequest, out: &mut Vec<Avp>) {
    out.push(encode_result(maa.result));
    if !maa.result.is_success() {
        return;
    }
    if let CxRequest::Mar(mar) = request {
        out.push(Avp::text(&avp::USER_NAME, &mar.impi));
        out.push(Avp::text(&avp::PUBLIC_IDENTITY, &mar.impu));
    }
    let count = u32::try_from(maa.items.len()).unwrap_or(u32::MAX);
    out.push(Avp::number(&avp::SIP_NUMBER_AUTH_ITEMS, count));
    for (number, item) in (1..).zip(&maa.items) {
        out.push(encode_item(number, item));
    }
}

/// Writes a SIP-Auth-Data-Item of an MAA or a PPR.
pub(super) fn encode_item(number: u32, item: &AuthItem) -> Avp {
    let inside = match item {
        AuthItem::Address(addr) => vec![
            Avp::number(&avp::SIP_ITEM_NUMBER, number),
            Avp::text(&avp::SIP_AUTHENTICATION_SCHEME, SCHEME_EARLY_IMS),
            encode_address(*addr),
        ],
        AuthItem::Aka { rand, autn, xres, ck, ik } => {
            let challenge: Vec<u8> = rand.iter().chain(autn).copied().collect();
            vec![
                Avp::number(&avp::SIP_ITEM_NUMBER, number),
                Avp::text(&avp::SIP_AUTHENTICATION_SCHEME, SCHEME_AKA),
                Avp::octets(&avp::SIP_AUTHENTICATE, challenge),
                Avp::octets(&avp::SIP_AUTHORIZATION, xres.clone()),
                Avp::octets(&avp::CONFIDENTIALITY_KEY, ck.to_vec()),
                Avp::octets(&avp::INTEGRITY_KEY, ik.to_vec()),
            ]
        }
        AuthItem::Digest { realm, algorithm, ha1, ha1_sha256 } => {
            let mut digest = vec![
                Avp::text(&avp::DIGEST_REALM, realm),
                Avp::text(&avp::DIGEST_ALGORITHM, algorithm),
                Avp::text(&avp::DIGEST_QOP, QOP),
                Avp::text(&avp::DIGEST_HA1, ha1),
            ];
            if let Some(alternate) = ha1_sha256 {
                digest.push(Avp::text(&avp::ALTERNATE_DIGEST_ALGORITHM, SHA_256));
                digest.push(Avp::text(&avp::ALTERNATE_DIGEST_HA1, alternate));
            }
            vec![
                Avp::text(&avp::SIP_AUTHENTICATION_SCHEME, SCHEME_DIGEST),
                Avp::group(&avp::SIP_DIGEST_AUTHENTICATE, &digest),
            ]
        }
    };
    Avp::group(&avp::SIP_AUTH_DATA_ITEM, &inside)
}

/// The address of a UE: whole, or its prefix of 64 bits behind a reserved byte and its length
/// (RFC 7155 §4.4.10.5, RFC 3162 §2.3).
fn encode_address(addr: IpAddr) -> Avp {
    match addr {
        IpAddr::V4(addr) => Avp::octets(&avp::FRAMED_IP_ADDRESS, addr.octets().to_vec()),
        IpAddr::V6(addr) => {
            let prefix = addr.octets();
            let bytes = [0, PREFIX_BITS].into_iter().chain(prefix.into_iter().take(8));
            let bytes: Vec<u8> = bytes.collect();
            Avp::octets(&avp::FRAMED_IPV6_PREFIX, bytes)
        }
    }
}

fn decode_address(group: &Avp, inside: &Fields<'_>) -> Result<AuthItem, Fault> {
    if let Some(found) = inside.optional(&avp::FRAMED_IP_ADDRESS)? {
        let octets: Result<[u8; 4], _> = found.data.as_ref().try_into();
        let octets = octets.map_err(|_| found.fault(FaultKind::AvpValue("not 4 bytes")))?;
        return Ok(AuthItem::Address(octets.into()));
    }
    let Some(found) = inside.optional(&avp::FRAMED_IPV6_PREFIX)? else {
        return Err(group.fault(FaultKind::AvpValue("Early-IMS-Security without an address")));
    };
    let wrong = || found.fault(FaultKind::AvpValue("no prefix of 64 bits"));
    let (head, prefix) = found.data.split_at_checked(2).ok_or_else(wrong)?;
    if head.last() != Some(&PREFIX_BITS) || !(8..=16).contains(&prefix.len()) {
        return Err(wrong());
    }
    let mut octets = [0; 16];
    for (to, from) in octets.iter_mut().zip(prefix.iter().take(8)) {
        *to = *from;
    }
    Ok(AuthItem::Address(octets.into()))
}

/// Writes Charging-Information of an SAA or a PPR.
pub(super) fn encode_charging(ccf: &str) -> Avp {
    let name = Avp::text(&avp::PRIMARY_CHARGING_COLLECTION_FUNCTION_NAME, ccf);
    Avp::group(&avp::CHARGING_INFORMATION, &[name])
}

fn encode_saa(saa: &Saa, request: &CxRequest, out: &mut Vec<Avp>) {
    out.push(encode_result(saa.result));
    let asked = match request {
        CxRequest::Sar(sar) => sar.impi.as_ref(),
        CxRequest::Uar(_) | CxRequest::Mar(_) | CxRequest::Lir(_) => None,
    };
    // An S-CSCF that asked without a private identity learns one (TS 29.228 §6.1.2.1).
    if let Some(impi) = asked.or(saa.associated_impis.first()) {
        out.push(Avp::text(&avp::USER_NAME, impi));
    }
    if let Some(user_data) = &saa.user_data {
        out.push(Avp::octets(&avp::USER_DATA, user_data.clone().into_bytes()));
    }
    if let Some(ccf) = &saa.charging_ccf {
        out.push(encode_charging(ccf));
    }
    // Absent when the subscription has only one private identity (TS 29.228 table 6.1.2.2).
    if saa.associated_impis.len() > 1 {
        let impis: Vec<Avp> =
            saa.associated_impis.iter().map(|impi| Avp::text(&avp::USER_NAME, impi)).collect();
        out.push(Avp::group(&avp::ASSOCIATED_IDENTITIES, &impis));
    }
    if !saa.restoration.is_empty() {
        out.push(restoration::supported_features());
        out.extend(saa.restoration.iter().map(restoration::encode));
    }
}

/// Reads the answer to a question with this command.
///
/// # Errors
///
/// What is wrong with it; the question counts as not answered then.
pub(super) fn decode(message: &Message) -> Result<CxAnswer, Fault> {
    let fields = Fields::of(message)?;
    let result = result_in(&fields)?;
    Ok(match message.header.command {
        avp::MULTIMEDIA_AUTH => CxAnswer::Maa(decode_maa(result, &fields)?),
        avp::SERVER_ASSIGNMENT => CxAnswer::Saa(decode_saa(result, &fields)?),
        _ => CxAnswer::Server(decode_server(result, &fields)?),
    })
}

fn decode_server(result: CxResult, fields: &Fields<'_>) -> Result<ServerAnswer, Fault> {
    let name = fields.optional(&avp::SERVER_NAME)?;
    let group = fields.optional(&avp::SERVER_CAPABILITIES)?;
    Ok(ServerAnswer {
        result,
        server_name: name.map(Avp::as_text).transpose()?.map(str::to_owned),
        capabilities: group.map(decode_capabilities).transpose()?,
        wildcard: fields
            .optional(&avp::WILDCARDED_PUBLIC_IDENTITY)?
            .map(Avp::as_text)
            .transpose()?
            .map(str::to_owned),
    })
}

fn decode_capabilities(group: &Avp) -> Result<ServerCapabilities, Fault> {
    let inside = Fields::inside(group)?;
    Ok(ServerCapabilities {
        mandatory: inside
            .all(&avp::MANDATORY_CAPABILITY)
            .map(Avp::as_u32)
            .collect::<Result<_, _>>()?,
        optional: inside
            .all(&avp::OPTIONAL_CAPABILITY)
            .map(Avp::as_u32)
            .collect::<Result<_, _>>()?,
        server_names: inside.texts(&avp::SERVER_NAME)?,
    })
}

/// A document as it came; octets that are no text make it one that nobody can read, which is the
/// S-CSCF's to say (TS 29.228 §6.1.2.1, §6.2.2.1).
pub(super) fn document(user_data: &Avp) -> String {
    String::from_utf8_lossy(&user_data.data).into_owned()
}

fn decode_saa(result: CxResult, fields: &Fields<'_>) -> Result<Saa, Fault> {
    let user_data = fields.optional(&avp::USER_DATA)?;
    let charging = fields.optional(&avp::CHARGING_INFORMATION)?;
    let mut associated_impis = match fields.optional(&avp::ASSOCIATED_IDENTITIES)? {
        Some(group) => Fields::inside(group)?.texts(&avp::USER_NAME)?,
        None => Vec::new(),
    };
    if associated_impis.is_empty() {
        associated_impis = fields.texts(&avp::USER_NAME)?;
    }
    Ok(Saa {
        result,
        user_data: user_data.map(document),
        charging_ccf: charging.map(decode_charging).transpose()?.flatten(),
        associated_impis,
        restoration: fields
            .all(&avp::SCSCF_RESTORATION_INFO)
            .map(restoration::decode)
            .collect::<Result<_, _>>()?,
    })
}

/// Reads Charging-Information of an SAA or a PPR.
pub(super) fn decode_charging(group: &Avp) -> Result<Option<String>, Fault> {
    let inside = Fields::inside(group)?;
    let name = inside.optional(&avp::PRIMARY_CHARGING_COLLECTION_FUNCTION_NAME)?;
    Ok(name.map(Avp::as_text).transpose()?.map(str::to_owned))
}

/// Vectors come in the order of SIP-Item-Number (TS 29.229 §6.3.14).
fn decode_maa(result: CxResult, fields: &Fields<'_>) -> Result<Maa, Fault> {
    let mut numbered = Vec::new();
    for group in fields.all(&avp::SIP_AUTH_DATA_ITEM) {
        let number = Fields::inside(group)?.number_or(&avp::SIP_ITEM_NUMBER, 0)?;
        numbered.push((number, decode_item(group)?));
    }
    numbered.sort_by_key(|(number, _)| *number);
    Ok(Maa { result, items: numbered.into_iter().map(|(_, item)| item).collect() })
}

/// Reads a SIP-Auth-Data-Item of an MAA or a PPR.
pub(super) fn decode_item(group: &Avp) -> Result<AuthItem, Fault> {
    let inside = Fields::inside(group)?;
    match inside.text(&avp::SIP_AUTHENTICATION_SCHEME)?.as_str() {
        SCHEME_AKA => decode_vector(&inside),
        SCHEME_DIGEST => decode_digest(&inside),
        SCHEME_EARLY_IMS => decode_address(group, &inside),
        _ => Err(group.fault(FaultKind::AvpValue("no SIP-Authentication-Scheme we know"))),
    }
}

fn decode_vector(inside: &Fields<'_>) -> Result<AuthItem, Fault> {
    let challenge = inside.required(&avp::SIP_AUTHENTICATE)?;
    let wrong = || challenge.fault(FaultKind::AvpValue("not RAND and AUTN of 32 bytes"));
    let (rand, autn) = challenge.data.split_at_checked(16).ok_or_else(wrong)?;
    let response = inside.required(&avp::SIP_AUTHORIZATION)?;
    if !(4..=16).contains(&response.data.len()) {
        return Err(response.fault(FaultKind::AvpValue("XRES is not 4 to 16 bytes")));
    }
    Ok(AuthItem::Aka {
        rand: rand.try_into().map_err(|_| wrong())?,
        autn: autn.try_into().map_err(|_| wrong())?,
        xres: response.data.to_vec(),
        ck: key(inside.required(&avp::CONFIDENTIALITY_KEY)?)?,
        ik: key(inside.required(&avp::INTEGRITY_KEY)?)?,
    })
}

fn key(found: &Avp) -> Result<[u8; 16], Fault> {
    found.data.as_ref().try_into().map_err(|_| found.fault(FaultKind::AvpValue("not 16 bytes")))
}

/// Without Digest-Algorithm it is MD5 (TS 29.228 table 6.3.7). Foreign HSSs send the alternate
/// algorithm alone as Digest-Algorithm; that is taken as it stands.
fn decode_digest(inside: &Fields<'_>) -> Result<AuthItem, Fault> {
    let digest = Fields::inside(inside.required(&avp::SIP_DIGEST_AUTHENTICATE)?)?;
    let algorithm = digest.optional(&avp::DIGEST_ALGORITHM)?;
    let alternate = digest.optional(&avp::ALTERNATE_DIGEST_ALGORITHM)?;
    let ha1_sha256 = match alternate.map(Avp::as_text).transpose()? {
        Some(SHA_256) => Some(digest.text(&avp::ALTERNATE_DIGEST_HA1)?),
        _ => None,
    };
    Ok(AuthItem::Digest {
        realm: digest.text(&avp::DIGEST_REALM)?,
        algorithm: algorithm.map(Avp::as_text).transpose()?.unwrap_or(MD5).to_owned(),
        ha1: digest.text(&avp::DIGEST_HA1)?,
        ha1_sha256,
    })
}
