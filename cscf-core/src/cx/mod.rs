//! The Cx reference point as messages (TS 29.228): what I- and S-CSCF ask the HSS and what it
//! answers. How the question travels (Diameter, memory) is not visible here.

mod code;
mod restoration;

use std::fmt;
use std::net::IpAddr;

pub use restoration::{Restoration, RestoredContact, RestoredSubscription};

/// A question to the HSS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CxRequest {
    /// User-Authorization-Request: may this user register here, and at which S-CSCF? (§6.1.1)
    Uar(Uar),
    /// Multimedia-Auth-Request: authentication data (§6.3).
    Mar(Mar),
    /// Server-Assignment-Request: registration state and user profile (§6.1.2).
    Sar(Sar),
    /// Location-Info-Request: which S-CSCF serves this identity? (§6.1.4)
    Lir(Lir),
}

impl CxRequest {
    /// Which command it is.
    #[must_use]
    pub const fn command(&self) -> CxCommand {
        match self {
            Self::Lir(_) => CxCommand::Lir,
            Self::Mar(_) => CxCommand::Mar,
            Self::Sar(_) => CxCommand::Sar,
            Self::Uar(_) => CxCommand::Uar,
        }
    }
}

/// The command of a question, by the name of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CxCommand {
    /// LIR and LIA.
    Lir,
    /// MAR and MAA.
    Mar,
    /// SAR and SAA.
    Sar,
    /// UAR and UAA.
    Uar,
}

impl CxCommand {
    /// All of them with their names.
    pub const ALL: [(&'static str, Self); 4] =
        [("LIR", Self::Lir), ("MAR", Self::Mar), ("SAR", Self::Sar), ("UAR", Self::Uar)];

    /// The name of the request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lir => "LIR",
            Self::Mar => "MAR",
            Self::Sar => "SAR",
            Self::Uar => "UAR",
        }
    }
}

/// The answer of the HSS, or the lack of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CxAnswer {
    /// Answer to [`CxRequest::Uar`] or [`CxRequest::Lir`].
    Server(ServerAnswer),
    /// Answer to [`CxRequest::Mar`].
    Maa(Maa),
    /// Answer to [`CxRequest::Sar`].
    Saa(Saa),
    /// No answer in time, or no connection to the HSS.
    Unreachable,
}

impl CxAnswer {
    /// Its result; none where there was no answer.
    #[must_use]
    pub const fn result(&self) -> Option<CxResult> {
        match self {
            Self::Server(server) => Some(server.result),
            Self::Maa(maa) => Some(maa.result),
            Self::Saa(saa) => Some(saa.result),
            Self::Unreachable => None,
        }
    }
}

/// How often each question got each answer. Commands and result codes that are known have a place
/// each; others share a bounded number.
#[derive(Clone, Debug, Default)]
pub struct CxCounts(std::collections::BTreeMap<(Option<CxCommand>, Option<u32>), u64>);

impl CxCounts {
    /// Kinds of answers at most.
    const KINDS_MAX: usize = 500;

    /// One more answer; without a result there was none.
    pub fn count(&mut self, command: Option<CxCommand>, result: Option<CxResult>) {
        let code = result.map(|result| match result.code() {
            ResultCode::Base(code) | ResultCode::Experimental(code) => code,
        });
        if self.0.len() < Self::KINDS_MAX || self.0.contains_key(&(command, code)) {
            *self.0.entry((command, code)).or_default() += 1;
        }
    }

    /// Command, result code, and how often; without a code there was no answer.
    pub fn iter(&self) -> impl Iterator<Item = (Option<CxCommand>, Option<u32>, u64)> {
        self.0.iter().map(|((command, code), count)| (*command, *code, *count))
    }
}

/// Why a UAR is sent (TS 29.229 §6.3.24).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationType {
    /// Initial or re-registration.
    Registration,
    /// Deregistration.
    Deregistration,
    /// Registration, and the I-CSCF wants capabilities to select a new S-CSCF.
    RegistrationAndCapabilities,
}

/// User-Authorization-Request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uar {
    /// Private identity.
    pub impi: String,
    /// Public identity, as in To of the REGISTER.
    pub impu: String,
    /// Visited-Network-Identifier.
    pub visited_network: String,
    /// Why.
    pub authorization_type: AuthorizationType,
    /// Emergency registration bit of UAR-Flags.
    pub emergency: bool,
}

