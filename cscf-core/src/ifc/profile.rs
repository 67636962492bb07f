//! Reads the `IMSSubscription` document of an SAA or PPR (TS 29.228 Annex E).
//!
//! Elements we do not know are passed over, as the schema's extensions demand; what we know must be
//! right. Bounded in bytes, nodes and identities; DTDs and entities are refused.

use roxmltree::{Document, Node, ParsingOptions};
use thiserror::Error;

use crate::ifc::model::{
    ApplicationServer, Condition, DefaultHandling, IdentityType, InitialFilterCriteria,
    ProfilePart, PublicIdentity, RegistrationType, ServicePointTrigger, ServiceProfile,
    SessionCase, TriggerPoint, UserProfile,
};

/// The longest document, in bytes.
pub const PROFILE_MAX: usize = 262_144;
/// The most nodes in a document.
const NODES_MAX: u32 = 65_536;
/// The most public identities, filter criteria of a profile, or triggers of a criterion.
const ITEMS_MAX: usize = 1_024;

/// Why a document is no user profile; line and column are of the element, from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// An element that must be there is not.
    #[error("{line}:{column}: {parent} has no {element}")]
    ElementMissing {
        /// Which one.
        element: &'static str,
        /// Inside which.
        parent: String,
        /// Line of the parent.
        line: u32,
        /// Column of the parent.
        column: u32,
    },
    /// More than [`PROFILE_MAX`] bytes, or more items than we take.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A value is none of those defined.
    #[error("{line}:{column}: {element} is {value:?}")]
    ValueWrong {
        /// Of which element.
        element: String,
        /// What stands there.
        value: String,
        /// Line of the element.
        line: u32,
        /// Column of the element.
        column: u32,
    },
    /// The document is no XML, or has a DTD.
    #[error("not well-formed: {0}")]
    Xml(String),
}

impl UserProfile {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// [`ProfileError`] says what and where; the S-CSCF answers a PPR with
    /// `DIAMETER_ERROR_NOT_SUPPORTED_USER_DATA` then (TS 29.228 §6.2.2.1).
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        if text.len() > PROFILE_MAX {
            return Err(ProfileError::TooMany("bytes"));
        }
        let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options)
            .map_err(|error| ProfileError::Xml(error.to_string()))?;
        let root = document.root_element();
        if root.tag_name().name() != "IMSSubscription" {
            let (line, column) = place(root);
            let parent = "the document".to_owned();
            return Err(ProfileError::ElementMissing {
                element: "IMSSubscription",
                parent,
                line,
                column,
            });
        }
        let profile = Self {
            private_id: text_of(required(root, "PrivateID")?),
            service_profiles: several(root, "ServiceProfile", service_profile)?,
        };
        if profile.service_profiles.is_empty() {
            required(root, "ServiceProfile")?;
        }
        if profile.public_identities().count() > ITEMS_MAX {
            return Err(ProfileError::TooMany("public identities"));
        }
        Ok(profile)
    }
}

fn service_profile(node: Node<'_, '_>) -> Result<ServiceProfile, ProfileError> {
    required(node, "PublicIdentity")?;
    let authorization = child(node, "CoreNetworkServicesAuthorization");
    let media = authorization.and_then(|node| child(node, "SubscribedMediaProfileId"));
    let shared = child(node, "Extension").map(|node| several(node, "SharedIFCSetID", number));
    Ok(ServiceProfile {
        public_identities: several(node, "PublicIdentity", public_identity)?,
        subscribed_media_profile_id: media.map(number).transpose()?,
        initial_filter_criteria: several(node, "InitialFilterCriteria", filter_criteria)?,
        shared_ifc_set_ids: shared.transpose()?.unwrap_or_default(),
    })
}

