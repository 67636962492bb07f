//! The reg-event document: who is registered with which contacts, in XML (RFC 3680 §5). Written
//! only, always in full.

use std::fmt::Write as _;

use super::gruu::{Gruus, TempGruu};
use super::registration::{Binding, ContactEvent, PublicIdentity};
use crate::time::Instant;

/// The media type of the document.
pub const CONTENT_TYPE: &str = "application/reginfo+xml";

/// How long a UE on probation shall stay away, in seconds (RFC 3680 §5.1).
pub const PROBATION_FOR: u32 = 60;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:reginfo";

/// The namespace of GRUUs in the document (RFC 5628 §6).
const GRUU_NAMESPACE: &str = "urn:ietf:params:xml:ns:gruuinfo";

/// The facts of one document.
#[derive(Clone, Copy, Debug)]
pub struct ReginfoDocument<'a> {
    /// Counts the documents of a subscription from zero.
    pub version: u32,
    /// The identities that the subscriber may see, in the order of the profile.
    pub identities: &'a [&'a PublicIdentity],
    /// The contacts that are bound.
    pub active: &'a [Binding],
    /// The contacts that have just gone, the reason in `event`.
    pub terminated: &'a [Binding],
    /// The time it tells of.
    pub now: Instant,
}

impl ReginfoDocument<'_> {
    /// Writes the document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let version = self.version;
        let mut all = self.active.iter().chain(self.terminated);
        let gruus = all.any(|binding| binding.gruus.is_some());
        let gruus = if gruus { format!(" xmlns:gr=\"{GRUU_NAMESPACE}\"") } else { String::new() };
        let _ = writeln!(
            out,
            "<reginfo xmlns=\"{NAMESPACE}\"{gruus} version=\"{version}\" state=\"full\">"
        );
        let state = if self.active.is_empty() { "terminated" } else { "active" };
        for (at, identity) in self.identities.iter().enumerate() {
            let aor = escape(&identity.uri);
            let _ = writeln!(out, "  <registration aor=\"{aor}\" id=\"r{at}\" state=\"{state}\">");
            for binding in self.active {
                self.contact(&mut out, at, identity, (binding, true));
            }
            for binding in self.terminated {
                self.contact(&mut out, at, identity, (binding, false));
            }
            out.push_str("  </registration>\n");
        }
        out.push_str("</reginfo>\n");
        out
    }

    fn contact(
        &self,
        out: &mut String,
        at: usize,
        identity: &PublicIdentity,
        (binding, active): (&Binding, bool),
    ) {
        let explicit = *binding.registered_with == *identity.key;
        let event = match binding.event {
            ContactEvent::Registered if !explicit => ContactEvent::Created,
            event => event,
        };
        let state = if active { "active" } else { "terminated" };
        let (id, event) = (binding.id, event.as_str());
        let _ = write!(out, "    <contact id=\"r{at}c{id}\" state=\"{state}\" event=\"{event}\"");
        if active {
            let _ = write!(out, " expires=\"{}\"", binding.expires_in(self.now));
        }
        if binding.event == ContactEvent::Probation && !active {
            let _ = write!(out, " retry-after=\"{PROBATION_FOR}\"");
        }
        let address = binding.contact.read();
        if address.as_ref().is_some_and(|its| its.params.has("q")) {
            let (whole, part) = (binding.q / 1000, binding.q % 1000);
            let _ = write!(out, " q=\"{whole}.{part:03}\"");
        }
        let _ = writeln!(out, ">\n      <uri>{}</uri>", escape(binding.contact.uri()));
        if let Some(name) = address.as_ref().and_then(|its| its.display_name.as_ref()) {
            let _ = writeln!(out, "      <display-name>{}</display-name>", escape(name));
        }
        let params = address.as_ref().map(|its| &its.params);
        let params = params.into_iter().flat_map(|all| all.iter().map(move |one| (all, one)));
        for (all, param) in params.filter(|(_, param)| !is_known(param.name())) {
            let name = escape(param.name());
            let value = all.unquoted(param.name()).unwrap_or_default();
            let value = escape(&value);
            let _ = writeln!(out, "      <unknown-param name=\"{name}\">{value}</unknown-param>");
        }
        if let Some(gruus) = &binding.gruus {
            write_gruus(out, gruus, identity);
        }
        out.push_str("    </contact>\n");
    }
}

