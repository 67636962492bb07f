//! What the HSS answers to MAR: AKA vectors or digest credentials, resynchronisation, and the
//! S-CSCF that may now assign itself (TS 29.228 §6.3.1, TS 33.102 §6.3.5).

use std::sync::Arc;

use crate::auth::{AkaSet, AuthVector, Auts, Resync, SequenceGenerator, Sqn};
use crate::clause::{ts29228, ts33102};
use crate::cx::{AuthItem, AuthScheme, CxResult, Maa, Mar};
use crate::hss::answer::{HssEnv, UNKNOWN_SCHEME};
use crate::hss::store::{AssignedServer, Found, RegistrationState, Secret, SetState, Store};
use crate::trace::Diagnosis;

/// The most vectors for one question.
const VECTORS_MAX: u32 = 5;

impl Store {
    pub(super) fn answer_mar(&mut self, env: &mut HssEnv<'_>, origin_host: &str, mar: &Mar) -> Maa {
        let clause = ts29228("6.3.1");
        let found = match self.find_both(&mar.impi, &mar.impu) {
            Ok(found) => found,
            Err((result, text)) => {
                let cause = self.identity_cause(&mar.impi, &mar.impu, &text);
                env.diagnose(clause, format!("{text}: {result}"), cause);
                return Maa { result, items: Vec::new() };
            }
        };
        match self.authenticate(env, found, origin_host, mar) {
            Ok(items) => {
                let result = CxResult::Success;
                env.note(clause, || {
                    let what = match items.as_slice() {
                        [AuthItem::Address(addr)] => format!("address {addr}"),
                        [AuthItem::Digest { .. }] => "digest credentials".to_owned(),
                        vectors => format!("{} AKA vectors", vectors.len()),
                    };
                    format!("{what} for {}: {result}", mar.impi)
                });
                Maa { result, items }
            }
            Err((result, text)) => {
                env.refuse(clause, format!("{text}: {result}"));
                Maa { result, items: Vec::new() }
            }
        }
    }

    fn authenticate(
        &mut self,
        env: &mut HssEnv<'_>,
        found: Found,
        origin_host: &str,
        mar: &Mar,
    ) -> Result<Vec<AuthItem>, (CxResult, String)> {
        let lost = || (CxResult::UnableToComply, "the store is inconsistent".to_owned());
        let subscription = self.at_mut(found.subscription).ok_or_else(lost)?;
        let number = subscription.impi_index(&mar.impi).ok_or_else(lost)?;
        let secret = subscription.secrets.get_mut(number).ok_or_else(lost)?;
        let state = subscription.states.get_mut(found.set).ok_or_else(lost)?;
        if mar.scheme == AuthScheme::EarlyIms {
            // The address is the access network's, whatever else the user has.
            let Some(addr) = subscription.provisioned.framed_ip else {
                let text = format!("GIBA is asked for, {} has no address", mar.impi);
                return Err((CxResult::AuthSchemeNotSupported, text));
            };
            assign(env, state, number, origin_host, mar);
            return Ok(vec![AuthItem::Address(addr)]);
        }
        check_scheme(env, secret, mar)?;
        assign(env, state, number, origin_host, mar);
        match secret {
            Secret::Digest { realm, hashes } => Ok(vec![digest(realm, hashes)]),
            Secret::Aka { functions, amf, sequence } => {
                if let Some((rand, auts)) = mar.resync {
                    resynchronise(env, &mar.impi, (functions, sequence), (rand, auts));
                }
                let mut items = Vec::new();
                for _ in 0..mar.count.clamp(1, VECTORS_MAX) {
                    let sqn = if env.old_sqn {
                        Sqn::default()
                    } else {
                        sequence
                            .next_sqn(env.unix_now)
                            .map_err(|error| (CxResult::UnableToComply, error.to_string()))?
                    };
                    let vector = AuthVector::generate(&**functions, env.ids.rand16(), sqn, *amf);
                    items.push(AuthItem::Aka {
                        rand: vector.rand,
                        autn: vector.autn.to_bytes(),
                        xres: vector.xres.as_bytes().to_vec(),
                        ck: vector.ck,
                        ik: vector.ik,
                    });
                }
                Ok(items)
            }
        }
    }
}