/// Newer elements stand in nested `Extension`s.
fn public_identity(node: Node<'_, '_>) -> Result<PublicIdentity, ProfileError> {
    let identity_type = extended(node, "IdentityType").map(number).transpose()?;
    let identity_type = match identity_type.unwrap_or(0) {
        0 => IdentityType::DistinctImpu,
        1 => IdentityType::DistinctPsi,
        2 => IdentityType::WildcardedPsi,
        3 => IdentityType::WildcardedImpu,
        _ => return Err(wrong(extended(node, "IdentityType").unwrap_or(node))),
    };
    let wildcarded = extended(node, "WildcardedPSI").or_else(|| extended(node, "WildcardedIMPU"));
    Ok(PublicIdentity {
        identity: text_of(required(node, "Identity")?),
        barred: child(node, "BarringIndication").map_or(Ok(false), flag)?,
        identity_type,
        wildcarded: wildcarded.map(text_of),
        display_name: extended(node, "DisplayName").map(text_of),
        alias_group: extended(node, "AliasIdentityGroupID").map(text_of),
    })
}

fn filter_criteria(node: Node<'_, '_>) -> Result<InitialFilterCriteria, ProfileError> {
    let profile_part = match child(node, "ProfilePartIndicator") {
        None => None,
        Some(part) => Some(match number(part)? {
            0 => ProfilePart::Registered,
            1 => ProfilePart::Unregistered,
            _ => return Err(wrong(part)),
        }),
    };
    Ok(InitialFilterCriteria {
        priority: number(required(node, "Priority")?)?,
        trigger_point: child(node, "TriggerPoint").map(trigger_point).transpose()?,
        application_server: application_server(required(node, "ApplicationServer")?)?,
        profile_part,
    })
}

fn trigger_point(node: Node<'_, '_>) -> Result<TriggerPoint, ProfileError> {
    required(node, "SPT")?;
    Ok(TriggerPoint {
        conjunctive: flag(required(node, "ConditionTypeCNF")?)?,
        triggers: several(node, "SPT", service_point_trigger)?,
    })
}

fn service_point_trigger(node: Node<'_, '_>) -> Result<ServicePointTrigger, ProfileError> {
    required(node, "Group")?;
    let types = child(node, "Extension")
        .map(|node| several(node, "RegistrationType", registration_type))
        .transpose()?;
    Ok(ServicePointTrigger {
        negated: child(node, "ConditionNegated").map_or(Ok(false), flag)?,
        groups: several(node, "Group", number)?,
        condition: condition(node)?,
        registration_types: types.unwrap_or_default(),
    })
}

fn condition(node: Node<'_, '_>) -> Result<Condition, ProfileError> {
    for found in node.children().filter(Node::is_element) {
        return Ok(match found.tag_name().name() {
            "Method" => Condition::Method(text_of(found)),
            "RequestURI" => Condition::RequestUri(text_of(found)),
            "SessionCase" => Condition::SessionCase(session_case(found)?),
            "SessionDescription" => Condition::SessionDescription {
                line: text_of(required(found, "Line")?),
                content: child(found, "Content").map(text_of),
            },
            "SIPHeader" => Condition::SipHeader {
                header: text_of(required(found, "Header")?),
                content: child(found, "Content").map(text_of),
            },
            _ => continue,
        });
    }
    let (line, column) = place(node);
    let parent = node.tag_name().name().to_owned();
    Err(ProfileError::ElementMissing { element: "condition we know", parent, line, column })
}

fn session_case(node: Node<'_, '_>) -> Result<SessionCase, ProfileError> {
    Ok(match number(node)? {
        0 => SessionCase::Originating,
        1 => SessionCase::TerminatingRegistered,
        2 => SessionCase::TerminatingUnregistered,
        3 => SessionCase::OriginatingUnregistered,
        4 => SessionCase::OriginatingCdiv,
        _ => return Err(wrong(node)),
    })
}

fn registration_type(node: Node<'_, '_>) -> Result<RegistrationType, ProfileError> {
    Ok(match number(node)? {
        0 => RegistrationType::Initial,
        1 => RegistrationType::ReRegistration,
        2 => RegistrationType::Deregistration,
        _ => return Err(wrong(node)),
    })
}