/// Location-Info-Request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lir {
    /// Public identity looked for.
    pub impu: String,
    /// Originating-Request present (session case originating for an unregistered user).
    pub originating: bool,
    /// The I-CSCF wants capabilities to select a new S-CSCF.
    pub capabilities: bool,
}

/// Capabilities an S-CSCF must or should have (TS 29.229 §6.3.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerCapabilities {
    /// Without these an S-CSCF may not be chosen.
    pub mandatory: Vec<u32>,
    /// Preferred.
    pub optional: Vec<u32>,
    /// S-CSCF names that the HSS proposes.
    pub server_names: Vec<String>,
}

/// User-Authorization-Answer or Location-Info-Answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAnswer {
    /// What the HSS decided.
    pub result: CxResult,
    /// The S-CSCF assigned already.
    pub server_name: Option<String>,
    /// What a new one must have.
    pub capabilities: Option<ServerCapabilities>,
    /// LIA: the wildcarded identity that stands for the one asked for (TS 29.228 §6.1.4).
    pub wildcard: Option<String>,
}

/// Multimedia-Auth-Request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mar {
    /// Private identity.
    pub impi: String,
    /// Public identity.
    pub impu: String,
    /// Name of the asking S-CSCF.
    pub server_name: String,
    /// Which kind of credentials.
    pub scheme: AuthScheme,
    /// How many vectors.
    pub count: u32,
    /// RAND and AUTS for resynchronisation (TS 33.102 §6.3.5).
    pub resync: Option<([u8; 16], [u8; 14])>,
}

/// SIP-Authentication-Scheme (TS 29.229 §6.3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthScheme {
    /// `Digest-AKAv1-MD5`, for AKAv1 and AKAv2 alike.
    Aka,
    /// `Early-IMS-Security`: the address of the UE, for GIBA.
    EarlyIms,
    /// A scheme we have no name for; the HSS does not support it.
    Other,
    /// `SIP Digest`.
    SipDigest,
    /// `Unknown`: the HSS says which one the subscriber has.
    Unknown,
}

/// Multimedia-Auth-Answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maa {
    /// What the HSS decided.
    pub result: CxResult,
    /// AKA vectors or digest credentials, in the order they must be used.
    pub items: Vec<AuthItem>,
}

/// One SIP-Auth-Data-Item.
#[derive(Clone, PartialEq, Eq)]
pub enum AuthItem {
    /// The address that the access network gave the UE: Framed-IP-Address, or of an IPv6 address
    /// the first 64 bits, Framed-IPv6-Prefix.
    Address(IpAddr),
    /// An AKA vector.
    Aka {
        /// Random challenge.
        rand: [u8; 16],
        /// Network authentication token.
        autn: [u8; 16],
        /// Expected response, 4 to 16 bytes.
        xres: Vec<u8>,
        /// Confidentiality key.
        ck: [u8; 16],
        /// Integrity key.
        ik: [u8; 16],
    },
    /// SIP digest credentials (SIP-Digest-Authenticate).
    Digest {
        /// The realm HA1 was made for.
        realm: String,
        /// `MD5` or `SHA-256`.
        algorithm: String,
        /// H(username:realm:password) in hexadecimal.
        ha1: String,
        /// HA1 with SHA-256 when the subscriber has both (offered first).
        ha1_sha256: Option<String>,
    },
}

/// Keys do not show in traces.
impl fmt::Debug for AuthItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => write!(f, "Address({addr})"),
            Self::Aka { .. } => f.write_str("Aka(..)"),
            Self::Digest { algorithm, .. } => write!(f, "Digest({algorithm})"),
        }
    }
}

/// Why a SAR is sent (TS 29.229 §6.3.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssignmentType {
    /// 0: profile wanted, no change of state.
    NoAssignment,
    /// 1: first registration of an identity.
    Registration,
    /// 2: re-registration.
    ReRegistration,
    /// 3: request for an unregistered user.
    UnregisteredUser,
    /// 4: registration timed out.
    TimeoutDeregistration,
    /// 5: the user deregistered.
    UserDeregistration,
    /// 6: timed out, keep the S-CSCF name.
    TimeoutDeregistrationStoreServerName,
    /// 7: the user deregistered, keep the S-CSCF name.
    UserDeregistrationStoreServerName,
    /// 8: by administrative action.
    AdministrativeDeregistration,
    /// 9: authentication failed.
    AuthenticationFailure,
    /// 10: no answer to the challenge.
    AuthenticationTimeout,
    /// 11: too much data.
    DeregistrationTooMuchData,
}

