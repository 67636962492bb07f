//! Who can be reached by SMS over IP: whose registration holds a contact with `+g.3gpp.smsip`, as
//! the third-party REGISTER or the reg event tell (TS 24.341 §5.3.3.2, TS 24.229 §5.7.1.1).

use cscf_core::clause::ts24341;
use cscf_core::config::ServerBehaviour;
use cscf_core::role::{Actions, Env, Incoming};
use cscf_core::sip::{self, HeaderName, Message};
use roxmltree::{Document, Node};

use super::super::{AppServer, ServerTimer, key_of};

/// The feature tag of a contact that takes short messages (TS 24.341 §5.3.2.2).
const SMSIP: &str = "+g.3gpp.smsip";
/// Longest reg event document read, in bytes.
const DOCUMENT_MAX: usize = 65_535;

/// A registration as the gateway knows it.
#[derive(Debug)]
pub(super) struct Reach {
    /// The key of the identity whose registration it is.
    key: String,
    /// Whether a contact takes short messages; `None`: not told yet.
    capable: Option<bool>,
}

impl AppServer {
    /// Whether a user can be reached by SMS over IP, or why not.
    pub(super) fn can_reach(&self, name: &str) -> Result<(), &'static str> {
        match self.gateway.reachable.get(name).map(|reach| reach.capable) {
            None => Err("is not registered"),
            Some(None) => Err("has not told yet whether it takes short messages"),
            Some(Some(false)) => Err("is registered without +g.3gpp.smsip"),
            Some(Some(true)) => Ok(()),
        }
    }

    /// The S-CSCF of a user.
    pub(super) fn way_to(&self, name: &str) -> Option<&str> {
        let reach = self.gateway.reachable.get(name)?;
        let user = self.users.get(&reach.key).filter(|user| !user.gone)?;
        Some(&user.scscf)
    }

    /// A third-party REGISTER: its body may hold the REGISTER of the user, and so the tag.
    pub(in super::super) fn reachable_by_sms(
        &mut self,
        env: &mut Env<'_>,
        key: &str,
        incoming: &Incoming,
        out: &mut Actions<ServerTimer>,
    ) {
        if self.config.behaviour != ServerBehaviour::ShortMessages {
            return;
        }
        let name = self.name(key).into_owned();
        let told = registered_with(incoming);
        let reach = self.gateway.reachable.entry(name.clone());
        let reach = reach.or_insert_with(|| Reach { key: key.to_owned(), capable: None });
        key.clone_into(&mut reach.key);
        reach.capable = told.or(reach.capable);
        let capable = reach.capable;
        self.note_reach(env, &name, capable, out);
    }

    /// A reg event document.
    pub(in super::super) fn heed_sms(
        &mut self,
        env: &mut Env<'_>,
        key: &str,
        body: &[u8],
        out: &mut Actions<ServerTimer>,
    ) {
        let name = self.name(key).into_owned();
        let Some(reach) = self.gateway.reachable.get_mut(&name) else { return };
        reach.capable = Some(is_in_document(body, key));
        let capable = reach.capable;
        self.note_reach(env, &name, capable, out);
    }

    fn note_reach(
        &mut self,
        env: &mut Env<'_>,
        name: &str,
        capable: Option<bool>,
        out: &mut Actions<ServerTimer>,
    ) {
        match capable {
            Some(true) => {
                env.note(ts24341("5.3.3.2"), || format!("{name} takes short messages ({SMSIP})"));
                self.try_again(env, name, out);
            }
            Some(false) => env.note(ts24341("5.3.3.2"), || {
                format!("{name} has no contact with {SMSIP}: no short messages over IP")
            }),
            None => {}
        }
    }

    /// The registration is over.
    pub(in super::super) fn unreachable_by_sms(&mut self, key: &str) {
        let name = self.name(key).into_owned();
        if self.gateway.reachable.get(&name).is_some_and(|reach| reach.key == key) {
            self.gateway.reachable.remove(&name);
        }
    }
}

/// Whether the REGISTER inside a third-party REGISTER has the tag; `None` where there is none.
fn registered_with(incoming: &Incoming) -> Option<bool> {
    let request = &incoming.request;
    let kind = request.headers.get(HeaderName::ContentType)?;
    if !kind.trim().to_ascii_lowercase().starts_with("message/sip") {
        return None;
    }
    let Ok(Message::Request(inner)) = sip::parse(&request.body) else { return None };
    let contacts = inner.headers.contacts().ok()?;
    Some(contacts.list().iter().any(|contact| contact.param(SMSIP).is_some()))
}

/// Whether an active contact of the identity has the tag (RFC 3680 §5, RFC 3840 as unknown-param).
fn is_in_document(body: &[u8], key: &str) -> bool {
    let Some(text) = body.get(..body.len().min(DOCUMENT_MAX)) else { return false };
    let text = String::from_utf8_lossy(text);
    let Ok(document) = Document::parse(&text) else { return false };
    let named = |node: &Node<'_, '_>, name: &str| node.tag_name().name() == name;
    let has_tag = |contact: &Node<'_, '_>| {
        contact.children().any(|param| {
            named(&param, "unknown-param")
                && param.attribute("name").is_some_and(|name| name.eq_ignore_ascii_case(SMSIP))
        })
    };
    document.root_element().children().any(|node| {
        named(&node, "registration")
            && node.attribute("aor").and_then(key_of).as_deref() == Some(key)
            && node.children().any(|contact| {
                named(&contact, "contact")
                    && contact.attribute("state") == Some("active")
                    && has_tag(&contact)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_counts_at_an_active_contact_of_the_identity() {
        let document = |aor: &str, state: &str, tag: &str| {
            format!(
                "<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"0\" state=\"full\">\
                 <registration aor=\"{aor}\" id=\"a\" state=\"active\"><contact id=\"c\" \
                 state=\"{state}\" event=\"registered\"><uri>sip:a</uri><unknown-param \
                 name=\"{tag}\"></unknown-param></contact></registration></reginfo>"
            )
        };
        let key = "sip:bob@ims.example";
        let holds = |aor, state, tag| is_in_document(document(aor, state, tag).as_bytes(), key);
        assert!(holds(key, "active", SMSIP));
        assert!(holds(key, "active", "+G.3GPP.smsip"));
        assert!(!holds(key, "terminated", SMSIP));
        assert!(!holds(key, "active", "audio"));
        assert!(!holds("sip:carol@ims.example", "active", SMSIP));
        assert!(!is_in_document(b"<", key) && !is_in_document(&[0xff; 70_000], key));
    }
}
