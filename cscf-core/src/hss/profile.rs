//! Writes the user profile of SAA and PPR as an `IMSSubscription` document (TS 29.228 Annex E).

use std::fmt::Write as _;

use crate::ids::push_decimal;
use crate::ifc::{
    Condition, DefaultHandling, IdentityType, InitialFilterCriteria, ProfilePart, PublicIdentity,
    RegistrationType, ServicePointTrigger, ServiceProfile, UserProfile,
};

/// Writes the document; [`UserProfile::parse`] reads it back to the same value, if texts are
/// trimmed and of characters that XML allows.
#[must_use]
pub fn write_profile(profile: &UserProfile) -> String {
    write_profiles(&profile.private_id, &profile.service_profiles)
}

/// As [`write_profile`], of a private identity and its service profiles.
pub(super) fn write_profiles(private_id: &str, service_profiles: &[ServiceProfile]) -> String {
    let mut xml = Xml(String::with_capacity(1024));
    xml.0.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    xml.open("IMSSubscription");
    xml.text("PrivateID", private_id);
    for service in service_profiles {
        service_profile(&mut xml, service);
    }
    xml.close("IMSSubscription");
    xml.0
}

fn service_profile(xml: &mut Xml, service: &ServiceProfile) {
    xml.open("ServiceProfile");
    for identity in &service.public_identities {
        public_identity(xml, identity);
    }
    if let Some(id) = service.subscribed_media_profile_id {
        xml.open("CoreNetworkServicesAuthorization");
        xml.number("SubscribedMediaProfileId", id);
        xml.close("CoreNetworkServicesAuthorization");
    }
    for ifc in &service.initial_filter_criteria {
        filter_criteria(xml, ifc);
    }
    if !service.shared_ifc_set_ids.is_empty() {
        xml.open("Extension");
        for id in &service.shared_ifc_set_ids {
            xml.number("SharedIFCSetID", *id);
        }
        xml.close("Extension");
    }
    xml.close("ServiceProfile");
}

/// The elements of later releases nest: type and wildcarded PSI in the first `Extension`, names and
/// aliases in the second, the wildcarded IMPU in the third.
fn public_identity(xml: &mut Xml, identity: &PublicIdentity) {
    let kind = identity.identity_type;
    let third = identity.wildcarded.as_ref().filter(|_| kind == IdentityType::WildcardedImpu);
    let second =
        third.is_some() || identity.display_name.is_some() || identity.alias_group.is_some();
    xml.open("PublicIdentity");
    if identity.barred {
        xml.text("BarringIndication", "1");
    }
    xml.text("Identity", &identity.identity);
    if second || kind != IdentityType::DistinctImpu {
        xml.open("Extension");
        xml.number("IdentityType", kind.code());
        if let (Some(text), None) = (&identity.wildcarded, third) {
            xml.text("WildcardedPSI", text);
        }
        if second {
            xml.open("Extension");
            xml.optional("DisplayName", identity.display_name.as_deref());
            xml.optional("AliasIdentityGroupID", identity.alias_group.as_deref());
            if let Some(text) = third {
                xml.open("Extension");
                xml.text("WildcardedIMPU", text);
                xml.close("Extension");
            }
            xml.close("Extension");
        }
        xml.close("Extension");
    }
    xml.close("PublicIdentity");
}

fn filter_criteria(xml: &mut Xml, ifc: &InitialFilterCriteria) {
    xml.open("InitialFilterCriteria");
    xml.number("Priority", ifc.priority);
    if let Some(point) = &ifc.trigger_point {
        xml.open("TriggerPoint");
        xml.number("ConditionTypeCNF", u32::from(point.conjunctive));
        for trigger in &point.triggers {
            service_point_trigger(xml, trigger);
        }
        xml.close("TriggerPoint");
    }
    let server = &ifc.application_server;
    xml.open("ApplicationServer");
    xml.text("ServerName", &server.server_name);
    let handling = u32::from(server.default_handling == DefaultHandling::SessionTerminated);
    xml.number("DefaultHandling", handling);
    xml.optional("ServiceInfo", server.service_info.as_deref());
    if server.include_register_request || server.include_register_response {
        xml.open("Extension");
        if server.include_register_request {
            xml.empty("IncludeRegisterRequest");
        }
        if server.include_register_response {
            xml.empty("IncludeRegisterResponse");
        }
        xml.close("Extension");
    }
    xml.close("ApplicationServer");
    if let Some(part) = ifc.profile_part {
        xml.number("ProfilePartIndicator", u32::from(part == ProfilePart::Unregistered));
    }
    xml.close("InitialFilterCriteria");
}

