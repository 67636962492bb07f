//! Authentication: digest AKA of IMS and SIP digest, from the algorithm set in the SIM to the
//! header fields of SIP (TS 33.102, TS 33.203, TS 35.206, TS 35.231, RFC 3310, RFC 4169, RFC 7616,
//! RFC 8760).
//!
//! Nothing here has a clock, chance, a socket or a message: time, RAND and nonces are arguments,
//! header field values are text. Who uses what:
//!
//! - **HSS**: one [`SequenceGenerator`] and one [`AkaSet`] of its [`AkaKeys`] ([`Milenage`],
//!   [`Tuak`], [`XorTest`]) for each private identity. For an MAR [`SequenceGenerator::next_sqn`]
//!   and [`AuthVector::generate`] for each vector; with SIP-Authorization first
//!   [`Auts::from_sip_authorization`], [`Auts::verify`] and [`SequenceGenerator::resynchronise`].
//!   For digest users [`Ha1::new`] and [`Ha1::as_hex`].
//! - **S-CSCF**: [`AkaNonce::from_sip_authenticate`], [`Challenge::new`] and
//!   [`Challenge::with_keys`] for the 401; then [`Credentials`] of the answer:
//!   [`Credentials::auts`] → resynchronise, [`Credentials::response`] `None` → the USIM found the
//!   MAC wrong, else [`aka_password`], [`Credentials::ha1`] and [`Credentials::verify`]. For digest
//!   [`Ha1::from_hex`], [`NonceCounter::accept`] *after* the response was right, and
//!   [`AuthenticationInfo::new`] for the 200.
//! - **P-CSCF**: [`Challenge::take_keys`] on the 401, [`Credentials::set_integrity_protected`] on
//!   every REGISTER.
//! - **UE**: [`Credentials::unchallenged`]; then [`AkaNonce::decode`], [`Usim::authenticate`],
//!   [`aka_password`] and [`Credentials::answer`]; after [`AuthenticateError::SyncFailure`] an
//!   answer with the empty password and [`Credentials::with_auts`]; after
//!   [`AuthenticateError::MacFailure`] [`Credentials::refusal`].

mod aka;
mod authentication_info;
mod challenge;
mod credentials;
mod digest;
mod functions;
mod keys;
mod milenage;
#[cfg(test)]
mod milenage_vectors;
mod nonce;
mod params;
mod sequence;
mod tuak;
#[cfg(test)]
mod tuak_vectors;
mod xor;

