//! Authentication: digest AKA of IMS and SIP digest, from the algorithm set in the SIM to the
//! header fields of SIP (TS 33.102, TS 33.203, TS 35.206, RFC 3310, RFC 4169, RFC 7616).

mod aka;
mod digest;
mod functions;
mod milenage;
#[cfg(test)]
mod milenage_vectors;
mod sequence;
mod xor;

pub use aka::{
    AkaNonce, AkaVersion, AuthVector, AuthenticateError, Autn, Auts, AutsMacMismatch,
    SERVER_DATA_MAX, TokenError, Usim, UsimAnswer, aka_password,
};
pub use digest::{
    Algorithm, AlgorithmUnknown, Ha1, Hash, NonceCountError, NonceCounter, Qop, ResponseInput,
    response, rspauth, same_digest,
};
pub use functions::{
    AMF_RESYNC, AMF_SEPARATION, AkaFunctions, Amf, Key, Outputs, Rand, Res, from_hex, to_hex,
};
pub use milenage::{Constants, Milenage, derive_opc};
pub use sequence::{
    DELTA, FreshnessCheck, IndBits, NotFresh, Resync, Scheme, SequenceExhausted, SequenceGenerator,
    Sqn, UNITS_PER_SECOND,
};
pub use xor::XorTest;