fn application_server(node: Node<'_, '_>) -> Result<ApplicationServer, ProfileError> {
    let default_handling = match child(node, "DefaultHandling") {
        None => DefaultHandling::SessionContinued,
        Some(found) => match number(found)? {
            0 => DefaultHandling::SessionContinued,
            1 => DefaultHandling::SessionTerminated,
            _ => return Err(wrong(found)),
        },
    };
    Ok(ApplicationServer {
        server_name: text_of(required(node, "ServerName")?),
        default_handling,
        service_info: child(node, "ServiceInfo").map(text_of),
        include_register_request: extended(node, "IncludeRegisterRequest").is_some(),
        include_register_response: extended(node, "IncludeRegisterResponse").is_some(),
    })
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.is_element() && child.tag_name().name() == name)
}

/// A child of the element or of one of the `Extension`s in it.
fn extended<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    let mut at = Some(node);
    while let Some(node) = at {
        if let Some(found) = child(node, name) {
            return Some(found);
        }
        at = child(node, "Extension");
    }
    None
}

fn required<'a, 'i>(
    node: Node<'a, 'i>,
    element: &'static str,
) -> Result<Node<'a, 'i>, ProfileError> {
    child(node, element).ok_or_else(|| {
        let (line, column) = place(node);
        let parent = node.tag_name().name().to_owned();
        ProfileError::ElementMissing { element, parent, line, column }
    })
}

fn several<'a, 'i, T>(
    node: Node<'a, 'i>,
    name: &'static str,
    read: impl Fn(Node<'a, 'i>) -> Result<T, ProfileError>,
) -> Result<Vec<T>, ProfileError> {
    let mut out = Vec::new();
    let found = |child: &Node<'_, '_>| child.is_element() && child.tag_name().name() == name;
    for child in node.children().filter(found) {
        if out.len() == ITEMS_MAX {
            return Err(ProfileError::TooMany(name));
        }
        out.push(read(child)?);
    }
    Ok(out)
}

fn text_of(node: Node<'_, '_>) -> String {
    node.text().unwrap_or_default().trim().to_owned()
}

fn number(node: Node<'_, '_>) -> Result<u32, ProfileError> {
    text_of(node).parse().map_err(|_| wrong(node))
}

/// `tBool` and `xs:boolean` both stand in documents of the field.
fn flag(node: Node<'_, '_>) -> Result<bool, ProfileError> {
    match text_of(node).as_str() {
        "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        _ => Err(wrong(node)),
    }
}

fn wrong(node: Node<'_, '_>) -> ProfileError {
    let (line, column) = place(node);
    let element = node.tag_name().name().to_owned();
    ProfileError::ValueWrong { element, value: text_of(node), line, column }
}

