//! Formats and attributes of one stream of a description: payload types, format parameters, the
//! direction an offer means, the precondition attributes.

use super::media::Codec;
use super::precondition::Preconditions;
use crate::sip::{Direction, Media as Stream, RtpMap, Sdp};

/// A voice stream that is open.
pub(super) fn is_voice(stream: &Stream) -> bool {
    stream.kind() == "audio" && stream.port() != 0
}

pub(super) fn has_parameter(fmtp: &str, parameter: &str) -> bool {
    fmtp.split(';').any(|one| one.trim().eq_ignore_ascii_case(parameter))
}

/// Our parameters, and the mode set the peer is restricted to (RFC 4867 §8.3.1).
pub(super) fn answered_fmtp(codec: &Codec, offered: Option<&str>) -> String {
    let restricted = offered
        .into_iter()
        .flat_map(|fmtp| fmtp.split(';'))
        .map(str::trim)
        .find(|one| one.to_ascii_lowercase().starts_with("mode-set="));
    match restricted {
        Some(modes) => format!("{modes};{}", codec.fmtp),
        None => codec.fmtp.to_owned(),
    }
}

/// The `rtpmap` of a payload type, or the static one (RFC 3551 §6).
pub(super) fn map_of(payload: u8, maps: &[RtpMap]) -> Option<RtpMap> {
    let fixed = |name: &str| RtpMap {
        payload,
        encoding: name.to_owned(),
        clock_rate: 8000,
        parameters: None,
    };
    let said = maps.iter().find(|map| map.payload == payload).cloned();
    said.or_else(|| match payload {
        0 => Some(fixed("PCMU")),
        8 => Some(fixed("PCMA")),
        _ => None,
    })
}

/// The direction an offer means: an address of zero is the hold of old, where the peer does not
/// receive (RFC 3264 §8.4).
pub(super) fn offered_direction(sdp: &Sdp, stream: &Stream) -> Direction {
    let said = sdp.direction_of(stream);
    if !sdp.connection_of(stream).is_some_and(|connection| connection.is_unspecified()) {
        return said;
    }
    if said.sends() { Direction::SendOnly } else { Direction::Inactive }
}

pub(super) fn read_qos(stream: &Stream) -> Option<Preconditions> {
    Preconditions::parse(stream.lines().iter().filter_map(|line| line.attribute()))
}

pub(super) fn write_qos(stream: &mut Stream, qos: Option<&Preconditions>) {
    for name in ["curr", "des", "conf"] {
        let _ = stream.remove_attribute(name);
    }
    let Some(qos) = qos else { return };
    for (name, value) in qos.attributes() {
        stream.push_attribute(name, &value);
    }
}
