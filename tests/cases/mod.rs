//! The cases of the conformance run, one file an area.

mod alive;
mod authentication;
mod by_hand;
mod cx;
mod cx_hss;
mod cx_peer;
mod deregistration;
mod diagnosis;
mod emergency;
mod faults;
mod gm;
mod hand;
mod hss_faults;
mod icscf_failures;
mod icscf_register;
mod icscf_session;
mod isc;
mod networks;
mod numbers;
mod outbound;
mod overload;
mod parser;
mod pcscf_associations;
mod pcscf_edge;
mod pcscf_emergency;
mod pcscf_mechanism;
mod pcscf_media;
mod pcscf_protected;
mod pcscf_refused;
mod pcscf_register;
mod pcscf_resources;
mod pcscf_security;
mod pcscf_session;
mod pcscf_strays;
mod pcscf_terminating;
mod presence;
mod proxy;
mod proxy_authentication;
mod push;
mod reauthentication;
mod reg_event;
mod registrar;
mod registration_end;
mod restoration;
mod scenario;
mod scscf_paths;
mod scscf_refusals;
mod scscf_register;
mod scscf_release;
mod scscf_session;
mod scscf_terminating;
mod servers;
mod sms;
mod status;
mod third_party;
mod timers;
mod transaction;
mod transport;
mod trust;
mod ue;
mod whole_calls;
mod wildcards;
mod wire;

use std::sync::Arc;

/// What a case does; an error or a panic fails it.
pub(crate) type Run = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// One test and what it proves.
pub(crate) struct Case {
    /// Its name: area and a sentence.
    pub(crate) name: String,
    /// Ids of the catalogue, with the letter where an entry has cases.
    pub(crate) proves: Vec<String>,
    /// The test.
    pub(crate) run: Run,
}

/// A case written in Rust: panics fail it.
pub(crate) fn case(name: &str, proves: &[&str], run: fn()) -> Case {
    Case {
        name: name.to_owned(),
        proves: proves.iter().map(|id| (*id).to_owned()).collect(),
        run: Arc::new(move || {
            run();
            Ok(())
        }),
    }
}

/// All cases of the run.
pub(crate) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(authentication::cases());
    all.extend(cx::cases());
    all.extend(cx_hss::cases());
    all.extend(deregistration::cases());
    all.extend(emergency::cases());
    all.extend(diagnosis::cases());
    all.extend(faults::cases());
    all.extend(hss_faults::cases());
    all.extend(icscf_failures::cases());
    all.extend(icscf_register::cases());
    all.extend(isc::cases());
    all.extend(networks::cases());
    all.extend(numbers::cases());
    all.extend(outbound::cases());
    all.extend(overload::cases());
    all.extend(parser::cases());
    all.extend(pcscf_edge::cases());
    all.extend(pcscf_associations::cases());
    all.extend(pcscf_refused::cases());
    all.extend(alive::cases());
    all.extend(pcscf_mechanism::cases());
    all.extend(pcscf_emergency::cases());
    all.extend(pcscf_media::cases());
    all.extend(pcscf_protected::cases());
    all.extend(pcscf_resources::cases());
    all.extend(pcscf_register::cases());
    all.extend(pcscf_security::cases());
    all.extend(pcscf_session::cases());
    all.extend(pcscf_strays::cases());
    all.extend(pcscf_terminating::cases());
    all.extend(presence::cases());
    all.extend(proxy::cases());
    all.extend(proxy_authentication::cases());
    all.extend(push::cases());
    all.extend(reauthentication::cases());
    all.extend(reg_event::cases());
    all.extend(registrar::cases());
    all.extend(registration_end::cases());
    all.extend(restoration::cases());
    all.extend(scenario::cases());
    all.extend(scscf_refusals::cases());
    all.extend(scscf_register::cases());
    all.extend(scscf_paths::cases());
    all.extend(scscf_release::cases());
    all.extend(servers::cases());
    all.extend(sms::cases());
    all.extend(status::cases());
    all.extend(third_party::cases());
    all.extend(timers::cases());
    all.extend(transaction::cases());
    all.extend(transport::cases());
    all.extend(trust::cases());
    all.extend(ue::cases());
    all.extend(whole_calls::cases());
    all.extend(wildcards::cases());
    all.extend(icscf_session::cases());
    all.extend(scscf_session::cases());
    all.extend(scscf_terminating::cases());
    // One line a file of cases, in the order of the alphabet.
    all
}