fn place(node: Node<'_, '_>) -> (u32, u32) {
    let at = node.document().text_pos_at(node.range().start);
    (at.row, at.col)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<IMSSubscription>
 <PrivateID>alice@ims.example</PrivateID>
 <ServiceProfile>
  <PublicIdentity><BarringIndication>1</BarringIndication><Identity>sip:001@ims.example</Identity>
  </PublicIdentity>
  <PublicIdentity><Identity> sip:alice@ims.example </Identity>
   <Extension><IdentityType>0</IdentityType>
    <Extension><DisplayName>Alice &amp; Co</DisplayName></Extension></Extension>
  </PublicIdentity>
  <CoreNetworkServicesAuthorization><SubscribedMediaProfileId>3</SubscribedMediaProfileId>
  </CoreNetworkServicesAuthorization>
  <InitialFilterCriteria>
   <Priority>10</Priority>
   <TriggerPoint><ConditionTypeCNF>1</ConditionTypeCNF>
    <SPT><ConditionNegated>0</ConditionNegated><Group>0</Group><Method>REGISTER</Method>
     <Extension><RegistrationType>0</RegistrationType><RegistrationType>2</RegistrationType>
     </Extension></SPT>
    <SPT><ConditionNegated>1</ConditionNegated><Group>0</Group><Group>1</Group>
     <SessionCase>4</SessionCase></SPT>
    <SPT><Group>2</Group><SIPHeader><Header>Accept-Contact</Header><Content>.*mmtel.*</Content>
     </SIPHeader></SPT>
    <SPT><Group>2</Group><RequestURI>sip:.*</RequestURI></SPT>
    <SPT><Group>2</Group><SessionDescription><Line>m</Line><Content>audio</Content>
     </SessionDescription></SPT>
   </TriggerPoint>
   <ApplicationServer><ServerName>sip:as1.ims.example</ServerName>
    <DefaultHandling>1</DefaultHandling><ServiceInfo>x</ServiceInfo>
    <Extension><IncludeRegisterRequest/></Extension></ApplicationServer>
   <ProfilePartIndicator>0</ProfilePartIndicator>
  </InitialFilterCriteria>
  <Extension><SharedIFCSetID>7</SharedIFCSetID></Extension>
 </ServiceProfile>
</IMSSubscription>"#;

    #[test]
    fn a_document_with_every_element_is_read() {
        let profile = UserProfile::parse(DOCUMENT).unwrap();

        assert_eq!(profile.private_id, "alice@ims.example");
        let default = profile.default_public_identity().unwrap();
        assert_eq!(default.identity, "sip:alice@ims.example");
        assert_eq!(default.display_name.as_deref(), Some("Alice & Co"));
        let [service] = profile.service_profiles.as_slice() else { panic!() };
        assert!(service.public_identities[0].barred);
        assert_eq!(service.subscribed_media_profile_id, Some(3));
        assert_eq!(service.shared_ifc_set_ids, [7]);
        let [ifc] = service.initial_filter_criteria.as_slice() else { panic!() };
        assert_eq!((ifc.priority, ifc.profile_part), (10, Some(ProfilePart::Registered)));
        let server = &ifc.application_server;
        assert_eq!(server.default_handling, DefaultHandling::SessionTerminated);
        assert!(server.include_register_request && !server.include_register_response);
        let point = ifc.trigger_point.as_ref().unwrap();
        assert!(point.conjunctive);
        assert_eq!(
            point.triggers[0].registration_types,
            [RegistrationType::Initial, RegistrationType::Deregistration]
        );
        assert!(point.triggers[1].negated);
        assert_eq!(point.triggers[1].groups, [0, 1]);
        let conditions: Vec<_> = point.triggers.iter().map(|spt| spt.condition.clone()).collect();
        assert_eq!(
            conditions,
            [
                Condition::Method("REGISTER".into()),
                Condition::SessionCase(SessionCase::OriginatingCdiv),
                Condition::SipHeader {
                    header: "Accept-Contact".into(),
                    content: Some(".*mmtel.*".into())
                },
                Condition::RequestUri("sip:.*".into()),
                Condition::SessionDescription { line: "m".into(), content: Some("audio".into()) },
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (from, to, expected) in [
            ("<Priority>10</Priority>", "", "13:3: InitialFilterCriteria has no Priority"),
            ("<Priority>10", "<Priority>ten", "14:4: Priority is \"ten\""),
            ("<SessionCase>4", "<SessionCase>5", "20:6: SessionCase is \"5\""),
            ("<Method>REGISTER</Method>", "", "16:5: SPT has no condition we know"),
            ("IMSSubscription>", "Sh-Data>", "2:1: the document has no IMSSubscription"),
            (
                "<PrivateID>alice@ims.example</PrivateID>",
                "",
                "2:1: IMSSubscription has no PrivateID",
            ),
        ] {
            let error = UserProfile::parse(&DOCUMENT.replace(from, to)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn entities_floods_and_depth_are_refused_without_harm() {
        let entity = r#"<!DOCTYPE a [<!ENTITY x "y">]><IMSSubscription>&x;</IMSSubscription>"#;
        assert!(matches!(UserProfile::parse(entity), Err(ProfileError::Xml(_))));
        let flood = "<a/>".repeat(70_000);
        let flood = flood.get(..200_000).unwrap();
        let many = format!("<IMSSubscription>{flood}</IMSSubscription>");
        assert!(UserProfile::parse(&many).is_err());
        let deep = "<a>".repeat(60_000);
        assert!(UserProfile::parse(&deep).is_err());
        let long = " ".repeat(PROFILE_MAX + 1);
        assert_eq!(UserProfile::parse(&long), Err(ProfileError::TooMany("bytes")));
    }
}