impl AssignmentType {
    /// The value in the AVP.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The type with this value in the AVP.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        [
            Self::NoAssignment,
            Self::Registration,
            Self::ReRegistration,
            Self::UnregisteredUser,
            Self::TimeoutDeregistration,
            Self::UserDeregistration,
            Self::TimeoutDeregistrationStoreServerName,
            Self::UserDeregistrationStoreServerName,
            Self::AdministrativeDeregistration,
            Self::AuthenticationFailure,
            Self::AuthenticationTimeout,
            Self::DeregistrationTooMuchData,
        ]
        .into_iter()
        .find(|kind| kind.code() == code)
    }

    /// Whether it ends a registration, so that several public identities, or none, may be named
    /// (TS 29.228 §6.1.2).
    #[must_use]
    pub const fn is_deregistration(self) -> bool {
        matches!(
            self,
            Self::TimeoutDeregistration
                | Self::UserDeregistration
                | Self::TimeoutDeregistrationStoreServerName
                | Self::UserDeregistrationStoreServerName
                | Self::AdministrativeDeregistration
                | Self::DeregistrationTooMuchData
        )
    }
}

/// Server-Assignment-Request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sar {
    /// Private identity (absent for an unregistered user).
    pub impi: Option<String>,
    /// Public identities.
    pub impus: Vec<String>,
    /// Name of the asking S-CSCF.
    pub server_name: String,
    /// Why.
    pub assignment_type: AssignmentType,
    /// The S-CSCF has the profile already (User-Data-Already-Available).
    pub profile_available: bool,
    /// What the S-CSCF wants kept for its restoration (TS 29.228 §6.1.2).
    pub restoration: Option<Restoration>,
    /// The wildcarded identity that stands for the public one, if the I-CSCF was told it
    /// (TS 29.228 §6.1.2).
    pub wildcard: Option<String>,
}

/// Server-Assignment-Answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saa {
    /// What the HSS decided.
    pub result: CxResult,
    /// The IMSSubscription document (TS 29.228 Annex E).
    pub user_data: Option<String>,
    /// Primary charging collection function (Charging-Information).
    pub charging_ccf: Option<String>,
    /// Private identities associated with the public ones.
    pub associated_impis: Vec<String>,
    /// What was kept for the restoration of an S-CSCF, one item a private identity.
    pub restoration: Vec<Restoration>,
}

/// Result-Code or Experimental-Result-Code of an answer (TS 29.229 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CxResult {
    /// 2001 `DIAMETER_SUCCESS`.
    Success,
    /// Experimental 2001 `DIAMETER_FIRST_REGISTRATION`.
    FirstRegistration,
    /// Experimental 2002 `DIAMETER_SUBSEQUENT_REGISTRATION`.
    SubsequentRegistration,
    /// Experimental 2003 `DIAMETER_UNREGISTERED_SERVICE`.
    UnregisteredService,
    /// Experimental 2004 `DIAMETER_SUCCESS_SERVER_NAME_NOT_STORED`.
    ServerNameNotStored,
    /// Experimental 5001 `DIAMETER_ERROR_USER_UNKNOWN`.
    UserUnknown,
    /// Experimental 5002 `DIAMETER_ERROR_IDENTITIES_DONT_MATCH`.
    IdentitiesDontMatch,
    /// Experimental 5003 `DIAMETER_ERROR_IDENTITY_NOT_REGISTERED`.
    IdentityNotRegistered,
    /// Experimental 5004 `DIAMETER_ERROR_ROAMING_NOT_ALLOWED`.
    RoamingNotAllowed,
    /// Experimental 5005 `DIAMETER_ERROR_IDENTITY_ALREADY_REGISTERED`.
    IdentityAlreadyRegistered,
    /// Experimental 5006 `DIAMETER_ERROR_AUTH_SCHEME_NOT_SUPPORTED`.
    AuthSchemeNotSupported,
    /// Experimental 5007 `DIAMETER_ERROR_IN_ASSIGNMENT_TYPE`.
    InAssignmentType,
    /// Experimental 5008 `DIAMETER_ERROR_TOO_MUCH_DATA`.
    TooMuchData,
    /// Experimental 5009 `DIAMETER_ERROR_NOT_SUPPORTED_USER_DATA`.
    NotSupportedUserData,
    /// Experimental 5011 `DIAMETER_ERROR_FEATURE_UNSUPPORTED`.
    FeatureUnsupported,
    /// 2002 `DIAMETER_LIMITED_SUCCESS`.
    LimitedSuccess,
    /// 5003 `DIAMETER_AUTHORIZATION_REJECTED`.
    AuthorizationRejected,
    /// 5012 `DIAMETER_UNABLE_TO_COMPLY`.
    UnableToComply,
    /// 3004 `DIAMETER_TOO_BUSY`.
    TooBusy,
    /// Any other base result code.
    Other(u32),
    /// Any other experimental result code of 3GPP.
    OtherExperimental(u32),
}