pub(crate) use aka::hmac;
pub use aka::{
    AkaVersion, AuthVector, AuthenticateError, Autn, Auts, AutsMacMismatch, Usim, UsimAnswer,
    aka_password,
};
pub use authentication_info::AuthenticationInfo;
pub use challenge::Challenge;
pub use credentials::{
    Answer, AnswerError, Credentials, IntegrityProtected, IntegrityProtectedUnknown, VerifyError,
    is_digest,
};
pub use digest::{
    Algorithm, AlgorithmUnknown, Ha1, Hash, NonceCountError, NonceCounter, Qop, ResponseInput,
    response, rspauth, same_digest,
};
pub use functions::{
    AMF_RESYNC, AMF_SEPARATION, AkaFunctions, Amf, Key, Outputs, Rand, Res, from_hex, to_hex,
};
pub use keys::{AkaKeys, AkaSet};
pub use milenage::{Constants, Milenage, derive_opc};
pub use nonce::{AkaNonce, SERVER_DATA_MAX, TokenError};
pub use params::{AuthHeaderError, AuthParam, AuthParams, PARAMS_MAX, VALUE_MAX};
pub use sequence::{
    DELTA, FreshnessCheck, IndBits, NotFresh, Resync, Scheme, SequenceExhausted, SequenceGenerator,
    Sqn, UNITS_PER_SECOND,
};
pub use tuak::{ResLength, Topc, Tuak, TuakKey, derive_topc};
pub use xor::XorTest;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixTime;

    const IMPI: &str = "001010000000001@ims.example";
    const NOW: UnixTime = UnixTime(1_700_000_000);

    fn sim() -> Milenage {
        Milenage::with_op(
            from_hex("30313233343536373839616263646566").unwrap(),
            from_hex("CDC202D5123E20F62B6D676AC72CB318").unwrap(),
        )
    }

    /// What the UE sends back for the challenge it read off the wire.
    fn ue(usim: &mut Usim<Milenage>, challenge: &str) -> String {
        let challenge: Challenge = challenge.parse().unwrap();
        let nonce = AkaNonce::decode(challenge.nonce().unwrap()).unwrap();
        let mut answer = Answer {
            username: IMPI,
            password: b"",
            method: "REGISTER",
            uri: "sip:ims.example",
            cnonce: "c1",
            nc: "00000001",
            body: b"",
        };
        let credentials = match usim.authenticate(&nonce.rand, &nonce.autn) {
            Ok(found) => {
                let algorithm = challenge.algorithm().unwrap();
                let password = aka_password(algorithm, &found.res, &found.ik, &found.ck);
                answer.password = &password;
                Credentials::answer(&challenge, &answer).unwrap()
            }
            Err(AuthenticateError::SyncFailure { auts, .. }) => {
                Credentials::answer(&challenge, &answer).unwrap().with_auts(&auts)
            }
            Err(_) => Credentials::refusal(&challenge, IMPI, answer.uri).unwrap(),
        };
        credentials.to_string()
    }

    #[test]
    fn card_registers_by_every_version_of_aka() {
        for algorithm in [Algorithm::AKAV1_MD5, Algorithm::AKAV2_MD5, Algorithm::AKAV2_SHA_256] {
            let mut hss = SequenceGenerator::new(Scheme::Time, Sqn::default());
            let sqn = hss.next_sqn(NOW).unwrap();
            let vector = AuthVector::generate(&sim(), [3; 16], sqn, AMF_SEPARATION);
            let nonce = vector.nonce().encode();
            let mut challenge =
                Challenge::new("ims.example", &nonce, algorithm).with_keys(&vector.ck, &vector.ik);
            assert_eq!(challenge.take_keys(), Some((vector.ck, vector.ik)));

            let mut usim = Usim::new(sim(), FreshnessCheck::default());
            let sent: Credentials = ue(&mut usim, &challenge.to_string()).parse().unwrap();

            let password = aka_password(algorithm, &vector.xres, &vector.ik, &vector.ck);
            let ha1 = sent.ha1(algorithm, &password);
            assert_eq!(sent.verify(&ha1, algorithm, "REGISTER", b""), Ok(()), "{algorithm}");
            let wrong = sent.ha1(algorithm, b"");
            assert_eq!(
                sent.verify(&wrong, algorithm, "REGISTER", b""),
                Err(VerifyError::ResponseDiffers)
            );
        }
    }

    #[test]
    fn card_ahead_of_the_hss_resynchronises_and_registers() {
        let card = Sqn::from_parts(5000, 9, IndBits::default()).unwrap();
        let mut usim = Usim::new(sim(), FreshnessCheck::default().starting_at(card));
        let mut hss = SequenceGenerator::new(Scheme::Counter, Sqn::default());
        let mut challenge = |hss: &mut SequenceGenerator| {
            let sqn = hss.next_sqn(NOW).unwrap();
            let vector = AuthVector::generate(&sim(), [4; 16], sqn, AMF_SEPARATION);
            let nonce = vector.nonce().encode();
            let challenge = Challenge::new("ims.example", &nonce, Algorithm::AKAV1_MD5);
            ue(&mut usim, &challenge.to_string()).parse::<Credentials>().unwrap()
        };

        let refused = challenge(&mut hss);
        let empty = refused.ha1(Algorithm::AKAV1_MD5, b"");
        let verdict = refused.verify(&empty, Algorithm::AKAV1_MD5, "REGISTER", b"");
        let auts = Auts::decode(refused.auts().unwrap()).unwrap();
        let avp = auts.sip_authorization(&[4; 16]);
        let (rand, auts) = Auts::from_sip_authorization(&avp).unwrap();
        let sqn_ms = auts.verify(&sim(), &rand).unwrap();

        assert_eq!(verdict, Ok(()), "the answer is made with the empty password");
        assert_eq!(sqn_ms, card);
        assert_eq!(hss.resynchronise(sqn_ms, NOW), Resync::MovedForward);
        assert!(challenge(&mut hss).auts().is_none());
    }

    #[test]
    fn card_with_another_key_answers_without_response_and_auts() {
        let sqn = Sqn::new(32).unwrap();
        let foreign = AuthVector::generate(&Milenage::new([1; 16], [2; 16]), [5; 16], sqn, [0, 0]);
        let nonce = foreign.nonce().encode();
        let challenge = Challenge::new("ims.example", &nonce, Algorithm::AKAV1_MD5);
        let mut usim = Usim::new(sim(), FreshnessCheck::default());

        let sent: Credentials = ue(&mut usim, &challenge.to_string()).parse().unwrap();

        assert_eq!((sent.response(), sent.auts()), (None, None));
        assert_eq!(sent.nonce(), challenge.nonce());
        assert!(sent.to_string().contains("response=\"\""));
    }
}
