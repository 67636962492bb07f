//! GRUUs at the registrar: who gets them, and how the 200 tells them (RFC 5627 §5,
//! TS 24.229 §5.4.7A).

use cscf_core::ids::push_decimal;
use cscf_core::registrar::{
    Binding, Gruus, PublicIdentity, TempGruu, Wish, identity_key, instance_of,
};
use cscf_core::role::Env;
use cscf_core::sip::HeaderName;

use crate::Config;
use crate::owner::ImplicitSet;
use crate::register::Register;

impl Register {
    /// Whether the UE wants to know its GRUUs (RFC 5627 §4.1).
    fn wants_gruu(&self) -> bool {
        self.request.headers.has_token(HeaderName::Supported, "gruu")
    }
}

impl ImplicitSet {
    /// Gives the contacts that the REGISTER binds their GRUUs: new temporary ones each time, one
    /// for each identity that others may see (RFC 5627 §5.2).
    pub(crate) fn assign_gruus(&mut self, env: &mut Env<'_>, config: &Config, of: &Register) {
        let Wish::Update(wishes) = &of.wish else { return };
        if !of.wants_gruu() {
            return;
        }
        let mut instances: Vec<String> = Vec::new();
        for wish in wishes.iter().filter(|wish| !wish.expires.is_zero()) {
            let Some(instance) = instance_of(&wish.address) else { continue };
            if instances.contains(&instance) {
                continue;
            }
            instances.push(instance);
            let shown = self.identities.iter().filter(|its| its.is_shown() && !its.is_tel());
            let new = shown.map(|identity| TempGruu {
                identity: identity.key.clone(),
                uri: config.temporary_gruu(&env.ids.token(12)).into(),
                first_cseq: of.cseq,
            });
            let new = new.collect();
            self.bindings.add_gruus(&of.impi, &wish.address, new);
        }
    }

    /// A binding as a Contact value of the 200, its GRUUs told if the UE wants them
    /// (RFC 5627 §5.3).
    pub(crate) fn contact(&self, binding: &Binding, expires: u64, register: &Register) -> String {
        let mut text = binding.contact.text().to_owned();
        text.push_str(";expires=");
        push_decimal(&mut text, expires);
        let gruus = binding.gruus.as_deref().filter(|_| register.wants_gruu());
        if let Some((gruus, identity)) = gruus.and_then(|its| Some((its, self.told(register)?))) {
            tell(&mut text, gruus, identity);
        }
        text
    }

    /// The identity whose GRUUs are told: that in To, else, if that is hidden or no SIP URI, the
    /// first SIP URI that others may see.
    fn told(&self, register: &Register) -> Option<&PublicIdentity> {
        let mut fitting = self.identities.iter().filter(|its| its.is_shown() && !its.is_tel());
        let to = register.request.to_addr().ok().and_then(|to| identity_key(&to.uri));
        let named = fitting.clone().find(|its| Some(&*its.key) == to.as_deref());
        named.or_else(|| fitting.next())
    }
}

fn tell(text: &mut String, gruus: &Gruus, identity: &PublicIdentity) {
    if let Some(uri) = gruus.public(identity) {
        text.push_str(&format!(";pub-gruu=\"{uri}\""));
    }
    if let Some(newest) = gruus.newest(&identity.key) {
        text.push_str(&format!(";temp-gruu=\"{}\"", newest.uri));
    }
}
