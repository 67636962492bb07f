//! P-Charging-Vector at the S-CSCF (TS 24.229 §4.5): the icid stays, the inter-operator identifiers
//! are those of the interface.

use cscf_core::sip::{ChargingVector, HeaderName, Headers, Ioi};

use crate::Config;

const NAME: HeaderName = HeaderName::PChargingVector;

/// The vector of a message, if it has a readable one.
pub(crate) fn vector(headers: &Headers) -> Option<ChargingVector> {
    headers.charging_vector().ok().flatten()
}

/// The icid of a message.
pub(crate) fn icid(headers: &Headers) -> Option<String> {
    vector(headers).map(|vector| vector.icid().to_owned())
}

/// Makes the vector of a request that leaves: `icid` where there is none, the identifier received
/// replaced by our own, no term-ioi (TS 24.229 §4.5.4).
pub(crate) fn set_request(headers: &mut Headers, icid: &str, ours: &Ioi<'_>) {
    let came = headers.first_value(NAME);
    let text = came.and_then(|value| ChargingVector::passed_on(value, ours)).unwrap_or_else(|| {
        let mut vector = ChargingVector::new(icid);
        vector.set_orig_ioi(Some(ours));
        vector.text()
    });
    headers.set(NAME, &text);
}

/// This network towards its application servers (TS 24.229 §4.5.4).
pub(crate) fn to_server(config: &Config) -> Ioi<'_> {
    Ioi::Type3(config.realm().into())
}

/// This network towards that of the P-CSCF.
pub(crate) fn to_p_cscf(config: &Config) -> Ioi<'_> {
    Ioi::Type1(config.realm().into())
}

/// Makes the vector of a response: what `came` with the request goes back, with our own identifier
/// as term-ioi (TS 24.229 §4.5.4).
pub(crate) fn set_response(headers: &mut Headers, came: Option<&ChargingVector>, ours: &Ioi<'_>) {
    let Some(came) = came else { return };
    headers.set(NAME, &came.answered_by(ours));
}

/// Puts the icid of the dialog into a message that came without (TS 24.229 §4.5.2).
pub(crate) fn keep_icid(headers: &mut Headers, icid: &str) {
    if !headers.contains(NAME) {
        headers.push(NAME, &ChargingVector::new(icid).text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G-IOI-010
    #[test]
    fn the_icid_stays_and_the_network_identifier_is_our_own() {
        let came = "icid-value=\"p1-1\";icid-generated-at=10.0.0.1;orig-ioi=\"Type 1v\"";
        let mut it = Headers::new();
        it.push(NAME, came);
        let kept = vector(&it);

        set_request(&mut it, "unused", &Ioi::Type2("home".into()));
        assert_eq!(
            it.get(NAME),
            Some("icid-value=\"p1-1\";icid-generated-at=10.0.0.1;orig-ioi=\"home\"")
        );

        let mut answer = Headers::new();
        set_response(&mut answer, kept.as_ref(), &Ioi::Type1("home".into()));
        assert_eq!(answer.get(NAME), Some(&*format!("{came};term-ioi=\"Type 1home\"")));
    }
}