/// Where a result code stands in an answer: in Result-Code, or in Experimental-Result with the
/// vendor 3GPP (TS 29.229 §6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultCode {
    /// Result-Code.
    Base(u32),
    /// Experimental-Result-Code of 3GPP.
    Experimental(u32),
}

impl CxResult {
    /// The code and where it stands (TS 29.229 §6.2).
    #[must_use]
    pub const fn code(self) -> ResultCode {
        match self {
            Self::Success => ResultCode::Base(2001),
            Self::FirstRegistration => ResultCode::Experimental(2001),
            Self::SubsequentRegistration => ResultCode::Experimental(2002),
            Self::UnregisteredService => ResultCode::Experimental(2003),
            Self::ServerNameNotStored => ResultCode::Experimental(2004),
            Self::UserUnknown => ResultCode::Experimental(5001),
            Self::IdentitiesDontMatch => ResultCode::Experimental(5002),
            Self::IdentityNotRegistered => ResultCode::Experimental(5003),
            Self::RoamingNotAllowed => ResultCode::Experimental(5004),
            Self::IdentityAlreadyRegistered => ResultCode::Experimental(5005),
            Self::AuthSchemeNotSupported => ResultCode::Experimental(5006),
            Self::InAssignmentType => ResultCode::Experimental(5007),
            Self::TooMuchData => ResultCode::Experimental(5008),
            Self::NotSupportedUserData => ResultCode::Experimental(5009),
            Self::FeatureUnsupported => ResultCode::Experimental(5011),
            Self::LimitedSuccess => ResultCode::Base(2002),
            Self::AuthorizationRejected => ResultCode::Base(5003),
            Self::UnableToComply => ResultCode::Base(5012),
            Self::TooBusy => ResultCode::Base(3004),
            Self::Other(code) => ResultCode::Base(code),
            Self::OtherExperimental(code) => ResultCode::Experimental(code),
        }
    }

    /// The result with this code (TS 29.229 §6.2).
    #[must_use]
    pub const fn from_code(code: ResultCode) -> Self {
        match code {
            ResultCode::Base(2001) => Self::Success,
            ResultCode::Base(2002) => Self::LimitedSuccess,
            ResultCode::Base(5003) => Self::AuthorizationRejected,
            ResultCode::Base(5012) => Self::UnableToComply,
            ResultCode::Base(3004) => Self::TooBusy,
            ResultCode::Base(code) => Self::Other(code),
            ResultCode::Experimental(2001) => Self::FirstRegistration,
            ResultCode::Experimental(2002) => Self::SubsequentRegistration,
            ResultCode::Experimental(2003) => Self::UnregisteredService,
            ResultCode::Experimental(2004) => Self::ServerNameNotStored,
            ResultCode::Experimental(5001) => Self::UserUnknown,
            ResultCode::Experimental(5002) => Self::IdentitiesDontMatch,
            ResultCode::Experimental(5003) => Self::IdentityNotRegistered,
            ResultCode::Experimental(5004) => Self::RoamingNotAllowed,
            ResultCode::Experimental(5005) => Self::IdentityAlreadyRegistered,
            ResultCode::Experimental(5006) => Self::AuthSchemeNotSupported,
            ResultCode::Experimental(5007) => Self::InAssignmentType,
            ResultCode::Experimental(5008) => Self::TooMuchData,
            ResultCode::Experimental(5009) => Self::NotSupportedUserData,
            ResultCode::Experimental(5011) => Self::FeatureUnsupported,
            ResultCode::Experimental(code) => Self::OtherExperimental(code),
        }
    }