/// The GRUUs of a contact under this identity (RFC 5628 §5).
fn write_gruus(out: &mut String, gruus: &Gruus, identity: &PublicIdentity) {
    if let Some(uri) = gruus.public(identity) {
        let _ = writeln!(out, "      <gr:pub-gruu uri=\"{}\"/>", escape(&uri));
    }
    if let Some(TempGruu { uri, first_cseq, .. }) = gruus.newest(&identity.key) {
        let uri = escape(uri);
        let _ = writeln!(out, "      <gr:temp-gruu uri=\"{uri}\" first-cseq=\"{first_cseq}\"/>");
    }
}

/// Parameters that have a place of their own in the document.
fn is_known(name: &str) -> bool {
    ["q", "expires"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Escapes what XML reads as markup, and drops what it cannot hold at all (XML 1.0 §2.2).
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' => out.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {}
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registrar::BoundContact;
    use crate::sip::NameAddr;

    fn binding(id: u64, contact: &str, event: ContactEvent) -> Binding {
        let contact = NameAddr::parse(contact).expect("an address");
        Binding {
            id,
            impi: "alice@home.example".into(),
            registered_with: "sip:alice@home.example".into(),
            q: contact.q_thousandths(),
            contact: BoundContact::new(&contact),
            expires_at: Instant::from_secs(600),
            path: Box::new([]),
            call_id: "c".into(),
            cseq: 1,
            token: "t".into(),
            event,
            gruus: None,
        }
    }

    fn document(active: &[Binding], terminated: &[Binding]) -> String {
        let sip = PublicIdentity::new("sip:alice@home.example", false).expect("an identity");
        let tel = PublicIdentity::new("tel:+15550101", false).expect("an identity");
        let now = Instant::from_secs(100);
        let identities = [&sip, &tel];
        ReginfoDocument { version: 3, identities: &identities, active, terminated, now }.to_xml()
    }

    /// S-NOT-030
    #[test]
    fn an_active_set_lists_each_identity_with_its_contacts() {
        let contact = "\"A & B\" <sip:10.0.0.1>;q=0.5;+g.3gpp.smsip;+sip.instance=\"<urn:x:1>\"";
        let text = document(&[binding(7, contact, ContactEvent::Registered)], &[]);
        assert_eq!(
            text,
            r#"<?xml version="1.0" encoding="UTF-8"?>
<reginfo xmlns="urn:ietf:params:xml:ns:reginfo" version="3" state="full">
  <registration aor="sip:alice@home.example" id="r0" state="active">
    <contact id="r0c7" state="active" event="registered" expires="500" q="0.500">
      <uri>sip:10.0.0.1</uri>
      <display-name>A &amp; B</display-name>
      <unknown-param name="+g.3gpp.smsip"></unknown-param>
      <unknown-param name="+sip.instance">&lt;urn:x:1&gt;</unknown-param>
    </contact>
  </registration>
  <registration aor="tel:+15550101" id="r1" state="active">
    <contact id="r1c7" state="active" event="created" expires="500" q="0.500">
      <uri>sip:10.0.0.1</uri>
      <display-name>A &amp; B</display-name>
      <unknown-param name="+g.3gpp.smsip"></unknown-param>
      <unknown-param name="+sip.instance">&lt;urn:x:1&gt;</unknown-param>
    </contact>
  </registration>
</reginfo>
"#
        );
    }

    /// S-NOT-100
    #[test]
    fn a_set_without_contacts_is_terminated() {
        let text = document(&[], &[binding(7, "<sip:10.0.0.1>", ContactEvent::Rejected)]);
        assert_eq!(text.matches("state=\"terminated\"").count(), 4);
        assert_eq!(text.matches("event=\"rejected\"").count(), 2);
        assert!(!text.contains("expires"));
        let document = roxmltree::Document::parse(&text).expect("well-formed XML");
        assert_eq!(document.root_element().tag_name().name(), "reginfo");
    }
}
