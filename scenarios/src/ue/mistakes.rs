//! What a UE does wrong when it is told to. Each is one rule broken at one place, so that what
//! refuses it can be told from everything else.

/// What a UE does wrong, for tests of the others and of what is said about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mistakes {
    /// Answers the challenge under a private identity that was not challenged.
    pub another_impi: bool,
    /// Registers a public identity of somebody else.
    pub another_impu: bool,
    /// Answers the challenge with another address in Contact than it was challenged with.
    pub contact_changed: bool,
    /// Hears no calls.
    pub deaf: bool,
    /// Has forgotten the user part of its Contact after it has registered: who calls it there calls
    /// nobody.
    pub lost_user: bool,
    /// Refreshes its registration with another address in Contact.
    pub new_contact: bool,
    /// Does not acknowledge a 2xx.
    pub no_ack: bool,
    /// Does not answer challenges.
    pub no_answer: bool,
    /// Offers only integrity algorithms that no P-CSCF knows.
    pub no_common_algorithm: bool,
    /// Does not send PRACK.
    pub no_prack: bool,
    /// Offers the security agreement in Supported only, and no mechanism.
    pub no_sec_agree: bool,
    /// Sends INFO and re-INVITE with a CSeq of the past.
    pub old_cseq: bool,
    /// Has a card that is far ahead: every challenge is a synchronisation failure.
    pub old_sqn: bool,
    /// Has a card made for the HSS's OPc as if that were OP.
    pub op_as_opc: bool,
    /// Answers the challenge with another Security-Client than it was challenged with.
    pub security_client_differs: bool,
    /// Repeats the Security-Server of the challenge with a change.
    pub security_verify_differs: bool,
    /// Registers for 10 s and does not ask for longer when told to.
    pub short_expiry: bool,
    /// Has a card that allows no jumps: every challenge is too far ahead.
    pub sqn_ahead: bool,
    /// Ends all registrations with an Expires that is not 0.
    pub star_with_expires: bool,
    /// Requires an extension of the registrar that does not exist.
    pub unknown_require: bool,
    /// Sends INFO of packages that the peer has not named.
    pub unwanted_package: bool,
    /// Writes an Authorization that nobody can read.
    pub unreadable_authorization: bool,
    /// Writes an address into Via that it does not send from.
    pub via_differs: bool,
    /// Has a card with another key: the network's MAC looks wrong.
    pub wrong_key: bool,
    /// Acknowledges provisional responses that never were.
    pub wrong_rack: bool,
    /// Names a realm that is not the home network's.
    pub wrong_realm: bool,
    /// Answers with a wrong RES or password.
    pub wrong_res: bool,
    /// Says nothing of a short message that came.
    pub no_delivery_report: bool,
    /// Does not say which message the report of a short message is about.
    pub no_in_reply_to: bool,
    /// Registers without the feature tag of short messages.
    pub no_smsip_tag: bool,
    /// Reports a short message to its service centre instead of the gateway that sent it.
    pub report_to_centre: bool,
    /// Says that its short messages are plain text.
    pub sms_as_text: bool,
    /// Answers 500 to short messages and their reports.
    pub sms_refused: bool,
    /// Does not answer short messages and their reports at all.
    pub sms_unanswered: bool,
    /// Writes another RP-MR into the report of a short message than it has.
    pub wrong_rp_mr: bool,
}

/// The words of a mistake in the scenario language, and where it is kept.
type Named = (&'static str, fn(&mut Mistakes) -> &mut bool);

impl Mistakes {
    /// All mistakes by their words.
    pub const NAMED: [Named; 35] = [
        ("another impi", |it| &mut it.another_impi),
        ("another impu", |it| &mut it.another_impu),
        ("contact changed", |it| &mut it.contact_changed),
        ("deaf", |it| &mut it.deaf),
        ("lost user", |it| &mut it.lost_user),
        ("new contact", |it| &mut it.new_contact),
        ("no ack", |it| &mut it.no_ack),
        ("no answer", |it| &mut it.no_answer),
        ("no common algorithm", |it| &mut it.no_common_algorithm),
        ("no prack", |it| &mut it.no_prack),
        ("no sec-agree", |it| &mut it.no_sec_agree),
        ("old cseq", |it| &mut it.old_cseq),
        ("old sqn", |it| &mut it.old_sqn),
        ("op as opc", |it| &mut it.op_as_opc),
        ("security-client differs", |it| &mut it.security_client_differs),
        ("security-verify differs", |it| &mut it.security_verify_differs),
        ("short expiry", |it| &mut it.short_expiry),
        ("sqn ahead", |it| &mut it.sqn_ahead),
        ("star with expires", |it| &mut it.star_with_expires),
        ("unknown require", |it| &mut it.unknown_require),
        ("unreadable authorization", |it| &mut it.unreadable_authorization),
        ("unwanted package", |it| &mut it.unwanted_package),
        ("via differs", |it| &mut it.via_differs),
        ("wrong key", |it| &mut it.wrong_key),
        ("wrong rack", |it| &mut it.wrong_rack),
        ("wrong realm", |it| &mut it.wrong_realm),
        ("wrong res", |it| &mut it.wrong_res),
        ("no delivery report", |it| &mut it.no_delivery_report),
        ("no in-reply-to", |it| &mut it.no_in_reply_to),
        ("no smsip tag", |it| &mut it.no_smsip_tag),
        ("delivery report to the centre", |it| &mut it.report_to_centre),
        ("sms as text", |it| &mut it.sms_as_text),
        ("refuses sms", |it| &mut it.sms_refused),
        ("ignores sms", |it| &mut it.sms_unanswered),
        ("wrong rp-mr", |it| &mut it.wrong_rp_mr),
    ];

    /// Makes the mistake with these words; says whether there is one.
    pub fn make(&mut self, words: &str) -> bool {
        let found = Self::NAMED.iter().find(|(name, _)| *name == words);
        found.is_some_and(|(_, place)| {
            *place(self) = true;
            true
        })
    }
}