/// Sets the sequence number of a user by what its card says (TS 33.102 §6.3.5).
fn resynchronise(
    env: &mut HssEnv<'_>,
    impi: &str,
    (functions, sequence): (&AkaSet, &mut SequenceGenerator),
    (rand, auts): ([u8; 16], [u8; 14]),
) {
    let auts = Auts::from_bytes(auts);
    match auts.verify(functions, &rand) {
        Ok(sqn_ms) => {
            let before = sequence.last();
            let moved = match sequence.resynchronise(sqn_ms, env.unix_now) {
                Resync::InRange => "our SQN would be accepted: unchanged",
                Resync::MovedBack => "our SQN was too far ahead: set back to SQN_MS",
                Resync::MovedForward => "our SQN was behind: set to SQN_MS",
            };
            let text = format!("AUTS of {impi} is right; {moved}");
            let cause = Diagnosis::new(impi, "SQN is fresh to the card")
                .theirs(format!("SQN {sqn_ms} in the card"))
                .ours(format!("SQN {before} in the HSS"))
                .change(moved);
            env.diagnose(ts33102("6.3.5"), text, cause);
        }
        Err(_) => {
            let text = "AUTS is wrong: other key, OP or RAND; SQN is unchanged";
            let cause = Diagnosis::new(impi, "MAC-S of AUTS")
                .theirs("another one")
                .ours("that of K and OPc of the HSS")
                .change("K, or OP/OPc, of the card or of the subscriber in the lab");
            env.diagnose(ts33102("6.3.5"), format!("{impi}: {text}"), cause);
        }
    }
}

/// Step 4: the scheme must be the subscriber's.
fn check_scheme(
    env: &mut HssEnv<'_>,
    secret: &Secret,
    mar: &Mar,
) -> Result<(), (CxResult, String)> {
    let has = match secret {
        Secret::Aka { .. } => "IMS AKA",
        Secret::Digest { .. } => "SIP digest",
    };
    match (mar.scheme, secret) {
        (AuthScheme::Aka, Secret::Aka { .. })
        | (AuthScheme::SipDigest | AuthScheme::Unknown, Secret::Digest { .. }) => Ok(()),
        (AuthScheme::Unknown, Secret::Aka { .. }) => {
            env.note(UNKNOWN_SCHEME, || {
                format!("scheme Unknown, {} has {has}: vectors are given", mar.impi)
            });
            Ok(())
        }
        (asked, _) => {
            let asked = match asked {
                AuthScheme::Aka => "IMS AKA",
                AuthScheme::SipDigest => "SIP digest",
                AuthScheme::EarlyIms => "GIBA",
                AuthScheme::Other | AuthScheme::Unknown => "a scheme we do not know",
            };
            let text = format!("{asked} is asked for, {} has {has}", mar.impi);
            Err((CxResult::AuthSchemeNotSupported, text))
        }
    }
}

/// Step 5: the S-CSCF that authenticates is the one that will assign itself.
fn assign(env: &mut HssEnv<'_>, state: &mut SetState, number: usize, origin_host: &str, mar: &Mar) {
    let same = state.server.as_ref().is_some_and(|server| server.name == mar.server_name);
    if same
        && let Some(server) = &mut state.server
        && server.origin_host != origin_host
    {
        origin_host.clone_into(&mut Arc::make_mut(server).origin_host);
    }
    if !same {
        let before = state.server.take();
        env.note(ts29228("6.3.1"), || {
            let before = before.map_or_else(|| "none".to_owned(), |server| server.name.clone());
            format!("S-CSCF of {}: {} instead of {before}", mar.impu, mar.server_name)
        });
        let (name, origin_host) = (mar.server_name.clone(), origin_host.to_owned());
        state.server = Some(Arc::new(AssignedServer { name, origin_host }));
        state.reassignment_pending = false;
    }
    if !same || state.registration() != RegistrationState::Registered {
        state.pending.insert(number);
    }
}

/// Digest-HA1 is the most preferred; with both algorithms it is MD5 and the alternate SHA-256
/// (TS 29.228 table 6.3.7).
pub(super) fn digest(realm: &str, hashes: &[(String, String)]) -> AuthItem {
    let of = |name: &str| hashes.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (md5, sha_256) = (of("MD5"), of("SHA-256"));
    let (algorithm, ha1) = md5.or(sha_256).cloned().unwrap_or_default();
    let ha1_sha256 = sha_256.filter(|_| md5.is_some()).map(|(_, ha1)| ha1.clone());
    AuthItem::Digest { realm: realm.to_owned(), algorithm, ha1, ha1_sha256 }
}
