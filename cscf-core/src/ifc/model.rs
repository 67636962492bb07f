//! The user profile as values (TS 29.228 Annex B); names are those of the XML schema (Annex E).

/// The `IMSSubscription` of one private identity (TS 29.228 §B.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserProfile {
    /// `PrivateID`.
    pub private_id: String,
    /// `ServiceProfile`, at least one.
    pub service_profiles: Vec<ServiceProfile>,
}

impl UserProfile {
    /// All public identities in the order of the document: that of the implicit registration set.
    pub fn public_identities(&self) -> impl Iterator<Item = &PublicIdentity> {
        self.service_profiles.iter().flat_map(|profile| &profile.public_identities)
    }

    /// The default public identity: the first that is not barred (TS 29.228 §6.5.1.1).
    #[must_use]
    pub fn default_public_identity(&self) -> Option<&PublicIdentity> {
        self.public_identities().find(|identity| !identity.barred)
    }
}

/// Services of some public identities (TS 29.228 §B.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceProfile {
    /// `PublicIdentity`, at least one.
    pub public_identities: Vec<PublicIdentity>,
    /// `SubscribedMediaProfileId` of `CoreNetworkServicesAuthorization` (TS 29.228 §B.2.1A).
    pub subscribed_media_profile_id: Option<u32>,
    /// `InitialFilterCriteria`, in the order of the document.
    pub initial_filter_criteria: Vec<InitialFilterCriteria>,
    /// `SharedIFCSetID`.
    pub shared_ifc_set_ids: Vec<u32>,
}

/// A public identity with its barring indication (TS 29.228 §B.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicIdentity {
    /// `Identity`: a SIP or tel URI.
    pub identity: String,
    /// `BarringIndication`: only usable to register.
    pub barred: bool,
    /// `IdentityType`.
    pub identity_type: IdentityType,
    /// `WildcardedPSI` or `WildcardedIMPU`: the expression that the identity matched.
    pub wildcarded: Option<String>,
    /// `DisplayName`.
    pub display_name: Option<String>,
    /// `AliasIdentityGroupID`.
    pub alias_group: Option<String>,
}

impl PublicIdentity {
    /// A distinct identity that is not barred.
    #[must_use]
    pub fn open(identity: impl Into<String>) -> Self {
        Self { identity: identity.into(), ..Self::default() }
    }

    /// A distinct identity that is only usable to register.
    #[must_use]
    pub fn barred(identity: impl Into<String>) -> Self {
        Self { identity: identity.into(), barred: true, ..Self::default() }
    }
}

/// `tIdentityType` (TS 29.228 Annex E).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdentityType {
    /// 0: a distinct public user identity.
    #[default]
    DistinctImpu,
    /// 1: a distinct public service identity.
    DistinctPsi,
    /// 2: a wildcarded public service identity.
    WildcardedPsi,
    /// 3: a non-distinct (wildcarded) public user identity.
    WildcardedImpu,
}

impl IdentityType {
    /// The value in the document.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }
}

/// `InitialFilterCriteria` (TS 29.228 §B.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialFilterCriteria {
    /// `Priority`: smaller is first.
    pub priority: u32,
    /// `TriggerPoint`; without one every initial request matches.
    pub trigger_point: Option<TriggerPoint>,
    /// `ApplicationServer`.
    pub application_server: ApplicationServer,
    /// `ProfilePartIndicator`; without one the criteria hold for both parts.
    pub profile_part: Option<ProfilePart>,
}

/// `tProfilePartIndicator` (TS 29.228 §B.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfilePart {
    /// 0: the part for the registered user.
    Registered,
    /// 1: the part for the unregistered user.
    Unregistered,
}

/// `TriggerPoint` (TS 29.228 §B.2.2, Annex C).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerPoint {
    /// `ConditionTypeCNF`: an AND of ORs; else an OR of ANDs.
    pub conjunctive: bool,
    /// `SPT`, at least one.
    pub triggers: Vec<ServicePointTrigger>,
}

/// `SPT` (TS 29.228 §B.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePointTrigger {
    /// `ConditionNegated`.
    pub negated: bool,
    /// `Group`, at least one.
    pub groups: Vec<u32>,
    /// What is looked at.
    pub condition: Condition,
    /// `RegistrationType`, only with the method REGISTER; empty means any.
    pub registration_types: Vec<RegistrationType>,
}

/// What a service point trigger looks at (TS 29.228 §B.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// `Method`.
    Method(String),
    /// `RequestURI`: an expression.
    RequestUri(String),
    /// `SessionCase`.
    SessionCase(SessionCase),
    /// `SessionDescription`: a line of SDP.
    SessionDescription {
        /// `Line`: an expression for the type letter.
        line: String,
        /// `Content`: an expression for the rest of the line.
        content: Option<String>,
    },
    /// `SIPHeader`.
    SipHeader {
        /// `Header`: an expression for the name.
        header: String,
        /// `Content`: an expression for the value.
        content: Option<String>,
    },
}

/// `tDirectionOfRequest` (TS 29.228 §B.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCase {
    /// 0: from a registered user.
    Originating,
    /// 1: to a registered user.
    TerminatingRegistered,
    /// 2: to an unregistered user.
    TerminatingUnregistered,
    /// 3: from an unregistered user.
    OriginatingUnregistered,
    /// 4: diverted by the user's service.
    OriginatingCdiv,
}

impl SessionCase {
    /// The value in the document.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }
}

/// `tRegistrationType` (TS 29.228 Annex E).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationType {
    /// 0: initial registration.
    Initial,
    /// 1: re-registration.
    ReRegistration,
    /// 2: deregistration.
    Deregistration,
}

/// `ApplicationServer` (TS 29.228 §B.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplicationServer {
    /// `ServerName`: a SIP URI.
    pub server_name: String,
    /// `DefaultHandling`.
    pub default_handling: DefaultHandling,
    /// `ServiceInfo`: goes to the server in a third-party REGISTER.
    pub service_info: Option<String>,
    /// `IncludeRegisterRequest`: the UE's REGISTER goes into the third-party REGISTER.
    pub include_register_request: bool,
    /// `IncludeRegisterResponse`: the 200 to it goes there too.
    pub include_register_response: bool,
}

/// `tDefaultHandling`: what to do when the server does not answer (TS 29.228 §B.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultHandling {
    /// 0: go on without it.
    #[default]
    SessionContinued,
    /// 1: end the session.
    SessionTerminated,
}
