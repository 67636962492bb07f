//! What an S-CSCF leaves with the HSS so that it, or another one, can go on serving a registered
//! user after it has lost its state (TS 23.380 §4, TS 29.229 §6.3.46).

/// S-CSCF restoration information of one private identity and one implicit registration set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// Whose registration it is.
    pub impi: String,
    /// One for each registered contact; at least one.
    pub contacts: Vec<RestoredContact>,
}

/// A registered contact (TS 29.229 §6.3.52).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoredContact {
    /// The Path header field values of the registration, `,` between them.
    pub path: String,
    /// The Contact value with its parameters.
    pub contact: String,
    /// Call-ID of the REGISTER, so that an older one is still known as older.
    pub call_id: Option<String>,
    /// CSeq of the REGISTER.
    pub cseq: Option<u32>,
    /// The UE's own subscription to its registration state.
    pub subscription: Option<RestoredSubscription>,
}

/// A dialog of the reg event (TS 29.229 §6.3.49).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoredSubscription {
    /// Call-ID of the dialog.
    pub call_id: String,
    /// From of the SUBSCRIBE, with tag.
    pub from: String,
    /// To of the SUBSCRIBE, with the notifier's tag.
    pub to: String,
    /// Record-Route of the SUBSCRIBE.
    pub record_route: String,
    /// Contact of the subscriber.
    pub contact: String,
}
