//! SIP syntax: lossless messages, header names, URIs, typed headers, SDP. Knows no role and no
//! time.
//!
//! A message that came from the wire keeps its bytes: a header line nobody changed leaves as it
//! came, order, folding and compact form included. Typed values are read on demand.

mod address;
mod asserted;
mod buffer;
mod charging;
#[cfg(test)]
mod corpus_tests;
mod cseq;
mod escape;
mod facts;
mod field;
mod frame;
mod head;
mod headers;
mod host;
mod line;
mod media_policy;
mod message;
mod message_ext;
mod method;
mod misc;
mod name;
mod network;
mod params;
mod parse;
mod plain_run;
mod qos;
mod scan;
mod sdp;
mod security;
mod sip_uri;
mod spare;
mod status;
mod tel;
mod uri;
mod uri_syntax;
mod usual;
mod validate;
mod via;

pub use address::{Contacts, NameAddr, contact_expires, q_value};
pub use asserted::{ContactPreference, Privacy, ServedSessionCase, ServedUser};
pub use buffer::received;
pub use charging::{ChargingFunctionAddresses, ChargingVector, Ioi};
pub use cseq::{CSeq, RAck};
pub use escape::{decode, encode};
pub use facts::{Facts, ParseFacts, facts};
pub use field::{Field, split_values};
pub(crate) use frame::stated_length;
pub use frame::{FrameError, Framer, PING, PONG, STREAM_BYTES_MAX};
pub use headers::{Fields, Headers};
pub use host::{host_eq, host_ip};
pub use media_policy::{MediaPolicy, NotPermitted};
pub use message::{Message, Request, Response};
pub use message_ext::HeaderError;
pub use method::Method;
pub use misc::{
    DialogRef, Event, MinSe, Reason, Replaces, RetryAfter, SessionExpires, SubscriptionState,
    Tagged, parse_expires, parse_max_forwards, parse_rseq,
};
pub use name::HeaderName;
pub use network::{AccessNetworkInfo, EarlyMedia, SessionId, VisitedNetworkId};
pub(crate) use params::first_param;
pub use params::{Param, Params, is_valid_token};
pub use parse::{LIMITS, Limits, ParseError, parse};
pub(crate) use parse::{find_near, is_token_byte};
pub use qos::{Preconditions, QosDirection, QosSegment, QosStrength};
pub(crate) use scan::trimmed;
pub use scan::{SyntaxError, quote, unquote};
pub use sdp::{Connection, Direction, Media, Origin, RtpMap, Sdp, SdpError, SdpLine};
pub use security::{IPSEC_3GPP, SecurityMechanism, mechanisms_agree};
pub use sip_uri::SipUri;
pub use status::reason_phrase;
pub(crate) use tel::push_phone_digits;
pub use tel::{TelUri, phone_digits};
pub use uri::{OtherUri, Uri, UriError, is_sips, sips_not_allowed, uri_eq};
pub(crate) use usual::{UsualAddress, UsualUri, UsualVia};
pub use validate::{Invalid, Rejected, check, check_request, check_response, read};
pub use via::{DEFAULT_PORT, DEFAULT_TLS_PORT, Via};