    /// Whether the question was granted.
    #[must_use]
    pub const fn is_success(self) -> bool {
        match self {
            Self::Success
            | Self::LimitedSuccess
            | Self::FirstRegistration
            | Self::SubsequentRegistration
            | Self::UnregisteredService
            | Self::ServerNameNotStored => true,
            Self::Other(code) | Self::OtherExperimental(code) => code >= 2000 && code < 3000,
            _ => false,
        }
    }
}

/// The name of the standards with the code: `DIAMETER_ERROR_USER_UNKNOWN (5001)`.
impl fmt::Display for CxResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Success => "DIAMETER_SUCCESS",
            Self::FirstRegistration => "DIAMETER_FIRST_REGISTRATION",
            Self::SubsequentRegistration => "DIAMETER_SUBSEQUENT_REGISTRATION",
            Self::UnregisteredService => "DIAMETER_UNREGISTERED_SERVICE",
            Self::ServerNameNotStored => "DIAMETER_SUCCESS_SERVER_NAME_NOT_STORED",
            Self::UserUnknown => "DIAMETER_ERROR_USER_UNKNOWN",
            Self::IdentitiesDontMatch => "DIAMETER_ERROR_IDENTITIES_DONT_MATCH",
            Self::IdentityNotRegistered => "DIAMETER_ERROR_IDENTITY_NOT_REGISTERED",
            Self::RoamingNotAllowed => "DIAMETER_ERROR_ROAMING_NOT_ALLOWED",
            Self::IdentityAlreadyRegistered => "DIAMETER_ERROR_IDENTITY_ALREADY_REGISTERED",
            Self::AuthSchemeNotSupported => "DIAMETER_ERROR_AUTH_SCHEME_NOT_SUPPORTED",
            Self::InAssignmentType => "DIAMETER_ERROR_IN_ASSIGNMENT_TYPE",
            Self::TooMuchData => "DIAMETER_ERROR_TOO_MUCH_DATA",
            Self::NotSupportedUserData => "DIAMETER_ERROR_NOT_SUPPORTED_USER_DATA",
            Self::FeatureUnsupported => "DIAMETER_ERROR_FEATURE_UNSUPPORTED",
            Self::LimitedSuccess => "DIAMETER_LIMITED_SUCCESS",
            Self::AuthorizationRejected => "DIAMETER_AUTHORIZATION_REJECTED",
            Self::UnableToComply => "DIAMETER_UNABLE_TO_COMPLY",
            Self::TooBusy => "DIAMETER_TOO_BUSY",
            Self::Other(_) => "Result-Code",
            Self::OtherExperimental(_) => "Experimental-Result-Code",
        };
        let (ResultCode::Base(code) | ResultCode::Experimental(code)) = self.code();
        write!(f, "{name} ({code})")
    }
}

/// What the HSS asks of an S-CSCF on its own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CxDemand {
    /// Registration-Termination-Request (TS 29.228 §6.1.3).
    Rtr {
        /// Private identity.
        impi: String,
        /// Public identities; empty means all of the IMPI.
        impus: Vec<String>,
        /// Why.
        reason: DeregistrationReason,
        /// Text for the user.
        info: String,
    },
    /// Push-Profile-Request (TS 29.228 §6.2.1).
    Ppr {
        /// Private identity.
        impi: String,
        /// The new IMSSubscription document.
        user_data: Option<String>,
        /// The new primary charging collection function (Charging-Information).
        charging_ccf: Option<String>,
        /// New SIP digest credentials (SIP-Auth-Data-Item).
        digest: Option<AuthItem>,
    },
}

/// The answer to a demand of the HSS (RTA, PPA).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemandReply {
    /// The result.
    pub result: CxResult,
    /// RTA: private identities with the public ones whose registrations for emergency calls stand
    /// (Identity-with-Emergency-Registration, TS 29.228 §6.1.3).
    pub emergency: Vec<(String, String)>,
}

impl From<CxResult> for DemandReply {
    fn from(result: CxResult) -> Self {
        Self { result, emergency: Vec::new() }
    }
}

/// Deregistration-Reason (TS 29.229 §6.3.17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeregistrationReason {
    /// 0.
    PermanentTermination,
    /// 1.
    NewServerAssigned,
    /// 2.
    ServerChange,
    /// 3.
    RemoveScscf,
}

/// The number of a question to the HSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// The number of a demand of the HSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DemandId(pub u64);