fn service_point_trigger(xml: &mut Xml, trigger: &ServicePointTrigger) {
    xml.open("SPT");
    xml.number("ConditionNegated", u32::from(trigger.negated));
    for group in &trigger.groups {
        xml.number("Group", *group);
    }
    match &trigger.condition {
        Condition::Method(method) => xml.text("Method", method),
        Condition::RequestUri(uri) => xml.text("RequestURI", uri),
        Condition::SessionCase(case) => xml.number("SessionCase", case.code()),
        Condition::SessionDescription { line, content } => {
            xml.open("SessionDescription");
            xml.text("Line", line);
            xml.optional("Content", content.as_deref());
            xml.close("SessionDescription");
        }
        Condition::SipHeader { header, content } => {
            xml.open("SIPHeader");
            xml.text("Header", header);
            xml.optional("Content", content.as_deref());
            xml.close("SIPHeader");
        }
    }
    if !trigger.registration_types.is_empty() {
        xml.open("Extension");
        for kind in &trigger.registration_types {
            let code = match kind {
                RegistrationType::Initial => 0,
                RegistrationType::ReRegistration => 1,
                RegistrationType::Deregistration => 2,
            };
            xml.number("RegistrationType", code);
        }
        xml.close("Extension");
    }
    xml.close("SPT");
}

struct Xml(String);

impl Xml {
    fn open(&mut self, name: &str) {
        ["<", name, ">"].into_iter().for_each(|piece| self.0.push_str(piece));
    }

    fn close(&mut self, name: &str) {
        ["</", name, ">"].into_iter().for_each(|piece| self.0.push_str(piece));
    }

    fn empty(&mut self, name: &str) {
        ["<", name, "/>"].into_iter().for_each(|piece| self.0.push_str(piece));
    }

    fn number(&mut self, name: &str, number: u32) {
        self.open(name);
        push_decimal(&mut self.0, number.into());
        self.close(name);
    }

    fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// Characters that XML forbids are left out.
    fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"&<>".contains(&byte)) {
            self.0.push_str(text);
            return self.close(name);
        }
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '\t' | '\n' | '\r' => {
                    let _ = write!(self.0, "&#{};", u32::from(character));
                }
                '\u{fffe}' | '\u{ffff}' => {}
                _ if character.is_ascii_control() => {}
                _ => self.0.push(character),
            }
        }
        self.close(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ifc::{ApplicationServer, SessionCase, TriggerPoint};

    fn full() -> UserProfile {
        let spt = |condition| ServicePointTrigger {
            negated: true,
            groups: vec![0, 4],
            condition,
            registration_types: vec![RegistrationType::ReRegistration],
        };
        let header =
            Condition::SipHeader { header: "Event".into(), content: Some("a<b&c>".into()) };
        let line = Condition::SessionDescription { line: "m".into(), content: None };
        let ifc = InitialFilterCriteria {
            priority: 3,
            trigger_point: Some(TriggerPoint {
                conjunctive: false,
                triggers: vec![
                    spt(header),
                    spt(line),
                    spt(Condition::Method("INVITE".into())),
                    spt(Condition::RequestUri("tel:.*".into())),
                    spt(Condition::SessionCase(SessionCase::TerminatingUnregistered)),
                ],
            }),
            application_server: ApplicationServer {
                server_name: "sip:as1.ims.example;lr".into(),
                default_handling: DefaultHandling::SessionTerminated,
                service_info: Some("hidden \"text\"".into()),
                include_register_request: true,
                include_register_response: true,
            },
            profile_part: Some(ProfilePart::Unregistered),
        };
        let named = PublicIdentity {
            display_name: Some("Alice & Co".into()),
            alias_group: Some("1".into()),
            ..PublicIdentity::open("sip:alice@ims.example")
        };
        let wild = PublicIdentity {
            identity_type: IdentityType::WildcardedImpu,
            wildcarded: Some("sip:list!.*!@ims.example".into()),
            ..PublicIdentity::open("sip:list@ims.example")
        };
        let psi = PublicIdentity {
            identity_type: IdentityType::WildcardedPsi,
            wildcarded: Some("sip:chat!.*!@ims.example".into()),
            ..PublicIdentity::open("sip:chat@ims.example")
        };
        UserProfile {
            private_id: "alice@ims.example".into(),
            service_profiles: vec![
                ServiceProfile {
                    public_identities: vec![PublicIdentity::barred("sip:001@ims.example"), named],
                    subscribed_media_profile_id: Some(9),
                    initial_filter_criteria: vec![ifc],
                    shared_ifc_set_ids: vec![1, 2],
                },
                ServiceProfile { public_identities: vec![wild, psi], ..ServiceProfile::default() },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let profile = full();
        assert_eq!(UserProfile::parse(&write_profile(&profile)), Ok(profile));
    }

    #[test]
    fn a_plain_identity_has_no_extension() {
        let profile = UserProfile {
            private_id: "a@b".into(),
            service_profiles: vec![ServiceProfile {
                public_identities: vec![PublicIdentity::open("sip:a@b")],
                ..ServiceProfile::default()
            }],
        };
        assert_eq!(
            write_profile(&profile),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><IMSSubscription><PrivateID>a@b</PrivateID>\
             <ServiceProfile><PublicIdentity><Identity>sip:a@b</Identity></PublicIdentity>\
             </ServiceProfile></IMSSubscription>"
        );
    }
}
