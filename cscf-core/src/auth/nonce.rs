//! The nonce that carries RAND and AUTN in SIP (RFC 3310 §3.2), and the base64 of it and of AUTS.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

use crate::auth::aka::Autn;
use crate::auth::functions::Rand;

/// Octets of server data that a nonce may carry at most; more is a peer's abuse.
pub const SERVER_DATA_MAX: usize = 512;

/// Written with padding, read with any or none: the standard's own example has too much of it
/// (RFC 3310 §4).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The nonce of an AKA challenge: RAND ‖ AUTN ‖ server data in base64 (RFC 3310 §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AkaNonce {
    /// The challenge.
    pub rand: Rand,
    /// What proves the home network.
    pub autn: Autn,
    /// Whatever else the server put there; usually nothing.
    pub server_data: Vec<u8>,
}

impl AkaNonce {
    /// From RAND ‖ AUTN as the SIP-Authenticate AVP carries it (TS 29.229 §6.3.10).
    ///
    /// # Errors
    ///
    /// [`TokenError::Length`] unless there are 32 octets.
    pub fn from_sip_authenticate(octets: &[u8]) -> Result<Self, TokenError> {
        let octets = <[u8; 32]>::try_from(octets)
            .map_err(|_| TokenError::Length { expected: 32, found: octets.len() })?;
        Self::from_octets(&octets)
    }

    /// As the value of the `nonce` parameter.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut octets = Vec::with_capacity(32 + self.server_data.len());
        octets.extend_from_slice(&self.rand);
        octets.extend_from_slice(&self.autn.to_bytes());
        octets.extend_from_slice(&self.server_data);
        to_base64(&octets)
    }

    /// Reads the value of the `nonce` parameter.
    ///
    /// # Errors
    ///
    /// [`TokenError`]: not base64, shorter than RAND and AUTN, or with more than
    /// [`SERVER_DATA_MAX`] octets behind them. A UE then takes the challenge for invalid
    /// (TS 24.229 §5.1.1.5.3).
    pub fn decode(value: &str) -> Result<Self, TokenError> {
        Self::from_octets(&from_base64(value)?)
    }

    fn from_octets(octets: &[u8]) -> Result<Self, TokenError> {
        let short = || TokenError::Length { expected: 32, found: octets.len() };
        let (rand, rest) = octets.split_first_chunk::<16>().ok_or_else(short)?;
        let (autn, server_data) = rest.split_first_chunk::<16>().ok_or_else(short)?;
        let (rand, autn) = (*rand, Autn::from_bytes(*autn));
        Ok(Self { rand, autn, server_data: server_data.to_vec() })
    }
}

/// A nonce or AUTS of the peer that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// A character that base64 does not have, or a stray end.
    #[error("not base64: {0}")]
    NotBase64(base64::DecodeError),
    /// Too few or too many octets.
    #[error("{found} octets where {expected} are due")]
    Length {
        /// How many there must be (at least).
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// More characters than any nonce of ours needs.
    #[error("{found} characters, more than the {limit} allowed")]
    TooLong {
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// Reads base64 no longer than the longest nonce.
pub(super) fn from_base64(value: &str) -> Result<Vec<u8>, TokenError> {
    let limit = (32 + SERVER_DATA_MAX).div_ceil(3) * 4;
    if value.len() > limit {
        return Err(TokenError::TooLong { found: value.len(), limit });
    }
    BASE64.decode(value.trim_end_matches('=')).map_err(TokenError::NotBase64)
}

/// Writes base64 with padding.
pub(super) fn to_base64(octets: &[u8]) -> String {
    BASE64.encode(octets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::aka::Auts;

    #[test]
    fn nonce_carries_server_data_and_survives_wrong_padding() {
        let nonce = AkaNonce {
            rand: [7; 16],
            autn: Autn::from_bytes([9; 16]),
            server_data: b"shard 7".to_vec(),
        };
        let text = nonce.encode();
        assert_eq!(AkaNonce::decode(&text), Ok(nonce.clone()));
        assert_eq!(AkaNonce::decode(text.trim_end_matches('=')), Ok(nonce));
        // The nonce of the RFC's own example is whole without its "==".
        assert!(AkaNonce::decode("CjPk9mRqNuT25eRkajM09uTl9nM09uTl9nMz5OX25PZz==").is_ok());
    }

    #[test]
    fn unreadable_tokens_are_refused() {
        for value in ["", "AAAA", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "\u{e9}", "a b"] {
            assert!(AkaNonce::decode(value).is_err(), "{value}");
            assert!(Auts::decode(value).is_err(), "{value}");
        }
        let longest = to_base64(&[0; 32 + SERVER_DATA_MAX]);
        assert!(AkaNonce::decode(&longest).is_ok());
        let longer = to_base64(&[0; 36 + SERVER_DATA_MAX]);
        assert!(matches!(AkaNonce::decode(&longer), Err(TokenError::TooLong { .. })));
        assert!(AkaNonce::from_sip_authenticate(&[0; 33]).is_err());
        assert!(Auts::from_sip_authorization(&[0; 29]).is_err());
        assert!(Auts::from_sip_authorization(&[0; 31]).is_err());
    }
}
